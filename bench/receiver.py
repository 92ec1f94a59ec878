"""A webhook receiver that costs next to nothing: a process of its own that answers every POST with 200.

``python bench/receiver.py`` prints its port and serves until its standard input ends.
"""

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, cast

import uvloop

ANSWER: Final = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\nok"
LENGTH: Final = b"content-length:"


class Accepting(asyncio.Protocol):
    """Finds the ends of requests, as far as our own client writes them, and looks at nothing else."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Somebody has connected."""
        self._transport = cast("asyncio.Transport", transport)
        self._heard = b""

    def data_received(self, data: bytes) -> None:
        """Answer each request that is whole."""
        self._heard += data
        while (head_end := self._heard.find(b"\r\n\r\n") + 4) > 3:
            head = self._heard[:head_end].lower()
            length = int(head[head.index(LENGTH) + len(LENGTH) :].split(b"\r\n", 1)[0])
            if len(self._heard) < head_end + length:
                return
            self._heard = self._heard[head_end + length :]
            self._transport.write(ANSWER)


@contextmanager
def running() -> Iterator[str]:
    """The URL of a receiver in another process."""
    process = subprocess.Popen([sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout is not None
    try:
        yield f"http://127.0.0.1:{int(process.stdout.readline())}/hook"
    finally:
        process.communicate(timeout=10)


async def main() -> None:
    """Serve on a free port until the other side of standard input has gone."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Accepting, "127.0.0.1", 0, backlog=1000)
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    uvloop.run(main())
