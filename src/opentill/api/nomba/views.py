"""Orders and transactions as merchants see them (contract 3.3 to 3.5), and the words of contract 4."""

from typing import Any, Final

from opentill.api.wire import WireStruct, iso_time
from opentill.domain.money import major_units
from opentill.domain.names import merchant_tx_ref
from opentill.domain.order import Attempt, AttemptStatus, Credit, Order, ReturnStatus
from opentill.store.accounts.contract import Merchant
from opentill.store.orders.contract import OrderView, TransactionView, TransferState
from opentill.store.outbox.contract import Delivery, DeliveryState

NONE: Final = "N/A"
"""What the wire says where a text is empty."""

APPROVED_MESSAGE: Final = "PAYMENT SUCCESSFUL"

_A = AttemptStatus
TRANSACTION_STATUS: Final[dict[AttemptStatus, str]] = {
    _A.CALLING: "PENDING_BILLING",
    _A.AWAITING_OTP: "PENDING_BILLING",
    _A.AWAITING_3DS: "PENDING_BILLING",
    _A.UNKNOWN: "PENDING_BILLING",
    _A.APPROVED: "SUCCESS",
    _A.DECLINED: "PAYMENT_FAILED",
    _A.FAILED: "PAYMENT_FAILED",
    _A.CANCELLED: "CANCELLED",
    _A.VOIDING: "REFUND",
    _A.VOIDED: "REFUND",
}
"""The word of the wire for each state of an attempt; an approved one reads REFUND once all is back."""

TRANSFER_STATUS: Final[dict[TransferState, str]] = {
    TransferState.PAID: "SUCCESS",
    TransferState.HELD: "PENDING_BILLING",
    TransferState.SENT_BACK: "REFUND",
}
"""The same for transfers; money that no order wanted reads REFUND from the moment it is to go back."""

_SAME_AS: Final = {"PAYMENT_SUCCESSFUL": "SUCCESS", "PENDING_PAYMENT": "PENDING_BILLING"}
FILTER_WORDS: Final = (*sorted(set(TRANSACTION_STATUS.values())), *_SAME_AS, "NEW", "REVERSED_BY_VENDOR")
"""The words a list can be filtered by; the last two are of the wire and never found here."""


REFUNDED: Final = TRANSACTION_STATUS[_A.VOIDED]
"""The word for a payment of which everything is back."""


def statuses_of(word: str) -> frozenset[str]:
    """Return the statuses of attempts and transfers that a filter word stands for; empty for none.

    A payment that was wholly refunded is found by ``REFUNDED`` instead of by its own status.
    """
    wanted = _SAME_AS.get(word, word)
    words = TRANSACTION_STATUS | TRANSFER_STATUS
    return frozenset(status.value for status, shown in words.items() if shown == wanted)


DELIVERY_STATUS: Final[dict[tuple[DeliveryState, bool], str]] = {
    (DeliveryState.PENDING, False): "INITIATED",
    (DeliveryState.PENDING, True): "INITIATED",
    (DeliveryState.DELIVERED, True): "PUSHED",
    (DeliveryState.DEAD, True): "FAILED",
    (DeliveryState.DEAD, False): "INCONCLUSIVE",
}
"""The webhook log's word (contract 5.6) for a delivery and whether its last try was answered."""


def delivery_status(delivery: Delivery) -> str:
    """Return the word of the webhook log for this delivery."""
    return DELIVERY_STATUS[delivery.state, delivery.status is not None]


class OrderShown(WireStruct, kw_only=True):
    """An order (contract 3.3); amounts are strings of major units with two decimals."""

    order_id: str
    account_id: str
    order_reference: str
    amount: str
    currency: str
    customer_id: str | None
    customer_email: str
    callback_url: str | None
    order_meta_data: dict[str, str]
    status: str
    amount_paid: str
    amount_refunded: str


class OrderWithBusiness(OrderShown, kw_only=True):
    """An order together with the merchant that it is for."""

    business_name: str
    business_email: str
    business_logo: str


def order_view(view: OrderView) -> OrderShown:
    """Return the order without its merchant (contract 3.5)."""
    return OrderShown(**order_members(view))


def order_with_business(view: OrderView, merchant: Merchant) -> OrderWithBusiness:
    """Return the order with its merchant (contract 3.3)."""
    return OrderWithBusiness(
        business_name=merchant.name,
        business_email=merchant.email,
        business_logo=merchant.logo_url,
        **order_members(view),
    )


def order_members(view: OrderView) -> dict[str, Any]:
    """Return the members of an ``OrderShown``."""
    order, terms = view.order, view.terms
    return {
        "order_id": order.order_id,
        "account_id": order.beneficiary,
        "order_reference": order.reference,
        "amount": major_units(order.amount, order.currency),
        "currency": order.currency,
        "customer_id": terms.customer_id,
        "customer_email": terms.customer_email,
        "callback_url": terms.callback_url,
        "order_meta_data": dict(terms.metadata),
        "status": order.status.value,
        "amount_paid": major_units(order.totals.applied, order.currency),
        "amount_refunded": major_units(order.totals.refunded, order.currency),
    }


class TransactionShown(WireStruct, kw_only=True):
    """One try to pay an order, by card or by transfer (contract 3.4)."""

    id: str
    status: str
    amount: str
    fixed_charge: str
    """What the payment cost the merchant; nothing where this did not pay."""
    wallet_balance: str
    """What this payment has left in the merchant's wallet."""
    source: str = "web"
    type: str = "online_checkout"
    entry_type: str = "CREDIT"
    gateway_message: str
    time_created: str
    time_updated: str
    currency: str
    wallet_currency: str
    customer_biller_id: str
    billing_vendor_reference: str
    payment_vendor_reference: str
    user_id: str
    merchant_tx_ref: str
    online_checkout_order_id: str
    online_checkout_order_reference: str
    online_checkout_amount: str
    online_checkout_currency: str
    online_checkout_customer_email: str
    online_checkout_customer_id: str
    online_checkout_payment_method: str
    online_checkout_token_key: str = NONE
    online_checkout_token_expiry_month: str = NONE
    online_checkout_token_expiry_year: str = NONE
    online_checkout_card_pan: str
    online_checkout_card_pan_last4_digits: str
    online_checkout_card_type: str
    online_checkout_tokenized_card_payment: str = "false"


CARD: Final = "card_payment"
TRANSFER: Final = "bank_transfer"


def transaction_view(view: TransactionView) -> TransactionShown:
    """Return one transaction with the order that it is about."""
    payment, order, currency = view.payment, view.order, view.order.currency
    own = _of_card(payment) if isinstance(payment, Attempt) else _of_transfer(payment, order)
    if view.wholly_refunded:
        own["status"] = REFUNDED
    return TransactionShown(
        id=payment.transaction_id,
        fixed_charge=major_units(_fee(payment, order), currency),
        wallet_balance=major_units(_left_in_wallet(payment, order), currency),
        time_created=iso_time(view.began_at),
        currency=currency,
        wallet_currency=currency,
        billing_vendor_reference=payment.transaction_id,
        user_id=order.account_id,
        merchant_tx_ref=merchant_tx_ref(payment.transaction_id),
        online_checkout_order_id=order.order_id,
        online_checkout_order_reference=order.reference,
        online_checkout_amount=major_units(order.amount, currency),
        online_checkout_currency=currency,
        online_checkout_customer_email=view.terms.customer_email,
        online_checkout_customer_id=view.terms.customer_id or NONE,
        amount=major_units(own.pop("amount"), currency),
        time_updated=iso_time(own.pop("updated_at")),
        **own,
    )


def _of_card(attempt: Attempt) -> dict[str, Any]:
    status = TRANSACTION_STATUS[attempt.status]
    approved = attempt.status is _A.APPROVED
    return {
        "status": status,
        "amount": attempt.amount,
        "gateway_message": APPROVED_MESSAGE if approved else attempt.message or status,
        "updated_at": attempt.updated_at,
        "customer_biller_id": attempt.card_masked,
        "payment_vendor_reference": attempt.transaction_id,
        "online_checkout_payment_method": CARD,
        "online_checkout_card_pan": attempt.card_masked,
        "online_checkout_card_pan_last4_digits": attempt.card_masked[-4:],
        "online_checkout_card_type": attempt.card_brand,
        "online_checkout_tokenized_card_payment": "true" if attempt.saved_card else "false",
    }


_TRANSFER_MESSAGE: Final[dict[TransferState, str]] = {
    TransferState.PAID: APPROVED_MESSAGE,
    TransferState.HELD: "The money is held",
    TransferState.SENT_BACK: "The money is being returned",
}


_BACK: Final = frozenset({ReturnStatus.DONE, ReturnStatus.DISPUTED})


def _of_transfer(credit: Credit, order: Order) -> dict[str, Any]:
    """Return a transfer's members: with all that was applied if it completed the order, else its own."""
    state, left = TransferState.of(credit), order.return_of(credit.transaction_id)
    paid = credit.transaction_id == order.paid_by
    back = state is TransferState.SENT_BACK and left is not None and left.status in _BACK
    if paid:
        amount, updated_at = order.totals.applied, order.paid_at
    else:
        amount, updated_at = credit.applied or credit.amount, left.updated_at if left else None
    return {
        "status": TRANSFER_STATUS[state],
        "amount": amount,
        "gateway_message": "The money was returned" if back else _TRANSFER_MESSAGE[state],
        "updated_at": updated_at or credit.arrived_at,
        "customer_biller_id": credit.sender.account_number or NONE,
        "payment_vendor_reference": credit.session_id,
        "online_checkout_payment_method": TRANSFER,
        "online_checkout_card_pan": NONE,
        "online_checkout_card_pan_last4_digits": NONE,
        "online_checkout_card_type": NONE,
    }


def _left_in_wallet(payment: Attempt | Credit, order: Order) -> int:
    if payment.transaction_id != order.paid_by:
        return 0
    return order.totals.applied - order.parts.fee - order.totals.refunded


def _fee(payment: Attempt | Credit, order: Order) -> int:
    return order.parts.fee if payment.transaction_id == order.paid_by else 0
