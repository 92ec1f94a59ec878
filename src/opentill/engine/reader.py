"""Reads: all who ask now share one read transaction, which also asks for dead tokens."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar, cast

import structlog

from opentill.clock import Clock, SystemClock
from opentill.domain.refusals import TokenRevoked
from opentill.engine.errors import EngineError, Overloaded
from opentill.engine.queue import Queue, QueueLimits
from opentill.engine.threads import StoreThreads
from opentill.store.errors import Transient
from opentill.store.interface import Store
from opentill.store.orders.contract import Name, OrderView, Snapshot, TokenId

TRIES: Final = 3
"""The times that reads are asked when the database breaks off in the middle of them."""

_log = structlog.get_logger("opentill.engine")

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Question:
    token: TokenId | None
    name: Name | None = None
    ask: Callable[[Snapshot], object] | None = None


@dataclass(frozen=True, slots=True)
class _Failed:
    error: Exception


class Reader:
    """The door for questions about orders: each is answered as of one committed moment."""

    def __init__(self, threads: StoreThreads, queue_limit: int, clock: Clock | None = None):
        self._threads = threads
        self._clock = clock or SystemClock()
        self._queue: Queue[_Question, object] = Queue(self._answer_all, QueueLimits(256, queue_limit))

    def start(self) -> None:
        """Begin to serve; call once, inside the running event loop."""
        self._queue.start()

    async def close(self) -> None:
        """Answer what was asked, then stop."""
        await self._queue.close()

    async def order(self, account_id: str, name: str, token: TokenId | None) -> OrderView | None:
        """Return the merchant's order of this reference or order id, or None.

        Raises TokenRevoked when ``token`` is dead, Overloaded when too many wait or the database is away.
        """
        question = _Question(token, name=(account_id, name))
        return cast("OrderView | None", await self._asked(question, account_id))

    async def ask(self, question: Callable[[Snapshot], T], token: TokenId | None) -> T:
        """Ask anything of a snapshot; raises as ``order`` and whatever the question raises."""
        account_id = token.account_id if token else ""
        return cast("T", await self._asked(_Question(token, ask=question), account_id))

    async def check(self, token: TokenId) -> None:
        """Raise TokenRevoked when the token is dead."""
        await self._asked(_Question(token), token.account_id)

    async def _asked(self, question: _Question, account_id: str) -> object:
        answer = await self._queue.submit(question, account_id)
        if isinstance(answer, _Failed):
            raise answer.error
        return answer

    async def _answer_all(self, questions: Sequence[_Question]) -> Sequence[object | EngineError]:
        return await self._threads.read(_answers, self._threads.store, questions, self._clock.now())


def _answers(store: Store, questions: Sequence[_Question], now: int) -> Sequence[object | EngineError]:
    """Answer all as of one moment; if a question fails, each alone, so that only it fails."""
    try:
        return _tried(store, questions, now)
    except EngineError as error:
        return [error] * len(questions)
    except Exception as error:  # noqa: BLE001 - a question may raise anything
        if len(questions) == 1:
            return [_Failed(error)]
    return [answer for one in questions for answer in _answers(store, [one], now)]


def _tried(store: Store, questions: Sequence[_Question], now: int) -> list[object]:
    """Ask all of a new snapshot when one breaks in the middle: reads change nothing."""
    for _ in range(TRIES):
        try:
            return _of_one_moment(store, questions, now)
        except Transient as error:
            _log.warning("reads_run_again", questions=len(questions), error=str(error))
    raise Overloaded


def _of_one_moment(store: Store, questions: Sequence[_Question], now: int) -> list[object]:
    with store.snapshot() as snapshot:
        facts = snapshot.facts({q.token for q in questions if q.token})
        dead = [facts.refuse(q.token, now) for q in questions]
        names = {q.name for q, refused in zip(questions, dead, strict=True) if q.name and not refused}
        views = snapshot.orders(names) if names else {}
        return [
            _Failed(TokenRevoked()) if refused else _answer(q, snapshot, views)
            for q, refused in zip(questions, dead, strict=True)
        ]


def _answer(question: _Question, snapshot: Snapshot, views: Mapping[Name, OrderView]) -> object:
    if question.name:
        return views.get(question.name)
    return question.ask(snapshot) if question.ask else None
