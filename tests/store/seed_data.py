"""A database in which everything has happened that can happen to an order, made through the real engine.

Every event has its place in the feed, but for the last order's: nobody has come round to telling it yet.
Between the others stands that an endpoint was paused.
"""

from collections.abc import Sequence

from msgspec.structs import replace

from databases import Place
from engine.builders import begin, received, settle, submit_otp, transfer
from engine.harness import running, together
from opentill.domain.commands import (
    AcceptCredit,
    BeginRefund,
    BeginReturn,
    CancelAttempt,
    Command,
    ExpireOrder,
    RailOutcome,
    RefundOutcome,
    ReturnFromChallenge,
    SettleAttempt,
    SettleRefund,
    SettleReturn,
    SettleReturnByHand,
)
from opentill.domain.order import Challenge, DueAction, LateMoney, Sender, Split, SplitKind
from opentill.domain.sharing import NO_FEE, FeeTerms
from opentill.domain.suspense import SUSPENSE, suspense_order, suspense_transaction
from opentill.domain.transition import Change
from opentill.engine.engine import Engine, EngineSettings
from opentill.store.interface import Store
from opentill.store.outbox.contract import DeliveryState, Endpoint, Patience, Tried
from opentill.store.transfers.contract import TransferNotice
from store_factories import ACCOUNT, ACTOR, IDS, NOW, OTHER, ToldClock, cancel, new_order, open_store

DUE = NOW + 1_000
HOUSE_CREDIT = "c0000000-0000-4000-8000-000000000001"
PLACED_AT_ONCE = 10
ENDPOINT = Endpoint(
    account_id=ACCOUNT,
    endpoint_id="an endpoint",
    url="https://shop.example/hook",
    events=("payment_success",),
    enabled=True,
    key_sealed=b"key",
    next_key_sealed=None,
    paused_at=None,
    failing_since=None,
    created_at=NOW,
)
FEE = FeeTerms(basis_points=140, cap=100_00)
SPLIT = Split(SplitKind.PERCENTAGE, (("sub-1", 33_33), ("sub-2", 10_01)))
O = RailOutcome  # noqa: E741 - the word most often said below


async def play(place: Place, *, shared: bool = True) -> dict[str, str]:
    """Make the database of this place; returns the order ids by the orders' references.

    Not ``shared``: payments cost nothing and nobody shares in them, as it was before 0010.
    """
    store, clock = open_store(place), ToldClock()
    try:
        async with running(store, clock, EngineSettings(fee=FEE if shared else NO_FEE)) as engine:
            made = await _create(engine, SPLIT if shared else None)
            for act in _ACTS:
                await _play(engine, act)
            await _advise(store, engine)
            _place(store)
            _pause(store)
            clock.time = DUE
            await _play(engine, [_expire("expired"), _expire("cancelled when due")])
            _place(store)
            untold = new_order("pending")
            await _play(engine, [untold])
            return made | {untold.reference: untold.order_id, "of the house": HOUSE_CREDIT}
    finally:
        store.close()


def _place(store: Store) -> None:
    while store.outbox.place_events(lambda _event, _view: None, DUE, PLACED_AT_ONCE):
        pass


def _pause(store: Store) -> None:
    store.outbox.add_endpoint(ENDPOINT)
    dead = Tried(ACCOUNT, "a delivery", ENDPOINT.endpoint_id, DeliveryState.DEAD, None, 500, "", NOW)
    assert store.outbox.record_tries([dead], Patience(milliseconds=0, tries=1))


async def _create(engine: Engine, split: Split | None) -> dict[str, str]:
    commands = [
        new_order(reference, ACCOUNT, **_TERMS.get(reference, {})) for reference in _REFERENCES + _BY_TRANSFER
    ]
    commands = [replace(each, split=split) if each.reference in _SHARED else each for each in commands]
    commands.append(new_order("foreign", OTHER))
    await _play(engine, commands)
    return {command.reference: command.order_id for command in commands}


async def _play(engine: Engine, commands: Sequence[Command]) -> None:
    for answer in await together(*(engine.submit(command) for command in commands)):
        assert not isinstance(answer, BaseException)
        assert isinstance(answer.outcome, Change), answer.outcome


_REFERENCES = [
    *["cancelled", "expired", "cancelled when due", "calling", "unknown", "otp", "challenge"],
    *["declined", "failed", "cancelled attempt", "closed attempt", "second attempt", "voiding", "voided"],
    *["paid", "paid by sub-account", "paid by challenge"],
    *["refund running", "refund unknown", "refund done", "refund refused"],
    *["refund closing", "refund disputed"],
]
_BY_TRANSFER = [
    *["held", "paid by transfers", "refund to senders", "late", "held by policy", "accepted"],
    *["return running", "return unknown", "return parked", "return done"],
    *["return closing", "return disputed"],
]
_SHARED = ["paid by sub-account", "refund running", "refund refused", "refund to senders"]
_TERMS: dict[str, dict[str, object]] = {
    "expired": {"due_at": DUE},
    "cancelled when due": {"due_at": DUE, "due_action": DueAction.CANCEL},
    "paid by sub-account": {"sub_account_id": "sub-1"},
    "held by policy": {"due_at": NOW - 1, "late_money": LateMoney.HOLD},
    "accepted": {"due_at": NOW - 1, "late_money": LateMoney.HOLD},
}


def _said(name: str, outcome: RailOutcome, answers_try: int = 0) -> SettleAttempt:
    return settle(name, f"T {name}", outcome, answers_try=answers_try)


def _challenged(name: str) -> SettleAttempt:
    challenge = Challenge("https://issuer.example/acs", "jwt", "md")
    return replace(_said(name, O.CHALLENGE_REQUIRED), challenge=challenge)


def _expire(name: str) -> ExpireOrder:
    return ExpireOrder(account_id=ACCOUNT, command_id=IDS.uuid(), actor=ACTOR, name=name)


def _cancel_attempt(name: str) -> CancelAttempt:
    return CancelAttempt(account_id=ACCOUNT, command_id=IDS.uuid(), actor=ACTOR, transaction_id=f"T {name}")


def _refund(name: str, amount: int | None) -> BeginRefund:
    return BeginRefund(
        account_id=ACCOUNT,
        command_id=IDS.uuid(),
        actor=ACTOR,
        transaction_id=f"T {name}",
        refund_id=f"F {name}",
        amount=amount,
        call_until=NOW + 30_000,
    )


def _refund_said(name: str, outcome: RefundOutcome) -> SettleRefund:
    return SettleRefund(
        account_id=ACCOUNT,
        command_id=IDS.uuid(),
        actor=ACTOR,
        transaction_id=f"T {name}",
        refund_id=f"F {name}",
        outcome=outcome,
        response_code="61",
        message="said the rail",
    )


_SENT_BACK = ["late", *_BY_TRANSFER[-6:]]


def _try(name: str, now: int = NOW) -> Command:
    return transfer(BeginReturn, f"C {name}", now=now, call_until=now + 30_000)


def _return_said(name: str, outcome: RefundOutcome, *, tried_at: int = NOW) -> Command:
    return transfer(
        SettleReturn,
        f"C {name}",
        outcome=outcome,
        answers_until=tried_at + 30_000,
        response_code="91",
        message="said the bank",
        try_again_at=NOW + 60_000,
        max_tries=1,
    )


async def _advise(store: Store, engine: Engine) -> None:
    """A transfer to no account that we know: the house books it."""
    notice = TransferNotice("bank", "S house", "0000000000", 500_00, "NGN", Sender(), None)
    advice = store.transfers.record_advice(notice, HOUSE_CREDIT, NOW, NOW + 30_000)
    opens = suspense_order(HOUSE_CREDIT, 500_00, "NGN", LateMoney.HOLD, IDS.uuid(), ACTOR)
    books = received(HOUSE_CREDIT, suspense_transaction(HOUSE_CREDIT), 500_00, SUSPENSE)
    await _play(engine, [opens])
    await _play(engine, [replace(books, session_id=advice.notice.session_id, arrived_at=advice.arrived_at)])
    store.transfers.note_routed(advice)


_TRIED = _REFERENCES[3:]
_REFUNDED = _REFERENCES[-6:]
_PAID_AT_ONCE = ["paid", "paid by sub-account", *_REFUNDED]

_ACTS: list[list[Command]] = [
    [cancel("cancelled"), *(begin(name, f"T {name}") for name in _TRIED)],
    [
        _said("unknown", O.SILENT),
        _said("otp", O.OTP_REQUIRED),
        _challenged("challenge"),
        _challenged("paid by challenge"),
        _said("declined", O.DECLINED),
        _said("failed", O.NEVER_HAPPENED),
        _cancel_attempt("cancelled attempt"),
        _cancel_attempt("closed attempt"),
        _said("second attempt", O.DECLINED),
        cancel("voiding"),
        cancel("voided"),
        *(_said(name, O.APPROVED) for name in _PAID_AT_ONCE),
    ],
    [
        _said("closed attempt", O.NEVER_HAPPENED),
        begin("second attempt", "T2"),
        _said("voiding", O.APPROVED),
        _said("voided", O.APPROVED),
        submit_otp("otp", "T otp"),
        ReturnFromChallenge(
            account_id=ACCOUNT,
            command_id=IDS.uuid(),
            actor=ACTOR,
            transaction_id="T paid by challenge",
            call_until=NOW + 30_000,
        ),
        *(_refund(name, 1_000_00) for name in _REFUNDED),
    ],
    [
        _said("otp", O.OTP_REJECTED, 1),
        _said("paid by challenge", O.APPROVED, 1),
        settle("second attempt", "T2", O.OTP_REQUIRED),
        _said("voided", O.VOIDED),
        _refund_said("refund unknown", RefundOutcome.SILENT),
        _refund_said("refund done", RefundOutcome.DONE),
        _refund_said("refund refused", RefundOutcome.REFUSED),
        _refund_said("refund closing", RefundOutcome.SILENT),
        _refund_said("refund disputed", RefundOutcome.REFUSED),
    ],
    [
        *(cancel(name) for name in _SENT_BACK),
        received("held", "C held", 400_00),
        received("foreign", "C foreign", 400_00, OTHER),
        received("paid by transfers", "C1 paid", 4_000_00),
        received("refund to senders", "C1 refunded", 4_000_00),
        received("held by policy", "C by policy", 400_00),
        received("accepted", "C accepted", 10_000_50),
    ],
    [
        received("paid by transfers", "C2 paid", 7_000_00),
        received("refund to senders", "C2 refunded", 6_000_50),
        *(received(name, f"C {name}", 10_000_00) for name in _SENT_BACK),
        transfer(AcceptCredit, "C accepted"),
    ],
    [
        replace(_refund("", 7_000_00), transaction_id="C2 refunded", refund_id=IDS.uuid()),
        *(_try(name) for name in _SENT_BACK[1:]),
    ],
    [
        _return_said("return unknown", RefundOutcome.SILENT),
        _return_said("return parked", RefundOutcome.REFUSED),
        _return_said("return done", RefundOutcome.DONE),
        _return_said("return closing", RefundOutcome.SILENT),
        _return_said("return disputed", RefundOutcome.REFUSED),
    ],
    [
        _refund_said("refund closing", RefundOutcome.REFUSED),
        _refund_said("refund disputed", RefundOutcome.DONE),
        _try("return closing", NOW + 60_000),
        _return_said("return closing", RefundOutcome.REFUSED, tried_at=NOW + 60_000),
        transfer(SettleReturnByHand, "C return disputed", bank_reference="REF"),
        _return_said("return disputed", RefundOutcome.DONE),
    ],
]
