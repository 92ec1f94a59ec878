"""Which store a database URL names, and how to open it: to serve, or only to look."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from sqlalchemy import Connection, Engine, NullPool, create_engine
from sqlalchemy.exc import DatabaseError

from opentill.store.errors import StoreUnusable
from opentill.store.interface import Store

SQLITE_URL: Final = "sqlite:///"

_CONNECTING: Final[dict[str, Any]] = {
    "application_name": "opentill",
    "connect_timeout": 2,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
}
"""What a URL may say otherwise. A machine that vanished is given up after some ten seconds."""

_ONE_MOMENT: Final = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}


def is_postgres(url: str) -> bool:
    """Whether the URL names a PostgreSQL database; else it names a SQLite file."""
    return not url.startswith(SQLITE_URL)


def sqlite_path(url: str) -> Path:
    """The file that a SQLite URL names."""
    return Path(url.removeprefix(SQLITE_URL))


def shown(url: str) -> str:
    """The database as it may be shown to anybody: without user, password and parameters."""
    if not is_postgres(url):
        return str(sqlite_path(url))
    from psycopg.conninfo import conninfo_to_dict  # noqa: PLC0415 - a process needs one of the two drivers

    parts = conninfo_to_dict(url)
    return f"{parts.get('dbname', '')} at {parts.get('host', 'this machine')}:{parts.get('port', 5432)}"


def patient(url: str) -> str:
    """A PostgreSQL URL with what it does not say itself about how long to wait for a machine."""
    from psycopg.conninfo import conninfo_to_dict, make_conninfo  # noqa: PLC0415

    return make_conninfo(**(_CONNECTING | conninfo_to_dict(url)))


def open_store(url: str, *, migrate: bool = True, prepare: bool = True) -> Store:
    """Open the database, its tables made and brought up to date unless ``migrate`` is False.

    ``prepare`` matters to PostgreSQL alone, see ``open_postgres``. Raises StoreUnusable with the fix.
    """
    if is_postgres(url):
        from opentill.store.databases.postgres import open_postgres  # noqa: PLC0415

        return open_postgres(url, prepare=prepare, migrate=migrate)
    from opentill.store.databases.sqlite import open_sqlite  # noqa: PLC0415

    return open_sqlite(sqlite_path(url), migrate=migrate)


@contextmanager
def read_only(url: str) -> Iterator[Connection]:
    """A connection to the database that can not write, and neither makes nor migrates it.

    On PostgreSQL all that it reads is of one moment. Raises StoreUnusable with the fix.
    """
    if not is_postgres(url) and not sqlite_path(url).is_file():
        raise StoreUnusable(f"There is no database {shown(url)}; name another one with --data or --database.")
    try:
        with (_postgres(url) if is_postgres(url) else _sqlite(sqlite_path(url))).connect() as connection:
            yield connection
    except DatabaseError as error:
        raise StoreUnusable(
            f"The database {shown(url)} can not be read ({error.orig}); check that this user may read it "
            "(and write in its folder, where it is a file) and that it is an opentill database."
        ) from error


def _postgres(url: str) -> Engine:
    import psycopg  # noqa: PLC0415

    return create_engine(
        "postgresql+psycopg://",
        creator=lambda: psycopg.connect(patient(url)),
        poolclass=NullPool,
        execution_options=_ONE_MOMENT,
    )


def _sqlite(path: Path) -> Engine:
    return create_engine("sqlite://", creator=lambda: _connect(path), poolclass=NullPool)


def _connect(path: Path) -> sqlite3.Connection:
    name = f"file:{quote(str(path.absolute()))}?mode=ro"
    connection = sqlite3.connect(name, uri=True, check_same_thread=False)
    for pragma in ("query_only = ON", "mmap_size = 4294967296", "cache_size = -65536"):
        connection.execute(f"PRAGMA {pragma}")
    return connection
