"""A merchant's webhook receiver on loopback: it keeps what arrives and reacts as it is told.

    with Receiver(lambda number: answer(500) if number == 0 else OK) as receiver:
        ...  # post to receiver.url
        assert receiver.posts[0].body == b"{}"

It runs on a thread of its own, so that tests with and without an event loop can use it.
"""

import asyncio
import random
import ssl
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from http.client import responses
from typing import Final, Self, TypeAlias


@dataclass(frozen=True, slots=True)
class Post:
    """One request as it arrived."""

    path: str
    headers: dict[str, str]
    """By name in lower case."""
    body: bytes


@dataclass(frozen=True, slots=True)
class Reaction:
    """A reaction to one request."""

    says: bytes
    """Written as it is."""
    after_seconds: float = 0
    close: bool = False
    endless: bool = False
    """What is said is repeated for as long as somebody listens."""


Behaviour: TypeAlias = Callable[[int], Reaction]
"""The reaction to the request of this number, counted from 0."""


def answer(status: int, body: bytes = b"ok", after_seconds: float = 0, **headers: str) -> Reaction:
    """A whole answer."""
    lines = [f"HTTP/1.1 {status} {responses.get(status, 'Unheard-of')}", f"Content-Length: {len(body)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return Reaction("\r\n".join([*lines, "", ""]).encode() + body, after_seconds)


OK: Final = answer(200)
SILENT: Final = Reaction(b"", after_seconds=60)
HANGS_UP: Final = Reaction(b"", close=True)
CLOSES_IN_THE_BODY: Final = Reaction(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\npart", close=True)
CLOSES_IN_THE_HEAD: Final = Reaction(b"HTTP/1.1 202 Accepted\r\nContent-Length: 100\r\n", close=True)
FAILURES: Final = (answer(500), answer(301, Location="/elsewhere"), HANGS_UP)


def well(_number: int) -> Reaction:
    """Every request is accepted."""
    return OK


def always(reaction: Reaction) -> Behaviour:
    """The same for everyone."""
    return lambda _number: reaction


def failing_at_random(share: float, seed: int) -> Behaviour:
    """One of ``FAILURES`` for this share of all requests, and now and then a slow answer."""
    dice = random.Random(seed)

    def react(_number: int) -> Reaction:
        if dice.random() < share:
            return dice.choice(FAILURES)
        return answer(200, after_seconds=0.02) if dice.random() < 0.1 else OK

    return react


class Receiver(AbstractContextManager["Receiver"]):
    """An HTTP/1.1 server on a free port of 127.0.0.1, from entering to leaving."""

    def __init__(self, behaviour: Behaviour = well, tls: ssl.SSLContext | None = None):
        self.posts: list[Post] = []
        self.connections = 0
        self.most_at_once = 0
        """The most requests that were waiting for their answers at one moment."""
        self._at_once = 0
        self._behave = behaviour
        self._tls = tls
        self._listening = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._live()), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._listening.wait(10), "the receiver does not listen"
        return self

    def __exit__(self, *_error: object) -> None:
        self._loop.call_soon_threadsafe(self._leaving.set)
        self._thread.join(10)

    @property
    def url(self) -> str:
        """Return where to post."""
        return f"http{'s' if self._tls else ''}://127.0.0.1:{self.port}/hook"

    async def _live(self) -> None:
        self._loop, self._leaving = asyncio.get_running_loop(), asyncio.Event()
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self._tls, backlog=1000)
        self.port: int = server.sockets[0].getsockname()[1]
        self._listening.set()
        await self._leaving.wait()
        server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while not self._leaving.is_set():
                if await self._exchange(reader, writer):
                    break
        except (ConnectionError, asyncio.IncompleteReadError, ssl.SSLError):
            pass  # the other side has gone
        finally:
            writer.close()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """One request and its reaction; returns whether the connection ends with it."""
        post = await _read(reader)
        self._at_once += 1
        self.most_at_once = max(self.most_at_once, self._at_once)
        reaction = self._behave(len(self.posts))
        self.posts.append(post)
        try:
            await self._wait(reaction.after_seconds)
        finally:
            self._at_once -= 1
        writer.write(reaction.says)
        await writer.drain()
        while reaction.endless:
            writer.write(reaction.says)
            await writer.drain()
        return reaction.close

    async def _wait(self, seconds: float) -> None:
        """So long, or until the receiver leaves."""
        if seconds:
            leaving = asyncio.create_task(self._leaving.wait())
            await asyncio.wait([leaving], timeout=seconds)
            leaving.cancel()


async def _read(reader: asyncio.StreamReader) -> Post:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    first, *lines = head.rstrip().split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    body = await reader.readexactly(int(headers.get("content-length", 0)))
    return Post(first.split()[1], headers, body)
