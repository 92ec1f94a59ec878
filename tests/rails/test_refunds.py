"""Money back by card: once, whatever the rail answers and whenever, and never more than was paid."""

import asyncio
from collections.abc import Awaitable
from dataclasses import replace
from pathlib import Path

import pytest

from engine.builders import claim
from engine.harness import ask, ending
from opentill.domain.commands import RefundOutcome
from opentill.domain.order import RefundStatus
from opentill.domain.transition import Change
from opentill.engine.engine import Result
from opentill.rails.rail import BankAccount, Payout, PayoutKind
from rails.till import BAD_CARD, CUT_SHORT, LATER, LONG, PAID_BOOKINGS, REFUND_BOOKINGS, Till, at_the_till
from store_factories import ACCOUNT, NOW, add_orders, cancel

PRICE = 10_000_50
BANK = BankAccount("0123456789", "058")
IMPATIENT = replace(LONG, refund_wait_seconds=0.0)


async def _paid(till: Till) -> None:
    """A paid order, and a line that is held up only where the refund itself is asked for."""
    add_orders(till.store, "r")
    await till.pay()
    till.rail.never_held = {"look_up_payout"}


def _status(result: Result, refund_id: str = "F1") -> RefundStatus:
    """Return where the answer says the refund is."""
    assert isinstance(result.outcome, Change)
    refund = result.outcome.after.refund(refund_id)
    assert refund is not None
    return refund.status


def test_a_payment_is_given_back_whole(tmp_path: Path) -> None:
    """All of it is back, the order stays PAID, event and ledger say so, and nobody is owed anything."""

    async def work(till: Till) -> None:
        await _paid(till)
        assert _status(await till.refund()) is RefundStatus.DONE
        assert (till.order, till.refunds, till.refunded) == ("PAID", ["DONE"], PRICE)
        assert till.events[-2:] == ["refund_started", "payment_refunded"]
        assert (till.bookings, till.balances) == (REFUND_BOOKINGS, {})
        assert (till.totals, till.rail.paid_to) == ((1, 1, 0, 0), [None])

    at_the_till(tmp_path, work)


def test_a_payment_is_given_back_in_parts(tmp_path: Path) -> None:
    """A part, a second part, then whatever is left; after that there is nothing to give back."""

    async def work(till: Till) -> None:
        await _paid(till)
        await till.refund(4_000_00, "F1")
        assert till.balances == {"card_rail": PRICE - 4_000_00, "merchant": 4_000_00 - PRICE}
        await till.refund(1, "F2")
        await till.refund(None, "F3")
        assert ending(await till.refund(None, "F4")) == "RefundExceedsPaid"
        assert (till.refunded, till.balances) == (PRICE, {})
        amounts = [known.amount for f in ("F1", "F2", "F3") if (known := till.paid_out(f))]
        assert (amounts, till.paid_out("F4")) == ([4_000_00, 1, PRICE - 4_000_01], None)

    at_the_till(tmp_path, work)


def test_a_payment_is_given_back_to_a_bank_account(tmp_path: Path) -> None:
    """The rail is told the account, on a second try after a silence too, and the refund remembers it."""

    async def work(till: Till) -> None:
        await _paid(till)
        till.rail.loses_calls = {"refund"}
        await till.refund(to=BANK)
        till.rail.loses_calls.clear()
        till.clock.time = LATER
        await till.finish()
        assert till.rail.paid_to == [BANK, BANK]
        assert ask(till.store, "SELECT account_number, bank_code, status FROM refunds") == [
            (BANK.account_number, BANK.bank_code, "DONE")
        ]

    at_the_till(tmp_path, work)


@pytest.mark.parametrize("amount", [0, -1, PRICE + 1])
def test_an_amount_that_was_not_paid_is_refused(tmp_path: Path, amount: int) -> None:
    """Nothing, less than nothing or more than was paid is refused, and the rail is not asked."""

    async def work(till: Till) -> None:
        await _paid(till)
        assert ending(await till.refund(amount)) == "RefundExceedsPaid"
        assert (till.refunds, till.bookings, till.rail.paid_to) == ([], PAID_BOOKINGS, [])

    at_the_till(tmp_path, work)


def test_only_what_paid_is_given_back(tmp_path: Path) -> None:
    """A transaction that was declined, waits, or is unknown has nothing to give back, and is told so."""

    async def work(till: Till) -> None:
        add_orders(till.store, "r")
        await till.charge("T1", card=BAD_CARD)
        await till.charge("T2")
        endings = [ending(await till.refund(transaction_id=t)) for t in ("T1", "T2", "T9")]
        assert endings == ["OrderNotPaid", "OrderNotPaid", "RecordNotFound"]
        await till.confirm("9999", "T2")
        assert ending(await till.refund(transaction_id="T1")) == "OrderNotPaid"
        assert till.rail.paid_to == []

    at_the_till(tmp_path, work)


def test_a_cancelled_order_has_nothing_to_refund(tmp_path: Path) -> None:
    """Refund and cancel exclude each other: a cancelled order was never paid, a refunded one was."""

    async def work(till: Till) -> None:
        await _paid(till)
        await till.refund()
        assert ending(await till.engine.submit(cancel("r"))) == "OrderAlreadyPaid"

    async def work_cancelled(till: Till) -> None:
        add_orders(till.store, "r")
        await till.charge()
        await till.engine.submit(cancel("r"))
        assert ending(await till.refund()) == "OrderNotPaid"

    at_the_till(tmp_path, work)
    (tmp_path / "other").mkdir()
    at_the_till(tmp_path / "other", work_cancelled)


# --- the rail refuses ---------------------------------------------------------------------------------


def test_a_refused_refund_drops_out_of_the_cap(tmp_path: Path) -> None:
    """The rail will not pay: told as an event, booked back, and the whole amount may be asked for again."""

    async def work(till: Till) -> None:
        await _paid(till)
        till.switch("refund", "refuse")
        assert _status(await till.refund(6_000_00)) is RefundStatus.REFUSED
        assert (till.refunds, till.refunded) == (["REFUSED"], 0)
        assert till.events[-2:] == ["refund_started", "refund_refused"]
        assert till.balances == {"card_rail": PRICE, "merchant": -PRICE}
        assert _status(await till.refund(None, "F2"), "F2") is RefundStatus.DONE
        assert (till.refunded, till.balances) == (PRICE, {})

    at_the_till(tmp_path, work)


def test_running_refunds_count_against_the_cap(tmp_path: Path) -> None:
    """While 60 % is on its way another 60 % is refused; once the rail refuses the first, it is not."""

    async def work(till: Till) -> None:
        await _paid(till)
        till.switch("refund", "refuse")
        till.rail.way_back.clear()
        first = asyncio.create_task(till.refund(6_000_00, "F1"))
        await till.rail.held.wait()
        assert till.balances["refunds_due"] == -6_000_00
        assert ending(await till.refund(6_000_00, "F2")) == "RefundExceedsPaid"
        till.rail.way_back.set()
        await first
        assert ending(await till.refund(6_000_00, "F2")) == "done"
        assert till.refunded == 6_000_00

    at_the_till(tmp_path, work)


def test_of_two_refunds_at_once_one_wins(tmp_path: Path) -> None:
    """Two of 60 % asked for in one moment: one is paid, the other refused, and the rail pays once."""

    async def work(till: Till) -> None:
        await _paid(till)
        answers = await asyncio.gather(till.refund(6_000_00, "F1"), till.refund(6_000_00, "F2"))
        assert sorted(map(ending, answers)) == ["RefundExceedsPaid", "done"]
        assert (till.refunded, len(till.rail.paid_to)) == (6_000_00, 1)

    at_the_till(tmp_path, work)


# --- the rail is slow, or silent ----------------------------------------------------------------------


def test_a_slow_refund_is_answered_as_running(tmp_path: Path) -> None:
    """After the wait the caller hears "running", and under its key hears that for ever; it ends by itself."""

    async def work(till: Till) -> None:
        await _paid(till)
        till.rail.way_back.clear()
        first = await till.refund(key=claim("k"))
        assert _status(first) is RefundStatus.UNKNOWN
        repeat = await till.refund(None, "F2", key=claim("k"))
        assert (repeat.replayed, repeat.reply) == (True, first.reply)
        till.rail.way_back.set()
        await till.card_payments.close(seconds=5)
        assert (till.refunds, till.balances) == (["DONE"], {})
        again = await till.refund(None, "F3", key=claim("k"))
        assert (again.replayed, again.reply) == (True, first.reply)
        assert till.refunds == ["DONE"]

    at_the_till(tmp_path, work, settings=IMPATIENT)


def test_a_refund_of_unknown_outcome_is_looked_up(tmp_path: Path) -> None:
    """Its answer lost, it counts until look-up tells that it was paid; the rail is not asked to pay again."""

    async def work(till: Till) -> None:
        await _paid(till)
        till.rail.loses_answers = {"refund"}
        assert _status(await till.refund(6_000_00)) is RefundStatus.UNKNOWN
        assert (till.refunded, till.balances["refunds_due"]) == (6_000_00, -6_000_00)
        assert ending(await till.refund(6_000_00, "F2")) == "RefundExceedsPaid"
        assert till.overdue() == []
        till.clock.time = LATER
        await till.finish()
        assert (till.refunds, till.rail.arrived.count("refund")) == (["DONE"], 1)
        assert "refunds_due" not in till.balances
        assert till.overdue() == []

    at_the_till(tmp_path, work)


def test_a_refund_that_got_lost_is_paid_once(tmp_path: Path) -> None:
    """Sent again under its one id; the first call, arriving after all, moves no money."""

    async def work(till: Till) -> None:
        await _paid(till)
        till.rail.loses_calls = {"refund"}
        assert _status(await till.refund(6_000_00)) is RefundStatus.UNKNOWN
        assert till.paid_out() is None
        till.rail.loses_calls.clear()
        till.clock.time = LATER
        await till.finish()
        assert till.refunds == ["DONE"]
        paid = till.paid_out()
        late = await till.payouts.pay(Payout("F1", PayoutKind.REFUND, "T1", 6_000_00, "NGN", None))
        assert (late.outcome, till.paid_out()) == (RefundOutcome.DONE, paid)
        with till.journal._engine.connect() as rail:
            assert rail.exec_driver_sql("SELECT payout_id, amount FROM rail_payouts").all() == [
                ("F1", 6_000_00)
            ]

    at_the_till(tmp_path, work)


def test_a_late_first_call_does_not_pay_beside_the_second(tmp_path: Path) -> None:
    """Held up beyond its time and overtaken by the worker's, the first call ends as the same refund."""

    async def work(till: Till) -> None:
        await _paid(till)
        till.rail.way_there.clear()
        refunding = asyncio.create_task(till.refund(6_000_00))
        await till.rail.held.wait()
        first_way, till.rail.way_there = till.rail.way_there, asyncio.Event()
        till.rail.way_there.set()
        till.clock.time = LATER
        await till.finish()
        assert till.refunds == ["DONE"]
        first_way.set()
        await refunding
        assert (till.refunds, till.refunded) == (["DONE"], 6_000_00)
        assert till.events.count("payment_refunded") == 1
        assert till.rail.arrived.count("refund") == 2
        assert till.balances == {"card_rail": PRICE - 6_000_00, "merchant": 6_000_00 - PRICE}

    at_the_till(tmp_path, work)


@pytest.mark.parametrize(
    ("first", "then", "refunded"),
    [("unknown", None, PRICE), ("timeout", None, PRICE), ("timeout", "refuse", 0)],
)
def test_a_rail_that_never_answers_is_asked_again(
    tmp_path: Path, first: str, then: str | None, refunded: int
) -> None:
    """The refund is UNKNOWN, whether call or answer was lost, and ends as the rail has it in the end."""

    async def stay_silent(till: Till) -> None:
        till.switch("refund", first)
        assert _status(await till.refund()) is RefundStatus.UNKNOWN
        assert till.refunded == PRICE

    async def find_out(till: Till) -> None:
        if then:
            till.switch("refund", then)
        await till.finish()
        assert (till.refunds, till.refunded) == (["DONE" if refunded else "REFUSED"], refunded)
        assert till.overdue() == []
        assert "refunds_due" not in till.balances

    at_the_till(tmp_path, _paid)
    at_the_till(tmp_path, stay_silent, settings=CUT_SHORT)
    at_the_till(tmp_path, find_out, now=LATER)


def test_a_rail_that_stays_away_keeps_the_refund_open(tmp_path: Path) -> None:
    """While look-up fails too nothing is decided and nothing sent; afterwards the refund is paid once."""

    async def work(till: Till) -> None:
        await _paid(till)
        till.rail.loses_answers = {"look_up_payout"}
        await till.refund()
        till.clock.time = LATER
        await till.finish()
        assert (till.refunds, len(till.overdue()), till.rail.paid_to) == (["UNKNOWN"], 1, [])
        assert till.events.count("refund_unknown") == 1
        till.rail.loses_answers.clear()
        await till.finish()
        assert (till.refunds, len(till.rail.paid_to)) == (["DONE"], 1)

    at_the_till(tmp_path, work)


# --- a process that ends between the two commits ------------------------------------------------------


async def _cut_off(till: Till, asked: Awaitable[Result]) -> None:
    task = asyncio.ensure_future(asked)
    await till.rail.held.wait()
    await till.card_payments.close(seconds=0)
    (answer,) = await asyncio.gather(task, return_exceptions=True)
    assert ending(answer) == "Overloaded"


@pytest.mark.parametrize("reached", [False, True])
def test_a_crash_in_a_refund(tmp_path: Path, *, reached: bool) -> None:
    """Before or after the call: the next process pays what was not paid, and only that, under the same id."""

    async def crash(till: Till) -> None:
        await _paid(till)
        (till.rail.way_back if reached else till.rail.way_there).clear()
        await _cut_off(till, till.refund(key=claim("k")))
        assert (till.paid_out() is not None) == reached
        assert till.refunds == ["RUNNING"]

    async def next_process(till: Till) -> None:
        assert till.overdue() == []
        till.clock.time = LATER
        await till.finish()
        assert (till.refunds, till.refunded, till.balances) == (["DONE"], PRICE, {})
        assert till.rail.arrived.count("refund") == (0 if reached else 1)
        assert till.overdue() == []
        repeated = await till.refund(None, "F2", key=claim("k"))
        assert repeated.replayed
        assert repeated.reply is not None
        assert repeated.reply.body == b'{"late":"refund of F1"}'

    at_the_till(tmp_path, crash)
    at_the_till(tmp_path, next_process, now=NOW + 29_999)


def test_a_crash_before_a_refusal_is_told_later(tmp_path: Path) -> None:
    """The rail had refused when the process ended: the next one drops the refund out of the cap."""

    async def crash(till: Till) -> None:
        await _paid(till)
        till.switch("refund", "decline")
        till.rail.way_back.clear()
        await _cut_off(till, till.refund())

    async def next_process(till: Till) -> None:
        assert till.refunded == PRICE
        await till.finish()
        assert (till.refunds, till.refunded, till.bookings[-2:]) == (
            ["REFUSED"],
            0,
            [("refunds_due", 1), (f"merchant:{ACCOUNT}", -1)],
        )

    at_the_till(tmp_path, crash)
    at_the_till(tmp_path, next_process, now=LATER)


def test_a_caller_that_goes_away_does_not_stop_the_refund(tmp_path: Path) -> None:
    """The client disconnects while the rail is answering; the refund is settled all the same."""

    async def work(till: Till) -> None:
        await _paid(till)
        till.rail.way_back.clear()
        refunding = asyncio.create_task(till.refund())
        await till.rail.held.wait()
        refunding.cancel()
        await asyncio.gather(refunding, return_exceptions=True)
        till.rail.way_back.set()
        await till.card_payments.close(seconds=5)
        assert (refunding.cancelled(), till.refunds) == (True, ["DONE"])

    at_the_till(tmp_path, work)


def test_a_repeated_refund_is_made_once(tmp_path: Path) -> None:
    """Two refunds at once with one idempotency key are one refund and one answer."""

    async def work(till: Till) -> None:
        await _paid(till)
        first, second = await asyncio.gather(
            till.refund(1_00, "F1", key=claim("k")), till.refund(1_00, "F2", key=claim("k"))
        )
        assert first.reply == second.reply
        assert [first.replayed, second.replayed] == [False, True]
        assert (till.refunds, till.refunded) == (["DONE"], 1_00)

    at_the_till(tmp_path, work)
