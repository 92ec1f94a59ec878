"""Waiting for the end of processes that are not our children."""

import os
import select
from contextlib import closing, suppress
from typing import Final

END_SECONDS: Final = 20


def await_end(*pids: int) -> None:
    """Wait until none of the processes runs; AssertionError if one still does after ``END_SECONDS``."""
    for pid in pids:
        with suppress(ProcessLookupError):
            _await_end(pid)


def _await_end(pid: int) -> None:
    with closing(os.fdopen(os.pidfd_open(pid), "rb", buffering=0)) as process:
        waiting = select.poll()
        waiting.register(process, select.POLLIN)
        assert waiting.poll(END_SECONDS * 1000), f"process {pid} still runs"
