"""Fees and shares of payments: what is booked at capture, and what a refund takes back from whom."""

from decimal import Decimal

import hypothesis
import pytest
from hypothesis import strategies as st
from msgspec.structs import replace

from domain import factories, transfer_factories
from domain.factories import AMOUNT
from opentill.domain.commands import Command, RailOutcome, RefundOutcome
from opentill.domain.decisions import create, decide
from opentill.domain.events import Event, EventType
from opentill.domain.ledger import Entry, entries_for
from opentill.domain.money import MAX_MINOR
from opentill.domain.order import AttemptStatus, Order, OrderStatus, Parts, Split, SplitKind
from opentill.domain.refusals import Refusal
from opentill.domain.sharing import FeeTerms, shares_of

FEE = FeeTerms(basis_points=140, cap=1_800_00)
PERCENT = Split(SplitKind.PERCENTAGE, (("A", 33_33), ("B", 10_01)))
CALLING = factories.attempt(AttemptStatus.CALLING)
APPROVED = factories.settle(RailOutcome.APPROVED)


def pays(order: Order) -> tuple[Order, Event]:
    change = decide(order, APPROVED, factories.NOW, FEE)
    (event,) = change.events
    return change.after, event


def booked(event: Event) -> dict[str, int]:
    return {entry.account: entry.amount for entry in entries_for(event)}


# --- at capture -----------------------------------------------------------------------------------


def test_a_payment_is_booked_with_its_fee_and_shares() -> None:
    """The rail owes all of it: the shares to their accounts, the fee to the house, the rest to M."""
    order, event = pays(factories.order(OrderStatus.PENDING, CALLING, split=PERCENT))
    assert entries_for(event) == (
        Entry("card_rail", "NGN", 10_000_50),
        Entry("merchant:M", "NGN", -5_526_28),
        Entry("fees", "NGN", -140_01),
        Entry("merchant:A", "NGN", -3_333_16),  # 333316.665 kobo
        Entry("merchant:B", "NGN", -1_001_05),  # 100105.005 kobo
    )
    assert order.parts == event.parts == Parts(140_01, (("A", 3_333_16), ("B", 1_001_05)))


def test_a_payment_by_transfer_is_shared_as_one_by_card() -> None:
    """The credit that makes an order full pays for it less the fee, and shared."""
    order = factories.order(OrderStatus.PENDING, split=PERCENT)
    change = decide(order, transfer_factories.receive(AMOUNT + 5, number=1), factories.NOW, FEE)
    paid = next(event for event in change.events if event.type is EventType.PAYMENT_SUCCESS)
    assert booked(paid) == {
        "held_money": 10_000_50,
        "merchant:M": -5_526_28,
        "fees": -140_01,
        "merchant:A": -3_333_16,
        "merchant:B": -1_001_05,
    }


@pytest.mark.parametrize(
    ("split", "shares"),
    [
        (None, ()),
        (Split(SplitKind.AMOUNT, (("A", 7), ("B", 9_000_00))), (("A", 7), ("B", 9_000_00))),
        (Split(SplitKind.PERCENTAGE, (("A", 100_00),)), (("A", AMOUNT),)),
        (Split(SplitKind.PERCENTAGE, (("S", 50_00), ("A", 50_00))), (("A", 5_000_25),)),
    ],
)
def test_shares_by_amount_of_all_and_to_the_beneficiary(
    split: Split | None, shares: tuple[tuple[str, int], ...]
) -> None:
    """A share in money is that money; all of it may be shared; what the beneficiary shares in is its rest."""
    pending = factories.order(OrderStatus.PENDING, CALLING, split=split, sub_account_id="S")
    order, event = pays(pending)
    assert order.parts.shares == shares
    lines = booked(event)
    assert sum(lines.values()) == 0
    assert lines.get("merchant:S", 0) == -(AMOUNT - 140_01 - sum(share for _, share in shares))


def test_a_share_that_rounds_down_to_nothing_is_not_booked() -> None:
    """A hundredth of a percent of 0.99 is no kobo."""
    assert shares_of(Split(SplitKind.PERCENTAGE, (("A", 1), ("B", 99_99))), 99, "M") == (("B", 98),)


def test_a_new_order_keeps_how_it_will_be_shared() -> None:
    """The split of a create is the order's; nothing is shared before it is paid."""
    order = create(factories.create_order(split=PERCENT), factories.NOW).after
    assert (order.split, order.parts) == (PERCENT, Parts())


@hypothesis.given(st.integers(0, MAX_MINOR), st.integers(0, 10_000), st.integers(0, MAX_MINOR))
def test_a_fee_is_its_share_or_the_cap(amount: int, basis_points: int, cap: int) -> None:
    """A fee is within half a kobo of its share of the amount, and never above its cap."""
    fee = FeeTerms(basis_points, cap).of(amount)
    share = Decimal(amount) * basis_points / 10_000
    assert fee == cap < share + Decimal("0.5") or abs(fee - share) <= Decimal("0.5")


# --- refunds --------------------------------------------------------------------------------------


def paid(shares: tuple[tuple[str, int], ...] = (("A", 3_333_16), ("B", 1_001_05))) -> Order:
    return factories.order(OrderStatus.PAID, parts=Parts(140_01, shares), split=PERCENT)


def test_a_refund_takes_the_shares_back_pro_rata_and_keeps_the_fee() -> None:
    """A tenth takes a tenth of each share, rounded down; the rest comes from the beneficiary (ruling 19)."""
    (event,) = decide(paid(), factories.begin_refund(1_000_05), factories.NOW, FEE).events
    assert event.parts == Parts(0, (("A", 333_31), ("B", 100_10)))
    assert booked(event) == {
        "merchant:M": 566_64,
        "refunds_due": -1_000_05,
        "merchant:A": 333_31,
        "merchant:B": 100_10,
    }


def test_a_whole_refund_takes_the_shares_back_whole() -> None:
    """The accounts of the shares are where they were before; the beneficiary has paid the fee."""
    order = paid()
    (event,) = decide(order, factories.begin_refund(), factories.NOW, FEE).events
    assert event.parts == Parts(0, order.parts.shares)
    assert booked(event)["merchant:M"] == AMOUNT - 4_334_21


def test_what_was_paid_without_shares_gives_none_back() -> None:
    """A split that was not booked with the payment is not booked with its refund."""
    (event,) = decide(paid(shares=()), factories.begin_refund(1_000_05), factories.NOW, FEE).events
    assert booked(event) == {"merchant:M": 1_000_05, "refunds_due": -1_000_05}


@hypothesis.given(
    st.lists(st.tuples(st.integers(1, AMOUNT), st.sampled_from(RefundOutcome)), max_size=8),
    st.lists(st.tuples(st.integers(0, 7), st.sampled_from([RefundOutcome.DONE, RefundOutcome.REFUSED]))),
)
def test_shares_depend_on_what_is_refunded_and_on_no_order_of_events(
    begun: list[tuple[int, RefundOutcome]], answered: list[tuple[int, RefundOutcome]]
) -> None:
    """Refunds that begin, end and are refused in any order leave each share less its part of ``refunded``."""
    order, moved = paid(), {"A": 3_333_16, "B": 1_001_05}
    steps = [
        factories.begin_refund(amount, number=n, refund_id=f"F{n}") for n, (amount, _) in enumerate(begun)
    ]
    answers = [factories.settle_refund(o, number=20 + n, refund_id=f"F{n}") for n, (_, o) in enumerate(begun)]
    answers += [
        factories.settle_refund(o, number=40 + k, refund_id=f"F{n}") for k, (n, o) in enumerate(answered)
    ]
    commands: list[Command] = [*steps, *answers]
    for command in commands:
        try:
            change = decide(order, command, factories.NOW, FEE)
        except Refusal:
            continue  # it changes nothing
        order = change.after
        for event in change.events:
            assert sum(booked(event).values()) == 0
            for account in moved:
                moved[account] -= booked(event).get(f"merchant:{account}", 0)
    refunded = order.totals.refunded
    assert moved == {a: s - s * refunded // AMOUNT for a, s in order.parts.shares}


def test_a_payment_that_the_rail_gave_back_is_refunded_with_its_shares() -> None:
    """Nobody asked for it; the shares go back all the same."""
    order = replace(paid(), attempts=(factories.attempt(AttemptStatus.APPROVED, transaction_id="T-paid"),))
    events = decide(
        order, factories.settle(RailOutcome.VOIDED, transaction_id="T-paid"), factories.NOW
    ).events
    assert [event.type for event in events] == [EventType.REFUND_STARTED, EventType.PAYMENT_REFUNDED]
    assert events[0].parts.shares == order.parts.shares
