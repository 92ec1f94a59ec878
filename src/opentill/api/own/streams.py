"""The open event streams of one process (contract 10): one question for all of them, four times a second.

A stream is a reader of the feed that waits at its end. Nobody tells it of news; the process asks the
database for the last place of each merchant that listens, so it does not matter which process placed an
event. It ends with its token, and at once when the server stops.
"""

import asyncio
import contextlib
from dataclasses import dataclass, field
from typing import Final

import msgspec
import structlog

from opentill.api.http.dependencies import Wanted
from opentill.api.own.feed import Feed, to_cursor
from opentill.api.own.order_views import EventShown
from opentill.clock import Clock
from opentill.engine.errors import EngineError, Overloaded
from opentill.engine.reader import Reader
from opentill.engine.threads import StoreThreads
from opentill.store.interface import StoreError

PAGE: Final = 100
"""Events in one piece of a stream: what may be held in memory for a slow reader."""
_GREETING: Final = b"retry: 1000\n\n"
"""Tells browsers how soon to come again, and everybody that the stream is open."""
_HEARTBEAT: Final = b":\n\n"
_ROUNDS_PER_TOKEN_CHECK: Final = 4

_log = structlog.get_logger("opentill.api")
_json = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class Pace:
    """How often things happen."""

    look_seconds: float = 0.25
    heartbeat_seconds: float = 15.0


class EventStream:
    """One merchant's events from a place on, as ``text/event-stream``; see ``routing.Stream``."""

    def __init__(self, streams: "OpenEventStreams", wanted: Wanted, after: int, token_until: int | None):
        self.wanted = wanted
        self.token_until = token_until
        self._streams = streams
        self._place = after
        self._known = after
        """The last place that is known to be given out."""
        self._news = asyncio.Event()
        self._more = True
        """Whether there may be events behind our place."""
        self._greeted = False
        self._ended = False

    async def next(self) -> bytes | None:
        """See ``Stream.next``. Raises what reading the feed raises; the stream is then over."""
        if not self._greeted:
            self._greeted = True
            return _GREETING
        while not self._ended:
            if not self._more:
                if not await self._wait():
                    return _HEARTBEAT
            elif piece := await self._read():
                return piece
        return None

    async def _read(self) -> bytes:
        known = self._known
        page = await self._streams.feed.page(self.wanted, self._place, PAGE)
        self._place = page.place
        self._more = page.full or self._known > max(known, page.place)
        return b"".join(_told(place, event) for place, event in page.events)

    async def _wait(self) -> bool:
        """True for news or the end, False when it is time for a sign of life."""
        self._news.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._streams.pace.heartbeat_seconds):
                return await self._news.wait()
        return False

    def note(self, last_place: int) -> None:
        """Places up to this one have been given out."""
        if last_place > max(self._known, self._place):
            self._known, self._more = last_place, True
            self._news.set()

    def end(self) -> None:
        """See ``Stream.end``."""
        self._ended = True
        self._news.set()
        self._streams.forget(self)


def _told(place: int, event: EventShown) -> bytes:
    return b"id: %s\nevent: %s\ndata: %s\n\n" % (
        to_cursor(place).encode(),
        event.type.encode(),
        _json(event),
    )


@dataclass(slots=True)
class OpenEventStreams:
    """Opens streams, as many as there may be, and watches over them."""

    feed: Feed
    threads: StoreThreads
    reader: Reader
    clock: Clock
    most: int
    pace: Pace = field(default_factory=Pace)
    _open: set[EventStream] = field(default_factory=set)
    _closed: bool = False
    _watch_task: asyncio.Task[None] | None = None

    def open(self, wanted: Wanted, after: int, token_until: int | None) -> EventStream:
        """A stream of events behind a place; ``token_until`` is business time.

        Raises Overloaded when so many are open already, half of them for one merchant, or the server stops.
        """
        of_merchant = sum(each.wanted.account_id == wanted.account_id for each in self._open)
        if self._closed or len(self._open) >= self.most or of_merchant >= max(self.most // 2, 1):
            raise Overloaded
        stream = EventStream(self, wanted, after, token_until)
        self._open.add(stream)
        if self._watch_task is None or self._watch_task.done():
            self._watch_task = asyncio.create_task(self._watch(), name="streams")
        return stream

    def forget(self, stream: EventStream) -> None:
        """The stream has ended."""
        self._open.discard(stream)

    def end(self) -> None:
        """The server stops: all streams end, and no other is opened."""
        self._closed = True
        for stream in list(self._open):
            stream.end()

    async def close(self) -> None:
        """End all streams and stop watching."""
        self.end()
        if self._watch_task is not None:
            self._watch_task.cancel()
            await asyncio.gather(self._watch_task, return_exceptions=True)

    async def _watch(self) -> None:
        """As long as one is open; a failure only ends a round."""
        rounds = 0
        while self._open:
            try:
                await self._look()
                if rounds % _ROUNDS_PER_TOKEN_CHECK == 0:
                    await self._end_with_their_tokens()
            except (EngineError, StoreError) as error:
                _log.warning("streams_wait", error=type(error).__name__)
            except Exception:  # noqa: BLE001 - a bug in one round must not end the loop
                _log.exception("streams_failed")
            rounds += 1
            await asyncio.sleep(self.pace.look_seconds)

    async def _look(self) -> None:
        accounts = {stream.wanted.account_id for stream in self._open}
        last = await self.threads.read(self.threads.store.last_places, accounts)
        for stream in list(self._open):
            stream.note(last.get(stream.wanted.account_id, 0))

    async def _end_with_their_tokens(self) -> None:
        """A stream lives no longer than the token it was opened with (laws 10)."""
        tokens = {stream.wanted.token for stream in self._open if stream.wanted.token}
        facts = await self.reader.ask(lambda snapshot: snapshot.facts(tokens), None)
        now = self.clock.now() + facts.clock_offset
        for stream in list(self._open):
            over = stream.token_until is not None and now >= stream.token_until
            if over or stream.wanted.token in facts.dead_tokens:
                stream.end()
