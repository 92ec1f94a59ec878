"""THE state machine: two literal tables, one for orders and one for attempts, and what they decide.

A cell says where an input leads from a status. A missing cell is a refusal: ``REFUSAL_OF`` and
``OTP_REFUSAL_OF`` name it by the row. An answer of a rail is never refused: it is a fact, and where
its cell is missing it is already known and changes nothing.

A new input (a credit, a refund) is a further column of a table and a further function in ``_DECIDE``.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Final

from opentill.domain.commands import (
    BeginAttempt,
    CancelOrder,
    Command,
    CreateOrder,
    ExpireOrder,
    RailOutcome,
    SettleAttempt,
    SubmitOtp,
)
from opentill.domain.events import Event, EventType, event_id
from opentill.domain.order import (
    Attempt,
    AttemptStatus,
    Call,
    CallKind,
    DueAction,
    Order,
    OrderStatus,
    Terms,
)
from opentill.domain.refusals import (
    AttemptAlreadyCompleted,
    AttemptEnded,
    AttemptInProgress,
    OrderAlreadyCancelled,
    OrderAlreadyPaid,
    OrderExpired,
    OrderNotDue,
    RecordNotFound,
    Refusal,
    TooManyAttempts,
)

PENDING, PAID, CANCELLED, EXPIRED = OrderStatus


class OrderInput(StrEnum):
    """The columns of the order table."""

    CANCEL = "cancel"
    DUE = "due time passes"
    CARD_ENTRY = "card or OTP entered"
    CARD_APPROVED = "card approved"


class Take(StrEnum):
    """What becomes of the money that comes with an input."""

    NOTHING = "-"
    APPLY = "applied"
    SEND_BACK = "sent back"


@dataclass(frozen=True, slots=True)
class Cell:
    """Where an input leads, and what becomes of the money it brings."""

    to: OrderStatus
    take: Take = Take.NOTHING


ORDER_TABLE: Final[dict[OrderStatus, dict[OrderInput, Cell]]] = {
    PENDING: {
        OrderInput.CANCEL: Cell(CANCELLED),
        OrderInput.DUE: Cell(EXPIRED),
        OrderInput.CARD_ENTRY: Cell(PENDING),
        OrderInput.CARD_APPROVED: Cell(PAID, Take.APPLY),
    },
    PAID: {
        OrderInput.CARD_APPROVED: Cell(PAID, Take.SEND_BACK),
    },
    CANCELLED: {
        OrderInput.CARD_APPROVED: Cell(CANCELLED, Take.SEND_BACK),
    },
    EXPIRED: {
        OrderInput.CANCEL: Cell(CANCELLED),
        OrderInput.CARD_APPROVED: Cell(EXPIRED, Take.SEND_BACK),
    },
}

REFUSAL_OF: Final[dict[OrderStatus, type[Refusal]]] = {
    PENDING: OrderNotDue,
    PAID: OrderAlreadyPaid,
    CANCELLED: OrderAlreadyCancelled,
    EXPIRED: OrderExpired,
}
"""The refusal that a missing cell of ``ORDER_TABLE`` means, by its row."""


class AttemptInput(StrEnum):
    """The columns of the attempt table: the answers of a rail, and what payers and orders do."""

    APPROVED = RailOutcome.APPROVED
    DECLINED = RailOutcome.DECLINED
    OTP_REQUIRED = RailOutcome.OTP_REQUIRED
    OTP_REJECTED = RailOutcome.OTP_REJECTED
    SILENT = RailOutcome.SILENT
    NEVER_HAPPENED = RailOutcome.NEVER_HAPPENED
    VOIDED = RailOutcome.VOIDED
    OTP_SUBMITTED = "otp_submitted"
    ABANDONED = "abandoned"
    """The order ended, or a new attempt takes this one's place."""


_A, _I = AttemptStatus, AttemptInput

ATTEMPT_TABLE: Final[dict[AttemptStatus, dict[AttemptInput, AttemptStatus]]] = {
    _A.CALLING: {
        _I.APPROVED: _A.APPROVED,
        _I.DECLINED: _A.DECLINED,
        _I.OTP_REQUIRED: _A.AWAITING_OTP,
        _I.OTP_REJECTED: _A.AWAITING_OTP,
        _I.SILENT: _A.UNKNOWN,
        _I.NEVER_HAPPENED: _A.FAILED,
        _I.VOIDED: _A.VOIDED,
    },
    _A.UNKNOWN: {
        _I.APPROVED: _A.APPROVED,
        _I.DECLINED: _A.DECLINED,
        _I.OTP_REQUIRED: _A.AWAITING_OTP,
        _I.OTP_REJECTED: _A.AWAITING_OTP,
        _I.NEVER_HAPPENED: _A.FAILED,
        _I.VOIDED: _A.VOIDED,
    },
    _A.AWAITING_OTP: {
        _I.OTP_SUBMITTED: _A.CALLING,
        _I.ABANDONED: _A.CANCELLED,
        _I.APPROVED: _A.APPROVED,
        _I.DECLINED: _A.DECLINED,
        _I.VOIDED: _A.VOIDED,
    },
    _A.AWAITING_3DS: {
        _I.ABANDONED: _A.CANCELLED,
        _I.APPROVED: _A.APPROVED,
        _I.DECLINED: _A.DECLINED,
        _I.VOIDED: _A.VOIDED,
    },
    _A.APPROVED: {},
    _A.DECLINED: {_I.APPROVED: _A.VOIDING, _I.VOIDED: _A.VOIDED},
    _A.CANCELLED: {_I.APPROVED: _A.VOIDING, _I.VOIDED: _A.VOIDED},
    _A.FAILED: {_I.APPROVED: _A.VOIDING, _I.VOIDED: _A.VOIDED},
    _A.VOIDING: {_I.VOIDED: _A.VOIDED},
    _A.VOIDED: {},
}
"""``APPROVED`` as a target holds while the order takes the money; otherwise it becomes VOIDING."""

OTP_REFUSAL_OF: Final[dict[AttemptStatus, type[Refusal]]] = {
    _A.CALLING: AttemptInProgress,
    _A.UNKNOWN: AttemptInProgress,
    _A.AWAITING_3DS: AttemptInProgress,
    _A.APPROVED: AttemptAlreadyCompleted,
    _A.DECLINED: AttemptEnded,
    _A.CANCELLED: AttemptEnded,
    _A.FAILED: AttemptEnded,
    _A.VOIDING: AttemptEnded,
    _A.VOIDED: AttemptEnded,
}
"""The refusal that a missing cell in the column ``OTP_SUBMITTED`` means, by its row."""

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
        self.order = replace(order, version=order.version + 1, updated_at=self.at, **order_changes)
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
                transaction_id=attempt.transaction_id if attempt else None,
                amount=amount,
                currency=order.currency,
                beneficiary=order.sub_account_id or order.account_id,
            )
        )
        self._before = status


def _with_attempt(attempts: tuple[Attempt, ...], changed: Attempt) -> tuple[Attempt, ...]:
    kept = tuple(changed if a.transaction_id == changed.transaction_id else a for a in attempts)
    return kept if changed in kept else (*attempts, changed)


def _cell(order: Order, column: OrderInput) -> Cell:
    cell = ORDER_TABLE[order.status].get(column)
    if cell is None:
        raise REFUSAL_OF[order.status]
    return cell


def _without_waiting_attempts(order: Order, at: int) -> tuple[Attempt, ...]:
    """The attempts, those that wait for the payer abandoned; a call in flight goes on."""
    return tuple(
        replace(a, status=target, updated_at=at, response_code="", message="")
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
    attempt = draft.order.attempt(command.transaction_id)
    if attempt is None:
        raise RecordNotFound
    if attempt.status is _A.APPROVED:
        raise AttemptAlreadyCompleted
    _cell(draft.order, OrderInput.CARD_ENTRY)
    target = ATTEMPT_TABLE[attempt.status].get(_I.OTP_SUBMITTED)
    if target is None:
        raise OTP_REFUSAL_OF[attempt.status]
    attempt = replace(
        attempt,
        status=target,
        updated_at=draft.at,
        otp_tries=attempt.otp_tries + 1,
        call=Call(CallKind.CONFIRM, command.call_until, command.reply_key),
    )
    draft.record(EventType.ATTEMPT_RESUMED, attempt=attempt)


def _settle_attempt(draft: _Draft, command: SettleAttempt) -> None:
    attempt = draft.order.attempt(command.transaction_id)
    if attempt is None:
        raise RecordNotFound
    outcome = AttemptInput(command.outcome)
    if outcome not in _MONEY_SPOKEN and command.answers_try != attempt.otp_tries:
        return  # a late answer to an earlier call; a newer one is on its way
    if outcome is _I.OTP_REJECTED and attempt.otp_tries >= command.max_otp_tries:
        outcome = _I.DECLINED
    target = ATTEMPT_TABLE[attempt.status].get(outcome)
    if target is None:
        return
    settled = replace(
        attempt,
        updated_at=draft.at,
        call=None,
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
    draft.record(
        _ATTEMPT_EVENT[target], attempt=replace(attempt, status=target), reason=attempt.response_code or None
    )


_DECIDE: Final[dict[type[Command], Callable[[_Draft, Any], None]]] = {
    CancelOrder: _cancel,
    ExpireOrder: _expire,
    BeginAttempt: _begin_attempt,
    SubmitOtp: _submit_otp,
    SettleAttempt: _settle_attempt,
}
