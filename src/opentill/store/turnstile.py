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


class Turnstile:
    """Two lock files beside the database; used by one thread of a process at a time."""

    def __init__(self, database: Path):
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
        self._queue = os.open(f"{database}.queue", flags, 0o600)
        self._turn = os.open(f"{database}.turn", flags, 0o600)

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Wait for this process's turn to write, and hold it for the length of the block."""
        fcntl.flock(self._queue, fcntl.LOCK_EX)
        try:
            fcntl.flock(self._turn, fcntl.LOCK_EX)
        finally:
            fcntl.flock(self._queue, fcntl.LOCK_UN)
        try:
            yield
        finally:
            fcntl.flock(self._turn, fcntl.LOCK_UN)

    def close(self) -> None:
        """Give back the lock files' handles, and with them any lock still held."""
        os.close(self._queue)
        os.close(self._turn)
