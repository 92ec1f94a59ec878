"""Ending what is due, over a real store, by rounds and by the loop that repeats them."""

import asyncio
from pathlib import Path

from sqlalchemy import text

from engine.harness import FaultyStore, ask, event_types, status
from opentill.domain.decisions import create
from opentill.domain.order import DueAction
from opentill.workers.expiry import LOOK, Expiry
from store_factories import IDS, NOW, new_order, write
from workers.shift import Shift, add_due, at_work


def test_what_is_due_is_expired_or_cancelled(tmp_path: Path) -> None:
    """Orders whose time has come expire, or are cancelled where they asked for it; others stay."""

    async def work(shift: Shift) -> None:
        till = shift.till
        add_due(till, "due", NOW + 1_000)
        add_due(till, "cancels", NOW + 1_000, DueAction.CANCEL)
        add_due(till, "later", NOW + 1_001)
        assert await shift.expiry.sweep() == 0
        till.clock.time = NOW + 1_000
        assert await shift.expiry.sweep() == 2
        assert await shift.expiry.sweep() == 0
        states = {name: status(till.store, name) for name in ("due", "cancels", "later")}
        assert states == {"due": "EXPIRED", "cancels": "CANCELLED", "later": "PENDING"}
        assert event_types(till.store, "due") == ["order_created", "order_expired"]
        assert ask(till.store, "SELECT DISTINCT actor_kind FROM events WHERE sequence = 2") == [("worker",)]

    at_work(tmp_path, work)


def test_due_is_business_time(tmp_path: Path) -> None:
    """Moving the sandbox clock makes orders due without a moment of real time."""

    async def work(shift: Shift) -> None:
        add_due(shift.till, "r", NOW + 1_800_000)
        assert await shift.expiry.sweep() == 0
        shift.till.store.accounts.advance_clock(1_800_000)
        assert await shift.expiry.sweep() == 1
        assert status(shift.till.store, "r") == "EXPIRED"

    at_work(tmp_path, work)


def test_a_sweep_is_bounded(tmp_path: Path) -> None:
    """More due orders than one sweep takes are swept in several, longest due first."""

    async def work(shift: Shift) -> None:
        orders = [create(new_order(f"r{i}", due_at=NOW + 1 + i), NOW) for i in range(LOOK + 3)]
        write(shift.till.store, orders)
        shift.till.clock.time = NOW + 10_000
        assert await shift.expiry.sweep() == LOOK
        assert status(shift.till.store, f"r{LOOK}") == "PENDING"
        assert await shift.expiry.sweep() == 3
        assert ask(shift.till.store, "SELECT DISTINCT status FROM orders") == [("EXPIRED",)]

    at_work(tmp_path, work)


def test_catching_up_goes_on_until_nothing_is_due(tmp_path: Path) -> None:
    """One call ends more than a look takes; with no time at all it stops after the first of each sweep."""

    async def work(shift: Shift) -> None:
        orders = [create(new_order(f"r{i}", due_at=NOW + 1), NOW) for i in range(3 * LOOK + 3)]
        write(shift.till.store, orders)
        shift.till.clock.time = NOW + 1
        assert await shift.expiry.catch_up(0) == 2 * LOOK
        assert await shift.expiry.catch_up(3600) == LOOK + 3
        assert await shift.expiry.catch_up(3600) == 0

    at_work(tmp_path, work)


def test_two_processes_that_sweep_do_no_harm(tmp_path: Path) -> None:
    """Two rounds at the same time expire each order once."""

    async def work(shift: Shift) -> None:
        add_due(shift.till, "r", NOW + 1)
        shift.till.clock.time = NOW + 1
        till = shift.till
        other = Expiry(engine=till.engine, reader=shift.expiry._reader, clock=till.clock, ids=IDS)
        assert list(await asyncio.gather(shift.expiry.sweep(), other.sweep())) == [1, 1]
        assert event_types(till.store, "r") == ["order_created", "order_expired"]

    at_work(tmp_path, work)


def test_one_process_looks_for_an_order_once(tmp_path: Path) -> None:
    """A sweep that is asked for while another is under way finds only what that one left."""

    async def work(shift: Shift) -> None:
        add_due(shift.till, "r", NOW + 1)
        shift.till.clock.time = NOW + 1
        assert list(await asyncio.gather(shift.expiry.sweep(), shift.expiry.sweep())) == [1, 0]

    at_work(tmp_path, work)


def test_the_loops_work_from_their_start(tmp_path: Path) -> None:
    """Started, the workers do a first round at once, and they end when they are closed."""

    async def work(shift: Shift) -> None:
        add_due(shift.till, "r", NOW + 1)
        shift.till.clock.time = NOW + 1
        shift.workers.start((shift.expiry.expire, 3600))
        async with asyncio.timeout(30):
            while status(shift.till.store, "r") == "PENDING":
                await shift.till.engine.submit(new_order(IDS.uuid()))
        await shift.workers.close()
        assert status(shift.till.store, "r") == "EXPIRED"

    at_work(tmp_path, work)


def test_an_order_that_can_not_be_ended_stops_no_other(tmp_path: Path) -> None:
    """One whose end always fails is passed over after five rounds; the others end in the first."""

    async def work(shift: Shift) -> list[int]:
        for reference in ("a", "b"):
            add_due(shift.till, reference, NOW + 1)
        forbid_the_end_of(shift.till.store, "a")
        shift.till.clock.time = NOW + 1
        swept = [await shift.expiry.sweep() for _ in range(7)]
        assert [status(shift.till.store, each) for each in ("a", "b")] == ["PENDING", "EXPIRED"]
        return swept

    assert at_work(tmp_path, work) == [2, 1, 1, 1, 1, 0, 0]


def forbid_the_end_of(store: FaultyStore, reference: str) -> None:
    """Let the database itself refuse it, whoever asks."""
    trigger = (
        "CREATE TRIGGER forbidden BEFORE UPDATE ON orders "
        f"WHEN old.reference = '{reference}' BEGIN SELECT raise(ABORT, 'not this one'); END"
    )
    store.write(lambda connection: connection.execute(text(trigger)))
