"""An order with all that happened to it and all that may (contract 10), as its merchant sees it."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final

from msgspec import UNSET, UnsetType

from opentill.api.nomba.views import OrderShown, order_members
from opentill.api.own.allowed import Allowed
from opentill.api.wire import WireStruct, iso_time
from opentill.domain.events import Event, EventType
from opentill.domain.money import major_units
from opentill.domain.names import return_id, uuid_of
from opentill.domain.order import Attempt, Credit, Method, Order, OrderStatus, Refund, Return
from opentill.store.orders.contract import OrderView


class MoneyShown(WireStruct):
    """The money of one order; received = applied + held + returning + returned at every moment."""

    received: str
    applied: str
    held: str
    returning: str
    returned: str
    refunded: str
    """Given back of what was applied, running refunds included."""
    currency: str
    disputed: str | UnsetType = UNSET
    """Paid out by a rail beyond all of these; given where there is any."""


class AttemptShown(WireStruct):
    """One try of a payer to pay by card; ``status`` is opentill's own word (docs/states.md)."""

    transaction_id: str
    status: str
    amount: str
    card_pan: str
    card_type: str
    started_at: str
    updated_at: str
    response_code: str
    message: str


class RefundShown(WireStruct):
    """One refund; ``status`` is opentill's own word (docs/states.md)."""

    id: str
    transaction_id: str
    status: str
    amount: str
    account_number: str | None
    bank_code: str | None
    started_at: str
    updated_at: str
    response_code: str
    message: str


class CreditShown(WireStruct):
    """One bank transfer that arrived; where its money is says ``applied``, ``held`` and its return.

    ``disposition`` is what was decided when it arrived: applied, held, excess or late.
    """

    credit_id: str
    transaction_id: str
    disposition: str
    amount: str
    applied: str
    held: str
    session_id: str
    account_number: str
    sender_name: str
    sender_account_number: str
    sender_bank_code: str
    narration: str
    transferred_at: str
    arrived_at: str


class ReturnShown(WireStruct):
    """MoneyShown of a transfer that goes back, never applied; ``status`` as in docs/states.md."""

    id: str
    transaction_id: str
    kind: str
    status: str
    amount: str
    started_at: str
    updated_at: str
    bank_reference: str
    response_code: str
    message: str


class ActorShown(WireStruct):
    """The one who was behind an event."""

    kind: str
    id: str


class EventShown(WireStruct):
    """One thing that happened to an order. All of them together tell its state (contract 10).

    In the feed also what happened to a webhook endpoint, which has no order: reference and sequence are null.
    """

    id: str
    type: str
    order_reference: str | None
    sequence: int | None
    before: str | None
    after: str
    actor: ActorShown
    reason: str | None
    note: str | None
    at: str
    data: Mapping[str, str | dict[str, str]]
    """Transaction, method, refund, return, money and metadata of the event, those that it has.

    ``fee`` and ``shares``, by account, are what of the money is not that of the order's own account. Of a new
    order, what was agreed. Of what happened to an endpoint, its id.
    """


class AllowedShown(WireStruct):
    """An action that may be done now, or if not, why, and what may be done in its place."""

    action: str
    allowed: bool
    reason: str | None
    instead: str | None


class OrderInList(OrderShown, kw_only=True):
    """An order with its version and times."""

    version: int
    created_at: str
    due_at: str | None
    ended_at: str | None


class ShareShown(WireStruct):
    """The share that another account of the merchant got of a payment."""

    account_id: str
    amount: str


class OrderInFull(OrderInList, kw_only=True):
    """An order with all that happened to it and all that may."""

    money: MoneyShown
    fee: str
    """What the payment cost the merchant; kept when it is refunded (ruling 19)."""
    shares: list[ShareShown]
    """Who shared in the payment; a refund takes them back pro rata, and the rest from the order's account."""
    attempts: list[AttemptShown]
    credits: list[CreditShown]
    refunds: list[RefundShown]
    returns: list[ReturnShown]
    timeline: list[EventShown]
    allowed: list[AllowedShown]


def order_in_list(view: OrderView) -> OrderInList:
    """Return the order as it stands."""
    return OrderInList(**_list_members(view))


def _list_members(view: OrderView) -> dict[str, Any]:
    order = view.order
    return {
        **order_members(view),
        "version": order.version,
        "created_at": iso_time(order.created_at),
        "due_at": _time(order.due_at),
        "ended_at": _time(_ENDED_AT[order.status](order)),
    }


def full_order_view(view: OrderView, events: list[Event], allowed: list[Allowed]) -> OrderInFull:
    """Return the order with the events that led to it and what it allows now."""
    order = view.order
    return OrderInFull(
        **_list_members(view),
        money=money_view(order),
        fee=major_units(order.parts.fee, order.currency),
        shares=[
            ShareShown(account, major_units(amount, order.currency)) for account, amount in order.parts.shares
        ],
        attempts=[_attempt(order, each) for each in order.attempts],
        credits=[_credit(order, each) for each in order.credits],
        refunds=[refund_view(order, each) for each in order.refunds],
        returns=[_return(order, each) for each in order.returns],
        timeline=[event_view(each, order.reference, view) for each in events],
        allowed=[_allowed(each) for each in allowed],
    )


_ENDED_AT: Final[dict[OrderStatus, Callable[[Order], int | None]]] = {
    OrderStatus.PENDING: lambda _: None,
    OrderStatus.PAID: lambda order: order.paid_at,
    OrderStatus.CANCELLED: lambda order: order.cancelled_at,
    OrderStatus.EXPIRED: lambda order: order.expired_at,
}


def _time(at: int | None) -> str | None:
    return None if at is None else iso_time(at)


def money_view(order: Order) -> MoneyShown:
    """Return where the money of the order stands."""

    def shown(minor: int) -> str:
        return major_units(minor, order.currency)

    totals, disputed = order.totals, order.disputed
    return MoneyShown(
        received=shown(totals.received),
        applied=shown(totals.applied),
        held=shown(totals.held),
        returning=shown(totals.returning),
        returned=shown(totals.returned),
        refunded=shown(totals.refunded),
        currency=order.currency,
        disputed=shown(disputed) if disputed else UNSET,
    )


def _attempt(order: Order, attempt: Attempt) -> AttemptShown:
    return AttemptShown(
        transaction_id=attempt.transaction_id,
        status=attempt.status.value,
        amount=major_units(attempt.amount, order.currency),
        card_pan=attempt.card_masked,
        card_type=attempt.card_brand,
        started_at=iso_time(attempt.started_at),
        updated_at=iso_time(attempt.updated_at),
        response_code=attempt.response_code,
        message=attempt.message,
    )


def refund_view(order: Order, refund: Refund) -> RefundShown:
    """Return a refund of this order."""
    return RefundShown(
        id=refund.refund_id,
        transaction_id=refund.transaction_id,
        status=refund.status.value,
        amount=major_units(refund.amount, order.currency),
        account_number=refund.account_number,
        bank_code=refund.bank_code,
        started_at=iso_time(refund.started_at),
        updated_at=iso_time(refund.updated_at),
        response_code=refund.response_code,
        message=refund.message,
    )


def _credit(order: Order, credit: Credit) -> CreditShown:
    sender = credit.sender
    return CreditShown(
        credit_id=uuid_of(credit.transaction_id),
        transaction_id=credit.transaction_id,
        disposition=credit.disposition.value,
        amount=major_units(credit.amount, order.currency),
        applied=major_units(credit.applied, order.currency),
        held=major_units(credit.held, order.currency),
        session_id=credit.session_id,
        account_number=credit.account_number,
        sender_name=sender.name,
        sender_account_number=sender.account_number,
        sender_bank_code=sender.bank_code,
        narration=credit.narration,
        transferred_at=iso_time(credit.transferred_at),
        arrived_at=iso_time(credit.arrived_at),
    )


def _return(order: Order, return_: Return) -> ReturnShown:
    return ReturnShown(
        id=return_id(return_.transaction_id),
        transaction_id=return_.transaction_id,
        kind=return_.kind.value,
        status=return_.status.value,
        amount=major_units(return_.amount, order.currency),
        started_at=iso_time(return_.started_at),
        updated_at=iso_time(return_.updated_at),
        bank_reference=return_.bank_reference,
        response_code=return_.response_code,
        message=return_.message,
    )


def event_view(event: Event, reference: str, view: OrderView | None) -> EventShown:
    """Return an event of the order of this reference; ``view`` is that order, needed where it was created."""
    return EventShown(
        id=event.event_id,
        type=event.type.value,
        order_reference=reference,
        sequence=event.sequence,
        before=event.before and event.before.value,
        after=event.after.value,
        actor=ActorShown(event.actor.kind.value, event.actor.id),
        reason=event.reason,
        note=event.note,
        at=iso_time(event.at),
        data=_agreed(view) if event.type is EventType.ORDER_CREATED and view else _moved(event),
    )


_OF_A_RETURN: Final = frozenset(
    {
        EventType.RETURN_STARTED,
        EventType.RETURN_TRIED,
        EventType.RETURN_UNKNOWN,
        EventType.RETURN_REFUSED,
        EventType.RETURN_CLOSING,
        EventType.RETURN_PARKED,
        EventType.RETURN_RETRIED,
        EventType.PAYMENT_REVERSAL,
        EventType.PAYOUT_DISPUTED,
    }
)


def _moved(event: Event) -> Mapping[str, str | dict[str, str]]:
    metadata = {"metadata": dict(event.metadata)} if event.metadata else {}
    money = {"amount": major_units(event.amount, event.currency), "currency": event.currency}
    by_transfer = event.method is Method.TRANSFER
    goes_back = by_transfer and event.type in _OF_A_RETURN and event.refund_id is None
    about = {
        "transactionId": event.transaction_id,
        "method": event.method.value if by_transfer else None,
        "refundId": event.refund_id,
        "returnId": return_id(event.transaction_id) if goes_back and event.transaction_id else None,
    }
    moved = {name: text for name, text in about.items() if text} | (money if event.amount else {})
    return {**moved, **_parts(event), **metadata}


def _parts(event: Event) -> Mapping[str, str | dict[str, str]]:
    shown = partial(major_units, currency=event.currency)
    fee = {"fee": shown(event.parts.fee)} if event.parts.fee else {}
    shares = {account: shown(amount) for account, amount in event.parts.shares}
    return fee | ({"shares": shares} if shares else {})


def _agreed(view: OrderView) -> Mapping[str, str | dict[str, str]]:
    """Return what was agreed with a new order and never changes, without what was left open."""
    order, terms = view.order, view.terms
    due = {"dueAt": iso_time(order.due_at), "dueAction": order.due_action.value} if order.due_at else {}
    about = {
        "orderId": order.order_id,
        "accountId": order.beneficiary,
        "amount": major_units(order.amount, order.currency),
        "currency": order.currency,
        "customerEmail": terms.customer_email,
        "customerId": terms.customer_id,
        "callbackUrl": terms.callback_url,
        "orderMetaData": dict(terms.metadata),
        **_split(order),
    }
    return {name: value for name, value in about.items() if value} | due


def _split(order: Order) -> Mapping[str, str | dict[str, str]]:
    """Return the split as it was asked for; percentages have two decimals, as amounts do."""
    if order.split is None:
        return {}
    shares = {account: major_units(value, order.currency) for account, value in order.split.shares}
    return {"splitType": order.split.kind.value, "splitList": shares}


def _allowed(each: Allowed) -> AllowedShown:
    reason = each.refusal.reason if each.refusal else None
    return AllowedShown(each.action, each.refusal is None, reason, each.instead)
