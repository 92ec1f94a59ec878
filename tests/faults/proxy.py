"""A TCP proxy before PostgreSQL that breaks the connection at the very moment of a COMMIT.

    with Proxy(url) as proxy:
        proxy.doom("OD-1", Fate.CUT_AFTER)
        # whoever works through proxy.url hears nothing of the COMMIT of the transaction that names OD-1

It reads just enough of the frontend's side of the protocol to know what is asked: the first packets, and
after them the type and length of each message. What the database answers is passed on unread.
"""

import socket
import threading
from collections import defaultdict, deque
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, suppress
from enum import Enum
from types import TracebackType
from typing import Final, Self

from psycopg.conninfo import conninfo_to_dict

WAIT_SECONDS: Final = 10
_BEFORE_START: Final = {80877103, 80877104}
"""Codes of the packets that ask for TLS or GSSAPI and come before the one that starts a session."""
_READY: Final = b"Z\x00\x00\x00\x05I"
"""The message with which the database says that no transaction is open any more."""


class Fate(Enum):
    """A way in which a COMMIT may end."""

    CUT_BEFORE = "the connection breaks before the COMMIT reaches the database"
    CUT_AFTER = "the COMMIT takes effect, and the connection breaks before its answer comes back"
    HELD = "the connection breaks, and the COMMIT reaches the database later: when it is released"


class Proxy(AbstractContextManager["Proxy"]):
    """Passes everything on until it is told otherwise."""

    def __init__(self, url: str) -> None:
        known = conninfo_to_dict(url)
        self.target = (str(known["host"]), int(str(known["port"])))
        """Where new connections lead; may be changed."""
        self.met: list[Fate] = []
        """The fates that have come true."""
        self.before_each: Callable[[bytes], object] = len
        """Called with each statement, or the values bound to one, before it is passed on."""
        self._fates: defaultdict[bytes, deque[Fate | None]] = defaultdict(deque)
        self._held: list[_Session] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        host, port = self._listener.getsockname()
        self.direct = url
        """The database itself."""
        self.url = f"postgresql://{known['user']}@{host}:{port}/{known['dbname']}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for session in self._held:
            session.end()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def doom(self, named: str, *fates: Fate | None) -> None:
        """The next commits of transactions that name this get these fates, one each; None is none."""
        self._fates[named.encode()].extend(fates)

    def release(self) -> None:
        """Let the COMMITs that are held take effect; returns when they have."""
        for session in self._held:
            session.commit_late()
        self._held.clear()

    @property
    def holding(self) -> bool:
        """Tell whether a COMMIT waits to be released."""
        return bool(self._held)

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                session = _Session(client, socket.create_connection(self.target))
                threading.Thread(target=self._serve, args=(session,), daemon=True).start()

    def _serve(self, session: "_Session") -> None:
        named: set[bytes] = set()
        with suppress(OSError):
            for message in session.asked():
                if message[:1] in {b"Q", b"B"}:
                    self.before_each(message)
                named |= {name for name in self._fates if name in message}
                if _is(message, b"COMMIT") and (fate := self._fate_of(named)):
                    self._carry_out(fate, session)
                    return
                if _is(message, b"COMMIT") or _is(message, b"ROLLBACK"):
                    named.clear()
                session.database.sendall(message)
        session.end()

    def _fate_of(self, named: set[bytes]) -> Fate | None:
        waiting = [self._fates[name] for name in named if self._fates[name]]
        return waiting[0].popleft() if waiting else None

    def _carry_out(self, fate: Fate, session: "_Session") -> None:
        if fate is Fate.CUT_AFTER:
            session.commit_late()
        elif fate is Fate.CUT_BEFORE:
            session.end()
        else:
            self._held.append(session)
        self.met.append(fate)
        session.hang_up_on_client()


class _Session:
    """One connection of a client and the one to the database that stands for it."""

    def __init__(self, client: socket.socket, database: socket.socket) -> None:
        for side in (client, database):
            side.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._client = client
        self.database = database
        self._client_listens = True
        self._idle = threading.Event()
        threading.Thread(target=self._answer, daemon=True).start()

    def asked(self) -> Iterator[bytes]:
        """Return what the client sends, message by message."""
        stream = self._client.makefile("rb")
        started = False
        while head := stream.read(5 if started else 4):
            message = head + stream.read(int.from_bytes(head[-4:], "big") - 4)
            started = started or int.from_bytes(message[4:8], "big") not in _BEFORE_START
            yield message

    def _answer(self) -> None:
        with suppress(OSError):
            while said := self.database.recv(65536):
                if self._client_listens:
                    self._client.sendall(said)
                elif said.endswith(_READY):
                    self._idle.set()
        self.hang_up_on_client()

    def commit_late(self) -> None:
        """COMMIT while the client does not listen any more; returns when it has taken effect."""
        self._client_listens = False
        self.database.sendall(b"Q\x00\x00\x00\x0bCOMMIT\x00")
        assert self._idle.wait(WAIT_SECONDS), "the late COMMIT had no effect"
        self.end()

    def hang_up_on_client(self) -> None:
        """The client sees its connection end."""
        self._client_listens = False
        _hang_up(self._client)

    def end(self) -> None:
        """Both connections end; what was not committed is rolled back."""
        _hang_up(self.database)
        self.hang_up_on_client()


def _is(message: bytes, statement: bytes) -> bool:
    return message[:1] == b"Q" and message[5:].startswith(statement)


def _hang_up(connection: socket.socket) -> None:
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
    connection.close()
