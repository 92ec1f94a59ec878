"""What may be done with an order now, and why the rest may not: asked of the core, without doing it."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from opentill.domain.commands import (
    Actor,
    ActorKind,
    BeginAttempt,
    BeginRefund,
    CancelOrder,
    Command,
    ExpireOrder,
)
from opentill.domain.decisions import decide
from opentill.domain.lifecycle import REFUSAL_OF
from opentill.domain.order import Order
from opentill.domain.refusals import OrderNotDue, Refusal

CANCEL: Final = "cancel"
PAY: Final = "pay"
REFUND: Final = "refund"

_INSTEAD: Final = {CANCEL: REFUND, REFUND: CANCEL}
"""An order that was not paid is cancelled, one that was is refunded."""


@dataclass(frozen=True, slots=True)
class Allowed:
    """One action and the refusal that it would meet now, if any."""

    action: str
    refusal: type[Refusal] | None
    instead: str | None
    """The action that is allowed in its place, where there is one."""


_ANY_UUID: Final = "00000000-0000-4000-8000-000000000000"
"""Names what is judged: the change is thrown away."""


def what_is_allowed(order: Order, at: int, max_attempts: int) -> list[Allowed]:
    """Return what ``decide`` says at business time ``at`` to each action of a merchant or payer.

    So this can say nothing else than the tables of ``lifecycle``, what is due included.
    """
    actions = _actions(order, at, max_attempts)
    refused = {action: _refusal(order, command, at) for action, command in actions}
    return [Allowed(each, why, _instead(each, refused) if why else None) for each, why in refused.items()]


def why_not_payable(order: Order, at: int) -> type[Refusal] | None:
    """Return the refusal that a payer meets at business time ``at``, whether or not a worker came by.

    None while the order waits for money.
    """
    try:
        after = decide(order, ExpireOrder(**_common(order), name=order.order_id), at).after
    except OrderNotDue:
        return None
    except Refusal as refusal:
        return type(refusal)
    return REFUSAL_OF[after.status]


def _common(order: Order) -> dict[str, Any]:
    return {
        "account_id": order.account_id,
        "command_id": _ANY_UUID,
        "actor": Actor(ActorKind.API_KEY),
    }


def _actions(order: Order, at: int, max_attempts: int) -> Iterable[tuple[str, Command]]:
    common = _common(order)
    yield CANCEL, CancelOrder(**common, name=order.order_id)
    yield (
        PAY,
        BeginAttempt(
            **common,
            name=order.order_id,
            transaction_id="",
            card_masked="",
            card_brand="",
            call_until=at,
            max_attempts=max_attempts,
        ),
    )
    paid_by = order.paid_by or ""
    yield (
        REFUND,
        BeginRefund(**common, transaction_id=paid_by, refund_id=_ANY_UUID, amount=None, call_until=at),
    )


def _refusal(order: Order, command: Command, at: int) -> type[Refusal] | None:
    try:
        decide(order, command, at)
    except Refusal as refusal:
        return type(refusal)
    return None


def _instead(action: str, refused: dict[str, type[Refusal] | None]) -> str | None:
    instead = _INSTEAD.get(action)
    return instead if instead and refused[instead] is None else None
