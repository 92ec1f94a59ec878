"""What holds for every order, whatever is asked of it, in whatever sequence and at whatever time."""

from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass

from hypothesis import given as for_all
from hypothesis import settings
from hypothesis import strategies as st

from domain import factories, transfer_factories
from opentill.domain.commands import Command, RailOutcome, ReceiveCredit, RefundOutcome
from opentill.domain.credits import comes_in_time
from opentill.domain.decisions import create, decide
from opentill.domain.events import Event
from opentill.domain.ledger import (
    CARD_RAIL,
    FEES,
    HELD_MONEY,
    PAYOUTS_DISPUTED,
    REFUNDS_DUE,
    RETURNS_DUE,
    TRANSFER_RAIL,
    entries_for,
    merchant_balance,
)
from opentill.domain.order import (
    DueAction,
    LateMoney,
    Order,
    OrderStatus,
    Refund,
    RefundStatus,
    ReturnStatus,
    Split,
    SplitKind,
)
from opentill.domain.refusals import Refusal
from opentill.domain.sharing import FeeTerms
from opentill.domain.transition import Change

PENDING, PAID, CANCELLED = OrderStatus.PENDING, OrderStatus.PAID, OrderStatus.CANCELLED

FEE = FeeTerms(basis_points=140, cap=1_800_00)
SPLIT = Split(SplitKind.PERCENTAGE, (("A", 33_33), ("B", 12_50)))
MOST_STEPS = 17
quickly = settings(max_examples=40, deadline=None)

Step = tuple[str | RailOutcome | RefundOutcome, int, int]

# A step is what is asked, of which attempt or refund (counted from the newest), and at what time.
ASKED: list[str | RailOutcome | RefundOutcome] = [
    *["cancel", "expire", "cancel attempt", "resend"],
    *["ensure cancelled", "cancel or refund"],
    *["begin"] * 4,
    *["otp", "return"] * 2,
    *["refund most", "refund some", "refund the rest"],
    *RailOutcome,
    *[RailOutcome.APPROVED] * 2,
    *RefundOutcome,
    *["credit 40 %", "credit 70 %", "credit in full", "credit too much", "credit again"],
    *["accept", "give back", "attach", "try return", "return done", "return refused", "return silent"],
    *["retry", "by hand"],
]
STEP = st.tuples(st.sampled_from(ASKED), st.sampled_from([0, 0, 0, 1, 2]), st.integers(0, 40))
# How a story begins: most of them are led to where chance alone would seldom come.
BEGINNINGS: list[list[Step]] = [
    [],
    [("begin", 0, 6), (RailOutcome.SILENT, 0, 7)],
    [("begin", 0, 6), (RailOutcome.CHALLENGE_REQUIRED, 0, 7)],
    *(
        [("begin", 0, 6), (RailOutcome.APPROVED, 0, 7), ("refund most", 0, 8), (outcome, 0, 9)]
        for outcome in RefundOutcome
    ),
    [("begin", 0, 6), ("cancel", 0, 7), (RailOutcome.APPROVED, 0, 8)],
    [("credit 40 %", 0, 6), ("credit 70 %", 0, 7), ("refund most", 0, 8)],
    [("credit 40 %", 0, 6), ("expire", 0, 40), ("credit in full", 1, 40)],
    [("cancel", 0, 6), ("credit in full", 0, 7), ("try return", 0, 8), ("return refused", 0, 8)],
]
DUE_AT = st.sampled_from([None, None, 12, 25, 40])


@dataclass(frozen=True)
class Story:
    """The life of one order: the changes that were made, and for each the time that was asked for."""

    changes: list[Change]
    times: list[int]
    refused: int

    @property
    def end(self) -> Order:
        return self.changes[-1].after

    @property
    def events(self) -> list[Event]:
        return [event for change in self.changes for event in change.events]


def _command(order: Order, asked: str | RailOutcome | RefundOutcome, back: int, number: int) -> Command:
    name = f"T{order.attempt_count - back}"
    if isinstance(asked, RefundOutcome):
        known = order.refunds[back].refund_id if back < order.refund_count else "none"
        return factories.settle_refund(asked, number=number, refund_id=known)
    if asked.startswith("credit ") and not isinstance(asked, RailOutcome):
        return _credit(order, asked, back, number)
    if isinstance(asked, RailOutcome):
        attempt = order.attempt(name)
        tries = attempt.confirmations if attempt else 0
        answers = tries - (number % 4 == 0)
        return factories.settle(
            asked, number=number, transaction_id=name, answers_try=answers, max_otp_tries=2
        )
    plain: dict[str, Callable[[], Command]] = {
        "cancel": lambda: factories.cancel(number=number),
        "ensure cancelled": lambda: factories.ensure_cancelled(number=number),
        "cancel or refund": lambda: factories.cancel_or_refund(
            number=number, refund_id=factories.command_id(1000 + number)
        ),
        "expire": lambda: factories.expire(number=number),
        "begin": lambda: factories.begin(
            number=number, transaction_id=f"T{order.attempt_count + 1}", max_attempts=4
        ),
        "otp": lambda: factories.submit_otp(number=number, transaction_id=name),
        "return": lambda: factories.return_from_challenge(number=number, transaction_id=name),
        "resend": lambda: factories.resend(number=number, max_otp_sends=2),
        "cancel attempt": lambda: factories.cancel_attempt(number=number, transaction_id=name),
        "refund most": lambda: _refund(order, factories.AMOUNT * 6 // 10, number),
        "refund some": lambda: _refund(order, factories.AMOUNT // 4, number),
        "refund the rest": lambda: _refund(order, None, number),
    }
    return plain[asked]() if asked in plain else _of_credit(order, asked, back, number)


def _credit(order: Order, asked: str, back: int, number: int) -> Command:
    """A transfer that arrives late if it is told late; with ``back`` the bank says that it was early."""
    if asked == "credit again":
        at = max(0, order.credit_count - 1 - back)
        name = order.credits[at].transaction_id if order.credits else "C0"
        return transfer_factories.receive(factories.AMOUNT, number=number, transaction_id=name)
    share = {"credit 40 %": 40, "credit 70 %": 70, "credit in full": 100, "credit too much": 130}[asked]
    return transfer_factories.receive(
        factories.AMOUNT * share // 100,
        number=number,
        transaction_id=factories.command_id(500 + order.credit_count),
        transferred_at=6 if back else None,
        arrived_at=41,
    )


def _of_credit(order: Order, asked: str, back: int, number: int) -> Command:
    """What workers, rails and persons do about one of the credits, counted from the newest."""
    credit = order.credits[-1 - back].transaction_id if back < order.credit_count else "none"
    outcome = RefundOutcome(asked.removeprefix("return ")) if asked.startswith("return ") else None
    if outcome is not None:
        sent = order.return_of(credit)
        until = sent.call.until if sent and sent.call else 0
        return transfer_factories.settle_return(outcome, credit, number=number, answers_until=until)
    if asked == "try return":
        return transfer_factories.try_return(credit, number=number, now=factories.NOW + 1_000_000 * number)
    makes: dict[str, Callable[..., Command]] = {
        "accept": transfer_factories.accept,
        "give back": transfer_factories.give_back,
        "attach": transfer_factories.attach,
        "retry": transfer_factories.retry,
        "by hand": transfer_factories.by_hand,
    }
    return makes[asked](credit, number=number)


def _refund(order: Order, amount: int | None, number: int) -> Command:
    refund_id = factories.command_id(1000 + number)
    return factories.begin_refund(
        amount, number=number, refund_id=refund_id, transaction_id=order.paid_by or "T1"
    )


def _tell(steps: list[Step], due_at: int | None, action: DueAction, late: LateMoney) -> Story:
    opens = factories.create_order(due_at=due_at, due_action=action, late_money=late, split=SPLIT)
    changes = [create(opens, 5)]
    times, refused = [5], 0
    for number, (asked, back, at) in enumerate(steps, start=1):
        order = changes[-1].after
        try:
            changes.append(decide(order, _command(order, asked, back, number), at, FEE))
        except Refusal:
            refused += 1
        else:
            times.append(at)
    return Story(changes, times, refused)


steps = st.builds(
    list.__add__,
    st.sampled_from(BEGINNINGS),
    st.lists(STEP, min_size=1, max_size=MOST_STEPS - max(map(len, BEGINNINGS))),
)
stories = st.builds(_tell, steps, DUE_AT, st.sampled_from(DueAction), st.sampled_from(LateMoney))


@for_all(stories)
@quickly
def test_no_kobo_is_ever_unaccounted_for(story: Story) -> None:
    """After every change received = applied + held + returning + returned, and nothing is negative."""
    assert all(change.after.totals.balanced() for change in story.changes)
    assert story.end.totals.applied == (factories.AMOUNT if story.end.status is PAID else 0)


@for_all(stories)
@quickly
def test_every_version_is_one_event(story: Story) -> None:
    """Sequences are 1, 2, 3 ... without a gap, and the version is the number of events."""
    assert [e.sequence for e in story.events] == list(range(1, story.end.version + 1))


@for_all(stories)
@quickly
def test_events_tell_the_whole_way_of_the_status(story: Story) -> None:
    """Each event starts from the status where the one before it ended; the last ends at the order's."""
    assert story.events[0].before is None
    afters = [e.after for e in story.events]
    assert [e.before for e in story.events[1:]] == afters[:-1]
    assert afters[-1] is story.end.status


def _balances(events: list[Event]) -> defaultdict[str, int]:
    balances: defaultdict[str, int] = defaultdict(int)
    for event in events:
        for entry in entries_for(event):
            balances[entry.account] += entry.amount
    return balances


@for_all(stories)
@quickly
def test_the_ledger_sums_to_zero_and_agrees_with_the_totals(story: Story) -> None:
    """Every booking is zero in sum; together they are at every moment what the order's totals say."""
    for event in story.events:
        entries = entries_for(event)
        assert sum(entry.amount for entry in entries) == 0
        assert {entry.currency for entry in entries} <= {"NGN"}
    for number, change in enumerate(story.changes, start=1):
        balances = _balances([e for c in story.changes[:number] for e in c.events])
        totals = change.after.totals
        assert sum(balances.values()) == 0
        assert (
            balances[CARD_RAIL] + balances[TRANSFER_RAIL]
            == (totals.received - totals.returned - _sum(change.after, RefundStatus.DONE))
            - balances[PAYOUTS_DISPUTED]
        )
        assert balances[HELD_MONEY] == -totals.held
        assert balances[RETURNS_DUE] == -totals.returning
        assert balances[REFUNDS_DUE] == -_sum(change.after, *_UNDER_WAY)
        assert balances[PAYOUTS_DISPUTED] == _disputed(change.after)
        merchants = {merchant_balance(name): balances[merchant_balance(name)] for name in "MAB"}
        assert sum(merchants.values()) + balances[FEES] == totals.refunded - totals.applied
        assert set(balances) <= {
            *(CARD_RAIL, TRANSFER_RAIL, HELD_MONEY, RETURNS_DUE, REFUNDS_DUE, FEES, *merchants),
            PAYOUTS_DISPUTED,
        }


@for_all(stories)
@quickly
def test_a_payment_is_shared_and_its_shares_go_back_pro_rata(story: Story) -> None:
    """At every moment a share keeps its part of what is not refunded, rounded up; the fee is kept whole."""
    for number, change in enumerate(story.changes, start=1):
        balances = _balances([e for c in story.changes[:number] for e in c.events])
        paid, refunded = change.after.status is PAID, change.after.totals.refunded
        assert balances[FEES] == (-FEE.of(factories.AMOUNT) if paid else 0)
        for account, share in (("A", 3_333_16), ("B", 1_250_06)):
            kept = share - share * refunded // factories.AMOUNT if paid else 0
            assert balances[merchant_balance(account)] == -kept


_UNDER_WAY = frozenset({RefundStatus.RUNNING, RefundStatus.UNKNOWN, RefundStatus.CLOSING})


def _disputed(order: Order) -> int:
    back = sum(each.amount for each in order.returns if each.status is ReturnStatus.DISPUTED)
    return back + _sum(order, RefundStatus.DISPUTED)


def _sum(order: Order, *statuses: RefundStatus) -> int:
    return sum(refund.amount for refund in order.refunds if refund.status in statuses)


@for_all(stories)
@quickly
def test_no_more_is_refunded_than_was_applied(story: Story) -> None:
    """Refunded is the sum of the payment's refunds that were not refused, and never more than applied."""
    for change in story.changes:
        after = change.after
        counted = _sum(after, RefundStatus.DONE, *_UNDER_WAY)
        assert after.totals.refunded == counted <= after.totals.applied
        assert after.refund_count == len(after.refunds)
        assert {refund.transaction_id for refund in after.refunds} <= {after.paid_by}


@for_all(stories)
@quickly
def test_a_refund_owes_the_payer_its_amount_until_it_is_settled(story: Story) -> None:
    """The entries of one refund leave what is due to the payer at its amount while it runs, then at zero."""
    for refund in story.end.refunds:
        due = _balances([e for e in story.events if e.refund_id == refund.refund_id])[REFUNDS_DUE]
        assert due == (-refund.amount if refund.call else 0)
        assert (refund.call is not None) == _under_way(refund)


def _under_way(refund: Refund) -> bool:
    return refund.status in _UNDER_WAY


@for_all(stories)
@quickly
def test_paid_and_cancelled_exclude_each_other(story: Story) -> None:
    """An order that was ever paid is never cancelled, and the other way round; both are final."""
    seen = [change.after.status for change in story.changes]
    endings = {PAID, CANCELLED} & set(seen)
    assert len(endings) <= 1
    assert (story.end.paid_at is None) or (story.end.cancelled_at is None)
    for ending in endings:
        assert set(seen[seen.index(ending) :]) == {ending}


@for_all(stories)
@quickly
def test_time_never_runs_backwards(story: Story) -> None:
    """Whatever the clocks of the machines say, an order's events are in the order of their times."""
    at = [e.at for e in story.events]
    assert at == sorted(at)
    for change, asked in zip(story.changes, story.times, strict=True):
        assert all(e.at >= asked for e in change.events)
        assert all(e.at == change.after.updated_at for e in change.events)


@for_all(stories)
@quickly
def test_event_ids_are_distinct_and_fixed_by_the_command_id(story: Story) -> None:
    """No two events share an id; a command judged again, at another moment, gives its events the same ids."""
    ids = [e.event_id for e in story.events]
    assert len(set(ids)) == len(ids)
    own = [change.events[0].event_id for change in story.changes if change.events]
    assert set(own) <= {factories.command_id(number) for number in range(MOST_STEPS + 1)}


@for_all(stories)
@quickly
def test_no_two_attempts_are_in_flight(story: Story) -> None:
    """The rail is never asked to take money for one order twice at the same time."""
    for change in story.changes:
        live = Counter(a.status.value for a in change.after.attempts)
        assert live["CALLING"] + live["UNKNOWN"] + live["AWAITING_OTP"] + live["AWAITING_3DS"] <= 1


@for_all(stories)
@quickly
def test_whatever_waits_for_the_rail_has_its_call_noted(story: Story) -> None:
    """A crash loses no call: each attempt that the rail may still answer for says which call it is."""
    for attempt in (a for change in story.changes for a in change.after.attempts):
        waits = attempt.status.value in {"CALLING", "UNKNOWN", "VOIDING"}
        assert attempt.call is not None or not waits
        assert attempt.call is None or waits or attempt.status.value == "CANCELLED"


@for_all(stories)
@quickly
def test_an_approved_attempt_is_the_one_that_paid(story: Story) -> None:
    """At every moment the approved attempts are exactly the one that paid the order."""
    for change in story.changes:
        approved = [a.transaction_id for a in change.after.attempts if a.status.value == "APPROVED"]
        paid_by = change.after.paid_by
        by_card = paid_by is not None and change.after.credit(paid_by) is None
        assert approved == ([paid_by] if by_card else [])
        assert change.after.attempt_count == len(change.after.attempts)


@for_all(stories, STEP, st.integers(0, 20))
@quickly
def test_due_but_unswept_counts_as_due(story: Story, step: Step, late_ms: int) -> None:
    """A command on an overdue order ends the same whether or not the worker came by before it."""
    order = story.end
    if order.status is not PENDING or order.due_at is None or step[0] == "expire":
        return
    at = order.due_at + late_ms
    command = _command(order, step[0], step[1], 100)
    if isinstance(command, ReceiveCredit) and comes_in_time(order, command):
        return  # the one command that finds the order as it was
    swept = decide(order, factories.expire(number=99), at).after
    assert _outcome(order, command, at) == _outcome(swept, command, at)


def _outcome(order: Order, command: Command, at: int) -> Order | type[Refusal]:
    try:
        return decide(order, command, at).after
    except Refusal as refusal:
        return type(refusal)


@for_all(stories)
@quickly
def test_every_credit_says_where_its_money_is(story: Story) -> None:
    """Amount = applied + held + what its one return sends away; together they are the order's totals."""
    for change in story.changes:
        order = change.after
        for credit in order.credits:
            left = order.return_of(credit.transaction_id)
            assert credit.amount == credit.applied + credit.held + (left.amount if left else 0)
        assert order.credit_count == len(order.credits)
        assert order.totals.held == sum(c.held for c in order.credits)
        assert len({r.transaction_id for r in order.returns}) == len(order.returns)


@for_all(stories)
@quickly
def test_only_an_open_order_or_its_policy_holds_money(story: Story) -> None:
    """A paid or cancelled order holds nothing, an expired one only where money is to wait for a person."""
    for change in story.changes:
        order = change.after
        if order.totals.held:
            held_for_a_person = order.status.value == "EXPIRED" and order.late_money is LateMoney.HOLD
            assert order.status is PENDING or held_for_a_person


@for_all(stories)
@quickly
def test_no_sender_gets_back_more_than_was_applied_of_it(story: Story) -> None:
    """Refunds to the senders of a payment are each capped by what that sender's credit paid."""
    for order in (change.after for change in story.changes):
        for credit in order.credits:
            back = [r for r in order.refunds if r.from_credit == credit.transaction_id]
            assert sum(r.amount for r in back if r.status is not RefundStatus.REFUSED) <= credit.applied


@for_all(stories)
@quickly
def test_a_return_waits_for_a_worker_until_it_is_done_or_parked(story: Story) -> None:
    """No money is forgotten on its way back: each return that is open says when to see to it."""
    for return_ in (r for change in story.changes for r in change.after.returns):
        over = return_.status in {ReturnStatus.DONE, ReturnStatus.PARKED}
        assert (return_.call is None) == over


def test_the_stories_reach_every_ending() -> None:
    """The sequences above are not idle: some pay, cancel, expire, void, refund and are refused."""
    reached: set[str] = set()

    @for_all(stories)
    @settings(max_examples=500, deadline=None, derandomize=True, database=None)
    def wander(story: Story) -> None:
        reached.add(story.end.status.value)
        reached.update(a.status.value for a in story.end.attempts)
        reached.update(f"refund {r.status.value}" for r in story.end.refunds)
        reached.update(f"return {r.status.value}" for r in story.end.returns)
        reached.update(f"credit {c.disposition.value}" for c in story.end.credits)
        reached.update({"refused"} if story.refused else ())

    wander()
    assert reached >= {"PENDING", "PAID", "CANCELLED", "EXPIRED", "UNKNOWN", "AWAITING_3DS", "VOIDING"}
    assert reached >= {"refused", "refund RUNNING", "refund UNKNOWN", "refund DONE", "refund REFUSED"}
    assert reached >= {"return DUE", "return RUNNING", "return DONE"}
    assert reached >= {"credit applied", "credit held", "credit late", "credit excess"}
