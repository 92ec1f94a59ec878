"""What a webhook says: the body of contract 5.4, rendered once per event, keys in the documented order.

Everything that Nomba's body has stands where Nomba has it; ours is only appended. Each body says which
status its order had after the event and the event's number within the order, so that a receiver who
heard events out of order, or twice, knows which of them is the newest.
"""

from enum import StrEnum
from typing import Final

import msgspec
from msgspec import UNSET, Raw, UnsetType

from opentill.domain.events import Event, EventType
from opentill.domain.money import major_units
from opentill.domain.names import merchant_tx_ref, return_id
from opentill.domain.order import Attempt, Credit, Method, Order, ReturnKind, SavedCard
from opentill.store.orders.contract import OrderView
from opentill.store.outbox.contract import Told
from opentill.webhooks.signature import rfc3339
from opentill.webhooks.token_keys import SEALED


class WebhookType(StrEnum):
    """A kind of event that an endpoint can be told of (contract 5.1)."""

    PAYMENT_SUCCESS = "payment_success"
    PAYMENT_FAILED = "payment_failed"
    PAYMENT_REVERSAL = "payment_reversal"
    ORDER_CANCELLED = "order_cancelled"
    ORDER_EXPIRED = "order_expired"


SUBSCRIBABLE: Final = tuple(each.value for each in WebhookType)
DEFAULT_EVENTS: Final = SUBSCRIBABLE[:3]
"""What a new endpoint is told when nothing else is asked for: what Nomba tells (ruling 13)."""

TYPE_OF: Final = {
    EventType.PAYMENT_SUCCESS: WebhookType.PAYMENT_SUCCESS,
    EventType.PAYMENT_FAILED: WebhookType.PAYMENT_FAILED,
    EventType.PAYMENT_REVERSAL: WebhookType.PAYMENT_REVERSAL,
    EventType.PAYMENT_REFUNDED: WebhookType.PAYMENT_REVERSAL,
    EventType.REFUND_REFUSED: WebhookType.PAYMENT_REVERSAL,
    EventType.RETURN_PARKED: WebhookType.PAYMENT_REVERSAL,
    EventType.ORDER_CANCELLED: WebhookType.ORDER_CANCELLED,
    EventType.ORDER_EXPIRED: WebhookType.ORDER_EXPIRED,
}
"""As which webhook an event is told; events that are not here are told to nobody."""

_FAILURES: Final = frozenset({EventType.PAYMENT_FAILED, EventType.REFUND_REFUSED, EventType.RETURN_PARKED})
_NONE: Final = "N/A"
_METHOD: Final = {Method.CARD: "card_payment", Method.TRANSFER: "bank_transfer"}
_ACCOUNT_TYPE: Final = "VIRTUAL"


def render(event: Event, view: OrderView, account_name: str) -> Told | None:
    """Write what this event says to endpoints; None if it is told to nobody.

    ``account_name`` is the name of the accounts that transfers are paid to.

    ``view`` may be younger than the event: only what never changes is read from it, or what is known to
    be the event's own.
    """
    type_ = TYPE_OF.get(event.type)
    if type_ is None or event.reason == ReturnKind.ATTACHED:
        return None
    order = view.order
    attempt = order.attempt(event.transaction_id) if event.transaction_id else None
    credit = order.credit(event.transaction_id) if event.transaction_id else None
    data = _Data(
        merchant=_MerchantMember(wallet_balance=_number(0, order), user_id=order.account_id),
        tokenized_card_data=_tokenized_card(view.saved_card),
        transaction=_transaction(event, order, attempt, _alias(credit, order, account_name)),
        customer=_sender(credit) if credit else _customer(attempt),
        order=_order(event, view, attempt),
        reversal=_reversal(event) if type_ is WebhookType.PAYMENT_REVERSAL else UNSET,
    )
    return Told(type_.value, msgspec.json.encode(_WebhookBody(type_.value, event.event_id, data)))


# --- the body, field for field --------------------------------------------------------------------


class _Struct(msgspec.Struct, rename="camel"):
    """Members go on the wire in the order in which they stand here."""


class _MerchantMember(_Struct, kw_only=True):
    wallet_id: str = _NONE
    wallet_balance: Raw
    user_id: str


class _TokenizedCard(_Struct):
    token_key: str = _NONE
    card_type: str = _NONE
    token_expiry_year: str = _NONE
    token_expiry_month: str = _NONE
    card_pan: str = _NONE


class _Transaction(_Struct, kw_only=True):
    fee: Raw
    type: str = "online_checkout"
    transaction_id: str
    response_code: str
    originating_from: str = "web"
    merchant_tx_ref: str
    transaction_amount: Raw
    time: str
    response_code_message: str | UnsetType = UNSET
    alias_account_number: str | UnsetType = UNSET
    alias_account_name: str | UnsetType = UNSET
    alias_account_reference: str | UnsetType = UNSET
    alias_account_type: str | UnsetType = UNSET
    session_id: str | UnsetType = UNSET
    narration: str | UnsetType = UNSET


class _Customer(_Struct):
    biller_id: str = _NONE
    product_id: str = _NONE


class _SenderMember(_Struct):
    bank_code: str
    bank_name: str
    sender_name: str
    account_number: str


class _OrderMember(_Struct, kw_only=True):
    amount: Raw
    order_id: str
    card_type: str
    account_id: str
    card_last4_digits: str
    card_currency: str
    customer_email: str
    customer_id: str
    is_tokenized_card_payment: str = "false"
    order_reference: str
    payment_method: str
    callback_url: str
    currency: str
    order_meta_data: dict[str, str]
    status: str
    sequence: int


class _Reversal(_Struct):
    kind: str
    id: str
    state: str


class _Data(_Struct, kw_only=True):
    merchant: _MerchantMember
    terminal: dict[str, str] = {}
    tokenized_card_data: _TokenizedCard
    transaction: _Transaction
    customer: _Customer | _SenderMember
    order: _OrderMember
    reversal: _Reversal | UnsetType = UNSET


class _WebhookBody(msgspec.Struct):
    event_type: str
    request_id: str = msgspec.field(name="requestId")
    data: _Data


# --- from an event to its members -----------------------------------------------------------------


def _number(minor: int, order: Order) -> Raw:
    """Write an amount as a JSON number with all of its decimals: 300.00 (ruling 10)."""
    return Raw(major_units(minor, order.currency).encode())


def _transaction(event: Event, order: Order, attempt: Attempt | None, alias: dict[str, str]) -> _Transaction:
    code, message = _why_it_failed(event, order, attempt) if event.type in _FAILURES else ("", UNSET)
    return _Transaction(
        fee=_number(event.parts.fee, order),
        transaction_id=event.transaction_id or "",
        response_code=code,
        merchant_tx_ref=merchant_tx_ref(event.transaction_id) if event.transaction_id else "",
        transaction_amount=_number(_amount(event, order, attempt), order),
        time=rfc3339(event.at),
        response_code_message=message,
        **alias,
    )


def _alias(credit: Credit | None, order: Order, account_name: str) -> dict[str, str]:
    """Name the virtual account that a transfer was paid to, and the transfer itself; nothing for a card."""
    if credit is None:
        return {}
    return {
        "alias_account_number": credit.account_number,
        "alias_account_name": account_name,
        "alias_account_reference": order.reference,
        "alias_account_type": _ACCOUNT_TYPE,
        "session_id": credit.session_id,
        "narration": credit.narration,
    }


def _sender(credit: Credit) -> _SenderMember:
    """Name the sender of a transfer, as far as its bank said: never the bank's name, only its code."""
    sender = credit.sender
    return _SenderMember(
        sender.bank_code or _NONE, _NONE, sender.name or _NONE, sender.account_number or _NONE
    )


def _amount(event: Event, order: Order, attempt: Attempt | None) -> int:
    """Find the amount that the event is about, also where no money moved."""
    if event.type is EventType.PAYMENT_FAILED and attempt:
        return attempt.amount
    if event.type is EventType.RETURN_PARKED and (left := order.return_of(event.transaction_id or "")):
        return left.amount
    return event.amount


def _why_it_failed(event: Event, order: Order, attempt: Attempt | None) -> tuple[str, str]:
    """Give the rail's code and the words to it, unless a later answer of the rail has taken their place."""
    if event.type is EventType.RETURN_PARKED:
        left = order.return_of(event.transaction_id or "")
        return (left.response_code, left.message) if left else ("", "")
    code = event.reason or ""
    said = order.refund(event.refund_id) if event.refund_id else attempt
    return code, said.message if said and said.response_code == code else ""


def _tokenized_card(card: SavedCard | None) -> _TokenizedCard:
    """Give the token key, sealed until it goes out, to the success of a payment that asked for it alone."""
    if card is None or not card.tokenized:
        return _TokenizedCard()
    month, _, year = card.kept.expiry.partition("/")
    return _TokenizedCard(
        f"{SEALED}{card.kept.token_key_sealed}", card.card_brand, year, month, card.card_masked
    )


def _customer(attempt: Attempt | None) -> _Customer:
    return _Customer(attempt.card_masked, attempt.card_masked[:6]) if attempt else _Customer()


def _order(event: Event, view: OrderView, attempt: Attempt | None) -> _OrderMember:
    order, terms = view.order, view.terms
    return _OrderMember(
        amount=_number(order.amount, order),
        order_id=order.order_id,
        card_type=attempt.card_brand if attempt else _NONE,
        account_id=order.beneficiary,
        card_last4_digits=attempt.card_masked[-4:] if attempt else _NONE,
        card_currency=order.currency if attempt else _NONE,
        customer_email=terms.customer_email,
        customer_id=terms.customer_id or _NONE,
        is_tokenized_card_payment="true" if attempt and attempt.saved_card else "false",
        order_reference=order.reference,
        payment_method=_METHOD[event.method] if event.transaction_id else _NONE,
        callback_url=terms.callback_url or _NONE,
        currency=order.currency,
        order_meta_data=dict(terms.metadata),
        status=event.after.value,
        sequence=event.sequence,
    )


def _reversal(event: Event) -> _Reversal:
    """Tell what went back, by the id under which it did (ruling 20); a voided attempt has only its own."""
    state = "failed" if event.type in _FAILURES else "done"
    if event.refund_id:
        return _Reversal("refund", event.refund_id, state)
    if event.method is Method.TRANSFER:
        return _Reversal(event.reason or "", return_id(event.transaction_id or ""), state)
    return _Reversal("void", event.transaction_id or "", state)
