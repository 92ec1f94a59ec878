"""Every order status x command cell, written out by hand from contract 4 and rulings 17 and 18."""

from collections.abc import Callable
from copy import deepcopy
from typing import Any, get_args

import pytest
from msgspec.structs import replace

from domain import factories
from opentill.domain import commands
from opentill.domain.commands import (
    ChargeSavedCard,
    Command,
    CreateOrder,
    OrderCommand,
    RailOutcome,
    RefundOutcome,
)
from opentill.domain.decisions import create, decide
from opentill.domain.events import EventType
from opentill.domain.order import (
    AttemptStatus,
    CallKind,
    DueAction,
    LateMoney,
    Order,
    OrderStatus,
    RailCall,
    RefundStatus,
    Totals,
)
from opentill.domain.refusals import (
    AttemptAlreadyCompleted,
    AttemptEnded,
    AttemptInProgress,
    OrderAlreadyCancelled,
    OrderAlreadyPaid,
    OrderExpired,
    OrderNotDue,
    OrderNotPaid,
    OrderReferenceUsed,
    RecordNotFound,
    RefundExceedsPaid,
    Refusal,
    TooManyAttempts,
    TooManyOtps,
    VersionChanged,
)

PENDING, PAID, CANCELLED, EXPIRED = (OrderStatus(s) for s in ("PENDING", "PAID", "CANCELLED", "EXPIRED"))

WAITING = factories.attempt(AttemptStatus.AWAITING_OTP)
CHALLENGED = factories.attempt(AttemptStatus.AWAITING_3DS, transaction_id="T-3ds")
CALLING = factories.attempt(AttemptStatus.CALLING)
RUNNING = factories.refund(RefundStatus.RUNNING, amount=100)
A = factories.AMOUNT
RETURNED = factories.return_from_challenge(transaction_id="T-3ds")
REFUND_DONE = factories.settle_refund(RefundOutcome.DONE)

ACCEPTED: list[tuple[OrderStatus, Command, OrderStatus, EventType, dict[str, int]]] = [
    # status, command, status afterwards, event, by how much the totals grow
    (PENDING, factories.cancel(), CANCELLED, EventType.ORDER_CANCELLED, {}),
    (EXPIRED, factories.cancel(), CANCELLED, EventType.ORDER_CANCELLED, {}),
    (PENDING, factories.ensure_cancelled(), CANCELLED, EventType.ORDER_CANCELLED, {}),
    (EXPIRED, factories.ensure_cancelled(), CANCELLED, EventType.ORDER_CANCELLED, {}),
    (PENDING, factories.cancel_or_refund(), CANCELLED, EventType.ORDER_CANCELLED, {}),
    (EXPIRED, factories.cancel_or_refund(), CANCELLED, EventType.ORDER_CANCELLED, {}),
    (PAID, factories.cancel_or_refund(), PAID, EventType.REFUND_STARTED, {"refunded": A - 100}),
    (PENDING, factories.begin(), PENDING, EventType.ATTEMPT_STARTED, {}),
    (PENDING, factories.submit_otp(), PENDING, EventType.ATTEMPT_RESUMED, {}),
    (PENDING, factories.resend(), PENDING, EventType.OTP_RESENT, {}),
    (PENDING, RETURNED, PENDING, EventType.ATTEMPT_RESUMED, {}),
    (PENDING, factories.cancel_attempt(), PENDING, EventType.ATTEMPT_CANCELLED, {}),
    (PAID, factories.cancel_attempt(), PAID, EventType.ATTEMPT_CANCELLED, {}),
    (CANCELLED, factories.cancel_attempt(), CANCELLED, EventType.ATTEMPT_CANCELLED, {}),
    (EXPIRED, factories.cancel_attempt(), EXPIRED, EventType.ATTEMPT_CANCELLED, {}),
    (
        PENDING,
        factories.settle(RailOutcome.APPROVED),
        PAID,
        EventType.PAYMENT_SUCCESS,
        {"received": A, "applied": A},
    ),
    *(
        (
            ended,
            factories.settle(RailOutcome.APPROVED),
            ended,
            EventType.VOID_STARTED,
            {"received": A, "returning": A},
        )
        for ended in (PAID, CANCELLED, EXPIRED)
    ),
    (PAID, factories.begin_refund(), PAID, EventType.REFUND_STARTED, {"refunded": A - 100}),
    (PAID, REFUND_DONE, PAID, EventType.PAYMENT_REFUNDED, {}),
]

UNCHANGED = [(CANCELLED, factories.ensure_cancelled()), (CANCELLED, factories.cancel_or_refund())]

REFUSED = [
    (PAID, factories.cancel(), OrderAlreadyPaid),
    (PAID, factories.ensure_cancelled(), OrderAlreadyPaid),
    (CANCELLED, factories.cancel(), OrderAlreadyCancelled),
    (PENDING, factories.expire(), OrderNotDue),
    (PAID, factories.expire(), OrderAlreadyPaid),
    (CANCELLED, factories.expire(), OrderAlreadyCancelled),
    (EXPIRED, factories.expire(), OrderExpired),
    *(
        (status, command, refusal)
        for command in (factories.begin(), factories.submit_otp(), factories.resend(), RETURNED)
        for status, refusal in [
            (PAID, OrderAlreadyPaid),
            (CANCELLED, OrderAlreadyCancelled),
            (EXPIRED, OrderExpired),
        ]
    ),
    (PENDING, factories.begin_refund(), OrderNotPaid),
    (CANCELLED, factories.begin_refund(), OrderNotPaid),
    (EXPIRED, factories.begin_refund(), OrderNotPaid),
    (PENDING, REFUND_DONE, RecordNotFound),
    (CANCELLED, REFUND_DONE, RecordNotFound),
    (EXPIRED, REFUND_DONE, RecordNotFound),
]


def _order(status: OrderStatus) -> Order:
    """An order with something for every command: attempts that wait, and a refund where one can be."""
    return factories.order(status, WAITING, CHALLENGED, refunds=(RUNNING,) if status is PAID else ())


OF_TRANSFERS = {
    commands.ReceiveCredit,
    commands.AcceptCredit,
    commands.ReturnCredit,
    commands.AttachCredit,
    commands.BeginReturn,
    commands.SettleReturn,
    commands.RetryReturn,
    commands.SettleReturnByHand,
}


def test_every_status_has_a_case_for_every_command() -> None:
    """No cell of the order's table is left out of the cases above; credits and returns have their own."""
    covered = {(status, type(command)) for status, command, *_ in [*ACCEPTED, *UNCHANGED, *REFUSED]}
    judged = set(get_args(commands.Command))
    judged -= {CreateOrder, ChargeSavedCard} | OF_TRANSFERS
    assert covered == {(status, kind) for status in OrderStatus for kind in judged}


@pytest.mark.parametrize(("status", "command", "to", "event", "growth"), ACCEPTED)
def test_an_accepted_command_leads_where_the_table_says(
    status: OrderStatus, command: Command, to: OrderStatus, event: EventType, growth: dict[str, int]
) -> None:
    """An accepted command takes one step: status, version, event and money change as the table here says."""
    before = _order(status)
    change = decide(before, command, factories.NOW)
    assert change.before is before
    assert (change.after.status, change.after.version) == (to, 8)
    assert [(e.type, e.before, e.after, e.sequence) for e in change.events] == [(event, status, to, 8)]
    assert change.events[0].amount == (100 if command is REFUND_DONE else max(growth.values(), default=0))
    assert {(e.account_id, e.order_id, e.at) for e in change.events} == {("M", "O", factories.NOW)}
    assert change.after.updated_at == factories.NOW
    grown = {name: getattr(before.totals, name) + by for name, by in growth.items()}
    assert change.after.totals == replace(before.totals, **grown)


@pytest.mark.parametrize(("status", "command"), UNCHANGED)
def test_what_is_so_already_is_left_as_it_is(status: OrderStatus, command: Command) -> None:
    """A cancel of a cancelled order that may be repeated is granted, and changes nothing."""
    order = _order(status)
    change = decide(order, command, factories.NOW)
    assert (change.events, change.after, change.met) == ((), order, status)


@pytest.mark.parametrize(("status", "command", "refusal"), REFUSED)
def test_a_refusal_names_its_reason_and_changes_nothing(
    status: OrderStatus, command: Command, refusal: type[Refusal]
) -> None:
    """A refused command leaves the order equal to what it was, and the next command meets it so."""
    order = _order(status)
    untouched = deepcopy(order)
    with pytest.raises(Refusal) as caught:
        decide(order, command, factories.NOW)
    assert type(caught.value) is refusal
    assert order == untouched
    with pytest.raises(AttributeError):
        order.status = CANCELLED  # type: ignore[misc]  # that it can not be is the point


ENDING = [
    (PENDING, factories.cancel(), "cancelled_at"),
    (EXPIRED, factories.cancel(), "cancelled_at"),
    (PENDING, factories.settle(RailOutcome.APPROVED), "paid_at"),
]


@pytest.mark.parametrize(("status", "command", "timestamp"), ENDING)
def test_an_ending_is_dated_once(status: OrderStatus, command: OrderCommand, timestamp: str) -> None:
    """The change that ends an order sets the ending's timestamp and no other ending's."""
    before = factories.order(status, WAITING)
    after = decide(before, command, factories.NOW).after
    dates = {"paid_at", "cancelled_at", "expired_at"}
    assert getattr(after, timestamp) == factories.NOW
    assert all(getattr(after, d) == getattr(before, d) for d in dates - {timestamp})


def test_a_payment_names_the_transaction_that_paid() -> None:
    """PAID remembers the transactionId of the payment that did it (ruling 19)."""
    assert (
        decide(factories.order(PENDING, WAITING), factories.settle(RailOutcome.APPROVED), 9).after.paid_by
        == "T"
    )


def test_a_cancel_keeps_the_reason_and_the_note_that_came_with_it() -> None:
    """The event of a cancel carries who asked, why, and the note."""
    command = factories.cancel(reason="customer_request", note="changed his mind")
    (event,) = decide(factories.order(PENDING), command, factories.NOW).events
    assert (event.actor, event.reason, event.note) == (
        factories.ACTOR,
        "customer_request",
        "changed his mind",
    )


@pytest.mark.parametrize("status", [PENDING, PAID])
def test_what_a_merchant_keeps_with_a_cancel_stands_in_its_event(status: OrderStatus) -> None:
    """Reason, note and metadata are those of the cancel, also where it began a refund instead."""
    said: dict[str, Any] = {"reason": "test", "note": "n", "metadata": (("k", "v"),)}
    (event,) = decide(factories.order(status), factories.cancel_or_refund(**said), factories.NOW).events
    assert {name: getattr(event, name) for name in said} == said


def test_a_cancel_that_refunds_gives_back_what_is_left_to_who_paid() -> None:
    """The refund is of the payment, by what was not refunded yet, and its answer completes the cancel's."""
    after = decide(_order(PAID), factories.cancel_or_refund(), factories.NOW).after
    refund = after.refunds[-1]
    assert (refund.refund_id, refund.transaction_id, refund.amount) == ("F-new", "T-paid", A - 100)
    assert (refund.status, refund.account_number) == (RefundStatus.RUNNING, None)
    assert refund.call == RailCall(CallKind.CANCEL_OR_REFUND, factories.NOW + 30_000, "key-1")
    assert after.refund_count == 2


@pytest.mark.parametrize("status", [RefundStatus.RUNNING, RefundStatus.UNKNOWN, RefundStatus.DONE])
def test_of_a_payment_that_is_all_refunded_nothing_more_is_given_back(status: RefundStatus) -> None:
    """A refund of all of it counts from its beginning; a cancel then leaves the order as it is."""
    order = factories.order(PAID, refunds=(factories.refund(status, amount=A),))
    change = decide(order, factories.cancel_or_refund(), factories.NOW)
    assert (change.events, change.after) == ((), order)


CANCELS = [factories.cancel, factories.ensure_cancelled, factories.cancel_or_refund]


@pytest.mark.parametrize("version", [6, 8])
@pytest.mark.parametrize("status", OrderStatus)
@pytest.mark.parametrize("command", CANCELS)
def test_a_cancel_of_another_version_is_refused_whatever_the_order_is(
    command: Callable[..., Command], status: OrderStatus, version: int
) -> None:
    """The order is at version 7; whoever saw another one is told so before anything else."""
    with pytest.raises(VersionChanged):
        decide(_order(status), command(if_version=version), factories.NOW)


@pytest.mark.parametrize("action", DueAction)
def test_the_version_that_counts_is_the_one_that_could_be_seen(action: DueAction) -> None:
    """What falls due in the same change does not make the caller's version an old one."""
    order = factories.order(PENDING, due_at=factories.NOW, due_action=action)
    change = decide(order, factories.ensure_cancelled(if_version=7), factories.NOW)
    assert change.after.status is CANCELLED


def test_an_order_that_was_due_to_be_cancelled_was_cancelled_before() -> None:
    """The due cancel comes first, with its own reason; the merchant's finds it done, as met says."""
    order = factories.order(PENDING, due_at=factories.NOW, due_action=DueAction.CANCEL)
    change = decide(order, factories.ensure_cancelled(reason="test"), factories.NOW)
    assert [event.reason for event in change.events] == ["expired"]
    assert change.met is CANCELLED


@pytest.mark.parametrize("status", [PENDING, EXPIRED])
def test_a_cancel_ends_the_attempts_that_wait_for_the_payer_and_no_other(status: OrderStatus) -> None:
    """Attempts waiting for OTP or 3-D Secure die with the order; a call in flight goes on."""
    attempts = [factories.attempt(s, transaction_id=s) for s in AttemptStatus]
    after = decide(factories.order(status, *attempts), factories.cancel(), factories.NOW).after
    changed = {a.transaction_id: (a.status, a.updated_at) for a in after.attempts if a not in attempts}
    ended = (AttemptStatus.CANCELLED, factories.NOW)
    assert changed == {"AWAITING_OTP": ended, "AWAITING_3DS": ended}


DUE = [
    # due action, status afterwards, event, its reason
    (DueAction.EXPIRE, EXPIRED, EventType.ORDER_EXPIRED, None),
    (DueAction.CANCEL, CANCELLED, EventType.ORDER_CANCELLED, "expired"),
]


@pytest.mark.parametrize(("action", "to", "event", "reason"), DUE)
@pytest.mark.parametrize("late_ms", [0, 1, 10**9])
def test_a_due_order_ends_as_it_was_asked_to(
    action: DueAction, to: OrderStatus, event: EventType, reason: str | None, late_ms: int
) -> None:
    """From its due time on, a pending order expires, or is cancelled where it asked for that."""
    order = factories.order(PENDING, WAITING, due_at=factories.NOW, due_action=action)
    change = decide(order, factories.expire(), factories.NOW + late_ms)
    assert [(e.type, e.before, e.after, e.reason) for e in change.events] == [(event, PENDING, to, reason)]
    assert change.after.status is to
    assert change.after.attempts[0].status is AttemptStatus.CANCELLED


def test_an_order_is_not_due_a_millisecond_early() -> None:
    """One millisecond before its due time a pending order does not expire and can be paid."""
    order = factories.order(PENDING, WAITING, due_at=factories.NOW)
    with pytest.raises(OrderNotDue):
        decide(order, factories.expire(), factories.NOW - 1)
    assert decide(order, factories.settle(RailOutcome.APPROVED), factories.NOW - 1).after.status is PAID


A_VOID = [EventType.VOID_STARTED, EventType.PAYMENT_REVERSAL]
UNSWEPT = [
    # a command at the due time of an order that no worker came by, and the status and events it leads to
    (factories.cancel(), CANCELLED, [EventType.ORDER_EXPIRED, EventType.ORDER_CANCELLED]),
    (factories.settle(RailOutcome.APPROVED), EXPIRED, [EventType.ORDER_EXPIRED, EventType.VOID_STARTED]),
    (factories.settle(RailOutcome.SILENT), EXPIRED, [EventType.ORDER_EXPIRED]),
    (factories.settle(RailOutcome.VOIDED), EXPIRED, [EventType.ORDER_EXPIRED, *A_VOID]),
]


@pytest.mark.parametrize(("command", "to", "events"), UNSWEPT)
def test_what_is_due_happens_first_in_the_same_change(
    command: OrderCommand, to: OrderStatus, events: list[EventType]
) -> None:
    """A stopped worker never lets a card pay late: the expiry is a first event of the same change."""
    change = decide(factories.order(PENDING, WAITING, due_at=factories.NOW), command, factories.NOW)
    assert [e.type for e in change.events] == events
    assert [e.sequence for e in change.events] == [8, 9, 10][: len(events)]
    assert (change.after.status, change.after.totals.applied) == (to, 0)


@pytest.mark.parametrize("command", [factories.begin(), factories.submit_otp(), factories.resend(), RETURNED])
@pytest.mark.parametrize(
    ("action", "refusal"),
    [(DueAction.EXPIRE, OrderExpired), (DueAction.CANCEL, OrderAlreadyCancelled)],
)
def test_card_entry_is_refused_on_an_order_that_is_due(
    command: Command, action: DueAction, refusal: type[Refusal]
) -> None:
    """A payer who comes too late is refused although nobody has swept the order, and nothing is written."""
    order = factories.order(PENDING, WAITING, CHALLENGED, due_at=factories.NOW, due_action=action)
    with pytest.raises(refusal):
        decide(order, command, factories.NOW)
    assert order.status is PENDING


FIRST_TOLD = [
    # the order, a command that several refusals fit, the one that is told
    (factories.order(PAID), factories.submit_otp(transaction_id="?"), RecordNotFound),
    (factories.order(CANCELLED), factories.settle(RailOutcome.APPROVED, transaction_id="?"), RecordNotFound),
    (
        factories.order(PAID, factories.attempt(AttemptStatus.APPROVED)),
        factories.submit_otp(),
        AttemptAlreadyCompleted,
    ),
    (
        factories.order(PAID, factories.attempt(AttemptStatus.DECLINED)),
        factories.submit_otp(),
        OrderAlreadyPaid,
    ),
    (
        factories.order(CANCELLED, factories.attempt(AttemptStatus.CANCELLED)),
        factories.submit_otp(),
        OrderAlreadyCancelled,
    ),
    (factories.order(CANCELLED, CALLING), factories.submit_otp(), OrderAlreadyCancelled),
    (factories.order(EXPIRED, factories.attempt(AttemptStatus.FAILED)), factories.submit_otp(), OrderExpired),
    (factories.order(PAID, CALLING), factories.begin(max_attempts=1), OrderAlreadyPaid),
    (factories.order(CANCELLED, CALLING), factories.begin(max_attempts=1), OrderAlreadyCancelled),
    (factories.order(EXPIRED, CALLING), factories.begin(max_attempts=1), OrderExpired),
    (factories.order(PENDING, CALLING, due_at=1), factories.begin(max_attempts=1), OrderExpired),
    (factories.order(PENDING, CALLING), factories.begin(max_attempts=1), AttemptInProgress),
    (factories.order(PENDING, WAITING), factories.begin(max_attempts=1), TooManyAttempts),
    (factories.order(PAID), factories.return_from_challenge(transaction_id="?"), RecordNotFound),
    (
        factories.order(PAID, factories.attempt(AttemptStatus.APPROVED)),
        factories.return_from_challenge(),
        AttemptAlreadyCompleted,
    ),
    (factories.order(PAID, CALLING), factories.return_from_challenge(), OrderAlreadyPaid),
    (factories.order(PENDING), factories.cancel_attempt(), RecordNotFound),
    (factories.order(CANCELLED), factories.cancel_attempt(), RecordNotFound),
    (factories.order(PENDING, WAITING, due_at=1), factories.cancel_attempt(), AttemptEnded),
    (factories.order(PENDING, WAITING, due_at=1), factories.resend(max_otp_sends=0), OrderExpired),
    (factories.order(CANCELLED), factories.resend(max_otp_sends=0), OrderAlreadyCancelled),
    (factories.order(PAID), factories.ensure_cancelled(if_version=1), VersionChanged),
    (factories.order(PENDING), factories.resend(max_otp_sends=0), AttemptEnded),
    (factories.order(PENDING, WAITING), factories.resend(max_otp_sends=0), TooManyOtps),
    (factories.order(PENDING, due_at=1), factories.begin_refund(0), OrderNotPaid),
    (factories.order(CANCELLED), factories.begin_refund(A + 1), OrderNotPaid),
    (factories.order(PAID), factories.begin_refund(A + 1, transaction_id="T"), OrderNotPaid),
    (factories.order(PAID), factories.begin_refund(A + 1), RefundExceedsPaid),
    (factories.order(PAID), factories.settle_refund(RefundOutcome.DONE, refund_id="?"), RecordNotFound),
]


@pytest.mark.parametrize(("order", "command", "refusal"), FIRST_TOLD)
def test_of_several_refusals_the_first_in_precedence_is_told(
    order: Order, command: Command, refusal: type[Refusal]
) -> None:
    """Where several refusals fit, the one that the written precedence puts first is told."""
    with pytest.raises(Refusal) as caught:
        decide(order, command, factories.NOW)
    assert type(caught.value) is refusal


def test_a_new_order_is_pending_and_owes_nothing() -> None:
    """Creating makes version 1 with one event, no money, and every term that was asked for."""
    command = factories.create_order(
        sub_account_id="S", due_at=99, due_action=DueAction.CANCEL, late_money=LateMoney.HOLD
    )
    change = create(command, factories.CREATED_AT)
    after = change.after
    assert change.before is None
    assert change.terms is command.terms
    assert (after.status, after.version, after.totals) == (PENDING, 1, Totals())
    assert (after.attempts, after.refunds, after.attempt_count, after.refund_count) == ((), (), 0, 0)
    assert (after.account_id, after.order_id, after.reference, after.sub_account_id) == ("M", "O", "R", "S")
    assert (after.amount, after.currency) == (factories.AMOUNT, "NGN")
    assert (after.due_at, after.due_action, after.late_money) == (99, DueAction.CANCEL, LateMoney.HOLD)
    assert (after.created_at, after.updated_at) == (factories.CREATED_AT, factories.CREATED_AT)
    (event,) = change.events
    assert (event.type, event.before, event.after) == (EventType.ORDER_CREATED, None, PENDING)


@pytest.mark.parametrize("status", OrderStatus)
def test_an_order_is_not_opened_twice(status: OrderStatus) -> None:
    """A command that opens an order meets one of its reference: the reference is used, in every status."""
    order = _order(status)
    with pytest.raises(OrderReferenceUsed):
        decide(order, factories.create_order(), factories.NOW)
