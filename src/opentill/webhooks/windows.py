"""How many tries an endpoint may have in flight, so that none ever waits for another."""

from typing import Final

from opentill.store.outbox.contract import Endpoint

FIRST_WINDOW: Final = 4
"""Tries in flight to an endpoint of which nothing is known yet."""
WINDOWS_KEPT: Final = 1000


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
        """How many more there may be."""
        return max(int(self._size) - self.in_flight, 0)

    def learn(self, *, accepted: bool) -> None:
        """A try has ended."""
        self.accepts = accepted
        self._size = min(self._size + 1, self._most) if accepted else max(self._size / 2, 1)


class Windows:
    """The windows of all endpoints that this process has lately sent to."""

    def __init__(self, most: int, most_in_doubt: int):
        self._windows: dict[str, Window] = {}
        self._most = most
        self._most_in_doubt = most_in_doubt

    def of(self, endpoint: Endpoint) -> Window:
        """The window of an endpoint: a small one at first, of one try if it was failing already."""
        window = self._windows.get(endpoint.endpoint_id)
        if window is None:
            self._forget_idle()
            size = min(FIRST_WINDOW, self._most) if endpoint.failing_since is None else 1
            window = self._windows[endpoint.endpoint_id] = Window(size, self._most)
        return window

    def room(self) -> tuple[dict[str, int], int]:
        """How many more tries each known endpoint may have, and any other one.

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
        """What is forgotten begins anew."""
        if len(self._windows) >= WINDOWS_KEPT:
            self._windows = {key: window for key, window in self._windows.items() if window.in_flight}
