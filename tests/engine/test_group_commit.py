"""Commands that wait together share one commit and see each other; nobody waits for company."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from engine.builders import claim
from engine.harness import (
    FaultyStore,
    Renderer,
    ask,
    ending,
    event_types,
    running,
    served,
    status,
    submitted,
    together,
    traced,
)
from opentill.domain.commands import Command
from opentill.engine.engine import Engine, EngineSettings
from store_factories import ACCOUNT, OTHER, TOKEN, add_orders, add_token, cancel, new_order


def _cancels(count: int, prefix: str = "r") -> list[Command]:
    return [cancel(f"{prefix}{i}") for i in range(count)]


def _submitting(commands: list[Command]) -> Callable[[Engine], Any]:
    return lambda engine: together(*(engine.submit(c) for c in commands))


def test_all_who_wait_share_one_commit(store: FaultyStore) -> None:
    """64 cancels that wait together are 64 successes and one COMMIT."""
    add_orders(store, *(f"r{i}" for i in range(64)))
    with traced(store) as statements:
        answers = served(store, _submitting(_cancels(64)))
    assert [ending(a) for a in answers] == ["done"] * 64
    assert statements.count("COMMIT") == 1
    assert ask(store, "SELECT status, count(*) FROM orders GROUP BY 1") == [("CANCELLED", 64)]


def test_the_number_of_statements_does_not_depend_on_the_batch(store: FaultyStore) -> None:
    """A plain cancel is six statements, and so are 64 and 256 of them in one batch."""
    seen = {}
    for count in (1, 64, 256):
        add_orders(store, *(f"{count}-{i}" for i in range(count)))
        with traced(store) as statements:
            served(store, _submitting(_cancels(count, f"{count}-")))
        seen[count] = list(statements)
    assert seen[1] == seen[64] == seen[256]
    assert len(seen[1]) <= 6


def test_tokens_and_keys_cost_a_batch_two_statements_more(store: FaultyStore) -> None:
    """With a token and an idempotency key each, 64 cancels are still a handful of statements."""
    add_token(store)
    add_orders(store, *(f"r{i}" for i in range(64)))

    async def work(engine: Engine) -> list[Any]:
        return await together(
            *(
                engine.submit(c, render=Renderer(), claim=claim(f"k{i}"), token=TOKEN)
                for i, c in enumerate(_cancels(64))
            )
        )

    with traced(store) as statements:
        answers = served(store, work)
    assert [ending(a) for a in answers] == ["done"] * 64
    assert len(statements) <= 8


def test_a_batch_of_one_turns_group_commit_off(store: FaultyStore) -> None:
    """With ``max_batch=1`` every command has a commit of its own."""
    add_orders(store, *(f"r{i}" for i in range(5)))
    with traced(store) as statements:
        answers = served(store, _submitting(_cancels(5)), settings=EngineSettings(max_batch=1))
    assert [ending(a) for a in answers] == ["done"] * 5
    assert statements.count("COMMIT") == 5


def test_a_batch_has_a_greatest_size(store: FaultyStore) -> None:
    """Ten commands at four to a batch are three commits."""
    add_orders(store, *(f"r{i}" for i in range(10)))
    with traced(store) as statements:
        served(store, _submitting(_cancels(10)), settings=EngineSettings(max_batch=4))
    assert statements.count("COMMIT") == 3


class _TimelessLoop(asyncio.SelectorEventLoop):
    """Its time stands still, so that no timer ever fires."""

    def time(self) -> float:
        return 0.0


def test_an_idle_engine_commits_a_lone_command_at_once(store: FaultyStore) -> None:
    """A command that comes alone gets a commit alone, also where a wait for others would never end."""
    add_orders(store, "r0")

    async def main() -> str:
        async with running(store) as engine:
            return ending(await engine.submit(cancel("r0")))

    with traced(store) as statements, asyncio.Runner(loop_factory=_TimelessLoop) as runner:
        assert runner.run(main()) == "done"
    assert statements.count("COMMIT") == 1


def test_a_batch_of_refusals_writes_nothing(store: FaultyStore) -> None:
    """Refusals without a key leave no trace."""
    with traced(store) as statements:
        assert submitted(store, cancel("nobody"), cancel("no one")) == ["RecordNotFound"] * 2
    assert statements
    assert not [each for each in statements if each.startswith(("INSERT", "UPDATE", "DELETE"))]


# --- commands of one batch see each other ---------------------------------------------------------


def test_an_order_is_created_and_cancelled_in_one_batch(store: FaultyStore) -> None:
    """A cancel finds the order that a create before it in the batch has made; both are events."""
    assert submitted(store, new_order("r"), cancel("r")) == ["done", "done"]
    assert status(store, "r") == "CANCELLED"
    assert event_types(store, "r") == ["order_created", "order_cancelled"]


def test_a_cancel_before_its_create_finds_nothing(store: FaultyStore) -> None:
    """Commands of a batch are decided in the order in which they came."""
    assert submitted(store, cancel("r"), new_order("r")) == ["RecordNotFound", "done"]
    assert status(store, "r") == "PENDING"


def test_of_two_creates_with_one_reference_the_first_wins(store: FaultyStore) -> None:
    """A reference is used once, also by two creates that meet in a batch."""
    first, second = new_order("r", amount=1_00), new_order("r", amount=2_00)
    assert submitted(store, first, second) == ["done", "OrderReferenceUsed"]
    assert ask(store, "SELECT order_id, amount FROM orders") == [(first.order_id, 1_00)]


def test_of_two_cancels_one_wins(store: FaultyStore) -> None:
    """Cancelled twice in one batch, by reference and by order id, one succeeds and one event is written."""
    (order,) = add_orders(store, "r")
    commands = [cancel(order.order_id), cancel("r"), cancel(order.order_id)]
    assert submitted(store, *commands) == ["done", "OrderAlreadyCancelled", "OrderAlreadyCancelled"]
    assert event_types(store, "r").count("order_cancelled") == 1


@pytest.mark.parametrize("cancelled_by_id", [True, False])
def test_an_order_made_in_the_batch_has_both_names(store: FaultyStore, cancelled_by_id: bool) -> None:
    """An order created in the batch is found in it by its order id as well as by its reference."""
    made = new_order("r")
    names = (made.order_id, "r") if cancelled_by_id else ("r", made.order_id)
    commands = (made, cancel(names[0]), cancel(names[1]))
    assert submitted(store, *commands) == ["done", "done", "OrderAlreadyCancelled"]


def test_a_reference_may_not_be_an_order_id_of_the_merchant(store: FaultyStore) -> None:
    """An order id is taken as a reference too, whether its order is old or of the same batch (ruling 18)."""
    (old,) = add_orders(store, "old")
    made = new_order("new")
    commands = (made, new_order(made.order_id), new_order(old.order_id))
    assert submitted(store, *commands) == ["done", "OrderReferenceUsed", "OrderReferenceUsed"]


def test_two_merchants_in_one_batch_do_not_meet(store: FaultyStore) -> None:
    """The same reference is one order for each merchant, and a foreign order id is unknown."""
    mine, theirs = new_order("r"), new_order("r", OTHER)
    commands = (mine, theirs, cancel("r", OTHER), cancel(mine.order_id, OTHER))
    with traced(store) as statements:
        assert submitted(store, *commands) == ["done", "done", "done", "RecordNotFound"]
    assert statements.count("COMMIT") == 1
    assert (status(store, "r", ACCOUNT), status(store, "r", OTHER)) == ("PENDING", "CANCELLED")


# --- dead tokens ----------------------------------------------------------------------------------


def test_a_dead_token_changes_nothing(store: FaultyStore) -> None:
    """A token revoked before the commit gets TokenRevoked, in a batch whose other commands are done."""
    add_token(store)
    add_orders(store, "r", "s")
    store.accounts.revoke_token(ACCOUNT, TOKEN.jti, "client-1", 0)

    async def work(engine: Engine) -> list[Any]:
        return await together(engine.submit(cancel("r"), token=TOKEN), engine.submit(cancel("s")))

    assert [ending(a) for a in served(store, work)] == ["TokenRevoked", "done"]
    assert event_types(store, "r") == ["order_created"]
