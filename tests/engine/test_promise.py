"""Whatever is asked, in whatever sequence and with whatever trouble at the commit: the promise holds."""

import asyncio
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from itertools import chain
from pathlib import Path
from typing import Any, ClassVar

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from msgspec.structs import replace

from databases import FILE, POSTGRES, SQLITE, Kind, Place, emptied, url_of
from engine.builders import (
    answer,
    begin,
    begin_refund,
    cancel_attempt,
    cancel_or_refund,
    ensure_cancelled,
    received,
    resend_otp,
    return_from_challenge,
    settle_refund,
    submit_otp,
    transfer,
)
from engine.harness import Fault, ask, ending, faulty_store, together
from engine.promise import DONE, OPEN, REFUSED, Promise, Promised
from opentill.domain.commands import (
    AcceptCredit,
    Actor,
    ActorKind,
    AttachCredit,
    BeginAttempt,
    BeginRefund,
    BeginReturn,
    CancelOrRefund,
    Command,
    ExpireOrder,
    RailOutcome,
    RefundOutcome,
    RetryReturn,
    ReturnCredit,
    ReturnFromChallenge,
    SettleAttempt,
    SettleRefund,
    SettleReturn,
    SettleReturnByHand,
    SubmitOtp,
    TransactionCommand,
)
from opentill.domain.events import event_id
from opentill.domain.order import DueAction, LateMoney, Split, SplitKind
from opentill.domain.refusals import PRECEDENCE
from opentill.domain.sharing import FeeTerms
from opentill.engine.engine import Engine, EngineSettings
from opentill.engine.threads import StoreThreads
from opentill.store.audit.examination import audit, open_read_only
from store_factories import ACCOUNT, IDS, NOW, OTHER, ToldClock, cancel, new_order

REFUSALS = {refusal.__name__ for refusal in PRECEDENCE}
MAX_OTP_TRIES = 2
FEE = FeeTerms(basis_points=140, cap=100_00)
SPLIT = Split(SplitKind.PERCENTAGE, (("sub-1", 33_33), ("sub-2", 12_50)))
A, F = RailOutcome, RefundOutcome

NAMES = [(ACCOUNT, "r1"), (OTHER, "r1"), (ACCOUNT, "r2"), (OTHER, "r2")]
ORDERS = st.sampled_from([*NAMES[:2], *NAMES[:2], *NAMES])
WHICH = st.sampled_from([0, 0, 0, 1, 2])
"""Counted from the latest."""


def _asked(kind: str, *how: st.SearchStrategy[Any], answered: tuple[object, ...] = (None,)) -> Any:
    """A request on some order; ``answered`` is what the rail will say to it, if it is asked at all."""
    return st.tuples(st.just(kind), ORDERS, st.tuples(*how), st.sampled_from(answered))


CREATE = _asked(
    "create",
    st.none() | st.integers(1, 120),
    st.sampled_from(list(DueAction)),
    st.sampled_from(list(LateMoney)),
)
CANCEL = _asked("cancel", st.booleans())
CANCEL_AGAIN = _asked("cancel again", st.booleans(), answered=(F.DONE, F.REFUSED))
EXPIRE = _asked("expire")
BEGIN = _asked("begin", answered=(A.OTP_REQUIRED, A.CHALLENGE_REQUIRED, A.APPROVED, A.DECLINED))
OTP = _asked("otp", WHICH, answered=(A.APPROVED, A.OTP_REJECTED, A.DECLINED))
RETURN = _asked("return", WHICH, answered=(A.APPROVED, A.DECLINED))
RESEND = _asked("resend")
CANCEL_TRY = _asked("cancel try", WHICH)
REFUND = _asked("refund", WHICH, st.sampled_from([None, 0.3, 0.6, 1.1]), answered=(F.DONE, F.REFUSED))
HEAR = _asked(
    "hear", st.sampled_from([0, 0, 0, 0, 1, 2, 5]), st.sampled_from(["once", "once", "again", "silence"])
)
CONFUSED = _asked("confused", WHICH, st.sampled_from(list(A)), st.integers(0, 3))
CONFUSED_REFUND = _asked("confused refund", WHICH, WHICH, st.sampled_from(list(F)))
CREDIT = _asked("credit", st.sampled_from([0.4, 0.7, 1, 1.3]), st.sampled_from(["now", "early"]))
CREDIT_AGAIN = _asked("credit again", WHICH)
SEND_BACK = _asked("send back", WHICH, answered=(F.DONE, F.DONE, F.REFUSED))
PERSON = _asked(
    "person",
    WHICH,
    st.sampled_from([AcceptCredit, ReturnCredit, AttachCredit, RetryReturn, SettleReturnByHand]),
)
REFUND_CREDIT = _asked(
    "refund credit", WHICH, st.sampled_from([None, 0.3, 0.6, 1.1]), answered=(F.DONE, F.REFUSED)
)
BY_CARD = st.one_of(BEGIN, OTP, RETURN, RESEND, REFUND, CANCEL_TRY, CONFUSED, CONFUSED_REFUND)
BY_TRANSFER = st.one_of(CREDIT, CREDIT_AGAIN, SEND_BACK, PERSON, REFUND_CREDIT)
ONE = st.one_of(CREATE, CANCEL, CANCEL_AGAIN, EXPIRE, HEAR, HEAR, BY_CARD, BY_CARD, BY_TRANSFER, BY_TRANSFER)
HEARD = ("hear", (0, "once"), None)
STORIES = (
    [("begin", (), A.OTP_REQUIRED), HEARD, ("otp", (0,), A.APPROVED), HEARD],
    [("begin", (), A.CHALLENGE_REQUIRED), HEARD, ("return", (0,), A.APPROVED), HEARD],
    [("begin", (), A.OTP_REQUIRED), HEARD, ("resend", (), None), ("otp", (0,), A.OTP_REJECTED), HEARD],
    [("begin", (), A.OTP_REQUIRED), HEARD, ("otp", (0,), A.APPROVED), ("cancel try", (0,), None), HEARD],
    [("begin", (), A.APPROVED), HEARD, ("refund", (0, 0.6), F.DONE), ("refund", (0, None), F.DONE), HEARD],
    [("begin", (), A.APPROVED), HEARD, ("refund", (0, 0.6), F.REFUSED), HEARD, ("refund", (0, 0.6), F.DONE)],
    [
        ("begin", (), A.APPROVED),
        HEARD,
        ("refund", (0, 0.6), F.DONE),
        ("cancel again", (True,), F.DONE),
        HEARD,
    ],
    [
        ("credit", (0.4, "now"), None),
        ("credit", (0.7, "now"), None),
        ("refund credit", (0, 0.6), F.DONE),
        HEARD,
    ],
    [
        ("credit", (0.4, "now"), None),
        ("credit", (0.7, "now"), None),
        ("cancel again", (True,), F.DONE),
        HEARD,
    ],
    [("credit", (0.4, "now"), None), ("cancel", (0,), None), ("send back", (0,), F.REFUSED), HEARD],
    [("cancel", (0,), None), ("credit", (1, "now"), None), ("send back", (0,), F.DONE), HEARD],
    [("credit", (0.4, "now"), None), ("begin", (), A.APPROVED), HEARD, ("credit", (1, "now"), None)],
)
"""What often happens to one order; without them few examples would ever come so far."""


def _told(order: tuple[str, str], story: list[tuple[Any, ...]], length: int) -> list[tuple[Any, ...]]:
    return [(kind, order, how, answered) for kind, how, answered in story[:length]]


STORY = st.builds(_told, ORDERS, st.sampled_from(STORIES), st.integers(1, 5))
ASKED = st.lists(st.one_of(STORY, ONE.map(lambda one: [one])), min_size=1, max_size=6)


class Line:
    """The line to a rail: its answers come late, in any order, twice or never."""

    def __init__(self) -> None:
        self._answers: list[SettleAttempt | SettleRefund | SettleReturn] = []

    def call(self, command: Command, order: Promised, outcome: Any) -> None:
        """The rail is asked, and answers some time."""
        match command:
            case BeginAttempt() | SubmitOtp() | ReturnFromChallenge():
                self._answers.append(_answered(order, command, outcome))
            case BeginRefund() | CancelOrRefund():
                about = (order.paid_by, outcome, command.account_id)
                parts = {event_id(command.refund_id, number) for number in range(len(order.refunds))}
                for refund_id in sorted(parts & set(order.refunds)):
                    self._answers.append(settle_refund(*about, refund_id=refund_id))
            case BeginReturn():
                self._answers.append(_sent_back(command, outcome))

    def hear(self, which: int, how: str) -> Command | None:
        """One of the answers: for good, once more than needed, or not at all."""
        if not self._answers:
            return None
        heard = self._answers[-1 - which % len(self._answers)]
        if how == "once":
            self._answers.remove(heard)
        if how == "silence" and isinstance(heard, SettleRefund | SettleReturn):
            return replace(heard, command_id=IDS.uuid(), outcome=F.SILENT)
        if how == "silence" and isinstance(heard, SettleAttempt):
            return replace(heard, command_id=IDS.uuid(), outcome=A.SILENT, challenge=None)
        return replace(heard, command_id=IDS.uuid())


def _answered(
    order: Promised, command: BeginAttempt | SubmitOtp | ReturnFromChallenge, outcome: RailOutcome
) -> SettleAttempt:
    steps = order.tries[command.transaction_id].steps
    about = (order.order_id, command.transaction_id, outcome, command.account_id)
    return answer(*about, answers_try=steps, max_otp_tries=MAX_OTP_TRIES)


class StillClock(ToldClock):
    """Moves only when told, also while the engine pauses."""

    def pause(self, milliseconds: int) -> None:
        pass


@contextmanager
def empty(kind: Kind) -> Iterator[Place]:
    """A database of this kind to begin an example with."""
    url = emptied(kind)
    if url is not None:
        yield url
        return
    with tempfile.TemporaryDirectory(prefix="opentill-promise-") as folder:
        (Path(folder) / FILE).write_bytes(_empty_file())
        yield Path(folder)


@cache
def _empty_file() -> bytes:
    """The file of a fresh installation, made once: migrating takes longer than an example."""
    with tempfile.TemporaryDirectory() as folder:
        faulty_store(Path(folder)).close()
        return (Path(folder) / FILE).read_bytes()


class TheEngine(RuleBasedStateMachine):
    """An engine on a real database beside the model of what it promises."""

    kind: ClassVar[Kind] = SQLITE

    @initialize(opened=st.sets(st.sampled_from(NAMES)))
    def open(self, opened: set[tuple[str, str]]) -> None:
        self.opened = ExitStack()
        self.place = self.opened.enter_context(empty(self.kind))
        self.runner = asyncio.Runner()
        self.promise, self.clock, self.line, self.begun = Promise(), StillClock(), Line(), 0
        self.start()
        forever = (None, DueAction.EXPIRE, LateMoney.RETURN)
        self.commands_come_together([("create", name, forever, None) for name in sorted(opened)], None)

    def start(self) -> None:
        self.store = faulty_store(self.place)
        self.threads = StoreThreads(self.store)
        self.engine = Engine(self.threads, self.clock, EngineSettings(fee=FEE))

        async def begin_to_serve() -> None:
            self.engine.start()

        self.runner.run(begin_to_serve())

    def stop(self) -> None:
        self.runner.run(self.engine.close())
        self.threads.close()
        self.store.close()

    @rule()
    def the_process_is_replaced(self) -> None:
        """Nothing that was promised lives in memory."""
        self.stop()
        self.start()

    @rule(seconds=st.integers(1, 60))
    def time_passes(self, seconds: int) -> None:
        self.clock.time += seconds * 1000

    @rule(
        asked=ASKED.map(lambda asked: list(chain.from_iterable(asked))),
        fault=st.sampled_from([None, None, None, Fault.TRANSIENT, Fault.LOST_BEFORE, Fault.LOST_AFTER]),
    )
    def commands_come_together(self, asked: list[tuple[Any, ...]], fault: Fault | None) -> None:
        """Each ends as promised, though the commit may meet trouble on the way."""
        commands, expected = [], []
        for kind, order, how, answered in asked:
            command = self.command(kind, order, *how)
            if command is None:
                continue
            commands.append(command)
            expected.append(self.promise.expect(command, self.clock.now()))
            if answered and expected[-1] == DONE:
                self.line.call(command, self.promise.orders[order], answered)
        self.store.faults.append(fault)
        answers = self.runner.run(together(*(self.engine.submit(c) for c in commands)))
        self.store.faults.clear()
        for wanted, got in zip(expected, answers, strict=True):
            assert _fulfils(ending(got), wanted), (ending(got), wanted)

    def command(self, kind: str, order: tuple[str, str], *how: Any) -> Command | None:
        account_id, reference = order
        promised = self.promise.find(*order)
        self.begun += 1
        match kind:
            case "create":
                due_at = self.clock.now() + how[0] * 1000 if how[0] else None
                terms: dict[str, Any] = {"due_at": due_at, "due_action": how[1], "late_money": how[2]}
                return new_order(reference, account_id, split=SPLIT, **terms)
            case "cancel" | "cancel again":
                return self._cancel(kind, order, how[0])
            case "expire":
                command_id, worker = IDS.uuid(), Actor(ActorKind.WORKER)
                return ExpireOrder(account_id=account_id, command_id=command_id, actor=worker, name=reference)
            case "begin":
                return begin(reference, f"T{self.begun}", account_id)
            case "resend":
                return resend_otp(reference, account_id)
            case "hear":
                return self.line.hear(*how)
            case "credit" | "credit again" | "send back" | "person" | "refund credit":
                return self._about_a_credit(kind, order, *how)
        tries = list(promised.tries) if promised else []
        return self._about_a_try(kind, order, tries[-1 - how[0] % len(tries)] if tries else "T0", *how[1:])

    def _cancel(self, kind: str, order: tuple[str, str], other: bool) -> Command:
        account_id, reference = order
        promised = self.promise.find(*order)
        if kind == "cancel":
            return cancel(promised.order_id if promised and other else reference, account_id)
        refunding = cancel_or_refund(reference, account_id, refund_id=IDS.uuid())
        return refunding if other else ensure_cancelled(reference, account_id)

    def _about_a_credit(self, kind: str, order: tuple[str, str], *how: Any) -> Command | None:
        account_id, reference = order
        promised = self.promise.find(*order)
        credits_ = list(promised.credits) if promised else []
        if kind == "credit":
            amount, at = int(new_order("any").amount * how[0]), NOW if how[1] == "early" else None
            name = f"C{self.begun:06}"
            details = {"arrived_at": self.clock.now(), "transferred_at": at, "session_id": f"{order} {name}"}
            return received(reference, name, amount, account_id, **details)
        name = credits_[-1 - how[0] % len(credits_)] if credits_ else "C0"
        match kind:
            case "credit again":
                if not credits_:
                    return None
                return received(reference, name, 1, account_id, session_id=f"{order} {name}")
            case "send back":
                now = self.clock.now()
                return transfer(BeginReturn, name, account_id, now=now, call_until=now + 30_000)
            case "person":
                asked: type[TransactionCommand] = how[1]
                return transfer(asked, name, account_id, **_PERSON_SAYS.get(asked, {}))
        part = int(promised.amount * how[1]) if promised and how[1] else None
        return begin_refund(name, part, account_id, refund_id=IDS.uuid())

    def _about_a_try(
        self, kind: str, order: tuple[str, str], transaction_id: str, *how: Any
    ) -> Command | None:
        account_id, reference = order
        promised = self.promise.find(*order)
        match kind:
            case "otp":
                return submit_otp(reference, transaction_id, account_id)
            case "return":
                return return_from_challenge(transaction_id, account_id)
            case "cancel try":
                return cancel_attempt(transaction_id, account_id)
            case "refund":
                amount = int(promised.amount * how[0]) if promised and how[0] else None
                return begin_refund(transaction_id, amount, account_id, refund_id=IDS.uuid())
            case "confused refund":
                refunds = list(promised.refunds) if promised else []
                refund_id = refunds[-1 - how[0] % len(refunds)] if refunds else "F0"
                return settle_refund(transaction_id, how[1], account_id, refund_id=refund_id)
        steps = promised.tries[transaction_id].steps if promised and promised.tries else 0
        answers_try = max(steps - (how[1] == 0), 0)  # some answers come after the next call has begun
        about = (reference, transaction_id, how[0], account_id)
        return answer(*about, answers_try=answers_try, max_otp_tries=MAX_OTP_TRIES)

    @invariant()
    def the_orders_are_as_promised(self) -> None:
        """Winner and money of every order, its reference used once, as the database has them."""
        found = ask(
            self.store,
            "SELECT account_id, reference, status,"
            ' received, applied, held, "returning", returned FROM orders',
        )
        assert sorted(row[:2] for row in found) == sorted(self.promise.orders)
        for account_id, reference, status, all_money, *parts in found:
            promised = self.promise.orders[account_id, reference]
            money = [promised.money(state) for state in ("applied", "held", "returning", "returned")]
            assert (parts, all_money) == (money, sum(money))
            assert status in self.allowed(promised.won, promised.winner(self.clock.now()))
            assert (status != "EXPIRED") or promised.due(self.clock.now())

    @staticmethod
    def allowed(won: str | None, winner: str | None) -> set[str]:
        """What the status may be; what is due may not have been swept yet."""
        if won is not None:
            return {won.upper()}
        return {"PENDING", "CANCELLED"} if winner else {"PENDING", "EXPIRED"}

    @invariant()
    def every_version_is_an_event(self) -> None:
        """Events are numbered 1, 2, 3 to the order's version, and at most one of them names a winner."""
        rows = ask(
            self.store,
            "SELECT o.version, count(*), max(e.sequence), min(e.sequence),"
            " count(*) FILTER (WHERE e.type IN ('payment_success', 'order_cancelled'))"
            " FROM orders AS o LEFT JOIN events AS e USING (account_id, order_id)"
            " GROUP BY o.account_id, o.order_id",
        )
        for version, events, last, first, winners in rows:
            assert version == events == last
            assert first == 1
            assert winners <= 1

    @invariant()
    def one_try_at_the_most_is_alive(self) -> None:
        """No second card can be charged for an order while a first one may be."""
        alive = "('CALLING', 'UNKNOWN', 'AWAITING_OTP', 'AWAITING_3DS')"
        rows = ask(self.store, f"SELECT count(*) FROM attempts WHERE status IN {alive} GROUP BY order_id")
        assert all(count == 1 for (count,) in rows)

    @invariant()
    def whatever_the_rail_may_still_say_is_waited_for(self) -> None:
        """A call is noted on each try and refund whose money nobody knows, and on no settled refund."""
        lost = "SELECT transaction_id FROM attempts WHERE call_until IS NULL AND status IN"
        assert ask(self.store, f"{lost} ('CALLING', 'UNKNOWN', 'VOIDING')") == []
        wrong = (
            "SELECT refund_id FROM refunds WHERE (call_until IS NULL) = (status IN ('RUNNING', 'UNKNOWN'))"
        )
        assert ask(self.store, wrong) == []

    @invariant()
    def refunds_are_as_promised(self) -> None:
        """What was refunded is the sum of the refunds that were not refused, and never more than was paid."""
        rows = ask(
            self.store,
            "SELECT o.account_id, o.reference, o.applied, o.refunded,"
            " coalesce(sum(r.amount) FILTER (WHERE r.status IN ('RUNNING', 'UNKNOWN')), 0),"
            " coalesce(sum(r.amount) FILTER (WHERE r.status = 'DONE'), 0),"
            " coalesce(sum(r.amount) FILTER (WHERE r.status = 'REFUSED'), 0),"
            " coalesce(sum(r.amount) FILTER (WHERE r.finer_status = 'CLOSING'), 0),"
            " coalesce(sum(r.amount) FILTER (WHERE r.finer_status = 'DISPUTED'), 0)"
            " FROM orders AS o LEFT JOIN refunds AS r USING (account_id, order_id)"
            " GROUP BY o.account_id, o.order_id",
        )
        for account_id, reference, applied, refunded, *parts in rows:
            promised = self.promise.orders[account_id, reference]
            states = (OPEN, ("done",), ("refused", "disputed"), ("closing",), ("disputed",))
            assert parts == [promised.refunded(*each) for each in states]
            assert refunded == parts[0] + parts[1] <= applied

    @invariant()
    def credits_are_where_they_were_promised(self) -> None:
        """Every credit is applied, held or on its way back by exactly as much as the model says."""
        rows = ask(
            self.store,
            "SELECT o.account_id, o.reference, c.transaction_id, c.applied, c.held,"
            " coalesce(r.amount, 0), coalesce(r.finer_status, r.status, '')"
            " FROM credits AS c JOIN orders AS o USING (account_id, order_id)"
            " LEFT JOIN returns AS r USING (account_id, transaction_id)",
        )
        promised = [
            (*name, credit, arrived.applied, arrived.held, arrived.back, arrived.state)
            for name, order in self.promise.orders.items()
            for credit, arrived in order.credits.items()
        ]
        assert sorted(rows) == sorted(promised)

    @invariant()
    def the_ledger_agrees(self) -> None:
        """Every booking sums to zero, and the accounts of each order hold what its totals say."""
        bookings = "SELECT sum(amount) AS s FROM ledger_entries GROUP BY account_id, order_id, sequence"
        assert ask(self.store, f"SELECT s FROM ({bookings}) AS b WHERE s <> 0") == []
        rows = ask(
            self.store,
            'SELECT o.account_id, o.reference, o.applied, o.held, o."returning",'
            " coalesce(sum(l.amount) FILTER (WHERE l.ledger_account IN ('card_rail', 'transfer_rail')), 0),"
            " coalesce(sum(l.amount) FILTER (WHERE l.ledger_account = 'held_money'), 0),"
            " coalesce(sum(l.amount) FILTER (WHERE l.ledger_account = 'returns_due'), 0),"
            " coalesce(sum(l.amount) FILTER (WHERE l.ledger_account = 'refunds_due'), 0),"
            " coalesce(sum(l.amount) FILTER (WHERE l.ledger_account LIKE 'merchant:%'"
            "                          OR l.ledger_account = 'fees'), 0)"
            " FROM orders AS o LEFT JOIN ledger_entries AS l USING (account_id, order_id)"
            " GROUP BY o.account_id, o.order_id",
        )
        for (
            account_id,
            reference,
            applied,
            held,
            returning,
            rail,
            waiting,
            returns,
            refunds,
            merchant,
        ) in rows:
            promised = self.promise.orders[account_id, reference]
            due, done = promised.refunded(*OPEN), promised.refunded("done")
            beyond = promised.disputed()
            assert (waiting, returns, refunds) == (-held, -returning, -due)
            assert (rail, merchant) == (applied + held + returning - done - beyond, due + done - applied)

    def the_books_are_in_order(self) -> None:
        """The audit of the whole database finds nothing."""
        with open_read_only(url_of(self.place)) as connection:
            assert [f for f in audit(connection, 1) if f.count] == []

    def teardown(self) -> None:
        if hasattr(self, "runner"):
            self.stop()
            self.the_books_are_in_order()
            self.runner.close()
            self.opened.close()


_PERSON_SAYS: dict[type[Command], dict[str, str]] = {
    AttachCredit: {"attached_to": "M/another"},
    SettleReturnByHand: {"bank_reference": "REF"},
}


def _sent_back(command: BeginReturn, outcome: RefundOutcome) -> SettleReturn:
    return transfer(
        SettleReturn,
        command.transaction_id,
        command.account_id,
        outcome=outcome,
        answers_until=command.call_until,
        response_code="91",
        message="said the bank",
        try_again_at=command.now + 20_000,
        max_tries=2,
    )


def _fulfils(ended: str, wanted: str) -> bool:
    return ended in REFUSALS if wanted == REFUSED else ended == wanted


class TheEngineOnPostgres(TheEngine):
    """The same, where other databases' habits could show."""

    kind = POSTGRES


TestThePromise = TheEngine.TestCase
TestThePromise.settings = settings(
    max_examples=100,
    stateful_step_count=25,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
TestThePromiseOnPostgres = TheEngineOnPostgres.TestCase
TestThePromiseOnPostgres.settings = settings(TestThePromise.settings, max_examples=20)
