"""The workers' rounds over a real store: what is due, what a crash left, what nobody needs any more."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from sqlalchemy import text

from engine.given import FaultyStore, ask, begin, claim, event_types, status
from given_store import ACCOUNT, IDS, NOW, OTHER, TOKEN, add_token, new_order, write
from opentill.domain.decisions import create
from opentill.domain.order import DueAction
from opentill.engine.reader import Reader
from opentill.engine.threads import StoreThreads
from opentill.workers.expiry import LOOK, Expiry
from opentill.workers.recovery import NEXT_LOOK_MILLISECONDS, PURGE, TRIES_BEFORE_PARKING, Workers
from rails.given import CARD, LATER, Till, at_the_till

T = TypeVar("T")
DAY = 86_400_000


@dataclass
class Shift:
    """Workers at a till."""

    till: Till
    workers: Workers
    expiry: Expiry


def _at_work(folder: Path, work: Callable[[Shift], Awaitable[T]], now: int = NOW) -> T:
    async def at_the(till: Till) -> T:
        threads = StoreThreads(till.store)
        reader = Reader(threads, 1000)
        reader.start()
        expiry = Expiry(engine=till.engine, reader=reader, clock=till.clock, ids=IDS)
        workers = Workers(
            reader=reader,
            threads=threads,
            desks=(till.desk,),
            expiry=expiry,
            clock=till.clock,
            sweep_seconds=3600,
            purge_seconds=3600,
        )
        try:
            return await work(Shift(till, workers, expiry))
        finally:
            await workers.close()
            await reader.close()
            threads.close()

    return at_the_till(folder, at_the, now=now)


def _add_due(till: Till, reference: str, due_at: int, action: DueAction = DueAction.EXPIRE) -> None:
    write(till.store, [create(new_order(reference, due_at=due_at, due_action=action), NOW)])


def test_what_is_due_is_expired_or_cancelled(tmp_path: Path) -> None:
    """Orders whose time has come expire, or are cancelled where they asked for it; others stay."""

    async def work(shift: Shift) -> None:
        till = shift.till
        _add_due(till, "due", NOW + 1_000)
        _add_due(till, "cancels", NOW + 1_000, DueAction.CANCEL)
        _add_due(till, "later", NOW + 1_001)
        assert await shift.expiry.sweep() == 0
        till.clock.time = NOW + 1_000
        assert await shift.expiry.sweep() == 2
        assert await shift.expiry.sweep() == 0
        states = {name: status(till.store, name) for name in ("due", "cancels", "later")}
        assert states == {"due": "EXPIRED", "cancels": "CANCELLED", "later": "PENDING"}
        assert event_types(till.store, "due") == ["order_created", "order_expired"]
        assert ask(till.store, "SELECT DISTINCT actor_kind FROM events WHERE sequence = 2") == [("worker",)]

    _at_work(tmp_path, work)


def test_due_is_business_time(tmp_path: Path) -> None:
    """Moving the sandbox clock makes orders due without a moment of real time."""

    async def work(shift: Shift) -> None:
        _add_due(shift.till, "r", NOW + 1_800_000)
        assert await shift.expiry.sweep() == 0
        shift.till.store.advance_clock(1_800_000)
        assert await shift.expiry.sweep() == 1
        assert status(shift.till.store, "r") == "EXPIRED"

    _at_work(tmp_path, work)


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

    _at_work(tmp_path, work)


def test_catching_up_goes_on_until_nothing_is_due(tmp_path: Path) -> None:
    """One call ends more than a look takes; with no time at all it stops after the first of each sweep."""

    async def work(shift: Shift) -> None:
        orders = [create(new_order(f"r{i}", due_at=NOW + 1), NOW) for i in range(3 * LOOK + 3)]
        write(shift.till.store, orders)
        shift.till.clock.time = NOW + 1
        assert await shift.expiry.catch_up(0) == 2 * LOOK
        assert await shift.expiry.catch_up(3600) == LOOK + 3
        assert await shift.expiry.catch_up(3600) == 0

    _at_work(tmp_path, work)


def test_two_processes_that_sweep_do_no_harm(tmp_path: Path) -> None:
    """Two rounds at the same time expire each order once."""

    async def work(shift: Shift) -> None:
        _add_due(shift.till, "r", NOW + 1)
        shift.till.clock.time = NOW + 1
        till = shift.till
        other = Expiry(engine=till.engine, reader=shift.expiry._reader, clock=till.clock, ids=IDS)
        assert list(await asyncio.gather(shift.expiry.sweep(), other.sweep())) == [1, 1]
        assert event_types(till.store, "r") == ["order_created", "order_expired"]

    _at_work(tmp_path, work)


def test_one_process_looks_for_an_order_once(tmp_path: Path) -> None:
    """A sweep that is asked for while another is under way finds only what that one left."""

    async def work(shift: Shift) -> None:
        _add_due(shift.till, "r", NOW + 1)
        shift.till.clock.time = NOW + 1
        assert list(await asyncio.gather(shift.expiry.sweep(), shift.expiry.sweep())) == [1, 0]

    _at_work(tmp_path, work)


def test_calls_that_a_crash_left_are_finished(tmp_path: Path) -> None:
    """A confirmation approved at the rail and cut off before its answer is settled pays the order."""

    async def crash(till: Till) -> None:
        write(till.store, [create(new_order("r"), NOW)])
        await till.charge()
        till.rail.way_back.clear()
        confirming = asyncio.ensure_future(till.confirm("9999"))
        await till.rail.held.wait()
        await till.desk.close(seconds=0)
        await asyncio.gather(confirming, return_exceptions=True)

    async def too_early(shift: Shift) -> None:
        assert await shift.workers.finish_attempts() == 0

    async def work(shift: Shift) -> None:
        assert shift.till.attempts == ["CALLING"]
        assert await shift.workers.finish_attempts() == 1
        assert (shift.till.order, shift.till.attempts) == ("PAID", ["APPROVED"])
        assert await shift.workers.finish_attempts() == 0

    at_the_till(tmp_path, crash)
    _at_work(tmp_path, too_early, now=NOW + 29_999)
    _at_work(tmp_path, work, now=LATER)


def test_a_purge_goes_on_until_all_is_gone(tmp_path: Path) -> None:
    """More ended keys and tokens than one step deletes go in one round; what may be needed stays."""

    async def work(shift: Shift) -> None:
        store = shift.till.store
        with store.batch() as batch:
            batch.claim_keys([claim(f"k{i}") for i in range(PURGE + 5)], NOW, NOW + DAY)
            batch.claim_keys([claim("kept", account_id=OTHER)], NOW, NOW + DAY + 1)
            batch.commit()
        add_token(store)
        assert await shift.workers.purge() == 0
        shift.till.clock.time = NOW + DAY
        assert await shift.workers.purge() == PURGE + 6
        assert ask(store, "SELECT account_id, key FROM idempotency_keys") == [(OTHER, "kept")]
        assert ask(store, "SELECT count(*) FROM tokens WHERE account_id = ?", ACCOUNT) == [(0,)]

    _at_work(tmp_path, work)


def test_a_token_that_is_good_is_not_purged(tmp_path: Path) -> None:
    """A refresh token is kept to the last moment at which it can be used."""

    async def work(shift: Shift) -> None:
        add_token(shift.till.store)
        shift.till.clock.time = NOW + DAY - 1
        assert await shift.workers.purge() == 0
        with shift.till.store.snapshot() as snapshot:
            assert snapshot.facts([TOKEN]).dead_tokens == frozenset()

    _at_work(tmp_path, work)


def test_the_loops_work_from_their_start(tmp_path: Path) -> None:
    """Started, the workers do a first round at once, and they end when they are closed."""

    async def work(shift: Shift) -> None:
        _add_due(shift.till, "r", NOW + 1)
        shift.till.clock.time = NOW + 1
        shift.workers.start()
        async with asyncio.timeout(30):
            while status(shift.till.store, "r") == "PENDING":
                await shift.till.engine.submit(new_order(IDS.uuid()))
        await shift.workers.close()
        assert status(shift.till.store, "r") == "EXPIRED"

    _at_work(tmp_path, work)


def test_an_order_that_can_not_be_settled_stops_no_other(tmp_path: Path) -> None:
    """One whose settling always fails is parked after five rounds; the others are finished in the first."""

    async def work(shift: Shift) -> tuple[list[int], list[str]]:
        till = shift.till
        for reference in ("a", "b"):
            await till.engine.submit(new_order(reference))
            await till.engine.submit(begin(reference, f"T{reference}"))
            await till.rail.charge(f"T{reference}", 100, "NGN", CARD)
        till.rail.poisoned = "Ta"
        till.clock.time = LATER
        tried = []
        for _ in range(TRIES_BEFORE_PARKING + 2):
            tried.append(await shift.workers.finish_attempts())
            till.clock.time += NEXT_LOOK_MILLISECONDS
        return tried, till.attempts

    tried, attempts = _at_work(tmp_path, work)
    assert tried == [2, 1, 1, 1, 1, 0, 0]
    assert attempts == ["CALLING", "AWAITING_OTP"]


def test_an_order_that_can_not_be_ended_stops_no_other(tmp_path: Path) -> None:
    """One whose end always fails is passed over after five rounds; the others end in the first."""

    async def work(shift: Shift) -> list[int]:
        for reference in ("a", "b"):
            _add_due(shift.till, reference, NOW + 1)
        forbid_the_end_of(shift.till.store, "a")
        shift.till.clock.time = NOW + 1
        swept = [await shift.expiry.sweep() for _ in range(7)]
        assert [status(shift.till.store, each) for each in ("a", "b")] == ["PENDING", "EXPIRED"]
        return swept

    assert _at_work(tmp_path, work) == [2, 1, 1, 1, 1, 0, 0]


def forbid_the_end_of(store: FaultyStore, reference: str) -> None:
    """Let the database itself refuse it, whoever asks."""
    trigger = (
        "CREATE TRIGGER forbidden BEFORE UPDATE ON orders "
        f"WHEN old.reference = '{reference}' BEGIN SELECT raise(ABORT, 'not this one'); END"
    )
    store._write(lambda connection: connection.execute(text(trigger)))
