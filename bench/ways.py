"""The ways in which a batch could reach PostgreSQL: another driver, other sets, another place to run.

The engine is the real one in all of them, and so are its committer and what is judged. Each way adds only
what it does differently, and only as far as a cancel needs it.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from functools import partial
from typing import Any, Final, TypeAlias, cast

import uvloop
from sqlalchemy.util import await_only, greenlet_spawn

from lines import AsyncpgLine, AsyncPsycopgLine, PsycopgLine, SharedTrips, Wait
from opentill.engine.batch import Result, Submission
from opentill.engine.engine import Engine, EngineSettings, _Committer
from opentill.engine.errors import EngineError
from opentill.engine.queue import Queue, QueueLimits
from opentill.engine.threads import StoreThreads
from opentill.store.databases.postgres import PostgresStore
from opentill.store.interface import Store
from orders import CLOCK
from shapes import ColumnSets, JsonSets, LastWithCommit, RowByRow

Open: TypeAlias = Callable[[str, int], AbstractAsyncContextManager[Engine]]
"""Takes a URL and how many commands may share a commit; gives a running engine."""


class LineStore:
    """The part of a store that the engine asks for."""

    def __init__(self, line: Any, kind: type[JsonSets]):
        self._line = line
        self._kind = kind

    @contextmanager
    def batch(self) -> Iterator[JsonSets]:
        """Open a batch; what fails ends the measurement."""
        self._line.begin()
        yield self._kind(self._line)

    def close(self) -> None:
        """Close all that is open."""
        self._line.close()


class LoopEngine(Engine):
    """Runs the committer on the event loop, in a greenlet that steps aside while the database works."""

    async def _carry_out(self, submissions: Sequence[Submission]) -> Sequence[Result | EngineError]:
        return cast(
            "Sequence[Result | EngineError]", await greenlet_spawn(self._committer.carry_out, submissions)
        )


class _Twins(Queue[Submission, Result]):
    """Two groups are carried out side by side."""

    def start(self) -> None:
        self._loop_task = asyncio.create_task(self._serve_both())

    async def _serve_both(self) -> None:
        await asyncio.gather(self._serve(), self._serve())


class TwinEngine(Engine):
    """Two batches in flight, each with a thread and a connection of its own."""

    def __init__(self, threads: Sequence[StoreThreads], settings: EngineSettings):
        super().__init__(threads[0], CLOCK, settings)
        self._free = [(one, _Committer(one.store, CLOCK, settings)) for one in threads]
        self._queue = _Twins(self._carry_out, QueueLimits(settings.max_batch, settings.queue_limit))

    async def _carry_out(self, submissions: Sequence[Submission]) -> Sequence[Result | EngineError]:
        threads, committer = self._free.pop()
        try:
            return await threads.write(committer.carry_out, submissions)
        finally:
            self._free.append((threads, committer))


@asynccontextmanager
async def _running(engine: Engine) -> AsyncIterator[Engine]:
    engine.start()
    yield engine
    await engine.close()


@asynccontextmanager
async def tree(url: str, most: int) -> AsyncIterator[Engine]:
    """The store and the engine as they are."""
    threads = StoreThreads(PostgresStore(url))
    async with _running(Engine(threads, CLOCK, EngineSettings(most))) as engine:
        yield engine
    threads.close()
    threads.store.close()


@asynccontextmanager
async def tree_twice(url: str, most: int) -> AsyncIterator[Engine]:
    """Two of the store's writers, each taking up to half of those who wait."""
    both = [StoreThreads(PostgresStore(url)) for _ in range(2)]
    async with _running(TwinEngine(both, EngineSettings(most // 2))) as engine:
        yield engine
    for threads in both:
        threads.close()
        threads.store.close()


@asynccontextmanager
async def _threaded(
    line: Callable[[str], Any], kind: type[JsonSets], url: str, most: int
) -> AsyncIterator[Engine]:
    store = LineStore(line(url), kind)
    threads = StoreThreads(cast("Store", store))
    async with _running(Engine(threads, CLOCK, EngineSettings(most))) as engine:
        yield engine
    threads.close()
    store.close()


@asynccontextmanager
async def _blocking(url: str, most: int) -> AsyncIterator[Engine]:
    """The store as it is, called by the event loop itself, which stands still meanwhile."""
    store = PostgresStore(url)
    engine = _BlockingEngine(StoreThreads(store), CLOCK, EngineSettings(most))
    async with _running(engine):
        yield engine
    store.close()


class _BlockingEngine(Engine):
    async def _carry_out(self, submissions: Sequence[Submission]) -> Sequence[Result | EngineError]:
        return self._committer.carry_out(submissions)


@asynccontextmanager
async def _private_loop(kind: type[JsonSets], url: str, most: int) -> AsyncIterator[Engine]:
    """The verbs of the writer thread run an event loop of their own until the database has answered."""
    loop = uvloop.new_event_loop()
    line = AsyncpgLine(loop.run_until_complete)
    store = LineStore(line, kind)
    threads = StoreThreads(cast("Store", store))
    await threads.write(line.connect, url)
    async with _running(Engine(threads, CLOCK, EngineSettings(most))) as engine:
        yield engine
    await threads.write(store.close)
    threads.close()
    loop.close()


@asynccontextmanager
async def _on_loop(
    line: Callable[[Wait], Any], kind: type[JsonSets], url: str, most: int
) -> AsyncIterator[Engine]:
    opened = line(await_only)
    await greenlet_spawn(opened.connect, url)
    store = LineStore(opened, kind)
    threads = StoreThreads(cast("Store", store))
    async with _running(LoopEngine(threads, CLOCK, EngineSettings(most))) as engine:
        yield engine
    threads.close()
    await greenlet_spawn(store.close)


_SETTINGS_OF_CONNECTION: Final = (
    "?options=-c%20lock_timeout%3D2s%20-c%20idle_in_transaction_session_timeout%3D10s"
    "%20-c%20enable_seqscan%3Doff%20-c%20enable_hashjoin%3Doff%20-c%20enable_mergejoin%3Doff"
)


def _set_once(url: str) -> PsycopgLine:
    return PsycopgLine(url + _SETTINGS_OF_CONNECTION, "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE")


TREE: Final = "psycopg, thread, JSON sets (in the tree)"

WAYS: Final[Mapping[str, Open]] = {
    TREE: tree,
    "psycopg, thread, an array for each column": partial(_threaded, PsycopgLine, ColumnSets),
    "psycopg, thread, rows pipelined": partial(_threaded, PsycopgLine, RowByRow),
    "asyncpg, thread with a loop, JSON sets": partial(_private_loop, JsonSets),
    "asyncpg, thread with a loop, arrays": partial(_private_loop, ColumnSets),
    "asyncpg, thread with a loop, rows pipelined": partial(_private_loop, RowByRow),
    "psycopg, event loop, JSON sets": partial(_on_loop, AsyncPsycopgLine, JsonSets),
    "asyncpg, event loop, JSON sets": partial(_on_loop, AsyncpgLine, JsonSets),
    "psycopg, blocking the event loop, JSON sets": _blocking,
    "as in the tree, two batches in flight": tree_twice,
    "as in the tree, settings once a connection": partial(_threaded, _set_once, JsonSets),
    "as in the tree, four round trips for six": partial(_threaded, SharedTrips, LastWithCommit),
}
