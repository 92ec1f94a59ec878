"""Is an order paid? The checkout transaction, which merchants verify by (contract 3.5)."""

from typing import Final

from opentill.api.http.call import Call
from opentill.api.http.decode import ReferenceText, Text
from opentill.api.nomba.views import (
    APPROVED_MESSAGE,
    NONE,
    OrderShown,
    OrderWithBusiness,
    order_view,
    order_with_business,
)
from opentill.api.wire import (
    MAGIC_REFERENCE,
    RECORD_NOT_FOUND,
    Rejected,
    Reply,
    WireStruct,
    invalid,
    iso_time,
)
from opentill.domain.order import Attempt, Credit, Order, OrderStatus
from opentill.settings import Settings
from opentill.store.orders.contract import OrderView

_ID_TYPES: Final = frozenset({"order_id", "order_reference", "orderid", "orderreference"})


class CheckoutQuery(WireStruct):
    """The order that is asked for; either kind of name is found under either ``idType``."""

    id_type: Text
    id: Text


class TransactionDetails(WireStruct):
    """The payment of an order."""

    transaction_date: str
    payment_reference: str
    payment_vendor_reference: str
    tokenized_card_payment: bool
    status_code: str


class CardPaid(WireStruct):
    """The card an order was paid with."""

    card_pan: str
    card_type: str
    card_currency: str
    card_bank: str


class TransferPaid(WireStruct):
    """The transfer an order was paid with."""

    session_id: str
    beneficiary_account_name: str
    beneficiary_account_number: str
    originator_account_name: str
    originator_account_number: str
    narration: str
    destination_institution_code: str
    payment_reference: str


class CheckoutTransaction(WireStruct):
    """An order and its payment, if it is paid."""

    success: bool
    message: str
    order: OrderShown | None = None
    transaction_details: TransactionDetails | None = None
    transfer_details: TransferPaid | None = None
    card_details: CardPaid | None = None


class ReceiptRequest(WireStruct):
    """The order that may have been paid meanwhile."""

    order_reference: ReferenceText


class Receipt(WireStruct):
    """The answer to the question whether the money of an order was received."""

    status: bool
    message: str
    order: OrderWithBusiness


_UNKNOWN: Final = CheckoutTransaction(
    success=False, message="No transaction found for the provided orderId/orderReference"
)


async def checkout_transaction(call: Call) -> Reply:
    """Answer whether an order is paid; an unknown one is told as success false, not as an error."""
    wanted: CheckoutQuery = call.query
    if wanted.id_type.lower() not in _ID_TYPES:
        raise invalid("idType must be ORDER_ID or ORDER_REFERENCE")
    name = call.reference(wanted.id, "id")
    if call.deps.sandbox and name == MAGIC_REFERENCE:
        raise Rejected(RECORD_NOT_FOUND)
    view = await call.deps.reader.order(call.account_id, name, call.token)
    return call.success(_UNKNOWN if view is None else _checkout_transaction(view, call.deps.settings))


async def confirm_receipt(call: Call) -> Reply:
    """Answer whether an order is paid by now; asks and changes nothing (contract 3.11)."""
    body: ReceiptRequest = call.body
    name = call.reference(body.order_reference, "orderReference")
    view = await call.deps.reader.order(call.account_id, name, call.token)
    merchant = await call.deps.account_cache.merchant(call.account_id)
    if view is None or merchant is None:
        return RECORD_NOT_FOUND
    paid = view.order.status is OrderStatus.PAID
    message = APPROVED_MESSAGE if paid else view.order.status.value
    return call.success(Receipt(paid, message, order_with_business(view, merchant)))


def _checkout_transaction(view: OrderView, settings: Settings) -> CheckoutTransaction:
    order = view.order
    transaction_id = order.paid_by or ""
    payment = order.attempt(transaction_id) or order.credit(transaction_id)
    if order.status is not OrderStatus.PAID or payment is None:
        return CheckoutTransaction(success=False, message=order.status.value, order=order_view(view))
    return CheckoutTransaction(
        success=True,
        message=APPROVED_MESSAGE,
        order=order_view(view),
        transaction_details=TransactionDetails(
            transaction_date=iso_time(order.paid_at or order.updated_at),
            payment_reference=transaction_id,
            payment_vendor_reference=payment.session_id if isinstance(payment, Credit) else transaction_id,
            tokenized_card_payment=isinstance(payment, Attempt) and payment.saved_card is not None,
            status_code=APPROVED_MESSAGE,
        ),
        transfer_details=_transfer_paid(payment, settings) if isinstance(payment, Credit) else None,
        card_details=_card_paid(payment, order) if isinstance(payment, Attempt) else None,
    )


def _card_paid(attempt: Attempt, order: Order) -> CardPaid:
    return CardPaid(attempt.card_masked, attempt.card_brand, order.currency, NONE)


def _transfer_paid(credit: Credit, settings: Settings) -> TransferPaid:
    """Return the transfer that completed the payment; what its bank did not say is empty."""
    return TransferPaid(
        session_id=credit.session_id,
        beneficiary_account_name=settings.transfer_account_name,
        beneficiary_account_number=credit.account_number,
        originator_account_name=credit.sender.name,
        originator_account_number=credit.sender.account_number,
        narration=credit.narration,
        destination_institution_code=settings.transfer_bank_code,
        payment_reference=credit.transaction_id,
    )
