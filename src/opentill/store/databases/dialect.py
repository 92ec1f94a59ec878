"""All that differs between the databases in what they are told: a third one would be a row here and a driver.

How each is connected to, begins, commits and fails is its driver's business (``sqlite.py``, ``postgres.py``).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeAlias

from sqlalchemy import Connection, Table
from sqlalchemy.dialects import postgresql, sqlite

Insert: TypeAlias = postgresql.Insert | sqlite.Insert


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """The words of one database. Where it has none for something, the word is empty."""

    insert: Callable[[Table], Insert]
    """SQLAlchemy's INSERT with what it knows of ON CONFLICT."""
    parameter: str
    """Comes before the number of a parameter."""
    rows: str
    """The rows of the JSON array that is the first parameter, each as ``w.value``."""
    join: str
    """Joins a set to a table so that the set stays the outer loop."""
    integer: str
    """Suffix that makes an integer of the text in a set."""
    several_writers: bool
    """Whether transactions write side by side; else the transaction is the lock on all rows."""
    first_of_each: str
    """Joins ``{rows}`` (FROM and what follows, of ``{table} AS d``) to each row before it, locked."""
    time: str
    """The time of the database's own machine, in UTC milliseconds."""
    walk: str
    """Makes a connection fit for statements that walk through whole tables."""
    export_moment: str
    """Returns the name of the moment that a connection sees."""
    see_moment: str
    """Makes another connection see the moment ``{name}``."""
    take_turn: str
    """Waits until no other transaction has the turn ``{number}``, and keeps it to its end."""

    def locked(self, lock: str) -> str:
        """Return the lock that ends a statement; one who writes alone has locked everything."""
        return lock if self.several_writers else ""


SQLITE: Final = Dialect(
    insert=sqlite.insert,
    parameter="?",
    rows="json_each(?1) AS w",
    join="CROSS JOIN",
    integer="",
    several_writers=False,
    first_of_each="CROSS JOIN {table} AS d ON d.rowid IN (SELECT d.rowid {rows})",
    time="",
    walk="",
    export_moment="",
    see_moment="",
    take_turn="",
)
"""CROSS JOIN keeps its planner from turning the set into the inner loop. It has no LATERAL."""

POSTGRES: Final = Dialect(
    insert=postgresql.insert,
    parameter="$",
    rows="jsonb_array_elements($1::jsonb) AS w (value)",
    join="JOIN",
    integer="::bigint",
    several_writers=True,
    first_of_each="JOIN LATERAL (SELECT d.* {rows} FOR UPDATE OF d SKIP LOCKED) AS d ON true",
    time="SELECT CAST(extract(epoch FROM clock_timestamp()) * 1000 AS bigint)",
    walk="SET LOCAL work_mem = '128MB'; SET LOCAL jit = off; SET LOCAL cursor_tuple_fraction = 1",
    export_moment="SELECT pg_export_snapshot()",
    see_moment="SET TRANSACTION SNAPSHOT '{name}'",
    take_turn="SELECT pg_advisory_xact_lock({number})",
)
"""A jsonb array costs both sides less than one array for each column (docs/decisions/0006).

A subquery behind IN would be run for every row of the table, hence LATERAL. In a walk, what is sorted is
better kept in memory, compiling does not pay, and nobody waits for the first row.
"""

_BY_NAME: Final = {"sqlite": SQLITE, "postgresql": POSTGRES}


def dialect_of(connection: Connection) -> Dialect:
    """Return the dialect of the database that this connection leads to."""
    return _BY_NAME[connection.dialect.name]
