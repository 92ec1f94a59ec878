"""A change while it is being decided: the order so far, and the events that lead there."""

from typing import TypeAlias, TypeVar, assert_never

from msgspec import Struct
from msgspec.structs import replace

from opentill.domain.commands import Command
from opentill.domain.events import NO_REMARK, Event, EventType, Remark, event_id
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
    SavedCard,
    Terms,
)
from opentill.domain.sharing import FeeTerms, parts_of_payment

Child: TypeAlias = Attempt | Refund | Credit | Return
"""What belongs to an order and changes with it."""

_Child = TypeVar("_Child", bound=Child)


class Change(Struct, frozen=True):
    """The effect of a command: the order as it was judged, as it will be, and the events between.

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
    """A change in the making, at one moment of business time: each step leads to one more event."""

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

    def record(
        self,
        type_: EventType,
        order: Order,
        about: Child | None = None,
        *,
        amount: int = 0,
        parts: Parts = WHOLE,
        remark: Remark = NO_REMARK,
    ) -> None:
        """Take one step: make ``order`` the order's next version and note the event that says so.

        ``about`` is what the event is about; it takes the place of the child of the same id. ``amount`` is
        the money that moves, in minor units, and ``parts`` what of it is not the beneficiary's. A status
        that is new is stamped with the time of the change.
        """
        if about is not None:
            order = with_child(order, about)
        if order.status is not self.order.status:
            order = _stamped(order, self.at)
        self.order = order = replace(order, version=self.order.version + 1, updated_at=self.at)
        self.events.append(
            Event(
                event_id=event_id(self.command.command_id, len(self.events)),
                account_id=order.account_id,
                order_id=order.order_id,
                sequence=order.version,
                type=type_,
                before=self._before,
                after=order.status,
                actor=self.command.actor,
                at=self.at,
                reason=remark.reason,
                note=remark.note,
                metadata=remark.metadata,
                transaction_id=about.transaction_id if about else None,
                refund_id=about.refund_id if isinstance(about, Refund) else None,
                amount=amount,
                currency=order.currency,
                beneficiary=order.beneficiary,
                method=_method(order, about),
                parts=parts,
            )
        )
        self._before = order.status

    def record_payment(self, order: Order, paid_by: Attempt | Credit) -> None:
        """Note that the order is paid: its money is the merchant's, less the fee, shared as agreed."""
        parts = parts_of_payment(order, self._fee)
        order = replace(order, paid_by=paid_by.transaction_id, parts=parts)
        self.record(EventType.PAYMENT_SUCCESS, order, paid_by, amount=order.amount, parts=parts)

    def cell(self, column: OrderInput) -> Cell:
        """Return where the order's table leads from here; raises the refusal that a missing cell means."""
        cell = ORDER_TABLE[self.order.status].get(column)
        if cell is None:
            raise REFUSAL_IN.get(column) or REFUSAL_OF[self.order.status]
        return cell


def _stamped(order: Order, at: int) -> Order:
    match order.status:
        case OrderStatus.PAID:
            return replace(order, paid_at=at)
        case OrderStatus.CANCELLED:
            return replace(order, cancelled_at=at)
        case OrderStatus.EXPIRED:
            return replace(order, expired_at=at)
        case OrderStatus.PENDING:
            return order  # no cell leads back to it
        case _:
            assert_never(order.status)


def _method(order: Order, about: Child | None) -> Method:
    return Method.TRANSFER if about and order.credit(about.transaction_id) else Method.CARD


def with_child(order: Order, child: Child) -> Order:
    """Return the order with this child in the place of the one of its id."""
    match child:
        case Attempt():
            return replace(order, attempts=_placed(order.attempts, child))
        case Refund():
            return replace(order, refunds=_placed(order.refunds, child))
        case Credit():
            return replace(order, credits=_placed(order.credits, child))
        case Return():
            return replace(order, returns=_placed(order.returns, child))
        case _:
            assert_never(child)


def _placed(children: tuple[_Child, ...], changed: _Child) -> tuple[_Child, ...]:
    """Return the children with this one, oldest first and then by id: as they come back from a store.

    What the next command of a batch sees must not depend on whether they have been there in between.
    """
    same = _id(changed)
    if any(_id(child) == same for child in children):
        return tuple(changed if _id(child) == same else child for child in children)
    return tuple(sorted((*children, changed), key=_age))


def _id(child: Child) -> str:
    return child.refund_id if isinstance(child, Refund) else child.transaction_id


def _age(child: Child) -> tuple[int, str]:
    return child.arrived_at if isinstance(child, Credit) else child.started_at, _id(child)


def without_waiting_attempts(order: Order, at: int) -> tuple[Attempt, ...]:
    """Return the attempts, those that wait for the payer abandoned; a call in flight goes on."""
    return tuple(
        replace(a, status=target, updated_at=at, challenge=None, response_code="", message="")
        if (target := ATTEMPT_TABLE[a.status].get(AttemptInput.ABANDONED))
        else a
        for a in order.attempts
    )
