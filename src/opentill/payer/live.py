"""The open payer pages of one process, each listening to its order (laws 11).

A page is told that its order has changed, and never how: it then asks for itself. Each round asks how far
the orders of all open pages have come.
"""

from typing import Any, ClassVar, Final
from urllib.parse import parse_qs

import structlog
from starlette.responses import PlainTextResponse
from starlette.routing import BaseRoute, Route

from opentill.api.http.scope import HANG_UP
from opentill.api.http.streaming import send_stream
from opentill.api.http.watching import OpenStreams, Pace, WatchedStream
from opentill.engine.errors import Overloaded
from opentill.engine.threads import StoreThreads
from opentill.keys.keyring import Keyring
from opentill.payer.pages import PAGE_PATH
from opentill.payer.view import mark_of
from opentill.store.interface import Store
from opentill.store.orders.contract import Name, Versions

MOST_OF_ONE_ORDER: Final = 50
"""Streams of one order's pages in one process: whoever has a link can not use up those of all others."""
PATIENCE_SECONDS: Final = 2.0
"""How long the database may be away before pages are let go, to find out for themselves."""
_MOST_MARK_CHARACTERS: Final = 40
_HEADERS: Final = [
    (b"content-type", b"text/event-stream"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),  # a proxy must not collect it
    (b"x-content-type-options", b"nosniff"),
]

_log = structlog.get_logger("opentill.payer")


class OpenPage(WatchedStream):
    """One page that listens: a stream of the marks of its order."""

    GREETING: ClassVar[bytes] = b"retry: 1000\nevent: open\ndata:\n\n"
    HEARTBEAT: ClassVar[bytes] = b"event: beat\ndata:\n\n"

    def __init__(self, name: Name, mark: str, heartbeat_seconds: float):
        """Begin with the mark that the page shows already."""
        super().__init__(name, heartbeat_seconds)
        self.name = name
        self._mark = self._sent = mark

    async def piece(self) -> bytes:
        """Return the order's mark where it is another than the page knows."""
        if self._mark == self._sent:
            return b""
        self._sent = self._mark
        return b"data: %s\n\n" % self._sent.encode()

    def note(self, mark: str) -> None:
        """Take note that the order is at this mark."""
        if mark != self._mark:
            self._mark = mark
            self.wake()


class OpenPages:
    """Opens streams to pages, as many as there may be."""

    def __init__(self, threads: StoreThreads, keyring: Keyring, most: int, pace: Pace | None = None):
        self._threads = threads
        self._keyring = keyring
        self._open: OpenStreams[OpenPage] = OpenStreams(
            "pages",
            _log,
            self._look,
            most,
            MOST_OF_ONE_ORDER,
            pace or Pace(patience_seconds=PATIENCE_SECONDS),
        )

    def route(self) -> BaseRoute:
        """Return where pages listen."""
        return Route(f"{PAGE_PATH}/live", self, methods=["GET"])

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer a page that wants to listen, as an ASGI application."""
        asks = scope["method"] == "GET"  # and not HEAD, which would wait for ever
        name = self._keyring.open_link(scope["path_params"]["token"]) if asks else None
        page = self.open(name, _mark(scope["query_string"])) if name else None
        if page is None:
            refusal = PlainTextResponse("", 503 if name else 404, {"Retry-After": "5"})
            await refusal(scope, receive, send)
            return
        await send_stream(page, _HEADERS, receive, send, scope.get(HANG_UP))

    def open(self, name: Name, mark: str) -> OpenPage | None:
        """Open a stream for a page that shows its order at this mark.

        None when so many are open already, or the server stops: the page then asks every now and then.
        """
        try:
            return self._open.add(OpenPage(name, mark, self._open.pace.heartbeat_seconds))
        except Overloaded:
            return None

    def end(self) -> None:
        """End all streams and open no other: the server stops."""
        self._open.end()

    async def close(self) -> None:
        """End all streams and stop watching."""
        await self._open.close()

    async def _look(self) -> None:
        names = list({page.name for page in self._open})
        versions = await self._threads.read(_versions, self._threads.store, names)
        for name, version in versions.of.items():
            mark = mark_of(version, versions.clock_offset)
            for page in self._open.of(name):
                page.note(mark)


def _versions(store: Store, names: list[Name]) -> Versions:
    with store.snapshot() as snapshot:
        return snapshot.versions(names)


def _mark(query: bytes) -> str:
    return parse_qs(query.decode("latin-1")).get("mark", [""])[0][:_MOST_MARK_CHARACTERS]
