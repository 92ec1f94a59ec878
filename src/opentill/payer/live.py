"""The open payer pages of one process: one question for all of them, four times a second (laws 11).

A page is told that its order has changed, and never how: it then asks for itself. Nobody notifies the
process of anything; it asks the database how far the orders have come, so it does not matter which process
changed them.
"""

import asyncio
import contextlib
from collections import defaultdict
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import parse_qs

import structlog
from starlette.responses import PlainTextResponse
from starlette.routing import BaseRoute, Route

from opentill.api.http.scope import HANG_UP
from opentill.api.http.streaming import send_stream
from opentill.engine.threads import StoreThreads
from opentill.keys.keyring import Keyring
from opentill.payer.pages import PAGE_PATH
from opentill.payer.view import mark_of
from opentill.store.interface import Name, Store, Versions

MOST_OF_ONE_ORDER: Final = 50
"""Streams of one order's pages in one process: whoever has a link can not use up those of all others."""
_MOST_MARK_CHARACTERS: Final = 40
_GREETING: Final = b"retry: 1000\nevent: open\ndata:\n\n"
_HEARTBEAT: Final = b"event: beat\ndata:\n\n"
_HEADERS: Final = [
    (b"content-type", b"text/event-stream"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),  # a proxy must not collect it
    (b"x-content-type-options", b"nosniff"),
]

_log = structlog.get_logger("opentill.payer")


@dataclass(frozen=True, slots=True)
class Pace:
    """How often things happen."""

    look_seconds: float = 0.25
    heartbeat_seconds: float = 15.0
    patience_seconds: float = 2.0
    """How long the database may be away before pages are let go, to find out for themselves."""


class OpenPage:
    """One page that listens, as a ``streaming.Stream`` of the marks of its order."""

    __slots__ = ("_ended", "_greeted", "_heartbeat_seconds", "_news", "_pages", "_told", "mark", "name")

    def __init__(self, pages: "OpenPages", name: Name, mark: str, heartbeat_seconds: float):
        self.name = name
        self.mark = self._told = mark
        self._pages = pages
        self._heartbeat_seconds = heartbeat_seconds
        self._news = asyncio.Event()
        self._greeted = False
        self._ended = False

    async def next(self) -> bytes | None:
        """See ``Stream.next``."""
        if not self._greeted:
            self._greeted = True
            return _GREETING
        if self.mark == self._told and not self._ended:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._heartbeat_seconds):
                    await self._news.wait()
        self._news.clear()
        if self._ended:
            return None
        if self.mark == self._told:
            return _HEARTBEAT
        self._told = self.mark
        return b"data: %s\n\n" % self._told.encode()

    def note(self, mark: str) -> None:
        """The order is at this mark."""
        if mark != self.mark:
            self.mark = mark
            self._news.set()

    def end(self) -> None:
        """See ``Stream.end``."""
        self._ended = True
        self._news.set()
        self._pages.forget(self)


class OpenPages:
    """Opens streams to pages, as many as there may be, and watches over their orders."""

    def __init__(self, threads: StoreThreads, keyring: Keyring, most: int, pace: Pace | None = None):
        self._threads = threads
        self._keyring = keyring
        self._most = most
        self._pace = pace or Pace()
        self._open: defaultdict[Name, set[OpenPage]] = defaultdict(set)
        self._count = 0
        self._closed = False
        self._watch_task: asyncio.Task[None] | None = None

    def route(self) -> BaseRoute:
        """Where pages listen."""
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
        """A stream for a page that shows its order at this mark.

        None when so many are open already, or the server stops: the page then asks every now and then.
        """
        of_order = len(self._open[name]) if name in self._open else 0
        if self._closed or self._count >= self._most or of_order >= MOST_OF_ONE_ORDER:
            return None
        page = OpenPage(self, name, mark, self._pace.heartbeat_seconds)
        self._open[name].add(page)
        self._count += 1
        if self._watch_task is None or self._watch_task.done():
            self._watch_task = asyncio.create_task(self._watch(), name="payer pages")
        return page

    def forget(self, page: OpenPage) -> None:
        """The page has gone."""
        of_order = self._open.get(page.name)
        if of_order and page in of_order:
            of_order.discard(page)
            self._count -= 1
            if not of_order:
                del self._open[page.name]

    def end(self) -> None:
        """The server stops: all streams end, and no other is opened."""
        self._closed = True
        self._let_go()

    async def close(self) -> None:
        """End all streams and stop watching."""
        self.end()
        if self._watch_task is not None:
            self._watch_task.cancel()
            await asyncio.gather(self._watch_task, return_exceptions=True)

    async def _watch(self) -> None:
        """As long as a page is open; a failure only ends a round."""
        loop = asyncio.get_running_loop()
        seen_at = loop.time()
        while self._open:
            try:
                self._tell(await self._threads.read(_ask, self._threads.store, list(self._open)))
                seen_at = loop.time()
            except Exception as error:  # noqa: BLE001 - whatever it is, it must not end the loop
                _log.warning("pages_wait", error=type(error).__name__)
                if loop.time() - seen_at > self._pace.patience_seconds:
                    self._let_go()
            await asyncio.sleep(self._pace.look_seconds)

    def _tell(self, versions: Versions) -> None:
        for name, version in versions.of.items():
            mark = mark_of(version, versions.clock_offset)
            for page in self._open.get(name, ()):
                page.note(mark)

    def _let_go(self) -> None:
        for page in [page for of_order in self._open.values() for page in of_order]:
            page.end()


def _ask(store: Store, names: list[Name]) -> Versions:
    with store.snapshot() as snapshot:
        return snapshot.versions(names)


def _mark(query: bytes) -> str:
    return parse_qs(query.decode("latin-1")).get("mark", [""])[0][:_MOST_MARK_CHARACTERS]
