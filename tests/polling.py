"""Waiting for what another process does: the one place where a test may sleep between two looks."""

import time
from collections.abc import Callable
from typing import Final

PAUSE_SECONDS: Final = 0.01


def until(came: Callable[[], object], what: str, seconds: float = 10) -> None:
    """Look again and again until it came; AssertionError with ``what`` when it has not in time."""
    deadline = time.monotonic() + seconds
    while not came():
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(PAUSE_SECONDS)
