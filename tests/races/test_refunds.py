"""Two processes are asked at once to give more than half of the same payment back."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx2

from races.books import Books, calls_under_way, ledger_check, read_books, until
from races.laws import Heard, Told, complaints, unsettled
from races.lines import AMOUNT, Line, lines, paid, process_of
from server import Server

EACH_WAY = 24
"""Orders that are fought for while the rail behaves in one way."""
PAIRS = 8
"""Orders that are fought for at the same moment."""
MOST = "900.30"
"""60 % of the amount."""
WAYS = (None, "unknown", "timeout")
"""What becomes of the rail's next refunds: carried out, carried out in silence, lost."""
LEAST = 3
"""How often each process must win."""
QUICK: dict[str, Any] = {
    "sandbox_rail_delay_milliseconds": 5,
    "card_timeout_seconds": 0.4,
    "call_grace_seconds": 0.1,
    "sweep_interval_seconds": 0.1,
}
UNKNOWN = "refund_unknown"
EXCEEDS = b'{"code":"01","description":"All refunds together would exceed what was paid","data":null}'

Answers = dict[str, tuple[httpx2.Response, ...]]
"""By the order's reference, what both processes said."""


async def paid_by(line: Line, reference: str) -> str:
    """The transaction that pays for a new order."""
    assert (await line.create(reference)).status_code == 200
    transaction = (await line.card(reference)).json()["data"]["transactionId"]
    assert paid(await line.otp(reference, transaction))
    return str(transaction)


async def fought(server: Server, way: str | None, amounts: Sequence[str | None]) -> Answers:
    """New paid orders, and for each of them refunds of these amounts in turn, each from both processes."""
    references = iter([f"{way}-{number}" for number in range(EACH_WAY)])
    heard: Answers = {}
    async with lines([server], processes=2, each=PAIRS) as (here, there):
        await here[0].switch_rail("refund", way, count=EACH_WAY if way else 0)

        async def fight(pair: Sequence[Line]) -> None:
            for reference in references:
                transaction = await paid_by(pair[0], reference)
                for amount in amounts:
                    asked = [line.refund(transaction, amount) for line in pair]
                    heard[reference] = (*heard.get(reference, ()), *await asyncio.gather(*asked))

        await asyncio.gather(*map(fight, zip(here, there, strict=True)))
    return heard


def settled(server: Server, heard: Answers) -> Books:
    """The books once every refund has come to an end; they hold, and fit what was acknowledged."""
    until(lambda: calls_under_way(server.place) == 0)
    books = read_books(server.place)
    assert complaints(books, [Heard(reference, Told.PAID) for reference in heard]) == []
    assert unsettled(books) == []
    return books


def granted(answer: httpx2.Response) -> bool:
    """Tell whether the refund was begun; all others must have heard that the money does not suffice."""
    if answer.status_code == 200:
        return True
    assert (answer.status_code, answer.content) == (400, EXCEEDS)
    assert answer.headers["refusal-reason"] == "refund-exceeds-paid"
    return False


def test_of_two_refunds_of_more_than_half_one_wins(tmp_path: Path, database_url: str | None) -> None:
    """Whether the rail answers, answers in silence or loses the call: one is begun, and 60 % go back once."""
    with Server(tmp_path, workers=2, database_url=database_url, **QUICK) as server:
        heard: Answers = {}
        for way in WAYS:
            heard |= asyncio.run(fought(server, way, [MOST]))
            books = settled(server, heard)
        assert server.stop() == 0
        assert ledger_check(server) == ""

    assert [reference for reference, answers in heard.items() if sum(map(granted, answers)) != 1] == []
    assert {len(set(map(process_of, answers))) for answers in heard.values()} == {2}
    winners = Counter(process_of(a) for answers in heard.values() for a in answers if granted(a))
    assert min(winners.values()) >= LEAST
    assert len(winners) == 2

    ended = {(refund["status"], refund["amount"]) for refunds in books.refunds.values() for refund in refunds}
    assert ended == {("DONE", 900_30)}
    assert len(books.paid_out) == len(books.refunds) == len(heard) == len(WAYS) * EACH_WAY
    unknown = {e["order_id"] for events in books.events.values() for e in events if e["type"] == UNKNOWN}
    assert len(unknown) >= LEAST, "too few refunds whose answer was not heard"


def test_the_rest_is_given_back_once(tmp_path: Path, database_url: str | None) -> None:
    """The rest, asked of both processes at once, goes back once; one payout more would be noticed."""
    with Server(tmp_path, workers=2, database_url=database_url, **QUICK) as server:
        heard = asyncio.run(fought(server, None, [MOST, None]))
        books = settled(server, heard)

    assert [reference for reference, answers in heard.items() if sum(map(granted, answers)) != 2] == []
    whole = int(AMOUNT.replace(".", ""))
    for reference in heard:
        order = books.by_reference[reference]
        assert order["refunded"] == whole
        payouts = [p["amount"] for p in books.paid_out.values() if p["transaction_id"] == order["paid_by"]]
        assert sorted(payouts) == [whole - 900_30, 900_30]
    books.paid_out["again"] = next(iter(books.paid_out.values()))
    assert unsettled(books) == ["again: the rail moved money of which the books do not know"]
