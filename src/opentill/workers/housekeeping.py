"""What keeps a store small and quick: rows that nobody can need again are deleted, and its log stays short.

Both are verbs of the store, in bounded steps, and change no order and no money.
"""

import asyncio
from typing import Final

from opentill.clock import Clock
from opentill.engine.threads import StoreThreads

CHECKPOINT_SECONDS: Final = 0.2
"""Pause between two checkpoints of the store's log."""
PURGE: Final = 500
"""How many rows of each kind one purge deletes."""


class Housekeeping:
    """The upkeep of one process's store."""

    def __init__(self, threads: StoreThreads, clock: Clock):
        self._threads = threads
        self._clock = clock

    async def purge(self) -> int:
        """Delete idempotency keys and tokens that nobody can need again, in steps of PURGE rows.

        Returns how many rows it deleted.
        """
        gone = 0
        while deleted := await self._threads.write(self._threads.store.purge, self._clock.now(), PURGE):
            gone += deleted
            await asyncio.sleep(0)
        return gone

    async def checkpoint(self) -> int:
        """Keep the store's log short, so that no writer ever has to stop for it; returns 0."""
        await asyncio.to_thread(self._threads.store.checkpoint)
        return 0
