"""The same request from many connections to two processes at once happens once."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence

import httpx2
import pytest

from databases import NewDatabase
from races.books import Books, read_books
from races.laws import Heard, Told, complaints
from races.lines import Line, lines, paid, process_of
from server import Server

EACH = 8
"""Lines to each of the two processes."""
ORDERS = 10
USED_BODY = b'{"code":"400","description":"An order already exists with this order reference","data":null}'

Ask = Callable[[Line], Awaitable[httpx2.Response]]
AllAtOnce = Callable[[Ask], Awaitable[list[httpx2.Response]]]


@pytest.fixture(scope="module")
def server(new_database: NewDatabase, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(
        tmp_path_factory.mktemp("till"),
        workers=2,
        database_url=new_database(),
        sandbox_rail_delay_milliseconds=60,
    ) as running:
        yield running


def crowd(server: Server, work: Callable[[AllAtOnce], Awaitable[None]]) -> Books:
    """The books after ``work``, which can ask the same of every line at once."""

    async def main() -> None:
        async with lines([server], processes=2, each=EACH) as found:
            everyone = [line for of_process in zip(*found, strict=True) for line in of_process]

            async def all_at_once(ask: Ask) -> list[httpx2.Response]:
                answers = await asyncio.gather(*map(ask, everyone))
                assert len(set(map(process_of, answers))) == 2
                return answers

            await work(all_at_once)

    asyncio.run(main())
    return read_books(server.place)


def executed(answers: Sequence[httpx2.Response]) -> httpx2.Response:
    """The one answer that was not a replay; all others are equal to it, byte for byte."""
    first = [answer for answer in answers if "idempotency-replayed" not in answer.headers]
    assert len(first) == 1, [answer.text for answer in first]
    assert {answer.headers.get("idempotency-replayed", "true") for answer in answers} == {"true"}
    assert {(answer.status_code, answer.content) for answer in answers} == {(200, first[0].content)}
    return first[0]


def test_one_reference_is_given_to_one_order(server: Server) -> None:
    """Of many creates of one reference exactly one makes an order; the others hear that it is used."""
    order_ids = {}

    async def contend(all_at_once: AllAtOnce, reference: str) -> None:
        answers = await all_at_once(lambda line: line.create(reference))
        [won] = [answer for answer in answers if answer.status_code == 200]
        lost = [answer for answer in answers if answer is not won]
        assert {(a.status_code, a.content) for a in lost} == {(400, USED_BODY)}
        assert {a.headers["refusal-reason"] for a in lost} == {"order-reference-used"}
        order_ids[reference] = won.json()["data"]["orderId"]

    async def work(all_at_once: AllAtOnce) -> None:
        for number in range(ORDERS):
            await contend(all_at_once, f"wanted-{number}")

    books = crowd(server, work)
    assert len(order_ids) == ORDERS
    assert order_ids == {name: books.by_reference[name]["order_id"] for name in order_ids}
    assert complaints(books, [Heard(name, Told.CREATED) for name in order_ids]) == []


def test_one_key_is_one_create_and_one_cancel(server: Server) -> None:
    """Under one idempotency key an order is made once and cancelled once, and everyone gets those answers."""

    async def make_and_end(all_at_once: AllAtOnce, reference: str) -> None:
        executed(await all_at_once(lambda line: line.create(reference, f"make-{reference}")))
        executed(await all_at_once(lambda line: line.cancel(reference, f"end-{reference}")))

    async def work(all_at_once: AllAtOnce) -> None:
        for number in range(ORDERS):
            await make_and_end(all_at_once, f"keyed-{number}")

    books = crowd(server, work)
    ended = [Heard(f"keyed-{number}", Told.CANCELLED) for number in range(ORDERS)]
    assert complaints(books, ended) == []
    assert [books.by_reference[each.reference]["version"] for each in ended] == [2] * ORDERS


def test_one_key_is_one_charge(server: Server) -> None:
    """Under one key a card is charged once and its password used once, though the rail takes its time."""

    async def work(all_at_once: AllAtOnce) -> None:
        await all_at_once(lambda line: line.create("charged", "make-charged"))
        asked = executed(await all_at_once(lambda line: line.card("charged", "card-charged")))
        transaction = asked.json()["data"]["transactionId"]
        assert paid(executed(await all_at_once(lambda line: line.otp("charged", transaction, "otp-charged"))))

    books = crowd(server, work)
    order = books.by_reference["charged"]
    assert complaints(books, [Heard("charged", Told.PAID)]) == []
    assert len(books.attempts[order["order_id"]]) == 1
    assert books.attempts[order["order_id"]][0]["confirmations"] == 1
