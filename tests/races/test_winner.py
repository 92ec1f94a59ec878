"""A payment, two cancels and lookups meet at one order, over HTTP, on several processes and one database."""

import asyncio
import random
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TypeAlias

import httpx2
import pytest

from opentill.race.contest import Fight, Ring, cancel, look, pay
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


Fought: TypeAlias = Fight[httpx2.Response]


def cancels(fight: Fought) -> list[httpx2.Response]:
    """Return what the cancellers were told."""
    return [each.answer for each in fight.by("cancel")]


def payment(fight: Fought) -> httpx2.Response:
    """The last answer that the payer got."""
    return [*fight.by("card"), *fight.by("pay")][-1].answer


def heard(fight: Fought) -> list[Heard]:
    """Return what was granted."""
    return [Heard(fight.reference, Told(each.won.value)) for each in fight.tries if each.won]


def ring(payer: Line, first: Line, second: Line, looker: Line) -> Ring[httpx2.Response]:
    """Four lines around one order after the other."""
    contestants = [(pay, payer), (cancel, first), (cancel, second), (look, looker)]
    return Ring(payer, contestants, iter(random.random, None), 1.5 * RAIL_DELAY_MILLISECONDS / 1000)


async def fought(servers: Sequence[Server]) -> list[Fought]:
    """All orders attacked, a few at a time; every ring reaches across both processes."""
    references = iter([f"race-{number}" for number in range(ORDERS)])
    async with lines(servers, processes=2, each=2 * RINGS) as (here, there):
        pairs = [
            (each[2 * i : 2 * i + 2], other[2 * i : 2 * i + 2])
            for i, (each, other) in enumerate([(here, there), (there, here)] * (RINGS // 2))
        ]
        rings = [ring(*mine, *theirs) for mine, theirs in pairs]

        async def keep_fighting(ring: Ring[httpx2.Response]) -> list[Fought]:
            return [await ring.attack(reference) for reference in references]

        fights = await asyncio.gather(*map(keep_fighting, rings))
    return [fight for of_ring in fights for fight in of_ring]


def misinformed(fight: Fought, status: str) -> list[str]:
    """Whatever one of the answers says that does not fit the order's ending."""
    reasons = {"PAID": "order-already-paid", "CANCELLED": "order-already-cancelled"}
    lost = (400, reasons[status], NOT_CANCELLED_BODY)
    won = (200, None, CANCELLED_BODY)
    wanted = sorted([lost, lost] if status == "PAID" else [won, lost], key=repr)
    got = sorted(
        [(a.status_code, a.headers.get("refusal-reason"), a.content) for a in cancels(fight)], key=repr
    )
    found = [] if got == wanted else [f"cancels were told {got}"]
    last = payment(fight)
    if paid(last) != (status == "PAID"):
        found.append(f"the payer was told {last.text}")
    if last.status_code == 400 and last.headers["refusal-reason"] != reasons[status]:
        found.append(f"the payer was refused for {last.headers['refusal-reason']}")
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
    assert complaints(books, [each for fight in fights for each in heard(fight)]) == []
    assert unsettled(books) == []
    assert len({process_of(answer) for fight in fights for answer in cancels(fight)}) == 2

    attempts = Counter(a["status"] for attempts in books.attempts.values() for a in attempts)
    statuses = Counter(endings.values())
    assert statuses["PAID"] + statuses["CANCELLED"] == ORDERS
    assert statuses["PAID"] >= LEAST
    assert attempts["CANCELLED"] >= LEAST, "too few cancels while the payer had an open attempt"
    assert attempts["VOIDED"] >= LEAST, "too few cancels while the rail was approving"
