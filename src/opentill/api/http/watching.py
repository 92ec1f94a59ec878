"""The open streams of one process and the one watcher of all of them: one question, four times a second.

Nobody tells a stream of news: the process asks the database what is new for all who listen, so it does not
matter which process wrote it. The watcher runs only while a stream is open.
"""

import asyncio
import contextlib
import math
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Hashable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import ClassVar, Generic, TypeVar

from structlog.typing import FilteringBoundLogger

from opentill.engine.errors import EngineError, Overloaded
from opentill.store.errors import StoreError


@dataclass(frozen=True, slots=True)
class Pace:
    """The rhythm of a watcher and its streams."""

    look_seconds: float = 0.25
    heartbeat_seconds: float = 15.0
    patience_seconds: float = math.inf
    """How long the database may be away before streams are ended, so that readers find out for themselves."""


class WatchedStream(ABC):
    """A ``Stream`` that greets, waits for news, and shows now and then that it lives."""

    GREETING: ClassVar[bytes]
    """The first piece: tells browsers how soon to come again, and everybody that the stream is open."""
    HEARTBEAT: ClassVar[bytes]
    """What is sent while nothing happens."""

    def __init__(self, owner: Hashable, heartbeat_seconds: float):
        """Take whose stream it is, by which its number is limited."""
        self.owner = owner
        self.on_end: Callable[[], None] | None = None
        self._heartbeat_seconds = heartbeat_seconds
        self._news = asyncio.Event()
        self._greeted = False
        self._ended = False

    @abstractmethod
    async def piece(self) -> bytes:
        """Return what is new, empty for nothing; what it raises ends the stream."""

    async def next(self) -> bytes | None:
        """Return the greeting, then whatever is new, or a sign of life; None once the stream has ended."""
        if not self._greeted:
            self._greeted = True
            return self.GREETING
        while not self._ended:
            if piece := await self.piece():
                return piece
            if not await self._wait():
                return self.HEARTBEAT
        return None

    async def _wait(self) -> bool:
        """Return True for news or the end, False when it is time for a sign of life."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._heartbeat_seconds):
                await self._news.wait()
            self._news.clear()
            return True
        return False

    def wake(self) -> None:
        """Let the reader look for what is new."""
        self._news.set()

    def end(self) -> None:
        """Make the next piece the last one; called again it does nothing."""
        self._ended = True
        self._news.set()
        if self.on_end is not None:
            self.on_end()


S = TypeVar("S", bound=WatchedStream)


class OpenStreams(Generic[S]):
    """The streams that are open, as many as there may be, by whose they are."""

    def __init__(
        self,
        name: str,
        log: FilteringBoundLogger,
        look: Callable[[], Awaitable[None]],
        most: int,
        most_of_one: int,
        pace: Pace,
    ):
        """Take the question that each round asks; ``most_of_one`` is how many one owner may have open.

        ``name`` begins the names of what is logged when a round fails.
        """
        self.pace = pace
        self._name = name
        self._log = log
        self._look = look
        self._most = most
        self._most_of_one = most_of_one
        self._open: dict[Hashable, set[S]] = {}
        self._count = 0
        self._closed = False
        self._watch_task: asyncio.Task[None] | None = None

    def of(self, owner: Hashable) -> list[S]:
        """Return the open streams of one owner; they may end while they are gone through."""
        return list(self._open.get(owner, ()))

    def __iter__(self) -> Iterator[S]:
        """Go through all open streams; they may end meanwhile."""
        return iter([stream for streams in self._open.values() for stream in streams])

    def add(self, stream: S) -> S:
        """Watch over this stream until it ends.

        Raises Overloaded when so many are open already, in all or of its owner, or the server stops.
        """
        of_owner = len(self._open.get(stream.owner, ()))
        if self._closed or self._count >= self._most or of_owner >= self._most_of_one:
            raise Overloaded
        self._open.setdefault(stream.owner, set()).add(stream)
        self._count += 1
        stream.on_end = partial(self._forget, stream)
        if self._watch_task is None or self._watch_task.done():
            self._watch_task = asyncio.create_task(self._watch(), name=self._name)
        return stream

    def _forget(self, stream: S) -> None:
        of_owner = self._open.get(stream.owner, set())
        if stream in of_owner:
            self._count -= 1
            of_owner.remove(stream)
            if not of_owner:
                del self._open[stream.owner]

    def end(self) -> None:
        """End all streams and open no other: the server stops."""
        self._closed = True
        self._let_go()

    async def close(self) -> None:
        """End all streams and stop watching."""
        self.end()
        if self._watch_task is not None:
            self._watch_task.cancel()
            await asyncio.gather(self._watch_task, return_exceptions=True)

    def _let_go(self) -> None:
        for stream in self:
            stream.end()

    async def _watch(self) -> None:
        """Look as long as a stream is open; a failure only ends a round."""
        loop = asyncio.get_running_loop()
        seen_at = loop.time()
        while self._open:
            try:
                await self._look()
                seen_at = loop.time()
            except (EngineError, StoreError) as error:
                self._log.warning(f"{self._name}_wait", error=type(error).__name__)
            except Exception:  # noqa: BLE001 - a bug in one round must not end the loop
                self._log.exception(f"{self._name}_failed")
            if loop.time() - seen_at > self.pace.patience_seconds:
                self._let_go()
            await asyncio.sleep(self.pace.look_seconds)
