"""Connections to PostgreSQL by one driver and another, as the batches of ``shapes`` use them.

None of them finds and opens a broken connection again: what fails ends the measurement.
"""

from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Final, Protocol, TypeAlias, cast

import asyncpg
import psycopg

from opentill.store.databases.database import Cursor
from opentill.store.databases.postgres import _BEGIN_WRITING
from opentill.store.orders.rows import Row

Wait: TypeAlias = Callable[[Coroutine[Any, Any, Any]], Any]
"""Makes the result of a driver's coroutine available to a verb of the store."""


class Line(Protocol):
    """A connection as the batches here use it."""

    def run(self, statement: str, parameters: tuple[Any, ...]) -> Cursor:
        """Run one statement."""

    def run_many(self, statement: str, parameters: Sequence[Row]) -> int:
        """Run it for each row without waiting in between; returns how many rows were written."""

    def commit(self) -> None:
        """Make it a fact."""


class _Done:
    """The result of a statement, fetched already."""

    def __init__(self, rowcount: int, found: list[Any]):
        self.rowcount = rowcount
        self._found = found

    def fetchone(self) -> Any:
        """The first row, or None."""
        return self._found[0] if self._found else None

    def fetchall(self) -> list[Any]:
        """All rows."""
        return self._found


class PsycopgLine:
    """Psycopg without asyncio, as in the store; what it adds is ``run_many`` and another BEGIN."""

    def __init__(self, url: str, begin: str = _BEGIN_WRITING):
        self._connection = psycopg.connect(url, autocommit=True)
        self._cursor = psycopg.RawCursor(self._connection)
        self._begin = begin

    def begin(self) -> None:
        """Open the transaction."""
        self._connection.execute(self._begin)

    def run(self, statement: str, parameters: tuple[Any, ...]) -> Cursor:
        """Run one statement, and fetch what it returns."""
        return self._cursor.execute(statement, parameters, prepare=True)

    def run_many(self, statement: str, parameters: Sequence[Row]) -> int:
        """Run a statement once for each row; returns how many rows it touched."""
        self._cursor.executemany(statement, parameters)
        return self._cursor.rowcount

    def commit(self) -> None:
        """Make it a fact."""
        self._connection.execute("COMMIT")

    def close(self) -> None:
        """End the connection."""
        self._connection.close()


class SharedTrips(PsycopgLine):
    """BEGIN goes with the first statement and COMMIT with the last write: four round trips for six."""

    _SETTINGS: Final = """
        SELECT set_config('lock_timeout', '2s', true),
               set_config('idle_in_transaction_session_timeout', '10s', true),
               set_config('enable_seqscan', 'off', true), set_config('enable_hashjoin', 'off', true),
               set_config('enable_mergejoin', 'off', true)
    """

    def begin(self) -> None:
        """Wait for the first statement."""
        self._begun = False
        self._last: tuple[str, tuple[Any, ...]] | None = None

    def run(self, statement: str, parameters: tuple[Any, ...]) -> Cursor:
        """Run one statement; the first takes BEGIN along."""
        if self._begun:
            return super().run(statement, parameters)
        with self._connection.pipeline():
            self._connection.execute("BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE", prepare=True)
            self._connection.execute(self._SETTINGS, prepare=True)
            super().run(statement, parameters)
        self._begun = True
        return self._cursor

    def run_last(self, statement: str, parameters: tuple[Any, ...]) -> None:
        """Run it together with COMMIT."""
        self._last = statement, parameters

    def commit(self) -> None:
        """Make it a fact, with the last write in the same trip."""
        with self._connection.pipeline():
            if self._last:
                super().run(*self._last)
            self._connection.execute("COMMIT", prepare=True)


class AsyncPsycopgLine:
    """Psycopg on an event loop."""

    def __init__(self, wait: Wait):
        self._wait = wait

    def connect(self, url: str) -> None:
        """Open the connection, where it will be used."""
        self._connection = self._wait(psycopg.AsyncConnection.connect(url, autocommit=True))
        self._cursor = psycopg.AsyncRawCursor(self._connection)

    def begin(self) -> None:
        """Open the transaction."""
        self._wait(self._connection.execute(_BEGIN_WRITING))

    def run(self, statement: str, parameters: tuple[Any, ...]) -> Cursor:
        """Run one statement, and fetch what it returns."""
        return cast("Cursor", self._wait(self._run(statement, parameters)))

    async def _run(self, statement: str, parameters: tuple[Any, ...]) -> _Done:
        cursor = await self._cursor.execute(statement, parameters, prepare=True)
        return _Done(cursor.rowcount, await cursor.fetchall() if cursor.description else [])

    def run_many(self, statement: str, parameters: Sequence[Row]) -> int:
        """Run a statement once for each row; returns how many rows it touched."""
        self._wait(self._cursor.executemany(statement, parameters))
        return self._cursor.rowcount

    def commit(self) -> None:
        """Make it a fact."""
        self._wait(self._connection.execute("COMMIT"))

    def close(self) -> None:
        """End the connection."""
        self._wait(self._connection.close())


class AsyncpgLine:
    """asyncpg, with the statements prepared once."""

    def __init__(self, wait: Wait):
        self._wait = wait
        self._prepared: dict[str, Any] = {}

    def connect(self, url: str) -> None:
        """Open the connection, where it will be used."""
        self._connection = self._wait(asyncpg.connect(url))

    def begin(self) -> None:
        """Open the transaction."""
        self._wait(self._connection.execute(_BEGIN_WRITING))

    def run(self, statement: str, parameters: tuple[Any, ...]) -> Cursor:
        """Run one statement, and fetch what it returns."""
        prepared = self._statement(statement)
        found = self._wait(prepared.fetch(*parameters))
        return _Done(int(prepared.get_statusmsg().split()[-1]), found)

    def run_many(self, statement: str, parameters: Sequence[Row]) -> int:
        """Run a statement once for each row; asyncpg counts only rows that are returned."""
        return len(self._wait(self._statement(statement).fetchmany(parameters)))

    def _statement(self, statement: str) -> Any:
        if statement not in self._prepared:
            self._prepared[statement] = self._wait(self._connection.prepare(statement))
        return self._prepared[statement]

    def commit(self) -> None:
        """Make it a fact."""
        self._wait(self._connection.execute("COMMIT"))

    def close(self) -> None:
        """End the connection."""
        self._wait(self._connection.close())
