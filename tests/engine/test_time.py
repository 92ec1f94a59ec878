"""Which moment a command is judged at: real time and the offset, and never before the order's last change."""

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import text

from engine.builders import begin, claim, settle
from engine.harness import FaultyStore, Renderer, ask, ending, event_types, served, status, submitted
from opentill.domain.commands import Actor, ActorKind, ExpireOrder, RailOutcome
from opentill.domain.order import DueAction
from opentill.engine.engine import Engine
from store_factories import IDS, NOW, ToldClock, add_orders, cancel, new_order


def _expire(name: str) -> ExpireOrder:
    made = cancel(name)
    return ExpireOrder(
        account_id=made.account_id, command_id=made.command_id, actor=Actor(ActorKind.WORKER), name=name
    )


def test_a_clock_that_steps_back_does_not_turn_an_order_back(store: FaultyStore) -> None:
    """An order changed at noon and cancelled by a machine where it is eleven was cancelled at noon."""
    clock = ToldClock(NOW + 3_600_000)
    assert submitted(store, new_order("r"), clock=clock) == ["done"]
    clock.time = NOW
    assert submitted(store, cancel("r"), clock=clock) == ["done"]
    times = ask(store, "SELECT created_at, updated_at, cancelled_at FROM orders")
    assert times == [(NOW + 3_600_000,) * 3]
    assert ask(store, "SELECT at FROM events ORDER BY sequence") == [(NOW + 3_600_000,)] * 2


def test_a_clock_that_goes_on_is_believed(store: FaultyStore) -> None:
    """The time of a change is the clock's while the clock is ahead of the order."""
    add_orders(store, "r")
    submitted(store, cancel("r"), clock=ToldClock(NOW + 5))
    assert ask(store, "SELECT updated_at, cancelled_at FROM orders") == [(NOW + 5, NOW + 5)]


def test_the_clock_offset_is_read_with_each_batch(store: FaultyStore) -> None:
    """Moving the sandbox clock moves business time of the very next command."""

    async def work(engine: Engine) -> None:
        await engine.submit(new_order("before"))
        store.accounts.advance_clock(90_000)
        await engine.submit(new_order("after"))

    served(store, work)
    assert ask(store, "SELECT created_at FROM orders ORDER BY 1") == [(NOW,), (NOW + 90_000,)]


@pytest.mark.parametrize(("moment", "expected"), [(999, "OrderNotDue"), (1_000, "done"), (1_001, "done")])
def test_an_order_is_due_from_its_due_time_on(store: FaultyStore, moment: int, expected: str) -> None:
    """A millisecond before its due time an order does not expire; at it and after it, it does."""
    submitted(store, new_order("r", due_at=NOW + 1_000))
    assert submitted(store, _expire("r"), clock=ToldClock(NOW + moment)) == [expected]
    assert status(store, "r") == ("PENDING" if expected == "OrderNotDue" else "EXPIRED")


def test_due_but_unswept_is_expired_first(store: FaultyStore) -> None:
    """A cancel of an order that is due finds it expired: one change, two events."""
    submitted(store, new_order("r", due_at=NOW + 1_000))
    store.accounts.advance_clock(1_000)
    assert submitted(store, cancel("r")) == ["done"]
    assert event_types(store, "r") == ["order_created", "order_expired", "order_cancelled"]
    assert status(store, "r") == "CANCELLED"


Asking = Callable[[], Any]


@pytest.mark.parametrize(
    ("due_action", "asked", "refusal"),
    [
        (DueAction.EXPIRE, lambda: begin("r", "T2"), "OrderExpired"),
        (DueAction.CANCEL, lambda: begin("r", "T2"), "OrderAlreadyCancelled"),
        (DueAction.CANCEL, lambda: cancel("r"), "OrderAlreadyCancelled"),
    ],
)
def test_due_but_unswept_refuses_as_if_swept(
    store: FaultyStore, due_action: DueAction, asked: Asking, refusal: str
) -> None:
    """No stopped worker lets a card pay late, or a cancel win where the order asked to be cancelled."""
    submitted(store, new_order("r", due_at=NOW + 1_000, due_action=due_action))
    assert submitted(store, asked(), clock=ToldClock(NOW + 1_000)) == [refusal]
    assert event_types(store, "r") == ["order_created"]


def test_money_taken_after_the_due_time_goes_back(store: FaultyStore) -> None:
    """A card approved after the due time of an unswept order expires it and is voided in one change."""
    submitted(store, new_order("r", due_at=NOW + 1_000), begin("r", "T1"))
    late = ToldClock(NOW + 1_000)
    assert submitted(store, settle("r", "T1", RailOutcome.APPROVED), clock=late) == ["done"]
    assert event_types(store, "r") == ["order_created", "attempt_started", "order_expired", "void_started"]
    assert ask(store, 'SELECT status, applied, "returning" FROM orders') == [("EXPIRED", 0, 10_000_50)]


def test_a_batch_is_judged_at_one_moment(store: FaultyStore) -> None:
    """All commands of a batch are judged at the same business time."""
    submitted(store, *(new_order(f"r{i}") for i in range(8)))
    assert ask(store, "SELECT DISTINCT created_at FROM orders") == [(NOW,)]


# --- a clock that may be wrong ----------------------------------------------------------------------

DAY = 86_400_000


@pytest.fixture
def live(store: FaultyStore) -> FaultyStore:
    """A live store with an order due in a second, whose servers saw the time a moment ago."""
    store.write(lambda connection: connection.execute(text("UPDATE installation SET mode = 'live'")))
    submitted(store, new_order("r", due_at=NOW + 1_000))
    store.accounts.note_time(NOW)
    return store


def test_a_clock_far_ahead_expires_nothing(live: FaultyStore) -> None:
    """Neither a worker's command nor one that meets the order ends it before a person has spoken."""
    ahead = ToldClock(NOW + 60 * DAY)
    assert submitted(live, _expire("r"), clock=ahead) == ["OrderNotDue"]
    assert submitted(live, begin("r", "T1"), clock=ahead) == ["done"]
    assert status(live, "r") == "PENDING"
    live.accounts.confirm_time(NOW + 60 * DAY)
    assert submitted(live, _expire("r"), clock=ahead) == ["done"]


def test_what_was_due_when_time_was_seen_last_is_due(live: FaultyStore) -> None:
    """A doubt about now is none about then."""
    live.accounts.note_time(NOW + 3_600_000)
    assert submitted(live, _expire("r"), clock=ToldClock(NOW + 60 * DAY)) == ["done"]


def test_an_order_dated_by_a_wrong_clock_does_not_fall_due_when_it_is_set(live: FaultyStore) -> None:
    """What was changed by a clock 60 days ahead is judged by the right time afterwards."""
    assert submitted(live, begin("r", "T1"), clock=ToldClock(NOW + 60 * DAY)) == ["done"]
    assert submitted(live, _expire("r"), clock=ToldClock(NOW + 1)) == ["OrderNotDue"]


def test_a_clock_far_ahead_forgets_no_idempotency_key(live: FaultyStore) -> None:
    """The same request is answered again and not carried out; a person's word lets go of the key."""
    request, render = claim("k"), Renderer()

    async def asked(engine: Engine) -> str:
        return ending(await engine.submit(new_order(IDS.uuid()), claim=request, render=render))

    assert served(live, asked) == "done"
    ahead = ToldClock(NOW + 60 * DAY)
    assert served(live, asked, ahead) == "replayed"
    live.accounts.confirm_time(NOW + 60 * DAY)
    assert served(live, asked, ahead) == "done"
