"""How fast an endpoint is sent to: how many tries at once, and when again after a failed one (contract 5.5).

Each endpoint has a window of its own, so that none ever waits for another.
"""

from dataclasses import dataclass
from typing import Final

from opentill.store.outbox.contract import Endpoint

FIRST_WINDOW: Final = 4
"""Tries in flight to an endpoint of which nothing is known yet."""
WINDOWS_KEPT: Final = 1000
PAUSES_SECONDS: Final = (120, 280, 640, 1440, 3200)
JITTER: Final = 0.1
"""By how much a pause grows at the most, so that what failed together is not tried again together."""


class Window:
    """The tries in flight to one endpoint: more after each success, half as many after each failure."""

    def __init__(self, size: float, most: int):
        self.in_flight = 0
        self.accepts = False
        """Whether its last try was a success."""
        self._size = size
        self._most = most

    @property
    def room(self) -> int:
        """Count how many more there may be."""
        return max(int(self._size) - self.in_flight, 0)

    def learn(self, *, accepted: bool) -> None:
        """Take in how a try has ended."""
        self.accepts = accepted
        self._size = min(self._size + 1, self._most) if accepted else max(self._size / 2, 1)


class Windows:
    """The windows of all endpoints that this process has lately sent to."""

    def __init__(self, most: int, most_in_doubt: int):
        self._windows: dict[str, Window] = {}
        self._most = most
        self._most_in_doubt = most_in_doubt

    def of(self, endpoint: Endpoint) -> Window:
        """Return the window of an endpoint: a small one at first, of one try if it was failing already."""
        window = self._windows.get(endpoint.endpoint_id)
        if window is None:
            self._forget_idle()
            size = min(FIRST_WINDOW, self._most) if endpoint.failing_since is None else 1
            window = self._windows[endpoint.endpoint_id] = Window(size, self._most)
        return window

    def room(self) -> tuple[dict[str, int], int]:
        """Count how many more tries each known endpoint may have, and any other one.

        None for those that are not known to accept while such hold as many places as they may.
        """
        in_doubt = sum(window.in_flight for window in self._windows.values() if not window.accepts)
        crowded = in_doubt >= self._most_in_doubt
        room = {
            endpoint_id: 0 if crowded and not window.accepts else window.room
            for endpoint_id, window in self._windows.items()
        }
        return room, 0 if crowded else min(FIRST_WINDOW, self._most)

    def _forget_idle(self) -> None:
        """Forget endpoints without tries in flight once there are too many; they begin anew."""
        if len(self._windows) >= WINDOWS_KEPT:
            self._windows = {key: window for key, window in self._windows.items() if window.in_flight}


@dataclass(frozen=True, slots=True)
class Schedule:
    """The tries of one delivery: the first at once, then one after each pause."""

    pauses_seconds: tuple[int, ...] = PAUSES_SECONDS

    @property
    def most_tries(self) -> int:
        """Count the tries of a delivery before it is dead."""
        return 1 + len(self.pauses_seconds)

    def next_try_at(self, tries: int, now: int, chance: float) -> int | None:
        """Return when to try again after ``tries`` tries, all failed; None after the last.

        ``now`` and the answer are UTC milliseconds. ``chance``, from 0 to 1, picks the jitter: a pause is
        never shorter than it should be and up to a tenth longer.
        """
        if tries >= self.most_tries:
            return None
        pause = self.pauses_seconds[max(tries, 1) - 1] * 1000
        return now + pause + int(pause * JITTER * chance)
