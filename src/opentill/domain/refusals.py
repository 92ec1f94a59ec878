"""Every refusal: one class, one reason word, one docstring. A refusal changes nothing.

``PRECEDENCE`` is the order in which the checks are made: when several hold, the first is told.
"""

from typing import ClassVar


class Refusal(Exception):
    """A command that was understood and may not be done."""

    reason: ClassVar[str]
    """The kebab-case word sent in the ``Refusal-Reason`` header; empty where none is sent."""


class TokenRevoked(Refusal):
    """The access token was revoked, or its client was disabled, before this commit."""

    reason = ""


class IdempotencyKeyReused(Refusal):
    """The idempotency key was already used for a request with another method, path or body."""

    reason = "idempotency-key-reused"


class IdempotencyKeyInProgress(Refusal):
    """The first request with this idempotency key is still being carried out; try again shortly."""

    reason = "idempotency-key-in-progress"


class RecordNotFound(Refusal):
    """No such record belongs to this merchant; another merchant's record is told the same way."""

    reason = ""


class OrderReferenceUsed(Refusal):
    """An order of this merchant already has this reference, or has it as its order id.

    A reference is used once, for ever, whatever became of its order.
    """

    reason = "order-reference-used"


class VersionChanged(Refusal):
    """The order is not, or no longer, at the version that the caller has seen."""

    reason = "version-changed"


class OrderAlreadyPaid(Refusal):
    """The order is paid; it can be refunded, no longer cancelled or paid again."""

    reason = "order-already-paid"


class OrderAlreadyCancelled(Refusal):
    """The order is cancelled, which is final."""

    reason = "order-already-cancelled"


class OrderExpired(Refusal):
    """The order's due time has passed; it can be cancelled, no longer paid by card."""

    reason = "order-expired"


class OrderNotDue(Refusal):
    """The order has no due time, or it lies in the future; it does not expire now."""

    reason = "order-not-due"


class AttemptAlreadyCompleted(Refusal):
    """The attempt has already taken its payment; there is nothing left to confirm."""

    reason = "attempt-already-completed"


class AttemptEnded(Refusal):
    """The attempt was declined, cancelled or replaced; a new one may be started if the order is unpaid."""

    reason = "attempt-ended"


class AttemptInProgress(Refusal):
    """The card processor is being asked about an attempt of this order right now."""

    reason = "attempt-in-progress"


class OrderNotPaid(Refusal):
    """Nothing was paid by this transaction; an order that is not paid is cancelled, not refunded."""

    reason = "order-not-paid"


class RefundExceedsPaid(Refusal):
    """All refunds of the payment together, running ones included, would exceed what was paid."""

    reason = "refund-exceeds-paid"


class TooManyOtps(Refusal):
    """The one-time password has been sent again as often as it may be."""

    reason = "too-many-otps"


class TooManyAttempts(Refusal):
    """The order has used up the card attempts that it may have."""

    reason = "too-many-attempts"


class CreditNotHeld(Refusal):
    """No money of this transfer waits for a decision; it was applied, or it is on its way back."""

    reason = "credit-not-held"


class CreditBelowAmount(Refusal):
    """The transfer brought less than the order's amount: it can be sent back, not pay for the order."""

    reason = "credit-below-amount"


class CurrencyMismatch(Refusal):
    """The transfer is of another currency than the order: it can not be booked on it, and goes back."""

    reason = "currency-mismatch"


class ReturnInProgress(Refusal):
    """The bank is being asked about this return, or will be; nobody may settle it otherwise meanwhile."""

    reason = "return-in-progress"


class ReturnParked(Refusal):
    """The bank refused this return as often as it was tried; a person retries or settles it."""

    reason = "return-parked"


class ReturnCompleted(Refusal):
    """The money of this return is back already."""

    reason = "return-completed"


PRECEDENCE: tuple[type[Refusal], ...] = (
    TokenRevoked,
    IdempotencyKeyReused,
    IdempotencyKeyInProgress,
    RecordNotFound,
    OrderReferenceUsed,
    VersionChanged,
    AttemptAlreadyCompleted,
    OrderAlreadyPaid,
    OrderAlreadyCancelled,
    OrderExpired,
    OrderNotDue,
    OrderNotPaid,
    RefundExceedsPaid,
    AttemptEnded,
    AttemptInProgress,
    TooManyAttempts,
    TooManyOtps,
    CurrencyMismatch,
    CreditNotHeld,
    CreditBelowAmount,
    ReturnCompleted,
    ReturnParked,
    ReturnInProgress,
)
