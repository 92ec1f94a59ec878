"""Keeping the time of one process: by the database's clock, and noted there for the next start."""

from enum import StrEnum
from typing import Final

import structlog

from opentill.clock import NOTED_MILLISECONDS, DatabaseClock, certain
from opentill.engine.threads import StoreThreads
from opentill.store.accounts.contract import Mode

LOOK_SECONDS: Final = 5.0
"""Pause between two looks at the database's clock."""

_log = structlog.get_logger("opentill.clock")


class ClockDoubt(StrEnum):
    """Why the database's clock may be wrong, in the words of the warning (laws 7)."""

    BACK = "the clock was set back; this process goes on by itself"
    AHEAD = "the clock is far ahead of the last seen time; nothing expires until `opentill clock confirm`"


class Timekeeping:
    """One process's care for its clock."""

    def __init__(self, threads: StoreThreads, clock: DatabaseClock, mode: Mode):
        self._threads = threads
        self._clock = clock
        self._mode = mode
        self.doubt: ClockDoubt | None = None
        """As of the last look."""

    async def keep(self) -> int:
        """Look at the database's clock, and note the time there at most once a minute; returns 0."""
        accounts = self._threads.store.accounts
        seen_at = await self._threads.read(accounts.seen_at)
        await self._threads.read(self._clock.look, seen_at)
        now = self._clock.now()
        if self._clock.back_milliseconds:
            self._note(ClockDoubt.BACK)
        elif self._mode is Mode.LIVE and certain(now, seen_at) != now:
            self._note(ClockDoubt.AHEAD)
        else:
            self._note(None)
            if seen_at is None or now - seen_at >= NOTED_MILLISECONDS:
                await self._threads.write(accounts.note_time, now)
        return 0

    def _note(self, doubt: ClockDoubt | None) -> None:
        if doubt is not None and doubt is not self.doubt:
            _log.error("clock_doubted", doubt=doubt.value)
        self.doubt = doubt
