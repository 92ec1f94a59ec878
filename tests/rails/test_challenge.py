"""3-D Secure: the payer proves to the bank who it is and comes back, or does not."""

import asyncio
from pathlib import Path

import pytest

from engine.builders import claim
from engine.harness import ask, ending
from opentill.domain.commands import RailOutcome
from opentill.domain.transition import Change
from rails.till import (
    BANK_CARD,
    LATER,
    PAID_BOOKINGS,
    RETURN_URL,
    VOID_BOOKINGS,
    Till,
    at_the_till,
    make_challenge,
)
from store_factories import NOW, add_orders, cancel


async def _at_the_bank(till: Till) -> None:
    """A payer who has been sent to the bank."""
    add_orders(till.store, "r")
    await till.charge(card=BANK_CARD)


def test_a_challenged_charge_says_where_the_payer_goes(tmp_path: Path) -> None:
    """The attempt waits with the rail's challenge, which would end where the caller said."""

    async def work(till: Till) -> None:
        add_orders(till.store, "r")
        charged = await till.charge(card=BANK_CARD)
        assert isinstance(charged.outcome, Change)
        (attempt,) = charged.outcome.after.attempts
        assert attempt.challenge == make_challenge("T1", RETURN_URL)
        assert (attempt.response_code, till.attempts, till.order) == ("S0", ["AWAITING_3DS"], "PENDING")

    at_the_till(tmp_path, work)


def test_a_passed_challenge_pays(tmp_path: Path) -> None:
    """Approved at the bank and come back, the payer has paid, and the challenge is forgotten."""

    async def work(till: Till) -> None:
        await _at_the_bank(till)
        assert await till.at_bank(passed=True)
        assert till.attempts == ["AWAITING_3DS"]
        assert ending(await till.back_from_bank()) == "done"
        assert (till.order, till.attempts, till.totals) == ("PAID", ["APPROVED"], (1, 1, 0, 0))
        assert till.bookings == PAID_BOOKINGS
        assert ask(till.store, "SELECT challenge FROM attempts") == [(None,)]

    at_the_till(tmp_path, work)


@pytest.mark.parametrize("answered", [True, False])
def test_a_challenge_that_was_not_passed_declines(tmp_path: Path, *, answered: bool) -> None:
    """Failed at the bank, or left without an answer: declined, and another card may be tried."""

    async def work(till: Till) -> None:
        await _at_the_bank(till)
        if answered:
            assert await till.at_bank(passed=False)
        await till.back_from_bank()
        assert (till.order, till.attempts, till.totals) == ("PENDING", ["DECLINED"], (0, 0, 0, 0))
        await till.pay("T2")
        assert till.order == "PAID"

    at_the_till(tmp_path, work)


def test_a_challenge_is_answered_once(tmp_path: Path) -> None:
    """The first word to the bank counts: a failed challenge can not be passed afterwards."""

    async def work(till: Till) -> None:
        await _at_the_bank(till)
        assert await till.at_bank(passed=False)
        assert not await till.at_bank(passed=True)
        await till.back_from_bank()
        assert till.attempts == ["DECLINED"]

    at_the_till(tmp_path, work)


def test_a_payer_who_never_comes_back_blocks_nothing(tmp_path: Path) -> None:
    """Nobody looks up an abandoned challenge; the next card takes its place, and a late return is refused."""

    async def work(till: Till) -> None:
        await _at_the_bank(till)
        till.clock.time = LATER
        assert till.overdue() == []
        await till.charge("T2")
        assert till.attempts == ["CANCELLED", "AWAITING_OTP"]
        await till.at_bank(passed=True)
        assert ending(await till.back_from_bank()) == "AttemptEnded"
        await till.confirm("9999", "T2")
        assert (till.order, till.totals) == ("PAID", (1, 1, 0, 0))

    at_the_till(tmp_path, work)


@pytest.mark.parametrize(("passed", "second"), [(True, "AttemptAlreadyCompleted"), (False, "AttemptEnded")])
def test_coming_back_twice_counts_once(tmp_path: Path, *, passed: bool, second: str) -> None:
    """The second return is refused by name; the rail was asked once, and money was taken at most once."""

    async def work(till: Till) -> None:
        await _at_the_bank(till)
        await till.at_bank(passed=passed)
        await till.back_from_bank()
        assert ending(await till.back_from_bank()) == second
        assert till.rail.arrived.count("challenge") == 1
        assert till.totals == ((1, 1, 0, 0) if passed else (0, 0, 0, 0))

    at_the_till(tmp_path, work)


def test_two_returns_at_once_ask_the_rail_once(tmp_path: Path) -> None:
    """Of two returns in one moment one asks the rail and the other learns that it is being asked."""

    async def work(till: Till) -> None:
        await _at_the_bank(till)
        await till.at_bank(passed=True)
        answers = await asyncio.gather(till.back_from_bank(), till.back_from_bank())
        assert sorted(map(ending, answers)) == ["AttemptInProgress", "done"]
        assert (till.order, till.rail.arrived.count("challenge")) == ("PAID", 1)

    at_the_till(tmp_path, work)


def test_coming_back_to_a_cancelled_order_takes_nothing(tmp_path: Path) -> None:
    """Cancelled while the payer was at the bank: the return is refused and the rail is not asked."""

    async def work(till: Till) -> None:
        await _at_the_bank(till)
        assert ending(await till.engine.submit(cancel("r"))) == "done"
        await till.at_bank(passed=True)
        assert ending(await till.back_from_bank()) == "OrderAlreadyCancelled"
        assert "challenge" not in till.rail.arrived
        assert (till.attempts, till.totals, till.bookings) == (["CANCELLED"], (0, 0, 0, 0), [])

    at_the_till(tmp_path, work)


def test_a_cancel_while_the_rail_completes_the_challenge_wins(tmp_path: Path) -> None:
    """The approval that comes after the cancel is voided in the open."""

    async def work(till: Till) -> None:
        await _at_the_bank(till)
        await till.at_bank(passed=True)
        till.rail.way_back.clear()
        returning = asyncio.create_task(till.back_from_bank())
        await till.rail.held.wait()
        assert ending(await till.engine.submit(cancel("r"))) == "done"
        till.rail.way_back.set()
        await returning
        await till.card_payments.close(seconds=5)
        assert (till.order, till.attempts, till.totals) == ("CANCELLED", ["VOIDED"], (1, 0, 0, 1))
        assert till.bookings == VOID_BOOKINGS

    at_the_till(tmp_path, work)


def test_a_password_is_no_answer_to_a_challenge(tmp_path: Path) -> None:
    """An attempt that waits for the bank takes no one-time password, nor one with a password a return."""

    async def work(till: Till) -> None:
        await _at_the_bank(till)
        assert ending(await till.confirm("9999")) == "AttemptInProgress"
        await till.charge("T2")
        assert ending(await till.back_from_bank("T2")) == "AttemptInProgress"
        assert till.attempts == ["CANCELLED", "AWAITING_OTP"]

    at_the_till(tmp_path, work)


# --- a rail that does not answer ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reached", "passed", "after"),
    [
        (True, True, ("PAID", ["APPROVED"], (1, 1, 0, 0))),
        (True, False, ("PENDING", ["DECLINED"], (0, 0, 0, 0))),
        (False, True, ("PENDING", ["FAILED"], (0, 0, 0, 0))),
        (False, False, ("PENDING", ["FAILED"], (0, 0, 0, 0))),
    ],
)
def test_a_silent_return_is_found_out(
    tmp_path: Path, *, reached: bool, passed: bool, after: tuple[str, list[str], tuple[int, ...]]
) -> None:
    """Look-up finds what the rail did; a return that it never saw is refused there for ever."""

    async def work(till: Till) -> None:
        await _at_the_bank(till)
        await till.at_bank(passed=passed)
        (till.rail.loses_answers if reached else till.rail.loses_calls).add("challenge")
        await till.back_from_bank()
        assert (till.order, till.attempts) == ("PENDING", ["UNKNOWN"])
        assert ending(await till.back_from_bank()) == "AttemptInProgress"
        till.clock.time = LATER
        await till.finish()
        assert (till.order, till.attempts, till.totals) == after
        assert till.overdue() == []
        late = await till.sandbox.complete_challenge("T1")
        assert (late.outcome is RailOutcome.APPROVED) == (after[0] == "PAID")

    at_the_till(tmp_path, work)


@pytest.mark.parametrize("reached", [False, True])
def test_a_challenge_nobody_heard_of_is_given_up(tmp_path: Path, *, reached: bool) -> None:
    """A challenge that a lost charge wanted is voided, for nobody can go there, and the card tried again."""

    async def work(till: Till) -> None:
        add_orders(till.store, "r")
        (till.rail.loses_answers if reached else till.rail.loses_calls).add("charge")
        await till.charge(card=BANK_CARD)
        till.clock.time = LATER
        await till.finish()
        assert (till.order, till.attempts) == ("PENDING", ["FAILED"])
        assert not await till.at_bank(passed=True)
        till.rail.loses_answers.clear()
        till.rail.loses_calls.clear()
        await till.pay("T2")
        assert till.order == "PAID"

    at_the_till(tmp_path, work)


@pytest.mark.parametrize(
    ("reached", "after"),
    [(False, ("PENDING", ["FAILED"], (0, 0, 0, 0))), (True, ("PAID", ["APPROVED"], (1, 1, 0, 0)))],
)
def test_a_crash_in_a_return(
    tmp_path: Path, *, reached: bool, after: tuple[str, list[str], tuple[int, ...]]
) -> None:
    """The process ends while the rail is being asked; the next one finds out, once its time is up."""

    async def crash(till: Till) -> None:
        await _at_the_bank(till)
        await till.at_bank(passed=True)
        (till.rail.way_back if reached else till.rail.way_there).clear()
        returning = asyncio.create_task(till.back_from_bank())
        await till.rail.held.wait()
        await till.card_payments.close(seconds=0)
        (answer,) = await asyncio.gather(returning, return_exceptions=True)
        assert ending(answer) == "Overloaded"

    async def next_process(till: Till) -> tuple[str, list[str], tuple[int, ...]]:
        assert till.overdue() == []
        assert till.attempts == ["CALLING"]
        till.clock.time = LATER
        await till.finish()
        return till.order, till.attempts, till.totals

    at_the_till(tmp_path, crash)
    assert at_the_till(tmp_path, next_process, now=NOW + 29_999) == after


def test_a_challenged_charge_is_repeated_with_its_challenge(tmp_path: Path) -> None:
    """The same charge again, by its idempotency key, gets the first reply and makes no second attempt."""

    async def work(till: Till) -> None:
        add_orders(till.store, "r")
        first = await till.charge(card=BANK_CARD, key=claim("k"))
        again = await till.charge("T2", card=BANK_CARD, key=claim("k"))
        assert (again.replayed, again.reply) == (True, first.reply)
        assert till.attempts == ["AWAITING_3DS"]

    at_the_till(tmp_path, work)
