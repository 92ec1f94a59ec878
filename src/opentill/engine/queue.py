"""The queue: all who wait now are served together, and nobody waits for company.

While one group is being carried out, the next one fills. A lone request is taken at once; under load
the groups grow by themselves, which is what shares a commit between many.
"""

import asyncio
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from opentill.engine.errors import EngineError, Overloaded

Asked = TypeVar("Asked")
Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True)
class QueueLimits:
    """The limits of a queue: how much is served together, and how much may wait."""

    group: int
    """The most that is carried out together."""
    waiting: int
    """The most that may wait; beyond it, and beyond half of it for one account, callers get Overloaded."""


class Queue(Generic[Asked, Answer]):
    """A bounded queue with two lanes and the loop that empties it in groups."""

    def __init__(
        self,
        carry_out: Callable[[Sequence[Asked]], Awaitable[Sequence[Answer | EngineError]]],
        limits: QueueLimits,
    ):
        self._carry_out = carry_out
        self._limits = limits
        self._foreground: deque[_Waiter[Asked, Answer]] = deque()
        self._background: deque[_Waiter[Asked, Answer]] = deque()
        self._waiting_of: Counter[str] = Counter()
        self._wake = asyncio.Event()
        self._closing = False
        self._loop_task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to serve; call once, inside the running event loop."""
        self._loop_task = asyncio.create_task(self._serve(), name="queue")

    def submit(self, asked: Asked, account_id: str, *, background: bool = False) -> asyncio.Future[Answer]:
        """Queue one question; the future brings its answer even if nobody waits for it any more.

        Raises Overloaded when too many wait already or the server is stopping: nothing was accepted.
        """
        waiting_now = len(self._foreground) + len(self._background)
        share = max(self._limits.waiting // 2, 1)
        if self._closing or waiting_now >= self._limits.waiting or self._waiting_of[account_id] >= share:
            raise Overloaded
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        lane = self._background if background else self._foreground
        lane.append(_Waiter(asked, account_id, future))
        self._waiting_of[account_id] += 1
        self._wake.set()
        return future

    def waiting(self) -> dict[str, int]:
        """Return how many wait, by lane: foreground and background."""
        return {"foreground": len(self._foreground), "background": len(self._background)}

    async def close(self) -> None:
        """Accept nothing more, serve everything that was accepted, then stop."""
        self._closing = True
        self._wake.set()
        if self._loop_task is not None:
            await self._loop_task

    async def _serve(self) -> None:
        while True:
            group = self._take()
            if group:
                await self._answer(group)
            elif self._closing:
                return
            else:
                self._wake.clear()
                await self._wake.wait()

    def _take(self) -> "list[_Waiter[Asked, Answer]]":
        """Take the next group: foreground first; background gets what is left, a sixteenth to a quarter.

        Whoever comes now waits for this group and the next: with more of it they waited twice as long, and
        background work was no faster (docs/decisions/0009).
        """
        most = self._limits.group
        reserved = min(len(self._background), most // 16)
        group = [self._foreground.popleft() for _ in range(min(most - reserved, len(self._foreground)))]
        room = min(most - len(group), max(most // 4, 1))
        group += [self._background.popleft() for _ in range(min(room, len(self._background)))]
        for waiting in group:
            self._waiting_of[waiting.account_id] -= 1
            if not self._waiting_of[waiting.account_id]:
                del self._waiting_of[waiting.account_id]
        return group

    async def _answer(self, group: "list[_Waiter[Asked, Answer]]") -> None:
        answers: Sequence[Answer | BaseException]
        try:
            answers = await self._carry_out([w.asked for w in group])
        except Exception as error:  # noqa: BLE001 - whatever it is, no waiter may hang
            answers = [error] * len(group)
        for waiting, answer in zip(group, answers, strict=True):
            if waiting.future.done():
                continue
            if isinstance(answer, BaseException):
                waiting.future.set_exception(answer)
            else:
                waiting.future.set_result(answer)


@dataclass(slots=True)
class _Waiter(Generic[Asked, Answer]):
    asked: Asked
    account_id: str
    future: "asyncio.Future[Answer]"
