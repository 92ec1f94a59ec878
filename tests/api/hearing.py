"""A client of the event stream that hears one event after another."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import httpx2

PATIENCE_SECONDS: Final = 20
"""How long an event may take; a sign of life comes more often, so it is noticed."""


@dataclass(frozen=True)
class Heard:
    """One event of a stream."""

    cursor: str
    type: str
    data: dict[str, Any]


class Listener:
    """All that comes over one open stream."""

    def __init__(self, answer: httpx2.Response):
        self.answer = answer
        self._lines = answer.iter_lines()

    def hear(self, count: int) -> list[Heard]:
        """The next events; waits for them as long as the connection does."""
        return [self._next() for _ in range(count)]

    def rest(self) -> list[str]:
        """All lines up to the end of the stream."""
        return list(self._lines)

    def _next(self) -> Heard:
        fields: dict[str, str] = {}
        deadline = time.monotonic() + PATIENCE_SECONDS
        for line in self._lines:
            assert time.monotonic() < deadline, "the event did not come"
            if not line and "data" in fields:
                return Heard(fields["id"], fields["event"], json.loads(fields["data"]))
            name, _, value = line.partition(": ")
            fields[name] = value
        raise AssertionError("the stream ended before the event")


@contextmanager
def listening(http: httpx2.Client, query: str = "", **headers: str) -> Iterator[Listener]:
    """An open stream; it was accepted, and its first bytes are here."""
    with http.stream("GET", f"/v1/opentill/events/stream{query}", headers=headers) as answer:
        assert answer.status_code == 200, answer.read()
        assert answer.headers["content-type"] == "text/event-stream"
        yield Listener(answer)
