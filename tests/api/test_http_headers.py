"""Header values as RFC 9110 has them: blanks and tabs around a value are no part of it."""

import json
import socket
import time
from collections.abc import Iterator
from typing import Any, Final

import pytest

from opentill.api.http.admission import sign
from server import Server, client

KEY: Final = "an advice key of at least 32 characters"
ADVICES: Final = "/v1/opentill/credit-advices"
AROUND: Final = [("", " "), ("", "\t \t"), ("  ", ""), (" \t", " ")]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(tmp_path_factory.mktemp("headers"), credit_advice_keys=KEY) as running:
        yield running


def post(server: Server, path: str, body: dict[str, Any], **headers: str) -> tuple[int, str, dict[str, Any]]:
    """Send a request byte for byte, which clients do not; returns status, head and body of the answer."""
    content = json.dumps(body).encode()
    lines = [f"POST {path} HTTP/1.1", "Host: till.example", "Connection: close"]
    lines += [f"Content-Length: {len(content)}", *(f"{k.replace('_', '-')}:{v}" for k, v in headers.items())]
    with socket.create_connection(server.address, timeout=20) as connection:
        connection.sendall("\r\n".join([*lines, "", ""]).encode() + content)
        answer = b"".join(iter(lambda: connection.recv(65_536), b"")).decode()
    head, _, text = answer.partition("\r\n\r\n")
    return int(head.split()[1]), head.lower(), json.loads(text)


def order(**more: object) -> dict[str, Any]:
    return {"order": {"amount": "100.00", "currency": "NGN", "customerEmail": "a@b.example"} | more}


@pytest.mark.parametrize("name", ["Idempotency_Key", "X_Idempotent_key"])
def test_one_key_is_one_key_however_it_is_padded(server: Server, name: str) -> None:
    """A create that comes again under its key, with blanks around it, is answered by the first order."""
    key = f"key-of-{name}"
    status, _, first = post(
        server, "/v1/checkout/order", order(), Content_Type="application/json", **{name: key}
    )
    assert status == 200
    for before, after in AROUND:
        padded = {name: f"{before}{key}{after}"}
        status, head, again = post(
            server, "/v1/checkout/order", order(), Content_Type="application/json", **padded
        )
        assert (status, again["data"]["orderId"]) == (200, first["data"]["orderId"])
        assert "idempotency-replayed: true" in head


@pytest.mark.parametrize(("before", "after"), AROUND)
def test_every_header_that_is_read_may_be_padded(server: Server, before: str, after: str) -> None:
    """Token, account, content type and request id mean the same with blanks and tabs around them."""
    credentials = server.credentials
    with client(server) as http:
        token = http.post(
            "/v1/auth/token/issue",
            headers={"accountId": credentials["OPENTILL_ACCOUNT_ID"]},
            json={
                "grant_type": "client_credentials",
                "client_id": credentials["OPENTILL_CLIENT_ID"],
                "client_secret": credentials["OPENTILL_CLIENT_SECRET"],
            },
        ).json()["data"]["access_token"]
    headers = {
        "Authorization": f"Bearer {token}",
        "accountId": credentials["OPENTILL_ACCOUNT_ID"],
        "Content-Type": "application/json",
        "X-Request-Id": "request-1",
    }
    status, head, answer = post(
        server, "/v1/checkout/order", order(), **{k: f"{before}{v}{after}" for k, v in headers.items()}
    )
    assert status == 200, answer
    assert "x-request-id: request-1\r\n" in head + "\r\n"


@pytest.mark.parametrize(("before", "after"), AROUND)
def test_a_signed_advice_may_have_padded_headers(server: Server, before: str, after: str) -> None:
    """Signature and timestamp hold with blanks and tabs around them."""
    body = {
        "sessionId": f"padded-{AROUND.index((before, after))}",
        "accountNumber": "0000000000",
        "amount": "5.00",
        "currency": "NGN",
    }
    timestamp = str(int(time.time()))
    signed = {"X-Timestamp": timestamp, "X-Signature": sign(KEY, timestamp, json.dumps(body).encode())}
    status, _, answer = post(
        server,
        ADVICES,
        body,
        Content_Type="application/json",
        **{k: f"{before}{v}{after}" for k, v in signed.items()},
    )
    assert (status, answer["data"] and answer["data"]["disposition"]) == (200, "unmatched")


def test_a_key_of_nothing_but_blanks_is_none(server: Server) -> None:
    """An idempotency key of blanks is an empty one, and refused as such."""
    status, _, answer = post(
        server, "/v1/checkout/order", order(), Content_Type="application/json", Idempotency_Key=" \t "
    )
    assert (status, answer["code"]) == (400, "02")
