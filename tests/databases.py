"""The databases that suites run on: a SQLite file, PostgreSQL, and PostgreSQL split by merchant.

A ``Place`` is where one till keeps its data: a folder with SQLite files, or the URL of a PostgreSQL database.
What tests read here is read as an auditor would: by plain SQL, past all code of ours.
"""

import sqlite3
from collections.abc import Callable, Collection, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final, TypeAlias

import psycopg
from psycopg.conninfo import conninfo_to_dict

from clusters import Cluster, cluster, versions
from opentill.store.databases.partitions import partition
from opentill.store.databases.postgres import open_postgres
from opentill.store.databases.sqlite import open_sqlite
from opentill.store.databases.urls import SQLITE_URL

PARTITIONS: Final = 8
FILE: Final = "opentill.db"
RAIL_FILE: Final = "sandbox-rail.db"
RAIL_TABLES: Final = "rail_"
"""How the names of the sandbox rail's own tables begin; on SQLite they are in a file of their own."""

Place: TypeAlias = Path | str
Row: TypeAlias = dict[str, Any]
Contents: TypeAlias = dict[str, list[tuple[object, ...]]]
"""Rows by the name of their table."""
Run: TypeAlias = Callable[..., list[Row]]
"""Runs a statement with its values, which stand as ``?`` in it; the rows that it returns."""


# --- kinds ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Kind:
    """One way to keep a till's data."""

    version: int = 0
    """Of PostgreSQL; 0 for SQLite."""
    partitions: int = 0

    def __str__(self) -> str:
        name = f"postgresql-{self.version}" if self.version else "sqlite"
        return f"{name}-partitioned" if self.partitions else name


SQLITE: Final = Kind()
POSTGRES: Final = Kind(versions()[-1])
PARTITIONED: Final = Kind(versions()[0], PARTITIONS)
"""On the oldest version there is, so that the three kinds together meet both versions."""
KINDS: Final = (SQLITE, POSTGRES, PARTITIONED)

NewDatabase: TypeAlias = Callable[[], str | None]
"""Makes a database of one kind, with tables and without a row; its URL, or None where a folder will do."""


@contextmanager
def databases(kind: Kind) -> Iterator[NewDatabase]:
    """Makes databases of this kind and drops them at the end of the block."""
    made: list[str] = []

    def new() -> str | None:
        if not kind.version:
            return None
        made.append(cluster(kind.version).fresh_database(template=_template(kind)))
        return made[-1]

    yield new
    for url in made:
        cluster(kind.version).drop(url)


@contextmanager
def copy_of(url: str) -> Iterator[str]:
    """Another database like this one, to which nobody may be connected; dropped at the end of the block."""
    server = server_of(url)
    copy = server.fresh_database(template=name_of(url))
    yield copy
    server.drop(copy)


def server_of(url: str) -> Cluster:
    """The cluster of ours in which this database is."""
    port = conninfo_to_dict(url)["port"]
    return next(found for found in map(cluster, versions()) if str(found.port) == str(port))


def emptied(kind: Kind) -> str | None:
    """The one database of this kind that tests which leave its tables as they are use one after another."""
    if not kind.version:
        return None
    url = _kept(kind)
    with writing(url) as run:
        run("SET lock_timeout = '10s'")
        for name in tables(url, run):
            if name not in _MADE_WITH_ROWS:
                run(f"DELETE FROM {name}")
    return url


_MADE_WITH_ROWS: Final = {"alembic_version", "schema_support"}


def lay_tables(folder: Path) -> None:
    """Make a folder with the file that a first start would make: loading migrations takes its time."""
    if not folder.exists():
        folder.mkdir(mode=0o700, parents=True)
        (folder / FILE).touch(0o600)
        (folder / FILE).write_bytes(_file_with_tables())


@cache
def _file_with_tables() -> bytes:
    with TemporaryDirectory() as folder:
        file = Path(folder) / FILE
        open_sqlite(file).close()
        return file.read_bytes()


@cache
def _kept(kind: Kind) -> str:
    return cluster(kind.version).fresh_database(template=_template(kind))


@cache
def _template(kind: Kind) -> str:
    """The name of a database that all of this kind are copied from: migrating takes longer than a test."""
    url = cluster(kind.version).fresh_database()
    open_postgres(url).close()
    if kind.partitions:
        partition(url, kind.partitions)
    return name_of(url)


def name_of(url: str) -> str:
    """The database that this URL names."""
    return str(conninfo_to_dict(url)["dbname"])


# --- what is in them ------------------------------------------------------------------------------


def url_of(place: Place) -> str:
    """Return how the program calls the database of this place."""
    return f"{SQLITE_URL}{place / FILE}" if isinstance(place, Path) else place


def rail_of(place: Place) -> Place:
    """Return where the sandbox's card rail keeps its journal, as ``RailJournal`` calls it."""
    return place / RAIL_FILE if isinstance(place, Path) else place


@contextmanager
def reading(place: Place) -> Iterator[Run]:
    """All that is read in the block is of one moment, on a connection that can not write."""
    if isinstance(place, Path):
        with closing(_sqlite(f"file:{place / FILE}?mode=ro")) as database:
            database.execute("BEGIN")
            yield _run(database)
    else:
        with psycopg.connect(place) as connection:
            connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            yield _run(connection)


@contextmanager
def writing(place: Place) -> Iterator[Run]:
    """A connection of another program, on which every statement is a transaction unless it begins one."""
    if isinstance(place, Path):
        with closing(_sqlite(f"file:{place / FILE}")) as database:
            yield _run(database)
    else:
        with psycopg.connect(place, autocommit=True) as connection:
            yield _run(connection)


@contextmanager
def reading_rail(place: Place) -> Iterator[Run]:
    """Read the sandbox rail's journal as ``reading`` does the database."""
    if isinstance(place, Path):
        with closing(_sqlite(f"file:{rail_of(place)}?mode=ro")) as journal:
            yield _run(journal)
    else:
        with reading(place) as run:
            yield run


def has_rail(place: Place) -> bool:
    """Tell whether the sandbox's card rail has ever been opened here."""
    if isinstance(place, Path):
        return (place / RAIL_FILE).exists()
    with reading(place) as run:
        return bool(run("SELECT 1 FROM pg_tables WHERE tablename = 'rail_payments'"))


def tables(place: Place, run: Run) -> list[str]:
    """The names of all tables that this connection sees, without their partitions."""
    statement = (
        "SELECT name FROM sqlite_master WHERE type = 'table'"
        if isinstance(place, Path)
        else "SELECT relname AS name FROM pg_class WHERE relnamespace = 'public'::regnamespace"
        " AND relkind IN ('r', 'p') AND NOT relispartition"
    )
    return sorted(row["name"] for row in run(statement))


def contents(place: Place) -> Contents:
    """Every row of every table but those of the rail."""
    with reading(place) as run:
        return {name: rows_of(run, name) for name in tables(place, run) if not name.startswith(RAIL_TABLES)}


def rail_contents(place: Place) -> Contents:
    """Every row of the sandbox rail's journal, its switches included."""
    with reading_rail(place) as run:
        return {name: rows_of(run, name) for name in tables(place, run) if name.startswith(RAIL_TABLES)}


def rows_of(run: Run, table: str) -> list[tuple[object, ...]]:
    """All rows of a table, in an order of their own."""
    return sorted((tuple(row.values()) for row in run(f"SELECT * FROM {table}")), key=repr)


_LOCK_ALL_AT_ONCE: Final = """
    DO $$ BEGIN
      LOOP
        BEGIN
          LOCK TABLE {tables} IN EXCLUSIVE MODE NOWAIT;
          EXIT;
        EXCEPTION WHEN lock_not_available THEN
          PERFORM pg_sleep(0.005);
        END;
      END LOOP;
    END $$
"""
"""Waits while it holds none of them: one by one they would meet a writer who has the next one already."""


def locking(place: Place) -> tuple[str, ...]:
    """Return what another program runs to keep all from writing until it says ROLLBACK; reading goes on."""
    if isinstance(place, Path):
        return ("BEGIN EXCLUSIVE",)
    with reading(place) as run:
        return ("BEGIN", _LOCK_ALL_AT_ONCE.format(tables=", ".join(tables(place, run))))


def drop_constraints(url: str, kind: str = "c", of: Collection[str] = ()) -> None:
    """Take away what would forbid a test's damage: constraints of this kind, of all tables or of some.

    The kind is PostgreSQL's letter: c for a CHECK, p for a primary key.
    """
    with writing(url) as run:
        for row in run(
            "SELECT relname, conname FROM pg_constraint JOIN pg_class ON pg_class.oid = conrelid"
            " WHERE relnamespace = 'public'::regnamespace AND NOT relispartition"
            f"   AND contype = '{kind}'"
        ):
            if not of or row["relname"] in of:
                run(f"ALTER TABLE {row['relname']} DROP CONSTRAINT {row['conname']}")


def _sqlite(uri: str) -> sqlite3.Connection:
    return sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False)


def _run(database: "sqlite3.Connection | psycopg.Connection[Any]") -> Run:
    def run(statement: str, *values: object) -> list[Row]:
        if isinstance(database, sqlite3.Connection):
            return _as_dicts(database.execute(statement, values))
        if not values:
            return _as_dicts(database.execute(statement.encode()))
        drivers_own = statement.replace("%", "%%").replace("?", "%s")
        return _as_dicts(database.execute(drivers_own.encode(), values))

    return run


def _as_dicts(cursor: "sqlite3.Cursor | psycopg.Cursor[Any]") -> list[Row]:
    if cursor.description is None:
        return []
    names = [column[0] for column in cursor.description]
    return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
