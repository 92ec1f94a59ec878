"""What a payer is told: every cell of the tables, and nothing of money that is not so."""

import itertools
from typing import Any

import pytest
from msgspec.structs import replace

from opentill.domain.decisions import create
from opentill.domain.order import (
    Attempt,
    AttemptStatus,
    CallKind,
    Order,
    OrderStatus,
    RailCall,
    Refund,
    RefundStatus,
    Return,
    ReturnKind,
    ReturnStatus,
    Totals,
)
from opentill.payer.messages import (
    HOW_BACK,
    LEADS,
    WHY_BACK,
    GoingBack,
    Origin,
    PayerMoney,
    Standing,
    Tone,
    Way,
    message_of,
    money_of,
)
from store_factories import NOW, new_order

NOT_CHARGED = "You have not been charged."
PENDING, PAID, CANCELLED, EXPIRED = OrderStatus
CARD, TRANSFER, PART = Origin


def an_order(status: OrderStatus = PENDING, **changes: Any) -> Order:
    ended = {PAID: "paid_at", CANCELLED: "cancelled_at", EXPIRED: "expired_at"}
    order = replace(create(new_order("a"), NOW).after, amount=10_000_00, currency="NGN")
    more: dict[str, Any] = {ended[status]: NOW} if status in ended else {}
    return replace(order, status=status, **more, **changes)


def an_attempt(status: AttemptStatus, *, calling: bool = False) -> Attempt:
    call = RailCall(CallKind.CHARGE, NOW) if calling else None
    return Attempt("T", status, 10_000_00, "543462******2808", "Mastercard", NOW, NOW, call)


def told(order: Order) -> str:
    return str(message_of(order.status, money_of(order), order.currency))


def test_every_cell_is_filled_and_every_sentence_can_be_said() -> None:
    """No status and no whereabouts of money leave a payer without a sentence, or with one that has a gap."""
    assert set(LEADS) == set(WHY_BACK) == set(OrderStatus)
    for status in OrderStatus:
        assert set(LEADS[status]) == set(Standing)
        assert set(WHY_BACK[status]) == set(HOW_BACK) == set(Origin)
    for status, money in every_case():
        message = message_of(status, money, "NGN")
        assert message.sentences
        assert all("{" not in sentence and sentence.endswith(".") for sentence in message.sentences)


def every_case() -> list[tuple[OrderStatus, PayerMoney]]:
    backs = [(), *(((GoingBack(origin, 5, way),)) for origin in Origin for way in Way)]
    amounts = [(0, 0, 0), (10, 0, 0), (10, 4, 0), (10, 4, 6), (10, 0, 10)]
    return [
        (
            status,
            PayerMoney(
                applied=applied,
                refunding=refunding,
                refunded=refunded,
                held=held,
                rest=3,
                back=back,
                checking=checking,
            ),
        )
        for status, (applied, refunding, refunded), held, back, checking in itertools.product(
            OrderStatus, amounts, (0, 7), backs, (True, False)
        )
    ]


def test_not_charged_is_said_only_where_no_money_is_or_may_be() -> None:
    """Of all cases, only ended orders without held, returning, returned, applied or unknown money say it."""
    said = [(s, m) for s, m in every_case() if NOT_CHARGED in str(message_of(s, m, "NGN"))]
    assert {status for status, _ in said} == {CANCELLED, EXPIRED}
    assert all(not (m.checking or m.held or m.back) for _, m in said)
    real = [m for s, m in said if not m.applied]
    assert real == [PayerMoney(rest=3), PayerMoney(rest=3)]


@pytest.mark.parametrize(
    ("status", "money", "tone", "sentence"),
    [
        (PENDING, PayerMoney(rest=10_000_00), Tone.QUIET, "This order has not been paid yet."),
        (
            PENDING,
            PayerMoney(held=4_000_00, rest=6_000_00),
            Tone.WAIT,
            "₦4,000.00 has arrived. ₦6,000.00 is still to be paid.",
        ),
        (
            PENDING,
            PayerMoney(checking=True),
            Tone.WAIT,
            "This payment is still being checked. Please do not pay again; this page will tell.",
        ),
        (PAID, PayerMoney(applied=10_000_00), Tone.GOOD, "You paid ₦10,000.00. Thank you."),
        (
            PAID,
            PayerMoney(applied=10_000_00, back=(GoingBack(TRANSFER, 500_00, Way.RUNNING),)),
            Tone.GOOD,
            (
                "You paid ₦10,000.00. Thank you. ₦500.00 arrived that was more than was due and is on its "
                "way back to the account it came from."
            ),
        ),
        (
            PAID,
            PayerMoney(applied=10_000_00, refunded=2_500_00),
            Tone.GOOD,
            "You paid ₦10,000.00. Thank you. ₦2,500.00 was given back to you.",
        ),
        (
            PAID,
            PayerMoney(applied=10_000_00, refunding=10_000_00),
            Tone.OVER,
            "This order was paid, and then refunded. ₦10,000.00 is on its way back to you.",
        ),
        (CANCELLED, PayerMoney(), Tone.OVER, "This order was cancelled. You have not been charged."),
        (
            CANCELLED,
            PayerMoney(back=(GoingBack(TRANSFER, 5_000_00, Way.RUNNING),)),
            Tone.OVER,
            (
                "This order was cancelled. Your payment of ₦5,000.00 arrived after the order was "
                "cancelled and is on its way back to the account it came from."
            ),
        ),
        (
            CANCELLED,
            PayerMoney(back=(GoingBack(CARD, 5_000_00, Way.DONE),)),
            Tone.OVER,
            (
                "This order was cancelled. Your card payment of ₦5,000.00 went through after the order was "
                "cancelled and was given back to your card."
            ),
        ),
        (
            EXPIRED,
            PayerMoney(held=5_000_00),
            Tone.OVER,
            (
                "The time to pay this order has passed. ₦5,000.00 that you paid is kept safe until the "
                "merchant has decided about it."
            ),
        ),
    ],
)
def test_the_sentence(status: OrderStatus, money: PayerMoney, tone: Tone, sentence: str) -> None:
    """Written out by hand: what a payer reads in the cases that matter most."""
    message = message_of(status, money, "NGN")
    assert (message.tone, str(message)) == (tone, sentence)


@pytest.mark.parametrize("status", list(AttemptStatus))
@pytest.mark.parametrize("ended", [CANCELLED, EXPIRED])
def test_an_attempt_that_may_have_taken_money_is_never_called_no_charge(
    status: AttemptStatus, ended: OrderStatus
) -> None:
    """While a rail's answer is open or its money goes back, an ended order never says "not charged"."""
    unsure = {AttemptStatus.CALLING, AttemptStatus.UNKNOWN}
    back = {AttemptStatus.VOIDING, AttemptStatus.VOIDED}
    order = an_order(ended, attempts=(an_attempt(status),))
    assert (NOT_CHARGED in told(order)) is (status not in unsure | back)
    called = an_order(ended, attempts=(an_attempt(AttemptStatus.CANCELLED, calling=True),))
    assert "still being checked" in told(called)


def a_return(number: int, kind: ReturnKind, status: ReturnStatus) -> Return:
    return Return(f"C{number}", kind, number * 100_00, status, NOW, NOW)


def test_money_is_read_from_totals_attempts_returns_and_refunds() -> None:
    """A void is the card's, a return says why it goes and how far it is, a running refund is not back."""
    order = an_order(
        PAID,
        totals=Totals(received=30_000_00, applied=10_000_00, refunded=3_000_00),
        attempts=(an_attempt(AttemptStatus.VOIDING),),
        returns=(
            a_return(1, ReturnKind.LATE, ReturnStatus.DUE),
            a_return(2, ReturnKind.EXCESS, ReturnStatus.UNKNOWN),
            a_return(3, ReturnKind.HELD, ReturnStatus.PARKED),
            a_return(4, ReturnKind.LATE, ReturnStatus.DONE),
        ),
        refunds=(Refund("R", "T", 1_000_00, RefundStatus.UNKNOWN, None, None, NOW, NOW, "R", 1_000_00),),
    )
    assert money_of(order) == PayerMoney(
        applied=10_000_00,
        refunding=1_000_00,
        refunded=2_000_00,
        back=(
            GoingBack(CARD, 10_000_00, Way.RUNNING),
            GoingBack(TRANSFER, 100_00, Way.RUNNING),
            GoingBack(TRANSFER, 200_00, Way.RUNNING),
            GoingBack(PART, 300_00, Way.PARKED),
            GoingBack(TRANSFER, 400_00, Way.DONE),
        ),
    )
