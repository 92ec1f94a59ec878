"""Events: what happened to an order, one for each version, written in the commit that made it true."""

import uuid
from enum import StrEnum
from typing import Final

from msgspec import Struct

from opentill.domain.commands import Actor
from opentill.domain.order import WHOLE, Method, OrderStatus, Parts


class EventType(StrEnum):
    """The kinds of event; those in ``TOLD_TO_MERCHANTS`` are sent as webhooks."""

    ORDER_CREATED = "order_created"
    ORDER_CANCELLED = "order_cancelled"
    ORDER_EXPIRED = "order_expired"
    ATTEMPT_STARTED = "attempt_started"
    ATTEMPT_WAITING = "attempt_waiting"
    ATTEMPT_RESUMED = "attempt_resumed"
    ATTEMPT_UNKNOWN = "attempt_unknown"
    ATTEMPT_CANCELLED = "attempt_cancelled"
    ATTEMPT_CLOSED = "attempt_closed"
    """The rail confirmed that an attempt which had ended before its answer took nothing."""
    OTP_RESENT = "otp_resent"
    PAYMENT_SUCCESS = "payment_success"
    PAYMENT_FAILED = "payment_failed"
    VOID_STARTED = "void_started"
    REFUND_STARTED = "refund_started"
    REFUND_UNKNOWN = "refund_unknown"
    REFUND_CLOSING = "refund_closing"
    """The rail refused it beside a try that was not answered: it is asked to close the id first."""
    REFUND_REFUSED = "refund_refused"
    PAYMENT_REVERSAL = "payment_reversal"
    PAYMENT_REFUNDED = "payment_refunded"
    CREDIT_RECEIVED = "credit_received"
    """Money arrived by transfer; its ``reason`` is its disposition, and what follows from it comes next."""
    RETURN_STARTED = "return_started"
    """Money of a credit is to go back; ``reason`` is the kind of the return, here and below."""
    RETURN_TRIED = "return_tried"
    RETURN_UNKNOWN = "return_unknown"
    RETURN_REFUSED = "return_refused"
    """The rail refused one try; another follows."""
    RETURN_CLOSING = "return_closing"
    """The rail refused the last try beside one that was never answered: it is asked to close the id first."""
    RETURN_PARKED = "return_parked"
    """The rail refused the last try; a person is to see to it."""
    RETURN_RETRIED = "return_retried"
    PAYOUT_DISPUTED = "payout_disputed"
    """The rail paid a refund that had been refused for good, or a return that was settled by hand."""


TOLD_TO_MERCHANTS = frozenset(
    {
        EventType.PAYMENT_SUCCESS,
        EventType.PAYMENT_FAILED,
        EventType.PAYMENT_REVERSAL,
        EventType.PAYMENT_REFUNDED,
        EventType.REFUND_REFUSED,
        EventType.RETURN_PARKED,
        EventType.ORDER_CANCELLED,
        EventType.ORDER_EXPIRED,
    }
)
"""Contract 5.1; the last two go only to endpoints that subscribed to them (ruling 13).

Money that went back, and a refund or return that finally failed, are told as ``payment_reversal``
(ruling 20).
"""


class Remark(Struct, frozen=True):
    """Words about a step: why it was taken, and what a merchant wants to find with it again."""

    reason: str | None = None
    note: str | None = None
    metadata: tuple[tuple[str, str], ...] = ()


NO_REMARK: Final = Remark()


class Event(Struct, frozen=True):
    """One thing that happened to one order."""

    event_id: str
    account_id: str
    order_id: str
    sequence: int
    """1, 2, 3 ... within the order; equal to the order's version after the event."""
    type: EventType
    before: OrderStatus | None
    after: OrderStatus
    actor: Actor
    at: int
    reason: str | None = None
    note: str | None = None
    metadata: tuple[tuple[str, str], ...] = ()
    """What a merchant wants to find with it again."""
    transaction_id: str | None = None
    refund_id: str | None = None
    amount: int = 0
    """The money that moved, in minor units; 0 when none did. The ledger is derived from it."""
    currency: str = ""
    beneficiary: str = ""
    """The account, parent or sub-account, that the order credits."""
    method: Method = Method.CARD
    """By which way the money moves that this event is about."""
    parts: Parts = WHOLE
    """What of ``amount`` is not the beneficiary's, where the merchant's own money moves."""


def event_id(command_id: str, ordinal: int) -> str:
    """Return the id of a command's ``ordinal``-th event, counted from 0: known before the first try."""
    return command_id if ordinal == 0 else str(uuid.UUID(int=uuid.UUID(command_id).int ^ ordinal))
