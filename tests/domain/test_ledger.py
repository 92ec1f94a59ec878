"""Bookings, written out by hand for every kind of event that moves money, and events' own facts."""

import uuid

import pytest
from msgspec.structs import replace

from domain import given
from opentill.domain.commands import Command, RailOutcome, RefundOutcome
from opentill.domain.decisions import create, decide
from opentill.domain.events import TOLD_TO_MERCHANTS, EventType, event_id
from opentill.domain.ledger import CARD_RAIL, REFUNDS_DUE, RETURNS_DUE, Entry, entries_for, merchant_balance
from opentill.domain.order import AttemptStatus, Order, OrderStatus, RefundStatus

CALLING, VOIDING = given.attempt(AttemptStatus.CALLING), given.attempt(AttemptStatus.VOIDING)
APPROVED, VOIDED = given.settle(RailOutcome.APPROVED), given.settle(RailOutcome.VOIDED)
PENDING, PAID, CANCELLED = OrderStatus.PENDING, OrderStatus.PAID, OrderStatus.CANCELLED
RUNNING = given.refund(RefundStatus.RUNNING, amount=given.AMOUNT)
REFUNDING = given.order(PAID, refunds=(RUNNING,))
DONE, REFUSED = given.settle_refund(RefundOutcome.DONE), given.settle_refund(RefundOutcome.REFUSED)

BOOKED = [
    (given.order(PENDING, CALLING), APPROVED, "card_rail", "merchant:M"),
    (given.order(PENDING, CALLING, sub_account_id="S"), APPROVED, "card_rail", "merchant:S"),
    (given.order(CANCELLED, CALLING), APPROVED, "card_rail", "returns_due"),
    (given.order(CANCELLED, VOIDING), VOIDED, "returns_due", "card_rail"),
    (given.order(PAID), given.begin_refund(), "merchant:M", "refunds_due"),
    (given.order(PAID, sub_account_id="S"), given.begin_refund(), "merchant:S", "refunds_due"),
    (REFUNDING, DONE, "refunds_due", "card_rail"),
    (REFUNDING, REFUSED, "refunds_due", "merchant:M"),
    (replace(REFUNDING, sub_account_id="S"), REFUSED, "refunds_due", "merchant:S"),
]


@pytest.mark.parametrize(("order", "command", "debit", "credit"), BOOKED)
def test_money_is_booked_from_one_account_to_another(
    order: Order, command: Command, debit: str, credit: str
) -> None:
    """Money that moves is one debit and one credit of the same amount, on the accounts it belongs to."""
    (event,) = decide(order, command, given.NOW).events
    assert entries_for(event) == (
        Entry(debit, "NGN", given.AMOUNT),
        Entry(credit, "NGN", -given.AMOUNT),
    )


def test_only_eight_kinds_of_event_move_money() -> None:
    """A payment, money that arrives, and the steps of a void, refund and return are booked; nothing else."""
    (event,) = create(given.create_order(), given.NOW).events
    booked = {kind for kind in EventType if entries_for(replace(event, type=kind, amount=1))}
    assert sorted(booked) == [
        "credit_received",
        "payment_refunded",
        "payment_reversal",
        "payment_success",
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
    order = given.order(PENDING, due_at=given.NOW)
    first, again = (decide(order, given.cancel(), at).events for at in (given.NOW, given.NOW + 500))
    assert [e.event_id for e in first] == [e.event_id for e in again]
    assert [e.event_id for e in first] == [event_id(given.command_id(1), n) for n in (0, 1)]
