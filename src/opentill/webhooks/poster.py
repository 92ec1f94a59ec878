"""One POST to somebody else's server: bounded in time and size, never redirected, past the guard only."""

import asyncio
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from types import SimpleNamespace
from typing import Final

import aiohttp
from aiohttp.http_parser import RawResponseMessage
from yarl import URL

from opentill.webhooks.guard import Forbidden, Guard

TIMEOUT_SECONDS: Final = 10.0
MOST_READ_BYTES: Final = 65_536
MOST_KEPT_CHARACTERS: Final = 1000
URLS_KEPT: Final = 1024

_ALWAYS: Final = {
    "Content-Type": "application/json",
    "User-Agent": "opentill",
    "Accept": "*/*",
    "Accept-Encoding": "identity",  # an answer that grows when it is unpacked can not be bounded
}


@dataclass(frozen=True, slots=True)
class PostAnswer:
    """The answer to one POST, or what went wrong."""

    status: int | None
    """HTTP status; None when no whole head of an answer was heard."""
    text: str
    """The beginning of the answer's body, or a sentence that says why there is none."""
    milliseconds: int

    @property
    def accepted(self) -> bool:
        """Tell whether it counts as delivered: any 2xx."""
        return self.status is not None and 200 <= self.status < 300


class Poster:
    """Sends bodies to URLs that merchants chose. To be made inside the running event loop."""

    def __init__(
        self, guard: Guard, timeout_seconds: float = TIMEOUT_SECONDS, tls: ssl.SSLContext | None = None
    ):
        self.timeout_seconds = timeout_seconds
        self._check_url = lru_cache(maxsize=URLS_KEPT)(guard.check_url)  # what is refused is not kept
        self._session = aiohttp.ClientSession(
            connector=guard.connector(tls),
            headers=_ALWAYS,
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=None),
            trust_env=False,
            auto_decompress=False,
            trace_configs=[_noting_reuse()],
        )

    async def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> PostAnswer:
        """POST once, over in ``timeout_seconds`` from name to last byte. Never raises for what a URL does.

        A redirect is an answer like any other. The status counts as soon as the head of an answer was
        heard, even if the connection ends early or the time runs out within its body.
        """
        began, heard = time.monotonic(), _Response()
        try:
            self._check_url(url)
            async with asyncio.timeout(self.timeout_seconds):
                await self._exchange(url, body, headers, heard)
        except (aiohttp.ClientError, OSError, ValueError) as error:  # a TimeoutError is an OSError
            heard.trouble(error, self.timeout_seconds)
        return PostAnswer(heard.status, heard.text, round((time.monotonic() - began) * 1000))

    async def _exchange(self, url: str, body: bytes, headers: Mapping[str, str], heard: "_Response") -> None:
        """Post, and again where a connection that was kept open turns out to have been closed meanwhile.

        Each round uses up such a connection, so that a fresh one comes last.
        """
        while True:
            heard.on_old_connection = False
            try:
                return await self._post(url, body, headers, heard)
            except aiohttp.ClientConnectionError as error:
                if not heard.on_old_connection or heard.status or _head_begun(error):
                    raise

    async def _post(self, url: str, body: bytes, headers: Mapping[str, str], heard: "_Response") -> None:
        target = URL(url, encoded=True)  # as it was checked, not as somebody would rather write it
        async with self._session.post(
            target, data=body, headers=headers, allow_redirects=False, trace_request_ctx=heard
        ) as response:
            heard.status = response.status
            while not response.content.at_eof() and len(heard.body) < MOST_READ_BYTES:
                heard.body += await response.content.read(MOST_READ_BYTES - len(heard.body))

    async def close(self) -> None:
        """Close all connections; tries that are under way fail."""
        await self._session.close()


class _Response:
    """An answer as far as it has been heard."""

    def __init__(self) -> None:
        self.status: int | None = None
        self.body = bytearray()
        self.on_old_connection = False
        """Whether the request went out on a connection that had been used before."""
        self._reason = ""

    def trouble(self, error: Exception, timeout_seconds: float) -> None:
        """Remember why it ended before its end."""
        self._reason = _sentence(error, timeout_seconds)
        head = _head_begun(error)
        if head is not None and 100 <= head.code <= 999:
            self.status = head.code

    @property
    def text(self) -> str:
        """Return the body's beginning without what a database can not keep, or why there is none."""
        said = bytes(self.body[: 4 * MOST_KEPT_CHARACTERS]).decode(errors="replace").replace("\0", "\ufffd")
        return (said or self._reason)[:MOST_KEPT_CHARACTERS]


def _head_begun(error: Exception) -> RawResponseMessage | None:
    """Read what was heard of an answer's head when the connection ended within it."""
    message = error.message if isinstance(error, aiohttp.ServerDisconnectedError) else None
    return message if isinstance(message, RawResponseMessage) else None


def _noting_reuse() -> aiohttp.TraceConfig:
    async def note(_session: aiohttp.ClientSession, context: SimpleNamespace, _parameters: object) -> None:
        context.trace_request_ctx.on_old_connection = True

    trace = aiohttp.TraceConfig()
    trace.on_connection_reuseconn.append(note)
    return trace


def _sentence(error: Exception, timeout_seconds: float) -> str:
    """Say what went wrong, in words for the merchant whose URL it is."""
    cause = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error
    if isinstance(error, ssl.CertificateError):
        return "The certificate is not valid for this host."
    match cause:
        case Forbidden():
            return str(cause)
        case TimeoutError():
            return f"No whole answer within {timeout_seconds:g} seconds."
        case ssl.SSLError():
            return "No secure connection could be made."
        case aiohttp.ServerDisconnectedError():
            return "The connection was closed before an answer."
        case OSError() if isinstance(error, aiohttp.ClientConnectorDNSError):
            return "The host name does not resolve."
        case OSError():
            return f"The connection failed: {cause.strerror or type(cause).__name__}."
        case _:
            return f"The answer was not proper HTTP ({type(error).__name__})."
