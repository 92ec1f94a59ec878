"""Bookings, written out by hand for every kind of event that moves money, and events' own facts."""

import uuid

import pytest
from msgspec.structs import replace

from domain import factories
from opentill.domain.commands import Command, RailOutcome, RefundOutcome
from opentill.domain.decisions import create, decide
from opentill.domain.events import TOLD_TO_MERCHANTS, EventType, event_id
from opentill.domain.ledger import CARD_RAIL, REFUNDS_DUE, RETURNS_DUE, Entry, entries_for, merchant_balance
from opentill.domain.order import AttemptStatus, Order, OrderStatus, RefundStatus

CALLING, VOIDING = factories.attempt(AttemptStatus.CALLING), factories.attempt(AttemptStatus.VOIDING)
APPROVED, VOIDED = factories.settle(RailOutcome.APPROVED), factories.settle(RailOutcome.VOIDED)
PENDING, PAID, CANCELLED = OrderStatus.PENDING, OrderStatus.PAID, OrderStatus.CANCELLED
RUNNING = factories.refund(RefundStatus.RUNNING, amount=factories.AMOUNT)
REFUNDING = factories.order(PAID, refunds=(RUNNING,))
DONE, REFUSED = factories.settle_refund(RefundOutcome.DONE), factories.settle_refund(RefundOutcome.REFUSED)

BOOKED = [
    (factories.order(PENDING, CALLING), APPROVED, "card_rail", "merchant:M"),
    (factories.order(PENDING, CALLING, sub_account_id="S"), APPROVED, "card_rail", "merchant:S"),
    (factories.order(CANCELLED, CALLING), APPROVED, "card_rail", "returns_due"),
    (factories.order(CANCELLED, VOIDING), VOIDED, "returns_due", "card_rail"),
    (factories.order(PAID), factories.begin_refund(), "merchant:M", "refunds_due"),
    (factories.order(PAID, sub_account_id="S"), factories.begin_refund(), "merchant:S", "refunds_due"),
    (REFUNDING, DONE, "refunds_due", "card_rail"),
    (REFUNDING, REFUSED, "refunds_due", "merchant:M"),
    (replace(REFUNDING, sub_account_id="S"), REFUSED, "refunds_due", "merchant:S"),
]


@pytest.mark.parametrize(("order", "command", "debit", "credit"), BOOKED)
def test_money_is_booked_from_one_account_to_another(
    order: Order, command: Command, debit: str, credit: str
) -> None:
    """Money that moves is one debit and one credit of the same amount, on the accounts it belongs to."""
    (event,) = decide(order, command, factories.NOW).events
    assert entries_for(event) == (
        Entry(debit, "NGN", factories.AMOUNT),
        Entry(credit, "NGN", -factories.AMOUNT),
    )


def test_only_nine_kinds_of_event_move_money() -> None:
    """A payment, money that arrives, the steps of a void, refund and return, and disputes; nothing else."""
    (event,) = create(factories.create_order(), factories.NOW).events
    booked = {kind for kind in EventType if entries_for(replace(event, type=kind, amount=1))}
    assert sorted(booked) == [
        "credit_received",
        "payment_refunded",
        "payment_reversal",
        "payment_success",
        "payout_disputed",
        "refund_refused",
        "refund_started",
        "return_started",
        "void_started",
    ]


def test_the_accounts_are_distinct() -> None:
    """No two kinds of money share an account, and no merchant's account can be taken for one of the house."""
    assert len({CARD_RAIL, RETURNS_DUE, REFUNDS_DUE, merchant_balance("M"), merchant_balance("S")}) == 5
    assert merchant_balance(CARD_RAIL) != CARD_RAIL


def test_merchants_are_told_of_eight_kinds_of_event() -> None:
    """Webhooks exist for the events of contract 5.1 and rulings 13 and 20, and for no others."""
    assert sorted(TOLD_TO_MERCHANTS) == [
        "order_cancelled",
        "order_expired",
        "payment_failed",
        "payment_refunded",
        "payment_reversal",
        "payment_success",
        "refund_refused",
        "return_parked",
    ]


def test_event_ids_follow_from_the_command_id() -> None:
    """A command's first event has its id, each further one a valid UUID of its own, the same every time."""
    ids = [event_id("4f3c1d2e-0000-4000-8000-0000000000ff", ordinal) for ordinal in range(3)]
    assert ids == [
        "4f3c1d2e-0000-4000-8000-0000000000ff",
        "4f3c1d2e-0000-4000-8000-0000000000fe",
        "4f3c1d2e-0000-4000-8000-0000000000fd",
    ]
    assert all(str(uuid.UUID(i)) == i for i in ids)


def test_a_command_judged_again_gives_its_events_the_same_ids() -> None:
    """A retry finds its own events by id: judging at another moment fixes the same ids (laws 2)."""
    order = factories.order(PENDING, due_at=factories.NOW)
    first, again = (
        decide(order, factories.cancel(), at).events for at in (factories.NOW, factories.NOW + 500)
    )
    assert [e.event_id for e in first] == [e.event_id for e in again]
    assert [e.event_id for e in first] == [event_id(factories.command_id(1), n) for n in (0, 1)]
