"""The double-entry ledger: append-only, derived from events, and zero in sum for every event."""

from collections.abc import Callable

from msgspec import Struct

from opentill.domain.events import Event, EventType
from opentill.domain.order import Method

CARD_RAIL = "card_rail"
"""What the card processor owes us: it took money from payers that it has not yet paid out."""
TRANSFER_RAIL = "transfer_rail"
"""What lies at the bank for us: it arrived by transfer and has not been sent back."""
HELD_MONEY = "held_money"
"""What arrived by transfer and nothing has been decided about: partial money, and what waits for a person.

Under the id of the suspense account (``house``) it is the money that was matched to no order.
"""
RETURNS_DUE = "returns_due"
"""What we owe to payers whose money no order wanted."""

REFUNDS_DUE = "refunds_due"
"""What merchants have told us to give back and the rail has not yet given."""

PAYOUTS_DISPUTED = "payouts_disputed"
"""What rails paid out beyond what was owed, and a person has to get back or to clear."""

FEES = "fees"
"""What merchants pay for payments; kept when a payment is refunded (ruling 19)."""


def merchant_balance(account_id: str) -> str:
    """Return the ledger account of what we owe to one account, parent or sub-account, of a merchant."""
    return f"merchant:{account_id}"


class Entry(Struct, frozen=True):
    """One line of a booking; ``amount`` in minor units, debits positive, credits negative."""

    account: str
    currency: str
    amount: int


def _moved(event: Event, debit: str, credit: str) -> tuple[Entry, ...]:
    return (Entry(debit, event.currency, event.amount), Entry(credit, event.currency, -event.amount))


def _credited(event: Event, debit: str) -> tuple[Entry, ...]:
    """Book an amount from elsewhere to the merchant's accounts: each its part, the beneficiary the rest."""
    rest, parts = _shared(event, -1)
    return (Entry(debit, event.currency, event.amount), rest, *parts)


def _debited(event: Event, credit: str) -> tuple[Entry, ...]:
    """Book an amount away from the merchant's accounts: each its part, the beneficiary the rest."""
    rest, parts = _shared(event, 1)
    return (rest, Entry(credit, event.currency, -event.amount), *parts)


def _shared(event: Event, sign: int) -> tuple[Entry, list[Entry]]:
    parts = [(FEES, event.parts.fee)]
    parts += [(merchant_balance(account), share) for account, share in event.parts.shares]
    rest = event.amount - sum(amount for _, amount in parts)
    lines = [Entry(account, event.currency, sign * amount) for account, amount in parts]
    return Entry(merchant_balance(event.beneficiary), event.currency, sign * rest), lines


_RAIL = {Method.CARD: CARD_RAIL, Method.TRANSFER: TRANSFER_RAIL}
_PAID_FROM = {Method.CARD: CARD_RAIL, Method.TRANSFER: HELD_MONEY}
"""A card is charged for its order; a transfer arrives before anybody knows what it is good for."""

_BOOKINGS: dict[EventType, Callable[[Event], tuple[Entry, ...]]] = {
    EventType.PAYMENT_SUCCESS: lambda e: _credited(e, _PAID_FROM[e.method]),
    EventType.VOID_STARTED: lambda e: _moved(e, CARD_RAIL, RETURNS_DUE),
    EventType.CREDIT_RECEIVED: lambda e: _moved(e, TRANSFER_RAIL, HELD_MONEY),
    EventType.RETURN_STARTED: lambda e: _moved(e, HELD_MONEY, RETURNS_DUE),
    EventType.PAYMENT_REVERSAL: lambda e: _moved(e, RETURNS_DUE, _RAIL[e.method]),
    EventType.REFUND_STARTED: lambda e: _debited(e, REFUNDS_DUE),
    EventType.REFUND_REFUSED: lambda e: _credited(e, REFUNDS_DUE),
    EventType.PAYMENT_REFUNDED: lambda e: _moved(e, REFUNDS_DUE, _RAIL[e.method]),
    EventType.PAYOUT_DISPUTED: lambda e: _moved(e, PAYOUTS_DISPUTED, _RAIL[e.method]),
}


def entries_for(event: Event) -> tuple[Entry, ...]:
    """Return the booking of an event, each account once; empty for the events that move no money."""
    booking = _BOOKINGS.get(event.type)
    return tuple(entry for entry in booking(event) if entry.amount) if booking else ()
