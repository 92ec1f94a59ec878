"""Every refund status x answer cell, and the cap, written out by hand from laws 4 and contract 3.6."""

import pytest
from msgspec.structs import replace

from domain import factories
from domain.factories import AMOUNT
from opentill.domain.commands import RailOutcome, RefundOutcome
from opentill.domain.decisions import decide
from opentill.domain.events import EventType
from opentill.domain.ledger import entries_for
from opentill.domain.order import AttemptStatus, CallKind, Order, OrderStatus, RailCall, RefundStatus
from opentill.domain.refusals import RefundExceedsPaid

S = RefundStatus
PAID = OrderStatus.PAID

# What the rail answers about a refund; "." is an answer that changes nothing.
ANSWERED = """
          done      refused  silent   closed
RUNNING   DONE      REFUSED  UNKNOWN  REFUSED
UNKNOWN   DONE      CLOSING  .        REFUSED
CLOSING   DONE      .        .        REFUSED
DONE      .         .        .        .
REFUSED   DISPUTED  .        .        .
DISPUTED  .         .        .        .
"""

EVENT_OF = {
    S.DONE: (EventType.PAYMENT_REFUNDED, 100, "refund"),
    S.REFUSED: (EventType.REFUND_REFUSED, 100, "61"),
    S.UNKNOWN: (EventType.REFUND_UNKNOWN, 0, None),
    S.CLOSING: (EventType.REFUND_CLOSING, 0, "61"),
    S.DISPUTED: (EventType.PAYOUT_DISPUTED, 100, "refund"),
}
CALL_OF = {S.UNKNOWN: RailCall(CallKind.REFUND, factories.NOW), S.CLOSING: RailCall(CallKind.REFUND, 0)}
"""What a worker then sees to, and when: a refund to be closed at once."""


def _cells() -> dict[tuple[RefundStatus, RefundOutcome], RefundStatus | None]:
    columns, *rows = (line.split() for line in ANSWERED.strip().splitlines())
    return {
        (S(row[0]), RefundOutcome(column)): None if cell == "." else S(cell)
        for row in rows
        for column, cell in zip(columns, row[1:], strict=True)
    }


CASES = [(*key, to) for key, to in _cells().items()]


def test_every_refund_status_has_a_case_for_every_answer() -> None:
    """No cell of the refund's table is left out."""
    assert {case[:2] for case in CASES} == {(s, o) for s in RefundStatus for o in RefundOutcome}


@pytest.mark.parametrize(("status", "outcome", "to"), CASES)
def test_an_answer_of_the_rail_leads_where_the_table_says(
    status: RefundStatus, outcome: RefundOutcome, to: RefundStatus | None
) -> None:
    """An answer is never refused: it takes the written step and event, or changes nothing."""
    before = factories.refund(status)
    order = factories.order(PAID, refunds=(before,))
    change = decide(order, factories.settle_refund(outcome), factories.NOW)
    if to is None:
        assert (change.after, change.events) == (order, ())
        return
    (after,) = change.after.refunds
    assert after == replace(
        before,
        status=to,
        updated_at=factories.NOW,
        call=CALL_OF.get(to),
        response_code="61",
        message="what the rail said",
    )
    (event,) = change.events
    assert (event.type, event.amount, event.reason) == EVENT_OF[to]
    assert (event.transaction_id, event.refund_id) == ("T-paid", "F")
    assert change.after.totals.refunded == (0 if to in {S.REFUSED, S.DISPUTED} else 100)
    assert (change.after.status, change.after.refund_count) == (PAID, 1)


@pytest.mark.parametrize(("status", "outcome", "to"), [c for c in CASES if c[2]])
def test_an_answer_given_twice_counts_once(
    status: RefundStatus, outcome: RefundOutcome, to: RefundStatus | None
) -> None:
    """A rail may repeat itself: the same answer a second time changes nothing."""
    order = factories.order(PAID, refunds=(factories.refund(status),))
    once = decide(order, factories.settle_refund(outcome), factories.NOW).after
    twice = decide(once, factories.settle_refund(outcome, number=2), factories.NOW)
    assert (twice.after, twice.events) == (once, ())


def test_an_answer_settles_its_own_refund_and_no_other() -> None:
    """Of two refunds under way only the one that was answered changes."""
    other = factories.refund(S.RUNNING, refund_id="other", amount=7)
    order = factories.order(PAID, refunds=(other, factories.refund(S.RUNNING)))
    after = decide(order, factories.settle_refund(RefundOutcome.REFUSED), factories.NOW).after
    assert [r.status for r in after.refunds] == [S.RUNNING, S.REFUSED]
    assert (after.refunds[0], after.totals.refunded) == (other, 7)


def test_the_intention_of_a_refund_is_recorded_before_the_rail_is_asked() -> None:
    """A refund begins as running, with its one id, where it goes, its deadline and the caller's key."""
    command = replace(factories.begin_refund(40), account_number="0123456789", bank_code="058")
    change = decide(factories.order(PAID), command, factories.NOW)
    (refund,) = change.after.refunds
    assert (refund.refund_id, refund.transaction_id, refund.amount) == ("F-new", "T-paid", 40)
    assert (refund.status, refund.response_code, refund.message) == (S.RUNNING, "", "")
    assert (refund.account_number, refund.bank_code) == ("0123456789", "058")
    assert (refund.started_at, refund.updated_at) == (factories.NOW, factories.NOW)
    assert refund.call == RailCall(CallKind.REFUND, command.call_until, "key-1")
    assert (change.after.refund_count, change.after.totals.refunded) == (1, 40)
    (event,) = change.events
    assert (event.type, event.amount, event.refund_id) == (EventType.REFUND_STARTED, 40, "F-new")


def _beside(status: RefundStatus, amount: int) -> Order:
    return factories.order(PAID, refunds=(factories.refund(status, amount=amount),))


COUNTED = [
    (S.RUNNING, True),
    (S.UNKNOWN, True),
    (S.CLOSING, True),
    (S.DONE, True),
    (S.DISPUTED, True),
    (S.REFUSED, False),
]


@pytest.mark.parametrize(("status", "counts"), COUNTED)
def test_all_but_refused_refunds_count_against_the_cap(status: RefundStatus, *, counts: bool) -> None:
    """Beside a refund of 60 % a second one fits only if the first was refused; what is left always fits."""
    most = AMOUNT * 60 // 100
    order = _beside(status, most)
    left = AMOUNT - most if counts else AMOUNT
    everything = decide(order, factories.begin_refund(), factories.NOW).after
    assert [r.amount for r in everything.refunds] == [most, left]
    disputed = most if status is S.DISPUTED else 0
    assert (everything.totals.refunded, everything.refund_count) == (AMOUNT - disputed, 2)
    assert decide(order, factories.begin_refund(left), factories.NOW).after == everything
    with pytest.raises(RefundExceedsPaid):
        decide(order, factories.begin_refund(left + 1), factories.NOW)
    if counts:
        with pytest.raises(RefundExceedsPaid):
            decide(order, factories.begin_refund(most), factories.NOW)


@pytest.mark.parametrize("amount", [None, 1])
@pytest.mark.parametrize("status", [S.RUNNING, S.UNKNOWN, S.CLOSING, S.DONE, S.DISPUTED])
def test_nothing_is_refunded_when_nothing_is_left(status: RefundStatus, amount: int | None) -> None:
    """Once everything is refunded, or on its way, neither the rest nor a kobo can be."""
    with pytest.raises(RefundExceedsPaid):
        decide(_beside(status, AMOUNT), factories.begin_refund(amount), factories.NOW)


def test_a_refund_may_be_as_small_as_money_gets() -> None:
    """One minor unit can be refunded."""
    assert decide(factories.order(PAID), factories.begin_refund(1), factories.NOW).after.totals.refunded == 1


@pytest.mark.parametrize("amount", [0, -1])
def test_a_refund_gives_something_back(amount: int) -> None:
    """A refund of nothing, or of less, is refused like one that is too large."""
    with pytest.raises(RefundExceedsPaid):
        decide(factories.order(PAID), factories.begin_refund(amount), factories.NOW)


def test_what_a_refused_refund_frees_can_be_refunded_again() -> None:
    """A refund of everything that the rail refuses drops out of the cap, and the next one takes its place."""
    running = decide(factories.order(PAID), factories.begin_refund(refund_id="F"), factories.NOW).after
    with pytest.raises(RefundExceedsPaid):
        decide(running, factories.begin_refund(1, number=2), factories.NOW)
    refused = decide(running, factories.settle_refund(RefundOutcome.REFUSED, number=3), factories.NOW).after
    assert refused.totals.refunded == 0
    again = decide(refused, factories.begin_refund(number=4), factories.NOW).after
    assert [(r.refund_id, r.status, r.amount) for r in again.refunds] == [
        ("F", S.REFUSED, AMOUNT),
        ("F-new", S.RUNNING, AMOUNT),
    ]


def test_a_refusal_beside_a_try_without_an_answer_frees_nothing() -> None:
    """Until the rail has closed the id the refund counts; then it is refused by the code of its refusal."""
    order = decide(
        _beside(S.RUNNING, AMOUNT), factories.settle_refund(RefundOutcome.SILENT), factories.NOW
    ).after
    refused = factories.settle_refund(RefundOutcome.REFUSED, number=2)
    order = decide(order, refused, factories.NOW).after
    with pytest.raises(RefundExceedsPaid):
        decide(order, factories.begin_refund(1, number=3), factories.NOW)
    closed = replace(factories.settle_refund(RefundOutcome.CLOSED, number=4), response_code="", message="")
    change = decide(order, closed, factories.NOW)
    (refund,) = change.after.refunds
    assert (refund.status, refund.response_code, refund.message) == (S.REFUSED, "61", "what the rail said")
    assert [(e.type, e.reason) for e in change.events] == [(EventType.REFUND_REFUSED, "61")]
    assert change.after.totals.refunded == 0


def test_a_silent_worker_leaves_the_key_to_the_answer() -> None:
    """Whoever asked under a key and is gone is answered by the end of the refund, not by a worker's doubt."""
    silent = replace(factories.settle_refund(RefundOutcome.SILENT), keeps_key=True)
    (refund,) = decide(_beside(S.RUNNING, 100), silent, factories.NOW).after.refunds
    assert refund.call == RailCall(CallKind.REFUND, factories.NOW, "key-0")


def test_what_the_rail_paid_after_its_refusal_is_booked_in_the_open() -> None:
    """Given back again meanwhile, it stands on an account of its own, and nothing more may be given back."""
    order = factories.order(PAID, refunds=(factories.refund(S.REFUSED, amount=AMOUNT),))
    order = decide(order, factories.begin_refund(number=2), factories.NOW).after
    change = decide(order, factories.settle_refund(RefundOutcome.DONE, number=3), factories.NOW)
    booked = [(e.account, e.amount) for event in change.events for e in entries_for(event)]
    assert booked == [("payouts_disputed", AMOUNT), ("card_rail", -AMOUNT)]
    assert change.after.totals == order.totals
    with pytest.raises(RefundExceedsPaid):
        decide(change.after, factories.begin_refund(1, number=4), factories.NOW)


def test_a_refund_counts_what_was_applied_and_nothing_else() -> None:
    """Money that is on its way back, or back, beside the payment can not be refunded."""
    order = factories.order(PAID)
    totals = replace(order.totals, received=3 * AMOUNT, returning=AMOUNT, returned=AMOUNT)
    with pytest.raises(RefundExceedsPaid):
        decide(replace(order, totals=totals), factories.begin_refund(AMOUNT + 1), factories.NOW)


def test_a_wordless_refusal_has_no_reason() -> None:
    """The event of a refused refund carries the rail's code as its reason, or none where there is no code."""
    answer = replace(factories.settle_refund(RefundOutcome.REFUSED), response_code="")
    (event,) = decide(_beside(S.RUNNING, 100), answer, factories.NOW).events
    assert event.reason is None


def test_a_payment_that_the_rail_gave_back_by_itself_is_booked_as_a_refund() -> None:
    """Voided after its approval, the order stays PAID; what was left of it is refunded and booked, once."""
    order = factories.order(OrderStatus.PAID, factories.attempt(AttemptStatus.APPROVED), paid_by="T")
    change = decide(order, factories.settle(RailOutcome.VOIDED), factories.NOW)
    assert change.after.status is OrderStatus.PAID
    assert (change.after.totals.applied, change.after.totals.refunded) == (factories.AMOUNT, factories.AMOUNT)
    assert [e.type for e in change.events] == [EventType.REFUND_STARTED, EventType.PAYMENT_REFUNDED]
    (refund,) = change.after.refunds
    assert (refund.status, refund.amount) == (RefundStatus.DONE, factories.AMOUNT)
    booked = [(e.account, e.amount) for event in change.events for e in entries_for(event)]
    assert booked == [
        ("merchant:M", factories.AMOUNT),
        ("refunds_due", -factories.AMOUNT),
        ("refunds_due", factories.AMOUNT),
        ("card_rail", -factories.AMOUNT),
    ]
    again = decide(change.after, factories.settle(RailOutcome.VOIDED, number=2), factories.NOW)
    assert again.events == ()
