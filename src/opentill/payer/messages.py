"""What a payer is told of an order: sentences chosen by tables over its status, its money and its attempts.

Nothing is said of money but what its totals and attempts show. "You have not been charged" stands only in
cells where nothing is held, on its way back, given back, or still unknown (laws 11).
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from opentill.domain.order import (
    Attempt,
    AttemptStatus,
    Order,
    OrderStatus,
    RefundStatus,
    ReturnKind,
    ReturnStatus,
)
from opentill.payer import formatting

PENDING, PAID, CANCELLED, EXPIRED = OrderStatus
_A = AttemptStatus


class Standing(StrEnum):
    """The place where an order's money is; of several that hold the first one leads."""

    CHECKING = "a card processor has not said yet whether it took money"
    HELD = "part of it has arrived and waits"
    REFUNDED = "all that was paid is given back, or will be"
    BACK = "some that was not wanted goes or went back"
    CLEAR = "there is none but what pays for the order"


class Origin(StrEnum):
    """The way in which money came that goes back."""

    CARD = "a card payment that was not wanted any more"
    TRANSFER = "a transfer that the order did not want"
    PART = "a part payment of an order that was then not paid by it"


class Way(StrEnum):
    """The distance that money on its way back has come."""

    RUNNING = "it is on its way"
    PARKED = "a bank refused it, and a person sees to it"
    DONE = "it is back"


@dataclass(frozen=True, slots=True)
class GoingBack:
    """PayerMoney on its way back, or back already; minor units."""

    origin: Origin
    amount: int
    way: Way


@dataclass(frozen=True, slots=True, kw_only=True)
class PayerMoney:
    """All that a payer is told of an order's money; minor units."""

    applied: int = 0
    held: int = 0
    rest: int = 0
    """What is still to be paid."""
    refunding: int = 0
    refunded: int = 0
    back: tuple[GoingBack, ...] = ()
    checking: bool = False

    @property
    def standing(self) -> Standing:
        """Return the first that holds."""
        if self.checking:
            return Standing.CHECKING
        if self.held:
            return Standing.HELD
        if self.applied and self.refunding + self.refunded == self.applied:
            return Standing.REFUNDED
        return Standing.BACK if self.back else Standing.CLEAR


class Tone(StrEnum):
    """The look of a message."""

    QUIET = "quiet"
    WAIT = "wait"
    GOOD = "good"
    OVER = "over"


@dataclass(frozen=True, slots=True)
class Lead:
    """The first thing that is said."""

    tone: Tone
    title: str
    sentence: str


_TO_PAY: Final = Lead(Tone.QUIET, "", "This order has not been paid yet.")
_PAID: Final = Lead(Tone.GOOD, "Payment successful", "You paid {applied}. Thank you.")
_CANCELLED: Final = Lead(Tone.OVER, "Order cancelled", "This order was cancelled.")
_EXPIRED: Final = Lead(Tone.OVER, "Order expired", "The time to pay this order has passed.")

LEADS: Final[dict[OrderStatus, dict[Standing, Lead]]] = {
    PENDING: {
        Standing.CLEAR: _TO_PAY,
        Standing.BACK: _TO_PAY,
        Standing.REFUNDED: _TO_PAY,
        Standing.HELD: Lead(
            Tone.WAIT, "Part of it has arrived", "{held} has arrived. {rest} is still to be paid."
        ),
        Standing.CHECKING: Lead(
            Tone.WAIT,
            "Checking your payment",
            "This payment is still being checked. Please do not pay again; this page will tell.",
        ),
    },
    PAID: {
        Standing.CLEAR: _PAID,
        Standing.BACK: _PAID,
        Standing.HELD: _PAID,
        Standing.CHECKING: Lead(
            Tone.GOOD,
            "Payment successful",
            "You paid {applied}. Another payment is still being checked; if money was taken for it, "
            "you will get it back.",
        ),
        Standing.REFUNDED: Lead(Tone.OVER, "Payment refunded", "This order was paid, and then refunded."),
    },
    CANCELLED: {
        Standing.CLEAR: Lead(
            Tone.OVER, "Order cancelled", "This order was cancelled. You have not been charged."
        ),
        Standing.BACK: _CANCELLED,
        Standing.REFUNDED: _CANCELLED,
        Standing.HELD: _CANCELLED,
        Standing.CHECKING: Lead(
            Tone.OVER,
            "Order cancelled",
            "This order was cancelled while a payment was under way, which is still being checked. "
            "If money was taken, you will get it back.",
        ),
    },
    EXPIRED: {
        Standing.CLEAR: Lead(
            Tone.OVER, "Order expired", "The time to pay this order has passed. You have not been charged."
        ),
        Standing.BACK: _EXPIRED,
        Standing.REFUNDED: _EXPIRED,
        Standing.HELD: _EXPIRED,
        Standing.CHECKING: Lead(
            Tone.OVER,
            "Order expired",
            "The time to pay this order ran out while a payment was under way, which is still being "
            "checked. If money was taken, you will get it back.",
        ),
    },
}

WHY_BACK: Final[dict[OrderStatus, dict[Origin, str]]] = {
    PENDING: {
        Origin.CARD: "Your card payment of {amount} went through after that try had been given up",
        Origin.TRANSFER: "Your payment of {amount} could not be used for this order",
        Origin.PART: "Your part payment of {amount} could not be used for this order",
    },
    PAID: {
        Origin.CARD: "Your card payment of {amount} was not needed any more",
        Origin.TRANSFER: "{amount} arrived that was more than was due",
        Origin.PART: "The {amount} that had arrived by transfer before was not needed any more",
    },
    CANCELLED: {
        Origin.CARD: "Your card payment of {amount} went through after the order was cancelled",
        Origin.TRANSFER: "Your payment of {amount} arrived after the order was cancelled",
        Origin.PART: "Your part payment of {amount} had arrived before the order was cancelled",
    },
    EXPIRED: {
        Origin.CARD: "Your card payment of {amount} went through after the time to pay had passed",
        Origin.TRANSFER: "Your payment of {amount} arrived after the time to pay had passed",
        Origin.PART: "Your part payment of {amount} was not completed in time",
    },
}
"""Why money goes back; how far it has come is said by ``HOW_BACK``."""

_TO_ACCOUNT: Final = {
    Way.RUNNING: "and is on its way back to the account it came from.",
    Way.PARKED: "and could not be sent back to the account it came from yet; the merchant will see to it.",
    Way.DONE: "and was sent back to the account it came from.",
}

HOW_BACK: Final[dict[Origin, dict[Way, str]]] = {
    Origin.CARD: {
        Way.RUNNING: "and is on its way back to your card.",
        Way.PARKED: "and could not be given back to your card yet; the merchant will see to it.",
        Way.DONE: "and was given back to your card.",
    },
    Origin.TRANSFER: _TO_ACCOUNT,
    Origin.PART: _TO_ACCOUNT,
}
"""By how far it has come."""

_HELD_AFTER: Final = "{held} that you paid is kept safe until the merchant has decided about it."
_HELD_BEFORE: Final = "{held} has arrived already."
_REFUNDING: Final = "{refunding} is on its way back to you."
_REFUNDED: Final = "{refunded} was given back to you."


@dataclass(frozen=True, slots=True)
class PayerMessage:
    """The message to a payer: a title, which may be empty, and sentences."""

    tone: Tone
    title: str
    sentences: tuple[str, ...]

    def __str__(self) -> str:
        return " ".join(self.sentences)


def message_of(status: OrderStatus, money: PayerMoney, currency: str) -> PayerMessage:
    """Return what is said of an order with this status and money."""
    lead = LEADS[status][money.standing]
    amounts = {
        name: formatting.amount(getattr(money, name), currency)
        for name in ("applied", "held", "rest", "refunding", "refunded")
    }
    more = [lead.sentence, *_of_held(status, money)]
    more += [_REFUNDED] if money.refunded else []
    more += [_REFUNDING] if money.refunding else []
    said = [sentence.format(**amounts) for sentence in more]
    said += [_of_back(status, back, currency) for back in money.back]
    return PayerMessage(lead.tone, lead.title, tuple(said))


def _of_held(status: OrderStatus, money: PayerMoney) -> list[str]:
    if not money.held:
        return []
    if status is not PENDING:
        return [_HELD_AFTER]
    return [_HELD_BEFORE] if money.checking else []


def _of_back(status: OrderStatus, back: GoingBack, currency: str) -> str:
    why = WHY_BACK[status][back.origin].format(amount=formatting.amount(back.amount, currency))
    return f"{why} {HOW_BACK[back.origin][back.way]}"


def money_of(order: Order) -> PayerMoney:
    """Return what the order's totals, attempts and refunds show."""
    totals = order.totals
    refunding = sum(r.amount for r in order.refunds if r.status in _REFUND_RUNS)
    return PayerMoney(
        applied=totals.applied,
        held=totals.held,
        rest=max(order.amount - totals.applied - totals.held, 0),
        refunding=refunding,
        refunded=totals.refunded - refunding,
        back=_back(order),
        checking=any(is_unsure(attempt) for attempt in order.attempts),
    )


_REFUND_RUNS: Final = frozenset({RefundStatus.RUNNING, RefundStatus.UNKNOWN, RefundStatus.CLOSING})
_ALWAYS_UNSURE: Final = frozenset({_A.CALLING, _A.UNKNOWN})


def is_unsure(attempt: Attempt) -> bool:
    """Return whether money may be taken for this attempt, or may have been, without our knowing it."""
    ended_under_way = attempt.status is _A.CANCELLED and attempt.call is not None
    return attempt.status in _ALWAYS_UNSURE or ended_under_way


def _back(order: Order) -> tuple[GoingBack, ...]:
    cards = (
        GoingBack(Origin.CARD, attempt.amount, _CARD_WAY[attempt.status])
        for attempt in order.attempts
        if attempt.status in _CARD_WAY
    )
    transfers = (
        GoingBack(_ORIGIN[each.kind], each.amount, _RETURN_WAY.get(each.status, Way.RUNNING))
        for each in order.returns
    )
    return (*cards, *transfers)


_CARD_WAY: Final = {_A.VOIDING: Way.RUNNING, _A.VOIDED: Way.DONE}
_RETURN_WAY: Final = {
    ReturnStatus.PARKED: Way.PARKED,
    ReturnStatus.DONE: Way.DONE,
    ReturnStatus.DISPUTED: Way.DONE,
}
_ORIGIN: Final = {
    ReturnKind.LATE: Origin.TRANSFER,
    ReturnKind.EXCESS: Origin.TRANSFER,
    ReturnKind.HELD: Origin.PART,
    ReturnKind.ATTACHED: Origin.TRANSFER,
}
