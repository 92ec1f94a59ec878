"""What may be done with an order now, and why the rest may not: asked of the core, without doing it."""

from dataclasses import dataclass
from typing import Final

from opentill.domain.lifecycle import REFUSAL_OF
from opentill.domain.order import Order, OrderStatus
from opentill.domain.preview import Preview
from opentill.domain.refusals import Refusal

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


def what_is_allowed(order: Order, at: int, max_attempts: int) -> list[Allowed]:
    """Return what ``decide`` says at business time ``at`` to each action of a merchant or payer.

    So this can say nothing else than the tables of ``lifecycle``, what is due included.
    """
    preview = Preview(order, at)
    outcomes = {CANCEL: preview.cancel(), PAY: preview.charge(max_attempts), REFUND: preview.refund()}
    refused = {each: type(end) if isinstance(end, Refusal) else None for each, end in outcomes.items()}
    return [Allowed(each, why, _instead(each, refused) if why else None) for each, why in refused.items()]


def why_not_payable(order: Order, at: int) -> type[Refusal] | None:
    """Return the refusal that a payer meets at business time ``at``, whether or not a worker came by.

    None while the order waits for money.
    """
    status = Preview(order, at).as_due().status
    return None if status is OrderStatus.PENDING else REFUSAL_OF[status]


def _instead(action: str, refused: dict[str, type[Refusal] | None]) -> str | None:
    instead = _INSTEAD.get(action)
    return instead if instead and refused[instead] is None else None
