"""A payment, two cancels and lookups meet at one order, over HTTP, on several processes and one database."""

import asyncio
import random
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import pytest

from races.books import calls_under_way, ledger_check, read_books, until
from races.laws import Heard, Told, complaints, unsettled
from races.lines import CANCELLED_BODY, NOT_CANCELLED_BODY, Line, lines, paid, process_of
from server import Server

ORDERS = 120
RINGS = 12
"""Orders that are attacked at the same moment."""
LEAST = 5
"""How often each ending must be seen; each is expected for about a third of all orders."""
RAIL_DELAY_MILLISECONDS = 40


@dataclass
class Fight:
    """What everybody was told about one order."""

    reference: str
    cancels: list[httpx2.Response] = field(default_factory=list)
    payment: httpx2.Response | None = None
    """The last answer that the payer got."""
    seen: list[str] = field(default_factory=list)
    """The statuses that lookups showed, in their order."""

    @property
    def heard(self) -> list[Heard]:
        told = [Told.CANCELLED for answer in self.cancels if answer.status_code == 200]
        told += [Told.PAID] if self.payment is not None and paid(self.payment) else []
        return [Heard(self.reference, each) for each in told]


class Ring:
    """Four lines around one order after the other."""

    def __init__(self, payer: Line, cancellers: Sequence[Line], looker: Line):
        self._payer, self._cancellers, self._looker = payer, cancellers, looker
        self._call_seconds = 1.5 * RAIL_DELAY_MILLISECONDS / 1000

    async def attack(self, reference: str) -> Fight:
        """One order from its creation until everybody has an answer."""
        fight = Fight(reference)
        assert (await self._payer.create(reference)).status_code == 200
        attackers = [self._pay(fight), self._look(fight), *(self._cancel(fight, c) for c in self._cancellers)]
        random.shuffle(attackers)
        await asyncio.gather(*attackers)
        fight.seen.append(await self._looker.look_up(reference))
        return fight

    async def _pay(self, fight: Fight) -> None:
        loop = asyncio.get_running_loop()
        begun = loop.time()
        fight.payment = await self._payer.card(fight.reference)
        data = fight.payment.json()["data"]
        if data is not None:
            self._call_seconds = loop.time() - begun
            fight.payment = await self._payer.otp(fight.reference, data["transactionId"])

    async def _cancel(self, fight: Fight, line: Line) -> None:
        await self._some_moment_of_the_payment()
        fight.cancels.append(await line.cancel(fight.reference))

    async def _look(self, fight: Fight) -> None:
        for _ in range(2):
            await self._some_moment_of_the_payment()
            fight.seen.append(await self._looker.look_up(fight.reference))

    async def _some_moment_of_the_payment(self) -> None:
        """Before, during or after either of the payer's two calls, going by how long the last call took."""
        moment = asyncio.Event()
        asyncio.get_running_loop().call_later(random.uniform(0, 5) * self._call_seconds, moment.set)
        await moment.wait()


async def fought(servers: Sequence[Server]) -> list[Fight]:
    """All orders attacked, a few at a time; every ring reaches across both processes."""
    references = iter([f"race-{number}" for number in range(ORDERS)])
    async with lines(servers, processes=2, each=2 * RINGS) as (here, there):
        rings = [
            Ring(here[2 * i], (here[2 * i + 1], there[2 * i]), there[2 * i + 1])
            if i % 2
            else Ring(there[2 * i], (there[2 * i + 1], here[2 * i]), here[2 * i + 1])
            for i in range(RINGS)
        ]

        async def keep_fighting(ring: Ring) -> list[Fight]:
            return [await ring.attack(reference) for reference in references]

        fights = await asyncio.gather(*map(keep_fighting, rings))
    return [fight for of_ring in fights for fight in of_ring]


def misinformed(fight: Fight, status: str) -> list[str]:
    """Whatever one of the answers says that does not fit the order's ending."""
    reasons = {"PAID": "order-already-paid", "CANCELLED": "order-already-cancelled"}
    lost = (400, reasons[status], NOT_CANCELLED_BODY)
    won = (200, None, CANCELLED_BODY)
    wanted = sorted([lost, lost] if status == "PAID" else [won, lost], key=repr)
    got = sorted(
        [(a.status_code, a.headers.get("refusal-reason"), a.content) for a in fight.cancels], key=repr
    )
    found = [] if got == wanted else [f"cancels were told {got}"]
    assert fight.payment is not None
    if paid(fight.payment) != (status == "PAID"):
        found.append(f"the payer was told {fight.payment.text}")
    if fight.payment.status_code == 400 and fight.payment.headers["refusal-reason"] != reasons[status]:
        found.append(f"the payer was refused for {fight.payment.headers['refusal-reason']}")
    pending = fight.seen.count("PENDING")
    if fight.seen != ["PENDING"] * pending + [status] * (len(fight.seen) - pending) or pending == len(
        fight.seen
    ):
        found.append(f"lookups showed {fight.seen}")
    return [f"{fight.reference} is {status}: {each}" for each in found]


@pytest.mark.parametrize("how", ["one server with two workers", "two servers on one database"])
def test_exactly_one_of_paid_and_cancelled_wins_and_everyone_is_told(
    tmp_path: Path, database_url: str | None, how: str
) -> None:
    """Whoever commits first wins, every answer of every process says so, and no money is stranded."""
    workers = 2 if "workers" in how else 1
    settings: dict[str, Any] = {
        "database_url": database_url,
        "sandbox_rail_delay_milliseconds": RAIL_DELAY_MILLISECONDS,
    }
    with ExitStack() as running:
        servers = [
            running.enter_context(Server(tmp_path, workers=workers, **settings)) for _ in range(2 // workers)
        ]
        place = servers[0].place
        fights = asyncio.run(fought(servers))
        until(lambda: calls_under_way(place) == 0)
        books = read_books(place)
        assert [server.stop() for server in servers] == [0] * len(servers)
        assert ledger_check(servers[0]) == ""

    endings = {fight.reference: books.by_reference[fight.reference]["status"] for fight in fights}
    assert [m for fight in fights for m in misinformed(fight, endings[fight.reference])] == []
    assert complaints(books, [heard for fight in fights for heard in fight.heard]) == []
    assert unsettled(books) == []
    assert len({process_of(answer) for fight in fights for answer in fight.cancels}) == 2

    attempts = Counter(a["status"] for attempts in books.attempts.values() for a in attempts)
    statuses = Counter(endings.values())
    assert statuses["PAID"] + statuses["CANCELLED"] == ORDERS
    assert statuses["PAID"] >= LEAST
    assert attempts["CANCELLED"] >= LEAST, "too few cancels while the payer had an open attempt"
    assert attempts["VOIDED"] >= LEAST, "too few cancels while the rail was approving"
