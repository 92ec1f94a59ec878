"""What a bank transfer does to an order (ruling 17, laws 6), cell by cell, written out by hand."""

from typing import Any

import pytest
from msgspec.structs import replace

from domain import factories, transfer_factories
from domain.transfer_factories import credit, receive, with_held
from opentill.domain.commands import Command, RailOutcome, RefundOutcome, TimeDoubt
from opentill.domain.decisions import decide
from opentill.domain.lifecycle import CREDIT_TABLE, LATE_COLUMN, CreditInput
from opentill.domain.order import (
    AttemptStatus,
    Disposition,
    DueAction,
    LateMoney,
    Order,
    OrderStatus,
    RefundStatus,
    ReturnKind,
    ReturnStatus,
    Totals,
)
from opentill.domain.refunds import whole_refund
from opentill.domain.refusals import (
    CreditBelowAmount,
    CreditNotHeld,
    CurrencyMismatch,
    RecordNotFound,
    RefundExceedsPaid,
    Refusal,
)

PENDING, PAID, CANCELLED, EXPIRED = OrderStatus
A, DUE = factories.AMOUNT, factories.CREATED_AT
ON_TIME, LATE = DUE, DUE + 1
FULL, SHORT, OVER = A, A - 1, A + 1
back, accept, hold = LateMoney

# status, policy, what arrives, by the bank's time; then status, disposition, and where the money is:
# applied, held, returning; what it is returned as.
CELLS = [
    *((PENDING, p, FULL, t, PAID, "applied", A, 0, 0, "") for p in LateMoney for t in (ON_TIME, LATE)),
    *((PENDING, p, OVER, t, PAID, "applied", A, 0, 1, "excess") for p in LateMoney for t in (ON_TIME, LATE)),
    *((PENDING, p, SHORT, t, PENDING, "held", 0, SHORT, 0, "") for p in LateMoney for t in (ON_TIME, LATE)),
    *(
        (PAID, p, n, t, PAID, "excess", A, 0, n, "excess")
        for p in LateMoney
        for n in (FULL, SHORT)
        for t in (ON_TIME, LATE)
    ),
    *(
        (CANCELLED, p, n, t, CANCELLED, "late", 0, 0, n, "late")
        for p in LateMoney
        for n in (FULL, SHORT)
        for t in (ON_TIME, LATE)
    ),
    *((EXPIRED, p, FULL, ON_TIME, PAID, "applied", A, 0, 0, "") for p in LateMoney),
    *((EXPIRED, p, OVER, ON_TIME, PAID, "applied", A, 0, 1, "excess") for p in LateMoney),
    (EXPIRED, back, FULL, LATE, EXPIRED, "late", 0, 0, FULL, "late"),
    (EXPIRED, accept, FULL, LATE, PAID, "applied", A, 0, 0, ""),
    (EXPIRED, accept, OVER, LATE, PAID, "applied", A, 0, 1, "excess"),
    (EXPIRED, hold, FULL, LATE, EXPIRED, "held", 0, FULL, 0, ""),
    *((EXPIRED, back, SHORT, t, EXPIRED, "late", 0, 0, SHORT, "late") for t in (ON_TIME, LATE)),
    *((EXPIRED, accept, SHORT, t, EXPIRED, "late", 0, 0, SHORT, "late") for t in (ON_TIME, LATE)),
    *((EXPIRED, hold, SHORT, t, EXPIRED, "held", 0, SHORT, 0, "") for t in (ON_TIME, LATE)),
]


def _order(status: OrderStatus, policy: LateMoney = back, due_at: int | None = None) -> Order:
    return factories.order(status, late_money=policy, due_at=DUE if status is EXPIRED else due_at)


@pytest.mark.parametrize("cell", CELLS)
def test_a_credit_does_what_the_table_of_the_design_says(
    cell: tuple[OrderStatus, LateMoney, int, int, OrderStatus, str, int, int, int, str],
) -> None:
    """Status, disposition and the place of every kobo follow from status, policy, sum and the bank's time."""
    status, policy, amount, transferred_at, to, disposition, applied, held, returning, kind = cell
    before = _order(status, policy)
    after = decide(before, receive(amount, transferred_at=transferred_at), factories.NOW).after
    assert (after.status, after.credits[0].disposition) == (to, disposition)
    totals = after.totals
    assert (totals.applied, totals.held, totals.returning) == (applied, held, returning)
    assert totals.received == before.totals.received + amount
    assert totals.balanced()
    assert [(r.kind, r.amount, r.status) for r in after.returns] == (
        [(kind, returning, "DUE")] if kind else []
    )
    assert after.credit_count == 1


def test_every_cell_has_a_case() -> None:
    """The cases above reach every column of every row."""
    reached = set()
    for status, policy, amount, transferred_at, *_ in CELLS:
        full = amount >= A
        on_time = transferred_at == ON_TIME or status is not EXPIRED
        reached.add((status, LATE_COLUMN[full, policy]))
        reached |= {(status, CreditInput.FULL_ON_TIME)} if full and on_time else set()
    assert reached == {(status, column) for status in OrderStatus for column in CREDIT_TABLE[status]}


def _events(order: Order, command: Command) -> list[tuple[str, int, str | None]]:
    return [(e.type.value, e.amount, e.reason) for e in decide(order, command, factories.NOW).events]


def test_a_payment_by_transfer_is_told_by_its_completing_credit() -> None:
    """Two credits of which the second completes: its transactionId is the payment's, its excess goes back."""
    order = with_held(_order(PENDING), credit(400))
    change = decide(order, receive(A), factories.NOW)
    assert [(e.type, e.amount, e.transaction_id, e.method) for e in change.events] == [
        ("credit_received", A, "C-new", "transfer"),
        ("payment_success", A, "C-new", "transfer"),
        ("return_started", 400, "C-new", "transfer"),
    ]
    assert change.after.paid_by == "C-new"
    assert [(c.applied, c.held) for c in change.after.credits] == [(400, 0), (A - 400, 0)]


def test_credits_apply_oldest_first() -> None:
    """The older credits are used whole; what is too much comes out of the last."""
    order = with_held(_order(PENDING), credit(400, transaction_id="C1"), credit(500, transaction_id="C2"))
    after = decide(order, receive(A), factories.NOW).after
    assert [(c.transaction_id, c.applied) for c in after.credits] == [
        ("C1", 400),
        ("C2", 500),
        ("C-new", A - 900),
    ]
    assert [(r.transaction_id, r.amount, r.kind) for r in after.returns] == [("C-new", 900, "excess")]


def test_the_same_credit_again_changes_nothing() -> None:
    """A second advice of one transfer, also after the order has ended, has no effect."""
    order = decide(_order(PENDING), receive(A), factories.NOW).after
    again = decide(order, receive(A, number=2), factories.NOW + 5)
    assert again.events == ()
    assert again.after is order


def test_money_of_another_currency_is_not_booked_on_the_order() -> None:
    """A credit in dollars is refused by a naira order, whatever its amount."""
    with pytest.raises(CurrencyMismatch):
        decide(_order(PENDING), receive(A, currency="USD"), factories.NOW)


@pytest.mark.parametrize(("status", "to"), [(PENDING, CANCELLED), (EXPIRED, CANCELLED)])
def test_a_cancel_sends_held_money_back_in_its_own_commit(status: OrderStatus, to: OrderStatus) -> None:
    """Each held credit becomes a return of its own, due at once, in the change that cancels."""
    held = (credit(400, transaction_id="C1"), credit(500, transaction_id="C2"))
    change = decide(with_held(_order(status), *held), factories.cancel(), factories.NOW)
    assert change.after.status is to
    assert [e.type.value for e in change.events] == ["order_cancelled", "return_started", "return_started"]
    assert [(r.amount, r.kind, r.status) for r in change.after.returns] == [
        (400, ReturnKind.HELD, ReturnStatus.DUE),
        (500, ReturnKind.HELD, ReturnStatus.DUE),
    ]
    assert change.after.totals == Totals(received=900, returning=900)


@pytest.mark.parametrize("policy", list(LateMoney))
def test_expiry_sends_partial_money_back_whatever_the_policy(policy: LateMoney) -> None:
    """The policy is about money that arrives late; what was held before the due time goes back."""
    order = with_held(_order(PENDING, policy, due_at=DUE), credit(400))
    after = decide(order, factories.expire(), factories.NOW).after
    assert after.status is EXPIRED
    assert after.totals == Totals(received=400, returning=400)


def test_a_card_that_pays_sends_held_money_back() -> None:
    """The card is charged in full, and the partial transfer goes back in the commit of the approval."""
    waiting = factories.attempt(AttemptStatus.CALLING)
    order = with_held(factories.order(PENDING, waiting), credit(400))
    after = decide(order, factories.settle(RailOutcome.APPROVED), factories.NOW).after
    assert (after.status, after.paid_by) == (PAID, "T")
    assert after.totals == Totals(received=A + 400, applied=A, returning=400)


# --- due and not yet swept ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("amount", "transferred_at", "to", "types"),
    [
        (FULL, DUE, PAID, ["credit_received", "payment_success"]),
        (SHORT, DUE, PENDING, ["credit_received"]),
        (FULL, DUE + 1, EXPIRED, ["order_expired", "credit_received", "return_started"]),
        (FULL, None, EXPIRED, ["order_expired", "credit_received", "return_started"]),
    ],
)
def test_only_a_credit_on_time_finds_an_overdue_order_open(
    amount: int, transferred_at: int | None, to: OrderStatus, types: list[str]
) -> None:
    """A stopped worker lets no late money pay, and a transfer that was on time is not expired first."""
    order = _order(PENDING, due_at=DUE)
    change = decide(order, receive(amount, transferred_at=transferred_at), factories.NOW)
    assert (change.after.status, [e.type.value for e in change.events]) == (to, types)


def test_no_credit_opens_an_order_that_is_cancelled_when_due() -> None:
    """An order that asked to be cancelled at its due time is, before a credit that was on time is booked."""
    order = replace(_order(PENDING, due_at=DUE), due_action=DueAction.CANCEL)
    after = decide(order, receive(FULL, transferred_at=DUE), factories.NOW).after
    assert (after.status, after.credits[0].disposition) == (CANCELLED, Disposition.LATE)


def test_the_banks_time_can_not_be_after_the_arrival() -> None:
    """A transfer dated in the future counts as of its arrival, which may be on time."""
    order = _order(EXPIRED)
    after = decide(order, receive(FULL, transferred_at=DUE + 500, arrived_at=DUE), factories.NOW).after
    assert (after.status, after.credits[0].transferred_at) == (PAID, DUE)


@pytest.mark.parametrize(
    ("transferred_at", "doubt"),
    [
        (DUE - 1, TimeDoubt.BEFORE_ORDER),
        (-(10**15), TimeDoubt.BEFORE_ORDER),
        (factories.NOW + 1, TimeDoubt.AFTER_ARRIVAL),
        (10**18, TimeDoubt.AFTER_ARRIVAL),
        (DUE, None),
        (None, None),
    ],
)
def test_a_bank_time_that_can_not_be_true_counts_as_absent(
    transferred_at: int | None, doubt: TimeDoubt | None
) -> None:
    """A time before the order was made, or after the arrival, decides nothing, and the event says so."""
    assert factories.CREATED_AT == DUE
    change = decide(_order(EXPIRED), receive(FULL, transferred_at=transferred_at), factories.NOW)
    (credit_,) = change.after.credits
    assert credit_.transferred_at == (DUE if transferred_at == DUE else factories.NOW)
    assert (change.events[0].type, change.events[0].note) == ("credit_received", doubt)
    assert (change.after.status, credit_.disposition) == (
        (PAID, "applied") if transferred_at == DUE else (EXPIRED, "late")
    )


def test_what_only_the_directory_knows_makes_a_time_count_as_absent_too() -> None:
    """A time at which nobody had the account number turns no expired order into a paid one."""
    told = replace(receive(FULL, transferred_at=DUE), time_doubt=TimeDoubt.NO_HOLDER)
    change = decide(_order(EXPIRED), told, factories.NOW)
    assert (change.after.status, change.after.credits[0].transferred_at) == (EXPIRED, factories.NOW)
    assert change.events[0].note == TimeDoubt.NO_HOLDER


# --- what a person decides ------------------------------------------------------------------------

HELD = with_held(factories.order(EXPIRED, late_money=hold), credit(A + 5), credit(400, transaction_id="C2"))


def test_accepted_money_pays_and_all_other_held_money_goes_back() -> None:
    """One held credit of at least the amount pays; its excess and every other held credit are returned."""
    change = decide(HELD, transfer_factories.accept(), factories.NOW)
    assert (change.after.status, change.after.paid_by) == (PAID, "C")
    assert change.after.totals == Totals(received=A + 405, applied=A, returning=405)
    assert [(r.transaction_id, r.kind, r.amount) for r in change.after.returns] == [
        ("C", "excess", 5),
        ("C2", "held", 400),
    ]


def test_returned_money_goes_back_and_the_order_stays_expired() -> None:
    """A person sends one held credit back; the other goes on waiting."""
    after = decide(HELD, transfer_factories.give_back("C2"), factories.NOW).after
    assert (after.status, after.totals) == (EXPIRED, Totals(received=A + 405, held=A + 5, returning=400))


def test_attached_money_has_left_at_once() -> None:
    """An attached credit is returned by no bank: its return is done at once and names the order."""
    change = decide(HELD, transfer_factories.attach("C2"), factories.NOW)
    (left,) = change.after.returns
    assert (left.status, left.kind, left.call) == (ReturnStatus.DONE, ReturnKind.ATTACHED, None)
    assert left.bank_reference == "M/other"
    assert change.after.totals == Totals(received=A + 405, held=A + 5, returned=400)


@pytest.mark.parametrize(
    ("order", "command", "refusal"),
    [
        (HELD, transfer_factories.accept("C2"), CreditBelowAmount),
        (HELD, transfer_factories.accept("C3"), RecordNotFound),
        *(
            (with_held(factories.order(status), credit(0, amount=A)), command, CreditNotHeld)
            for status in OrderStatus
            for command in (
                transfer_factories.accept(),
                transfer_factories.give_back(),
                transfer_factories.attach(),
            )
        ),
        (with_held(factories.order(PENDING), credit(400)), transfer_factories.give_back(), CreditNotHeld),
    ],
)
def test_only_money_that_waits_for_a_person_is_decided_on(
    order: Order, command: Command, refusal: type[Refusal]
) -> None:
    """Partial money of an open order, and money that was applied or sent back, is nobody's to decide on."""
    with pytest.raises(refusal):
        decide(order, command, factories.NOW)


# --- refunds of a payment by transfers --------------------------------------------------------------

OLD, NEW = factories.command_id(90), factories.command_id(91)


def _paid() -> Order:
    order = with_held(factories.order(PENDING), credit(A - 300, transaction_id=OLD))
    return decide(order, receive(300, transaction_id=NEW), factories.NOW).after


def _refund(order: Order, amount: int | None, number: int, **to: Any) -> Order:
    command = factories.begin_refund(
        amount, number=number, refund_id=factories.command_id(number), transaction_id=NEW
    )
    return decide(order, replace(command, **to), factories.NOW).after


def test_a_refund_goes_to_the_newest_sender_first() -> None:
    """Each sender gets at most what it brought; what the newest can not take goes to the one before."""
    first = _refund(_paid(), 200, 1)
    assert [(r.from_credit, r.amount) for r in first.refunds] == [(NEW, 200)]
    second = _refund(first, 250, 2)
    assert [(r.from_credit, r.amount) for r in second.refunds] == [(NEW, 200), (NEW, 100), (OLD, 150)]
    assert second.totals.refunded == 450
    assert len({r.refund_id for r in second.refunds}) == 3
    with pytest.raises(RefundExceedsPaid):
        _refund(second, A - 449, 3)


def test_a_refused_refund_can_go_to_its_sender_again() -> None:
    """What a bank would not pay counts no more against what that sender brought."""
    first = _refund(_paid(), 300, 1)
    refused = factories.settle_refund(
        RefundOutcome.REFUSED, refund_id=first.refunds[0].refund_id, transaction_id=NEW
    )
    after = _refund(decide(first, refused, factories.NOW).after, 300, 2)
    assert [(r.from_credit, r.status) for r in after.refunds] == [
        (NEW, RefundStatus.REFUSED),
        (NEW, RefundStatus.RUNNING),
    ]


def test_a_named_account_gets_it_all() -> None:
    """A refund to an account that the merchant names is one, whoever sent the money."""
    after = _refund(_paid(), None, 1, account_number="0000000017", bank_code="058")
    assert [(r.from_credit, r.amount, r.account_number) for r in after.refunds] == [(None, A, "0000000017")]


def test_only_the_first_part_of_a_refund_answers_the_request() -> None:
    """A request has one stored reply: the part of its own id brings it."""
    after = _refund(_paid(), None, 1)
    assert [r.call.key for r in after.refunds if r.call] == ["key-1", None]


def test_a_transfer_that_pays_ends_attempts_that_wait_for_the_payer() -> None:
    """No attempt waits for its password for ever once the order is paid in another way."""
    waiting = factories.attempt(AttemptStatus.AWAITING_OTP)
    after = decide(factories.order(PENDING, waiting), receive(FULL), DUE).after
    assert after.status is PAID
    assert [attempt.status for attempt in after.attempts] == [AttemptStatus.CANCELLED]


def test_a_refund_in_parts_is_told_as_one() -> None:
    """Its amount is the sum, and it is done only when every sender has its money."""
    refund_id = factories.command_id(900)
    order = decide(factories.order(PENDING), receive(A // 2, transaction_id="C1"), DUE).after
    order = decide(order, receive(A - A // 2, number=2, transaction_id="C2"), DUE).after
    begun = factories.begin_refund(number=3, refund_id=refund_id, transaction_id="C2")
    order = decide(order, begun, DUE).after
    assert len(order.refunds) == 2
    for number, (refund, told) in enumerate(
        zip(order.refunds, (RefundStatus.RUNNING, RefundStatus.DONE), strict=True), start=4
    ):
        done = factories.settle_refund(
            RefundOutcome.DONE, number=number, refund_id=refund.refund_id, transaction_id="C2"
        )
        order = decide(order, done, DUE).after
        whole = whole_refund(order, refund_id)
        assert whole is not None
        assert (whole.refund_id, whole.amount, whole.status) == (refund_id, A, told)
