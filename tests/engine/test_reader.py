"""Reads that wait together are answered from one snapshot, each with its own answer or failure."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import pytest

from engine.harness import FaultyStore, together, traced
from opentill.domain.refusals import TokenRevoked
from opentill.engine.errors import Overloaded
from opentill.engine.reader import Reader
from opentill.engine.threads import StoreThreads
from opentill.store.orders.contract import Snapshot, TokenId
from store_factories import ACCOUNT, NOW, OTHER, TOKEN, add_orders, add_token, cancelled, write

T = TypeVar("T")
DEAD = TokenId(ACCOUNT, "dead")


def _read(store: FaultyStore, work: Callable[[Reader], Awaitable[T]], queue_limit: int = 100) -> T:
    async def main() -> T:
        threads = StoreThreads(store)
        reader = Reader(threads, queue_limit)
        reader.start()
        try:
            return await work(reader)
        finally:
            await reader.close()
            threads.close()

    return asyncio.run(main())


def test_reads_that_wait_together_share_one_snapshot(store: FaultyStore) -> None:
    """64 reads of orders and tokens are one read transaction with a handful of statements."""
    add_token(store)
    orders = add_orders(store, *(f"r{i}" for i in range(64)))

    async def work(reader: Reader) -> list[object]:
        asked = (
            reader.order(ACCOUNT, o.order_id if i % 2 else o.reference, TOKEN) for i, o in enumerate(orders)
        )
        return await together(*asked)

    with traced(store, reader=True) as statements:
        views = _read(store, work, queue_limit=200)
    assert [getattr(view, "order", view) for view in views] == orders
    assert sum(statement.startswith("BEGIN") for statement in statements) == 1
    assert len(statements) <= 6


def test_a_snapshot_shows_one_moment(store: FaultyStore) -> None:
    """What is committed while a group is being answered is not seen by the rest of the group."""
    (order,) = add_orders(store, "r")
    name = (ACCOUNT, "r")

    def cancel_beside(snapshot: Snapshot) -> str:
        before = snapshot.orders([name])[name].order.status
        write(store, [cancelled(order)])
        return before

    async def work(reader: Reader) -> list[object]:
        asked = (
            reader.ask(cancel_beside, None),
            reader.ask(lambda s: s.orders([name])[name].order.status, None),
        )
        return [
            *await together(*asked),
            await reader.ask(lambda s: s.orders([name])[name].order.status, None),
        ]

    assert _read(store, work) == ["PENDING", "PENDING", "CANCELLED"]


def test_an_order_is_shown_to_its_merchant_only(store: FaultyStore) -> None:
    """Another merchant's name finds nothing, and neither does an unknown one."""
    (order,) = add_orders(store, "r")

    async def work(reader: Reader) -> list[object]:
        return await together(
            reader.order(OTHER, "r", None),
            reader.order(OTHER, order.order_id, None),
            reader.order(ACCOUNT, "x", None),
        )

    assert _read(store, work) == [None, None, None]


def test_a_dead_token_refuses_only_its_own_question(store: FaultyStore) -> None:
    """Each kind of question asked with a revoked token raises TokenRevoked; its neighbours are answered."""
    add_token(store)
    add_orders(store, "r")

    async def work(reader: Reader) -> list[object]:
        return await together(
            reader.order(ACCOUNT, "r", DEAD),
            reader.ask(lambda s: s.facts(()).clock_offset, DEAD),
            reader.check(DEAD),
            reader.check(TOKEN),
            reader.ask(lambda s: s.facts(()).clock_offset, TOKEN),
        )

    answers = _read(store, work)
    assert [type(answer) for answer in answers[:3]] == [TokenRevoked] * 3
    assert answers[3:] == [None, 0]


def test_a_token_revoked_a_moment_ago_is_dead(store: FaultyStore) -> None:
    """Nothing is remembered of a token between two groups of reads."""
    add_token(store)

    async def work(reader: Reader) -> None:
        await reader.check(TOKEN)
        store.accounts.revoke_token(ACCOUNT, TOKEN.jti, "client-1", NOW)
        with pytest.raises(TokenRevoked):
            await reader.check(TOKEN)

    _read(store, work)


def test_one_failing_question_does_not_spoil_the_others(store: FaultyStore) -> None:
    """The question that raises gets its own exception, the others of its group their answers."""
    add_orders(store, "r")

    async def work(reader: Reader) -> list[object]:
        return await together(
            reader.ask(lambda _: 1 // 0, None),
            reader.ask(lambda s: s.orders([(ACCOUNT, "r")])[ACCOUNT, "r"].order.reference, None),
        )

    failed, answer = _read(store, work)
    assert isinstance(failed, ZeroDivisionError)
    assert answer == "r"


def test_too_many_readers_are_turned_away(store: FaultyStore) -> None:
    """Beyond half of the queue one account's reads get Overloaded, and the rest are answered."""

    async def work(reader: Reader) -> list[object]:
        return await together(*(reader.order(ACCOUNT, "x", None) for _ in range(3)))

    answers = _read(store, work, queue_limit=4)
    assert answers[:2] == [None, None]
    assert isinstance(answers[2], Overloaded)
