"""Streams without a network: their signs of life, what they cost, and when they end."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from opentill.api.http.cursor import START, from_feed_cursor, to_feed_cursor
from opentill.api.http.dependencies import Wanted
from opentill.api.http.streaming import send_stream
from opentill.api.http.watching import Pace
from opentill.api.own.feed import Feed
from opentill.api.own.streams import EventStream, OpenEventStreams
from opentill.api.wire import Rejected
from opentill.engine.errors import Overloaded
from opentill.engine.reader import Reader
from opentill.engine.threads import StoreThreads
from opentill.store.accounts.contract import Mode
from opentill.store.databases.database import Database
from opentill.store.databases.dialect import SQLITE
from opentill.store.databases.sqlite import SqliteStore
from opentill.store.outbox.statements import OutboxStatements
from opentill.store.outbox.verbs import OutboxVerbs
from store_factories import ACCOUNT, NOW, OTHER, TOKEN, ToldClock, add_orders, add_token

QUICK = Pace(look_seconds=0.005, heartbeat_seconds=0.05)
LONG_SECONDS = 10


class AskedOutbox(OutboxVerbs):
    """Remembers of which merchants the last places were asked."""

    def __init__(self, database: Database, statements: OutboxStatements):
        super().__init__(database, statements)
        self.asked: list[set[str]] = []

    def last_places(self, account_ids: Collection[str]) -> Mapping[str, int]:
        self.asked.append(set(account_ids))
        return super().last_places(account_ids)


class AskedStore(SqliteStore):
    """Has an outbox that remembers what it was asked."""

    outbox: AskedOutbox

    def __init__(self, path: Path):
        super().__init__(path)
        self.outbox = AskedOutbox(self, OutboxStatements(SQLITE))


@dataclass
class Rig:
    """Streams over a store with orders in it."""

    store: AskedStore
    clock: ToldClock
    streams: OpenEventStreams

    def tell(self, *references: str, account_id: str = ACCOUNT) -> None:
        """New orders, already in the feed."""
        add_orders(self.store, *references, account_id=account_id)
        assert self.store.outbox.place_events(lambda _event, _view: None, NOW, 100) == len(references)


@asynccontextmanager
async def rig(folder: Path, most: int = 100) -> AsyncIterator[Rig]:
    store = AskedStore(folder / "opentill.db")
    store.accounts.install(Mode.SANDBOX, "fingerprint", NOW)
    threads, clock = StoreThreads(store), ToldClock()
    reader = Reader(threads, 1000)
    reader.start()
    streams = OpenEventStreams(Feed(threads, reader), threads, reader, clock, most, QUICK)
    try:
        yield Rig(store, clock, streams)
    finally:
        await streams.close()
        await reader.close()
        threads.close()
        store.close()


def with_rig(folder: Path, work: Callable[[Rig], Awaitable[None]], most: int = 100) -> None:
    async def main() -> None:
        async with rig(folder, most) as opened:
            await asyncio.wait_for(work(opened), LONG_SECONDS)

    asyncio.run(main())


async def event_piece(stream: EventStream) -> bytes:
    """The next piece that tells something."""
    while (piece := await stream.next()) is not None:
        if piece.startswith(b"id: "):
            return piece
    raise AssertionError("the stream ended")


def test_a_silent_stream_shows_that_it_lives(tmp_path: Path) -> None:
    """While nothing happens a comment comes now and then, which readers of a stream pass over."""

    async def work(rig: Rig) -> None:
        stream = rig.streams.open(Wanted(ACCOUNT, None), START, None)
        assert await stream.next() == b"retry: 1000\n\n"
        assert [await stream.next() for _ in range(3)] == [b":\n\n"] * 3

    with_rig(tmp_path, work)


def test_one_question_serves_all_open_streams(tmp_path: Path) -> None:
    """However many streams of however many merchants are open, each round asks once, for all of them."""

    async def work(rig: Rig) -> None:
        streams = [
            rig.streams.open(Wanted(a, None), START, None) for a in (ACCOUNT, OTHER) for _ in range(20)
        ]
        for _ in ("the greeting", "a sign of life, for nothing has happened"):
            await asyncio.gather(*(stream.next() for stream in streams))
        rig.tell("mine")
        rig.tell("theirs", account_id=OTHER)
        pieces = await asyncio.gather(*map(event_piece, streams))
        assert all(b'"orderReference":"mine"' in piece for piece in pieces[:20])
        assert all(b'"orderReference":"theirs"' in piece for piece in pieces[20:])
        assert all(asked == {ACCOUNT, OTHER} for asked in rig.store.outbox.asked)

    with_rig(tmp_path, work)


def test_a_stream_lives_no_longer_than_its_token(tmp_path: Path) -> None:
    """The stream ends when the token's time is over, as it does when it is revoked."""

    async def work(rig: Rig) -> None:
        add_token(rig.store)
        expiring = rig.streams.open(Wanted(ACCOUNT, TOKEN), START, NOW + 1000)
        lasting = rig.streams.open(Wanted(ACCOUNT, TOKEN), START, NOW + 3_600_000)
        rig.clock.time += 1000
        await ended(expiring)
        rig.tell("still there")
        assert b"still there" in await event_piece(lasting)
        rig.store.accounts.revoke_token(TOKEN.account_id, TOKEN.jti, "client-1", NOW)
        await ended(lasting)

    with_rig(tmp_path, work)


async def ended(stream: EventStream) -> None:
    while await stream.next() is not None:
        pass


def test_no_more_streams_than_there_may_be(tmp_path: Path) -> None:
    """One merchant has half of the places at most; an ended stream gives its place back."""

    async def work(rig: Rig) -> None:
        mine = [rig.streams.open(Wanted(ACCOUNT, None), START, None) for _ in range(2)]
        with pytest.raises(Overloaded):
            rig.streams.open(Wanted(ACCOUNT, None), START, None)
        rig.streams.open(Wanted(OTHER, None), START, None)
        mine[0].end()
        rig.streams.open(Wanted(ACCOUNT, None), START, None)
        rig.streams.end()
        with pytest.raises(Overloaded):
            rig.streams.open(Wanted(OTHER, None), START, None)
        await ended(mine[1])

    with_rig(tmp_path, work, most=4)


def test_who_does_not_take_what_is_sent_is_hung_up_on(tmp_path: Path) -> None:
    """A reader whose connection takes nothing more loses it; nothing is gathered for them."""

    async def work(rig: Rig) -> None:
        rig.tell(*(f"o{number}" for number in range(50)))
        stream = rig.streams.open(Wanted(ACCOUNT, None), START, None)
        connection = StuckConnection()
        await send_stream(stream, [], connection.receive, connection.send, connection.hang_up, 0.02)
        assert connection.gone.is_set()
        assert connection.pieces == 2
        await ended(stream)

    with_rig(tmp_path, work)


class StuckConnection:
    """A connection as a server gives it: it takes the greeting and then nothing more."""

    def __init__(self) -> None:
        self.gone = asyncio.Event()
        self.pieces = 0

    async def send(self, message: dict[str, Any]) -> None:
        if message["type"] == "http.response.body":
            self.pieces += 1
            if self.pieces > 1:
                await asyncio.Event().wait()

    async def receive(self) -> Mapping[str, Any]:
        await self.gone.wait()
        return {"type": "http.disconnect"}

    def hang_up(self) -> None:
        self.gone.set()


@pytest.mark.parametrize("place", [0, 1, 2**62 - 1])
def test_a_cursor_stays_the_same_for_ever(place: int) -> None:
    """A place and its cursor lead to each other, and no other text leads anywhere."""
    cursor = to_feed_cursor(place)
    assert from_feed_cursor(cursor, "after") == place
    for other in (cursor[:-1], cursor + "=", cursor.replace("Z", "z"), "", "ZXZlbnQ6", "ZXZlbnQ6MDA="):
        with pytest.raises(Rejected):
            from_feed_cursor(other, "after")
