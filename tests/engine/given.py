"""An engine over a real store, faults at the store's commit, and what the database says in SQL."""

import asyncio
import itertools
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager
from enum import Enum
from pathlib import Path
from typing import Any, TypeVar, cast

from given_store import ACCOUNT, ACTOR, IDS, NOW, ToldClock
from opentill.domain.commands import BeginAttempt, Command, RailOutcome, SettleAttempt, SubmitOtp
from opentill.domain.refusals import Refusal
from opentill.engine.batch import Outcome
from opentill.engine.engine import Engine, EngineSettings, Result
from opentill.engine.threads import StoreThreads
from opentill.store.interface import Batch, CommitUnknown, KeyClaim, Mode, Reply, Store, Transient
from opentill.store.sqlite import SqliteStore

T = TypeVar("T")


# --- an engine that runs --------------------------------------------------------------------------


@asynccontextmanager
async def running(
    store: Store, clock: ToldClock | None = None, settings: EngineSettings | None = None
) -> AsyncIterator[Engine]:
    """An engine that serves, closed and answered to the last command at the end of the block."""
    threads = StoreThreads(store)
    engine = Engine(threads, clock or ToldClock(), settings or EngineSettings())
    engine.start()
    try:
        yield engine
    finally:
        await engine.close()
        threads.close()


def served(
    store: Store,
    work: Callable[[Engine], Awaitable[T]],
    clock: ToldClock | None = None,
    settings: EngineSettings | None = None,
) -> T:
    """What ``work`` returns when it is done with an engine on this store."""

    async def main() -> T:
        async with running(store, clock, settings) as engine:
            return await work(engine)

    return asyncio.run(main())


async def together(*submissions: Coroutine[Any, Any, T]) -> list[T | BaseException]:
    """The answers to submissions made in one turn of the event loop, which therefore wait together."""
    return await asyncio.gather(*submissions, return_exceptions=True)


def submitted(store: Store, *commands: Command, clock: ToldClock | None = None) -> list[str]:
    """How commands that waited together ended, in words (see ``ending``)."""

    async def work(engine: Engine) -> list[str]:
        return [ending(answer) for answer in await together(*(engine.submit(c) for c in commands))]

    return served(store, work, clock)


def ending(answer: Result | BaseException) -> str:
    """``done``, ``replayed``, or the name of the refusal or failure."""
    if isinstance(answer, BaseException):
        return type(answer).__name__
    if answer.replayed:
        return "replayed"
    return type(answer.outcome).__name__ if isinstance(answer.outcome, Refusal) else "done"


# --- what is asked --------------------------------------------------------------------------------


def begin(name: str, transaction_id: str, account_id: str = ACCOUNT, key: str | None = None) -> BeginAttempt:
    return BeginAttempt(
        account_id=account_id,
        command_id=IDS.uuid(),
        actor=ACTOR,
        name=name,
        transaction_id=transaction_id,
        card_masked="543462******2808",
        card_brand="Mastercard",
        call_until=NOW + 30_000,
        max_attempts=10,
        reply_key=key,
    )


def submit_otp(name: str, transaction_id: str, account_id: str = ACCOUNT) -> SubmitOtp:
    return SubmitOtp(
        account_id=account_id,
        command_id=IDS.uuid(),
        actor=ACTOR,
        name=name,
        transaction_id=transaction_id,
        call_until=NOW + 30_000,
    )


def settle(
    name: str,
    transaction_id: str,
    outcome: RailOutcome,
    account_id: str = ACCOUNT,
    *,
    answers_try: int = 0,
    max_otp_tries: int = 5,
) -> SettleAttempt:
    return SettleAttempt(
        account_id=account_id,
        command_id=IDS.uuid(),
        actor=ACTOR,
        name=name,
        transaction_id=transaction_id,
        outcome=outcome,
        answers_try=answers_try,
        response_code="00",
        message="said the rail",
        call_until=NOW + 60_000,
        max_otp_tries=max_otp_tries,
    )


def claim(key: str, fingerprint: str = "f", account_id: str = ACCOUNT) -> KeyClaim:
    return KeyClaim(account_id, key, fingerprint, IDS.uuid())


class Renderer:
    """Renders outcomes as replies of which no two are alike, so that a replay can be told from a new one."""

    def __init__(self) -> None:
        self._numbers = itertools.count(1)
        self.rendered = 0

    def __call__(self, outcome: Outcome) -> Reply:
        self.rendered = next(self._numbers)
        refused = isinstance(outcome, Refusal)
        reason = outcome.reason if isinstance(outcome, Refusal) else ""
        return Reply(400 if refused else 200, reason, f'{{"Ọja":{self.rendered}}}'.encode())


def rendered_later(outcome: Outcome) -> Reply | None:
    """The renderer of a first phase: only a refusal answers at once, all else a later command."""
    return Reply(400, outcome.reason, b"{}") if isinstance(outcome, Refusal) else None


def poison(_outcome: Outcome) -> Reply:
    """A renderer that fails."""
    raise ZeroDivisionError


# --- faults at the commit -------------------------------------------------------------------------


class Fault(Enum):
    """What happens to one batch of a ``FaultyStore``."""

    CLOSED = "the batch does not open"
    TRANSIENT = "the database says at the commit that trying again may help"
    LOST_BEFORE = "the connection breaks before COMMIT takes effect"
    LOST_AFTER = "COMMIT takes effect and its answer is lost"


class FaultyStore(SqliteStore):
    """The real store, on whose next batches the planned faults fall, one each; None is no fault."""

    def __init__(self, folder: Path):
        super().__init__(folder / "opentill.db")
        self.install(Mode.SANDBOX, "key-fingerprint", NOW)
        self.faults: deque[Fault | None] = deque()

    def batch(self) -> AbstractContextManager[Batch]:
        return self._faulty()

    @contextmanager
    def _faulty(self) -> Iterator[Batch]:
        fault = self.faults.popleft() if self.faults else None
        if fault is Fault.CLOSED:
            raise Transient(fault.value)
        with super().batch() as batch:
            yield batch if fault is None else cast("Batch", _FaultyBatch(batch, fault))


class _FaultyBatch:
    def __init__(self, batch: Batch, fault: Fault):
        self._batch = batch
        self._fault = fault

    def __getattr__(self, verb: str) -> Any:
        return getattr(self._batch, verb)

    def commit(self) -> None:
        if self._fault is Fault.TRANSIENT:
            raise Transient(self._fault.value)
        if self._fault is Fault.LOST_AFTER:
            self._batch.commit()
        raise CommitUnknown(self._fault.value)


# --- what the database says -----------------------------------------------------------------------


@contextmanager
def traced(store: Store) -> Iterator[list[str]]:
    """The first words of the statements that the store's writer runs within the block."""
    assert isinstance(store, SqliteStore)
    statements: list[str] = []
    store._writer.set_trace_callback(lambda statement: statements.append(" ".join(statement.split()[:3])))
    try:
        yield statements
    finally:
        store._writer.set_trace_callback(None)


def ask(store: Store, statement: str, *values: object) -> list[tuple[Any, ...]]:
    """What a statement of the test's own says about the committed state."""
    assert isinstance(store, SqliteStore)
    with store._read_lock:
        return store._reader.execute(statement, values).fetchall()


def status(store: Store, reference: str, account_id: str = ACCOUNT) -> str:
    """The order's status, or ``none``."""
    found = ask(
        store, "SELECT status FROM orders WHERE account_id = ? AND reference = ?", account_id, reference
    )
    return str(found[0][0]) if found else "none"


def event_types(store: Store, reference: str, account_id: str = ACCOUNT) -> list[str]:
    """What happened to the order, in its order."""
    return [
        str(type_)
        for (type_,) in ask(
            store,
            "SELECT e.type FROM events AS e JOIN orders AS o USING (account_id, order_id)"
            " WHERE account_id = ? AND o.reference = ? ORDER BY e.sequence",
            account_id,
            reference,
        )
    ]
