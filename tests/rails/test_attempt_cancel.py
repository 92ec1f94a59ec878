"""One attempt is ended by the merchant while the order stays payable; and passwords that are sent again."""

import asyncio
from pathlib import Path

import pytest

from engine.builders import claim
from engine.harness import ask, ending
from opentill.domain.commands import RailOutcome
from opentill.engine.engine import Result
from opentill.rails.rail import Card
from rails.till import BAD_CARD, BANK_CARD, CARD, LATER, VOID_BOOKINGS, Till, at_the_till
from store_factories import add_orders, cancel


@pytest.mark.parametrize("card", [CARD, BANK_CARD])
def test_an_attempt_that_waits_is_ended(tmp_path: Path, card: Card) -> None:
    """Ended while the payer has the OTP or is at the bank: nothing more is taken, and another card pays."""

    async def work(till: Till) -> None:
        add_orders(till.store, "r")
        await till.charge(card=card)
        assert ending(await till.cancel_attempt()) == "done"
        assert (till.order, till.attempts) == ("PENDING", ["CANCELLED"])
        go_on = till.confirm("9999") if card is CARD else till.back_from_bank()
        assert ending(await go_on) == "AttemptEnded"
        assert till.rail.arrived == ["charge"]
        await till.pay("T2")
        assert (till.order, till.attempts) == ("PAID", ["CANCELLED", "APPROVED"])

    at_the_till(tmp_path, work)


def test_a_finished_attempt_is_not_ended_again(tmp_path: Path) -> None:
    """A declined, a cancelled and an approved attempt refuse by name, and nothing changes."""

    async def work(till: Till) -> None:
        add_orders(till.store, "r")
        await till.charge(card=BAD_CARD)
        assert ending(await till.cancel_attempt()) == "AttemptEnded"
        await till.charge("T2")
        await till.cancel_attempt("T2")
        assert ending(await till.cancel_attempt("T2")) == "AttemptEnded"
        await till.pay("T3")
        assert ending(await till.cancel_attempt("T3")) == "AttemptAlreadyCompleted"
        assert ending(await till.cancel_attempt("T4")) == "RecordNotFound"
        assert (till.order, till.attempts) == ("PAID", ["DECLINED", "CANCELLED", "APPROVED"])

    at_the_till(tmp_path, work)


async def _ended_while_asked(till: Till, *, reached: bool = True) -> asyncio.Task[Result]:
    """A confirmation, held up on its way, whose attempt was ended meanwhile."""
    await till.charge()
    (till.rail.way_back if reached else till.rail.way_there).clear()
    confirming = asyncio.create_task(till.confirm("9999"))
    await till.rail.held.wait()
    assert ending(await till.cancel_attempt()) == "done"
    return confirming


def test_an_approval_of_an_ended_attempt_is_voided(tmp_path: Path) -> None:
    """Though the order is PENDING the money goes back, in the open, and the order can still be paid."""

    async def work(till: Till) -> None:
        add_orders(till.store, "r")
        confirming = await _ended_while_asked(till)
        till.rail.way_back.set()
        await confirming
        await till.card_payments.close(seconds=5)
        assert (till.order, till.totals, till.bookings) == ("PENDING", (1, 0, 0, 1), VOID_BOOKINGS)
        await till.pay("T2")
        assert (till.order, till.attempts, till.totals) == ("PAID", ["VOIDED", "APPROVED"], (2, 1, 0, 1))
        assert till.balances == {"card_rail": 10_000_50, "merchant": -10_000_50}

    at_the_till(tmp_path, work)


def test_a_new_attempt_pays_while_the_ended_one_is_still_answered(tmp_path: Path) -> None:
    """The second card is not kept waiting for the first one's answer, which then goes back."""

    async def work(till: Till) -> None:
        add_orders(till.store, "r")
        confirming = await _ended_while_asked(till)
        first_way_back, till.rail.way_back = till.rail.way_back, asyncio.Event()
        till.rail.way_back.set()
        await till.pay("T2")
        assert (till.order, till.attempts) == ("PAID", ["CANCELLED", "APPROVED"])
        first_way_back.set()
        await confirming
        await till.card_payments.close(seconds=5)
        assert (till.order, till.attempts, till.totals) == ("PAID", ["VOIDED", "APPROVED"], (2, 1, 0, 1))

    at_the_till(tmp_path, work)


def test_a_decline_closes_the_call_of_an_ended_attempt(tmp_path: Path) -> None:
    """The rail took nothing: noted once, with nothing left for the worker, and nothing booked."""

    async def work(till: Till) -> None:
        add_orders(till.store, "r")
        till.rail.way_back.clear()
        charging = asyncio.create_task(till.charge(card=BAD_CARD))
        await till.rail.held.wait()
        await till.cancel_attempt()
        assert ask(till.store, "SELECT call_kind FROM attempts") == [("charge",)]
        till.rail.way_back.set()
        await charging
        assert till.events[-2:] == ["attempt_cancelled", "attempt_closed"]
        assert ask(till.store, "SELECT call_kind FROM attempts") == [(None,)]
        till.clock.time = LATER
        assert (till.overdue(), till.bookings) == ([], [])

    at_the_till(tmp_path, work)


@pytest.mark.parametrize(
    ("reached", "status", "totals"), [(True, "VOIDED", (1, 0, 0, 1)), (False, "CANCELLED", (0, 0, 0, 0))]
)
def test_a_silent_rail_is_asked_about_an_ended_attempt(
    tmp_path: Path, *, reached: bool, status: str, totals: tuple[int, ...]
) -> None:
    """Its answer lost, the worker finds out: money that was taken goes back, a call never seen is refused."""

    async def work(till: Till) -> None:
        add_orders(till.store, "r")
        (till.rail.loses_answers if reached else till.rail.loses_calls).add("confirm")
        confirming = await _ended_while_asked(till, reached=reached)
        (till.rail.way_back if reached else till.rail.way_there).set()
        await confirming
        assert till.attempts == ["CANCELLED"]
        till.clock.time = LATER
        assert len(till.overdue()) == 1
        await till.finish()
        assert (till.order, till.attempts, till.totals) == ("PENDING", [status], totals)
        assert till.overdue() == []
        known = await till.sandbox.look_up("T1")
        assert known is not None
        assert known.outcome is (RailOutcome.VOIDED if reached else RailOutcome.NEVER_HAPPENED)
        if not reached:
            late = await till.sandbox.confirm("T1", 1, "9999")
            assert late.outcome is RailOutcome.DECLINED

    at_the_till(tmp_path, work)


def test_cancel_of_attempt_and_then_order(tmp_path: Path) -> None:
    """Both ended while the rail was answering: the approval goes back once."""

    async def work(till: Till) -> None:
        add_orders(till.store, "r")
        confirming = await _ended_while_asked(till)
        assert ending(await till.engine.submit(cancel("r"))) == "done"
        till.rail.way_back.set()
        await confirming
        await till.card_payments.close(seconds=5)
        assert (till.order, till.attempts, till.totals) == ("CANCELLED", ["VOIDED"], (1, 0, 0, 1))
        assert till.bookings == VOID_BOOKINGS

    at_the_till(tmp_path, work)


def test_the_key_of_an_ended_attempt_gets_its_reply(tmp_path: Path) -> None:
    """The charge whose attempt was ended while it ran is answered, and its repeat gets the same bytes."""

    async def work(till: Till) -> None:
        add_orders(till.store, "r")
        till.rail.way_back.clear()
        charging = asyncio.create_task(till.charge(key=claim("k")))
        await till.rail.held.wait()
        await till.cancel_attempt()
        till.rail.way_back.set()
        first = await charging
        again = await till.charge("T2", key=claim("k"))
        assert (again.replayed, again.reply) == (True, first.reply)
        assert till.attempts == ["CANCELLED"]

    at_the_till(tmp_path, work)


# --- passwords that are sent again --------------------------------------------------------------------


def test_a_password_is_sent_again_so_often(tmp_path: Path) -> None:
    """Two sends are allowed and reach the rail, the third is refused and does not; the password pays."""

    async def work(till: Till) -> None:
        add_orders(till.store, "r")
        await till.charge()
        endings = [ending(await till.resend()) for _ in range(3)]
        assert endings == ["done", "done", "TooManyOtps"]
        await till.confirm("9999")
        await till.card_payments.close(seconds=5)
        assert till.rail.arrived.count("resend_otp") == 2
        assert (till.order, till.events.count("otp_resent")) == ("PAID", 2)

    at_the_till(tmp_path, work)


def test_each_attempt_has_sends_of_its_own(tmp_path: Path) -> None:
    """A new attempt may have its password sent again though the one before it used up its sends."""

    async def work(till: Till) -> None:
        add_orders(till.store, "r")
        await till.charge("T1")
        await till.resend(max_otp_sends=1)
        assert ending(await till.resend(max_otp_sends=1)) == "TooManyOtps"
        await till.charge("T2")
        assert ending(await till.resend(max_otp_sends=1)) == "done"
        rows = ask(till.store, "SELECT transaction_id, otp_sends FROM attempts ORDER BY transaction_id")
        assert rows == [("T1", 1), ("T2", 1)]

    at_the_till(tmp_path, work)


def test_a_password_nobody_waits_for_is_not_sent(tmp_path: Path) -> None:
    """Without an attempt, after a decline, at the bank, after a payment: refused, and the rail not asked."""

    async def work(till: Till) -> None:
        add_orders(till.store, "r")
        endings = [ending(await till.resend())]
        await till.charge("T1", card=BAD_CARD)
        endings.append(ending(await till.resend()))
        await till.charge("T2", card=BANK_CARD)
        endings.append(ending(await till.resend()))
        await till.pay("T3")
        endings.append(ending(await till.resend()))
        assert endings == ["AttemptEnded", "AttemptEnded", "AttemptInProgress", "OrderAlreadyPaid"]
        assert "resend_otp" not in till.rail.arrived

    at_the_till(tmp_path, work)


def test_a_rail_that_fails_to_send_fails_nobody(tmp_path: Path) -> None:
    """The rail is silent about the sending; the attempt still waits and the password it had still pays."""

    async def work(till: Till) -> None:
        add_orders(till.store, "r")
        await till.charge()
        till.rail.loses_calls = {"resend_otp"}
        assert ending(await till.resend()) == "done"
        await till.confirm("9999")
        assert till.order == "PAID"

    at_the_till(tmp_path, work)
