"""Whatever is asked, in whatever sequence and with whatever trouble at the commit: the promise holds."""

import asyncio
import shutil
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from engine.given import Fault, FaultyStore, ask, begin, ending, settle, submit_otp, together
from engine.promise import DONE, EITHER, REFUSED, Promise
from given_store import ACCOUNT, OTHER, ToldClock, cancel, new_order
from opentill.domain.commands import Actor, ActorKind, Command, ExpireOrder, RailOutcome
from opentill.domain.order import DueAction
from opentill.domain.refusals import PRECEDENCE
from opentill.engine.engine import Engine, EngineSettings
from opentill.engine.threads import StoreThreads

REFUSALS = {refusal.__name__ for refusal in PRECEDENCE}

ORDERS = st.tuples(st.sampled_from([ACCOUNT, OTHER]), st.sampled_from(["r1", "r2"]))
CREATE = st.tuples(
    st.just("create"), ORDERS, st.none() | st.integers(1, 120), st.sampled_from(list(DueAction))
)
CANCEL = st.tuples(st.just("cancel"), ORDERS, st.booleans())
EXPIRE = st.tuples(st.just("expire"), ORDERS)
BEGIN = st.tuples(st.just("begin"), ORDERS)
OTP = st.tuples(st.just("otp"), ORDERS, st.integers(0, 2))
SETTLE = st.tuples(
    st.just("settle"), ORDERS, st.integers(0, 2), st.sampled_from(list(RailOutcome)), st.integers(0, 3)
)
PAY = st.tuples(st.just("settle"), ORDERS, st.integers(0, 1), st.just(RailOutcome.APPROVED), st.just(1))
CHALLENGE = st.tuples(st.just("settle"), ORDERS, st.just(0), st.just(RailOutcome.OTP_REQUIRED), st.just(1))
ASKED = st.one_of(CREATE, BEGIN, CHALLENGE, OTP, SETTLE, BEGIN, CHALLENGE, OTP, SETTLE, PAY, CANCEL, EXPIRE)


class StillClock(ToldClock):
    """Moves only when told, also while the engine pauses."""

    def pause(self, milliseconds: int) -> None:
        pass


@cache
def _empty_database() -> bytes:
    """The file of a fresh installation, made once: migrating takes longer than an example."""
    with tempfile.TemporaryDirectory() as folder:
        FaultyStore(Path(folder)).close()
        return (Path(folder) / "opentill.db").read_bytes()


class TheEngine(RuleBasedStateMachine):
    """An engine on a real file beside the model of what it promises."""

    @initialize()
    def open(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="opentill-promise-"))
        (self.folder / "opentill.db").write_bytes(_empty_database())
        self.runner = asyncio.Runner()
        self.promise, self.clock, self.begun = Promise(), StillClock(), 0
        self.start()

    def start(self) -> None:
        self.store = FaultyStore(self.folder)
        self.threads = StoreThreads(self.store)
        self.engine = Engine(self.threads, self.clock, EngineSettings())

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
        asked=st.lists(ASKED, min_size=1, max_size=10),
        fault=st.sampled_from([None, None, None, Fault.TRANSIENT, Fault.LOST_BEFORE, Fault.LOST_AFTER]),
    )
    def commands_come_together(self, asked: list[tuple[Any, ...]], fault: Fault | None) -> None:
        """Each ends as promised, though the commit may meet trouble on the way."""
        commands, expected = [], []
        for each in asked:
            commands.append(self.command(*each))
            expected.append(self.promise.expect(commands[-1], self.clock.now()))
        self.store.faults.append(fault)
        answers = self.runner.run(together(*(self.engine.submit(c) for c in commands)))
        self.store.faults.clear()
        for wanted, answer in zip(expected, answers, strict=True):
            assert _fulfils(ending(answer), wanted), (ending(answer), wanted)

    def command(self, kind: str, order: tuple[str, str], *how: Any) -> Command:
        account_id, reference = order
        promised = self.promise.find(*order)
        tries = list(promised.tries) if promised else []
        if kind == "create":
            due_at = self.clock.now() + how[0] * 1000 if how[0] else None
            return new_order(reference, account_id, due_at=due_at, due_action=how[1])
        if kind == "cancel":
            return cancel(promised.order_id if promised and how[0] else reference, account_id)
        if kind == "expire":
            command_id = cancel(reference).command_id
            worker = Actor(ActorKind.WORKER)
            return ExpireOrder(account_id=account_id, command_id=command_id, actor=worker, name=reference)
        if kind == "begin":
            self.begun += 1
            return begin(reference, f"T{self.begun}", account_id)
        transaction_id = tries[-1 - how[0] % len(tries)] if tries else "T0"
        if kind == "otp":
            return submit_otp(reference, transaction_id, account_id)
        passwords = promised.tries[transaction_id].passwords if promised and tries else 0
        answers_try = max(passwords - (how[2] == 0), 0)  # some answers come after the next call has begun
        return settle(reference, transaction_id, how[1], account_id, answers_try=answers_try, max_otp_tries=2)

    @invariant()
    def the_orders_are_as_promised(self) -> None:
        """Winner and money of every order, its reference used once, as the database has them."""
        found = ask(
            self.store,
            "SELECT account_id, reference, status,"
            ' received, applied, held, "returning", returned FROM orders',
        )
        assert sorted(row[:2] for row in found) == sorted(self.promise.orders)
        for account_id, reference, status, received, *parts in found:
            promised = self.promise.orders[account_id, reference]
            money = [promised.money(state) for state in ("applied", "held", "returning", "returned")]
            assert (parts, received) == (money, sum(money))
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
            " sum(e.type IN ('payment_success', 'order_cancelled'))"
            " FROM orders AS o LEFT JOIN events AS e USING (account_id, order_id)"
            " GROUP BY o.account_id, o.order_id",
        )
        for version, events, last, first, winners in rows:
            assert version == events == last
            assert first == 1
            assert winners <= 1

    @invariant()
    def the_ledger_agrees(self) -> None:
        """Every booking sums to zero, and the accounts of each order hold what its totals say."""
        bookings = "SELECT sum(amount) AS s FROM ledger_entries GROUP BY account_id, order_id, sequence"
        assert ask(self.store, f"SELECT s FROM ({bookings}) WHERE s <> 0") == []
        rows = ask(
            self.store,
            'SELECT o.applied, o."returning",'
            " total(l.amount) FILTER (WHERE l.ledger_account = 'card_rail'),"
            " total(l.amount) FILTER (WHERE l.ledger_account = 'returns_due'),"
            " total(l.amount) FILTER (WHERE l.ledger_account = 'merchant:' || o.account_id)"
            " FROM orders AS o LEFT JOIN ledger_entries AS l USING (account_id, order_id)"
            " GROUP BY o.account_id, o.order_id",
        )
        for applied, returning, rail, due, merchant in rows:
            assert (rail, due, merchant) == (applied + returning, -returning, -applied)

    def teardown(self) -> None:
        if hasattr(self, "runner"):
            self.stop()
            self.runner.close()
            shutil.rmtree(self.folder)


def _fulfils(ended: str, wanted: str) -> bool:
    if wanted == EITHER:
        return ended in {DONE, *REFUSALS}
    return ended in REFUSALS if wanted == REFUSED else ended == wanted


TestThePromise = TheEngine.TestCase
TestThePromise.settings = settings(
    max_examples=120,
    stateful_step_count=25,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
