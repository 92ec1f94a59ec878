"""A fair turn for every process that writes one SQLite file.

SQLite's own lock is won by whoever asks at the right moment: saturated writers starve each other for
seconds. Here a writer passes two file locks. Whoever holds the first waits for the second; whoever
leaves gives back the second and must queue at the first again. So nobody overtakes a waiter twice.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from opentill.clock import Clock
from opentill.store.errors import Transient

OPENING_PATIENCE_MILLISECONDS: Final = 10_000
"""How long a process that starts waits for another one that is making the file at this moment."""


class FileLock:
    """Two lock files beside the database; used by one thread of a process at a time."""

    def __init__(self, database: Path, clock: Clock, patience_milliseconds: int):
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
        self._queue = os.open(f"{database}.queue", flags, 0o600)
        self._turn = os.open(f"{database}.turn", flags, 0o600)
        self._clock = clock
        self._patience_milliseconds = patience_milliseconds

    @contextmanager
    def turn(self, patience_milliseconds: int | None = None) -> Iterator[None]:
        """Wait for this process's turn to write, as long as that or as usual; hold it while in the block.

        Raises Transient when it does not come in time: another process hangs, or was stopped, in its own.
        """
        patience = self._patience_milliseconds if patience_milliseconds is None else patience_milliseconds
        deadline = self._clock.monotonic() + patience
        self._lock(self._queue, deadline)
        try:
            self._lock(self._turn, deadline)
        finally:
            fcntl.flock(self._queue, fcntl.LOCK_UN)
        try:
            yield
        finally:
            fcntl.flock(self._turn, fcntl.LOCK_UN)

    def _lock(self, file: int, deadline: int) -> None:
        """Take a lock by asking for it again and again: a wait inside the kernel could not be ended."""
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if self._clock.monotonic() >= deadline:
                    raise Transient("another process does not give up its turn to write") from None
                self._clock.pause(1)
            else:
                return

    def close(self) -> None:
        """Give back the lock files' handles, and with them any lock still held."""
        os.close(self._queue)
        os.close(self._turn)
