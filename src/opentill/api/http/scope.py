"""The border to the server: the types of ASGI, three entries of our own, whole requests and answers.

The three make the hot path short and the end orderly; under any other ASGI server they are simply not there.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, Final, TypeAlias

from opentill.api.wire import Rejected, invalid

Scope: TypeAlias = Mapping[str, Any]
Message: TypeAlias = Mapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[dict[str, Any]], Awaitable[None]]
AsgiApp: TypeAlias = Callable[[Any, Any, Any], Awaitable[None]]

Headers: TypeAlias = Iterable[tuple[bytes, bytes]]
Answer: TypeAlias = Callable[[int, Headers, bytes], Awaitable[None]]
"""Takes status, headers and body. The headers say how long it is and can not end a line."""

ANSWER: Final = "opentill.answer"
"""In the scope of a request where the server can send an answer in one piece: an ``Answer``."""
HANG_UP: Final = "opentill.hang_up"
"""In the scope of a request: ends its connection at once, with whatever is still waiting to be sent."""
STOPPING: Final = "opentill.stopping"
"""In the lifespan's state: called when the server begins to stop, before it waits for open requests."""


async def send_whole(send: Send, status: int, headers: Headers, body: bytes) -> None:
    """Send an answer as any ASGI server takes it: its head, then all of its body."""
    await send({"type": "http.response.start", "status": status, "headers": list(headers)})
    await send({"type": "http.response.body", "body": body})


def joined_headers(sent: Iterable[tuple[bytes, bytes]]) -> dict[bytes, bytes]:
    """Return the headers by lower-case name; one sent twice has both values, as RFC 9110 joins them."""
    sent = list(sent)
    headers = dict(sent)
    if len(headers) != len(sent):
        headers = {}
        for name, value in sent:
            headers[name] = headers[name] + b", " + value if name in headers else value
    return headers


class ClientGone(Exception):
    """The client went away before its request was whole."""


async def read_body(receive: Receive, declared: bytes, most_bytes: int) -> bytes:
    """Return the whole body; ``declared`` is its length as the headers say it.

    Raises Rejected (400 ``02``) as soon as it is known to be too large, and ClientGone.
    """
    if declared.isdigit() and len(declared) < 20 and int(declared) > most_bytes:
        raise _too_large(most_bytes)
    message = await receive()
    body: bytes = message.get("body", b"")
    while message["type"] == "http.request" and message.get("more_body", False):
        if len(body) > most_bytes:
            raise _too_large(most_bytes)
        message = await receive()
        body += message.get("body", b"")
    if message["type"] == "http.disconnect":
        raise ClientGone
    if len(body) > most_bytes:
        raise _too_large(most_bytes)
    return body


def _too_large(most_bytes: int) -> Rejected:
    return invalid(f"body is larger than {most_bytes} bytes")
