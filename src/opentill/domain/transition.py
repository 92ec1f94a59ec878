"""A change while it is being decided: the order so far, and the events that lead there."""

from operator import attrgetter
from typing import Any, Final, TypeVar

from msgspec import Struct
from msgspec.structs import replace

from opentill.domain.cards import SavedCard
from opentill.domain.commands import Command
from opentill.domain.events import Event, EventType, event_id
from opentill.domain.lifecycle import (
    ATTEMPT_TABLE,
    ORDER_TABLE,
    REFUSAL_IN,
    REFUSAL_OF,
    AttemptInput,
    Cell,
    OrderInput,
)
from opentill.domain.order import (
    WHOLE,
    Attempt,
    Credit,
    Method,
    Order,
    OrderStatus,
    Parts,
    Refund,
    Return,
    Terms,
)
from opentill.domain.sharing import FeeTerms, parts_of_payment

_Child = TypeVar("_Child")

_ENDED_AT: Final = {
    OrderStatus.PAID: "paid_at",
    OrderStatus.CANCELLED: "cancelled_at",
    OrderStatus.EXPIRED: "expired_at",
}


class Change(Struct, frozen=True):
    """What a command does: the order as it was judged, as it will be, and the events between.

    ``before`` is None for a new order, whose ``terms`` are then given. No events: nothing changed.
    ``saved_card`` is what the card that paid leaves behind.
    """

    before: Order | None
    after: Order
    events: tuple[Event, ...]
    terms: Terms | None = None
    saved_card: SavedCard | None = None
    met: OrderStatus | None = None
    """The status that the command met, after what was due; None for a new order."""


class Transition:
    """A change while it is being decided: the order so far, and the events that led there."""

    __slots__ = ("_before", "_fee", "at", "command", "events", "judged_version", "order", "saved_card")

    def __init__(self, order: Order, command: Command, at: int, before: OrderStatus | None, fee: FeeTerms):
        self.order = order
        self.command = command
        self.at = at
        self.events: list[Event] = []
        self.saved_card: SavedCard | None = None
        self.judged_version = order.version
        """Before anything fell due: the one that the caller can have seen."""
        self._before = before
        self._fee = fee

    def record(  # noqa: PLR0913 - one word for each thing that a step may say
        self,
        type_: EventType,
        *,
        attempt: Attempt | None = None,
        refund: Refund | None = None,
        credit: Credit | None = None,
        return_: Return | None = None,
        amount: int = 0,
        shared: Parts = WHOLE,
        reason: str | None = None,
        note: str | None = None,
        metadata: tuple[tuple[str, str], ...] = (),
        **order_changes: Any,
    ) -> None:
        """Take one step: replace the order by its next version and note the event that says so.

        The children given take the place of those of the same id; the first one is what it is about.
        """
        order = self.order
        status = order_changes.get("status", order.status)
        if status is not order.status:
            order_changes[_ENDED_AT[status]] = self.at
        if attempt is not None:
            order_changes["attempts"] = _with(order.attempts, attempt, "started_at", "transaction_id")
        if refund is not None:
            order_changes["refunds"] = _with(order.refunds, refund, "started_at", "refund_id")
        if credit is not None:
            order_changes["credits"] = _with(order.credits, credit, "arrived_at", "transaction_id")
        if return_ is not None:
            order_changes["returns"] = _with(order.returns, return_, "started_at", "transaction_id")
        self.order = replace(order, version=order.version + 1, updated_at=self.at, **order_changes)
        about = attempt or refund or credit or return_
        self.events.append(
            Event(
                event_id=event_id(self.command.command_id, len(self.events)),
                account_id=order.account_id,
                order_id=order.order_id,
                sequence=order.version + 1,
                type=type_,
                before=self._before,
                after=status,
                actor=self.command.actor,
                at=self.at,
                reason=reason,
                note=note,
                metadata=metadata,
                transaction_id=about.transaction_id if about else None,
                refund_id=refund.refund_id if refund else None,
                amount=amount,
                currency=order.currency,
                beneficiary=order.beneficiary,
                method=_method(self.order, about.transaction_id) if about else Method.CARD,
                parts=shared,
            )
        )
        self._before = status

    def record_payment(self, **said: Any) -> None:
        """The order is paid in full: the money becomes the merchant's, less the fee and shared as agreed."""
        parts = parts_of_payment(self.order, self._fee)
        self.record(EventType.PAYMENT_SUCCESS, amount=self.order.amount, shared=parts, parts=parts, **said)

    def cell(self, column: OrderInput) -> Cell:
        """Where the order's table leads from here; raises the refusal that a missing cell means."""
        cell = ORDER_TABLE[self.order.status].get(column)
        if cell is None:
            raise REFUSAL_IN.get(column) or REFUSAL_OF[self.order.status]
        return cell


def _method(order: Order, transaction_id: str) -> Method:
    return Method.TRANSFER if order.credit(transaction_id) else Method.CARD


def _with(children: tuple[_Child, ...], changed: _Child, since: str, key: str) -> tuple[_Child, ...]:
    """The children with this one, oldest first and then by name: as they come back from a store.

    What the next command of a batch sees must not depend on whether they have been there in between.
    """
    same = getattr(changed, key)
    kept: tuple[_Child, ...] = tuple(changed if getattr(c, key) == same else c for c in children)
    return kept if changed in kept else tuple(sorted((*children, changed), key=attrgetter(since, key)))


def without_waiting_attempts(order: Order, at: int) -> tuple[Attempt, ...]:
    """The attempts, those that wait for the payer abandoned; a call in flight goes on."""
    return tuple(
        replace(a, status=target, updated_at=at, challenge=None, response_code="", message="")
        if (target := ATTEMPT_TABLE[a.status].get(AttemptInput.ABANDONED))
        else a
        for a in order.attempts
    )
