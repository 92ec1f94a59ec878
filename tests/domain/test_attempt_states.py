"""Every attempt status x input cell, written out by hand from laws 4 and 5 and contract 3.1, 3.8."""

import pytest
from msgspec.structs import replace

from domain import factories
from opentill.domain.commands import Command, RailOutcome
from opentill.domain.decisions import decide
from opentill.domain.events import EventType
from opentill.domain.order import Attempt, AttemptStatus, CallKind, Order, OrderStatus, RailCall, Totals
from opentill.domain.refusals import (
    AttemptAlreadyCompleted,
    AttemptEnded,
    AttemptInProgress,
    RecordNotFound,
    Refusal,
    TooManyAttempts,
    TooManyOtps,
)

S = AttemptStatus
PENDING = OrderStatus.PENDING
ENDED = [OrderStatus.PAID, OrderStatus.CANCELLED, OrderStatus.EXPIRED]

# What the rail answers about an attempt of a PENDING order; "." is an answer that changes nothing.
# CANCELLED+ was cancelled while the rail was being asked: the answer closes that call.
WHILE_PENDING = """
             approved declined  otp_required challenge_required otp_rejected silent  never_happened voided
CALLING      APPROVED DECLINED  AWAITING_OTP AWAITING_3DS       AWAITING_OTP UNKNOWN FAILED         VOIDED
UNKNOWN      APPROVED DECLINED  AWAITING_OTP AWAITING_3DS       AWAITING_OTP .       FAILED         VOIDED
AWAITING_OTP APPROVED DECLINED  .            .                  .            .       .              VOIDED
AWAITING_3DS APPROVED DECLINED  .            .                  .            .       .              VOIDED
APPROVED     .        .         .            .                  .            .       .              .
DECLINED     VOIDING  .         .            .                  .            .       .              VOIDED
CANCELLED    VOIDING  .         .            .                  .            .       .              VOIDED
CANCELLED+   VOIDING  CANCELLED CANCELLED    CANCELLED          CANCELLED    .       CANCELLED      VOIDED
FAILED       VOIDING  .         .            .                  .            .       .              VOIDED
VOIDING      .        .         .            .                  .            .       .              VOIDED
VOIDED       .        .         .            .                  .            .       .              .
"""

# The same once the order has ended: no approval is wanted, and nobody waits for a payer any more.
AFTER_THE_END = """
             approved declined  otp_required challenge_required otp_rejected silent  never_happened voided
CALLING      VOIDING  DECLINED  CANCELLED    CANCELLED          CANCELLED    UNKNOWN FAILED         VOIDED
UNKNOWN      VOIDING  DECLINED  CANCELLED    CANCELLED          CANCELLED    .       FAILED         VOIDED
AWAITING_OTP VOIDING  DECLINED  .            .                  .            .       .              VOIDED
AWAITING_3DS VOIDING  DECLINED  .            .                  .            .       .              VOIDED
APPROVED     .        .         .            .                  .            .       .              .
DECLINED     VOIDING  .         .            .                  .            .       .              VOIDED
CANCELLED    VOIDING  .         .            .                  .            .       .              VOIDED
CANCELLED+   VOIDING  CANCELLED CANCELLED    CANCELLED          CANCELLED    .       CANCELLED      VOIDED
FAILED       VOIDING  .         .            .                  .            .       .              VOIDED
VOIDING      .        .         .            .                  .            .       .              VOIDED
VOIDED       .        .         .            .                  .            .       .              .
"""

CALL = RailCall(CallKind.CONFIRM, factories.NOW, "key-0")

EVENT_OF = {
    S.AWAITING_OTP: EventType.ATTEMPT_WAITING,
    S.AWAITING_3DS: EventType.ATTEMPT_WAITING,
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

RETURNING_FROM_A_CHALLENGE = SUBMITTING_AN_OTP | {
    S.AWAITING_3DS: S.CALLING,
    S.AWAITING_OTP: AttemptInProgress,
}

CANCELLING_IT: dict[AttemptStatus, AttemptStatus | type[Refusal]] = {
    S.AWAITING_OTP: S.CANCELLED,
    S.AWAITING_3DS: S.CANCELLED,
    S.CALLING: S.CANCELLED,
    S.UNKNOWN: S.CANCELLED,
    S.APPROVED: AttemptAlreadyCompleted,
    S.DECLINED: AttemptEnded,
    S.CANCELLED: AttemptEnded,
    S.FAILED: AttemptEnded,
    S.VOIDING: AttemptEnded,
    S.VOIDED: AttemptEnded,
}

# An approved attempt is missing: its order is paid, and refuses first.
RESENDING_ITS_OTP: dict[AttemptStatus, AttemptStatus | type[Refusal]] = {
    S.AWAITING_OTP: S.AWAITING_OTP,
    S.AWAITING_3DS: AttemptInProgress,
    S.CALLING: AttemptInProgress,
    S.UNKNOWN: AttemptInProgress,
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


def _attempt(row: str) -> Attempt:
    attempt = factories.attempt(S(row.removesuffix("+")))
    return replace(attempt, call=CALL) if row.endswith("+") else attempt


def _cells(grid: str) -> dict[tuple[str, RailOutcome], AttemptStatus | None]:
    columns, *rows = (line.split() for line in grid.strip().splitlines())
    return {
        (row[0], RailOutcome(column)): None if cell == "." else S(cell)
        for row in rows
        for column, cell in zip(columns, row[1:], strict=True)
    }


CASES = [(PENDING, *key, to) for key, to in _cells(WHILE_PENDING).items()] + [
    (ended, *key, to) for ended in ENDED for key, to in _cells(AFTER_THE_END).items()
]


def test_every_attempt_status_has_a_case_for_every_input() -> None:
    """No cell is left out: each order status, each attempt status, each answer, and what payers do."""
    rows = [*(s.value for s in AttemptStatus), "CANCELLED+"]
    every = {(o, row, r) for o in OrderStatus for row in rows for r in RailOutcome}
    assert {case[:3] for case in CASES} == every
    by_hand = [SUBMITTING_AN_OTP, RETURNING_FROM_A_CHALLENGE, CANCELLING_IT, BEGINNING_ANOTHER]
    assert all(set(table) == set(AttemptStatus) for table in by_hand)
    assert set(RESENDING_ITS_OTP) == set(AttemptStatus) - {S.APPROVED}


@pytest.mark.parametrize(("order_status", "row", "outcome", "to"), CASES)
def test_an_answer_of_the_rail_leads_where_the_table_says(
    order_status: OrderStatus, row: str, outcome: RailOutcome, to: AttemptStatus | None
) -> None:
    """An answer is never refused: it takes the written step and event, or changes nothing."""
    attempt = _attempt(row)
    order = factories.order(order_status, attempt)
    change = decide(order, factories.settle(outcome), factories.NOW)
    if to is None:
        assert (change.after, change.events) == (order, ())
        return
    (settled,) = change.after.attempts
    assert (settled.status, settled.updated_at) == (to, factories.NOW)
    last = EventType.ATTEMPT_CLOSED if to is attempt.status else EVENT_OF[to]
    news = [EventType.VOID_STARTED] if to is S.VOIDED and attempt.status is not S.VOIDING else []
    assert [(e.type, e.transaction_id) for e in change.events] == [(t, "T") for t in [*news, last]]
    assert change.after.status is (OrderStatus.PAID if to is S.APPROVED else order_status)
    assert change.after.totals.balanced()


@pytest.mark.parametrize(("order_status", "row", "outcome", "to"), [c for c in CASES if c[3]])
def test_only_who_waits_for_the_rail_or_the_issuer_has_something_to_wait_for(
    order_status: OrderStatus, row: str, outcome: RailOutcome, to: AttemptStatus
) -> None:
    """A call is noted while the rail may still answer it, a challenge while the payer is with the issuer."""
    (settled,) = decide(
        factories.order(order_status, _attempt(row)), factories.settle(outcome), factories.NOW
    ).after.attempts
    assert (settled.call is not None) == (to in {S.UNKNOWN, S.VOIDING})
    assert settled.challenge == (factories.CHALLENGE if to is S.AWAITING_3DS else None)


@pytest.mark.parametrize(
    "outcome", [o for o in RailOutcome if o not in {RailOutcome.APPROVED, RailOutcome.VOIDED}]
)
def test_a_late_answer_to_an_earlier_call_changes_nothing(outcome: RailOutcome) -> None:
    """While a password is being confirmed, what the charge before it was answered no longer counts."""
    order = factories.order(PENDING, factories.attempt(S.CALLING, confirmations=1))
    change = decide(order, factories.settle(outcome, answers_try=0), factories.NOW)
    assert (change.after, change.events) == (order, ())


@pytest.mark.parametrize("outcome", [RailOutcome.APPROVED, RailOutcome.VOIDED])
def test_money_counts_whichever_call_it_answers(outcome: RailOutcome) -> None:
    """An answer that says money was taken is a fact, also as a late answer to an earlier call."""
    order = factories.order(PENDING, factories.attempt(S.CALLING, confirmations=1))
    change = decide(order, factories.settle(outcome, answers_try=0), factories.NOW)
    assert change.after.totals.received == factories.AMOUNT


@pytest.mark.parametrize(("order_status", "row", "outcome", "to"), [c for c in CASES if c[3]])
def test_an_answer_given_twice_counts_once(
    order_status: OrderStatus, row: str, outcome: RailOutcome, to: AttemptStatus | None
) -> None:
    """A rail may repeat itself: the same answer a second time moves no money."""
    once = decide(
        factories.order(order_status, _attempt(row)), factories.settle(outcome), factories.NOW
    ).after
    twice = decide(once, factories.settle(outcome, number=2), factories.NOW)
    assert twice.after.totals == once.totals
    assert twice.events == ()


GOING_ON = [
    *((factories.submit_otp(), status, to) for status, to in SUBMITTING_AN_OTP.items()),
    *((factories.return_from_challenge(), status, to) for status, to in RETURNING_FROM_A_CHALLENGE.items()),
]


@pytest.mark.parametrize(("command", "status", "expected"), GOING_ON)
def test_a_payer_goes_on_only_with_what_the_attempt_waits_for(
    command: Command, status: AttemptStatus, expected: AttemptStatus | type[Refusal]
) -> None:
    """An OTP, or the way back from a challenge, resumes what waits for it, counting the try."""
    order = factories.order(PENDING, factories.attempt(status, confirmations=1))
    if expected is S.CALLING:
        change = decide(order, command, factories.NOW)
        (resumed,) = change.after.attempts
        assert (resumed.status, resumed.confirmations, resumed.challenge) == (S.CALLING, 2, None)
        assert resumed.updated_at == factories.NOW
        assert [e.type for e in change.events] == [EventType.ATTEMPT_RESUMED]
        return
    _refused(order, command, expected)


def _refused(order: Order, command: Command, expected: AttemptStatus | type[Refusal]) -> None:
    with pytest.raises(Refusal) as caught:
        decide(order, command, factories.NOW)
    assert type(caught.value) is expected


@pytest.mark.parametrize("order_status", OrderStatus)
@pytest.mark.parametrize(("status", "expected"), CANCELLING_IT.items())
def test_an_attempt_that_is_not_over_can_be_cancelled(
    order_status: OrderStatus, status: AttemptStatus, expected: AttemptStatus | type[Refusal]
) -> None:
    """Cancelling an attempt ends it and leaves its order alone; one that is over refuses by its state."""
    attempt = factories.attempt(status)
    order = factories.order(order_status, attempt)
    if expected is not S.CANCELLED:
        _refused(order, factories.cancel_attempt(), expected)
        return
    change = decide(order, factories.cancel_attempt(), factories.NOW)
    (ended,) = change.after.attempts
    assert (ended.status, ended.updated_at, ended.challenge) == (S.CANCELLED, factories.NOW, None)
    assert ended.call == attempt.call
    assert (change.after.status, change.after.totals) == (order_status, order.totals)
    assert [(e.type, e.transaction_id) for e in change.events] == [(EventType.ATTEMPT_CANCELLED, "T")]


@pytest.mark.parametrize(("status", "expected"), RESENDING_ITS_OTP.items())
def test_only_an_attempt_that_waits_for_an_otp_has_it_sent_again(
    status: AttemptStatus, expected: AttemptStatus | type[Refusal]
) -> None:
    """A resend is counted on the attempt and changes nothing else of it; any other attempt refuses it."""
    attempt = factories.attempt(status, otp_sends=1)
    order = factories.order(PENDING, attempt)
    if expected is not S.AWAITING_OTP:
        _refused(order, factories.resend(), expected)
        return
    change = decide(order, factories.resend(), factories.NOW)
    assert change.after.attempts == (replace(attempt, otp_sends=2, updated_at=factories.NOW),)
    assert [(e.type, e.transaction_id) for e in change.events] == [(EventType.OTP_RESENT, "T")]


def test_the_attempt_that_waits_is_the_one_whose_otp_is_sent_again() -> None:
    """Attempts that were over before it, or stand beside it, are not taken for it."""
    over = factories.attempt(S.DECLINED, transaction_id="old", otp_sends=3)
    order = factories.order(PENDING, over, factories.attempt(S.AWAITING_OTP))
    assert [a.otp_sends for a in decide(order, factories.resend(), factories.NOW).after.attempts] == [3, 1]


def test_the_number_of_resent_otps_is_limited() -> None:
    """As many are sent again as the command allows, and not one more."""
    sent = [factories.attempt(S.AWAITING_OTP, otp_sends=n) for n in range(3)]
    after = decide(factories.order(PENDING, sent[1]), factories.resend(max_otp_sends=2), factories.NOW).after
    assert after.attempts[0].otp_sends == 2
    with pytest.raises(TooManyOtps):
        decide(factories.order(PENDING, sent[2]), factories.resend(max_otp_sends=2), factories.NOW)


@pytest.mark.parametrize(("status", "expected"), BEGINNING_ANOTHER.items())
def test_at_most_one_attempt_of_an_order_is_live(
    status: AttemptStatus, expected: AttemptStatus | type[Refusal]
) -> None:
    """A new attempt replaces one that waits for the payer, and is refused beside one in flight."""
    order = factories.order(PENDING, factories.attempt(status))
    if isinstance(expected, AttemptStatus):
        old, new = decide(order, factories.begin(), factories.NOW).after.attempts
        assert (old.status, new.status, new.transaction_id) == (expected, S.CALLING, "T-new")
        assert old.updated_at == (factories.NOW if expected is not status else factories.CREATED_AT)
        assert (new.amount, new.started_at, new.updated_at) == (order.amount, factories.NOW, factories.NOW)
        assert (new.confirmations, new.otp_sends, new.challenge) == (0, 0, None)
        return
    with pytest.raises(expected):
        decide(order, factories.begin(), factories.NOW)


@pytest.mark.parametrize("command", [factories.begin(), factories.cancel()])
def test_a_challenge_ends_with_its_attempt(command: Command) -> None:
    """An attempt that is replaced, or dies with its order, keeps nothing of its challenge."""
    order = factories.order(PENDING, factories.attempt(S.AWAITING_3DS))
    ended = decide(order, command, factories.NOW).after.attempts[0]
    assert (ended.status, ended.challenge) == (S.CANCELLED, None)


def test_the_number_of_attempts_is_limited() -> None:
    """An order takes as many attempts as the command allows, and refuses the next."""
    two = [factories.attempt(S.DECLINED, transaction_id=t) for t in ("T1", "T2")]
    order = factories.order(PENDING, *two)
    assert decide(order, factories.begin(max_attempts=3), factories.NOW).after.attempt_count == 3
    with pytest.raises(TooManyAttempts):
        decide(order, factories.begin(max_attempts=2), factories.NOW)


@pytest.mark.parametrize(
    ("tries", "to"), [(1, S.AWAITING_OTP), (2, S.AWAITING_OTP), (3, S.DECLINED), (4, S.DECLINED)]
)
def test_wrong_otps_are_limited(tries: int, to: AttemptStatus) -> None:
    """The last wrong OTP that is allowed declines the attempt; the order can be paid by another."""
    order = factories.order(PENDING, factories.attempt(S.CALLING, confirmations=tries))
    after = decide(
        order, factories.settle(RailOutcome.OTP_REJECTED, answers_try=tries, max_otp_tries=3), factories.NOW
    ).after
    assert (after.status, after.attempts[0].status) == (PENDING, to)


@pytest.mark.parametrize(
    ("outcome", "to"),
    [
        (RailOutcome.APPROVED, S.APPROVED),
        (RailOutcome.SILENT, S.UNKNOWN),
        (RailOutcome.OTP_REQUIRED, S.AWAITING_OTP),
    ],
)
def test_only_a_wrong_otp_can_be_one_too_many(outcome: RailOutcome, to: AttemptStatus) -> None:
    """What else the rail answers to the last OTP that is allowed counts as it does at any other try."""
    order = factories.order(PENDING, factories.attempt(S.CALLING, confirmations=3))
    (settled,) = decide(
        order, factories.settle(outcome, answers_try=3, max_otp_tries=3), factories.NOW
    ).after.attempts
    assert settled.status is to


@pytest.mark.parametrize("order_status", [PENDING, *ENDED])
def test_silence_leaves_the_call_to_the_worker_and_frees_the_key(order_status: OrderStatus) -> None:
    """An unanswered call stays on the attempt for the worker; the caller's key does not wait for it."""
    calling = factories.attempt(S.CALLING)
    (unknown,) = decide(
        factories.order(order_status, calling), factories.settle(RailOutcome.SILENT), factories.NOW
    ).after.attempts
    assert calling.call is not None
    assert unknown.call == replace(calling.call, key=None)


@pytest.mark.parametrize("outcome", [RailOutcome.DECLINED, RailOutcome.OTP_REQUIRED, RailOutcome.APPROVED])
def test_an_answer_ends_the_call_and_is_remembered(outcome: RailOutcome) -> None:
    """An answered attempt waits for no call and keeps the rail's code and message."""
    order = factories.order(PENDING, factories.attempt(S.CALLING))
    (settled,) = decide(order, factories.settle(outcome), factories.NOW).after.attempts
    assert (settled.call, settled.response_code, settled.message) == (None, "51", "what the rail said")


def test_an_unwanted_approval_is_voided_until_its_money_is_back() -> None:
    """Cancel wins over a call in flight: the approval is booked, voided, and returned, all in the open."""
    cancelled = decide(
        factories.order(PENDING, factories.attempt(S.CALLING)), factories.cancel(), factories.NOW
    ).after
    assert cancelled.attempts[0].status is S.CALLING
    voiding = decide(cancelled, factories.settle(RailOutcome.APPROVED, number=2), factories.NOW)
    call = voiding.after.attempts[0].call
    assert call is not None
    assert call.kind is CallKind.VOID
    assert (voiding.after.totals.received, voiding.after.totals.returning) == (
        factories.AMOUNT,
        factories.AMOUNT,
    )
    back = decide(voiding.after, factories.settle(RailOutcome.VOIDED, number=3), factories.NOW)
    assert (back.after.totals.returning, back.after.totals.returned) == (0, factories.AMOUNT)
    assert back.after.attempts[0].call is None
    assert [(e.type, e.reason, e.amount) for e in back.events] == [
        (EventType.PAYMENT_REVERSAL, "void", factories.AMOUNT)
    ]


def test_a_late_approval_of_a_replaced_attempt_does_not_pay_twice() -> None:
    """The order is paid by the attempt that won; the other's approval goes back and changes no ending."""
    attempts = [factories.attempt(S.CANCELLED, transaction_id="old"), factories.attempt(S.CALLING)]
    paid = decide(
        factories.order(PENDING, *attempts), factories.settle(RailOutcome.APPROVED), factories.NOW
    ).after
    late = decide(
        paid, factories.settle(RailOutcome.APPROVED, number=2, transaction_id="old"), factories.NOW
    ).after
    assert (late.status, late.paid_by) == (OrderStatus.PAID, "T")
    assert (late.totals.applied, late.totals.returning) == (factories.AMOUNT, factories.AMOUNT)


def test_the_intention_of_a_call_is_recorded_before_it_is_made() -> None:
    """Charge, confirm and void each leave their kind, their deadline and the caller's key on the attempt."""
    begin, otp = (
        factories.begin(transaction_id="T"),
        replace(factories.submit_otp(), reply_key="key-2"),
    )
    calling = decide(factories.order(PENDING), begin, factories.NOW).after
    waiting = decide(calling, factories.settle(RailOutcome.OTP_REQUIRED), factories.NOW).after
    confirming = decide(waiting, otp, factories.NOW).after
    cancelled = decide(confirming, factories.cancel(), factories.NOW).after
    voiding = decide(cancelled, factories.settle(RailOutcome.APPROVED), factories.NOW).after
    calls = [o.attempts[0].call for o in (calling, waiting, confirming, cancelled, voiding)]
    confirm = RailCall(CallKind.CONFIRM, otp.call_until, "key-2")
    void = RailCall(CallKind.VOID, factories.NOW + 30_000)
    assert calls == [RailCall(CallKind.CHARGE, begin.call_until, "key-1"), None, confirm, confirm, void]


def test_coming_back_from_a_challenge_notes_its_call() -> None:
    """The call that asks how a challenge ended has its kind, its deadline and nobody's key."""
    command = factories.return_from_challenge()
    (asking,) = decide(
        factories.order(PENDING, factories.attempt(S.AWAITING_3DS)), command, factories.NOW
    ).after.attempts
    assert asking.call == RailCall(CallKind.CHALLENGE, command.call_until)


@pytest.mark.parametrize(
    "command", [factories.cancel_attempt(transaction_id="?"), factories.submit_otp(transaction_id="?")]
)
def test_an_attempt_of_another_order_is_unknown(command: Command) -> None:
    """A transaction that this order never had is told like any other unknown record."""
    with pytest.raises(RecordNotFound):
        decide(factories.order(PENDING, factories.attempt(S.AWAITING_OTP)), command, factories.NOW)


def test_a_cancelled_attempt_makes_room_and_its_approval_goes_back() -> None:
    """After cancelling an attempt in flight another may pay; what the first still takes is returned."""
    first = decide(
        factories.order(PENDING, factories.attempt(S.CALLING)), factories.cancel_attempt(), factories.NOW
    ).after
    second = decide(first, factories.begin(number=2), factories.NOW).after
    late = decide(second, factories.settle(RailOutcome.APPROVED, number=3), factories.NOW).after
    assert (late.status, [a.status for a in late.attempts]) == (PENDING, [S.VOIDING, S.CALLING])
    won = factories.settle(RailOutcome.APPROVED, number=4, transaction_id="T-new")
    paid = decide(late, won, factories.NOW).after
    assert (paid.status, paid.paid_by) == (OrderStatus.PAID, "T-new")
    assert paid.totals == Totals(
        received=2 * factories.AMOUNT, applied=factories.AMOUNT, returning=factories.AMOUNT
    )


def test_silence_leaves_the_call_of_a_cancelled_attempt_to_the_worker() -> None:
    """Nobody knows yet whether money was taken: call and key stay until the rail is asked again."""
    order = factories.order(PENDING, _attempt("CANCELLED+"))
    silent = decide(order, factories.settle(RailOutcome.SILENT), factories.NOW)
    assert (silent.after, silent.events) == (order, ())
    found = decide(order, factories.settle(RailOutcome.NEVER_HAPPENED), factories.NOW)
    assert found.after.attempts[0].call is None
    assert [(e.type, e.reason) for e in found.events] == [(EventType.ATTEMPT_CLOSED, "51")]


def test_an_attempt_keeps_of_the_card_only_what_may_be_kept() -> None:
    """Masked number and brand come from the command and stand on the attempt."""
    (attempt,) = decide(factories.order(PENDING), factories.begin(), factories.NOW).after.attempts
    assert (attempt.card_masked, attempt.card_brand) == ("543462******2808", "Mastercard")


def test_a_decline_says_why() -> None:
    """The event of a failed attempt carries the rail's code as its reason, or none where there is no code."""
    order = factories.order(PENDING, factories.attempt(S.CALLING))
    answer = factories.settle(RailOutcome.DECLINED)
    wordless = replace(answer, response_code="")
    reasons = [decide(order, command, factories.NOW).events[0].reason for command in (answer, wordless)]
    assert reasons == ["51", None]


def test_several_unwanted_payments_are_returned_beside_each_other() -> None:
    """Two late approvals of one order are both on their way back, and come back one by one."""
    attempts = [
        factories.attempt(S.VOIDING, transaction_id="first"),
        factories.attempt(S.VOIDED, transaction_id="done"),
        factories.attempt(S.CANCELLED),
    ]
    order = factories.order(OrderStatus.CANCELLED, *attempts)
    both = decide(order, factories.settle(RailOutcome.APPROVED), factories.NOW).after
    assert both.totals == Totals(
        received=3 * factories.AMOUNT, returning=2 * factories.AMOUNT, returned=factories.AMOUNT
    )
    one = decide(both, factories.settle(RailOutcome.VOIDED, transaction_id="first"), factories.NOW).after
    assert one.totals == Totals(
        received=3 * factories.AMOUNT, returning=factories.AMOUNT, returned=2 * factories.AMOUNT
    )
