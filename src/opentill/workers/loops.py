"""The loops of one process, beside its requests: each repeats one bounded piece of work until it is stopped.

Every process runs all of them. Two that do the same work at once do no harm: the second is refused or finds
nothing, because each step is a command or a verb that decides in its own transaction.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, TypeAlias

import structlog

from opentill.engine.errors import EngineError
from opentill.store.errors import StoreError

PLENTY: Final = 128
"""From so much done in one round on, the next round follows at once."""
BUSY_SECONDS: Final = 0.01
"""Pause between two rounds while there is plenty to do."""

Work: TypeAlias = Callable[[], Awaitable[int]]
"""One round of work; its answer is how much there was to do."""

_log = structlog.get_logger("opentill.workers")


class Workers:
    """The loops of one process."""

    def __init__(self) -> None:
        self._tasks: list[asyncio.Task[None]] = []

    def start(self, *loops: tuple[Work, float]) -> None:
        """Begin a loop for each piece of work, with its pause between two rounds in seconds.

        To be called inside the running event loop.
        """
        self._tasks += [asyncio.create_task(_every(seconds, work)) for work, seconds in loops]

    async def close(self) -> None:
        """Stop the loops; what they have submitted is still carried out."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


async def _every(seconds: float, work: Work) -> None:
    """Repeat for ever; soon again while there is plenty, and a failure only ends this round."""
    while True:
        done = 0
        try:
            done = await work()
        except (EngineError, StoreError) as error:
            _log.warning("worker_waits", work=work.__name__, error=type(error).__name__)
        except Exception:  # noqa: BLE001 - a bug in one round must not end the loop
            _log.exception("worker_failed", work=work.__name__)
        await asyncio.sleep(min(seconds, BUSY_SECONDS) if done >= PLENTY else seconds)
