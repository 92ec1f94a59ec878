"""Chaos: contested orders, a receiver of ill will, and a server that is killed again and again.

    record = survive(folder, Chaos(orders=300, kills=3, workers=2, database_url=url))

What comes out is all that was told: by webhook, by the feed, and by a stream that was taken up again behind
the last event heard after each death; and beside it every order as the API shows it in the end.
"""

import asyncio
import json
import random
from collections.abc import Callable, Sized
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, Final

import httpx2
from sqlalchemy import create_engine, text

from api.hearing import Heard, listening
from faults.load import Diary
from polling import until
from races.books import ledger_check
from races.lines import Line
from server import Server, client
from webhooks.fights import Crowd
from webhooks.laws import TOLD_AS, Arrived
from webhooks.receiver import CLOSES_IN_THE_BODY, HANGS_UP, OK, Reaction, Receiver, answer

KEY: Final = "a key for stormy weather"
TIMEOUT_SECONDS: Final = 0.3
SETTINGS: Final[dict[str, Any]] = {
    "sandbox_rail_delay_milliseconds": 2,
    "card_timeout_seconds": 0.5,
    "call_grace_seconds": 0.2,
    "sweep_interval_seconds": 0.1,
    "webhook_timeout_seconds": TIMEOUT_SECONDS,
    "webhook_schedule_seconds": ",".join(["1"] * 20),
}
FAILING_SHARE: Final = 0.3
FAILURES: Final = (
    *[answer(500)] * 4,
    answer(500, after_seconds=0.02),
    *[HANGS_UP] * 4,
    *[answer(301, Location="/elsewhere")] * 4,
    answer(200, after_seconds=3 * TIMEOUT_SECONDS),
)
"""The last one says yes when nobody listens any more."""
SUCCESSES: Final = (*[OK] * 8, answer(204), answer(200, after_seconds=0.02), CLOSES_IN_THE_BODY)
LEASE_SECONDS: Final = 60
"""How long to wait for the last deliveries: a claim of the dead is respected for twenty seconds."""
PAGE: Final = 250
SEED: Final = 1


@dataclass(frozen=True)
class Chaos:
    """The measure of it."""

    orders: int
    kills: int
    workers: int = 1
    database_url: str = ""
    """Empty for SQLite in the data folder."""


@dataclass(frozen=True, kw_only=True)
class Record:
    """The record of what came of it."""

    arrived: list[Arrived]
    orders: dict[str, Any]
    """Every order in full, by reference, as the API shows it in the end."""
    feed: list[Any]
    """All events, page by page."""
    streamed: list[Heard]
    diary: Diary
    torn: int
    """Fights that a death interrupted."""
    streams: int
    """How often the stream had to be opened."""
    ledger: str
    """What ``opentill ledger check`` complains of."""


def survive(folder: Path, chaos: Chaos) -> Record:
    """Live through it; this folder holds the server's data and log."""
    run = _Run(folder, chaos)
    with Receiver(run.react) as run.receiver:
        for life in range(chaos.kills):
            with run.server() as server:
                if life == 0:
                    _register(server, run.receiver.url)
                asyncio.run(run.until_killed(server, run.doom(life)))
        with run.server() as server:
            asyncio.run(run.crowd.fight(server.url, run.numbers))
            until(lambda: run.unsettled(server) == 0, "everything is told", LEASE_SECONDS)
            record = run.record(server)
            assert server.stop() == 0
    return record


def _register(server: Server, url: str) -> None:
    with client(server) as http:
        body = {"url": url, "events": sorted(set(TOLD_AS.values())), "signingKey": KEY}
        answer = http.post("/v1/opentill/webhook-endpoints", json=body)
    assert answer.status_code == 200, answer.text


@dataclass
class _Ear:
    """A client of the stream that takes up where it broke off."""

    heard: list[Heard] = field(default_factory=list)
    opened: int = 0

    def listen(self, server: Server, count: int | None = None) -> None:
        """Hear so many events; without a number, all until the connection breaks."""
        last = {"Last-Event-ID": self.heard[-1].cursor} if self.heard else {}
        with client(server) as http, listening(http, **last) as stream:
            self.opened += 1
            while count is None or len(self.heard) < count:
                self.heard += stream.hear(1)

    def listen_until_it_breaks(self, server: Server) -> None:
        """Hear what comes before the server dies."""
        try:
            self.listen(server)
        except httpx2.TransportError:
            return


class _Run:
    """One way through the chaos."""

    receiver: Receiver

    def __init__(self, folder: Path, chaos: Chaos):
        self._folder = folder
        self._chaos = chaos
        self._chance = random.Random(SEED)
        self._moods = random.Random(SEED)
        self._accepted: list[bool] = []
        self._ear = _Ear()
        self.crowd = Crowd()
        self.numbers = iter(range(chaos.orders))
        """Of the orders that nobody has fought for yet."""

    def server(self) -> Server:
        """The next life on the same data."""
        on = {"database_url": self._chaos.database_url} if self._chaos.database_url else {}
        return Server(self._folder, workers=self._chaos.workers, **SETTINGS, **on)

    def react(self, _number: int) -> Reaction:
        """The receiver's mood, and a note of whether it took the delivery."""
        takes = self._moods.random() >= FAILING_SHARE
        self._accepted.append(takes)
        return self._moods.choice(SUCCESSES if takes else FAILURES)

    def doom(self, life: int) -> Callable[[], bool]:
        """Return when this life ends: amid its orders, or amid its deliveries, by turns."""
        if life % 2 == 0:
            return self._reached(self.crowd.diary.heard, self._share, 2 * self._share)
        return self._reached(self.receiver.posts, self._share // 4, self._share)

    def _reached(self, counted: Sized, least: int, most: int) -> Callable[[], bool]:
        end = len(counted) + self._chance.randint(least, most)
        return lambda: len(counted) >= end

    @property
    def _share(self) -> int:
        """Return how many new orders there are for one life."""
        return self._chaos.orders // (self._chaos.kills + 1)

    async def until_killed(self, server: Server, doom: Callable[[], bool]) -> None:
        """Fight for a share of the orders, listen, and die."""

        def kill() -> None:
            until(doom, "the moment to kill", 40)
            server.kill()

        await asyncio.gather(
            asyncio.to_thread(kill),
            asyncio.to_thread(self._ear.listen_until_it_breaks, server),
            self.crowd.fight(server.url, islice(self.numbers, self._share)),
        )

    def unsettled(self, server: Server) -> int:
        """Return how many rail calls, unplaced events and deliveries are still under way."""
        database = create_engine(self._chaos.database_url or f"sqlite:///{server.data / 'opentill.db'}")
        with database.connect() as connection:
            under_way = sum(int(connection.execute(text(each)).scalar_one()) for each in _UNDER_WAY)
        database.dispose()
        return under_way

    def record(self, server: Server) -> Record:
        """Everything, once nothing is under way."""
        with client(server) as http:
            feed = _whole_feed(http)
        self._ear.listen(server, len(feed))
        arrived = zip(self.receiver.posts, self._accepted, strict=True)
        return Record(
            arrived=[Arrived(post, accepted) for post, accepted in arrived],
            orders=asyncio.run(_orders(server, {event["orderReference"] for event in feed} | self._named)),
            feed=feed,
            streamed=self._ear.heard,
            diary=self.crowd.diary,
            torn=self.crowd.torn,
            streams=self._ear.opened,
            ledger=ledger_check(server),
        )

    @property
    def _named(self) -> set[str]:
        return {f"order-{number}" for number in range(self._chaos.orders)}


_UNDER_WAY: Final = (
    "SELECT count(*) FROM attempts WHERE call_until IS NOT NULL",
    "SELECT count(*) FROM events WHERE place IS NULL",
    "SELECT count(*) FROM webhook_deliveries WHERE state = 'PENDING'",
)


def _whole_feed(http: httpx2.Client) -> list[Any]:
    """All events from the beginning, page by page."""
    events: list[Any] = []
    page = http.get("/v1/opentill/events", params={"limit": PAGE}).json()["data"]
    while page["results"]:
        events += page["results"]
        query = {"limit": PAGE, "after": page["cursor"]}
        page = http.get("/v1/opentill/events", params=query).json()["data"]
    return events


async def _orders(server: Server, references: set[str]) -> dict[str, Any]:
    """Each order as the API shows it; those that it does not know are missing."""
    line = Line(server.url, {}, most_connections=8)
    answers = await asyncio.gather(*(line.get(f"/v1/opentill/orders/{name}") for name in references))
    await line.close()
    found = [json.loads(answer.content)["data"] for answer in answers]
    return {order["orderReference"]: order for order in found if order is not None}
