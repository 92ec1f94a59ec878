"""Whether writes work, found out by writing: at most once a second, and never waited for longer than that."""

import asyncio
from typing import Final

from opentill.clock import Clock
from opentill.engine.threads import StoreThreads

_KEEP_MILLISECONDS: Final = 1000
_WAIT_SECONDS: Final = 1.0


class Readiness:
    """Remembers the last probe; while one hangs no second one is sent after it."""

    def __init__(self, threads: StoreThreads, clock: Clock):
        self._threads = threads
        self._clock = clock
        self._ready = False
        self._until = 0
        self._probe: asyncio.Task[None] | None = None

    async def holds(self) -> bool:
        """True while a write was committed within the last second; answers within a second."""
        if self._clock.now() >= self._until:
            if self._probe is None or self._probe.done():
                self._probe = asyncio.create_task(self._try())
            _, running = await asyncio.wait({self._probe}, timeout=_WAIT_SECONDS)
            if running:
                return False
        return self._ready

    async def _try(self) -> None:
        try:
            await self._threads.write(self._threads.store.probe_write, self._clock.now())
            self._ready = True
        except Exception:  # noqa: BLE001 - whatever stops a write, the answer is no
            self._ready = False
        self._until = self._clock.now() + _KEEP_MILLISECONDS
