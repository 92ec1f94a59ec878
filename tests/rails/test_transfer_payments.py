"""Transfers over a real store and the sandbox's bank: numbers, advices, suspense, and money going back."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import TypeVar

import pytest

from databases import Place, rail_of, url_of
from engine.builders import transfer
from engine.harness import FaultyStore, ask, faulty_store, running
from opentill.domain.commands import (
    BeginRefund,
    ExpireOrder,
    RetryReturn,
    ReturnCredit,
    SettleReturnByHand,
)
from opentill.domain.names import transaction_id
from opentill.domain.nuban import account_number, is_account_number
from opentill.domain.order import LateMoney, Order, OrderStatus, ReturnStatus, Sender
from opentill.domain.refusals import (
    CreditNotHeld,
    CurrencyMismatch,
    OrderAlreadyCancelled,
    RecordNotFound,
    ReturnInProgress,
)
from opentill.domain.suspense import SUSPENSE, suspense_transaction
from opentill.domain.transition import Change
from opentill.engine.engine import Engine
from opentill.engine.reader import Reader
from opentill.engine.threads import StoreThreads
from opentill.rails.card_payments import Asking, CardPaymentService, CardPaymentSettings
from opentill.rails.payouts import PayoutRails
from opentill.rails.rail import NoCardPayouts, NoCardRail, NoTransferPayouts
from opentill.rails.sandbox.journal import RailJournal, RailSwitch
from opentill.rails.sandbox.payouts import SandboxTransferPayouts
from opentill.rails.transfer_payments import (
    AdviceContradicts,
    NoAccountFree,
    TransferPaymentService,
    TransferSettings,
)
from opentill.store.audit.examination import audit, open_read_only
from opentill.store.transfers.contract import TransferNotice
from rails.till import VAULT, render_late
from store_factories import ACCOUNT, ACTOR, IDS, NOW, OTHER, CountingIds, ToldClock, cancel, new_order

T = TypeVar("T")
AMOUNT = 10_000_50
DAY = 86_400_000
SENDER = Sender("Ada Obi", "0123456789", "058")
SETTINGS = TransferSettings(
    bank_code="999", account_prefix="90", timeout_seconds=5.0, retry_seconds=60.0, max_tries=2
)
LATER = 3_600_000
_ids = CountingIds(start=1 << 44)


@dataclass
class Counter:
    """The payment service of transfers and everything around it."""

    store: FaultyStore
    engine: Engine
    reader: Reader
    clock: ToldClock
    journal: RailJournal
    transfers: TransferPaymentService
    cards: CardPaymentService

    async def open(self, reference: str = "r", account_id: str = ACCOUNT, **terms: object) -> Order:
        result = await self.engine.submit(new_order(reference, account_id, **terms))
        assert isinstance(result.outcome, Change)
        return result.outcome.after

    async def order(self, reference: str = "r", account_id: str = ACCOUNT) -> Order:
        view = await self.reader.order(account_id, reference, None)
        assert view is not None
        return view.order

    async def sweep(self) -> None:
        """Do what a worker does, once."""
        await self.transfers.route_overdue()
        for view in await self.reader.ask(lambda s: s.overdue_calls(self.clock.now(), 100), None):
            await self.transfers.finish(view.order)

    def switch(self, operation: str, outcome: str, calls: int = 1) -> None:
        self.journal.set_switch(RailSwitch(operation, outcome, 0), calls)

    def sent(self) -> list[tuple[str, str, int]]:
        """Return what the bank itself knows of money it sent, or would not."""
        with self.journal._engine.begin() as connection:
            rows = connection.exec_driver_sql(
                "SELECT payout_id, state, amount FROM rail_payouts ORDER BY payout_id"
            )
            return [(row[0], row[1], row[2]) for row in rows]


def at_the_counter(
    place: Place,
    work: Callable[[Counter], Awaitable[T]],
    settings: TransferSettings = SETTINGS,
    *,
    bank: bool = True,
) -> T:
    """Return what ``work`` returns; then every invariant of the whole database holds."""

    async def main() -> T:
        store, journal, clock = faulty_store(place), RailJournal(rail_of(place)), ToldClock()
        threads = StoreThreads(store)
        reader = Reader(threads, 1000)
        reader.start()
        try:
            async with running(store, clock) as engine:
                rail = SandboxTransferPayouts(journal, 0) if bank else NoTransferPayouts()
                transfers = TransferPaymentService(
                    engine=engine,
                    reader=reader,
                    threads=threads,
                    rail=rail,
                    clock=clock,
                    ids=_ids,
                    settings=settings,
                )
                payouts = PayoutRails(NoCardPayouts(), rail)
                cards = CardPaymentService(
                    engine, NoCardRail(), payouts, clock, _ids, CardPaymentSettings(), VAULT, render_late
                )
                counter = Counter(store, engine, reader, clock, journal, transfers, cards)
                try:
                    return await work(counter)
                finally:
                    await cards.close(0)
        finally:
            await reader.close()
            threads.close()
            journal.close()
            store.close()

    result = asyncio.run(main())
    with open_read_only(url_of(place)) as connection:
        assert [each for each in audit(connection, 3) if each.count] == []
    return result


async def _notice(
    counter: Counter, order: Order, amount: int = AMOUNT, session: str = "S1"
) -> TransferNotice:
    account = await counter.transfers.account(order)
    return TransferNotice("bank", session, account.account_number, amount, "NGN", SENDER, None)


# --- account numbers ------------------------------------------------------------------------------


def test_an_order_has_one_number_with_a_right_check_digit(place: Place) -> None:
    """Repeated and simultaneous calls give one number, of our prefix, whose check digit fits its bank."""

    async def work(counter: Counter) -> None:
        order, other = await counter.open(), await counter.open("r2")
        accounts = await asyncio.gather(*(counter.transfers.account(order) for _ in range(5)))
        (number,) = {account.account_number for account in accounts}
        assert number.startswith("90")
        assert is_account_number("999", number)
        assert (await counter.transfers.account(other)).account_number != number

    at_the_counter(place, work)


def test_the_check_digit_is_the_central_banks() -> None:
    """The example of the central bank: serial 1457 of bank 011 is 0000014579; one wrong digit never fits."""
    assert account_number("011", 1457) == "0000014579"
    assert is_account_number("000011", "0000014579")
    for place in range(10):
        wrong = list("0000014579")
        wrong[place] = str((int(wrong[place]) + 1) % 10)
        assert not is_account_number("011", "".join(wrong))


def test_an_order_that_has_ended_gets_no_number(place: Place) -> None:
    """Nobody is told to transfer money to an order that would send it back."""

    async def work(counter: Counter) -> None:
        order = await counter.open()
        await counter.engine.submit(cancel("r"))
        with pytest.raises(OrderAlreadyCancelled):
            await counter.transfers.account(await counter.order())
        assert counter.store.transfers.transfer_account(ACCOUNT, order.order_id) is None

    at_the_counter(place, work)


def test_a_used_up_pool_is_told(place: Place) -> None:
    """With room for one hundred numbers the next order gets none, rather than another order's."""

    async def work(counter: Counter) -> None:
        async def fill() -> None:
            for number in range(101):
                account = await counter.transfers.account(await counter.open(f"r{number}"))
                given.append(account.account_number)

        given: list[str] = []
        with pytest.raises(NoAccountFree):
            await fill()
        assert len(set(given)) == len(given) > 0

    at_the_counter(place, work, replace(SETTINGS, account_prefix="9000000"))


# --- advices --------------------------------------------------------------------------------------


def test_one_session_is_one_credit(place: Place) -> None:
    """However often and at once a bank tells of a transfer, it is booked once and answered the same."""

    async def work(counter: Counter) -> None:
        notice = await _notice(counter, await counter.open())
        receipt = await asyncio.gather(*(counter.transfers.advise(notice) for _ in range(6)))
        assert len(set(receipt)) == 1
        assert receipt[0].disposition == "applied"
        order = await counter.order()
        assert (order.status, len(order.credits), order.totals.received) == (OrderStatus.PAID, 1, AMOUNT)
        assert order.paid_by == transaction_id(ACCOUNT, receipt[0].credit_id)
        with pytest.raises(AdviceContradicts):
            await counter.transfers.advise(replace(notice, amount=AMOUNT + 1))
        assert (await counter.order()).totals.received == AMOUNT

    at_the_counter(place, work)


def test_what_a_crash_left_between_the_two_commits_is_booked(place: Place) -> None:
    """An advice that was written down and not booked waits its time, and then is booked once."""

    async def work(counter: Counter) -> None:
        order = await counter.open(due_at=NOW + 5)
        notice = await _notice(counter, order)
        credit_id = IDS.uuid()
        counter.store.transfers.record_advice(notice, credit_id, NOW, NOW + 1_000)
        counter.clock.time = NOW + 999
        await counter.sweep()
        assert (await counter.order()).credit_count == 0
        counter.clock.time = NOW + 1_000
        await asyncio.gather(counter.sweep(), counter.sweep())
        paid = await counter.order()
        assert (paid.status, paid.credits[0].arrived_at) == (OrderStatus.PAID, NOW)
        assert (await counter.transfers.advise(notice)).credit_id == credit_id

    at_the_counter(place, work)


@pytest.mark.parametrize("told", [0, NOW - 2 * 365 * DAY, NOW - 1, -(10**15), NOW + 400 * DAY])
@pytest.mark.parametrize("crash", [False, True])
def test_a_transfer_older_than_its_order_is_not_on_time(place: Place, told: int, crash: bool) -> None:
    """Dated when nobody had the number it counts from its arrival, also where a worker books it."""

    async def work(counter: Counter) -> None:
        notice = replace(await _notice(counter, await counter.open(due_at=NOW + 5)), transferred_at=told)
        counter.clock.time += DAY
        if crash:
            counter.store.transfers.record_advice(notice, IDS.uuid(), NOW + DAY, NOW + DAY)
            await counter.sweep()
        else:
            assert (await counter.transfers.advise(notice)).disposition == "late"
        order = await counter.order()
        assert (order.status, order.totals.applied) == (OrderStatus.EXPIRED, 0)
        assert [each.transferred_at for each in order.credits] == [NOW + DAY]
        rows = ask(counter.store, "SELECT note FROM events WHERE type = 'credit_received'")
        assert [note for (note,) in rows if note and note.endswith("so the arrival counts")], rows

    at_the_counter(place, work)


def test_money_of_a_former_holder_of_the_number_is_no_other_orders(place: Place) -> None:
    """A transfer made while one order had the number pays that order, and not the one that has it by now."""

    async def work(counter: Counter) -> None:
        first = await counter.open("first", due_at=NOW + 5)
        notice = replace(await _notice(counter, first), transferred_at=NOW + 3)
        counter.clock.time += 10
        expire = ExpireOrder(account_id=ACCOUNT, command_id=IDS.uuid(), actor=ACTOR, name="first")
        await counter.engine.submit(expire)
        counter.clock.time += 31 * DAY
        second = await counter.open("second")
        taken = counter.store.transfers.reserve_account(
            ACCOUNT,
            second.order_id,
            bank_code="999",
            candidates=[notice.account_number],
            now=counter.clock.time,
            rest_milliseconds=30 * DAY,
        )
        assert taken is not None
        assert (await counter.transfers.advise(notice)).disposition == "applied"
        assert (await counter.order("first")).status is OrderStatus.PAID
        assert (await counter.order("second")).credit_count == 0
        later = replace(notice, session_id="S2", transferred_at=counter.clock.time)
        assert (await counter.transfers.advise(later)).disposition == "applied"
        assert (await counter.order("second")).status is OrderStatus.PAID

    at_the_counter(place, work)


def test_an_old_transfer_that_is_attached_is_not_on_time(place: Place) -> None:
    """Money older than the order to which a person attaches it opens that order no more than others."""

    async def work(counter: Counter) -> None:
        counter.clock.time = NOW + 1_000
        await counter.open(due_at=NOW + 2_000)
        counter.clock.time += DAY
        receipt = await counter.transfers.advise(replace(STRAY, transferred_at=NOW))
        assert receipt.disposition == "unmatched"
        attached = await counter.transfers.attach(receipt.credit_id, ACCOUNT, "r", ACTOR)
        assert attached.disposition == "late"
        assert (await counter.order()).status is OrderStatus.EXPIRED

    at_the_counter(place, work)


# --- the suspense account --------------------------------------------------------------------------

STRAY = TransferNotice("bank", "S9", "0000000000", AMOUNT, "NGN", SENDER, None)


def test_money_for_nobody_is_kept_until_a_person_returns_it(place: Place) -> None:
    """An unmatched transfer stands on the suspense account; returned by a person it goes to its sender."""

    async def work(counter: Counter) -> None:
        receipt = await counter.transfers.advise(STRAY)
        assert receipt.disposition == "unmatched"
        assert await counter.transfers.advise(STRAY) == receipt
        (view,) = await counter.reader.ask(lambda s: s.held_credits(10), None)
        assert (view.order.account_id, view.order.totals.held) == (SUSPENSE, AMOUNT)
        name = suspense_transaction(receipt.credit_id)
        await counter.engine.submit(transfer(ReturnCredit, name, SUSPENSE))
        await counter.sweep()
        assert counter.sent() == [(receipt.credit_id, "done", AMOUNT)]
        await counter.open()
        with pytest.raises(CreditNotHeld):
            await counter.transfers.attach(receipt.credit_id, ACCOUNT, "r", ACTOR)
        assert (await counter.order()).credit_count == 0

    at_the_counter(place, work)


def test_money_for_nobody_is_attached_to_the_order_it_was_meant_for(place: Place) -> None:
    """Attached by a person it pays the order, has left the suspense account, and goes to nobody else."""

    async def work(counter: Counter) -> None:
        receipt = await counter.transfers.advise(STRAY)
        await counter.open()
        await counter.open("other", OTHER)
        assert (
            await counter.transfers.attach(receipt.credit_id, ACCOUNT, "r", ACTOR)
        ).disposition == "applied"
        with pytest.raises(CreditNotHeld):
            await counter.transfers.attach(receipt.credit_id, OTHER, "other", ACTOR)
        assert (await counter.order()).status is OrderStatus.PAID
        assert (await counter.order("other", OTHER)).credit_count == 0
        await counter.sweep()
        assert counter.sent() == []
        rows = ask(counter.store, "SELECT ledger_account, sum(amount) FROM ledger_entries GROUP BY 1")
        assert {account: total for account, total in rows if total} == {
            "transfer_rail": AMOUNT,
            f"merchant:{ACCOUNT}": -AMOUNT,
        }

    at_the_counter(place, work)


def test_an_attachment_that_a_crash_broke_off_is_finished(place: Place) -> None:
    """Written down and not carried out, an attachment is carried out by the next worker, once."""

    async def work(counter: Counter) -> None:
        receipt = await counter.transfers.advise(STRAY)
        order = await counter.open()
        assert counter.store.transfers.attach_advice(receipt.credit_id, ACCOUNT, order.order_id, NOW)
        await counter.sweep()
        await counter.sweep()
        assert (await counter.order()).totals.applied == AMOUNT

    at_the_counter(place, work)


def test_an_attachment_loses_to_a_return(place: Place) -> None:
    """Money that a person has sent back meanwhile is not booked on an order as well."""

    async def work(counter: Counter) -> None:
        receipt = await counter.transfers.advise(STRAY)
        order = await counter.open()
        assert counter.store.transfers.attach_advice(receipt.credit_id, ACCOUNT, order.order_id, NOW)
        await counter.engine.submit(transfer(ReturnCredit, suspense_transaction(receipt.credit_id), SUSPENSE))
        await counter.sweep()
        await counter.sweep()
        assert (await counter.order()).credit_count == 0
        assert counter.sent() == [(receipt.credit_id, "done", AMOUNT)]

    at_the_counter(place, work)


def test_money_of_another_currency_goes_back(place: Place) -> None:
    """Dollars sent to a naira order are returned at once and never touch it, nor can they be attached."""

    async def work(counter: Counter) -> None:
        notice = replace(await _notice(counter, await counter.open()), currency="USD")
        receipt = await counter.transfers.advise(notice)
        assert receipt.disposition == "late"
        await counter.sweep()
        assert counter.sent() == [(receipt.credit_id, "done", AMOUNT)]
        assert (await counter.order()).credit_count == 0
        stray = await counter.transfers.advise(replace(STRAY, currency="USD"))
        with pytest.raises(CurrencyMismatch):
            await counter.transfers.attach(stray.credit_id, ACCOUNT, "r", ACTOR)
        with pytest.raises(RecordNotFound):
            await counter.transfers.attach(stray.credit_id, ACCOUNT, "nothing", ACTOR)

    at_the_counter(place, work)


# --- money on its way back ------------------------------------------------------------------------


async def _late(counter: Counter) -> str:
    """A transfer to a cancelled order; returns its transaction id."""
    notice = await _notice(counter, await counter.open())
    await counter.engine.submit(cancel("r"))
    receipt = await counter.transfers.advise(notice)
    assert receipt.disposition == "late"
    return transaction_id(ACCOUNT, receipt.credit_id)


async def _returned(counter: Counter) -> tuple[ReturnStatus, int]:
    (return_,) = (await counter.order()).returns
    return return_.status, return_.tries


def test_late_money_goes_back_once(place: Place) -> None:
    """Several workers that come by at once send it once, under the credit's id."""

    async def work(counter: Counter) -> None:
        credit = await _late(counter)
        await asyncio.gather(*(counter.sweep() for _ in range(4)))
        assert await _returned(counter) == (ReturnStatus.DONE, 0)
        assert counter.sent() == [(credit[-36:], "done", AMOUNT)]
        assert (await counter.order()).totals.returned == AMOUNT

    at_the_counter(place, work)


@pytest.mark.parametrize("outcome", ["timeout", "unknown"])
def test_a_silent_bank_is_asked_about_the_same_id(place: Place, outcome: str) -> None:
    """The money is sent once, whether the bank got the call or not; until then nobody may settle it."""

    async def work(counter: Counter) -> None:
        credit = await _late(counter)
        counter.switch("return", outcome)
        await counter.sweep()
        assert await _returned(counter) == (ReturnStatus.UNKNOWN, 0)
        by_hand = transfer(SettleReturnByHand, credit, bank_reference="REF")
        assert isinstance((await counter.engine.submit(by_hand)).outcome, ReturnInProgress)
        counter.clock.time += LATER
        await counter.sweep()
        assert await _returned(counter) == (ReturnStatus.DONE, 0)
        assert counter.sent() == [(credit[-36:], "done", AMOUNT)]

    at_the_counter(place, work, replace(SETTINGS, timeout_seconds=0.05))


def test_a_refused_return_is_tried_again_and_then_parked(place: Place) -> None:
    """Each refusal postpones the next try; the last parks it, and a person's retry sends it."""

    async def work(counter: Counter) -> None:
        credit = await _late(counter)
        counter.switch("return", "refuse", calls=2)
        await counter.sweep()
        assert await _returned(counter) == (ReturnStatus.DUE, 1)
        counter.clock.time += 59_999
        await counter.sweep()
        assert await _returned(counter) == (ReturnStatus.DUE, 1)
        counter.clock.time += 1
        await counter.sweep()
        assert await _returned(counter) == (ReturnStatus.PARKED, 2)
        counter.clock.time += 100 * LATER
        await counter.sweep()
        assert await _returned(counter) == (ReturnStatus.PARKED, 2)
        await counter.engine.submit(transfer(RetryReturn, credit))
        await counter.sweep()
        assert await _returned(counter) == (ReturnStatus.DONE, 0)
        assert counter.sent() == [(credit[-36:], "done", AMOUNT)]

    at_the_counter(place, work)


def test_a_return_settled_by_hand_is_closed_for_workers(place: Place) -> None:
    """A return paid outside by a person is paid by nobody else, from the commit of that settlement on."""

    async def work(counter: Counter) -> None:
        credit = await _late(counter)
        await counter.engine.submit(transfer(SettleReturnByHand, credit, bank_reference="REF 7"))
        counter.clock.time += LATER
        await counter.sweep()
        assert await _returned(counter) == (ReturnStatus.DONE, 0)
        assert counter.sent() == []
        assert (await counter.order()).returns[0].bank_reference == "REF 7"

    at_the_counter(place, work)


def test_money_whose_sender_is_not_known_waits_for_a_person(place: Place) -> None:
    """A bank that did not say where the money came from leaves nobody to send it to: it is parked."""

    async def work(counter: Counter) -> None:
        notice = replace(await _notice(counter, await counter.open()), sender=Sender("Ada Obi"))
        await counter.engine.submit(cancel("r"))
        await counter.transfers.advise(notice)
        for _ in range(2):
            await counter.sweep()
            counter.clock.time += LATER
        assert await _returned(counter) == (ReturnStatus.PARKED, 2)

    at_the_counter(place, work)


def test_without_a_bank_persons_send_money_back(place: Place) -> None:
    """Nothing is unknown where no bank is connected: each return can be settled by hand at once."""

    async def work(counter: Counter) -> None:
        credit = await _late(counter)
        await counter.sweep()
        assert await _returned(counter) == (ReturnStatus.DUE, 1)
        await counter.engine.submit(transfer(SettleReturnByHand, credit, bank_reference="REF"))
        assert await _returned(counter) == (ReturnStatus.DONE, 1)

    at_the_counter(place, work, bank=False)


def test_partial_money_goes_back_when_the_order_expires(place: Place) -> None:
    """Two short transfers of an order that expires are two returns, each to its own sender."""

    async def work(counter: Counter) -> None:
        order = await counter.open(due_at=NOW + 5, late_money=LateMoney.HOLD)
        for session in ("S1", "S2"):
            receipt = await counter.transfers.advise(await _notice(counter, order, 300_00, session))
            assert receipt.disposition == "held"
        counter.clock.time = NOW + 5
        expire = ExpireOrder(account_id=ACCOUNT, command_id=IDS.uuid(), actor=ACTOR, name="r")
        await counter.engine.submit(expire)
        await counter.sweep()
        assert [state for _, state, amount in counter.sent() if amount == 300_00] == ["done", "done"]
        assert (await counter.order()).totals.returned == 600_00

    at_the_counter(place, work)


# --- refunds --------------------------------------------------------------------------------------


def test_a_refund_of_two_transfers_goes_to_both_senders(place: Place) -> None:
    """The bank sends two amounts under two ids, together what was asked for, and the answer tells of both."""

    async def work(counter: Counter) -> None:
        order = await counter.open()
        await counter.transfers.advise(await _notice(counter, order, 4_000_50, "S1"))
        receipt = await counter.transfers.advise(await _notice(counter, order, 6_000_00, "S2"))
        command = BeginRefund(
            account_id=ACCOUNT,
            command_id=_ids.uuid(),
            actor=ACTOR,
            transaction_id=transaction_id(ACCOUNT, receipt.credit_id),
            refund_id=_ids.uuid(),
            amount=7_000_00,
            call_until=counter.cards.call_until(),
        )
        counter.journal.set_switch(RailSwitch("refund", None, delay_milliseconds=50), calls=1)
        result = await counter.cards.refund(command, Asking(lambda _outcome: None))
        assert isinstance(result.outcome, Change)
        assert sorted((state, amount) for _, state, amount in counter.sent()) == [
            ("done", 1_000_00),
            ("done", 6_000_00),
        ]
        refunded = await counter.order()
        assert refunded == result.outcome.after
        assert refunded.totals.refunded == 7_000_00
        assert {r.status.value for r in refunded.refunds} == {"DONE"}

    at_the_counter(place, work)
