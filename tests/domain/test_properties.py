"""What holds for every order, whatever is asked of it, in whatever sequence and at whatever time."""

from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass

from hypothesis import given as for_all
from hypothesis import settings
from hypothesis import strategies as st

from domain import given
from opentill.domain.commands import OrderCommand, RailOutcome
from opentill.domain.events import Event
from opentill.domain.ledger import CARD_RAIL, RETURNS_DUE, entries_for, merchant_balance
from opentill.domain.lifecycle import Change, create, decide
from opentill.domain.order import DueAction, Order, OrderStatus
from opentill.domain.refusals import Refusal

PENDING, PAID, CANCELLED = OrderStatus.PENDING, OrderStatus.PAID, OrderStatus.CANCELLED

quickly = settings(max_examples=60, deadline=None)

# A step is what is asked, of which attempt (counted from the newest), and at what time.
ASKED = ["cancel", "expire", *["begin"] * 4, *["otp"] * 3, *RailOutcome, RailOutcome.APPROVED]
STEP = st.tuples(st.sampled_from(ASKED), st.sampled_from([0, 0, 0, 1, 2]), st.integers(0, 40))
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


def _command(order: Order, asked: str, back: int, number: int) -> OrderCommand:
    name = f"T{order.attempt_count - back}"
    plain: dict[str, Callable[[], OrderCommand]] = {
        "cancel": lambda: given.cancel(number=number),
        "expire": lambda: given.expire(number=number),
        "begin": lambda: given.begin(
            number=number, transaction_id=f"T{order.attempt_count + 1}", max_attempts=4
        ),
        "otp": lambda: given.submit_otp(number=number, transaction_id=name),
    }
    if asked in plain:
        return plain[asked]()
    attempt = order.attempt(name)
    tries = attempt.otp_tries if attempt else 0
    return given.settle(
        RailOutcome(asked),
        number=number,
        transaction_id=name,
        answers_try=tries - (number % 4 == 0),
        max_otp_tries=2,
    )


def _tell(steps: list[tuple[str, int, int]], due_at: int | None, action: DueAction) -> Story:
    changes = [create(given.create_order(due_at=due_at, due_action=action), 5)]
    times, refused = [5], 0
    for number, (asked, back, at) in enumerate(steps, start=1):
        order = changes[-1].after
        try:
            changes.append(decide(order, _command(order, asked, back, number), at))
        except Refusal:
            refused += 1
        else:
            times.append(at)
    return Story(changes, times, refused)


stories = st.builds(_tell, st.lists(STEP, min_size=1, max_size=14), DUE_AT, st.sampled_from(DueAction))


@for_all(stories)
@quickly
def test_no_kobo_is_ever_unaccounted_for(story: Story) -> None:
    """After every change received = applied + held + returning + returned, and nothing is negative."""
    assert all(change.after.totals.balanced() for change in story.changes)
    assert story.end.totals.applied == (given.AMOUNT if story.end.status is PAID else 0)


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


@for_all(stories)
@quickly
def test_the_ledger_sums_to_zero_and_agrees_with_the_totals(story: Story) -> None:
    """Every event's booking is zero in sum; together they are what the order's totals say."""
    balances: defaultdict[str, int] = defaultdict(int)
    for event in story.events:
        entries = entries_for(event)
        assert sum(entry.amount for entry in entries) == 0
        assert {entry.currency for entry in entries} <= {"NGN"}
        for entry in entries:
            balances[entry.account] += entry.amount
    totals = story.end.totals
    assert balances[CARD_RAIL] == totals.received - totals.returned
    assert balances[RETURNS_DUE] == -totals.returning
    assert balances[merchant_balance("M")] == -totals.applied
    assert set(balances) <= {CARD_RAIL, RETURNS_DUE, merchant_balance("M")}


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
    assert set(own) <= {given.command_id(number) for number in range(15)}


@for_all(stories)
@quickly
def test_no_two_attempts_are_in_flight(story: Story) -> None:
    """The rail is never asked to take money for one order twice at the same time."""
    for change in story.changes:
        live = Counter(a.status.value for a in change.after.attempts)
        assert live["CALLING"] + live["UNKNOWN"] + live["AWAITING_OTP"] + live["AWAITING_3DS"] <= 1


@for_all(stories, STEP, st.integers(0, 20))
@quickly
def test_due_but_unswept_counts_as_due(story: Story, step: tuple[str, int, int], late_ms: int) -> None:
    """A command on an overdue order ends the same whether or not the worker came by before it."""
    order = story.end
    if order.status is not PENDING or order.due_at is None or step[0] == "expire":
        return
    at = order.due_at + late_ms
    command = _command(order, step[0], step[1], 100)
    swept = decide(order, given.expire(number=99), at).after
    assert _outcome(order, command, at) == _outcome(swept, command, at)


def _outcome(order: Order, command: OrderCommand, at: int) -> Order | type[Refusal]:
    try:
        return decide(order, command, at).after
    except Refusal as refusal:
        return type(refusal)


def test_the_stories_reach_every_ending() -> None:
    """The sequences above are not idle: some pay, cancel, expire, void money and are refused."""
    reached: set[str] = set()

    @for_all(stories)
    @settings(max_examples=200, deadline=None, derandomize=True, database=None)
    def wander(story: Story) -> None:
        reached.add(story.end.status.value)
        reached.update(a.status.value for a in story.end.attempts)
        reached.update({"refused"} if story.refused else ())

    wander()
    assert reached >= {"PENDING", "PAID", "CANCELLED", "EXPIRED", "UNKNOWN", "VOIDING", "refused"}
