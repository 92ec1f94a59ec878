"""Opening the database that a URL names: to serve, or only to look; and what it says of itself then."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from sqlalchemy import Connection, Engine, select
from sqlalchemy.exc import DatabaseError

from opentill.store import schema
from opentill.store.accounts.contract import Mode
from opentill.store.databases.urls import is_postgres, shown, sqlite_path
from opentill.store.errors import StoreUnusable
from opentill.store.interface import Store


def open_store(url: str, *, migrate: bool = True, prepare: bool = True) -> Store:
    """Open the database, its tables made and brought up to date unless ``migrate`` is False.

    ``prepare`` matters to PostgreSQL alone, see ``open_postgres``. Raises StoreUnusable with the fix.
    """
    if is_postgres(url):
        from opentill.store.databases.postgres import open_postgres  # noqa: PLC0415 - one driver is enough

        return open_postgres(url, prepare=prepare, migrate=migrate)
    from opentill.store.databases.sqlite import open_sqlite  # noqa: PLC0415

    return open_sqlite(sqlite_path(url), migrate=migrate)


@contextmanager
def read_only(url: str) -> Iterator[Connection]:
    """Connect to the database without the right to write, neither making nor migrating it.

    On PostgreSQL all that it reads is of one moment. Raises StoreUnusable with the fix.
    """
    if not is_postgres(url) and not sqlite_path(url).is_file():
        raise StoreUnusable(f"There is no database {shown(url)}; name another one with --data or --database.")
    try:
        with _read_only_engine(url).connect() as connection:
            yield connection
    except DatabaseError as error:
        raise StoreUnusable(
            f"The database {shown(url)} can not be read ({error.orig}); check that this user may read it "
            "(and write in its folder, where it is a file) and that it is an opentill database."
        ) from error


def _read_only_engine(url: str) -> Engine:
    if is_postgres(url):
        from opentill.store.databases import postgres  # noqa: PLC0415

        return postgres.read_only_engine(url)
    from opentill.store.databases import sqlite  # noqa: PLC0415

    return sqlite.read_only_engine(sqlite_path(url))


@dataclass(frozen=True, slots=True)
class Stamp:
    """The mode and the key stamped into the database when it was made."""

    mode: Mode
    secret_fingerprint: str


def stamp(connection: Connection) -> Stamp | None:
    """Read the stamp; None before the first server has started on it."""
    wanted = select(schema.installation.c.mode, schema.installation.c.secret_fingerprint)
    found = connection.execute(wanted).first()
    return None if found is None else Stamp(Mode(found.mode), found.secret_fingerprint)
