"""Orders to be measured, as the domain decides them."""

from typing import Final

from opentill.clock import RandomIds, SystemClock
from opentill.domain.commands import Actor, ActorKind, CancelOrder, CreateOrder
from opentill.domain.decisions import create, decide
from opentill.domain.order import Order, Terms
from opentill.domain.transition import Change

AMOUNT_MINOR: Final = 10_000_00
IDS: Final = RandomIds()
CLOCK: Final = SystemClock()


def pending(account_id: str, reference: str, actor: Actor) -> Change:
    """Return what writes a new order."""
    command = CreateOrder(
        account_id=account_id,
        command_id=IDS.uuid(),
        actor=actor,
        order_id=IDS.uuid(),
        reference=reference,
        amount=AMOUNT_MINOR,
        currency="NGN",
        terms=Terms("payer@example.com"),
    )
    return create(command, CLOCK.now())


def cancelled(order: Order, actor: Actor) -> Change:
    """Return what writes the cancel of an order."""
    command = CancelOrder(
        account_id=order.account_id, command_id=IDS.uuid(), actor=actor, name=order.reference
    )
    return decide(order, command, CLOCK.now())


def ended(change: Change, actor: Actor) -> Change:
    """Return what writes a new order together with its cancel."""
    end = cancelled(change.after, actor)
    return Change(None, end.after, change.events + end.events, change.terms)


OPERATOR: Final = Actor(ActorKind.OPERATOR, "bench")
