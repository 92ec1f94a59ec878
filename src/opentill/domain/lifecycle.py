"""THE state machine: three literal tables, for orders, attempts and refunds.

A cell says where an input leads from a status. A missing cell is a refusal: ``REFUSAL_OF`` and
``ATTEMPT_REFUSAL_OF`` name it by the row. An answer of a rail is never refused: it is a fact, and
where its cell is missing it is already known and changes nothing.

A new input (a credit) is a further column here and a further function in ``decisions``, which applies
these tables and is the only module that does.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from opentill.domain.commands import RailOutcome, RefundOutcome
from opentill.domain.order import AttemptStatus, OrderStatus, RefundStatus
from opentill.domain.refusals import (
    AttemptAlreadyCompleted,
    AttemptEnded,
    AttemptInProgress,
    OrderAlreadyCancelled,
    OrderAlreadyPaid,
    OrderExpired,
    OrderNotDue,
    OrderNotPaid,
    Refusal,
)

PENDING, PAID, CANCELLED, EXPIRED = OrderStatus


class OrderInput(StrEnum):
    """The columns of the order table."""

    CANCEL = "cancel"
    ENSURE_CANCELLED = "ensure cancelled"
    CANCEL_OR_REFUND = "cancel or refund"
    DUE = "due time passes"
    CARD_ENTRY = "card or OTP entered"
    CARD_APPROVED = "card approved"
    REFUND = "refund"


class Take(StrEnum):
    """What becomes of the money that an input brings or is about."""

    NOTHING = "-"
    APPLY = "applied"
    SEND_BACK = "sent back"
    REFUND = "refunded"
    """That which paid for the order, as far as it has not been refunded."""


@dataclass(frozen=True, slots=True)
class Cell:
    """Where an input leads, and what becomes of the money that it brings or is about."""

    to: OrderStatus
    take: Take = Take.NOTHING


ORDER_TABLE: Final[dict[OrderStatus, dict[OrderInput, Cell]]] = {
    PENDING: {
        OrderInput.CANCEL: Cell(CANCELLED),
        OrderInput.ENSURE_CANCELLED: Cell(CANCELLED),
        OrderInput.CANCEL_OR_REFUND: Cell(CANCELLED),
        OrderInput.DUE: Cell(EXPIRED),
        OrderInput.CARD_ENTRY: Cell(PENDING),
        OrderInput.CARD_APPROVED: Cell(PAID, Take.APPLY),
    },
    PAID: {
        OrderInput.CANCEL_OR_REFUND: Cell(PAID, Take.REFUND),
        OrderInput.CARD_APPROVED: Cell(PAID, Take.SEND_BACK),
        OrderInput.REFUND: Cell(PAID),
    },
    CANCELLED: {
        OrderInput.ENSURE_CANCELLED: Cell(CANCELLED),
        OrderInput.CANCEL_OR_REFUND: Cell(CANCELLED),
        OrderInput.CARD_APPROVED: Cell(CANCELLED, Take.SEND_BACK),
    },
    EXPIRED: {
        OrderInput.CANCEL: Cell(CANCELLED),
        OrderInput.ENSURE_CANCELLED: Cell(CANCELLED),
        OrderInput.CANCEL_OR_REFUND: Cell(CANCELLED),
        OrderInput.CARD_APPROVED: Cell(EXPIRED, Take.SEND_BACK),
    },
}

CANCELLABLE: Final = frozenset(status for status, row in ORDER_TABLE.items() if OrderInput.CANCEL in row)
"""The statuses that a cancel ends."""

REFUSAL_OF: Final[dict[OrderStatus, type[Refusal]]] = {
    PENDING: OrderNotDue,
    PAID: OrderAlreadyPaid,
    CANCELLED: OrderAlreadyCancelled,
    EXPIRED: OrderExpired,
}
"""The refusal that a missing cell of ``ORDER_TABLE`` means, by its row."""

REFUSAL_IN: Final[dict[OrderInput, type[Refusal]]] = {OrderInput.REFUND: OrderNotPaid}
"""Columns whose missing cells mean the same refusal in every row."""


class AttemptInput(StrEnum):
    """The columns of the attempt table: the answers of a rail, and what payers and orders do."""

    APPROVED = RailOutcome.APPROVED
    DECLINED = RailOutcome.DECLINED
    OTP_REQUIRED = RailOutcome.OTP_REQUIRED
    CHALLENGE_REQUIRED = RailOutcome.CHALLENGE_REQUIRED
    OTP_REJECTED = RailOutcome.OTP_REJECTED
    SILENT = RailOutcome.SILENT
    NEVER_HAPPENED = RailOutcome.NEVER_HAPPENED
    VOIDED = RailOutcome.VOIDED
    OTP_SUBMITTED = "otp_submitted"
    CHALLENGE_RETURNED = "challenge_returned"
    CANCEL_REQUESTED = "cancel_requested"
    OTP_RESENT = "otp_resent"
    ABANDONED = "abandoned"
    """The order ended, or a new attempt takes this one's place."""


_A, _I = AttemptStatus, AttemptInput

ATTEMPT_TABLE: Final[dict[AttemptStatus, dict[AttemptInput, AttemptStatus]]] = {
    _A.CALLING: {
        _I.APPROVED: _A.APPROVED,
        _I.DECLINED: _A.DECLINED,
        _I.OTP_REQUIRED: _A.AWAITING_OTP,
        _I.CHALLENGE_REQUIRED: _A.AWAITING_3DS,
        _I.OTP_REJECTED: _A.AWAITING_OTP,
        _I.SILENT: _A.UNKNOWN,
        _I.NEVER_HAPPENED: _A.FAILED,
        _I.VOIDED: _A.VOIDED,
        _I.CANCEL_REQUESTED: _A.CANCELLED,
    },
    _A.UNKNOWN: {
        _I.APPROVED: _A.APPROVED,
        _I.DECLINED: _A.DECLINED,
        _I.OTP_REQUIRED: _A.AWAITING_OTP,
        _I.CHALLENGE_REQUIRED: _A.AWAITING_3DS,
        _I.OTP_REJECTED: _A.AWAITING_OTP,
        _I.NEVER_HAPPENED: _A.FAILED,
        _I.VOIDED: _A.VOIDED,
        _I.CANCEL_REQUESTED: _A.CANCELLED,
    },
    _A.AWAITING_OTP: {
        _I.OTP_SUBMITTED: _A.CALLING,
        _I.OTP_RESENT: _A.AWAITING_OTP,
        _I.ABANDONED: _A.CANCELLED,
        _I.CANCEL_REQUESTED: _A.CANCELLED,
        _I.APPROVED: _A.APPROVED,
        _I.DECLINED: _A.DECLINED,
        _I.VOIDED: _A.VOIDED,
    },
    _A.AWAITING_3DS: {
        _I.CHALLENGE_RETURNED: _A.CALLING,
        _I.ABANDONED: _A.CANCELLED,
        _I.CANCEL_REQUESTED: _A.CANCELLED,
        _I.APPROVED: _A.APPROVED,
        _I.DECLINED: _A.DECLINED,
        _I.VOIDED: _A.VOIDED,
    },
    _A.APPROVED: {_I.VOIDED: _A.APPROVED},
    _A.DECLINED: {_I.APPROVED: _A.VOIDING, _I.VOIDED: _A.VOIDED},
    _A.CANCELLED: {
        _I.APPROVED: _A.VOIDING,
        _I.VOIDED: _A.VOIDED,
        _I.DECLINED: _A.CANCELLED,
        _I.OTP_REQUIRED: _A.CANCELLED,
        _I.CHALLENGE_REQUIRED: _A.CANCELLED,
        _I.OTP_REJECTED: _A.CANCELLED,
        _I.NEVER_HAPPENED: _A.CANCELLED,
    },
    _A.FAILED: {_I.APPROVED: _A.VOIDING, _I.VOIDED: _A.VOIDED},
    _A.VOIDING: {_I.VOIDED: _A.VOIDED},
    _A.VOIDED: {},
}
"""``APPROVED`` as a target holds while the order takes the money; otherwise it becomes VOIDING.

A rail's answer that leads a row to itself: a cancelled attempt's call is closed by it; an approved one's
money was given back by the rail itself, which is booked as a refund.
"""

ATTEMPT_REFUSAL_OF: Final[dict[AttemptStatus, type[Refusal]]] = {
    _A.CALLING: AttemptInProgress,
    _A.UNKNOWN: AttemptInProgress,
    _A.AWAITING_OTP: AttemptInProgress,
    _A.AWAITING_3DS: AttemptInProgress,
    _A.APPROVED: AttemptAlreadyCompleted,
    _A.DECLINED: AttemptEnded,
    _A.CANCELLED: AttemptEnded,
    _A.FAILED: AttemptEnded,
    _A.VOIDING: AttemptEnded,
    _A.VOIDED: AttemptEnded,
}
"""The refusal that a missing cell means in the columns of what a payer or merchant does, by its row."""

REFUND_TABLE: Final[dict[RefundStatus, dict[RefundOutcome, RefundStatus]]] = {
    RefundStatus.RUNNING: {
        RefundOutcome.DONE: RefundStatus.DONE,
        RefundOutcome.REFUSED: RefundStatus.REFUSED,
        RefundOutcome.SILENT: RefundStatus.UNKNOWN,
    },
    RefundStatus.UNKNOWN: {
        RefundOutcome.DONE: RefundStatus.DONE,
        RefundOutcome.REFUSED: RefundStatus.REFUSED,
    },
    RefundStatus.DONE: {},
    RefundStatus.REFUSED: {},
}
"""What a rail's answer makes of a refund; it answers one id in one way for ever."""
