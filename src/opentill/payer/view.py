"""Everything that a payer's page shows of an order, as plain values made from its state alone."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final
from urllib.parse import quote, urlencode, urlsplit, urlunsplit

from opentill.domain.order import Attempt, AttemptStatus, Order, OrderStatus
from opentill.domain.preview import Preview
from opentill.payer import formatting
from opentill.payer.messages import PayerMessage, PayerMoney, Standing, message_of, money_of
from opentill.payer.transfer import Bank, TransferPanel, transfer_panel
from opentill.store.accounts.contract import Merchant
from opentill.store.orders.contract import OrderView
from opentill.store.transfers.contract import TransferAccount

CARD_METHOD: Final = "Card"
TRANSFER_METHOD: Final = "Transfer"

_A = AttemptStatus


class Stage(StrEnum):
    """The step that the payer can take on the page."""

    PAY = "pay"
    OTP = "otp"
    CHALLENGE = "challenge"
    CHECKING = "checking"
    STUCK = "stuck"
    """The order is unpaid, and there is no way left to pay it here."""
    PAID = "paid"
    CANCELLED = "cancelled"
    EXPIRED = "expired"


_ENDED: Final = {
    OrderStatus.PAID: Stage.PAID,
    OrderStatus.CANCELLED: Stage.CANCELLED,
    OrderStatus.EXPIRED: Stage.EXPIRED,
}
_WAITS: Final = {_A.AWAITING_OTP: Stage.OTP, _A.AWAITING_3DS: Stage.CHALLENGE}
_WITHOUT_MONEY: Final = frozenset({_A.DECLINED, _A.FAILED})
_GOES_BACK: Final = frozenset({_A.VOIDING, _A.VOIDED})

_ADVICE: Final = {
    "05": "Your bank declined this card. Try another card, or ask your bank.",
    "51": "There is not enough money on this card. Try another card.",
    "54": "This card has expired. Try another card.",
}
"""What helps after a decline, by the rail's response code."""
_OTHER_ADVICE: Final = "The payment did not go through. You can try again."


@dataclass(frozen=True, slots=True, kw_only=True)
class PayerLimits:
    """The number of tries that a payer has, by the settings of the same names."""

    max_attempts: int
    max_otp_sends: int


@dataclass(frozen=True, slots=True)
class Shop:
    """The one whom the payer pays."""

    name: str
    logo: str
    """An image as a ``data:`` URL, since pages ask nobody else for anything; empty for none."""

    @property
    def initial(self) -> str:
        """Return what stands for a logo that is not there."""
        return self.name[:1].upper()


@dataclass(frozen=True, slots=True)
class Decline:
    """The reason for which the payer's last try did not pay."""

    advice: str
    said: str
    """The rail's own words; may be empty."""
    card: str


@dataclass(frozen=True, slots=True)
class WaitingAttempt:
    """An attempt that waits for something the payer has to do."""

    transaction_id: str
    card: str
    message: str
    wrong: bool
    """Whether the last password was not the right one."""
    can_resend: bool
    acs_url: str = ""
    jwt: str = ""
    md: str = ""


@dataclass(frozen=True, slots=True)
class PayerReceipt:
    """The facts that a payer may want to keep."""

    amount: str
    paid_at: str
    method: str
    transaction_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PayerPage:
    """The page of one order at one moment."""

    shop: Shop
    order_id: str
    reference: str
    amount: str
    stage: Stage
    message: PayerMessage
    mark: str
    """Changes whenever the page may have to say something else."""
    held: str
    """What has arrived of it and waits for the rest; empty for nothing."""
    seconds_left: int | None
    card: bool
    """Whether a card can be entered."""
    transfer: TransferPanel | None
    decline: Decline | None
    waiting: WaitingAttempt | None
    receipt: PayerReceipt | None
    shop_location: str | None
    returns: bool
    """Whether a payer who has just paid is taken there without asking."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """The things that this server can do for any order."""

    card_rail: bool
    transfers: bool
    """Whether somebody tells us of what arrives; without that no payer may be given an account number."""
    bank: Bank
    limits: PayerLimits


@dataclass(frozen=True, slots=True, kw_only=True)
class PageParts:
    """The parts of which one page is made."""

    view: OrderView
    clock_offset: int
    merchant: Merchant | None
    account: TransferAccount | None
    """Given once the payer has asked for one."""
    page_url: str


def mark_of(version: int, clock_offset: int) -> str:
    """Name a state of an order; business time counts, because a page tells how much of it is left."""
    return f"{version}.{clock_offset}"


def page_of(seen: PageParts, now: int, offer: Offer) -> PayerPage:
    """Return the page of an order; ``now`` is real time."""
    view, at = seen.view, now + seen.clock_offset
    order = Preview(view.order, at).as_due()
    money = money_of(order)
    card = offer.card_rail and allows(view, CARD_METHOD)
    card = card and order.attempt_count < offer.limits.max_attempts
    transfer = None
    if offer.transfers and allows(view, TRANSFER_METHOD):
        transfer = transfer_panel(order, money, seen.account, offer.bank, seen.page_url, at)
    waiting = _waiting(order, offer.limits)
    stage = _stage(order, money, can_pay=card or transfer is not None)
    return PayerPage(
        shop=_shop(seen.merchant),
        order_id=order.order_id,
        reference=order.reference,
        amount=formatting.amount(order.amount, order.currency),
        stage=stage,
        message=message_of(order.status, money, order.currency),
        mark=mark_of(view.order.version, seen.clock_offset),
        held=formatting.amount(money.held, order.currency) if money.held else "",
        seconds_left=_seconds_left(order, at),
        card=card and stage is Stage.PAY,
        transfer=transfer if stage is Stage.PAY else None,
        decline=_decline(order) if stage in {Stage.PAY, Stage.STUCK} else None,
        waiting=waiting if stage in _WAITS.values() else None,
        receipt=_receipt(order),
        shop_location=shop_location(view.terms.callback_url, order),
        returns=stage is Stage.PAID and money.standing is Standing.CLEAR and not money.refunded,
    )


def allows(view: OrderView, method: str) -> bool:
    """Return whether the order may be paid this way; one that names no methods may be in every way."""
    allowed = view.terms.allowed_payment_methods
    return not allowed or method in allowed


def _stage(order: Order, money: PayerMoney, *, can_pay: bool) -> Stage:
    if order.status is not OrderStatus.PENDING:
        return _ENDED[order.status]
    if money.checking:
        return Stage.CHECKING
    waits = next((_WAITS[a.status] for a in order.attempts if a.status in _WAITS), None)
    return waits or (Stage.PAY if can_pay else Stage.STUCK)


def _shop(merchant: Merchant | None) -> Shop:
    if merchant is None:
        return Shop("", "")
    return Shop(merchant.name, merchant.logo_url if merchant.logo_url.startswith("data:image/") else "")


def _seconds_left(order: Order, at: int) -> int | None:
    if order.due_at is None or order.status is not OrderStatus.PENDING:
        return None
    return -(-max(order.due_at - at, 0) // 1000)


def _decline(order: Order) -> Decline | None:
    last = order.attempts[-1] if order.attempts else None
    if last is None or last.status not in _WITHOUT_MONEY:
        return None
    return Decline(_ADVICE.get(last.response_code, _OTHER_ADVICE), last.message, _card_name(last))


def _waiting(order: Order, limits: PayerLimits) -> WaitingAttempt | None:
    attempt = next((a for a in order.attempts if a.status in _WAITS), None)
    if attempt is None:
        return None
    challenge = attempt.challenge
    return WaitingAttempt(
        transaction_id=attempt.transaction_id,
        card=_card_name(attempt),
        message=attempt.message,
        wrong=attempt.confirmations > 0,
        can_resend=attempt.otp_sends < limits.max_otp_sends,
        acs_url=challenge.acs_url if challenge and _is_web(challenge.acs_url) else "",
        jwt=challenge.jwt if challenge else "",
        md=challenge.md if challenge else "",
    )


def _is_web(url: str) -> bool:
    return urlsplit(url).scheme in {"http", "https"}


def _card_name(attempt: Attempt) -> str:
    brand = "Card" if attempt.card_brand == "N/A" else attempt.card_brand
    return f"{brand} ending in {attempt.card_masked[-4:]}"


def _receipt(order: Order) -> PayerReceipt | None:
    if order.status is not OrderStatus.PAID or order.paid_at is None or order.paid_by is None:
        return None
    attempt = order.attempt(order.paid_by)
    return PayerReceipt(
        amount=formatting.amount(order.totals.applied, order.currency),
        paid_at=formatting.moment(order.paid_at),
        method=_card_name(attempt) if attempt else "Bank transfer",
        transaction_id=order.paid_by,
    )


def shop_location(callback_url: str | None, order: Order) -> str | None:
    """Return where the order's merchant wants its payers; None when it has said no web address."""
    if callback_url is None or urlsplit(callback_url).scheme not in {"http", "https"}:
        return None
    return callback_location(callback_url, order)


def callback_location(callback_url: str, order: Order) -> str:
    """Return the shop's address with the order's names appended before a fragment (ruling 16, contract 7)."""
    parts = urlsplit(callback_url)
    ours = urlencode({"orderId": order.order_id, "orderReference": order.reference}, safe="", quote_via=quote)
    query = f"{parts.query}&{ours}" if parts.query else ours
    return urlunsplit(parts._replace(query=query))
