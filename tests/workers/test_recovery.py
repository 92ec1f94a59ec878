"""Finishing what a crash left, over a real store."""

import asyncio
from pathlib import Path

from engine.builders import begin
from opentill.domain.decisions import create
from opentill.rails.rail import RailAnswer
from opentill.workers.recovery import NEXT_LOOK_MILLISECONDS, TRIES_BEFORE_PARKING
from rails.till import CARD, LATER, Till, at_the_till
from store_factories import NOW, new_order, write
from workers.shift import Shift, at_work


def test_calls_that_a_crash_left_are_finished(tmp_path: Path) -> None:
    """A confirmation approved at the rail and cut off before its answer is settled pays the order."""

    async def crash(till: Till) -> None:
        write(till.store, [create(new_order("r"), NOW)])
        await till.charge()
        till.rail.way_back.clear()
        confirming = asyncio.ensure_future(till.confirm("9999"))
        await till.rail.held.wait()
        await till.card_payments.close(seconds=0)
        await asyncio.gather(confirming, return_exceptions=True)

    async def too_early(shift: Shift) -> None:
        assert await shift.recovery.finish_attempts() == 0

    async def work(shift: Shift) -> None:
        assert shift.till.attempts == ["CALLING"]
        assert await shift.recovery.finish_attempts() == 1
        assert (shift.till.order, shift.till.attempts) == ("PAID", ["APPROVED"])
        assert await shift.recovery.finish_attempts() == 0

    at_the_till(tmp_path, crash)
    at_work(tmp_path, too_early, now=NOW + 29_999)
    at_work(tmp_path, work, now=LATER)


def test_a_silent_rail_does_not_bring_the_same_order_first_for_ever(tmp_path: Path) -> None:
    """After a look longer than the pause an order is passed over for the pause, as after any other look."""

    async def work(shift: Shift) -> list[int]:
        till = shift.till
        await till.engine.submit(new_order("r"))
        await till.engine.submit(begin("r", "T1"))
        till.clock.time = LATER

        async def silent(_transaction_id: str) -> RailAnswer | None:
            till.clock.time += 10 * NEXT_LOOK_MILLISECONDS
            raise TimeoutError

        till.rail.look_up = silent  # type: ignore[assignment,method-assign]
        tried = [await shift.recovery.finish_attempts() for _ in range(2)]
        till.clock.time += NEXT_LOOK_MILLISECONDS
        return [*tried, await shift.recovery.finish_attempts()]

    assert at_work(tmp_path, work) == [1, 0, 1]


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
            tried.append(await shift.recovery.finish_attempts())
            till.clock.time += NEXT_LOOK_MILLISECONDS
        return tried, till.attempts

    tried, attempts = at_work(tmp_path, work)
    assert tried == [2, 1, 1, 1, 1, 0, 0]
    assert attempts == ["CALLING", "AWAITING_OTP"]
