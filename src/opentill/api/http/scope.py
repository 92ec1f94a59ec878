"""What a server and the application hand each other: the types of ASGI, and three entries of our own.

The three make the hot path short and the end orderly; under any other ASGI server they are simply not there.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, Final, TypeAlias

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
