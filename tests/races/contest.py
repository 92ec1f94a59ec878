"""A race below HTTP: several processes, each with an engine on a store of its own, on one database.

Round after round they set upon one order together. Whoever has loaded the order waits a little for the
others to have loaded it too. On a real store that wait is always in vain, because whoever loads an order
holds its lock; the careless store lets them all judge the same old order.
"""

import asyncio
import itertools
import multiprocessing
import uuid
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Barrier
from threading import BrokenBarrierError
from typing import Any, Final

from databases import Place
from opentill.clock import SystemClock
from opentill.domain.commands import (
    BeginAttempt,
    BeginRefund,
    CancelOrder,
    Command,
    ExpireOrder,
    RailOutcome,
    ReceiveCredit,
    SettleAttempt,
)
from opentill.domain.decisions import create
from opentill.domain.order import OrderStatus, Sender
from opentill.domain.transition import Change
from opentill.engine.engine import Engine, EngineSettings, Result
from opentill.engine.errors import EngineError
from opentill.engine.threads import StoreThreads
from races.laws import Heard, Told
from races.stores import OpenContested
from store_factories import ACCOUNT, ACTOR, NOW, new_order, open_store, write

ROUNDS: Final = 12
GATHER_SECONDS: Final = 0.25
"""How long one who has judged waits for the others to judge the same order."""
PATIENCE_SECONDS: Final = 60
"""A bound for waits that end at once unless something is broken."""

Ask = Callable[[str], Command]


# --- the contestants ------------------------------------------------------------------------------


def _command(name: str) -> dict[str, Any]:
    return _anonymous() | {"name": name}


def _anonymous() -> dict[str, Any]:
    return {"account_id": ACCOUNT, "command_id": str(uuid.uuid4()), "actor": ACTOR}


def _cancel(name: str) -> Command:
    return CancelOrder(**_command(name))


def _transaction(name: str) -> str:
    return f"WEB-ONLINE_C-{name}"


def _begin(name: str) -> Command:
    return BeginAttempt(
        **_command(name),
        transaction_id=_transaction(name),
        card_masked="543462******2808",
        card_brand="Mastercard",
        call_until=SystemClock().now() + 600_000,
        max_attempts=1,
    )


def _approve(name: str) -> Command:
    return SettleAttempt(
        **_command(name),
        transaction_id=_transaction(name),
        outcome=RailOutcome.APPROVED,
        answers_try=0,
        response_code="00",
        message="Approved",
        call_until=SystemClock().now() + 600_000,
        max_otp_tries=5,
    )


def _expire(name: str) -> Command:
    return ExpireOrder(**_command(name))


def _refund(name: str) -> Command:
    """60 % of what was paid: two of them are more than that."""
    return BeginRefund(
        **_anonymous(),
        transaction_id=_transaction(name),
        refund_id=str(uuid.uuid4()),
        amount=6_000_30,
        call_until=SystemClock().now() + 600_000,
    )


def _credit(name: str, part: str, amount: int) -> Command:
    return ReceiveCredit(
        **_command(name),
        transaction_id=f"{_transaction(name)}-{part}",
        rail="bank",
        session_id=f"{name} {part}",
        account_number="9000000017",
        amount=amount,
        currency="NGN",
        sender=Sender("Ada Obi", "0123456789", "058"),
        transferred_at=NOW,
        arrived_at=NOW,
    )


def _on_time(name: str) -> Command:
    return _credit(name, "whole", 10_000_50)


def _one_part(name: str) -> Command:
    return _credit(name, "one", 6_000_30)


def _other_part(name: str) -> Command:
    return _credit(name, "other", 6_000_30)


def _too_much(name: str) -> Command:
    return _credit(name, "more", 10_000_50)


def _refund_transfer(name: str) -> Command:
    """60 % of what the second transfer completed."""
    return BeginRefund(
        **_anonymous(),
        transaction_id=f"{_transaction(name)}-other",
        refund_id=str(uuid.uuid4()),
        amount=6_000_30,
        call_until=SystemClock().now() + 600_000,
    )


def _refund_part(name: str) -> Command:
    """40 % of what one transfer paid."""
    return _refund_of_transfer(name, 4_000_20)


def _refund_rest(name: str) -> Command:
    return _refund_of_transfer(name, 6_000_30)


def _refund_of_transfer(name: str, amount: int) -> Command:
    return BeginRefund(
        **_anonymous(),
        transaction_id=f"{_transaction(name)}-whole",
        refund_id=str(uuid.uuid4()),
        amount=amount,
        call_until=SystemClock().now() + 600_000,
    )


@dataclass(frozen=True)
class Contest:
    """A prize to fight for. Its functions are found by name in every process."""

    beforehand: Sequence[Ask]
    """What is done with each order, one after the other, before the processes meet at it."""
    contestants: Sequence[tuple[Ask, Told]]
    """What each process asks, and what the order is when that was granted."""
    due_at: int | None = None
    """When the orders fall due, which is before the processes meet at them."""


FOR_THE_ENDING: Final = Contest(
    [_begin], [(_approve, Told.PAID), (_cancel, Told.CANCELLED), (_cancel, Told.CANCELLED)]
)
"""Cards are being charged: the rail's answer and the cancels are yet to come."""
FOR_THE_DUE: Final = Contest(
    [], [(_on_time, Told.PAID), (_expire, Told.PAID), (_cancel, Told.CANCELLED)], due_at=NOW
)
"""Orders are due: a transfer that was on time, the worker that expires them, and a cancel. No expiry wins."""
FOR_THE_REST: Final = Contest([], [(_one_part, Told.PAID), (_other_part, Told.PAID)])
"""Two transfers of 60 % each: one waits, the other completes and has something back."""
FOR_THE_TRANSFERS: Final = Contest(
    [_one_part, _other_part],
    [(_refund_transfer, Told.PAID), (_refund_transfer, Told.PAID), (_too_much, Told.PAID)],
)
"""Orders are paid by two transfers: two want more than half back, and a third transfer arrives."""
FOR_THE_REST_OF_A_TRANSFER: Final = Contest(
    [_on_time, _refund_part], [(_refund_rest, Told.PAID), (_cancel, Told.CANCELLED)]
)
"""Orders are paid by one transfer and refunded in part: the rest is wanted back while somebody cancels."""
FOR_THE_MONEY: Final = Contest([_begin, _approve], [(_refund, Told.PAID), (_refund, Told.PAID)])
"""Orders are paid, and two want more than half of the money back."""


FOR_THE_EXPIRY: Final = Contest(
    [_begin], [(_expire, Told.EXPIRED), (_expire, Told.EXPIRED), (_approve, Told.PAID)], due_at=NOW + 1
)
"""Orders are due while cards are being charged: two sweeps and the rail's answer come at once."""
FOR_WHAT_IS_DUE: Final = Contest(
    [_begin], [(_expire, Told.EXPIRED), (_cancel, Told.CANCELLED), (_cancel, Told.CANCELLED)], due_at=NOW + 1
)
"""As before, and two merchants' programs cancel beside the sweep."""


def _won(result: Result, told: Told) -> bool:
    return isinstance(result.outcome, Change) and result.outcome.after.status is OrderStatus(told.value)


@dataclass(frozen=True)
class Round:
    """One order to fight for, and where the contestants meet: before they ask, and once they have judged."""

    name: str
    start: Barrier
    judged: Barrier


class _Judging:
    """Waits, in the round that is on, for the others to have judged; notes the rounds in which they had."""

    def __init__(self) -> None:
        self.round: Round | None = None
        self.together: list[str] = []

    def __call__(self) -> None:
        if self.round is None:
            return
        here, self.round = self.round, None  # a batch that runs again waits no more
        try:
            here.judged.wait(GATHER_SECONDS)
        except BrokenBarrierError:
            return
        self.together.append(here.name)


@dataclass(frozen=True)
class Report:
    """The report of what one contestant, or all of them, took away."""

    won: list[Heard]
    together: set[str]
    """Orders that all contestants had loaded before any of them wrote."""


def _contend(
    open_contested: OpenContested, place: Place, contestant: tuple[Ask, Told], rounds: Sequence[Round]
) -> Report:
    judging = _Judging()
    store = open_contested(place, judging)
    threads = StoreThreads(store)
    ask, told = contestant

    async def fight() -> list[Heard]:
        engine = Engine(threads, SystemClock(), EngineSettings())
        engine.start()
        won = []
        for each in rounds:
            each.start.wait(PATIENCE_SECONDS)
            judging.round = each
            try:
                if _won(await engine.submit(ask(each.name)), told):
                    won.append(Heard(each.name, told))
            except EngineError:
                continue
        await engine.close()
        return won

    won = asyncio.run(fight())
    threads.close()
    store.close()
    return Report(won, set(judging.together))


def _process(report: Connection, *contention: Any) -> None:
    report.send(_contend(*contention))


# --- the contest ----------------------------------------------------------------------------------


def held(contest: Contest, open_contested: OpenContested, place: Place) -> Report:
    """The wins of all rounds of a contest between processes with such stores, in this place."""
    names = [f"contested-{number}" for number in range(ROUNDS)]
    _prepare(place, names, contest)
    context = multiprocessing.get_context("spawn")
    parties = len(contest.contestants)
    rounds = [Round(name, context.Barrier(parties), context.Barrier(parties)) for name in names]
    reports = []
    with ExitStack() as running:
        for contestant in contest.contestants:
            receiver, sender = context.Pipe(duplex=False)
            arguments = (sender, open_contested, place, contestant, rounds)
            process = context.Process(target=_process, args=arguments, daemon=True)
            process.start()
            sender.close()
            running.callback(process.join, PATIENCE_SECONDS)
            reports.append(receiver)
        together = [_received(report) for report in reports]
    return Report(
        list(itertools.chain.from_iterable(report.won for report in together)),
        set.intersection(*(report.together for report in together)),
    )


def _received(report: Connection) -> Report:
    assert report.poll(PATIENCE_SECONDS), "a contestant did not come to an end"
    received = report.recv()
    assert isinstance(received, Report)
    return received


def _prepare(place: Place, names: Sequence[str], contest: Contest) -> None:
    store = open_store(place)
    write(store, [create(new_order(name, due_at=contest.due_at), NOW) for name in names])
    threads = StoreThreads(store)

    async def prepare() -> None:
        engine = Engine(threads, SystemClock(), EngineSettings())
        engine.start()
        for ask in contest.beforehand:
            await asyncio.gather(*(engine.submit(ask(name)) for name in names))
        await engine.close()

    asyncio.run(prepare())
    if contest.due_at is not None:
        store.accounts.advance_clock(contest.due_at + 1 - SystemClock().now())
    threads.close()
    store.close()
