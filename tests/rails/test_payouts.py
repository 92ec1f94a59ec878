"""Money out once, whatever the rail does: two stories that paid twice, and a machine that looks for more."""

import asyncio
import tempfile
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import AsyncExitStack, ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)
from msgspec import UNSET
from structlog.testing import capture_logs

from databases import POSTGRES, SQLITE, Place, emptied, rail_of, url_of
from engine.builders import transfer
from engine.harness import FaultyStore, ask, faulty_store, running
from opentill.api.own.order_views import money_view
from opentill.domain.commands import BeginRefund, RefundOutcome, RetryReturn, SettleReturnByHand
from opentill.domain.names import transaction_id
from opentill.domain.order import Order, RefundStatus, ReturnStatus, Sender
from opentill.domain.refusals import Refusal
from opentill.domain.transition import Change
from opentill.engine.engine import Engine, Outcome
from opentill.engine.reader import Reader
from opentill.engine.threads import StoreThreads
from opentill.rails.card_payments import Asking, CardPaymentService, CardPaymentSettings
from opentill.rails.payouts import PayoutCalls, PayoutRails
from opentill.rails.rail import (
    NoCardPayouts,
    NoCardRail,
    NoTransferPayouts,
    Payout,
    PayoutAnswer,
    PayoutKind,
)
from opentill.rails.sandbox.journal import RailJournal, money_out
from opentill.rails.transfer_payments import RailSilent, TransferPaymentService, TransferSettings
from opentill.store.audit.examination import Finding, audit, open_read_only
from opentill.store.audit.rail import MoneyOut, held_against_rail
from opentill.store.transfers.contract import TransferNotice
from rails.adversary import HOWS, Adversary
from rails.till import VAULT, render_late
from store_factories import ACCOUNT, CountingIds, ToldClock, cancel, new_order

T = TypeVar("T")
AMOUNT = 10_000_50
HALF = 5_000_00
SENDER = Sender("Ada Obi", "0123456789", "058")
BY_CARD = CardPaymentSettings(timeout_seconds=1000, grace_seconds=10, refund_wait_seconds=0.0)
BY_TRANSFER = TransferSettings(bank_code="999", account_prefix="90", timeout_seconds=1000, max_tries=2)
LATER_MILLISECONDS = 3_600_000
_ids = CountingIds(start=1 << 45)


@dataclass
class Vault:
    """Orders paid by transfer, one with money to return, and everything that sends money out."""

    place: Place
    store: FaultyStore
    engine: Engine
    reader: Reader
    threads: StoreThreads
    clock: ToldClock
    rail: Adversary
    transfers: TransferPaymentService
    cards: CardPaymentService

    def serve(self) -> None:
        """Begin as a process does, with no memory of an earlier one."""
        self.transfers = TransferPaymentService(
            engine=self.engine,
            reader=self.reader,
            threads=self.threads,
            rail=self.rail,
            clock=self.clock,
            ids=_ids,
            settings=BY_TRANSFER,
        )
        rails = PayoutRails(NoCardPayouts(), self.rail)
        self.cards = CardPaymentService(
            self.engine, NoCardRail(), rails, self.clock, _ids, BY_CARD, VAULT, render_late
        )

    async def order(self, reference: str) -> Order:
        view = await self.reader.order(ACCOUNT, reference, None)
        assert view is not None
        return view.order

    async def pay_in(self, reference: str, session: str) -> str:
        """A transfer arrives for the order; returns its transaction id."""
        account = await self.transfers.account(await self.order(reference))
        number = account.account_number
        return await self.advise(TransferNotice("bank", session, number, AMOUNT, "NGN", SENDER, None))

    async def advise(self, notice: TransferNotice) -> str:
        return transaction_id(ACCOUNT, (await self.transfers.advise(notice)).credit_id)

    async def open(self) -> tuple[str, str]:
        """Open a paid order and one whose money came late; returns the transaction ids of their credits."""
        for reference in ("paid", "late"):
            await self.engine.submit(new_order(reference))
        paid = await self.pay_in("paid", "S1")
        number = (await self.transfers.account(await self.order("late"))).account_number
        await self.engine.submit(cancel("late"))
        late = await self.advise(TransferNotice("bank", "S2", number, AMOUNT, "NGN", SENDER, None))
        return paid, late

    async def refund(self, transaction: str, amount: int | None) -> Outcome | None:
        """The merchant gives money back; answered at once, as running."""
        command = BeginRefund(
            account_id=ACCOUNT,
            command_id=_ids.uuid(),
            actor=cancel("paid").actor,
            transaction_id=transaction,
            refund_id=_ids.uuid(),
            amount=amount,
            call_until=self.cards.call_until(),
        )
        result = await self.cards.refund(command, Asking(lambda _outcome: None))
        while self.cards._running and not self.rail.held:
            await asyncio.wait(set(self.cards._running), timeout=0.05)
        return result.outcome

    async def sweep(self) -> None:
        """Do what a worker does, once."""
        for view in await self.reader.ask(lambda s: s.overdue_calls(self.clock.now(), 100), None):
            await self.cards.finish(view.order)
            await self.transfers.finish(view.order)

    async def finish(self, reference: str) -> None:
        """Do what a worker does for one order."""
        order = await self.order(reference)
        await self.cards.finish(order)
        await self.transfers.finish(order)

    async def settle_by_hand(self, transaction: str) -> Outcome | None:
        command = transfer(SettleReturnByHand, transaction, bank_reference="REF")
        return await self.transfers.settle_by_hand(await self.order("late"), command)

    async def refunds(self) -> list[RefundStatus]:
        return [each.status for each in (await self.order("paid")).refunds]

    async def returned(self) -> ReturnStatus:
        (left,) = (await self.order("late")).returns
        return left.status

    def paid_out(self) -> int:
        """What the rail itself says that it gave out."""
        return sum((money_out(rail_of(self.place)) or {}).values())

    def against_rail(self) -> Finding:
        journal = rail_of(self.place)
        with open_read_only(url_of(self.place)) as connection:
            out = MoneyOut(money_out(journal) or {}, lambda: money_out(journal))
            return held_against_rail(connection, out, 3)

    def broken(self) -> list[str]:
        with open_read_only(url_of(self.place)) as connection:
            found = [each.check.name for each in audit(connection, 3) if each.count]
        return found + [f"{each.what}" for each in self.against_rail().first]


async def _settled() -> None:
    """Let whatever can go on by itself do so, until nothing more comes to an end."""
    ended = True
    while ended:
        others = asyncio.all_tasks() - {asyncio.current_task()}
        done, _ = await asyncio.wait(others, timeout=0.05, return_when=asyncio.FIRST_COMPLETED)
        ended = bool(done)


async def opened(stack: AsyncExitStack, place: Place) -> Vault:
    store, journal, clock = faulty_store(place), RailJournal(rail_of(place)), ToldClock()
    stack.callback(store.close)
    stack.callback(journal.close)
    threads = StoreThreads(store)
    stack.callback(threads.close)
    reader = Reader(threads, 1000)
    reader.start()
    stack.push_async_callback(reader.close)
    engine = await stack.enter_async_context(running(store, clock))
    nobody: Any = None
    vault = Vault(place, store, engine, reader, threads, clock, Adversary(journal), nobody, nobody)
    vault.serve()
    return vault


def in_the_vault(place: Place, work: Callable[[Vault], Awaitable[T]]) -> T:
    """Return what ``work`` returns; then every invariant holds, and the rail's ledger agrees."""

    async def main() -> T:
        async with AsyncExitStack() as stack:
            vault = await opened(stack, place)
            result = await work(vault)
            await vault.cards.close(seconds=0)
            assert vault.broken() == []
            return result

    return asyncio.run(main())


def test_a_refund_is_not_paid_twice_by_a_late_message(place: Place) -> None:
    """Lost, then refused: the merchant refunds again once its id is closed, and the first pays no more."""

    async def work(vault: Vault) -> None:
        paid, _ = await vault.open()
        vault.rail.next.extend(["lost", "refused"])
        await vault.refund(paid, HALF)
        vault.clock.time += LATER_MILLISECONDS
        await vault.finish("paid")
        assert await vault.refunds() == [RefundStatus.REFUSED]
        vault.rail.arrive(0)
        await vault.refund(paid, HALF)
        assert vault.paid_out() == HALF
        assert await vault.refunds() == [RefundStatus.REFUSED, RefundStatus.DONE]

    in_the_vault(place, work)


def test_a_refused_refund_counts_until_the_rail_has_closed_its_id(place: Place) -> None:
    """While the rail does not answer the close it may have been paid, so no other refund takes its place."""

    async def work(vault: Vault) -> None:
        paid, _ = await vault.open()
        vault.rail.next.extend(["lost", "refused", "lost"])
        await vault.refund(paid, AMOUNT)
        vault.clock.time += LATER_MILLISECONDS
        await vault.finish("paid")
        assert await vault.refunds() == [RefundStatus.CLOSING]
        assert isinstance(await vault.refund(paid, 1), Refusal)
        vault.rail.arrive(0)
        await vault.finish("paid")
        assert (await vault.refunds(), vault.paid_out()) == ([RefundStatus.DONE], AMOUNT)

    in_the_vault(place, work)


def test_a_return_does_not_go_back_by_hand_and_by_bank(place: Place) -> None:
    """A person's settlement closes the id first: the message that was lost pays nothing when it arrives."""

    async def work(vault: Vault) -> None:
        _, late = await vault.open()
        vault.rail.next.extend(["lost", "refused"])
        for _ in range(2):
            await vault.sweep()
            vault.clock.time += LATER_MILLISECONDS
        assert await vault.returned() is ReturnStatus.DUE
        assert isinstance(await vault.settle_by_hand(late), Change)
        vault.rail.arrive(0)
        await vault.sweep()
        assert (await vault.returned(), vault.paid_out()) == (ReturnStatus.DONE, 0)

    in_the_vault(place, work)


@pytest.mark.parametrize("how", ["lost", "lost after doing"])
def test_nothing_is_settled_by_hand_while_the_rail_is_silent(place: Place, how: str) -> None:
    """Whoever can not be told that the bank will not pay as well, books nothing, and is told so."""

    async def work(vault: Vault) -> None:
        _, late = await vault.open()
        vault.rail.next.append(how)
        with pytest.raises(RailSilent):
            await vault.settle_by_hand(late)
        assert await vault.returned() is ReturnStatus.DUE
        assert isinstance(await vault.settle_by_hand(late), Change)
        assert (await vault.order("late")).returns[0].bank_reference == "REF"

    in_the_vault(place, work)


def test_a_person_who_settles_what_the_bank_has_sent_is_told(place: Place) -> None:
    """What the rail says that it has paid is booked as paid by it, without the person's reference."""

    async def work(vault: Vault) -> None:
        _, late = await vault.open()
        vault.rail.next.extend(["lost", "refused"])
        for _ in range(2):
            await vault.sweep()
            vault.clock.time += LATER_MILLISECONDS
        vault.rail.arrive(0)
        settled = await vault.settle_by_hand(late)
        assert isinstance(settled, Change)
        (left,) = settled.after.returns
        assert (left.status, left.bank_reference) == (ReturnStatus.DONE, "")

    in_the_vault(place, work)


def test_a_last_refusal_waits_for_the_close(place: Place) -> None:
    """Lost, then refused to the last try: closing while the rail is silent, parked once it has answered."""

    async def work(vault: Vault) -> None:
        await vault.open()
        vault.rail.next.extend(["lost", "refused", "refused", "lost"])
        for _ in range(3):
            await vault.sweep()
            vault.clock.time += LATER_MILLISECONDS
        assert await vault.returned() is ReturnStatus.CLOSING
        await vault.sweep()
        assert await vault.returned() is ReturnStatus.PARKED
        vault.rail.arrive(0)
        assert vault.paid_out() == 0

    in_the_vault(place, work)


def test_what_a_rail_pays_after_a_close_is_booked_aloud(place: Place) -> None:
    """The rail breaks its word: an event, an account of its own and an error in the log say so."""

    async def work(vault: Vault) -> None:
        paid, _ = await vault.open()
        vault.rail.next.extend(["held", "refused"])
        await vault.refund(paid, HALF)
        vault.clock.time += LATER_MILLISECONDS
        await vault.finish("paid")
        assert await vault.refunds() == [RefundStatus.REFUSED]
        vault.rail.pay_after_all(vault.rail.held[0].payout)
        assert vault.against_rail().count == 1
        with capture_logs() as logged:
            vault.rail.release(0, "paid")
            await vault.cards.close(seconds=10)
        told = [each for each in logged if each["event"] == "payout_disputed"]
        assert [(each["log_level"], each["amount_minor"]) for each in told] == [("error", HALF)]
        assert await vault.refunds() == [RefundStatus.DISPUTED]
        assert money_view(await vault.order("paid")).disputed == "5000.00"
        assert money_view(await vault.order("late")).disputed is UNSET
        disputed = "SELECT sum(amount) FROM ledger_entries WHERE ledger_account = 'payouts_disputed'"
        assert ask(vault.store, disputed)[0][0] == HALF
        assert isinstance(await vault.refund(paid, AMOUNT), Refusal)

    in_the_vault(place, work)


# --- the machine ----------------------------------------------------------------------------------

HOW = st.sampled_from([*HOWS, "refused", "refused", "lost"])
PLAN = st.lists(HOW, max_size=3)


class _Payouts(RuleBasedStateMachine):
    """Refunds, a return, workers, a person and crashes, with a rail that does its worst within its word."""

    kind = SQLITE

    @initialize(first=HOW, second=PLAN, returned=PLAN)
    def open(self, first: str, second: list[str], returned: list[str]) -> None:
        self.runner = asyncio.Runner()
        self.made = ExitStack()
        url = emptied(self.kind)
        place = url or Path(self.made.enter_context(tempfile.TemporaryDirectory()))
        self.stack = AsyncExitStack()
        self.tasks: list[asyncio.Task[Any]] = []

        async def opening() -> None:
            self.vault = await opened(self.stack, place)
            self.paid, self.late = await self.vault.open()

        self.runner.run(opening())
        self.refund(HALF, [first])
        self.refund_worker(second)
        self.return_worker(returned)

    def _run(self, work: Coroutine[Any, Any, T], plan: list[str]) -> T | None:
        """Let the work begin, and leave it in the background if the rail holds it up."""

        async def begin() -> T | None:
            self.vault.rail.next.clear()
            self.vault.rail.next.extend(plan)
            held = len(self.vault.rail.held)
            task = asyncio.ensure_future(work)
            self.tasks.append(task)
            while not task.done() and len(self.vault.rail.held) == held:
                await asyncio.wait({task}, timeout=0.02)
            return task.result() if task.done() and not task.exception() else None

        return self.runner.run(begin())

    @rule(part=st.sampled_from([None, HALF, 1]), plan=PLAN)
    def refund(self, part: int | None, plan: list[str]) -> None:
        self._run(self.vault.refund(self.paid, part), plan)

    @rule(plan=PLAN)
    def refund_worker(self, plan: list[str]) -> None:
        self.vault.clock.time += LATER_MILLISECONDS
        self._run(self.vault.finish("paid"), plan)

    @rule(plan=PLAN)
    def return_worker(self, plan: list[str]) -> None:
        self.vault.clock.time += LATER_MILLISECONDS
        self._run(self.vault.finish("late"), plan)

    @rule(plan=PLAN)
    def person_settles(self, plan: list[str]) -> None:
        self._run(self.vault.settle_by_hand(self.late), plan)

    @rule()
    def person_retries(self) -> None:
        self._run(self._retried(), [])

    async def _retried(self) -> None:
        await self.vault.engine.submit(transfer(RetryReturn, self.late))

    @precondition(lambda self: self.vault.rail.held)
    @rule(which=st.integers(0, 9), how=st.sampled_from(HOWS[:-1]))
    def held_call_arrives(self, which: int, how: str) -> None:
        async def release() -> None:
            self.vault.rail.release(which % len(self.vault.rail.held), how)
            await _settled()

        self.runner.run(release())

    @precondition(lambda self: self.vault.rail.unheard)
    @rule(which=st.integers(0, 9))
    def message_arrives_late(self, which: int) -> None:
        self.vault.rail.arrive(which % len(self.vault.rail.unheard))

    @rule()
    def crash(self) -> None:
        async def die() -> None:
            for task in self.tasks:
                task.cancel()
            await asyncio.gather(*self.tasks, return_exceptions=True)
            await self.vault.cards.close(seconds=0)
            self.vault.rail.held.clear()
            self.tasks.clear()
            self.vault.serve()

        self.runner.run(die())

    @invariant()
    def the_rail_paid_what_the_books_say(self) -> None:
        """At every moment what the rail gave out is refunded, returned, disputed or still on its way."""
        if hasattr(self, "vault"):
            assert self.vault.against_rail().first == ()

    def teardown(self) -> None:
        """Everything arrives, workers come by: then all has ended, and the rail agrees to the kobo."""
        if not hasattr(self, "vault"):
            return
        while self.vault.rail.held:
            self.held_call_arrives(0, "paid")
        for number in range(len(self.vault.rail.unheard)):
            self.message_arrives_late(number)
        for _ in range(4):
            self.refund_worker([])
            self.return_worker([])
        order, late = self.runner.run(self._both())
        waits = {each.status.value for each in order.refunds} | {each.status.value for each in late.returns}
        broken = self.vault.broken()
        self.runner.run(self.stack.aclose())
        self.runner.close()
        self.made.close()
        assert broken == []
        assert waits <= {"DONE", "REFUSED", "PARKED", "DISPUTED"}

    async def _both(self) -> tuple[Order, Order]:
        await self.vault.cards.close(seconds=5)
        return await self.vault.order("paid"), await self.vault.order("late")


class _PayoutsOnPostgres(_Payouts):
    """The same, where other databases' habits could show."""

    kind = POSTGRES


TestPayouts = _Payouts.TestCase
TestPayouts.settings = settings(
    max_examples=25,
    stateful_step_count=8,
    deadline=None,
    phases=(Phase.explicit, Phase.reuse, Phase.generate),
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
TestPayoutsOnPostgres = _PayoutsOnPostgres.TestCase
TestPayoutsOnPostgres.settings = settings(TestPayouts.settings, max_examples=10)


def test_a_rail_that_says_closed_to_a_payment_has_refused_it() -> None:
    """Where an id was closed a rail may answer so to a further try, which is then over."""

    class Closed(NoTransferPayouts):
        async def pay(self, payout: Payout) -> PayoutAnswer:
            assert payout.payout_id == "P1"
            return PayoutAnswer(RefundOutcome.CLOSED, "C1", "closed")

    payout = Payout("P1", PayoutKind.RETURN, "C1", 100, "NGN", None)
    answer = asyncio.run(PayoutCalls(Closed(), 1).pay(payout))
    assert answer == PayoutAnswer(RefundOutcome.REFUSED, "C1", "closed")
