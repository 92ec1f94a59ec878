"""Holding a whole database against its invariants, without writing, waiting or holding anything up.

Each statement sees one moment of its own, so a server may go on working meanwhile.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from urllib.parse import quote

from sqlalchemy import Connection, NullPool, create_engine, text
from sqlalchemy.exc import DatabaseError

from opentill.store.interface import StoreUnusable
from opentill.store.invariants import CHECKS, WORDS, Check
from opentill.store.migrate import HEAD


@dataclass(frozen=True, slots=True)
class Offence:
    """An order that breaks an invariant, and how."""

    account_id: str
    order_id: str
    what: str


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found: how many offences, and the first of them."""

    check: Check
    count: int
    first: tuple[Offence, ...]


@contextmanager
def open_read_only(path: Path) -> Iterator[Connection]:
    """A connection to the database file that can not write, and neither makes nor migrates it.

    Raises StoreUnusable with the fix when there is no such database or its tables are of another version.
    """
    if not path.is_file():
        raise StoreUnusable(f"There is no database {path}; name another one with --data or --database.")
    engine = create_engine("sqlite://", creator=lambda: _connect(path), poolclass=NullPool)
    try:
        with engine.connect() as connection:
            _expect_revision(connection, path)
            yield connection
    except DatabaseError as error:
        raise StoreUnusable(
            f"The database {path} can not be read ({error.orig}); check that this user may read it "
            "and write in its folder, and that the file is an opentill database."
        ) from error


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(f"file:{quote(str(path.absolute()))}?mode=ro", uri=True)
    for pragma in ("query_only = ON", "mmap_size = 4294967296", "cache_size = -65536"):
        connection.execute(f"PRAGMA {pragma}")
    return connection


def _expect_revision(connection: Connection, path: Path) -> None:
    found = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    if found != HEAD:
        raise StoreUnusable(
            f"The database {path} is at schema {found} and this opentill checks {HEAD}; start this version's "
            "server on it once, or check it with the version that wrote it."
        )


def count_orders(connection: Connection) -> int:
    """How many orders there are to check."""
    return int(connection.execute(text("SELECT count(*) FROM orders")).scalar_one())


def audit(connection: Connection, show: int) -> Iterator[Finding]:
    """Make every check in turn; of each one's offences, count all and keep the first ``show``."""
    for check in CHECKS:
        statement = text(check.statement)
        words = {word: WORDS[word] for word in statement.compile().params}
        rows = iter(connection.execution_options(stream_results=True).execute(statement, words))
        first = tuple(Offence(*row) for row in islice(rows, show))
        yield Finding(check, len(first) + sum(1 for _ in rows), first)
