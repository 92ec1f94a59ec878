"""Streams: sending them to whoever listens, and hanging up on those who do not take what they are sent."""

import asyncio
from collections.abc import Callable
from typing import Final, Protocol

import structlog

from opentill.api.http.scope import Receive, Send
from opentill.domain.refusals import Refusal
from opentill.engine.errors import EngineError
from opentill.store.errors import StoreError

PATIENCE_SECONDS: Final = 5.0
"""How long a piece may wait until the connection takes it; the reader then comes again where it was."""

_log = structlog.get_logger("opentill.streaming")


class Stream(Protocol):
    """An answer of type ``text/event-stream``, made piece by piece for as long as somebody listens."""

    async def next(self) -> bytes | None:
        """Return the next piece, as soon as there is one; None when the stream is over."""

    def end(self) -> None:
        """Make the next piece the last one; called again it does nothing."""


async def send_stream(
    stream: Stream,
    headers: list[tuple[bytes, bytes]],
    receive: Receive,
    send: Send,
    hang_up: Callable[[], None] | None,
    patience_seconds: float = PATIENCE_SECONDS,
) -> None:
    """Send all pieces. Never more than one waits, besides what the server's own buffer holds.

    Ends with the stream, with the connection, when the server stops waiting for it, or by ``hang_up`` with
    a reader that is too slow. An orderly end is sent only to readers who can take it.
    """
    watcher = asyncio.create_task(_end_when_gone(stream, receive))
    try:
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        while (piece := await _next_piece(stream)) is not None:
            async with asyncio.timeout(patience_seconds):
                await send({"type": "http.response.body", "body": piece, "more_body": True})
        async with asyncio.timeout(patience_seconds):
            await send({"type": "http.response.body", "body": b"", "more_body": False})
    except (TimeoutError, asyncio.CancelledError):
        if hang_up is not None:
            hang_up()
            await asyncio.wait({watcher}, timeout=patience_seconds)
    finally:
        stream.end()
        watcher.cancel()


async def _next_piece(stream: Stream) -> bytes | None:
    """Return the next piece; None as well when it can not be made: the reader comes again where it was."""
    try:
        return await stream.next()
    except (Refusal, EngineError, StoreError) as error:
        _log.info("stream_ended", error=type(error).__name__)
    except Exception:  # noqa: BLE001 - whatever it is, it ends this stream alone
        _log.exception("stream_failed")
    return None


async def _end_when_gone(stream: Stream, receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    stream.end()
