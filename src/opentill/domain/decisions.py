"""Decisions: what a command does to an order, by the tables of ``lifecycle`` and nothing else.

``decide`` is the whole face. Each function below it takes one command, checks in the order of
``refusals.PRECEDENCE``, and from then on only records steps on the draft of the change.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields, replace
from operator import attrgetter
from typing import Any, Final

from opentill.domain.commands import (
    BeginAttempt,
    BeginRefund,
    CancelAttempt,
    CancelOrder,
    Command,
    CreateOrder,
    ExpireOrder,
    ResendOtp,
    ReturnFromChallenge,
    SettleAttempt,
    SettleRefund,
    SubmitOtp,
)
from opentill.domain.events import Event, EventType, event_id
from opentill.domain.lifecycle import (
    ATTEMPT_REFUSAL_OF,
    ATTEMPT_TABLE,
    ORDER_TABLE,
    REFUND_TABLE,
    REFUSAL_IN,
    REFUSAL_OF,
    AttemptInput,
    Cell,
    OrderInput,
    Take,
)
from opentill.domain.order import (
    Attempt,
    AttemptStatus,
    Call,
    CallKind,
    DueAction,
    Order,
    OrderStatus,
    Refund,
    RefundStatus,
    Terms,
)
from opentill.domain.refusals import (
    AttemptAlreadyCompleted,
    AttemptEnded,
    AttemptInProgress,
    OrderNotPaid,
    RecordNotFound,
    RefundExceedsPaid,
    TooManyAttempts,
    TooManyOtps,
)

PENDING, PAID, CANCELLED, EXPIRED = OrderStatus
_A, _I = AttemptStatus, AttemptInput

_MONEY_SPOKEN: Final = frozenset({_I.APPROVED, _I.VOIDED})
"""Answers that say where money is: they count whichever call they answer."""

IN_FLIGHT: Final = frozenset({_A.CALLING, _A.UNKNOWN})
"""The rail may be taking money right now: no second attempt may start beside one of these."""

_ENDED_AT: Final = {PAID: "paid_at", CANCELLED: "cancelled_at", EXPIRED: "expired_at"}
_ATTEMPT_EVENT: Final = {
    _A.AWAITING_OTP: EventType.ATTEMPT_WAITING,
    _A.AWAITING_3DS: EventType.ATTEMPT_WAITING,
    _A.UNKNOWN: EventType.ATTEMPT_UNKNOWN,
    _A.DECLINED: EventType.PAYMENT_FAILED,
    _A.FAILED: EventType.PAYMENT_FAILED,
    _A.CANCELLED: EventType.ATTEMPT_CANCELLED,
}


@dataclass(frozen=True, slots=True)
class Change:
    """What a command does: the order as it was judged, as it will be, and the events between.

    ``before`` is None for a new order, whose ``terms`` are then given. No events: nothing changed.
    """

    before: Order | None
    after: Order
    events: tuple[Event, ...]
    terms: Terms | None = None


def decide(order: Order, command: Command, at: int) -> Change:
    """What ``command`` does to ``order`` at business time ``at``; raises the Refusal if it may not.

    Time never runs backwards for an order: a clock behind its last change counts as that moment.
    What is due happens first, in the same change, whether or not a worker has come by.
    """
    draft = _Draft(order, command, max(at, order.updated_at), before=order.status)
    if order.due_at is not None and order.due_at <= draft.at and order.status is PENDING:
        _fall_due(draft)
    _DECIDE[type(command)](draft, command)
    return Change(order, draft.order, tuple(draft.events))


def create(command: CreateOrder, at: int) -> Change:
    """The change that opens a new order at business time ``at``."""
    order = Order(
        account_id=command.account_id,
        order_id=command.order_id,
        reference=command.reference,
        status=PENDING,
        version=0,
        amount=command.amount,
        currency=command.currency,
        sub_account_id=command.sub_account_id,
        created_at=at,
        updated_at=at,
        due_at=command.due_at,
        due_action=command.due_action,
        late_money=command.late_money,
    )
    draft = _Draft(order, command, at, before=None)
    draft.record(EventType.ORDER_CREATED)
    return Change(None, draft.order, tuple(draft.events), command.terms)


class _Draft:
    """A change while it is being decided: the order so far, and the events that led there."""

    __slots__ = ("_before", "at", "command", "events", "order")

    def __init__(self, order: Order, command: Command, at: int, before: OrderStatus | None):
        self.order = order
        self.command = command
        self.at = at
        self.events: list[Event] = []
        self._before = before

    def record(
        self,
        type_: EventType,
        *,
        attempt: Attempt | None = None,
        refund: Refund | None = None,
        amount: int = 0,
        reason: str | None = None,
        note: str | None = None,
        **order_changes: Any,
    ) -> None:
        """Take one step: replace the order by its next version and note the event that says so."""
        order = self.order
        status = order_changes.get("status", order.status)
        if status is not order.status:
            order_changes[_ENDED_AT[status]] = self.at
        if attempt is not None:
            order_changes["attempts"] = _with_attempt(order.attempts, attempt)
        if refund is not None:
            order_changes["refunds"] = _with_refund(order.refunds, refund)
        self.order = _evolved(order, version=order.version + 1, updated_at=self.at, **order_changes)
        self.events.append(
            Event(
                event_id=event_id(self.command.command_id, len(self.events)),
                account_id=order.account_id,
                order_id=order.order_id,
                sequence=order.version + 1,
                type=type_,
                before=self._before,
                after=status,
                actor=self.command.actor,
                at=self.at,
                reason=reason,
                note=note,
                transaction_id=about.transaction_id if (about := attempt or refund) else None,
                refund_id=refund.refund_id if refund else None,
                amount=amount,
                currency=order.currency,
                beneficiary=order.sub_account_id or order.account_id,
            )
        )
        self._before = status


_ORDER_FIELDS: Final = tuple(field.name for field in fields(Order))
_values: Final = attrgetter(*_ORDER_FIELDS)


def _evolved(order: Order, **changes: Any) -> Order:
    """As ``dataclasses.replace``, in half its time: every step of every command goes through here."""
    values: Iterable[Any] = map(changes.get, _ORDER_FIELDS, _values(order))
    return Order(*values)


def _with_attempt(attempts: tuple[Attempt, ...], changed: Attempt) -> tuple[Attempt, ...]:
    kept = tuple(changed if a.transaction_id == changed.transaction_id else a for a in attempts)
    return kept if changed in kept else (*attempts, changed)


def _with_refund(refunds: tuple[Refund, ...], changed: Refund) -> tuple[Refund, ...]:
    kept = tuple(changed if r.refund_id == changed.refund_id else r for r in refunds)
    return kept if changed in kept else (*refunds, changed)


def _cell(order: Order, column: OrderInput) -> Cell:
    cell = ORDER_TABLE[order.status].get(column)
    if cell is None:
        raise REFUSAL_IN.get(column) or REFUSAL_OF[order.status]
    return cell


def _without_waiting_attempts(order: Order, at: int) -> tuple[Attempt, ...]:
    """The attempts, those that wait for the payer abandoned; a call in flight goes on."""
    return tuple(
        replace(a, status=target, updated_at=at, challenge=None, response_code="", message="")
        if (target := ATTEMPT_TABLE[a.status].get(_I.ABANDONED))
        else a
        for a in order.attempts
    )


def _fall_due(draft: _Draft) -> None:
    if draft.order.due_action is DueAction.CANCEL:
        _end(draft, OrderInput.CANCEL, EventType.ORDER_CANCELLED, reason="expired")
    else:
        _end(draft, OrderInput.DUE, EventType.ORDER_EXPIRED)


def _end(
    draft: _Draft,
    column: OrderInput,
    type_: EventType,
    *,
    reason: str | None = None,
    note: str | None = None,
) -> None:
    cell = _cell(draft.order, column)
    attempts = _without_waiting_attempts(draft.order, draft.at)
    draft.record(type_, status=cell.to, attempts=attempts, reason=reason, note=note)


def _cancel(draft: _Draft, command: CancelOrder) -> None:
    _end(draft, OrderInput.CANCEL, EventType.ORDER_CANCELLED, reason=command.reason, note=command.note)


def _expire(draft: _Draft, _command: ExpireOrder) -> None:
    if not draft.events:
        raise REFUSAL_OF[draft.order.status]


def _begin_attempt(draft: _Draft, command: BeginAttempt) -> None:
    order = draft.order
    _cell(order, OrderInput.CARD_ENTRY)
    if any(a.status in IN_FLIGHT for a in order.attempts):
        raise AttemptInProgress
    if order.attempt_count >= command.max_attempts:
        raise TooManyAttempts
    attempt = Attempt(
        transaction_id=command.transaction_id,
        status=_A.CALLING,
        amount=order.amount,
        card_masked=command.card_masked,
        card_brand=command.card_brand,
        started_at=draft.at,
        updated_at=draft.at,
        call=Call(CallKind.CHARGE, command.call_until, command.reply_key),
    )
    draft.order = replace(order, attempts=_without_waiting_attempts(order, draft.at))
    draft.record(EventType.ATTEMPT_STARTED, attempt=attempt, attempt_count=order.attempt_count + 1)


def _submit_otp(draft: _Draft, command: SubmitOtp) -> None:
    call = Call(CallKind.CONFIRM, command.call_until, command.reply_key)
    _go_on(draft, command.transaction_id, _I.OTP_SUBMITTED, call)


def _return_from_challenge(draft: _Draft, command: ReturnFromChallenge) -> None:
    call = Call(CallKind.CHALLENGE, command.call_until)
    _go_on(draft, command.transaction_id, _I.CHALLENGE_RETURNED, call)


def _go_on(draft: _Draft, transaction_id: str, column: AttemptInput, call: Call) -> None:
    """The payer has done what the attempt waited for; the rail is asked again."""
    attempt = _attempt(draft.order, transaction_id)
    if attempt.status is _A.APPROVED:
        raise AttemptAlreadyCompleted
    _cell(draft.order, OrderInput.CARD_ENTRY)
    attempt = replace(
        attempt,
        status=_attempt_cell(attempt, column),
        updated_at=draft.at,
        confirmations=attempt.confirmations + 1,
        call=call,
        challenge=None,
    )
    draft.record(EventType.ATTEMPT_RESUMED, attempt=attempt)


def _attempt(order: Order, transaction_id: str) -> Attempt:
    attempt = order.attempt(transaction_id)
    if attempt is None:
        raise RecordNotFound
    return attempt


def _attempt_cell(attempt: Attempt, column: AttemptInput) -> AttemptStatus:
    target = ATTEMPT_TABLE[attempt.status].get(column)
    if target is None:
        raise ATTEMPT_REFUSAL_OF[attempt.status]
    return target


def _resend_otp(draft: _Draft, command: ResendOtp) -> None:
    order = draft.order
    _cell(order, OrderInput.CARD_ENTRY)
    if not order.attempts:
        raise AttemptEnded
    sendable = (a for a in order.attempts if _I.OTP_RESENT in ATTEMPT_TABLE[a.status])
    waiting = next(sendable, order.attempts[-1])
    target = _attempt_cell(waiting, _I.OTP_RESENT)
    if waiting.otp_sends >= command.max_otp_sends:
        raise TooManyOtps
    attempt = replace(waiting, status=target, otp_sends=waiting.otp_sends + 1, updated_at=draft.at)
    draft.record(EventType.OTP_RESENT, attempt=attempt)


def _cancel_attempt(draft: _Draft, command: CancelAttempt) -> None:
    """The attempt ends. A call in flight stays noted on it, so that its answer is still found out."""
    attempt = _attempt(draft.order, command.transaction_id)
    target = _attempt_cell(attempt, _I.CANCEL_REQUESTED)
    attempt = replace(
        attempt, status=target, updated_at=draft.at, challenge=None, response_code="", message=""
    )
    draft.record(EventType.ATTEMPT_CANCELLED, attempt=attempt)


def _settle_attempt(draft: _Draft, command: SettleAttempt) -> None:
    attempt = _attempt(draft.order, command.transaction_id)
    outcome = AttemptInput(command.outcome)
    if outcome not in _MONEY_SPOKEN and command.answers_try != attempt.confirmations:
        return  # a late answer to an earlier call; a newer one is on its way
    if outcome is _I.OTP_REJECTED and attempt.confirmations >= command.max_otp_tries:
        outcome = _I.DECLINED
    target = ATTEMPT_TABLE[attempt.status].get(outcome)
    if target is _A.APPROVED and outcome is _I.VOIDED:
        _lose_payment(draft, attempt)
        return
    if target is None or (target is attempt.status and attempt.call is None):
        return
    settled = replace(
        attempt,
        updated_at=draft.at,
        call=None,
        challenge=command.challenge,
        response_code=command.response_code,
        message=command.message,
    )
    if outcome is _I.APPROVED:
        _take_money(draft, settled, target, command.call_until)
    elif outcome is _I.VOIDED:
        _note_void(draft, settled, was_known=attempt.status is _A.VOIDING)
    else:
        _note_answer(draft, settled, target, attempt.call)


def _take_money(draft: _Draft, attempt: Attempt, target: AttemptStatus, call_until: int) -> None:
    """The rail took the money: it pays for the order, or it is sent back in the open."""
    order, amount = draft.order, attempt.amount
    cell = _cell(order, OrderInput.CARD_APPROVED)
    if cell.take is Take.SEND_BACK or target is _A.VOIDING:
        _send_back(draft, attempt, Call(CallKind.VOID, call_until))
        return
    totals = order.totals
    draft.record(
        EventType.PAYMENT_SUCCESS,
        status=cell.to,
        attempt=replace(attempt, status=target),
        amount=amount,
        totals=replace(totals, received=totals.received + amount, applied=totals.applied + amount),
        paid_by=attempt.transaction_id,
    )


def _note_void(draft: _Draft, attempt: Attempt, *, was_known: bool) -> None:
    """The money went back. If nobody knew yet that it had been taken, both are noted, in the open."""
    if not was_known:
        _send_back(draft, attempt, call=None)
    totals, amount = draft.order.totals, attempt.amount
    draft.record(
        EventType.PAYMENT_REVERSAL,
        attempt=replace(attempt, status=_A.VOIDED),
        amount=amount,
        reason="void",
        totals=replace(totals, returning=totals.returning - amount, returned=totals.returned + amount),
    )


def _lose_payment(draft: _Draft, attempt: Attempt) -> None:
    """The rail gave a payment back by itself, after its approval: the order stays paid, and is refunded."""
    order = draft.order
    left = order.totals.applied - order.totals.refunded
    if order.paid_by != attempt.transaction_id or left == 0:
        return
    refund = Refund(
        refund_id=draft.command.command_id,
        transaction_id=attempt.transaction_id,
        amount=left,
        status=RefundStatus.RUNNING,
        account_number=None,
        bank_code=None,
        started_at=draft.at,
        updated_at=draft.at,
        message="Given back by the card processor",
    )
    draft.record(
        EventType.REFUND_STARTED,
        refund=refund,
        amount=left,
        refund_count=order.refund_count + 1,
        totals=replace(order.totals, refunded=order.totals.refunded + left),
    )
    _finish_refund(draft, replace(refund, status=RefundStatus.DONE))


def _send_back(draft: _Draft, attempt: Attempt, call: Call | None) -> None:
    totals, amount = draft.order.totals, attempt.amount
    draft.record(
        EventType.VOID_STARTED,
        attempt=replace(attempt, status=_A.VOIDING, call=call),
        amount=amount,
        totals=replace(totals, received=totals.received + amount, returning=totals.returning + amount),
    )


def _note_answer(draft: _Draft, attempt: Attempt, target: AttemptStatus, call: Call | None) -> None:
    """An answer that moves no money. Where the order has ended meanwhile, nobody waits any more."""
    if draft.order.status is not PENDING:
        target = ATTEMPT_TABLE[target].get(_I.ABANDONED, target)
    if target is _A.UNKNOWN and call is not None:
        attempt = replace(attempt, call=replace(call, key=None))
    if target is not _A.AWAITING_3DS:
        attempt = replace(attempt, challenge=None)
    closes = target is attempt.status
    type_ = EventType.ATTEMPT_CLOSED if closes else _ATTEMPT_EVENT[target]
    draft.record(type_, attempt=replace(attempt, status=target), reason=attempt.response_code or None)


def _begin_refund(draft: _Draft, command: BeginRefund) -> None:
    order = draft.order
    cell = _cell(order, OrderInput.REFUND)
    if order.paid_by != command.transaction_id:
        raise OrderNotPaid
    left = order.totals.applied - order.totals.refunded
    amount = left if command.amount is None else command.amount
    if not 0 < amount <= left:
        raise RefundExceedsPaid
    refund = Refund(
        refund_id=command.refund_id,
        transaction_id=command.transaction_id,
        amount=amount,
        status=RefundStatus.RUNNING,
        account_number=command.account_number,
        bank_code=command.bank_code,
        started_at=draft.at,
        updated_at=draft.at,
        call=Call(CallKind.REFUND, command.call_until, command.reply_key),
    )
    draft.record(
        EventType.REFUND_STARTED,
        status=cell.to,
        refund=refund,
        amount=amount,
        refund_count=order.refund_count + 1,
        totals=replace(order.totals, refunded=order.totals.refunded + amount),
    )


def _settle_refund(draft: _Draft, command: SettleRefund) -> None:
    refund = draft.order.refund(command.refund_id)
    if refund is None:
        raise RecordNotFound
    target = REFUND_TABLE[refund.status].get(command.outcome)
    if target is None:
        return
    settled = replace(
        refund,
        status=target,
        updated_at=draft.at,
        call=refund.call and replace(refund.call, key=None) if target is RefundStatus.UNKNOWN else None,
        response_code=command.response_code,
        message=command.message,
    )
    _REFUND_STEP[target](draft, settled)


def _note_unknown_refund(draft: _Draft, refund: Refund) -> None:
    draft.record(EventType.REFUND_UNKNOWN, refund=refund)


def _finish_refund(draft: _Draft, refund: Refund) -> None:
    draft.record(EventType.PAYMENT_REFUNDED, refund=refund, amount=refund.amount, reason="refund")


def _drop_refund(draft: _Draft, refund: Refund) -> None:
    """The rail will not pay it: the money is the merchant's again, and may be refunded once more."""
    totals = draft.order.totals
    draft.record(
        EventType.REFUND_REFUSED,
        refund=refund,
        amount=refund.amount,
        reason=refund.response_code or None,
        totals=replace(totals, refunded=totals.refunded - refund.amount),
    )


_REFUND_STEP: Final = {
    RefundStatus.UNKNOWN: _note_unknown_refund,
    RefundStatus.DONE: _finish_refund,
    RefundStatus.REFUSED: _drop_refund,
}


_DECIDE: Final[dict[type[Command], Callable[[_Draft, Any], None]]] = {
    CancelOrder: _cancel,
    ExpireOrder: _expire,
    BeginAttempt: _begin_attempt,
    SubmitOtp: _submit_otp,
    ReturnFromChallenge: _return_from_challenge,
    ResendOtp: _resend_otp,
    CancelAttempt: _cancel_attempt,
    SettleAttempt: _settle_attempt,
    BeginRefund: _begin_refund,
    SettleRefund: _settle_refund,
}
