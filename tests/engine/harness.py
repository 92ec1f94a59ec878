"""The engine's harness: an engine on a real store, faults at its commit, and what the database says."""

import asyncio
import itertools
import re
import sqlite3
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager
from enum import Enum
from typing import Any, TypeAlias, TypeVar, cast

import psycopg
from sqlalchemy import text

from databases import Place, url_of
from opentill.domain.commands import Command
from opentill.domain.refusals import Refusal
from opentill.engine.batch import Outcome
from opentill.engine.engine import Engine, EngineSettings, Result
from opentill.engine.threads import StoreThreads
from opentill.store.accounts.contract import Mode
from opentill.store.databases.postgres import PostgresStore, _Session
from opentill.store.databases.sqlite import SqliteStore
from opentill.store.databases.urls import is_postgres, sqlite_path
from opentill.store.errors import CommitUnknown, Transient
from opentill.store.interface import Store
from opentill.store.orders.contract import Batch, StoredReply
from store_factories import ACCOUNT, NOW, ToldClock

T = TypeVar("T")


# --- an engine that runs --------------------------------------------------------------------------


@asynccontextmanager
async def running(
    store: Store, clock: ToldClock | None = None, settings: EngineSettings | None = None
) -> AsyncIterator[Engine]:
    """An engine that serves, closed and answered to the last command at the end of the block."""
    threads = StoreThreads(store)
    engine = Engine(threads, clock or ToldClock(), settings or EngineSettings())
    engine.start()
    try:
        yield engine
    finally:
        await engine.close()
        threads.close()


def served(
    store: Store,
    work: Callable[[Engine], Awaitable[T]],
    clock: ToldClock | None = None,
    settings: EngineSettings | None = None,
) -> T:
    """Return what ``work`` returns when it is done with an engine on this store."""

    async def main() -> T:
        async with running(store, clock, settings) as engine:
            return await work(engine)

    return asyncio.run(main())


async def together(*submissions: Coroutine[Any, Any, T]) -> list[T | BaseException]:
    """The answers to submissions made in one turn of the event loop, which therefore wait together."""
    return await asyncio.gather(*submissions, return_exceptions=True)


def submitted(store: Store, *commands: Command, clock: ToldClock | None = None) -> list[str]:
    """Return how commands that waited together ended, in words (see ``ending``)."""

    async def work(engine: Engine) -> list[str]:
        return [ending(answer) for answer in await together(*(engine.submit(c) for c in commands))]

    return served(store, work, clock)


def ending(answer: Result | BaseException) -> str:
    """``done``, ``replayed``, or the name of the refusal or failure."""
    if isinstance(answer, BaseException):
        return type(answer).__name__
    if answer.replayed:
        return "replayed"
    return type(answer.outcome).__name__ if isinstance(answer.outcome, Refusal) else "done"


# --- renderers -------------------------------------------------------------------------------------


class Renderer:
    """Renders outcomes as replies of which no two are alike, so that a replay can be told from a new one."""

    def __init__(self) -> None:
        self._numbers = itertools.count(1)
        self.rendered = 0

    def __call__(self, outcome: Outcome) -> StoredReply:
        self.rendered = next(self._numbers)
        refused = isinstance(outcome, Refusal)
        reason = outcome.reason if isinstance(outcome, Refusal) else ""
        return StoredReply(400 if refused else 200, reason, f'{{"Ọja":{self.rendered}}}'.encode())


def rendered_later(outcome: Outcome) -> StoredReply | None:
    """The renderer of a first phase: only a refusal answers at once, all else a later command."""
    return StoredReply(400, outcome.reason, b"{}") if isinstance(outcome, Refusal) else None


def poison(_outcome: Outcome) -> StoredReply:
    """A renderer that fails."""
    raise ZeroDivisionError


# --- faults at the commit -------------------------------------------------------------------------


class Fault(Enum):
    """A fault that falls on one batch of a ``FaultyStore``."""

    CLOSED = "the batch does not open"
    TRANSIENT = "the database says at the commit that trying again may help"
    LOST_BEFORE = "the connection breaks before COMMIT takes effect"
    LOST_AFTER = "COMMIT takes effect and its answer is lost"
    FOREIGN = "the batch does not open, and what is raised is no error of the store"


class FaultySqlite(SqliteStore):
    """The real store, on whose next batches the planned faults fall, one each; None is no fault."""

    def __init__(self, url: str):
        super().__init__(sqlite_path(url))
        self.faults: deque[Fault | None] = deque()

    def batch(self) -> AbstractContextManager[Batch]:
        return _falling(self.faults, super().batch)


class FaultyPostgres(PostgresStore):
    """The same on PostgreSQL as ``FaultySqlite``."""

    def __init__(self, url: str):
        super().__init__(url)
        self.make_ready(migrate=True)
        self.faults: deque[Fault | None] = deque()

    def batch(self) -> AbstractContextManager[Batch]:
        return _falling(self.faults, super().batch)


FaultyStore: TypeAlias = FaultySqlite | FaultyPostgres


def faulty_store(place: Place) -> FaultyStore:
    """The store of this place, installed, and sound until faults are planned."""
    url = url_of(place)
    store = FaultyPostgres(url) if is_postgres(url) else FaultySqlite(url)
    store.accounts.install(Mode.SANDBOX, "key-fingerprint", NOW)
    return store


@contextmanager
def _falling(
    faults: deque[Fault | None], batch: Callable[[], AbstractContextManager[Batch]]
) -> Iterator[Batch]:
    fault = faults.popleft() if faults else None
    if fault is Fault.CLOSED:
        raise Transient(fault.value)
    if fault is Fault.FOREIGN:
        raise RuntimeError(fault.value)
    with batch() as opened:
        yield opened if fault is None else cast("Batch", _FaultyBatch(opened, fault))


class _FaultyBatch:
    def __init__(self, batch: Batch, fault: Fault):
        self._batch = batch
        self._fault = fault

    def __getattr__(self, verb: str) -> Any:
        return getattr(self._batch, verb)

    def commit(self) -> None:
        if self._fault is Fault.TRANSIENT:
            raise Transient(self._fault.value)
        if self._fault is Fault.LOST_AFTER:
            self._batch.commit()
        raise CommitUnknown(self._fault.value)


# --- what the database says -----------------------------------------------------------------------


@contextmanager
def traced(store: FaultyStore, *, reader: bool = False) -> Iterator[list[str]]:
    """The first words of the statements that the store's writer, or its reader, runs within the block."""
    statements: list[str] = []

    def ran(statement: str) -> None:
        statements.append(" ".join(statement.split()[:3]))

    with _heard(store._reader if reader else store._writer, ran):
        yield statements


@contextmanager
def _heard(line: "sqlite3.Connection | _Session", ran: Callable[[str], None]) -> Iterator[None]:
    if isinstance(line, sqlite3.Connection):
        line.set_trace_callback(ran)
        yield
        line.set_trace_callback(None)
    else:
        with _heard_by_cursors(line, ran):
            yield


@contextmanager
def _heard_by_cursors(line: _Session, ran: Callable[[str], None]) -> Iterator[None]:
    """The driver's own cursors, which tell what they are given to run, in the place of those in use."""

    class Telling(psycopg.RawCursor[Any]):
        def execute(self, query: Any, *values: Any, **how: Any) -> "Telling":
            ran(str(query))
            return super().execute(query, *values, **how)

    with line.transaction("BEGIN"):
        pass  # so that there is a connection
    connection, silent = line._connection, line._cursor
    assert connection is not None
    line._cursor, connection.cursor_factory = Telling(connection), Telling
    yield
    line._cursor, connection.cursor_factory = silent, psycopg.Cursor


def ask(store: FaultyStore, statement: str, *values: object) -> list[tuple[Any, ...]]:
    """Ask the committed state by a statement of the test's own, in which ``?`` stands for values."""
    named = {f"value_{number}": value for number, value in enumerate(values)}
    places = iter(named)
    question = text(re.sub(r"\?", lambda _: f":{next(places)}", statement))
    return store.read(lambda connection: [tuple(row) for row in connection.execute(question, named)])


def status(store: FaultyStore, reference: str, account_id: str = ACCOUNT) -> str:
    """The order's status, or ``none``."""
    found = ask(
        store, "SELECT status FROM orders WHERE account_id = ? AND reference = ?", account_id, reference
    )
    return str(found[0][0]) if found else "none"


def event_types(store: FaultyStore, reference: str) -> list[str]:
    """Return what happened to the order, in its order."""
    return [
        str(type_)
        for (type_,) in ask(
            store,
            "SELECT e.type FROM events AS e JOIN orders AS o USING (account_id, order_id)"
            " WHERE account_id = ? AND o.reference = ? ORDER BY e.sequence",
            ACCOUNT,
            reference,
        )
    ]
