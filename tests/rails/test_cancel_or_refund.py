"""A cancel that refunds what was paid: one winner, one refund, and the cancel's answer whoever brings it."""

import asyncio
from pathlib import Path

import pytest

from engine.builders import cancel_or_refund, claim, settle
from engine.harness import ask, ending, together
from opentill.domain.commands import RailOutcome
from opentill.engine.engine import Result
from opentill.rails.card_payments import Asking
from opentill.store.orders.contract import KeyClaim
from rails.till import LATER, Till, at_the_till
from store_factories import add_orders


async def cancel(till: Till, refund_id: str = "F1", key: KeyClaim | None = None) -> Result:
    until = till.card_payments.call_until()
    command = cancel_or_refund("r", refund_id=refund_id, key=key.key if key else None, call_until=until)
    return await till.card_payments.refund(command, Asking(till.render, key))


def test_what_is_not_paid_is_cancelled_at_once(tmp_path: Path) -> None:
    """The rail is not asked, an attempt that waits ends, and the answer is that of the cancel's commit."""

    async def work(till: Till) -> None:
        add_orders(till.store, "r")
        await till.charge()
        result = await cancel(till)
        assert (ending(result), till.order, till.attempts) == ("done", "CANCELLED", ["CANCELLED"])
        assert result.reply is not None
        again = await cancel(till, "F2")
        assert (ending(again), till.events.count("order_cancelled")) == ("done", 1)
        assert (till.rail.paid_to, till.refunds) == ([], [])

    at_the_till(tmp_path, work)


def test_what_is_paid_is_given_back_once(tmp_path: Path) -> None:
    """The rest goes back to the card; under the key the same answer; afterwards nothing is left to give."""

    async def work(till: Till) -> None:
        add_orders(till.store, "r")
        await till.pay()
        await till.refund(1_000, "F0")
        first, again = [await cancel(till, "F1", claim("k")) for _ in range(2)]
        assert (again.replayed, again.reply) == (True, first.reply)
        assert ending(await cancel(till, "F2")) == "done"
        assert (till.order, till.refunds, till.balances) == ("PAID", ["DONE", "DONE"], {})
        assert till.events[-2:] == ["refund_started", "payment_refunded"]
        assert till.rail.paid_to == [None, None]

    at_the_till(tmp_path, work)


def test_two_at_once_give_it_back_once(tmp_path: Path) -> None:
    """Whoever comes second finds nothing left, though the first refund is still on its way."""

    async def work(till: Till) -> None:
        add_orders(till.store, "r")
        await till.pay()
        answers = await together(cancel(till, "F1"), cancel(till, "F2"))
        assert [ending(answer) for answer in answers] == ["done", "done"]
        assert (till.refunds, till.rail.paid_to, till.balances) == (["DONE"], [None], {})

    at_the_till(tmp_path, work)


@pytest.mark.parametrize("payment_first", [True, False])
def test_a_payment_and_such_a_cancel_have_one_winner(tmp_path: Path, payment_first: bool) -> None:
    """In one batch: paid and then refunded, or cancelled and the approval voided; never a mixture."""

    async def work(till: Till) -> None:
        add_orders(till.store, "r")
        await till.charge()
        approved = till.engine.submit(settle("r", "T1", RailOutcome.APPROVED))
        cancelled = till.engine.submit(cancel_or_refund("r"))
        await together(*([approved, cancelled] if payment_first else [cancelled, approved]))
        wins = [each for each in till.events if each in {"payment_success", "order_cancelled"}]
        assert wins == ["payment_success" if payment_first else "order_cancelled"]
        assert till.refunds == (["RUNNING"] if payment_first else [])
        assert till.attempts == (["APPROVED"] if payment_first else ["VOIDING"])

    at_the_till(tmp_path, work)


def test_a_refund_whose_caller_died_is_finished_and_answered_as_the_cancel(tmp_path: Path) -> None:
    """The next process pays it back under its one id, and the key then has the answer of a cancel."""

    async def begin(till: Till) -> None:
        add_orders(till.store, "r")
        await till.pay()
        till.rail.never_held = {"look_up_payout"}
        till.rail.way_back.clear()
        dying = asyncio.create_task(cancel(till, "F1", claim("k")))
        await till.rail.held.wait()
        assert till.refunds == ["RUNNING"]
        dying.cancel()

    async def go_on(till: Till) -> None:
        await till.finish()
        assert (till.refunds, till.balances) == (["DONE"], {})
        stored = ask(till.store, "SELECT body FROM idempotency_keys WHERE key = 'k'")
        assert stored == [('{"late":"cancel_or_refund of F1"}',)]
        assert (await cancel(till, "F1", claim("k"))).replayed
        assert ask(till.store, "SELECT count(*) FROM refunds") == [(1,)]

    at_the_till(tmp_path, begin)
    at_the_till(tmp_path, go_on, now=LATER)
