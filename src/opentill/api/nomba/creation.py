"""From the body of a create to a CreateOrder command (contract 3.2, 8 and 10)."""

from collections.abc import Iterable
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from msgspec import Meta

from opentill.api.http import decode
from opentill.api.http.call import Call
from opentill.api.http.decode import AmountText, ReferenceText, Text
from opentill.api.http.times import TimeText, instant
from opentill.api.wire import WireStruct, invalid
from opentill.domain.commands import CreateOrder
from opentill.domain.order import DueAction, LateMoney, Split, SplitKind, Terms
from opentill.domain.sharing import HUNDRED_PERCENT
from opentill.store.accounts.contract import Merchant

PaymentMethod = Literal[
    "Card", "Transfer", "Nomba QR", "USSD", "Buy Now Pay Later", "MOMO", "Intl Card", "Apple Pay"
]
MetadataText = Annotated[str, Meta(max_length=1000)]


class ShareRequest(WireStruct):
    """The share of one account in a payment."""

    account_id: Text
    value: AmountText


class SplitRequest(WireStruct):
    """The shares of a payment; what they leave goes to the order's own account."""

    split_type: SplitKind
    split_list: Annotated[list[ShareRequest], Meta(min_length=1, max_length=100)]


class OrderRequest(WireStruct, kw_only=True):
    """The order to open; amounts are major units."""

    order_reference: ReferenceText | None = None
    amount: AmountText
    currency: Text
    customer_email: Text
    callback_url: Annotated[str, Meta(max_length=2048)] | None = None
    customer_id: Text | None = None
    account_id: Text | None = None
    allowed_payment_methods: Annotated[list[PaymentMethod], Meta(max_length=20)] | None = None
    split_request: SplitRequest | None = None
    order_meta_data: Annotated[dict[Text, MetadataText], Meta(max_length=100)] | None = None
    expires_in_seconds: Annotated[int, Meta(ge=1, le=315_360_000)] | None = None
    expires_at: TimeText | None = None
    cancel_at: TimeText | None = None
    late_money: LateMoney | None = None


class CreateRequest(WireStruct):
    """An order to open."""

    order: OrderRequest
    tokenize_card: bool | Literal["true", "false"] | None = None


async def command_of(call: Call) -> CreateOrder:
    """Return the command that the body asks for; raises Rejected with the field that is wrong."""
    body: CreateRequest = call.body
    tokenize_card = body.tokenize_card in (True, "true")
    return CreateOrder(**await order_members(call, body.order), tokenize_card=tokenize_card)


async def order_members(call: Call, order: OrderRequest) -> dict[str, Any]:
    """Return what a CreateOrder has of the order that is asked for; raises as ``command_of``."""
    currency = _currency(call, order.currency)
    amount = decode.amount(order.amount, "amount", currency)
    merchant = await call.deps.account_cache.merchant(call.account_id)
    due_at, due_action = await _due(call, order, merchant)
    wanted = order.late_money or (merchant.late_money if merchant else None)
    return call.command() | {
        "order_id": call.deps.ids.uuid(),
        "reference": _reference(call, order.order_reference),
        "amount": amount,
        "currency": currency,
        "sub_account_id": await _sub_account(call, order.account_id),
        "terms": _terms(order),
        "split": None if order.split_request is None else await _split(call, order, amount),
        "due_at": due_at,
        "due_action": due_action,
        "late_money": wanted or LateMoney.RETURN,
    }


def _reference(call: Call, sent: str | None) -> str:
    if sent is None:
        return f"OD-{call.account_id[:5]}-{call.deps.ids.uuid()}"
    return call.reference(sent, "orderReference")


def _currency(call: Call, sent: str) -> str:
    currencies = call.deps.settings.currencies
    if sent not in currencies:
        decode.filled(sent, "currency")
        raise invalid(f"currency must be one of {', '.join(currencies)}")
    return sent


async def _sub_account(call: Call, sent: str | None) -> str | None:
    if sent is None or sent == call.account_id:
        return None
    await _check_owned(call, [sent])
    return sent


async def _check_owned(call: Call, accounts: Iterable[str]) -> None:
    for account in accounts:
        if not await call.deps.account_cache.owns(call.account_id, account):
            raise invalid("accountId must be an account of this merchant")


def _terms(order: OrderRequest) -> Terms:
    return Terms(
        customer_email=decode.filled(order.customer_email, "customerEmail"),
        customer_id=order.customer_id,
        callback_url=None if order.callback_url is None else _web_address(order.callback_url),
        allowed_payment_methods=tuple(order.allowed_payment_methods or ()),
        metadata=tuple((order.order_meta_data or {}).items()),
    )


def _web_address(url: str) -> str:
    """Check a URL (ruling 16): browsers drop control characters and take a backslash for a slash."""
    wrong = invalid("callbackUrl must be an http or https URL")
    if any(character <= " " or character in "\\\x7f" for character in url):
        raise wrong
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018 - raises for a port that is none
    except ValueError:
        raise wrong from None
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise wrong
    return url


async def _split(call: Call, order: OrderRequest, amount: int) -> Split:
    request = order.split_request
    assert request is not None
    in_percent = request.split_type is SplitKind.PERCENTAGE
    shares = tuple(
        (
            share.account_id,
            decode.hundredths(share.value, "value")
            if in_percent
            else decode.amount(share.value, "value", order.currency),
        )
        for share in request.split_list
    )
    accounts = [account for account, _ in shares]
    if len(set(accounts)) != len(accounts):
        raise invalid("splitList can not name an account twice")
    if sum(value for _, value in shares) > (HUNDRED_PERCENT if in_percent else amount):
        raise invalid("splitList can not share more than the whole order")
    await _check_owned(call, accounts)
    return Split(request.split_type, shares)


async def _due(call: Call, order: OrderRequest, merchant: Merchant | None) -> tuple[int | None, DueAction]:
    """Return when the order ends unpaid, in business time, and how; else its merchant decides."""
    moments: tuple[Any, ...] = (order.expires_in_seconds, order.expires_at, order.cancel_at)
    expires_in_seconds = order.expires_in_seconds
    if moments == (None, None, None):
        expires_in_seconds = merchant.expires_in_seconds if merchant else None
        if expires_in_seconds is None:
            return None, DueAction.EXPIRE
    elif moments.count(None) != 2:
        raise invalid("only one of expiresInSeconds, expiresAt and cancelAt can be given")
    now = await call.deps.account_cache.exact_business_time()
    if expires_in_seconds is not None:
        return now + expires_in_seconds * 1000, DueAction.EXPIRE
    if order.cancel_at is not None:
        return _future(order.cancel_at, "cancelAt", now), DueAction.CANCEL
    assert order.expires_at is not None
    return _future(order.expires_at, "expiresAt", now), DueAction.EXPIRE


def _future(text: str, field: str, now: int) -> int:
    due_at = instant(text, field)
    if due_at <= now:
        raise invalid(f"{field} must be in the future")
    return due_at
