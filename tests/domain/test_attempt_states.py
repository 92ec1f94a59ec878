"""Every attempt status x input cell, written out by hand from mechanics 4 and 5 and contract 3.1, 3.8."""

import dataclasses

import pytest

from domain import given
from opentill.domain.commands import RailOutcome
from opentill.domain.events import EventType
from opentill.domain.lifecycle import decide
from opentill.domain.order import AttemptStatus, Call, CallKind, OrderStatus, Totals
from opentill.domain.refusals import (
    AttemptAlreadyCompleted,
    AttemptEnded,
    AttemptInProgress,
    Refusal,
    TooManyAttempts,
)

S = AttemptStatus
PENDING = OrderStatus.PENDING
ENDED = [OrderStatus.PAID, OrderStatus.CANCELLED, OrderStatus.EXPIRED]

# What the rail answers about an attempt of a PENDING order; "." is an answer that changes nothing.
WHILE_PENDING = """
              approved  declined  otp_required  otp_rejected  silent   never_happened  voided
CALLING       APPROVED  DECLINED  AWAITING_OTP  AWAITING_OTP  UNKNOWN  FAILED          VOIDED
UNKNOWN       APPROVED  DECLINED  AWAITING_OTP  AWAITING_OTP  .        FAILED          VOIDED
AWAITING_OTP  APPROVED  DECLINED  .             .             .        .               VOIDED
AWAITING_3DS  APPROVED  DECLINED  .             .             .        .               VOIDED
APPROVED      .         .         .             .             .        .               .
DECLINED      VOIDING   .         .             .             .        .               VOIDED
CANCELLED     VOIDING   .         .             .             .        .               VOIDED
FAILED        VOIDING   .         .             .             .        .               VOIDED
VOIDING       .         .         .             .             .        .               VOIDED
VOIDED        .         .         .             .             .        .               .
"""

# The same once the order has ended: no approval is wanted, and nobody waits for a payer any more.
AFTER_THE_END = """
              approved  declined  otp_required  otp_rejected  silent   never_happened  voided
CALLING       VOIDING   DECLINED  CANCELLED     CANCELLED     UNKNOWN  FAILED          VOIDED
UNKNOWN       VOIDING   DECLINED  CANCELLED     CANCELLED     .        FAILED          VOIDED
AWAITING_OTP  VOIDING   DECLINED  .             .             .        .               VOIDED
AWAITING_3DS  VOIDING   DECLINED  .             .             .        .               VOIDED
APPROVED      .         .         .             .             .        .               .
DECLINED      VOIDING   .         .             .             .        .               VOIDED
CANCELLED     VOIDING   .         .             .             .        .               VOIDED
FAILED        VOIDING   .         .             .             .        .               VOIDED
VOIDING       .         .         .             .             .        .               VOIDED
VOIDED        .         .         .             .             .        .               .
"""

EVENT_OF = {
    S.AWAITING_OTP: EventType.ATTEMPT_WAITING,
    S.UNKNOWN: EventType.ATTEMPT_UNKNOWN,
    S.APPROVED: EventType.PAYMENT_SUCCESS,
    S.DECLINED: EventType.PAYMENT_FAILED,
    S.FAILED: EventType.PAYMENT_FAILED,
    S.CANCELLED: EventType.ATTEMPT_CANCELLED,
    S.VOIDING: EventType.VOID_STARTED,
    S.VOIDED: EventType.PAYMENT_REVERSAL,
}

SUBMITTING_AN_OTP: dict[AttemptStatus, AttemptStatus | type[Refusal]] = {
    S.AWAITING_OTP: S.CALLING,
    S.CALLING: AttemptInProgress,
    S.UNKNOWN: AttemptInProgress,
    S.AWAITING_3DS: AttemptInProgress,
    S.APPROVED: AttemptAlreadyCompleted,
    S.DECLINED: AttemptEnded,
    S.CANCELLED: AttemptEnded,
    S.FAILED: AttemptEnded,
    S.VOIDING: AttemptEnded,
    S.VOIDED: AttemptEnded,
}

BEGINNING_ANOTHER: dict[AttemptStatus, AttemptStatus | type[Refusal]] = {
    S.AWAITING_OTP: S.CANCELLED,
    S.AWAITING_3DS: S.CANCELLED,
    S.CALLING: AttemptInProgress,
    S.UNKNOWN: AttemptInProgress,
    S.APPROVED: S.APPROVED,
    S.DECLINED: S.DECLINED,
    S.CANCELLED: S.CANCELLED,
    S.FAILED: S.FAILED,
    S.VOIDING: S.VOIDING,
    S.VOIDED: S.VOIDED,
}


def _cells(grid: str) -> dict[tuple[AttemptStatus, RailOutcome], AttemptStatus | None]:
    columns, *rows = (line.split() for line in grid.strip().splitlines())
    return {
        (S(row[0]), RailOutcome(column)): None if cell == "." else S(cell)
        for row in rows
        for column, cell in zip(columns, row[1:], strict=True)
    }


CASES = [(PENDING, *key, to) for key, to in _cells(WHILE_PENDING).items()] + [
    (ended, *key, to) for ended in ENDED for key, to in _cells(AFTER_THE_END).items()
]


def test_every_attempt_status_has_a_case_for_every_input() -> None:
    """No cell is left out: each order status, each attempt status, each answer, and what payers do."""
    every = {(o, s, r) for o in OrderStatus for s in AttemptStatus for r in RailOutcome}
    assert {case[:3] for case in CASES} == every
    assert set(SUBMITTING_AN_OTP) == set(BEGINNING_ANOTHER) == set(AttemptStatus)


@pytest.mark.parametrize(("order_status", "status", "outcome", "to"), CASES)
def test_an_answer_of_the_rail_leads_where_the_table_says(
    order_status: OrderStatus, status: AttemptStatus, outcome: RailOutcome, to: AttemptStatus | None
) -> None:
    """An answer is never refused: it takes the written step and event, or changes nothing."""
    order = given.order(order_status, given.attempt(status))
    change = decide(order, given.settle(outcome), given.NOW)
    if to is None:
        assert (change.after, change.events) == (order, ())
        return
    (settled,) = change.after.attempts
    assert settled.status is to
    news = [EventType.VOID_STARTED] if to is S.VOIDED and status is not S.VOIDING else []
    assert [(e.type, e.transaction_id) for e in change.events] == [(t, "T") for t in [*news, EVENT_OF[to]]]
    assert change.after.status is (OrderStatus.PAID if to is S.APPROVED else order_status)
    assert change.after.totals.balanced()


@pytest.mark.parametrize(
    "outcome", [o for o in RailOutcome if o not in {RailOutcome.APPROVED, RailOutcome.VOIDED}]
)
def test_a_late_answer_to_an_earlier_call_changes_nothing(outcome: RailOutcome) -> None:
    """While a password is being confirmed, what the charge before it was answered no longer counts."""
    order = given.order(PENDING, given.attempt(S.CALLING, otp_tries=1))
    change = decide(order, given.settle(outcome, answers_try=0), given.NOW)
    assert (change.after, change.events) == (order, ())


@pytest.mark.parametrize("outcome", [RailOutcome.APPROVED, RailOutcome.VOIDED])
def test_money_counts_whichever_call_it_answers(outcome: RailOutcome) -> None:
    """An answer that says money was taken is a fact, also as a late answer to an earlier call."""
    order = given.order(PENDING, given.attempt(S.CALLING, otp_tries=1))
    change = decide(order, given.settle(outcome, answers_try=0), given.NOW)
    assert change.after.totals.received == given.AMOUNT


@pytest.mark.parametrize(("order_status", "status", "outcome", "to"), [c for c in CASES if c[3]])
def test_an_answer_given_twice_counts_once(
    order_status: OrderStatus, status: AttemptStatus, outcome: RailOutcome, to: AttemptStatus | None
) -> None:
    """A rail may repeat itself: the same answer a second time moves no money."""
    once = decide(given.order(order_status, given.attempt(status)), given.settle(outcome), given.NOW).after
    twice = decide(once, given.settle(outcome, number=2), given.NOW)
    assert twice.after.totals == once.totals
    assert twice.events == ()


@pytest.mark.parametrize(("status", "expected"), SUBMITTING_AN_OTP.items())
def test_an_otp_is_taken_only_by_an_attempt_that_waits_for_it(
    status: AttemptStatus, expected: AttemptStatus | type[Refusal]
) -> None:
    """An OTP resumes a waiting attempt, counting the try; any other attempt refuses it by its state."""
    order = given.order(PENDING, given.attempt(status))
    if expected is S.CALLING:
        (resumed,) = decide(order, given.submit_otp(), given.NOW).after.attempts
        assert (resumed.status, resumed.otp_tries) == (S.CALLING, 1)
        assert resumed.call is not None
        assert resumed.call.kind is CallKind.CONFIRM
        return
    with pytest.raises(Refusal) as caught:
        decide(order, given.submit_otp(), given.NOW)
    assert type(caught.value) is expected


@pytest.mark.parametrize(("status", "expected"), BEGINNING_ANOTHER.items())
def test_at_most_one_attempt_of_an_order_is_live(
    status: AttemptStatus, expected: AttemptStatus | type[Refusal]
) -> None:
    """A new attempt replaces one that waits for the payer, and is refused beside one in flight."""
    order = given.order(PENDING, given.attempt(status))
    if isinstance(expected, AttemptStatus):
        old, new = decide(order, given.begin(), given.NOW).after.attempts
        assert (old.status, new.status, new.transaction_id) == (expected, S.CALLING, "T-new")
        assert new.amount == order.amount
        return
    with pytest.raises(expected):
        decide(order, given.begin(), given.NOW)


def test_the_number_of_attempts_is_limited() -> None:
    """An order takes as many attempts as the command allows, and refuses the next."""
    two = [given.attempt(S.DECLINED, transaction_id=t) for t in ("T1", "T2")]
    order = given.order(PENDING, *two)
    assert decide(order, given.begin(max_attempts=3), given.NOW).after.attempt_count == 3
    with pytest.raises(TooManyAttempts):
        decide(order, given.begin(max_attempts=2), given.NOW)


@pytest.mark.parametrize(
    ("tries", "to"), [(1, S.AWAITING_OTP), (2, S.AWAITING_OTP), (3, S.DECLINED), (4, S.DECLINED)]
)
def test_wrong_otps_are_limited(tries: int, to: AttemptStatus) -> None:
    """The last wrong OTP that is allowed declines the attempt; the order can be paid by another."""
    order = given.order(PENDING, given.attempt(S.CALLING, otp_tries=tries))
    after = decide(
        order, given.settle(RailOutcome.OTP_REJECTED, answers_try=tries, max_otp_tries=3), given.NOW
    ).after
    assert (after.status, after.attempts[0].status) == (PENDING, to)


@pytest.mark.parametrize("order_status", [PENDING, *ENDED])
def test_silence_leaves_the_call_to_the_worker_and_frees_the_key(order_status: OrderStatus) -> None:
    """An unanswered call stays on the attempt for the worker; the caller's key does not wait for it."""
    calling = given.attempt(S.CALLING)
    (unknown,) = decide(
        given.order(order_status, calling), given.settle(RailOutcome.SILENT), given.NOW
    ).after.attempts
    assert calling.call is not None
    assert unknown.call == dataclasses.replace(calling.call, key=None)


@pytest.mark.parametrize("outcome", [RailOutcome.DECLINED, RailOutcome.OTP_REQUIRED, RailOutcome.APPROVED])
def test_an_answer_ends_the_call_and_is_remembered(outcome: RailOutcome) -> None:
    """An answered attempt waits for no call and keeps the rail's code and message."""
    order = given.order(PENDING, given.attempt(S.CALLING))
    (settled,) = decide(order, given.settle(outcome), given.NOW).after.attempts
    assert (settled.call, settled.response_code, settled.message) == (None, "51", "what the rail said")


def test_an_unwanted_approval_is_voided_until_its_money_is_back() -> None:
    """Cancel wins over a call in flight: the approval is booked, voided, and returned, all in the open."""
    cancelled = decide(given.order(PENDING, given.attempt(S.CALLING)), given.cancel(), given.NOW).after
    assert cancelled.attempts[0].status is S.CALLING
    voiding = decide(cancelled, given.settle(RailOutcome.APPROVED, number=2), given.NOW)
    call = voiding.after.attempts[0].call
    assert call is not None
    assert call.kind is CallKind.VOID
    assert (voiding.after.totals.received, voiding.after.totals.returning) == (given.AMOUNT, given.AMOUNT)
    back = decide(voiding.after, given.settle(RailOutcome.VOIDED, number=3), given.NOW)
    assert (back.after.totals.returning, back.after.totals.returned) == (0, given.AMOUNT)
    assert back.after.attempts[0].call is None
    assert [(e.type, e.reason, e.amount) for e in back.events] == [
        (EventType.PAYMENT_REVERSAL, "void", given.AMOUNT)
    ]


def test_a_late_approval_of_a_replaced_attempt_does_not_pay_twice() -> None:
    """The order is paid by the attempt that won; the other's approval goes back and changes no ending."""
    attempts = [given.attempt(S.CANCELLED, transaction_id="old"), given.attempt(S.CALLING)]
    paid = decide(given.order(PENDING, *attempts), given.settle(RailOutcome.APPROVED), given.NOW).after
    late = decide(paid, given.settle(RailOutcome.APPROVED, number=2, transaction_id="old"), given.NOW).after
    assert (late.status, late.paid_by) == (OrderStatus.PAID, "T")
    assert (late.totals.applied, late.totals.returning) == (given.AMOUNT, given.AMOUNT)


def test_the_intention_of_a_call_is_recorded_before_it_is_made() -> None:
    """Charge, confirm and void each leave their kind, their deadline and the caller's key on the attempt."""
    begin, otp = given.begin(transaction_id="T"), dataclasses.replace(given.submit_otp(), reply_key="key-2")
    calling = decide(given.order(PENDING), begin, given.NOW).after
    waiting = decide(calling, given.settle(RailOutcome.OTP_REQUIRED), given.NOW).after
    confirming = decide(waiting, otp, given.NOW).after
    cancelled = decide(confirming, given.cancel(), given.NOW).after
    voiding = decide(cancelled, given.settle(RailOutcome.APPROVED), given.NOW).after
    calls = [o.attempts[0].call for o in (calling, waiting, confirming, cancelled, voiding)]
    confirm = Call(CallKind.CONFIRM, otp.call_until, "key-2")
    void = Call(CallKind.VOID, given.NOW + 30_000)
    assert calls == [Call(CallKind.CHARGE, begin.call_until, "key-1"), None, confirm, confirm, void]


def test_an_attempt_keeps_of_the_card_only_what_may_be_kept() -> None:
    """Masked number and brand come from the command and stand on the attempt."""
    (attempt,) = decide(given.order(PENDING), given.begin(), given.NOW).after.attempts
    assert (attempt.card_masked, attempt.card_brand) == ("543462******2808", "Mastercard")


def test_a_decline_says_why() -> None:
    """The event of a failed attempt carries the rail's code as its reason, or none where there is no code."""
    order = given.order(PENDING, given.attempt(S.CALLING))
    answer = given.settle(RailOutcome.DECLINED)
    wordless = dataclasses.replace(answer, response_code="")
    reasons = [decide(order, command, given.NOW).events[0].reason for command in (answer, wordless)]
    assert reasons == ["51", None]


def test_several_unwanted_payments_are_returned_beside_each_other() -> None:
    """Two late approvals of one order are both on their way back, and come back one by one."""
    attempts = [
        given.attempt(S.VOIDING, transaction_id="first"),
        given.attempt(S.VOIDED, transaction_id="done"),
        given.attempt(S.CANCELLED),
    ]
    order = given.order(OrderStatus.CANCELLED, *attempts)
    both = decide(order, given.settle(RailOutcome.APPROVED), given.NOW).after
    assert both.totals == Totals(received=3 * given.AMOUNT, returning=2 * given.AMOUNT, returned=given.AMOUNT)
    one = decide(both, given.settle(RailOutcome.VOIDED, transaction_id="first"), given.NOW).after
    assert one.totals == Totals(received=3 * given.AMOUNT, returning=given.AMOUNT, returned=2 * given.AMOUNT)
