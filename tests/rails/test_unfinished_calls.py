"""A rail that does not answer, and a process that ends between the two commits: ``finish`` finds out."""

import asyncio
from collections.abc import Awaitable

import pytest

from databases import Place
from engine.builders import claim, settle
from engine.harness import ask, ending
from opentill.domain.commands import RailOutcome
from opentill.engine.engine import Result
from rails.till import CARD, CUT_SHORT, LATER, PAID_BOOKINGS, SHORT, VOID_BOOKINGS, Till, at_the_till
from store_factories import NOW, add_orders, cancel

# --- a rail that does not answer ----------------------------------------------------------------------


def test_a_rail_that_takes_too_long_is_silent(place: Place) -> None:
    """A call that runs into the time-out leaves the attempt UNKNOWN, for the worker to find out."""

    async def charge(till: Till) -> None:
        add_orders(till.store, "r")
        till.rail.way_there.clear()
        assert ending(await till.charge()) == "done"
        assert (till.order, till.attempts) == ("PENDING", ["UNKNOWN"])
        assert ending(await till.charge("T2")) == "AttemptInProgress"

    at_the_till(place, charge, settings=SHORT)

    async def finish(till: Till) -> None:
        await till.finish()
        assert till.attempts == ["FAILED"]

    at_the_till(place, finish, now=LATER)


def test_an_unheard_approval_is_found_by_look_up(place: Place) -> None:
    """An approval whose answer got lost is UNKNOWN until finish looks it up, and then pays the order."""

    async def work(till: Till) -> None:
        add_orders(till.store, "r")
        await till.charge()
        till.rail.loses_answers = {"confirm"}
        await till.confirm("9999")
        assert (till.order, till.attempts, till.overdue()) == ("PENDING", ["UNKNOWN"], [])
        till.clock.time = LATER
        await till.finish()
        assert (till.order, till.attempts, till.bookings) == ("PAID", ["APPROVED"], PAID_BOOKINGS)
        assert till.overdue() == []

    at_the_till(place, work)


def test_a_charge_the_rail_never_saw_is_voided_there_first(place: Place) -> None:
    """Never seen is voided at the rail, then FAILED: the charge that still arrives is declined."""

    async def work(till: Till) -> None:
        add_orders(till.store, "r")
        till.rail.loses_calls = {"charge"}
        await till.charge()
        assert till.attempts == ["UNKNOWN"]
        till.clock.time = LATER
        await till.finish()
        assert (till.order, till.attempts, till.totals) == ("PENDING", ["FAILED"], (0, 0, 0, 0))
        till.rail.loses_calls.clear()
        late = await till.rail.charge("T1", 10_000_50, "NGN", CARD)
        assert late.outcome is RailOutcome.DECLINED
        await till.charge("T2")
        await till.confirm("9999", "T2")
        assert (till.order, till.attempts) == ("PAID", ["FAILED", "APPROVED"])

    at_the_till(place, work)


def test_a_password_the_rail_never_saw_is_refused_later(place: Place) -> None:
    """A confirmation that got lost on its way is voided at the rail before the attempt is FAILED."""

    async def work(till: Till) -> None:
        add_orders(till.store, "r")
        await till.charge()
        till.rail.loses_calls = {"confirm"}
        await till.confirm("9999")
        till.clock.time = LATER
        await till.finish()
        assert (till.order, till.attempts) == ("PENDING", ["FAILED"])
        till.rail.loses_calls.clear()
        late = await till.rail.confirm("T1", 1, "9999")
        assert late.outcome is RailOutcome.DECLINED

    at_the_till(place, work)


def test_a_rail_that_stays_silent_is_asked_again(place: Place) -> None:
    """While the rail is away nothing is decided; the call stays listed until it can be found out."""

    async def work(till: Till) -> None:
        add_orders(till.store, "r")
        await till.charge()
        till.rail.loses_answers = {"confirm", "look_up"}
        await till.confirm("9999")
        till.clock.time = LATER
        await till.finish()
        assert (till.attempts, len(till.overdue())) == (["UNKNOWN"], 1)
        till.rail.loses_answers.clear()
        await till.finish()
        assert till.order == "PAID"

    at_the_till(place, work)


def test_a_call_is_left_to_its_caller_until_its_time_is_up(place: Place) -> None:
    """Finish leaves alone what is still running, and the caller's answer is the one that counts."""

    async def work(till: Till) -> None:
        add_orders(till.store, "r")
        await till.charge()
        till.rail.way_back.clear()
        confirming = asyncio.create_task(till.confirm("9999"))
        await till.rail.held.wait()
        with till.store.snapshot() as snapshot:
            (view,) = snapshot.overdue_calls(LATER, 10)
        await till.card_payments.finish(view.order)
        assert till.attempts == ["CALLING"]
        till.rail.way_back.set()
        await confirming
        assert till.order == "PAID"

    at_the_till(place, work)


def test_caller_and_worker_may_both_bring_the_answer(place: Place) -> None:
    """A caller taken for dead that answers after the worker changes nothing: paid once, booked once."""

    async def work(till: Till) -> None:
        add_orders(till.store, "r")
        await till.charge()
        till.rail.way_back.clear()
        confirming = asyncio.create_task(till.confirm("9999"))
        await till.rail.held.wait()
        till.clock.time = LATER
        finishing = asyncio.create_task(till.finish())
        till.rail.way_back.set()
        await asyncio.gather(confirming, finishing)
        assert (till.order, till.totals, till.bookings) == ("PAID", (1, 1, 0, 0), PAID_BOOKINGS)

    at_the_till(place, work)


def test_an_approval_found_after_a_cancel_goes_back(place: Place) -> None:
    """An approval found on an order cancelled meanwhile is voided at once, in the open."""

    async def work(till: Till) -> None:
        add_orders(till.store, "r")
        await till.charge()
        till.rail.loses_answers = {"confirm"}
        await till.confirm("9999")
        assert ending(await till.engine.submit(cancel("r"))) == "done"
        till.clock.time = LATER
        await till.finish()
        assert (till.order, till.attempts, till.totals) == ("CANCELLED", ["VOIDED"], (1, 0, 0, 1))
        assert till.bookings == VOID_BOOKINGS

    at_the_till(place, work)


@pytest.mark.parametrize("operation", ["charge", "confirm"])
def test_a_void_that_is_refused_decides_nothing(place: Place, operation: str) -> None:
    """A call never seen is given up only once the rail agreed to refuse it; until then it is asked again."""

    async def work(till: Till) -> None:
        add_orders(till.store, "r")
        if operation == "confirm":
            await till.charge()
        till.rail.loses_calls = {operation}
        await (till.charge() if operation == "charge" else till.confirm("9999"))
        till.switch("void", "refuse")
        till.clock.time = LATER
        await till.finish()
        assert (till.attempts, len(till.overdue())) == (["UNKNOWN"], 1)
        await till.finish()
        assert (till.attempts, till.overdue()) == (["FAILED"], [])

    at_the_till(place, work)


@pytest.mark.parametrize("outcome", ["refuse", "timeout", "unknown"])
def test_a_void_that_fails_is_asked_again(place: Place, outcome: str) -> None:
    """Money on its way back stays so until the rail says that it is back, and gets back once."""

    async def take_unwanted_money(till: Till) -> None:
        add_orders(till.store, "r")
        await till.charge()
        await till.engine.submit(cancel("r"))
        await till.sandbox.confirm("T1", 1, "9999")
        await till.engine.submit(settle("r", "T1", RailOutcome.APPROVED))
        till.switch("void", outcome)

    async def fail(till: Till) -> None:
        await till.finish()
        assert (till.attempts, till.totals) == (["VOIDING"], (1, 0, 1, 0))

    async def succeed(till: Till) -> None:
        await till.finish()
        assert (till.attempts, till.totals) == (["VOIDED"], (1, 0, 0, 1))
        assert (till.bookings, till.overdue()) == (VOID_BOOKINGS, [])

    at_the_till(place, take_unwanted_money)
    at_the_till(place, fail, settings=CUT_SHORT, now=NOW + 60_001)
    at_the_till(place, succeed, now=NOW + 60_002)


# --- a process that ends between the two commits ------------------------------------------------------


async def _cut_off(till: Till, asked: Awaitable[Result]) -> None:
    """The process ends while the rail is being asked; the client gets no answer but Overloaded."""
    task = asyncio.ensure_future(asked)
    await till.rail.held.wait()
    await till.card_payments.close(seconds=0)
    (answer,) = await asyncio.gather(task, return_exceptions=True)
    assert ending(answer) == "Overloaded"


def _next_process(place: Place) -> tuple[str, list[str], tuple[int, ...]]:
    """The state of order, attempts and money after the next process has finished what was left."""

    async def work(till: Till) -> tuple[str, list[str], tuple[int, ...]]:
        assert till.attempts[-1] in {"CALLING", "VOIDING"}
        await till.finish()
        assert till.overdue() == []
        return till.order, till.attempts, till.totals

    async def too_early(till: Till) -> None:
        assert till.overdue() == []

    at_the_till(place, too_early, now=NOW + 29_999)
    return at_the_till(place, work, now=LATER)


@pytest.mark.parametrize(("reached", "attempt"), [(False, "FAILED"), (True, "AWAITING_OTP")])
def test_a_crash_in_a_charge(place: Place, *, reached: bool, attempt: str) -> None:
    """A charge that never reached the rail has failed; one that did goes on where the rail stands."""

    async def crash(till: Till) -> None:
        add_orders(till.store, "r")
        (till.rail.way_back if reached else till.rail.way_there).clear()
        await _cut_off(till, till.charge())

    at_the_till(place, crash)
    assert _next_process(place) == ("PENDING", [attempt], (0, 0, 0, 0))


@pytest.mark.parametrize(
    ("reached", "after"),
    [
        (False, ("PENDING", ["FAILED"], (0, 0, 0, 0))),
        (True, ("PAID", ["APPROVED"], (1, 1, 0, 0))),
    ],
)
def test_a_crash_in_a_confirmation(
    place: Place, *, reached: bool, after: tuple[str, list[str], tuple[int, ...]]
) -> None:
    """A confirmation that never reached the rail has failed; one that was approved pays the order."""

    async def crash(till: Till) -> None:
        add_orders(till.store, "r")
        await till.charge()
        (till.rail.way_back if reached else till.rail.way_there).clear()
        await _cut_off(till, till.confirm("9999"))

    at_the_till(place, crash)
    assert _next_process(place) == after


@pytest.mark.parametrize("reached", [False, True])
def test_a_void_cut_off(place: Place, *, reached: bool) -> None:
    """Money on its way back gets back once, whether or not the rail had heard of it before the end."""

    async def crash(till: Till) -> None:
        add_orders(till.store, "r")
        await till.charge()
        till.rail.way_back.clear()
        (till.rail.loses_answers if reached else till.rail.loses_calls).add("void")
        confirming = asyncio.create_task(till.confirm("9999"))
        await till.rail.held.wait()
        await till.engine.submit(cancel("r"))
        till.rail.way_back.set()
        await confirming
        await till.card_payments.close(seconds=5)
        assert till.totals == (1, 0, 1, 0)

    at_the_till(place, crash)
    assert _next_process(place) == ("CANCELLED", ["VOIDED"], (1, 0, 0, 1))


# --- idempotent replies of calls whose caller is gone -------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "late"), [("charge", '{"late":"charge of T1"}'), ("confirm", '{"late":"confirm of T1"}')]
)
def test_finish_completes_the_reply(place: Place, kind: str, late: str) -> None:
    """A request repeated after the crash gets the reply that the settling of its call has stored."""

    async def ask_for(till: Till) -> Result:
        return await (
            till.charge("T1", key=claim("k")) if kind == "charge" else till.confirm("9999", key=claim("k"))
        )

    async def crash(till: Till) -> None:
        add_orders(till.store, "r")
        if kind == "confirm":
            await till.charge()
        till.rail.way_back.clear()
        await _cut_off(till, ask_for(till))
        assert ask(till.store, "SELECT status FROM idempotency_keys") == [(None,)]

    async def next_process(till: Till) -> None:
        await till.finish()
        repeated = await ask_for(till)
        assert repeated.replayed
        assert repeated.reply is not None
        assert repeated.reply.body == late.encode()

    at_the_till(place, crash)
    at_the_till(place, next_process, now=LATER)
