"""Decisions: what a command does to an order, by the tables of ``lifecycle`` and nothing else.

``decide`` is the whole face. Each function below it takes one command, checks in the order of
``refusals.PRECEDENCE``, and from then on only records steps on the draft of the change. Those of
transfers stand in ``crediting`` and ``returning``, those of refunds in ``refunding``.
"""

from collections.abc import Callable
from typing import Any, Final

from msgspec.structs import replace

from opentill.domain.cards import KeptCard, SavedCard
from opentill.domain.commands import (
    AcceptCredit,
    AttachCredit,
    BeginAttempt,
    BeginRefund,
    BeginReturn,
    CancelAttempt,
    CancelOrder,
    CancelOrRefund,
    ChargeSavedCard,
    Command,
    CreateOrder,
    EnsureCancelled,
    ExpireOrder,
    ReceiveCredit,
    ResendOtp,
    RetryReturn,
    ReturnCredit,
    ReturnFromChallenge,
    SettleAttempt,
    SettleRefund,
    SettleReturn,
    SettleReturnByHand,
    SubmitOtp,
)
from opentill.domain.credits import (
    accept_credit,
    attach_credit,
    comes_in_time,
    receive_credit,
    return_credit,
    see_to_held,
)
from opentill.domain.events import EventType
from opentill.domain.lifecycle import (
    ATTEMPT_REFUSAL_OF,
    ATTEMPT_TABLE,
    REFUSAL_OF,
    AttemptInput,
    Cell,
    OrderInput,
    Take,
)
from opentill.domain.order import (
    Attempt,
    AttemptStatus,
    CallKind,
    DueAction,
    Order,
    OrderStatus,
    RailCall,
    RefundStatus,
)
from opentill.domain.refunds import (
    begin_refund,
    finish_refund,
    new_refund,
    refund_the_rest,
    settle_refund,
    start_refund,
)
from opentill.domain.refusals import (
    AttemptAlreadyCompleted,
    AttemptEnded,
    AttemptInProgress,
    OrderReferenceUsed,
    RecordNotFound,
    TooManyAttempts,
    TooManyOtps,
    VersionChanged,
)
from opentill.domain.returns import begin_return, retry_return, settle_return, settle_return_by_hand
from opentill.domain.sharing import NO_FEE, FeeTerms
from opentill.domain.transition import Change, Transition, without_waiting_attempts

__all__ = ["IN_FLIGHT", "Change", "create", "decide"]

PENDING = OrderStatus.PENDING
_A, _I = AttemptStatus, AttemptInput

_MONEY_SPOKEN: Final = frozenset({_I.APPROVED, _I.VOIDED})
"""Answers that say where money is: they count whichever call they answer."""

IN_FLIGHT: Final = frozenset({_A.CALLING, _A.UNKNOWN})
"""The rail may be taking money right now: no second attempt may start beside one of these."""

_ATTEMPT_EVENT: Final = {
    _A.AWAITING_OTP: EventType.ATTEMPT_WAITING,
    _A.AWAITING_3DS: EventType.ATTEMPT_WAITING,
    _A.UNKNOWN: EventType.ATTEMPT_UNKNOWN,
    _A.DECLINED: EventType.PAYMENT_FAILED,
    _A.FAILED: EventType.PAYMENT_FAILED,
    _A.CANCELLED: EventType.ATTEMPT_CANCELLED,
}


def decide(order: Order, command: Command, at: int, fee: FeeTerms = NO_FEE) -> Change:
    """What ``command`` does to ``order`` at business time ``at``; raises the Refusal if it may not.

    Time never runs backwards for an order: a clock behind its last change counts as that moment.
    What is due happens first, in the same change, whether or not a worker has come by; but a credit that
    was on time finds the order as it was then. ``fee`` is what a payment costs that the command brings about.
    """
    draft = Transition(order, command, max(at, order.updated_at), order.status, fee)
    if _falls_due_first(order, command, draft.at):
        _fall_due(draft)
    met = draft.order.status
    _DECIDE[type(command)](draft, command)
    return Change(order, draft.order, tuple(draft.events), saved_card=draft.saved_card, met=met)


def _falls_due_first(order: Order, command: Command, at: int) -> bool:
    if order.due_at is None or order.due_at > at or order.status is not PENDING:
        return False
    return not (isinstance(command, ReceiveCredit) and comes_in_time(order, command))


def create(command: CreateOrder, at: int, *, taken: bool = False) -> Change:
    """The change that opens a new order at business time ``at``, and begins to charge it if it says so.

    Raises the Refusal if it may not; ``taken`` says that the reference is used.
    """
    if isinstance(command, ChargeSavedCard) and command.saved_card is None:
        raise RecordNotFound
    if taken:
        raise OrderReferenceUsed
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
        tokenize_card=command.tokenize_card,
        split=command.split,
    )
    draft = Transition(order, command, at, None, NO_FEE)
    draft.record(EventType.ORDER_CREATED)
    if isinstance(command, ChargeSavedCard):
        _start_attempt(draft, command, saved_card=command.saved_card)
    return Change(None, draft.order, tuple(draft.events), command.terms)


def _fall_due(draft: Transition) -> None:
    if draft.order.due_action is DueAction.CANCEL:
        cell = draft.cell(OrderInput.CANCEL)
        _end(draft, cell, EventType.ORDER_CANCELLED, reason="expired")
    else:
        _end(draft, draft.cell(OrderInput.DUE), EventType.ORDER_EXPIRED)


def _end(draft: Transition, cell: Cell, type_: EventType, **said: Any) -> None:
    attempts = without_waiting_attempts(draft.order, draft.at)
    draft.record(type_, status=cell.to, attempts=attempts, **said)
    see_to_held(draft, cell)


_CANCEL_COLUMN: Final[dict[type[CancelOrder], OrderInput]] = {
    CancelOrder: OrderInput.CANCEL,
    EnsureCancelled: OrderInput.ENSURE_CANCELLED,
    CancelOrRefund: OrderInput.CANCEL_OR_REFUND,
}


def _cancel(draft: Transition, command: CancelOrder) -> None:
    if command.if_version is not None and command.if_version != draft.judged_version:
        raise VersionChanged
    cell = draft.cell(_CANCEL_COLUMN[type(command)])
    said = {"reason": command.reason, "note": command.note, "metadata": command.metadata}
    if cell.take is Take.REFUND and isinstance(command, CancelOrRefund):
        refund_the_rest(draft, command, **said)
    elif cell.to is not draft.order.status:
        _end(draft, cell, EventType.ORDER_CANCELLED, **said)


def _expire(draft: Transition, _command: ExpireOrder) -> None:
    if not draft.events:
        raise REFUSAL_OF[draft.order.status]


def _begin_attempt(draft: Transition, command: BeginAttempt) -> None:
    order = draft.order
    draft.cell(OrderInput.CARD_ENTRY)
    if any(a.status in IN_FLIGHT for a in order.attempts):
        raise AttemptInProgress
    if order.attempt_count >= command.max_attempts:
        raise TooManyAttempts
    draft.order = replace(order, attempts=without_waiting_attempts(order, draft.at))
    _start_attempt(draft, command, save_card=command.save_card)


def _start_attempt(
    draft: Transition,
    command: BeginAttempt | ChargeSavedCard,
    *,
    save_card: bool = False,
    saved_card: str | None = None,
) -> None:
    order = draft.order
    attempt = Attempt(
        transaction_id=command.transaction_id,
        status=_A.CALLING,
        amount=order.amount,
        card_masked=command.card_masked,
        card_brand=command.card_brand,
        started_at=draft.at,
        updated_at=draft.at,
        call=RailCall(CallKind.CHARGE, command.call_until, command.reply_key),
        save_card=save_card,
        saved_card=saved_card,
    )
    draft.record(EventType.ATTEMPT_STARTED, attempt=attempt, attempt_count=order.attempt_count + 1)


def _submit_otp(draft: Transition, command: SubmitOtp) -> None:
    call = RailCall(CallKind.CONFIRM, command.call_until, command.reply_key)
    _go_on(draft, command.transaction_id, _I.OTP_SUBMITTED, call)


def _return_from_challenge(draft: Transition, command: ReturnFromChallenge) -> None:
    call = RailCall(CallKind.CHALLENGE, command.call_until)
    _go_on(draft, command.transaction_id, _I.CHALLENGE_RETURNED, call)


def _go_on(draft: Transition, transaction_id: str, column: AttemptInput, call: RailCall) -> None:
    """The payer has done what the attempt waited for; the rail is asked again."""
    attempt = _attempt(draft.order, transaction_id)
    if attempt.status is _A.APPROVED:
        raise AttemptAlreadyCompleted
    draft.cell(OrderInput.CARD_ENTRY)
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


def _resend_otp(draft: Transition, command: ResendOtp) -> None:
    order = draft.order
    draft.cell(OrderInput.CARD_ENTRY)
    if not order.attempts:
        raise AttemptEnded
    sendable = (a for a in order.attempts if _I.OTP_RESENT in ATTEMPT_TABLE[a.status])
    waiting = next(sendable, order.attempts[-1])
    target = _attempt_cell(waiting, _I.OTP_RESENT)
    if waiting.otp_sends >= command.max_otp_sends:
        raise TooManyOtps
    attempt = replace(waiting, status=target, otp_sends=waiting.otp_sends + 1, updated_at=draft.at)
    draft.record(EventType.OTP_RESENT, attempt=attempt)


def _cancel_attempt(draft: Transition, command: CancelAttempt) -> None:
    """The attempt ends. A call in flight stays noted on it, so that its answer is still found out."""
    attempt = _attempt(draft.order, command.transaction_id)
    target = _attempt_cell(attempt, _I.CANCEL_REQUESTED)
    attempt = replace(
        attempt, status=target, updated_at=draft.at, challenge=None, response_code="", message=""
    )
    draft.record(EventType.ATTEMPT_CANCELLED, attempt=attempt)


def _settle_attempt(draft: Transition, command: SettleAttempt) -> None:
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
        _take_money(draft, settled, target, command)
    elif outcome is _I.VOIDED:
        _note_void(draft, settled, was_known=attempt.status is _A.VOIDING)
    else:
        _note_answer(draft, settled, target, attempt.call)


def _take_money(draft: Transition, attempt: Attempt, target: AttemptStatus, command: SettleAttempt) -> None:
    """The rail took the money: it pays for the order, or it is sent back in the open."""
    order, amount = draft.order, attempt.amount
    cell = draft.cell(OrderInput.CARD_APPROVED)
    if cell.take is Take.SEND_BACK or target is _A.VOIDING:
        _send_back(draft, attempt, RailCall(CallKind.VOID, command.call_until))
        return
    totals = order.totals
    draft.record_payment(
        status=cell.to,
        attempt=replace(attempt, status=target),
        totals=replace(totals, received=totals.received + amount, applied=totals.applied + amount),
        paid_by=attempt.transaction_id,
    )
    see_to_held(draft, cell)
    if command.kept_card is not None and (order.tokenize_card or attempt.save_card):
        draft.saved_card = _saved(draft, attempt, command.kept_card)


def _saved(draft: Transition, attempt: Attempt, kept: KeptCard) -> SavedCard:
    """Only what paid is kept: a card whose money goes back leaves nothing behind."""
    return SavedCard(
        account_id=draft.order.account_id,
        transaction_id=attempt.transaction_id,
        order_id=draft.order.order_id,
        kept=kept,
        card_masked=attempt.card_masked,
        card_brand=attempt.card_brand,
        tokenized=draft.order.tokenize_card,
        created_at=draft.at,
    )


def _note_void(draft: Transition, attempt: Attempt, *, was_known: bool) -> None:
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


def _lose_payment(draft: Transition, attempt: Attempt) -> None:
    """The rail gave a payment back by itself, after its approval: the order stays paid, and is refunded."""
    order = draft.order
    left = order.totals.applied - order.totals.refunded
    if order.paid_by != attempt.transaction_id or left == 0:
        return
    refund = new_refund(draft, draft.command.command_id, attempt.transaction_id, left)
    refund = replace(refund, message="Given back by the card processor")
    start_refund(draft, refund)
    finish_refund(draft, replace(refund, status=RefundStatus.DONE))


def _send_back(draft: Transition, attempt: Attempt, call: RailCall | None) -> None:
    totals, amount = draft.order.totals, attempt.amount
    draft.record(
        EventType.VOID_STARTED,
        attempt=replace(attempt, status=_A.VOIDING, call=call),
        amount=amount,
        totals=replace(totals, received=totals.received + amount, returning=totals.returning + amount),
    )


def _note_answer(draft: Transition, attempt: Attempt, target: AttemptStatus, call: RailCall | None) -> None:
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


_DECIDE: Final[dict[type[Command], Callable[[Transition, Any], None]]] = {
    CancelOrder: _cancel,
    EnsureCancelled: _cancel,
    CancelOrRefund: _cancel,
    ExpireOrder: _expire,
    BeginAttempt: _begin_attempt,
    SubmitOtp: _submit_otp,
    ReturnFromChallenge: _return_from_challenge,
    ResendOtp: _resend_otp,
    CancelAttempt: _cancel_attempt,
    SettleAttempt: _settle_attempt,
    BeginRefund: begin_refund,
    SettleRefund: settle_refund,
    ReceiveCredit: receive_credit,
    AcceptCredit: accept_credit,
    ReturnCredit: return_credit,
    AttachCredit: attach_credit,
    BeginReturn: begin_return,
    SettleReturn: settle_return,
    RetryReturn: retry_return,
    SettleReturnByHand: settle_return_by_hand,
}
