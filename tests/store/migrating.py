"""Databases at any schema, filled with rows and described, for tests of migrations."""

import re
import subprocess
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeAlias

import psycopg
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, NullPool, create_engine, inspect, select, text
from sqlalchemy.engine.interfaces import ReflectedColumn

from clusters import cluster, versions
from opentill.store import databases, schema
from opentill.store.databases.migrate import HEAD
from opentill.store.databases.opening import is_postgres

NEXT: Final = f"{int(HEAD) + 1:04}"
"""The migration that a later version will bring."""
KINDS: Final = ("sqlite", *(f"postgresql-{version}" for version in versions()))
Rows: TypeAlias = dict[str, list[dict[str, Any]]]

_config = Config()
_config.set_main_option("script_location", str(Path(databases.__file__).parent / "migrations"))
REVISIONS: Final = [each.revision for each in ScriptDirectory.from_config(_config).walk_revisions()][::-1]


def empty(kind: str, folder: Path, name: str = "opentill.db") -> str:
    """The URL of a new database."""
    if kind == "sqlite":
        return f"sqlite:///{folder / name}"
    return cluster(int(kind.removeprefix("postgresql-"))).fresh_database()


@contextmanager
def connected(url: str) -> Iterator[Connection]:
    """A transaction on the database, committed at the end of the block."""
    engine = create_engine(url.replace("postgresql:", "postgresql+psycopg:"), poolclass=NullPool)
    with engine.begin() as connection:
        yield connection


def execute(url: str, *statements: str) -> None:
    with connected(url) as connection:
        for statement in statements:
            connection.execute(text(statement))


def upgrade(url: str, revision: str) -> None:
    """Run the migrations up to this one, as a version of its time would have."""
    with connected(url) as connection:
        migrate(connection, revision)


def migrate(connection: Connection, revision: str) -> None:
    """As ``upgrade``, in the transaction that is under way."""
    _config.attributes["connection"] = connection
    command.upgrade(_config, revision)


# --- rows ---------------------------------------------------------------------------------------------


def all_rows(url: str) -> Rows:
    """Every row of every table that this version knows, in the order of its key."""
    with connected(url) as connection:
        return {
            table.name: [
                dict(row) for row in connection.execute(select(table).order_by(*table.primary_key)).mappings()
            ]
            for table in schema.metadata.sorted_tables
        }


def fill(url: str, rows: Rows) -> Rows:
    """Put the rows into a database of an old schema, as far as it has columns; returns those it took."""
    with connected(url) as connection:
        there = inspect(connection)
        held = {
            table: [
                {column["name"]: row[column["name"]] for column in there.get_columns(table)} for row in of
            ]
            for table, of in rows.items()
            if of and there.has_table(table)
        }
        for table, of in held.items():
            names = ", ".join(f'"{name}"' for name in of[0])
            values = ", ".join(f":{name}" for name in of[0])
            connection.execute(text(f"INSERT INTO {table} ({names}) VALUES ({values})"), of)
    return held


def part_of(rows: Rows, held: Rows) -> Rows:
    """Of the rows, the tables and columns that were held before."""
    return {
        name: [{column: row[column] for column in of_table[0]} for row in rows[name]]
        for name, of_table in held.items()
    }


# --- tables -------------------------------------------------------------------------------------------


def dumped(url: str) -> str:
    """The schema as the database itself would make it again."""
    if not is_postgres(url):
        with connected(url) as connection:
            found = connection.execute(text("SELECT sql FROM sqlite_master ORDER BY name")).scalars()
            return "\n".join(sql for sql in found if sql)
    port = int(str(psycopg.conninfo.conninfo_to_dict(url)["port"]))
    server = next(each for each in map(cluster, versions()) if each.port == port)
    done = subprocess.run(
        [server.bin / "pg_dump", "--schema-only", url], capture_output=True, text=True, check=True
    )
    return re.sub(r"^\\(un)?restrict .*$", "", done.stdout, flags=re.MULTILINE)  # a new key in every dump


@dataclass(frozen=True)
class Shape:
    """What the code that writes a table may rely on."""

    columns: Mapping[str, ReflectedColumn]
    rules: Mapping[str, frozenset[str]]
    """Constraints and unique indexes by name, and the columns that each speaks of."""


def shapes(connection: Connection) -> dict[str, Shape]:
    """Every table of the database by its name."""
    found = inspect(connection)
    return {
        name: Shape(
            {column["name"]: column for column in found.get_columns(name)},
            {
                **_checks(found.get_check_constraints(name), found.get_columns(name)),
                **_keys("unique", found.get_unique_constraints(name)),
                **_keys("unique", (i for i in found.get_indexes(name) if i["unique"])),
                **_keys("foreign", found.get_foreign_keys(name)),
            },
        )
        for name in found.get_table_names()
    }


def change(url: str, do: Callable[[Connection], object]) -> tuple[dict[str, Shape], list[str]]:
    """The tables as they are, and the harm that a change does to them; nothing of it stays."""
    with connected(url) as connection:
        before = shapes(connection)
        do(connection)
        found = harm(before, shapes(connection))
        connection.rollback()
    return before, found


def _checks(checks: Any, columns: list[ReflectedColumn]) -> dict[str, frozenset[str]]:
    return {
        f"check {each['name']} {_bare(each['sqltext'])}": frozenset(
            c["name"] for c in columns if re.search(rf"\b{c['name']}\b", each["sqltext"])
        )
        for each in checks
    }


def _bare(condition: str) -> str:
    """The condition without what PostgreSQL adds to it: casts from a type to the same type, and brackets."""
    return re.sub(r"::(character varying|text)(\[\])?|[()]", "", condition)


def _keys(kind: str, keys: Any) -> dict[str, frozenset[str]]:
    members = "constrained_columns" if kind == "foreign" else "column_names"
    return {f"{kind} {each['name']}": frozenset(each[members]) for each in keys}


def harm(before: Mapping[str, Shape], after: Mapping[str, Shape]) -> list[str]:
    """Whatever the code of before can not go on with: each a sentence that begins with the table."""
    return [
        f"{name}: {sentence}"
        for name, old in before.items()
        for sentence in (_harm_of_table(old, after[name]) if name in after else ["is gone"])
    ]


def _harm_of_table(old: Shape, new: Shape) -> Iterator[str]:
    for name, column in old.columns.items():
        if name not in new.columns:
            yield f"{name} is gone"
        elif _takes_less(column, new.columns[name]):
            yield f"{name} takes less than before"
    for name, column in new.columns.items():
        if name not in old.columns and not column["nullable"] and column["default"] is None:
            yield f"{name} is new and must be given"
    yield from _new_rules(old.columns, old.rules, new.rules)


def _takes_less(old: ReflectedColumn, new: ReflectedColumn) -> bool:
    kinds = [type(each["type"]).__name__ for each in (old, new)]
    lengths = [getattr(each["type"], "length", None) or 1 << 30 for each in (old, new)]
    return kinds[0] != kinds[1] or lengths[1] < lengths[0] or (old["nullable"] and not new["nullable"])


def _new_rules(
    columns: Collection[str], old: Mapping[str, frozenset[str]], new: Mapping[str, frozenset[str]]
) -> Iterator[str]:
    """A unique rule with a new column in it binds no row of old code, in which that column is NULL."""
    for rule in new.keys() - old.keys():
        asks = new[rule] <= set(columns) if rule.startswith("unique") else not new[rule].isdisjoint(columns)
        if asks:
            yield f"{rule} is a new rule for old columns"
