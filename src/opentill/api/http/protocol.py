"""HTTP on the socket: uvicorn's httptools protocol, with broken HTTP answered in the envelope and closed."""

from functools import partial
from http import HTTPStatus
from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from opentill.api.http.scope import ANSWER, HANG_UP, STOPPING, Headers
from opentill.api.wire import UNAVAILABLE, envelope

MAX_HEAD_BYTES: Final = 65_536
"""Request line and headers together; the parser itself knows no limit."""
_PHRASES: Final = {status.value: status.phrase.encode() for status in HTTPStatus}


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


async def _answer(cycle: RequestResponseCycle, status: int, headers: Headers, body: bytes) -> None:
    """Send the whole answer of a request in one write, as a ``scope.Answer``.

    Uvicorn would write head and body one after the other, two system calls and two packets, and look at
    each character of headers that are our own. That was a quarter of what a cancel cost on the event loop.
    """
    if cycle.flow.write_paused and not cycle.disconnected:
        await cycle.flow.drain()
    if cycle.disconnected:
        return
    cycle.response_started, cycle.waiting_for_100_continue = True, False
    lines = [b"HTTP/1.1 %d %b" % (status, _PHRASES[status]), *(b"%b: %b" % header for header in headers)]
    if not cycle.keep_alive:
        lines.append(b"connection: close")
    content = body if cycle.scope["method"] != "HEAD" else b""
    cycle.transport.write(b"%b\r\n\r\n%b" % (b"\r\n".join(lines), content))
    cycle.response_complete = True
    cycle.message_event.set()
    if not cycle.keep_alive:
        cycle.transport.close()
    cycle.on_response()


class EnvelopeProtocol(HttpToolsProtocol):
    """Answers what is not HTTP with 400 in the envelope (contract 2.1), then closes the connection.

    The parser refuses a Content-Length together with a Transfer-Encoding, repeated or signed lengths,
    unknown encodings and bare line feeds: whatever two servers could read in two ways.
    """

    _head_open = False
    _head_bytes = 0

    def on_message_begin(self) -> None:
        """Begin a request."""
        self._head_open, self._head_bytes = True, 0
        super().on_message_begin()
        self.scope[HANG_UP] = self.transport.abort  # type: ignore[typeddict-unknown-key]

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header; blanks and tabs around its value are no part of it (RFC 9110, section 5.5)."""
        super().on_header(name, value.strip(b" \t"))

    def on_headers_complete(self) -> None:
        """Check the head, which is whole; raising here makes the parser refuse the request.

        HTTP/1.1 names exactly one host (RFC 9112, section 3.2).
        """
        self._head_open = False
        head_bytes = hosts = 0
        for name, value in self.headers:
            head_bytes += len(name) + len(value)
            hosts += name == b"host"
        if head_bytes > MAX_HEAD_BYTES or hosts > 1:
            raise _BadHead
        if not hosts and self.parser.get_http_version() == "1.1":
            raise _BadHead
        super().on_headers_complete()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        """Start the task of a request whose turn has come."""
        cycle.scope[ANSWER] = partial(_answer, cycle)  # type: ignore[typeddict-unknown-key]
        super()._start_asgi_task(cycle, app)

    def data_received(self, data: bytes) -> None:
        """Take bytes from the peer; an endless head is refused."""
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
        """Stop: what is being carried out is answered, half a request is not waited for."""
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
        """Return whether the latest request came whole and its answer is not yet complete."""
        latest: RequestResponseCycle | None = self.cycle
        return latest is not None and not latest.response_complete and not latest.more_body

    def _is_reading(self) -> bool:
        """Return whether the body of the latest request is still coming in."""
        latest: RequestResponseCycle | None = self.cycle
        return latest is not None and not latest.response_complete and latest.more_body
