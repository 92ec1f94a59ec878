"""Cancel an order for a reason, once or again, and see beforehand what would come of it (contract 10)."""

from collections.abc import Iterator
from enum import StrEnum
from functools import partial
from typing import Annotated, Any, Final

from msgspec import Meta

from opentill.api.http.call import Call
from opentill.api.http.decode import Text
from opentill.api.nomba.creation import MetadataText
from opentill.api.nomba.replies import cancel_reply
from opentill.api.own.allowed import CANCEL, what_is_allowed
from opentill.api.wire import RECORD_NOT_FOUND, Reply, WireStruct
from opentill.domain.commands import CancelOrRefund, EnsureCancelled
from opentill.domain.money import major_units
from opentill.domain.names import uuid_of
from opentill.domain.order import Order, OrderStatus
from opentill.domain.preview import Preview
from opentill.domain.refusals import Refusal
from opentill.domain.transition import Change
from opentill.store.orders.contract import OrderView, Snapshot

_MOST_METADATA: Final = 50


class CancelReason(StrEnum):
    """The reason for which an order is cancelled."""

    CUSTOMER_REQUEST = "customer_request"
    ABANDONED = "abandoned"
    DUPLICATE = "duplicate"
    FRAUD_SUSPECTED = "fraud_suspected"
    OUT_OF_STOCK = "out_of_stock"
    PRICE_CHANGED = "price_changed"
    EXPIRED = "expired"
    TEST = "test"
    OTHER = "other"


class CancelMode(StrEnum):
    """The choice of what becomes of an order that is paid."""

    ONLY_IF_UNPAID = "only_if_unpaid"
    """It stays as it is, and the cancel is refused."""
    CANCEL_OR_REFUND = "cancel_or_refund"
    """What is left of its payment is refunded."""


class CancelSaid(WireStruct, kw_only=True):
    """The words that are remembered of a cancel, in the order's timeline and the feed."""

    reason: CancelReason | None = None
    note: Text | None = None
    metadata: Annotated[dict[Text, MetadataText], Meta(max_length=_MOST_METADATA)] | None = None

    def members(self) -> dict[str, Any]:
        """Return the same as members of a CancelOrder."""
        return {
            "reason": self.reason and self.reason.value,
            "note": self.note,
            "metadata": tuple((self.metadata or {}).items()),
        }


class CancelInFull(CancelSaid, kw_only=True):
    """The kind of cancel, and its reason."""

    mode: CancelMode | None = None
    """``only_if_unpaid`` where nothing else is said."""
    if_version: Annotated[int, Meta(ge=1)] | None = None
    """The version that the order must still have."""


class CancellationQuery(WireStruct):
    """The cancel that is thought of."""

    mode: CancelMode = CancelMode.ONLY_IF_UNPAID


class AttemptFate(WireStruct):
    """An attempt that the cancel would end, or whose call to the card processor would go on."""

    transaction_id: str
    status: str
    becomes: str
    """Of one that goes on, an approval would be voided."""


class CreditFate(WireStruct):
    """A transfer whose held money the cancel would send back."""

    credit_id: str
    transaction_id: str
    amount: str
    currency: str


class RefundBegun(WireStruct):
    """The refund that would be begun."""

    amount: str
    currency: str


class Cancellation(WireStruct, kw_only=True):
    """The effect of a cancel of this order now, as long as the order is at this version."""

    allowed: bool
    reason: str | None
    """That of the refusal, where it would be refused."""
    instead: str | None
    status: str
    """Which the order would then have."""
    already_cancelled: bool
    already_refunded: bool
    version: int
    """Which the order has now; to be sent as ``ifVersion``."""
    attempts: list[AttemptFate]
    credits: list[CreditFate]
    refund: RefundBegun | None
    events: list[str]
    """What would be added to the timeline at once, in this order."""


async def cancel_in_full(call: Call) -> Reply:
    """End an order, or where it is paid refund it if that is wanted. Asked again it changes nothing."""
    body: CancelInFull = call.body or CancelInFull()
    name = call.path_text("orderReference")
    said = body.members() | {"name": name, "if_version": body.if_version}
    if body.mode is not CancelMode.CANCEL_OR_REFUND:
        return await call.submit(EnsureCancelled(**call.command(), **said), cancel_reply)
    command = CancelOrRefund(
        **call.command(),
        **said,
        refund_id=call.deps.ids.uuid(),
        call_until=call.deps.card_payments.call_until(),
        reply_key=call.key,
    )
    asking = call.asking(partial(cancel_reply, refund_id=command.refund_id))
    return call.answer_of(await call.deps.card_payments.refund(command, asking))


async def preview_cancellation(call: Call) -> Reply:
    """Answer what a cancel would do now; nothing is changed."""
    name = call.account_id, call.path_text("orderReference")
    query: CancellationQuery = call.query

    def ask(snapshot: Snapshot) -> tuple[OrderView | None, int]:
        return snapshot.orders([name]).get(name), snapshot.facts(()).due_by(call.now)

    view, due_by = await call.deps.reader.ask(ask, call.token)
    if view is None:
        return RECORD_NOT_FOUND
    return call.success(cancellation(view.order, query.mode, due_by))


def cancellation(order: Order, mode: CancelMode, at: int) -> Cancellation:
    """Return what ``decide`` says to a cancel at business time ``at``: the decision that a cancel meets."""
    preview = Preview(order, at)
    refunds = mode is CancelMode.CANCEL_OR_REFUND
    outcome = preview.cancel_or_refund() if refunds else preview.ensure_cancelled()
    return _refused(order, outcome, at) if isinstance(outcome, Refusal) else _granted(order, outcome)


def _granted(order: Order, change: Change) -> Cancellation:
    after = change.after
    refunded = after.totals.refunded - order.totals.refunded
    return Cancellation(
        allowed=True,
        reason=None,
        instead=None,
        status=after.status.value,
        already_cancelled=change.met is OrderStatus.CANCELLED,
        already_refunded=after.status is OrderStatus.PAID and not refunded,
        version=order.version,
        attempts=list(_fates(order, after)),
        credits=list(_sent_back(order, after)),
        refund=RefundBegun(major_units(refunded, order.currency), order.currency) if refunded else None,
        events=[event.type.value for event in change.events],
    )


def _fates(before: Order, after: Order) -> Iterator[AttemptFate]:
    for was, becomes in zip(before.attempts, after.attempts, strict=True):
        if was.status is not becomes.status or was.call is not None:
            yield AttemptFate(was.transaction_id, was.status.value, becomes.status.value)


def _sent_back(before: Order, after: Order) -> Iterator[CreditFate]:
    for was, becomes in zip(before.credits, after.credits, strict=True):
        if gone := was.held - becomes.held:
            name, currency = was.transaction_id, before.currency
            yield CreditFate(uuid_of(name), name, major_units(gone, currency), currency)


def _refused(order: Order, refusal: Refusal, at: int) -> Cancellation:
    allowed = what_is_allowed(order, at, max_attempts=0)
    return Cancellation(
        allowed=False,
        reason=refusal.reason,
        instead=next(each.instead for each in allowed if each.action == CANCEL),
        status=order.status.value,
        already_cancelled=False,
        already_refunded=False,
        version=order.version,
        attempts=[],
        credits=[],
        refund=None,
        events=[],
    )
