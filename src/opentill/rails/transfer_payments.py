"""Transfers from end to end: account numbers for orders, advices of banks, and money on its way back.

What a bank tells is written down before anything is decided about it; whatever a crash leaves between that
commit and the order's, ``route_overdue`` books. Returns are sent as calls of card payments are made:
intention (commit), call, answer (commit), under one id for life.
"""

import asyncio
import uuid
from dataclasses import dataclass
from typing import Final

import structlog

from opentill.clock import Clock, Ids
from opentill.domain.commands import (
    Actor,
    ActorKind,
    AttachCredit,
    BeginReturn,
    Command,
    ReceiveCredit,
    RefundOutcome,
    SettleReturn,
    SettleReturnByHand,
    TimeDoubt,
)
from opentill.domain.lifecycle import ORDER_TABLE, REFUSAL_OF, RETURN_TABLE, OrderInput, ReturnInput
from opentill.domain.names import return_id, transaction_id
from opentill.domain.nuban import SERIALS, account_number
from opentill.domain.order import Credit, Disposition, LateMoney, Order, Return, ReturnKind, ReturnStatus
from opentill.domain.refusals import CreditNotHeld, CurrencyMismatch, RecordNotFound, Refusal
from opentill.domain.suspense import SUSPENSE, suspense_order, suspense_transaction
from opentill.domain.transition import Change
from opentill.engine.engine import Engine, Outcome
from opentill.engine.errors import CommandFailed
from opentill.engine.reader import Reader
from opentill.engine.threads import StoreThreads
from opentill.rails.payouts import PayoutCalls, tell_disputed
from opentill.rails.rail import Payout, PayoutAnswer, PayoutKind, PayoutRail, sender_account
from opentill.store.transfers.contract import Advice, TransferAccount, TransferNotice

BANK: Final = Actor(ActorKind.RAIL)
UNMATCHED: Final = "unmatched"
"""Told in place of a disposition where the money was matched to no order and waits for a person."""
CANDIDATES: Final = 8
"""How many account numbers are tried at once."""
ROUNDS: Final = 8
"""How often, before the pool is taken for used up."""
FRESH_ROUNDS: Final = 4
"""How many of them look for a number that nobody had before, of which no bank can tell old things."""
SWEEP: Final = 128
RETURNS_AT_ONCE: Final = 16
"""How many returns of one order are sent side by side; the next look takes the rest."""

_log = structlog.get_logger("opentill.transfers")


@dataclass(frozen=True, slots=True)
class TransferSettings:
    """The pool of account numbers, and the patience with banks."""

    bank_code: str
    account_prefix: str
    """The digits that all our account numbers begin with, at most 8."""
    rest_days: float = 30.0
    """How long after the end of its order a number is given to no other one."""
    timeout_seconds: float = 20.0
    grace_seconds: float = 10.0
    """How much longer than the time-out a call, or an advice, belongs to whoever began with it."""
    retry_seconds: float = 60.0
    """Until a refused return is tried again; doubled at each further refusal."""
    max_tries: int = 5
    """After so many refusals a return is left to a person."""


@dataclass(frozen=True, slots=True)
class Advised:
    """The outcome for a transfer that a bank told of."""

    credit_id: str
    disposition: str
    """A word of ``Disposition``, or ``unmatched``."""


class NoAccountFree(Exception):
    """The pool of account numbers is used up; more digits are needed, or shorter rests."""


class AdviceContradicts(Exception):
    """This session id was told before with another amount, currency or account number."""


class RailSilent(Exception):
    """The rail did not say whether it has paid a return, so that nothing may be booked beside it."""


class TransferPaymentService:
    """Takes bank transfers, and sends back what no order wants."""

    def __init__(
        self,
        *,
        engine: Engine,
        reader: Reader,
        threads: StoreThreads,
        rail: PayoutRail,
        clock: Clock,
        ids: Ids,
        settings: TransferSettings,
    ):
        self._engine = engine
        self._reader = reader
        self._threads = threads
        self._payouts = PayoutCalls(rail, settings.timeout_seconds)
        self._clock = clock
        self._ids = ids
        self._settings = settings

    # --- account numbers ----------------------------------------------------------------------------

    async def account(self, order: Order) -> TransferAccount:
        """Return the order's own account, reserved at the first call by a commit that touches no order.

        Raises the refusal that an order which has ended gives (OrderAlreadyPaid, OrderAlreadyCancelled,
        OrderExpired), or NoAccountFree.
        """
        if OrderInput.CARD_ENTRY not in ORDER_TABLE[order.status]:
            raise REFUSAL_OF[order.status]
        reserve = self._threads.store.transfers.reserve_account
        rest_milliseconds = int(self._settings.rest_days * 86_400_000)
        for turn in range(ROUNDS):
            account = await self._threads.write(
                reserve,
                order.account_id,
                order.order_id,
                bank_code=self._settings.bank_code,
                candidates=self._candidates(),
                now=self._clock.now(),
                rest_milliseconds=rest_milliseconds if turn >= FRESH_ROUNDS else None,
            )
            if account is not None:
                return account
        raise NoAccountFree

    def _candidates(self) -> list[str]:
        """Draw numbers from the pool: nobody can tell from one which others are given away."""
        prefix = self._settings.account_prefix
        room = SERIALS // 10 ** len(prefix)
        first = int(prefix or "0") * room
        drawn = uuid.UUID(self._ids.uuid()).int
        return [
            account_number(self._settings.bank_code, first + (drawn // room**place) % room)
            for place in range(CANDIDATES)
        ]

    # --- advices ------------------------------------------------------------------------------------

    async def advise(self, notice: TransferNotice) -> Advised:
        """Write down what a bank tells, then book it; the same session id is one credit, however often.

        Raises AdviceContradicts, and what ``Engine.submit`` raises: then it is written down and booked later.
        """
        store = self._threads.store
        now = self._clock.now()
        advice = await self._threads.write(
            store.transfers.record_advice, notice, self._ids.uuid(), now, now + self._patience()
        )
        if not advice.tells_the_same(notice):
            raise AdviceContradicts
        return Advised(advice.credit_id, await self._route(advice))

    async def attach(self, credit_id: str, account_id: str, order_name: str, actor: Actor) -> Advised:
        """Give money of the suspense account to an order, as a person decided.

        Raises RecordNotFound, CurrencyMismatch, or CreditNotHeld where it has the money no more.
        """
        store = self._threads.store
        advice = await self._threads.read(store.transfers.advice_of_credit, credit_id)
        view = await self._reader.order(account_id, order_name, None)
        if advice is None or view is None:
            raise RecordNotFound
        if advice.notice.currency != view.order.currency:
            raise CurrencyMismatch
        route_by = self._clock.now() + self._patience()
        order_id = view.order.order_id
        if not await self._threads.write(
            store.transfers.attach_advice, credit_id, account_id, order_id, route_by
        ):
            raise CreditNotHeld
        attached = await self._threads.read(store.transfers.advice_of_credit, credit_id)
        assert attached is not None
        return Advised(credit_id, await self._route(attached, actor))

    async def route_overdue(self) -> int:
        """Book advices that were written down and not booked in time; returns how many it tried."""
        store = self._threads.store
        overdue = await self._threads.read(store.transfers.unrouted_advices, self._clock.now(), SWEEP)
        for advice in overdue:
            try:
                await self._route(advice)
            except CreditNotHeld:
                _log.warning("attachment_too_late", credit_id=advice.credit_id)
            except CommandFailed:  # the next ones are others' money
                _log.exception("advice_unroutable", credit_id=advice.credit_id)
        return len(overdue)

    async def _route(self, advice: Advice, actor: Actor = BANK) -> str:
        """Book an advice on its order, or on the suspense account; every step may be repeated, by anybody."""
        if advice.attached:
            await self._leave_suspense(advice, actor)
        booked: Outcome | None = RecordNotFound()
        if advice.account_id is not None and advice.order_id is not None:
            booked = await self._book(advice, advice.account_id, advice.order_id, actor)
        if isinstance(booked, Refusal):
            booked = await self._book_on_suspense(advice, booked)
        assert isinstance(booked, Change)
        await self._threads.write(self._threads.store.transfers.note_routed, advice)
        return _disposition(booked, advice)

    async def _book(self, advice: Advice, account_id: str, order_id: str, actor: Actor) -> Outcome | None:
        """Book an advice on this order; by the bank's time where it counts, in suspense by the arrival."""
        notice = advice.notice
        in_suspense = account_id == SUSPENSE
        return await self._submit(
            ReceiveCredit(
                account_id=account_id,
                command_id=self._ids.uuid(),
                actor=actor,
                name=order_id,
                transaction_id=transaction_id(account_id, advice.credit_id),
                rail=notice.rail,
                session_id=notice.session_id,
                account_number=notice.account_number,
                amount=notice.amount,
                currency=notice.currency,
                sender=notice.sender,
                transferred_at=None if in_suspense else notice.transferred_at,
                arrived_at=advice.arrived_at,
                narration=notice.narration,
                time_doubt=None if in_suspense or advice.time_counts else TimeDoubt.NO_HOLDER,
                unusable_time=notice.unusable_time,
            )
        )

    async def _book_on_suspense(self, advice: Advice, why: Refusal) -> Outcome | None:
        """Book on the suspense account; a wrong currency goes back at once, else a person decides."""
        late_money = LateMoney.RETURN if isinstance(why, CurrencyMismatch) else LateMoney.HOLD
        notice = advice.notice
        command = suspense_order(
            advice.credit_id, notice.amount, notice.currency, late_money, self._ids.uuid(), BANK
        )
        await self._submit(command)  # refused where an earlier try opened it
        return await self._book(advice, SUSPENSE, advice.credit_id, BANK)

    async def _leave_suspense(self, advice: Advice, actor: Actor) -> None:
        """Take an attached credit off the suspense account; raises CreditNotHeld if it was sent back."""
        transaction = suspense_transaction(advice.credit_id)
        outcome = await self._submit(
            AttachCredit(
                account_id=SUSPENSE,
                command_id=self._ids.uuid(),
                actor=actor,
                transaction_id=transaction,
                attached_to=f"{advice.account_id}/{advice.order_id}",
            )
        )
        if isinstance(outcome, Refusal):
            view = await self._reader.order(SUSPENSE, advice.credit_id, None)
            left = view.order.return_of(transaction) if view else None
            if left is None or left.kind is not ReturnKind.ATTACHED:
                await self._threads.write(self._threads.store.transfers.detach_advice, advice.credit_id)
                raise CreditNotHeld

    # --- returns ------------------------------------------------------------------------------------

    async def finish(self, order: Order) -> None:
        """Send every return of this order that is to be sent and that nobody else has."""
        now = self._clock.now()
        due = [each for each in order.returns if each.call is not None and each.call.until <= now]
        await asyncio.gather(*(self._send_back(order, each) for each in due[:RETURNS_AT_ONCE]))

    async def _send_back(self, order: Order, return_: Return) -> None:
        if return_.status is ReturnStatus.CLOSING:
            await self._close(order, return_)
            return
        now = self._clock.now()
        until = now + self._patience()
        begun = await self._submit(
            BeginReturn(
                account_id=order.account_id,
                command_id=self._ids.uuid(),
                actor=BANK,
                transaction_id=return_.transaction_id,
                now=now,
                call_until=until,
            )
        )
        credit = order.credit(return_.transaction_id)
        if not isinstance(begun, Change) or credit is None:
            return
        answer = await self._payouts.pay(_payout(order, return_, credit))
        settled = await self._settle(order, return_, answer, answers_until=until)
        left = settled.after.return_of(return_.transaction_id) if isinstance(settled, Change) else None
        if left is not None and left.status is ReturnStatus.CLOSING:
            await self._close(order, left)

    async def _close(self, order: Order, return_: Return) -> None:
        """Have the rail close the return's id, and record how it ended; later, if the rail is silent."""
        answer = await self._payouts.close(return_id(return_.transaction_id))
        if answer.outcome is not RefundOutcome.SILENT:
            await self._settle(order, return_, answer)

    async def _settle(
        self, order: Order, return_: Return, answer: PayoutAnswer, answers_until: int = 0
    ) -> Outcome | None:
        outcome = await self._submit(
            SettleReturn(
                account_id=order.account_id,
                command_id=self._ids.uuid(),
                actor=BANK,
                transaction_id=return_.transaction_id,
                outcome=answer.outcome,
                answers_until=answers_until,
                response_code=answer.response_code,
                message=answer.message,
                try_again_at=self._clock.now() + self._pause(return_.tries),
                max_tries=self._settings.max_tries,
            )
        )
        tell_disputed(outcome)
        return outcome

    async def settle_by_hand(self, order: Order, command: SettleReturnByHand) -> Outcome | None:
        """Book that a person sent the money back, after the rail has closed the return's id.

        If the rail had sent it already that is booked, which ``bank_reference`` of the return tells: it has
        none then. Raises RailSilent, with nothing booked, while the rail does not answer.
        """
        known = order.return_of(command.transaction_id)
        if known is not None and ReturnInput.SETTLED_BY_HAND in RETURN_TABLE[known.status]:
            answer = await self._payouts.close(return_id(known.transaction_id))
            if answer.outcome is RefundOutcome.SILENT:
                raise RailSilent
            if answer.outcome is RefundOutcome.DONE:
                return await self._settle(order, known, answer)
        return await self._submit(command)

    def _patience(self) -> int:
        return int((self._settings.timeout_seconds + self._settings.grace_seconds) * 1000)

    def _pause(self, tries: int) -> int:
        return int(self._settings.retry_seconds * 1000) << tries

    async def _submit(self, command: Command) -> Outcome | None:
        return (await self._engine.submit(command)).outcome


def _payout(order: Order, return_: Return, credit: Credit) -> Payout:
    return Payout(
        payout_id=return_id(return_.transaction_id),
        kind=PayoutKind.RETURN,
        transaction_id=return_.transaction_id,
        amount=return_.amount,
        currency=order.currency,
        to=sender_account(credit),
    )


def _disposition(booked: Change, advice: Advice) -> str:
    order = booked.after
    credit = order.credit(transaction_id(order.account_id, advice.credit_id))
    assert credit is not None
    waits_for_a_person = order.account_id == SUSPENSE and credit.disposition is Disposition.HELD
    return UNMATCHED if waits_for_a_person else credit.disposition.value
