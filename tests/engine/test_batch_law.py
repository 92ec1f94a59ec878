"""The batch law: one batch gives exactly what its commands give one after another (laws 1).

Random orders in many states, random commands on them under every name that they have; judged twice from the
same beginning, together and each alone. Answers, replies, rows, ledger and feed must be the same.
"""

import json
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from databases import Contents, Kind, Place, contents
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
from engine.harness import faulty_store
from engine.test_promise import empty
from opentill.api.nomba.replies import cancel_reply, refund_reply
from opentill.api.wire import Reply
from opentill.domain.commands import (
    AcceptCredit,
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
    SettleRefund,
    SettleReturn,
    SettleReturnByHand,
    TransactionCommand,
)
from opentill.domain.events import EventType
from opentill.domain.order import DueAction, LateMoney, Split, SplitKind
from opentill.domain.refusals import Refusal
from opentill.domain.sharing import FeeTerms
from opentill.domain.transition import Change
from opentill.engine.batch import Outcome, Render, Result, Submission
from opentill.engine.engine import EngineSettings, _Committer
from opentill.engine.errors import EngineError
from opentill.engine.metrics import EngineMetrics
from opentill.store.interface import Store
from opentill.store.orders.contract import KeyClaim, StoredReply, TokenId
from opentill.store.transfers.contract import TransferNotice
from store_factories import ACCOUNT, ACTOR, IDS, NOW, OTHER, TOKEN, ToldClock, add_token, cancel, new_order

AMOUNT = new_order("any").amount
FEE = FeeTerms(basis_points=140, cap=100_00)
SPLIT = Split(SplitKind.PERCENTAGE, (("sub-1", 33_33), ("sub-2", 12_50)))
DUE = NOW + 1_000
DEAD = TokenId(ACCOUNT, "jti-dead")
A, F = RailOutcome, RefundOutcome


@dataclass(frozen=True)
class Known:
    """One order by all of its names; what is done to it is numbered from 1."""

    account_id: str
    reference: str
    number: int

    @property
    def order_id(self) -> str:
        return str(uuid.UUID(int=0xA0 + self.number, version=4))

    @property
    def account_number(self) -> str:
        return f"900000000{self.number}"

    def attempt(self, n: int) -> str:
        return f"T-{self.number}-{n}"

    def credit(self, n: int) -> str:
        return f"C-{self.number}-{n}"

    def refund(self, n: int) -> str:
        """Refund ids leave room below for those of their further parts."""
        return str(uuid.UUID(int=(0xF0 + self.number) << 32 | n << 8, version=4))


ORDERS = (Known(ACCOUNT, "r1", 1), Known(ACCOUNT, "r2", 2), Known(OTHER, "r1", 3))
Ask = tuple[Any, ...]
"""A kind of request and how it varies."""

CREATED: list[Ask] = [("create", None, DueAction.EXPIRE, LateMoney.RETURN, False)]
SHARED: list[Ask] = [("create", None, DueAction.EXPIRE, LateMoney.RETURN, True)]
TRANSFERS: list[Ask] = [("credit", 1, 0.4, "reference"), ("credit", 2, 0.7, "order id")]
CHARGED: list[Ask] = [("begin", 1), ("answer", 1, A.APPROVED, 0)]
STORIES: list[list[Ask]] = [
    [],
    CREATED,
    [("create", DUE, DueAction.CANCEL, LateMoney.RETURN, False)],
    [*CREATED, TRANSFERS[0]],
    [*CREATED, *TRANSFERS],
    [*SHARED, *TRANSFERS, ("refund credit", 2, 1, 0.4), ("settle refund", 1, 2, F.DONE)],
    [*CREATED, ("credit", 1, 1, "number"), ("refund credit", 1, 1, 0.4)],
    [*CREATED, *TRANSFERS, ("refund credit", 2, 1, 0.7)],
    [*CREATED, ("begin", 1)],
    [
        *CREATED,
        ("begin", 1),
        ("answer", 1, A.OTP_REQUIRED, 0),
        ("begin", 2),
        ("answer", 2, A.OTP_REQUIRED, 0),
    ],
    [*CREATED, ("begin", 1), ("answer", 1, A.CHALLENGE_REQUIRED, 0)],
    [*SHARED, *CHARGED],
    [*CREATED, *CHARGED, ("refund card", 1, 1, 0.4), ("settle refund", 1, 1, F.DONE)],
    [*CREATED, ("begin", 1), ("cancel", "reference"), ("answer", 1, A.APPROVED, 0)],
    [*CREATED, ("cancel", "reference"), ("credit", 1, 1, "reference"), ("return", 1)],
    [("create", DUE, DueAction.EXPIRE, LateMoney.HOLD, False), ("later",), ("credit", 1, 1, "reference")],
]
"""How far an order has come before the batch."""

_PERSON_SAYS: dict[type[TransactionCommand], dict[str, str]] = {
    AttachCredit: {"attached_to": "x/y"},
    SettleReturnByHand: {"bank_reference": "B"},
}

NAME = st.sampled_from(["reference", "order id", "order id"])
N = st.sampled_from([1, 1, 1, 2])
PERSON = st.sampled_from([AcceptCredit, ReturnCredit, RetryReturn, *_PERSON_SAYS])
PART = st.sampled_from([None, 0.3, 0.6, 0.7])
ASKED: st.SearchStrategy[Ask] = st.one_of(
    st.tuples(
        st.just("create"),
        st.sampled_from([None, DUE]),
        st.sampled_from(list(DueAction)),
        st.sampled_from(list(LateMoney)),
        st.booleans(),
    ),
    *[
        st.tuples(st.sampled_from(["cancel", "cancel again", "cancel or refund"]), NAME),
        st.tuples(st.sampled_from(["cancel", "cancel again", "cancel or refund"]), NAME),
    ],
    st.tuples(st.just("expire"), NAME),
    st.tuples(st.just("begin"), N),
    st.tuples(st.sampled_from(["otp", "come back", "cancel try", "resend"]), N),
    st.tuples(st.just("answer"), N, st.sampled_from(list(A)), st.sampled_from([0, 0, 1])),
    *[st.tuples(st.sampled_from(["refund card", "refund credit"]), N, N, PART)] * 3,
    st.tuples(st.just("settle refund"), N, N, st.sampled_from(list(F))),
    *[
        st.tuples(
            st.just("credit"),
            st.sampled_from([1, 2, 3]),
            st.sampled_from([0.4, 0.6, 1, 1.3]),
            st.sampled_from(["reference", "order id", "number"]),
        )
    ]
    * 2,
    st.tuples(
        st.just("person"), N, st.sampled_from([AcceptCredit, ReturnCredit, RetryReturn, *_PERSON_SAYS])
    ),
    st.tuples(st.just("return"), N),
    st.tuples(st.just("settle return"), N, st.sampled_from(list(F))),
)
AROUND = st.tuples(
    st.sampled_from([None, None, None, ("k1", "f"), ("k1", "g"), ("k2", "f")]),
    st.sampled_from([None, None, None, TOKEN, DEAD]),
    st.booleans(),
)
"""What surrounds a command: its idempotency key, its token, and whether its own commit answers."""
CONTESTED = st.sampled_from([ORDERS[0], ORDERS[0], ORDERS[0], *ORDERS])
TANGLED: list[list[Ask]] = [
    [("credit", 3, 0.4, "reference"), ("credit", 1, 0.4, "number"), ("credit", 2, 0.6, "order id")],
    [
        ("begin", 2),
        ("answer", 2, A.OTP_REQUIRED, 0),
        ("begin", 1),
        ("answer", 1, A.OTP_REQUIRED, 0),
        ("resend", 1),
    ],
    [("refund credit", 2, 2, 0.3), ("refund credit", 2, 1, 0.3), ("cancel or refund", "reference")],
    [("settle refund", 1, 1, F.DONE), ("refund card", 1, 1, 0.3), ("settle refund", 1, 1, F.DONE)],
    [("cancel", "order id"), ("credit", 2, 1, "reference"), ("return", 2), ("settle return", 2, F.REFUSED)],
]
"""What meets in one batch and whose order matters: later names first, and answers before what they answer."""
SOME = st.one_of(
    ASKED.map(lambda ask: [ask]), ASKED.map(lambda ask: [ask]), st.sampled_from([*STORIES, *TANGLED])
)


def _of_one_order(order: Known, asks: list[Ask], around: Any) -> list[tuple[Known, Ask, Any]]:
    return [(order, ask, around) for ask in asks if ask != ("later",)]


BATCH = st.lists(st.builds(_of_one_order, CONTESTED, SOME, AROUND), min_size=1, max_size=6).map(
    lambda some: list(chain.from_iterable(some))
)
HISTORY = st.tuples(*[st.sampled_from(STORIES)] * len(ORDERS))


# --- what is asked --------------------------------------------------------------------------------


def _name(order: Known, by: str) -> str:
    return order.reference if by == "reference" else order.order_id


def command_of(order: Known, ask: Ask, store: Store) -> Command:
    """The command that is asked for."""
    kind, *how = ask
    match kind:
        case "create":
            return _create(order, *how)
        case "cancel" | "cancel again" | "cancel or refund" | "expire":
            return _end(kind, _name(order, how[0]), order.account_id)
        case "credit":
            return _credit(order, store, *how)
        case "refund card" | "refund credit" | "settle refund":
            return _refund(kind, order, *how)
        case "person" | "return" | "settle return":
            return _about_money_back(kind, order, *how)
    return _about_an_attempt(kind, order, *how)


def _create(
    order: Known, due_at: int | None, due_action: DueAction, late_money: LateMoney, shared: bool
) -> Command:
    terms = {"due_at": due_at, "due_action": due_action, "late_money": late_money}
    made = new_order(order.reference, order.account_id, split=SPLIT if shared else None, **terms)
    return replace(made, order_id=order.order_id)


def _end(kind: str, name: str, account_id: str) -> Command:
    match kind:
        case "cancel":
            return cancel(name, account_id)
        case "cancel again":
            return ensure_cancelled(name, account_id)
        case "expire":
            return ExpireOrder(account_id=account_id, command_id=IDS.uuid(), actor=ACTOR, name=name)
    return cancel_or_refund(name, account_id, refund_id=IDS.uuid())


def _refund(kind: str, order: Known, *how: Any) -> Command:
    if kind == "settle refund":
        n, paying, outcome = how
        return settle_refund(order.credit(paying), outcome, order.account_id, refund_id=order.refund(n))
    paying, n, part = how
    transaction = order.attempt(paying) if kind == "refund card" else order.credit(paying)
    amount = int(AMOUNT * part) if part else None
    return begin_refund(transaction, amount, order.account_id, refund_id=order.refund(n))


def _credit(order: Known, store: Store, n: int, part: float, by: str) -> Command:
    """A transfer; one by account number goes the way of an advice to its order."""
    name, session = _name(order, by), f"S {order.credit(n)}"
    if by == "number":
        notice = TransferNotice(
            "bank", session, order.account_number, 1, "NGN", received("n", "C", 1).sender, NOW
        )
        credit_id = str(uuid.UUID(int=0xC0 + order.number * 8 + n, version=4))
        advice = store.transfers.record_advice(notice, credit_id, NOW, NOW + 1)
        name = advice.order_id or order.reference
    return received(
        name, order.credit(n), int(AMOUNT * part), order.account_id, session_id=session, transferred_at=NOW
    )


def _about_money_back(kind: str, order: Known, n: int, *how: Any) -> Command:
    credit, account_id = order.credit(n), order.account_id
    if kind == "return":
        return transfer(BeginReturn, credit, account_id, now=NOW, call_until=NOW + 30_000)
    if kind == "settle return":
        said: dict[str, Any] = {"answers_until": NOW + 30_000, "try_again_at": NOW + 60_000, "max_tries": 1}
        said |= {"outcome": how[0], "response_code": "", "message": ""}
        return transfer(SettleReturn, credit, account_id, **said)
    asked: type[TransactionCommand] = how[0]
    return transfer(asked, credit, account_id, **_PERSON_SAYS.get(asked, {}))


def _about_an_attempt(kind: str, order: Known, n: int, *how: Any) -> Command:
    attempt, account_id = order.attempt(n), order.account_id
    match kind:
        case "begin":
            return begin(order.reference, attempt, account_id)
        case "otp":
            return submit_otp(order.order_id, attempt, account_id)
        case "come back":
            return return_from_challenge(attempt, account_id)
        case "cancel try":
            return cancel_attempt(attempt, account_id)
        case "resend":
            return resend_otp(order.order_id, account_id)
        case "answer":
            return answer(order.order_id, attempt, how[0], account_id, answers_try=how[1])
    raise AssertionError(kind)


def _under_a_new_id(command: Command, used: set[str]) -> Command:
    """What is begun bears an id that nobody had before, as the server gives them."""
    if isinstance(command, BeginAttempt) and command.transaction_id in used:
        command = replace(command, transaction_id=f"{command.transaction_id}-{len(used)}")
    if isinstance(command, BeginRefund) and command.refund_id in used:
        command = replace(command, refund_id=IDS.uuid())
    if isinstance(command, BeginAttempt | BeginRefund):
        used.add(command.transaction_id if isinstance(command, BeginAttempt) else command.refund_id)
    return command


def submission_of(command: Command, around: tuple[Any, Any, bool]) -> Submission:
    key, token, answers = around
    claim = KeyClaim(command.account_id, key[0], key[1], command.command_id) if key else None
    completes = "k1" if isinstance(command, SettleRefund) else None
    return Submission(command, _render(command) if answers else None, claim, token, completes)


def _kept(reply: Reply) -> StoredReply:
    """Make the wire's reply what comes back from under a key: of two classes they would not be equal."""
    return StoredReply(reply.status, reply.reason, reply.body)


def _render(command: Command) -> Render:
    """The wire's own reply where it tells of money; else the events in words."""

    def render(outcome: Outcome) -> StoredReply:
        if isinstance(outcome, Refusal):
            return StoredReply(400, outcome.reason, b"{}")
        if isinstance(command, BeginRefund):
            return _kept(refund_reply(outcome, command.refund_id))
        if isinstance(command, CancelOrRefund):
            return _kept(cancel_reply(outcome, command.refund_id))
        return StoredReply(200, "", json.dumps(repr(outcome.events)).encode())

    return render


# --- what comes of it -----------------------------------------------------------------------------


@dataclass(frozen=True)
class Came:
    """What came of a batch: each command's answer, and all that the database then holds."""

    results: list[Result | EngineError | str]
    rows: Contents


Carry = Callable[[_Committer, Sequence[Submission]], Iterator[Result | EngineError]]


def at_once(committer: _Committer, submissions: Sequence[Submission]) -> Iterator[Result | EngineError]:
    yield from committer.carry_out(submissions)


def one_by_one(committer: _Committer, submissions: Sequence[Submission]) -> Iterator[Result | EngineError]:
    for each in submissions:
        yield from committer.carry_out([each])


def carried_out(
    place: Place, history: Sequence[tuple[Known, Ask]], batch: Sequence[tuple[Known, Ask, Any]], carry: Carry
) -> Came:
    """The batch on a database with this history; ids count from the same beginning each time."""
    IDS.__init__(start=1 << 41)  # type: ignore[misc]
    store, clock, metrics = faulty_store(place), ToldClock(), EngineMetrics()
    committer = _Committer(store, clock, EngineSettings(fee=FEE), metrics)
    used: set[str] = set()

    def asked_of(order: Known, ask: Ask) -> Command:
        return _under_a_new_id(command_of(order, ask, store), used)

    try:
        add_token(store)
        for order in ORDERS:
            store.transfers.reserve_account(
                order.account_id,
                order.order_id,
                bank_code="999",
                candidates=[order.account_number],
                now=NOW,
                rest_milliseconds=0,
            )
        for order, ask in history:
            if ask == ("later",):
                clock.time = DUE + 1
            else:
                committer.carry_out([Submission(asked_of(order, ask))])
        asked = [submission_of(asked_of(order, ask), around) for order, ask, around in batch]
        results = list(carry(committer, asked))
        while store.outbox.place_events(lambda _event, _view: None, NOW, 100):
            pass
    finally:
        store.close()
    assert metrics.run_alone == 0
    return Came([_told(result) for result in results], contents(place))


def _told(result: Result | EngineError) -> Result | EngineError | str:
    """A refusal is told by its name: two of a kind are not equal."""
    if isinstance(result, Result) and isinstance(result.outcome, Refusal):
        return f"{type(result.outcome).__name__} {result.reply} {result.replayed}"
    return result if isinstance(result, Result) else type(result).__name__


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(history=HISTORY, batch=BATCH)
def test_a_batch_gives_what_its_commands_give_one_by_one(
    database_kind: Kind, history: tuple[list[Ask], ...], batch: list[tuple[Known, Ask, Any]]
) -> None:
    """Whatever is asked, by whatever names: the same answers, rows, events, ledger, feed and replies."""
    past = list(
        chain.from_iterable(
            [(order, ask) for ask in story] for order, story in zip(ORDERS, history, strict=True)
        )
    )
    with empty(database_kind) as place:
        together = carried_out(place, past, batch, at_once)
    with empty(database_kind) as place:
        alone = carried_out(place, past, batch, one_by_one)
    assert together.results == alone.results
    assert together.rows == alone.rows
    for result in together.results:
        if isinstance(result, Result):
            _tells_its_own_change(result)


def _tells_its_own_change(result: Result) -> None:
    """Where a reply names the amount of a refund, it is what this very change began to give back."""
    if result.reply is None or not isinstance(result.outcome, Change):
        return
    data = json.loads(result.reply.body)
    refund = data["data"].get("refund") if isinstance(data, dict) else None
    started = [e.amount for e in result.outcome.events if e.type is EventType.REFUND_STARTED]
    if refund is not None:
        assert round(float(refund["amount"]) * 100) == sum(started)


def test_the_rest_of_a_refund_comes_whole_beside_a_cancel(place: Place) -> None:
    """100.00 by transfer, 40.00 refunded; 60.00 asked for beside a cancel by reference: 60.00 go back."""
    paid: list[Ask] = [*CREATED, ("credit", 1, 1, "reference"), ("refund credit", 1, 1, 0.4)]
    order, silent = ORDERS[0], (None, None, False)
    batch = [(order, ("refund credit", 1, 2, 0.6), silent), (order, ("cancel", "reference"), silent)]
    came = carried_out(place, [(order, ask) for ask in paid], batch, at_once)
    result = came.results[0]
    assert isinstance(result, Result)
    assert isinstance(result.outcome, Change)
    assert [event.amount for event in result.outcome.events] == [int(AMOUNT * 0.6)]
    assert came.results[1] == "OrderAlreadyPaid None False"


@pytest.fixture(autouse=True)
def ids_go_on() -> Iterator[None]:
    """Tests after this one get ids that nobody had."""
    number = next(IDS._numbers)
    yield
    IDS.__init__(start=number)  # type: ignore[misc]
