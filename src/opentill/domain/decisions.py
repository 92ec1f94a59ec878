"""Decisions: what a command does to an order, by the tables of ``lifecycle`` and nothing else.

``decide`` is the whole face. Each function below it takes one command, checks in the order of
``refusals.PRECEDENCE``, and from then on only records steps on the transition. Those of transfers
stand in ``credits`` and ``returns``, those of refunds in ``refunds``.
"""

from typing import Final, assert_never

from msgspec.structs import replace

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
from opentill.domain.events import NO_REMARK, EventType, Remark
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
    KeptCard,
    Order,
    OrderStatus,
    RailCall,
    RefundStatus,
    SavedCard,
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

__all__ = ["IN_FLIGHT", "create", "decide"]

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


def decide(
    order: Order, command: Command, at: int, fee: FeeTerms = NO_FEE, due_by: int | None = None
) -> Change:
    """Return what ``command`` does to ``order`` at business time ``at``; raises the Refusal if it may not.

    Time never runs backwards for an order: a clock behind its last change counts as that moment.
    What is due happens first, in the same change, whether or not a worker has come by; but a credit that
    was on time finds the order as it was then. ``fee`` is what a payment costs that the command brings about.
    ``due_by``, where it is given, is the earlier business time up to which due times have certainly come.
    """
    transition = Transition(order, command, max(at, order.updated_at), order.status, fee)
    if _falls_due_first(order, command, transition.at if due_by is None else due_by):
        _fall_due(transition)
    met = transition.order.status
    _carry_out(transition, command)
    events = tuple(transition.events)
    return Change(order, transition.order, events, saved_card=transition.saved_card, met=met)


def _falls_due_first(order: Order, command: Command, at: int) -> bool:
    if order.due_at is None or order.due_at > at or order.status is not PENDING:
        return False
    return not (isinstance(command, ReceiveCredit) and comes_in_time(order, command))


def _carry_out(transition: Transition, command: Command) -> None:  # noqa: C901, PLR0912 - all commands
    match command:
        case CancelOrRefund():
            _cancel(transition, command, OrderInput.CANCEL_OR_REFUND)
        case EnsureCancelled():
            _cancel(transition, command, OrderInput.ENSURE_CANCELLED)
        case CancelOrder():
            _cancel(transition, command, OrderInput.CANCEL)
        case BeginAttempt():
            _begin_attempt(transition, command)
        case SettleAttempt():
            _settle_attempt(transition, command)
        case ExpireOrder():
            _expire(transition)
        case ReceiveCredit():
            receive_credit(transition, command)
        case SubmitOtp():
            _submit_otp(transition, command)
        case ReturnFromChallenge():
            _return_from_challenge(transition, command)
        case ResendOtp():
            _resend_otp(transition, command)
        case CancelAttempt():
            _cancel_attempt(transition, command)
        case BeginRefund():
            begin_refund(transition, command)
        case SettleRefund():
            settle_refund(transition, command)
        case AcceptCredit():
            accept_credit(transition, command)
        case ReturnCredit():
            return_credit(transition, command)
        case AttachCredit():
            attach_credit(transition, command)
        case BeginReturn():
            begin_return(transition, command)
        case SettleReturn():
            settle_return(transition, command)
        case RetryReturn():
            retry_return(transition, command)
        case SettleReturnByHand():
            settle_return_by_hand(transition, command)
        case CreateOrder():
            raise OrderReferenceUsed
        case _:
            assert_never(command)


def create(command: CreateOrder | ChargeSavedCard, at: int, *, taken: bool = False) -> Change:
    """Open a new order at business time ``at``, and begin to charge it if the command says so.

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
    transition = Transition(order, command, at, None, NO_FEE)
    transition.record(EventType.ORDER_CREATED, order)
    if isinstance(command, ChargeSavedCard):
        _start_attempt(transition, transition.order, command, saved_card=command.saved_card)
    return Change(None, transition.order, tuple(transition.events), command.terms)


def _fall_due(transition: Transition) -> None:
    if transition.order.due_action is DueAction.CANCEL:
        cell = transition.cell(OrderInput.CANCEL)
        _end(transition, cell, EventType.ORDER_CANCELLED, Remark(reason="expired"))
    else:
        _end(transition, transition.cell(OrderInput.DUE), EventType.ORDER_EXPIRED)


def _end(transition: Transition, cell: Cell, type_: EventType, remark: Remark = NO_REMARK) -> None:
    attempts = without_waiting_attempts(transition.order, transition.at)
    order = replace(transition.order, status=cell.to, attempts=attempts)
    transition.record(type_, order, remark=remark)
    see_to_held(transition, cell)


def _cancel(transition: Transition, command: CancelOrder, column: OrderInput) -> None:
    if command.if_version is not None and command.if_version != transition.judged_version:
        raise VersionChanged
    cell = transition.cell(column)
    remark = Remark(command.reason, command.note, command.metadata)
    if cell.take is Take.REFUND and isinstance(command, CancelOrRefund):
        refund_the_rest(transition, command, remark)
    elif cell.to is not transition.order.status:
        _end(transition, cell, EventType.ORDER_CANCELLED, remark)


def _expire(transition: Transition) -> None:
    if not transition.events:
        raise REFUSAL_OF[transition.order.status]


def _begin_attempt(transition: Transition, command: BeginAttempt) -> None:
    order = transition.order
    transition.cell(OrderInput.CARD_ENTRY)
    if any(a.status in IN_FLIGHT for a in order.attempts):
        raise AttemptInProgress
    if order.attempt_count >= command.max_attempts:
        raise TooManyAttempts
    order = replace(order, attempts=without_waiting_attempts(order, transition.at))
    _start_attempt(transition, order, command, save_card=command.save_card)


def _start_attempt(
    transition: Transition,
    order: Order,
    command: BeginAttempt | ChargeSavedCard,
    *,
    save_card: bool = False,
    saved_card: str | None = None,
) -> None:
    attempt = Attempt(
        transaction_id=command.transaction_id,
        status=_A.CALLING,
        amount=order.amount,
        card_masked=command.card_masked,
        card_brand=command.card_brand,
        started_at=transition.at,
        updated_at=transition.at,
        call=RailCall(CallKind.CHARGE, command.call_until, command.reply_key),
        save_card=save_card,
        saved_card=saved_card,
    )
    order = replace(order, attempt_count=order.attempt_count + 1)
    transition.record(EventType.ATTEMPT_STARTED, order, attempt)


def _submit_otp(transition: Transition, command: SubmitOtp) -> None:
    call = RailCall(CallKind.CONFIRM, command.call_until, command.reply_key)
    _go_on(transition, command.transaction_id, _I.OTP_SUBMITTED, call)


def _return_from_challenge(transition: Transition, command: ReturnFromChallenge) -> None:
    call = RailCall(CallKind.CHALLENGE, command.call_until)
    _go_on(transition, command.transaction_id, _I.CHALLENGE_RETURNED, call)


def _go_on(transition: Transition, transaction_id: str, column: AttemptInput, call: RailCall) -> None:
    """Go on with an attempt: the payer did what it waited for, and the rail is asked again."""
    attempt = _attempt(transition.order, transaction_id)
    if attempt.status is _A.APPROVED:
        raise AttemptAlreadyCompleted
    transition.cell(OrderInput.CARD_ENTRY)
    attempt = replace(
        attempt,
        status=_attempt_cell(attempt, column),
        updated_at=transition.at,
        confirmations=attempt.confirmations + 1,
        call=call,
        challenge=None,
    )
    transition.record(EventType.ATTEMPT_RESUMED, transition.order, attempt)


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


def _resend_otp(transition: Transition, command: ResendOtp) -> None:
    order = transition.order
    transition.cell(OrderInput.CARD_ENTRY)
    if not order.attempts:
        raise AttemptEnded
    sendable = (a for a in order.attempts if _I.OTP_RESENT in ATTEMPT_TABLE[a.status])
    waiting = next(sendable, order.attempts[-1])
    target = _attempt_cell(waiting, _I.OTP_RESENT)
    if waiting.otp_sends >= command.max_otp_sends:
        raise TooManyOtps
    attempt = replace(waiting, status=target, otp_sends=waiting.otp_sends + 1, updated_at=transition.at)
    transition.record(EventType.OTP_RESENT, transition.order, attempt)


def _cancel_attempt(transition: Transition, command: CancelAttempt) -> None:
    """End the attempt. A call in flight stays noted on it, so that its answer is still found out."""
    attempt = _attempt(transition.order, command.transaction_id)
    target = _attempt_cell(attempt, _I.CANCEL_REQUESTED)
    attempt = replace(
        attempt, status=target, updated_at=transition.at, challenge=None, response_code="", message=""
    )
    transition.record(EventType.ATTEMPT_CANCELLED, transition.order, attempt)


def _settle_attempt(transition: Transition, command: SettleAttempt) -> None:
    attempt = _attempt(transition.order, command.transaction_id)
    outcome = AttemptInput(command.outcome)
    if outcome not in _MONEY_SPOKEN and command.answers_try != attempt.confirmations:
        return  # a late answer to an earlier call; a newer one is on its way
    if outcome is _I.OTP_REJECTED and attempt.confirmations >= command.max_otp_tries:
        outcome = _I.DECLINED
    target = ATTEMPT_TABLE[attempt.status].get(outcome)
    if target is _A.APPROVED and outcome is _I.VOIDED:
        _lose_payment(transition, attempt)
        return
    if target is None or (target is attempt.status and attempt.call is None):
        return
    settled = replace(
        attempt,
        updated_at=transition.at,
        call=None,
        challenge=command.challenge,
        response_code=command.response_code,
        message=command.message,
    )
    if outcome is _I.APPROVED:
        _take_money(transition, settled, target, command)
    elif outcome is _I.VOIDED:
        _note_void(transition, settled, was_known=attempt.status is _A.VOIDING)
    else:
        _note_answer(transition, settled, target, attempt.call)


def _take_money(
    transition: Transition, attempt: Attempt, target: AttemptStatus, command: SettleAttempt
) -> None:
    """Let money that the rail took pay for the order, or send it back in the open."""
    order, amount = transition.order, attempt.amount
    cell = transition.cell(OrderInput.CARD_APPROVED)
    if cell.take is Take.SEND_BACK or target is _A.VOIDING:
        _send_back(transition, attempt, RailCall(CallKind.VOID, command.call_until))
        return
    totals = order.totals
    totals = replace(totals, received=totals.received + amount, applied=totals.applied + amount)
    paid = replace(order, status=cell.to, totals=totals)
    transition.record_payment(paid, replace(attempt, status=target))
    see_to_held(transition, cell)
    if command.kept_card is not None and (order.tokenize_card or attempt.save_card):
        transition.saved_card = _saved(transition, attempt, command.kept_card)


def _saved(transition: Transition, attempt: Attempt, kept: KeptCard) -> SavedCard:
    """Return the card that paid, to be kept; one whose money goes back leaves nothing behind."""
    return SavedCard(
        account_id=transition.order.account_id,
        transaction_id=attempt.transaction_id,
        order_id=transition.order.order_id,
        kept=kept,
        card_masked=attempt.card_masked,
        card_brand=attempt.card_brand,
        tokenized=transition.order.tokenize_card,
        created_at=transition.at,
    )


def _note_void(transition: Transition, attempt: Attempt, *, was_known: bool) -> None:
    """Note that the money went back, and in the open that it was taken if nobody knew that yet."""
    if not was_known:
        _send_back(transition, attempt, call=None)
    totals, amount = transition.order.totals, attempt.amount
    totals = replace(totals, returning=totals.returning - amount, returned=totals.returned + amount)
    transition.record(
        EventType.PAYMENT_REVERSAL,
        replace(transition.order, totals=totals),
        replace(attempt, status=_A.VOIDED),
        amount=amount,
        remark=Remark(reason="void"),
    )


def _lose_payment(transition: Transition, attempt: Attempt) -> None:
    """Book what the rail gave back by itself after its approval: the order stays paid, and is refunded."""
    order = transition.order
    left = order.totals.applied - order.totals.refunded
    if order.paid_by != attempt.transaction_id or left == 0:
        return
    refund = new_refund(transition, transition.command.command_id, attempt.transaction_id, left)
    refund = replace(refund, message="Given back by the card processor")
    start_refund(transition, refund)
    finish_refund(transition, replace(refund, status=RefundStatus.DONE))


def _send_back(transition: Transition, attempt: Attempt, call: RailCall | None) -> None:
    totals, amount = transition.order.totals, attempt.amount
    totals = replace(totals, received=totals.received + amount, returning=totals.returning + amount)
    transition.record(
        EventType.VOID_STARTED,
        replace(transition.order, totals=totals),
        replace(attempt, status=_A.VOIDING, call=call),
        amount=amount,
    )


def _note_answer(
    transition: Transition, attempt: Attempt, target: AttemptStatus, call: RailCall | None
) -> None:
    """Note an answer that moves no money. Where the order has ended meanwhile, nobody waits any more."""
    if transition.order.status is not PENDING:
        target = ATTEMPT_TABLE[target].get(_I.ABANDONED, target)
    if target is _A.UNKNOWN and call is not None:
        attempt = replace(attempt, call=replace(call, key=None))
    if target is not _A.AWAITING_3DS:
        attempt = replace(attempt, challenge=None)
    closes = target is attempt.status
    type_ = EventType.ATTEMPT_CLOSED if closes else _ATTEMPT_EVENT[target]
    attempt, remark = replace(attempt, status=target), Remark(reason=attempt.response_code or None)
    transition.record(type_, transition.order, attempt, remark=remark)
