"""Cards are taken over the real engine and the sandbox rail: intention, call, answer."""

import asyncio
from dataclasses import replace
from pathlib import Path

from engine.builders import claim
from engine.harness import ask, ending
from opentill.domain.transition import Change
from rails.till import CARD, PAID_BOOKINGS, VOID_BOOKINGS, Till, at_the_till
from store_factories import ACCOUNT, NOW, TOKEN, add_orders, add_token, cancel


def test_a_card_with_its_otp_pays_an_order(tmp_path: Path) -> None:
    """Charged, the attempt waits for the OTP; confirmed, the order is PAID and the ledger says so."""

    async def work(till: Till) -> None:
        add_orders(till.store, "r")
        charged = await till.charge()
        assert isinstance(charged.outcome, Change)
        assert (till.order, till.attempts) == ("PENDING", ["AWAITING_OTP"])
        confirmed = await till.confirm("9999")
        assert ending(confirmed) == "done"
        assert (till.order, till.attempts, till.totals) == ("PAID", ["APPROVED"], (1, 1, 0, 0))
        assert till.events == [
            "order_created",
            "attempt_started",
            "attempt_waiting",
            "attempt_resumed",
            "payment_success",
        ]
        assert till.bookings == PAID_BOOKINGS
        assert ask(till.store, "SELECT paid_by FROM orders") == [("T1",)]

    at_the_till(tmp_path, work)


def test_a_declined_card_leaves_the_order_payable(tmp_path: Path) -> None:
    """A decline is recorded with the rail's code, and another card then pays the order."""

    async def work(till: Till) -> None:
        add_orders(till.store, "r")
        await till.charge("T1", replace(CARD, number="4111111111111111"))
        assert (till.order, till.attempts) == ("PENDING", ["DECLINED"])
        assert ask(till.store, "SELECT response_code, message FROM attempts") == [("05", "Do not honor")]
        await till.charge("T2")
        await till.confirm("9999", "T2")
        assert (till.order, till.attempts) == ("PAID", ["DECLINED", "APPROVED"])

    at_the_till(tmp_path, work)


def test_an_otp_may_be_mistyped_so_often(tmp_path: Path) -> None:
    """Wrong OTPs may be corrected until the last of the allowed tries, which ends the attempt."""

    async def work(till: Till) -> None:
        add_orders(till.store, "r")
        await till.charge()
        seen = []
        for otp in ("7777", "5464", "8888"):
            await till.confirm(otp)
            seen += till.attempts
        assert seen == ["AWAITING_OTP", "AWAITING_OTP", "DECLINED"]
        assert ending(await till.confirm("9999")) == "AttemptEnded"
        assert (till.order, till.totals) == ("PENDING", (0, 0, 0, 0))

    at_the_till(tmp_path, work)


def test_a_mistyped_otp_may_be_corrected(tmp_path: Path) -> None:
    """The right OTP on the last allowed try pays."""

    async def work(till: Till) -> None:
        add_orders(till.store, "r")
        await till.charge()
        for otp in ("7777", "7777", "9999"):
            await till.confirm(otp)
        assert (till.order, till.attempts) == ("PAID", ["APPROVED"])

    at_the_till(tmp_path, work)


def test_a_refused_intention_never_reaches_the_rail(tmp_path: Path) -> None:
    """A card for a cancelled order, or sent with a dead token, is refused and the rail sees nothing."""

    async def work(till: Till) -> None:
        add_orders(till.store, "r")
        add_token(till.store)
        till.store.accounts.revoke_token(ACCOUNT, TOKEN.jti, "client-1", NOW)
        till.rail.way_there.clear()
        assert ending(await till.charge(token=TOKEN)) == "TokenRevoked"
        await till.engine.submit(cancel("r"))
        assert ending(await till.charge()) == "OrderAlreadyCancelled"
        assert not till.rail.held.is_set()
        assert till.attempts == []

    at_the_till(tmp_path, work)


def test_a_repeated_charge_is_made_once(tmp_path: Path) -> None:
    """Two charges at once with one idempotency key are one attempt and one answer."""

    async def work(till: Till) -> None:
        add_orders(till.store, "r")
        first, second = await asyncio.gather(
            till.charge("T1", key=claim("k")), till.charge("T2", key=claim("k"))
        )
        assert first.reply == second.reply
        assert [first.replayed, second.replayed] == [False, True]
        assert till.attempts == ["AWAITING_OTP"]

    at_the_till(tmp_path, work)


def test_no_card_number_is_in_any_file(tmp_path: Path) -> None:
    """After a whole payment no file of the folder holds the card's number or its OTP."""

    async def work(till: Till) -> None:
        add_orders(till.store, "r")
        await till.charge()
        await till.confirm("918273")
        await till.confirm("9999")
        assert till.order == "PAID"

    at_the_till(tmp_path, work)
    written = b"".join(file.read_bytes() for file in tmp_path.iterdir())
    assert b"543462******2808" in written
    assert CARD.number.encode() not in written
    assert b"918273" not in written


# --- a cancel while the rail is answering -------------------------------------------------------------


def test_a_cancel_before_the_answer_wins(tmp_path: Path) -> None:
    """Cancelled while the rail is answering, the order stays so; the approval is voided in the open."""

    async def work(till: Till) -> None:
        add_orders(till.store, "r")
        await till.charge()
        till.rail.way_back.clear()
        confirming = asyncio.create_task(till.confirm("9999"))
        await till.rail.held.wait()
        assert ending(await till.engine.submit(cancel("r"))) == "done"
        till.rail.way_back.set()
        await confirming
        await till.card_payments.close(seconds=5)
        assert (till.order, till.attempts, till.totals) == ("CANCELLED", ["VOIDED"], (1, 0, 0, 1))
        assert till.events[-3:] == ["order_cancelled", "void_started", "payment_reversal"]
        assert till.bookings == VOID_BOOKINGS

    at_the_till(tmp_path, work)


def test_a_cancel_after_the_answer_is_refused(tmp_path: Path) -> None:
    """The approval commits first: the order is PAID, and the cancel learns the true reason."""

    async def work(till: Till) -> None:
        add_orders(till.store, "r")
        await till.charge()
        till.rail.way_back.clear()
        confirming = asyncio.create_task(till.confirm("9999"))
        await till.rail.held.wait()
        till.rail.way_back.set()
        await confirming
        assert ending(await till.engine.submit(cancel("r"))) == "OrderAlreadyPaid"
        assert (till.order, till.attempts, till.totals) == ("PAID", ["APPROVED"], (1, 1, 0, 0))
        assert till.bookings == PAID_BOOKINGS

    at_the_till(tmp_path, work)


def test_a_cancel_while_the_payer_has_the_otp_wins(tmp_path: Path) -> None:
    """The OTP sent after the cancel is refused, the rail is not asked, and nothing is taken."""

    async def work(till: Till) -> None:
        add_orders(till.store, "r")
        await till.charge()
        await till.engine.submit(cancel("r"))
        till.rail.way_there.clear()
        assert ending(await till.confirm("9999")) == "OrderAlreadyCancelled"
        assert not till.rail.held.is_set()
        assert (till.attempts, till.totals, till.bookings) == (["CANCELLED"], (0, 0, 0, 0), [])

    at_the_till(tmp_path, work)


def test_a_caller_that_goes_away_does_not_stop_the_call(tmp_path: Path) -> None:
    """The client disconnects while the rail is answering; the payment is settled all the same."""

    async def work(till: Till) -> None:
        add_orders(till.store, "r")
        await till.charge()
        till.rail.way_back.clear()
        confirming = asyncio.create_task(till.confirm("9999"))
        await till.rail.held.wait()
        confirming.cancel()
        await asyncio.gather(confirming, return_exceptions=True)
        till.rail.way_back.set()
        await till.card_payments.close(seconds=5)
        assert (confirming.cancelled(), till.order) == (True, "PAID")

    at_the_till(tmp_path, work)


def test_a_caller_that_goes_away_at_once_does_not_stop_the_call(tmp_path: Path) -> None:
    """Gone before the intention was committed, the caller still leaves a charge that is made and settled."""

    async def work(till: Till) -> None:
        add_orders(till.store, "r")
        charging = asyncio.create_task(till.charge(key=claim("k")))
        await asyncio.sleep(0)
        charging.cancel()
        await asyncio.gather(charging, return_exceptions=True)
        await till.card_payments.close(seconds=5)
        assert till.attempts == ["AWAITING_OTP"]
        assert await till.rail.look_up("T1") is not None

    at_the_till(tmp_path, work)
