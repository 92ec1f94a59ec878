"""How many requests a caller may send in a window of real time (contract 1.4); each process counts alone."""

from typing import Final

UNLIMITED: Final = 2_147_483_647
"""What the headers say while the limit is off."""


class RateLimiter:
    """A fixed window shared by all callers, so that forgetting them is emptying one dictionary."""

    __slots__ = ("_counts", "_milliseconds", "_window")

    def __init__(self, window_seconds: int):
        """Take how long a window is; all callers' windows begin at the same moment."""
        self._milliseconds = window_seconds * 1000
        self._window = 0
        self._counts: dict[tuple[str, bool], int] = {}

    def take(self, caller: str, *, posts: bool, limit: int, now: int) -> int:
        """Count a request and return how many are left; negative when this one was too many.

        POST and other requests are counted apart. A ``limit`` of 0 is none. ``now`` is real time in UTC
        milliseconds; a clock that is set back begins a new window.
        """
        if limit == 0:
            return UNLIMITED
        window = now // self._milliseconds
        if window != self._window:
            self._window = window
            self._counts.clear()
        key = (caller, posts)
        used = self._counts.get(key, 0) + 1
        self._counts[key] = used
        return limit - used

    def retry_after_seconds(self, now: int) -> int:
        """Return whole seconds until the next window begins, at least 1; ``now`` is in UTC milliseconds."""
        return max(1, -(-(self._milliseconds - now % self._milliseconds) // 1000))
