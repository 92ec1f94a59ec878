"""What a preview says of an order, by hand, and that it says what ``decide`` says to a real command."""

import pytest

from domain import factories
from opentill.domain.decisions import decide
from opentill.domain.order import OrderStatus
from opentill.domain.preview import Preview
from opentill.domain.refusals import (
    OrderAlreadyCancelled,
    OrderAlreadyPaid,
    OrderExpired,
    OrderNotPaid,
    Refusal,
)
from opentill.domain.transition import Change

PENDING, PAID, CANCELLED, EXPIRED = OrderStatus

SAID = [
    # status, cancel, cancel or refund, charge, refund: the status after it, or the refusal
    (PENDING, CANCELLED, CANCELLED, PENDING, OrderNotPaid),
    (PAID, OrderAlreadyPaid, PAID, OrderAlreadyPaid, PAID),
    (CANCELLED, OrderAlreadyCancelled, CANCELLED, OrderAlreadyCancelled, OrderNotPaid),
    (EXPIRED, CANCELLED, CANCELLED, OrderExpired, OrderNotPaid),
]


def _end(outcome: Change | Refusal) -> OrderStatus | type[Refusal]:
    return type(outcome) if isinstance(outcome, Refusal) else outcome.after.status


@pytest.mark.parametrize(("status", "cancel", "cancel_or_refund", "charge", "refund"), SAID)
def test_a_preview_says_what_each_command_would_meet(
    status: OrderStatus, cancel: object, cancel_or_refund: object, charge: object, refund: object
) -> None:
    """Of an order in each status it is told where a command leads, or why it is refused."""
    preview = Preview(factories.order(status), factories.NOW)
    assert _end(preview.cancel()) == cancel
    assert _end(preview.cancel_or_refund()) == cancel_or_refund
    assert _end(preview.charge(max_attempts=3)) == charge
    assert _end(preview.refund()) == refund


@pytest.mark.parametrize("status", [PENDING, CANCELLED, EXPIRED])
def test_a_preview_of_a_cancel_is_its_outcome(status: OrderStatus) -> None:
    """The order that a preview shows differs from the one that a real cancel leaves in nothing."""
    order = factories.order(status)
    outcome = Preview(order, factories.NOW).ensure_cancelled()
    assert isinstance(outcome, Change)
    assert outcome.after == decide(order, factories.ensure_cancelled(), factories.NOW).after


def test_an_order_is_shown_as_due_from_its_due_time_on() -> None:
    """A millisecond before it is due an order is shown as it is, and from then on as expired."""
    order = factories.order(PENDING, due_at=factories.NOW)
    assert Preview(order, factories.NOW - 1).as_due() is order
    assert Preview(order, factories.NOW).as_due().status is EXPIRED
