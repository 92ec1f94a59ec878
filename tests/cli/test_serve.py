"""`opentill serve`: what it prints is true, and it stops when told to."""

import json
import signal
import stat
import subprocess
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from cli.program import Serving, serving
from seed import HOST, SAMPLE

SEED_REFERENCE = "OD-69923-2e102708-ee34-4a29-b713-a826ca928a12"
STOP_SECONDS = 30
"""Half of what the rail would take to answer: a slow machine stops slowly, and still before that."""
STUCK_RAIL = {"OPENTILL_SANDBOX_RAIL_DELAY_MILLISECONDS": "60000", "OPENTILL_CARD_TIMEOUT_SECONDS": "60"}


def raw(server: Serving, request: bytes) -> bytes:
    """Everything the server says to these bytes until it closes."""
    with server.connect() as connection:
        connection.sendall(request)
        with connection.makefile("rb") as answer:
            return answer.read()


def test_the_printed_commands_create_and_cancel_the_order_of_the_guide(tmp_path: Path) -> None:
    """Pasted into a shell, create succeeds, the guide's own curl cancels, and a second time it is refused."""
    with serving(tmp_path / "data") as server:
        seed = SAMPLE.replace(HOST, server.url)
        assert seed in server.block
        create = server.block[server.block.index("curl ") : server.block.index("Cancel it:")]

        answers = [subprocess.run(["sh", "-c", each], stdout=-1, check=True) for each in (create, seed, seed)]

    created, cancelled, again = (json.loads(answer.stdout) for answer in answers)
    assert created["data"]["orderReference"] == SEED_REFERENCE
    assert cancelled == {
        "code": "00",
        "description": "success",
        "data": {"success": True, "message": "Order cancelled successfully"},
    }
    assert again == {"code": "01", "description": "Error cancelling order", "data": None}


def test_the_printed_credentials_get_a_token(tmp_path: Path) -> None:
    """Account id, client id and secret of the block are accepted by the token call."""
    with serving(tmp_path / "data") as server:
        env = server.env
        body = {
            "grant_type": "client_credentials",
            "client_id": env["OPENTILL_CLIENT_ID"],
            "client_secret": env["OPENTILL_CLIENT_SECRET"],
        }
        answer = server.ask("POST", "/v1/auth/token/issue", body, accountId=env["OPENTILL_ACCOUNT_ID"])

        assert answer.status_code == 200
        assert answer.json()["data"]["businessId"] == env["OPENTILL_ACCOUNT_ID"]


def test_the_printed_payer_link_opens(tmp_path: Path) -> None:
    """The payer's page is there when the block says so."""
    with serving(tmp_path / "data") as server:
        link = server.block.rpartition("A page for a payer: ")[2].strip()

        assert link.startswith(f"{server.url}/checkout/")
        assert server.ask("GET", link.removeprefix(server.url)).status_code == 200


def test_a_second_start_shows_the_same_credentials(tmp_path: Path) -> None:
    """Only the URL follows the new port; sandbox.env says what the block says, to its owner only."""
    with serving(tmp_path / "data") as first:
        pass
    with serving(tmp_path / "data") as second:
        file = tmp_path / "data" / "sandbox.env"
        written = dict(line.split("=", 1) for line in file.read_text().splitlines())

    assert {**first.env, "OPENTILL_URL": second.url} == second.env == written
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


@pytest.mark.alone
@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_it_stops_in_time_whatever_is_open(tmp_path: Path, workers: str, how: signal.Signals) -> None:
    """Idle and half-sent requests and a rail that hangs do not keep it; who waits gets 503; exit is 0."""
    with serving(tmp_path / "data", "--workers", workers, **STUCK_RAIL) as server, ExitStack() as open_ones:
        idle, kept, half, paying = (open_ones.enter_context(server.connect()) for _ in range(4))
        kept.sendall(b"GET /health/live HTTP/1.1\r\nHost: till\r\n\r\n")
        assert kept.recv(65_536).startswith(b"HTTP/1.1 200 ")
        half.sendall(b"POST /v1/checkout/order HTTP/1.1\r\nHost: till\r\nContent-Length: 9\r\n\r\n{")
        paying.sendall(_card_payment(server))
        _until_the_rail_is_asked(server)

        began = time.monotonic()
        server.process.send_signal(how)
        assert server.process.wait(timeout=60) == 0
        assert time.monotonic() - began < STOP_SECONDS

        assert paying.recv(12) == b"HTTP/1.1 503"
        assert half.recv(12) == b"HTTP/1.1 503"
        assert idle.recv(1) == b""
        with kept.makefile("rb") as rest:
            assert rest.read().count(b"HTTP/1.1") == 0


def test_workers_do_not_outlive_their_supervisor(tmp_path: Path) -> None:
    """When the supervisor is killed its workers stop by themselves and let go of who is connected."""
    with serving(tmp_path / "data", "--workers", "2") as server, server.connect() as idle:
        server.process.kill()

        assert idle.recv(1) == b""


def _card_payment(server: Serving) -> bytes:
    """A payment that the rail will not answer while the test lasts."""
    order = {
        "orderReference": "stuck",
        "amount": "10.00",
        "currency": "NGN",
        "customerEmail": "a@example.com",
    }
    assert server.ask("POST", "/v1/checkout/order", {"order": order}).status_code == 200
    card = {
        "cardCVV": "123",
        "cardExpiryMonth": "10",
        "cardExpiryYear": "30",
        "cardNumber": "5434621074252808",
        "cardPin": "1234",
    }
    body = json.dumps(
        {"cardDetails": json.dumps(card), "key": "", "orderReference": "stuck", "saveCard": False}
    )
    head = f"Host: till\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
    return f"POST /v1/checkout/checkout-card-detail HTTP/1.1\r\n{head}\r\n\r\n{body}".encode()


def _until_the_rail_is_asked(server: Serving) -> None:
    """Ask for the order's attempts until the payment's first commit is a fact."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        if server.ask("GET", "/v1/transactions/accounts/single?orderReference=stuck").status_code == 200:
            return
    raise AssertionError("the rail was never asked")


CANCEL = b"POST /v1/checkout/order/cancel HTTP/1.1\r\nHost: a\r\n"
BROKEN = [
    CANCEL + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    CANCEL + b"Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n",
    CANCEL + b"Transfer-Encoding: xchunked\r\n\r\n",
    CANCEL + b"Content-Length: 3\r\nContent-Length: 3\r\n\r\n{}\n",
    CANCEL + b"Content-Length: -3\r\n\r\n{}\n",
    CANCEL + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
    b"GET /v1/checkout/order/\xff HTTP/1.1\r\nHost: a\r\n\r\n",
    b"CONNECT api.example:443 HTTP/1.1\r\nHost: a\r\n\r\n",
    b"not http at all\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"a" * 70_000,
]


def test_broken_http_is_refused_in_the_envelope_and_closed(tmp_path: Path) -> None:
    """Whatever two servers could read in two ways, and what is no HTTP at all, is 400 and the end."""
    with serving(tmp_path / "data") as server:
        for request in BROKEN:
            head, _, body = raw(server, request).partition(b"\r\n\r\n")

            assert head.startswith(b"HTTP/1.1 400 "), request[:80]
            assert b"\r\nConnection: close" in head
            assert json.loads(body) == {"code": "400", "description": "Request failed.", "data": None}


def test_what_came_whole_is_answered_before_the_broken_rest_ends_the_connection(tmp_path: Path) -> None:
    """A refusal never stands in the place of the answer to the request before it."""
    with serving(tmp_path / "data") as server:
        answer = raw(server, b"GET /health/live HTTP/1.1\r\nHost: a\r\n\r\nnot http\r\n\r\n")

    assert answer.startswith(b"HTTP/1.1 200 ")
    assert b"connection: close" in answer.lower()
    assert answer.count(b"HTTP/1.1") == 1
