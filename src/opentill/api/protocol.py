"""HTTP on the socket: uvicorn's httptools protocol, with broken HTTP answered in the envelope and closed."""

import asyncio
from typing import Any, Final, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from opentill.api.routing import HANG_UP, STOPPING
from opentill.api.wire import UNAVAILABLE, envelope

MAX_HEAD_BYTES: Final = 65_536
"""Request line and headers together; the parser itself knows no limit."""


def _last_answer(head: bytes, body: bytes) -> bytes:
    return (
        b"HTTP/1.1 %b\r\n"
        b"Content-Type: application/json\r\n"
        b"Content-Length: %d\r\n"
        b"Connection: close\r\n"
        b"\r\n"
        b"%b" % (head, len(body), body)
    )


_BAD_REQUEST: Final = _last_answer(b"400 Bad Request", envelope("400", "Request failed."))
_STOPPING: Final = _last_answer(b"503 Service Unavailable\r\nRetry-After: 1", UNAVAILABLE.body)


class _BadHead(Exception):
    """The parser may not go on with this request."""


class _InOnePiece:
    """A transport that sends what is written in one turn of the event loop together.

    Uvicorn writes head and body of an answer one after the other: two system calls, two packets, and a
    seventh of the processor time of a small answer (measured with ``GET /health/live``).
    """

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop):
        self._transport = transport
        self._loop = loop
        self._unsent: list[bytes] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        """Send at the end of this turn."""
        if not self._unsent:
            self._loop.call_soon(self._send)
        self._unsent.append(data)

    def _send(self) -> None:
        if self._unsent:
            whole, self._unsent = b"".join(self._unsent), []
            self._transport.write(whole)

    def close(self) -> None:
        """Send what is unsent, then end the connection."""
        self._send()
        self._transport.close()


class EnvelopeProtocol(HttpToolsProtocol):
    """Answers what is not HTTP with 400 in the envelope (contract 2.1), then closes the connection.

    The parser refuses a Content-Length together with a Transfer-Encoding, repeated or signed lengths,
    unknown encodings and bare line feeds: whatever two servers could read in two ways.
    """

    _head_open = False
    _head_bytes = 0
    _hosts = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A connection opens."""
        super().connection_made(cast("asyncio.Transport", _InOnePiece(transport, self.loop)))

    def on_message_begin(self) -> None:
        """A request begins."""
        self._head_open, self._head_bytes, self._hosts = True, 0, 0
        super().on_message_begin()
        self.scope[HANG_UP] = self.transport.abort  # type: ignore[typeddict-unknown-key]

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header; raising here makes the parser refuse the request."""
        self._head_bytes += len(name) + len(value)
        if self._head_bytes > MAX_HEAD_BYTES:
            raise _BadHead
        if len(name) == len(b"host") and name.lower() == b"host":
            self._hosts += 1
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Its head is whole; HTTP/1.1 names exactly one host (RFC 9112, section 3.2)."""
        self._head_open = False
        if self._hosts != 1 and (self._hosts > 1 or self.parser.get_http_version() == "1.1"):
            raise _BadHead
        super().on_headers_complete()

    def data_received(self, data: bytes) -> None:
        """Bytes from the peer; an endless head is refused."""
        if self.transport.is_closing():
            return
        super().data_received(data)
        if self._head_open:
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD_BYTES:
                self.send_400_response("the head of the request is too long")

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - the reason is logged, not sent
        """Refuse what came last, without ever standing in for the answer of a request that came before."""
        if self._is_carrying_out():
            self.cycle.keep_alive = False  # its answer goes out, then the connection ends
            self.flow.pause_reading()
        else:
            self._end_with(_BAD_REQUEST)

    def shutdown(self) -> None:
        """The server stops: what is being carried out is answered, half a request is not waited for."""
        stopping = self.app_state.get(STOPPING)
        if stopping is not None:
            stopping()
        if self._is_reading():
            self._end_with(_STOPPING)
        else:
            super().shutdown()

    def _end_with(self, answer: bytes) -> None:
        # Behind an answer that is due or has begun, this one would be taken for it.
        if not self.pipeline and not (self._is_reading() and self.cycle.response_started):
            self.transport.write(answer)
        self.transport.close()

    def _is_carrying_out(self) -> bool:
        """Whether the latest request came whole and its answer is not yet complete."""
        latest: RequestResponseCycle | None = self.cycle
        return latest is not None and not latest.response_complete and not latest.more_body

    def _is_reading(self) -> bool:
        """Whether the body of the latest request is still coming in."""
        latest: RequestResponseCycle | None = self.cycle
        return latest is not None and not latest.response_complete and latest.more_body
