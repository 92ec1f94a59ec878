"""The store's two threads: one writes, one reads; nothing of the event loop ever waits for a disk."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

from opentill.store.interface import Store

P = ParamSpec("P")
T = TypeVar("T")


class StoreThreads:
    """The two threads that run the store's synchronous verbs for the event loop, writes one after another."""

    def __init__(self, store: Store):
        self.store = store
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="opentill-writer")
        self._reader = ThreadPoolExecutor(1, thread_name_prefix="opentill-reader")

    async def write(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a verb that writes; those asked for earlier go first."""
        return await self._run(self._writer, function, *args, **kwargs)

    async def read(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a verb that reads."""
        return await self._run(self._reader, function, *args, **kwargs)

    @staticmethod
    async def _run(
        executor: ThreadPoolExecutor, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(executor, lambda: function(*args, **kwargs))

    def close(self) -> None:
        """Wait for what is running and end the threads; the store stays open."""
        self._writer.shutdown()
        self._reader.shutdown()
