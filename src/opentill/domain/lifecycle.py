"""THE state machine: literal tables, for orders, what credits do to them, attempts, refunds and returns.

A cell says where an input leads from a status. A missing cell is a refusal: ``REFUSAL_OF`` and
``ATTEMPT_REFUSAL_OF`` name it by the row. An answer of a rail is never refused: it is a fact, and
where its cell is missing it is already known and changes nothing.

A new input is a further column here and a further function in ``decisions`` or a module that it calls
(``credits``, ``returns``, ``refunds``): they apply these tables, and nothing else does.
"""

from enum import StrEnum
from typing import Final

from msgspec import Struct

from opentill.domain.commands import RailOutcome, RefundOutcome
from opentill.domain.order import (
    AttemptStatus,
    Disposition,
    LateMoney,
    OrderStatus,
    RefundStatus,
    ReturnStatus,
)
from opentill.domain.refusals import (
    AttemptAlreadyCompleted,
    AttemptEnded,
    AttemptInProgress,
    CreditNotHeld,
    OrderAlreadyCancelled,
    OrderAlreadyPaid,
    OrderExpired,
    OrderNotDue,
    OrderNotPaid,
    Refusal,
    ReturnCompleted,
    ReturnInProgress,
    ReturnParked,
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
    HELD_ACCEPTED = "held money accepted"
    HELD_RELEASED = "held money given up"


class Take(StrEnum):
    """The uses of the money that an input brings or is about."""

    NOTHING = "-"
    APPLY = "applied"
    HOLD = "held"
    SEND_BACK = "sent back"
    REFUND = "refunded"
    """That which paid for the order, as far as it has not been refunded."""


class Cell(Struct, frozen=True):
    """The answer to an input: the status it leads to, and what becomes of the money that it is about."""

    to: OrderStatus
    take: Take = Take.NOTHING
    held: Take = Take.NOTHING
    """What becomes of the money that was held before; NOTHING: it waits on."""
    disposition: Disposition | None = None
    """Of a credit: how it is booked."""


ORDER_TABLE: Final[dict[OrderStatus, dict[OrderInput, Cell]]] = {
    PENDING: {
        OrderInput.CANCEL: Cell(CANCELLED, held=Take.SEND_BACK),
        OrderInput.ENSURE_CANCELLED: Cell(CANCELLED, held=Take.SEND_BACK),
        OrderInput.CANCEL_OR_REFUND: Cell(CANCELLED, held=Take.SEND_BACK),
        OrderInput.DUE: Cell(EXPIRED, held=Take.SEND_BACK),
        OrderInput.CARD_ENTRY: Cell(PENDING),
        OrderInput.CARD_APPROVED: Cell(PAID, Take.APPLY, held=Take.SEND_BACK),
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
        OrderInput.CANCEL: Cell(CANCELLED, held=Take.SEND_BACK),
        OrderInput.ENSURE_CANCELLED: Cell(CANCELLED, held=Take.SEND_BACK),
        OrderInput.CANCEL_OR_REFUND: Cell(CANCELLED, held=Take.SEND_BACK),
        OrderInput.CARD_APPROVED: Cell(EXPIRED, Take.SEND_BACK),
        OrderInput.HELD_ACCEPTED: Cell(PAID, Take.APPLY, held=Take.SEND_BACK),
        OrderInput.HELD_RELEASED: Cell(EXPIRED, Take.SEND_BACK),
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

REFUSAL_IN: Final[dict[OrderInput, type[Refusal]]] = {
    OrderInput.REFUND: OrderNotPaid,
    OrderInput.HELD_ACCEPTED: CreditNotHeld,
    OrderInput.HELD_RELEASED: CreditNotHeld,
}
"""Columns whose missing cells mean the same refusal in every row."""


class CreditInput(StrEnum):
    """The columns of the credit table: whether it makes the order full, in time, and what was agreed.

    *On time* is by the bank's time of the transfer; *late* comes with the order's ``lateMoney`` policy.
    """

    FULL_ON_TIME = "full, on time"
    FULL_RETURN = "full, late: return"
    FULL_ACCEPT = "full, late: accept"
    FULL_HOLD = "full, late: hold"
    SHORT_RETURN = "short: return"
    SHORT_ACCEPT = "short: accept"
    SHORT_HOLD = "short: hold"


LATE_COLUMN: Final[dict[tuple[bool, LateMoney], CreditInput]] = {
    (True, LateMoney.RETURN): CreditInput.FULL_RETURN,
    (True, LateMoney.ACCEPT): CreditInput.FULL_ACCEPT,
    (True, LateMoney.HOLD): CreditInput.FULL_HOLD,
    (False, LateMoney.RETURN): CreditInput.SHORT_RETURN,
    (False, LateMoney.ACCEPT): CreditInput.SHORT_ACCEPT,
    (False, LateMoney.HOLD): CreditInput.SHORT_HOLD,
}
"""The column of a credit that is not both full and on time, by whether it is full and the policy."""

_EXCESS = Cell(PAID, Take.SEND_BACK, disposition=Disposition.EXCESS)
_TOO_LATE = Cell(CANCELLED, Take.SEND_BACK, disposition=Disposition.LATE)
_COMPLETES = Cell(PAID, Take.APPLY, held=Take.APPLY, disposition=Disposition.APPLIED)
_WAITS = Cell(PENDING, Take.HOLD, disposition=Disposition.HELD)
_REOPENS = Cell(PAID, Take.APPLY, held=Take.SEND_BACK, disposition=Disposition.APPLIED)
_GOES_BACK = Cell(EXPIRED, Take.SEND_BACK, disposition=Disposition.LATE)
_FOR_A_PERSON = Cell(EXPIRED, Take.HOLD, disposition=Disposition.HELD)

CREDIT_TABLE: Final[dict[OrderStatus, dict[CreditInput, Cell]]] = {
    PENDING: {
        CreditInput.FULL_ON_TIME: _COMPLETES,
        CreditInput.FULL_RETURN: _COMPLETES,
        CreditInput.FULL_ACCEPT: _COMPLETES,
        CreditInput.FULL_HOLD: _COMPLETES,
        CreditInput.SHORT_RETURN: _WAITS,
        CreditInput.SHORT_ACCEPT: _WAITS,
        CreditInput.SHORT_HOLD: _WAITS,
    },
    PAID: dict.fromkeys(CreditInput, _EXCESS),
    CANCELLED: dict.fromkeys(CreditInput, _TOO_LATE),
    EXPIRED: {
        CreditInput.FULL_ON_TIME: _REOPENS,
        CreditInput.FULL_RETURN: _GOES_BACK,
        CreditInput.FULL_ACCEPT: _REOPENS,
        CreditInput.FULL_HOLD: _FOR_A_PERSON,
        CreditInput.SHORT_RETURN: _GOES_BACK,
        CreditInput.SHORT_ACCEPT: _GOES_BACK,
        CreditInput.SHORT_HOLD: _FOR_A_PERSON,
    },
}
"""What a credit does to an order (ruling 17). Money is a fact, so no cell is missing.

A credit is *full* if it makes up the amount together with the held money that its cell would apply: on an
EXPIRED order only by itself.
"""


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
        RefundOutcome.CLOSED: RefundStatus.REFUSED,
    },
    RefundStatus.UNKNOWN: {
        RefundOutcome.DONE: RefundStatus.DONE,
        RefundOutcome.REFUSED: RefundStatus.CLOSING,
        RefundOutcome.CLOSED: RefundStatus.REFUSED,
    },
    RefundStatus.CLOSING: {
        RefundOutcome.DONE: RefundStatus.DONE,
        RefundOutcome.CLOSED: RefundStatus.REFUSED,
    },
    RefundStatus.DONE: {},
    RefundStatus.REFUSED: {RefundOutcome.DONE: RefundStatus.DISPUTED},
    RefundStatus.DISPUTED: {},
}
"""What a rail's answer makes of a refund.

RUNNING is the first try, of which the caller's answer is all there is to know. From UNKNOWN on there is a
try without an answer, which may still be paid: a refusal of another one frees nothing (laws 4).
"""


class ReturnInput(StrEnum):
    """The columns of the return table: what a rail answers, and what workers and persons do."""

    DONE = RefundOutcome.DONE
    REFUSED = RefundOutcome.REFUSED
    SILENT = RefundOutcome.SILENT
    CLOSED = RefundOutcome.CLOSED
    REFUSED_AT_LAST = "refused at its last try"
    REFUSED_UNSURE = "refused at its last try, an earlier one unanswered"
    PAID_AS_WELL = "done, after it was settled by hand"
    TRIED = "a try begins"
    RETRIED = "retried by a person"
    SETTLED_BY_HAND = "settled by hand"


_R, _RI = ReturnStatus, ReturnInput

RETURN_TABLE: Final[dict[ReturnStatus, dict[ReturnInput, ReturnStatus]]] = {
    _R.DUE: {
        _RI.TRIED: _R.RUNNING,
        _RI.DONE: _R.DONE,
        _RI.SETTLED_BY_HAND: _R.DONE,
    },
    _R.RUNNING: {
        _RI.TRIED: _R.RUNNING,
        _RI.DONE: _R.DONE,
        _RI.REFUSED: _R.DUE,
        _RI.REFUSED_AT_LAST: _R.PARKED,
        _RI.REFUSED_UNSURE: _R.CLOSING,
        _RI.SILENT: _R.UNKNOWN,
    },
    _R.UNKNOWN: {
        _RI.TRIED: _R.RUNNING,
        _RI.DONE: _R.DONE,
    },
    _R.CLOSING: {
        _RI.DONE: _R.DONE,
        _RI.CLOSED: _R.PARKED,
    },
    _R.PARKED: {
        _RI.DONE: _R.DONE,
        _RI.RETRIED: _R.DUE,
        _RI.SETTLED_BY_HAND: _R.DONE,
    },
    _R.DONE: {_RI.PAID_AS_WELL: _R.DISPUTED},
    _R.DISPUTED: {},
}
"""Unlike a refund, a refused return is tried again, under its one id: the money belongs to nobody here.

An id is paid once, so that trying it again needs nothing closed; leaving it to a person does (laws 4).
"""

RETURN_REFUSAL_OF: Final[dict[ReturnStatus, type[Refusal]]] = {
    _R.DUE: ReturnInProgress,
    _R.RUNNING: ReturnInProgress,
    _R.UNKNOWN: ReturnInProgress,
    _R.CLOSING: ReturnInProgress,
    _R.PARKED: ReturnParked,
    _R.DONE: ReturnCompleted,
    _R.DISPUTED: ReturnCompleted,
}
"""The refusal that a missing cell means in the columns of what workers and persons do, by its row."""
