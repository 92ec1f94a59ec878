"""Bytes on the socket that are odd, broken or cut off: answered or hung up on, never a fault or a change."""

import http.client
import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from api.golden.state import given_orders, unchanged
from server import Server

HOST = b"Host: till.example\r\n"
JSON = b"Content-Type: application/json\r\n"
CLOSE = b"Connection: close\r\n"
NOTHING = b'{"orderReference":"none"}'
CANCEL = b"POST /v1/checkout/order/cancel HTTP/1.1\r\n" + HOST + JSON
GET = b"GET /v1/checkout/order/victim HTTP/1.1\r\n"
SMUGGLED = CANCEL + b'Content-Length: 27\r\n\r\n{"orderReference":"victim"}'


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(tmp_path_factory.mktemp("broken")) as running:
        given_orders(running)
        yield running


@contextmanager
def connected(server: Server) -> Iterator[socket.socket]:
    with socket.create_connection(server.address, timeout=10) as connection:
        yield connection


def answers(connection: socket.socket, methods: list[str]) -> list[tuple[int, dict[str, str], bytes]]:
    """The next answers on this connection, one for each request's method."""
    read = []
    stream = connection.makefile("rb")
    for method in methods:
        answer = http.client.HTTPResponse(_Stream(stream), method=method)  # type: ignore[arg-type] # all it needs
        answer.begin()
        headers = {name.lower(): value for name, value in answer.getheaders()}
        read.append((answer.status, headers, answer.read()))
    return read


class _Stream:
    """A stream that several answers are read from, one after the other."""

    def __init__(self, stream: object) -> None:
        self._stream = stream

    def makefile(self, _mode: str) -> "_Stream":
        return self

    def __getattr__(self, name: str) -> object:
        return getattr(self._stream, name)

    def close(self) -> None:
        """The connection goes on."""


def ask(server: Server, request: bytes, method: str = "GET") -> tuple[int, dict[str, str], bytes]:
    """One request, its answer; the connection is hung up by the server afterwards if the request says so."""
    with connected(server) as connection:
        connection.sendall(request)
        answer = answers(connection, [method])[0]
        if CLOSE in request or answer[1].get("connection", "").lower() == "close":
            assert ended(connection)
        return answer


def ended(connection: socket.socket) -> bool:
    """Return whether the server has hung up and said nothing more."""
    try:
        return connection.recv(1) == b""
    except ConnectionResetError:
        return True


# --- what is no HTTP ------------------------------------------------------------------------------

BROKEN = {
    "length and encoding": CANCEL
    + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    + SMUGGLED,
    "encoding and length": CANCEL
    + b"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n"
    + SMUGGLED,
    "encoding in disguise": CANCEL
    + b"Content-Length: 4\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n"
    + SMUGGLED,
    "unknown encoding": CANCEL + b"Transfer-Encoding: xchunked\r\n\r\n" + SMUGGLED,
    "encoding after chunked": CANCEL + b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n" + SMUGGLED,
    "two lengths": CANCEL + b"Content-Length: 27\r\nContent-Length: 0\r\n\r\n" + SMUGGLED,
    "a list of lengths": CANCEL + b"Content-Length: 0, 27\r\n\r\n" + SMUGGLED,
    "negative length": CANCEL + b"Content-Length: -1\r\n\r\n" + SMUGGLED,
    "signed length": CANCEL + b"Content-Length: +0\r\n\r\n" + SMUGGLED,
    "length in hex": CANCEL + b"Content-Length: 0x1\r\n\r\n" + SMUGGLED,
    "length beyond all": CANCEL + b"Content-Length: " + b"9" * 30 + b"\r\n\r\n",
    "chunk of no length": CANCEL + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n" + SMUGGLED,
    "chunk beyond all": CANCEL + b"Transfer-Encoding: chunked\r\n\r\n" + b"f" * 20 + b"\r\n",
    "bare line feeds": GET.replace(b"\r\n", b"\n") + b"Host: a\n\n",
    "folded header": GET + HOST + b"X: a\r\n b\r\n\r\n",
    "space before colon": GET + b"Host : a\r\n\r\n",
    "header without colon": GET + HOST + b"nonsense\r\n\r\n",
    "NUL in a header": GET + HOST + b"X: a\x00b\r\n\r\n",
    "space in the target": b"GET /v1/checkout/order/a b HTTP/1.1\r\n" + HOST + b"\r\n",
    "bytes in the target": b"GET /v1/checkout/order/\xff HTTP/1.1\r\n" + HOST + b"\r\n",
    "unknown method": b"FROB /v1 HTTP/1.1\r\n" + HOST + b"\r\n",
    "unknown version": b"GET / HTTP/7.3\r\n" + HOST + b"\r\n",
    "HTTP/2 by guess": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 64,
    "no HTTP at all": b"hello\r\n\r\n",
    "an endless header": GET + HOST + b"X: " + b"a" * 600_000,
    "endless headers": GET + HOST + b"".join(b"X-%d: a\r\n" % n for n in range(60_000)),
    "an endless target": b"GET /" + b"a" * 600_000,
}


@pytest.mark.parametrize("request_bytes", BROKEN.values(), ids=BROKEN.keys())
def test_broken_http_is_refused_and_hung_up(server: Server, request_bytes: bytes) -> None:
    """Bytes that two servers could read in two ways are 400 in the envelope and the end of the connection."""
    with unchanged(server), connected(server) as connection:
        try:
            connection.sendall(request_bytes)
        except (ConnectionResetError, BrokenPipeError):
            return  # it hung up before we had said everything
        try:
            status, headers, body = answers(connection, ["GET"])[0]
        except ConnectionResetError:
            return  # its answer was lost behind what it had not read
        assert status == 400
        assert headers["connection"].lower() == "close"
        assert json.loads(body) == {"code": "400", "description": "Request failed.", "data": None}
        assert ended(connection)


@pytest.mark.parametrize("hosts", [b"", b"Host: a\r\nHost: b\r\n"], ids=["none", "two"])
def test_a_request_names_one_host(server: Server, hosts: bytes) -> None:
    """HTTP/1.1 without a Host, or with two, is 400."""
    assert ask(server, GET + hosts + CLOSE + b"\r\n")[0] == 400


def test_a_long_head_is_refused_however_it_comes(server: Server) -> None:
    """A head beyond 64 KiB is 400 also when it arrives in one piece."""
    assert ask(server, GET + HOST + b"X: " + b"a" * 100_000 + b"\r\n" + CLOSE + b"\r\n")[0] == 400


# --- what is HTTP, if seldom seen -----------------------------------------------------------------


def chunked(*parts: bytes) -> bytes:
    return b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"


ODD = {
    "absolute form": (b"GET http://elsewhere.example/v1/checkout/order/victim HTTP/1.1\r\n" + HOST, b"", 200),
    "HTTP/1.0": (b"GET /v1/checkout/order/victim HTTP/1.0\r\n", b"", 200),
    "many headers": (GET + HOST + b"".join(b"X-%d: a\r\n" % n for n in range(1000)), b"", 200),
    "a body with GET": (GET + HOST + b"Content-Length: 5\r\n", b"hello", 200),
    "an upgrade to WebSocket": (GET + HOST + b"Connection: Upgrade\r\nUpgrade: websocket\r\n", b"", 200),
    "an upgrade to HTTP/2": (GET + HOST + b"Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n", b"", 200),
    "chunks": (CANCEL + b"Transfer-Encoding: chunked\r\n", chunked(NOTHING[:9], NOTHING[9:]), 404),
    "chunks of one": (
        CANCEL + b"Transfer-Encoding: chunked\r\n",
        chunked(*(b"%c" % c for c in NOTHING)),
        404,
    ),
    "chunk extensions": (
        CANCEL + b"Transfer-Encoding: chunked\r\n",
        b"19;a=b\r\n" + NOTHING + b"\r\n0\r\nX: y\r\n\r\n",
        404,
    ),
    "absolute form with a body": (
        CANCEL.replace(b"POST ", b"POST https://elsewhere.example") + b"Content-Length: 25\r\n",
        NOTHING,
        404,
    ),
    "the whole server": (b"OPTIONS * HTTP/1.1\r\n" + HOST, b"", 404),
    "another token": (GET + HOST + b"Authorization: Bearer \xff\xfe\r\n", b"", 401),
    "two tokens": (GET + HOST + b"Authorization: a\r\nAuthorization: a\r\n", b"", 401),
    "an account in other letters": (GET + HOST + b"accountId: \xff\r\n", b"", 403),
    "two content types": (CANCEL + b"Content-Type: application/json\r\nContent-Length: 25\r\n", NOTHING, 400),
    "a content type in other letters": (
        CANCEL.replace(JSON, b"Content-Type: \xff\r\n") + b"Content-Length: 2\r\n",
        b"{}",
        400,
    ),
    "two keys in one": (
        CANCEL + b"Idempotency-Key: a\r\nX-Idempotent-key: b\r\nContent-Length: 25\r\n",
        NOTHING,
        400,
    ),
    "a request id with a line break's look": (GET + HOST + b"X-Request-Id: a%0d%0ab\r\n", b"", 200),
}


@pytest.mark.parametrize("name", ODD)
def test_odd_http_is_answered(server: Server, name: str) -> None:
    """Everything that the standard allows is understood, however seldom it is seen; no order changes."""
    head, body, expected = ODD[name]
    method = head.split(b" ", 1)[0].decode()
    with unchanged(server):
        status, headers, answer = ask(server, head + CLOSE + b"\r\n" + body, method)

    assert status == expected
    assert list(json.loads(answer)) == ["code", "description", "data"]
    assert headers["x-request-id"].replace("-", "").isalnum()


@pytest.mark.parametrize("path", [b"/v1/checkout/order/victim", b"/v1/checkout/order", b"/health/live", b"/"])
def test_head_has_no_body(server: Server, path: bytes) -> None:
    """HEAD is no operation, so it is 404, with the length that its body would have and without the body."""
    with connected(server) as connection:
        connection.sendall(b"HEAD " + path + b" HTTP/1.1\r\n" + HOST + b"\r\n" + GET + HOST + CLOSE + b"\r\n")
        (status, headers, body), (after, _, _) = answers(connection, ["HEAD", "GET"])

    assert (status, after) == (404, 200)
    assert int(headers["content-length"]) > 0
    assert body == b""


@pytest.mark.parametrize("method", ["OPTIONS", "TRACE", "PUT", "DELETE", "PATCH"])
def test_other_methods_are_unknown_routes(server: Server, method: str) -> None:
    """A method that no operation has is 404 in the envelope and echoes nothing."""
    request = f"{method} /v1/checkout/order/victim HTTP/1.1\r\nX-Secret: echo-me\r\n".encode()
    with unchanged(server):
        status, _, body = ask(server, request + HOST + CLOSE + b"\r\n", method)

    assert (status, json.loads(body)["description"]) == (404, "Resource not found")
    assert b"echo-me" not in body


def test_pipelined_requests_are_answered_in_order(server: Server) -> None:
    """Requests sent without waiting get their answers one by one, in the order they were sent."""
    missing = CANCEL + b"Content-Length: 25\r\n\r\n" + NOTHING
    unknown = b"GET /v1/nowhere HTTP/1.1\r\n" + HOST + b"\r\n"
    with unchanged(server), connected(server) as connection:
        connection.sendall((GET + HOST + b"\r\n" + missing + unknown) * 10)
        found = answers(connection, ["GET", "POST", "GET"] * 10)

    texts = [json.loads(body)["description"] for _, _, body in found]
    assert texts == ["order details fetched successful", "Record not found", "Resource not found"] * 10


def test_a_body_that_looks_like_a_request_is_none(server: Server) -> None:
    """A declared length covers a body, even where no body is asked for."""
    carrier = GET + HOST + b"Content-Length: %d\r\n\r\n" % len(SMUGGLED) + SMUGGLED
    with unchanged(server), connected(server) as connection:
        connection.sendall(carrier + b"GET /health/live HTTP/1.1\r\n" + HOST + CLOSE + b"\r\n")
        found = answers(connection, ["GET", "GET"])
        assert ended(connection)

    assert [status for status, _, _ in found] == [200, 200]
    assert json.loads(found[1][2])["data"] == {"status": "live"}


def test_waiting_for_permission_to_send_a_body_is_answered(server: Server) -> None:
    """Expect: 100-continue gets its 100, then the answer; a body declared too large gets its 400 at once."""
    with unchanged(server), connected(server) as connection:
        connection.sendall(CANCEL + b"Expect: 100-continue\r\nContent-Length: 25\r\n\r\n")
        assert connection.recv(64).startswith(b"HTTP/1.1 100 ")
        connection.sendall(NOTHING)
        assert answers(connection, ["POST"])[0][0] == 404
    with unchanged(server), connected(server) as connection:
        connection.sendall(CANCEL + b"Expect: 100-continue\r\nContent-Length: 99999999\r\n\r\n")
        status, _, body = answers(connection, ["POST"])[0]

    assert (status, json.loads(body)["code"]) == (400, "02")


# --- clients that go away -------------------------------------------------------------------------

WHOLE = CANCEL + b'Content-Length: 27\r\n\r\n{"orderReference":"victim"}'


@pytest.mark.parametrize("sent", [1, 40, len(WHOLE) - 30, len(WHOLE) - 1])
@pytest.mark.parametrize("how", ["closed", "reset"])
def test_half_a_request_does_nothing(server: Server, sent: int, how: str) -> None:
    """A client that goes away before its request is whole has asked for nothing."""
    with unchanged(server), connected(server) as connection:
        connection.sendall(WHOLE[:sent])
        if how == "reset":
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")


def test_a_slow_request_is_waited_for(server: Server) -> None:
    """A request that comes byte by byte is answered once it is whole, and others are meanwhile."""
    request = CANCEL + CLOSE + b"Content-Length: 25\r\n\r\n" + NOTHING
    with unchanged(server), connected(server) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for at in range(len(request)):
            connection.sendall(request[at : at + 1])
            if at % 40 == 0:
                assert ask(server, GET + HOST + CLOSE + b"\r\n")[0] == 200
        assert answers(connection, ["POST"])[0][0] == 404


def test_many_half_open_connections_keep_nobody_out(server: Server) -> None:
    """Two hundred clients that never finish their request do not keep the next one waiting."""
    half = [socket.create_connection(server.address, timeout=10) for _ in range(200)]
    try:
        for connection in half:
            connection.sendall(WHOLE[:-1])
        with unchanged(server):
            assert ask(server, GET + HOST + CLOSE + b"\r\n")[0] == 200
    finally:
        for connection in half:
            connection.close()
