"""Facts that health is asked for: looked up at most once a second, and never waited for longer than that."""

import asyncio
import math
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final, Generic, TypeVar

from opentill.clock import Clock
from opentill.engine.threads import StoreThreads

_KEEP_MILLISECONDS: Final = 1000
_WAIT_SECONDS: Final = 1.0

T = TypeVar("T")


class Remembered(Generic[T]):
    """Remembers the last answer to a question; while one hangs no second one is asked after it."""

    def __init__(self, ask: Callable[[], Awaitable[T]], clock: Clock, unknown: T):
        """Take the question; ``unknown`` is the answer while it fails or hangs."""
        self._ask = ask
        self._clock = clock
        self._unknown = unknown
        self._answer = unknown
        self._until: float = -math.inf
        self._asking: asyncio.Task[None] | None = None

    async def answer(self) -> T:
        """Return what was true within the last second, or is found out within a second."""
        if self._clock.monotonic() >= self._until:
            if self._asking is None or self._asking.done():
                self._asking = asyncio.create_task(self._find_out())
            _, running = await asyncio.wait({self._asking}, timeout=_WAIT_SECONDS)
            if running:
                return self._unknown
        return self._answer

    async def _find_out(self) -> None:
        try:
            self._answer = await self._ask()
        except Exception:  # noqa: BLE001 - whatever stops it, the answer is not known
            self._answer = self._unknown
        self._until = self._clock.monotonic() + _KEEP_MILLISECONDS


def writes_work(threads: StoreThreads, clock: Clock) -> Remembered[bool]:
    """Return the question whether a commit can be made; False while that can not be found out."""

    async def write() -> bool:
        await threads.write(threads.store.probe_write, clock.now())
        return True

    return Remembered(write, clock, unknown=False)


def endpoints_paused(threads: StoreThreads, clock: Clock) -> Remembered[int]:
    """Return the question how many endpoints of all merchants are paused; 0 while nobody knows."""
    return Remembered(partial(threads.read, threads.store.outbox.paused_endpoints), clock, unknown=0)
