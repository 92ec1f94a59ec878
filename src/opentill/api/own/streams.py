"""The open event streams of one process (contract 10): readers of the feed that wait at its end.

Each round asks for the last place of each merchant that listens. A stream ends with its token, and at once
when the server stops.
"""

from typing import ClassVar, Final

import msgspec
import structlog

from opentill.api.http.cursor import to_feed_cursor
from opentill.api.http.dependencies import Wanted
from opentill.api.http.watching import OpenStreams, Pace, WatchedStream
from opentill.api.own.feed import Feed
from opentill.api.own.order_views import EventShown
from opentill.clock import Clock
from opentill.engine.reader import Reader
from opentill.engine.threads import StoreThreads

PAGE: Final = 100
"""Events in one piece of a stream: what may be held in memory for a slow reader."""
_ROUNDS_PER_TOKEN_CHECK: Final = 4

_log = structlog.get_logger("opentill.api")
_json = msgspec.json.Encoder().encode


class EventStream(WatchedStream):
    """One merchant's events from a position on, as ``text/event-stream``."""

    GREETING: ClassVar[bytes] = b"retry: 1000\n\n"
    HEARTBEAT: ClassVar[bytes] = b":\n\n"

    def __init__(
        self, feed: Feed, wanted: Wanted, after: int, token_until: int | None, heartbeat_seconds: float
    ):
        """Begin behind the position ``after``; the token ends at ``token_until`` in business time."""
        super().__init__(wanted.account_id, heartbeat_seconds)
        self.wanted = wanted
        self.token_until = token_until
        self._feed = feed
        self._position = after
        self._known = after
        """The last position that is known to be given out."""
        self._more = True
        """Whether there may be events behind our position."""

    async def piece(self) -> bytes:
        """Return a page of events; raises what reading the feed raises."""
        while self._more and not self._ended:
            if piece := await self._read():
                return piece
        return b""

    async def _read(self) -> bytes:
        known = self._known
        page = await self._feed.page(self.wanted, self._position, PAGE)
        self._position = page.position
        self._more = page.full or self._known > max(known, page.position)
        return b"".join(_framed(position, event) for position, event in page.events)

    def note(self, last_position: int) -> None:
        """Take note that positions up to this one have been given out."""
        if last_position > max(self._known, self._position):
            self._known, self._more = last_position, True
            self.wake()


def _framed(position: int, event: EventShown) -> bytes:
    return b"id: %s\nevent: %s\ndata: %s\n\n" % (
        to_feed_cursor(position).encode(),
        event.type.encode(),
        _json(event),
    )


class OpenEventStreams:
    """Opens streams, as many as there may be: half of them for one merchant, at least one."""

    def __init__(
        self,
        feed: Feed,
        threads: StoreThreads,
        reader: Reader,
        clock: Clock,
        most: int,
        pace: Pace | None = None,
    ):
        self._feed = feed
        self._threads = threads
        self._reader = reader
        self._clock = clock
        self._rounds = 0
        half = max(most // 2, 1)
        self._open: OpenStreams[EventStream] = OpenStreams(
            "streams", _log, self._look, most, half, pace or Pace()
        )

    def open(self, wanted: Wanted, after: int, token_until: int | None) -> EventStream:
        """Open a stream of the events behind a position; ``token_until`` is business time.

        Raises Overloaded when so many are open already, or the server stops.
        """
        heartbeat_seconds = self._open.pace.heartbeat_seconds
        return self._open.add(EventStream(self._feed, wanted, after, token_until, heartbeat_seconds))

    def end(self) -> None:
        """End all streams and open no other: the server stops."""
        self._open.end()

    async def close(self) -> None:
        """End all streams and stop watching over them."""
        await self._open.close()

    async def _look(self) -> None:
        accounts = {stream.wanted.account_id for stream in self._open}
        last = await self._threads.read(self._threads.store.outbox.last_places, accounts)
        for stream in self._open:
            stream.note(last.get(stream.wanted.account_id, 0))
        if self._rounds % _ROUNDS_PER_TOKEN_CHECK == 0:
            await self._end_with_their_tokens()
        self._rounds += 1

    async def _end_with_their_tokens(self) -> None:
        """End the streams whose token has ended: none lives longer than that (laws 10)."""
        tokens = {stream.wanted.token for stream in self._open if stream.wanted.token}
        facts = await self._reader.ask(lambda snapshot: snapshot.facts(tokens), None)
        now = self._clock.now() + facts.clock_offset
        for stream in self._open:
            over = stream.token_until is not None and now >= stream.token_until
            if over or stream.wanted.token in facts.dead_tokens:
                stream.end()
