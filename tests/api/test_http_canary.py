"""Card data and secrets go through a server that logs all it can; then every file it wrote is searched."""

import base64
import hmac
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import httpx2
import pytest

from api.golden.state import OTP_CARD, create, files, rows, submit_card
from databases import POSTGRES, SQLITE, Contents, NewDatabase, rail_contents, server_of, writing
from server import Server, client, issue, operate

VISA: Final = "4111111111111111"
CVV: Final = "CVVcanary"
PIN: Final = "PINcanary"
OTP: Final = "OTPcanary"
ADVICE_KEYS: Final = ("the-advice-key-canary-0123456789ab", "the-next-advice-key-canary-0123456")
CARD_DATA: Final = (OTP_CARD, VISA, "4111 1111 1111 1111", "5434-6210-7425-2808", CVV, PIN, OTP)
MEANT_FOR_SECRETS: Final = {"sandbox.env", "secret.key"}


@dataclass(repr=False)
class Seen:
    """All that a server wrote, and the secrets that it worked with."""

    printed: str
    logged: str
    """By the server; and by its database, where that is a server as well."""
    answered: str
    files: dict[str, bytes]
    tables: Contents
    secrets: dict[str, str]


def card_details(number: str) -> str:
    return (
        f'{{"cardCVV":"{CVV}","cardExpiryMonth":"10","cardExpiryYear":"30","cardNumber":"{number}",'
        f'"cardPin":"{PIN}"}}'
    )


def use_cards(http: httpx2.Client) -> Iterator[httpx2.Response]:
    """Card data where it belongs, where it does not, and in requests that are refused."""
    path = "/v1/checkout/checkout-card-detail"
    yield create(http, "canary")
    for number in (VISA, "4111 1111 1111 1111", OTP_CARD):
        body = {"cardDetails": card_details(number), "key": "", "orderReference": "canary", "saveCard": True}
        answer = http.post(path, json=body, headers={"Idempotency-Key": f"pay-{number[:6]}-{number[-4:]}"})
        yield answer
    waiting = answer.json()["data"]["transactionId"]
    for broken in ("{", "[", card_details(VISA)[:-1], card_details(VISA) * 2, f'"{VISA}"', VISA):
        yield http.post(path, json={"cardDetails": broken, "orderReference": "canary"})
    yield http.post(path, json={"cardDetails": {"cardNumber": VISA}, "orderReference": "canary"})
    yield http.post(path, json={"cardDetails": card_details(VISA), "orderReference": "no such order"})
    yield http.post(path, content=card_details(VISA), headers={"Content-Type": "text/plain"})
    yield http.post(
        path, json={"cardDetails": card_details(VISA), "orderReference": "canary", "deviceInformation": VISA}
    )
    yield http.post("/v1/nowhere", content=card_details(VISA))
    yield http.get(f"/v1/checkout/order/{VISA}")
    yield http.get(f"/v1/transactions/accounts?cursor={VISA}&dateFrom={VISA}")
    yield http.get("/health/live", headers={"X-Request-Id": VISA})
    yield http.get("/health/live", headers={"User-Agent": VISA, "Referer": f"https://a/?card={VISA}"})
    for otp in (OTP, "123456"):
        body = {"otp": otp, "orderReference": "canary", "transactionId": waiting}
        yield http.post("/v1/checkout/checkout-card-otp", json=body)
    yield http.post("/v1/checkout/checkout-card-otp", json={"otp": [OTP], "orderReference": "canary"})
    yield http.get("/v1/transactions/accounts/single?orderReference=canary")


def use_secrets(server: Server, http: httpx2.Client) -> Iterator[tuple[str, str]]:
    """Issue, use, refresh and revoke tokens; yields each secret with its name."""
    credentials = server.credentials
    account = {"accountId": credentials["OPENTILL_ACCOUNT_ID"]}
    pair = issue(server)
    yield from secrets_of(pair, "first")
    body: dict[str, Any] = {"grant_type": "refresh_token", "refresh_token": pair["refresh_token"]}
    bearer = {"Authorization": f"Bearer {pair['access_token']}"} | account
    refreshed = http.post("/v1/auth/token/refresh", json=body, headers=bearer).json()["data"]
    yield from secrets_of(refreshed, "second")
    http.post("/v1/auth/token/refresh", json=body, headers=bearer)
    http.get(f"/v1/checkout/order/{pair['refresh_token']}", headers=bearer)
    http.get(f"/v1/checkout/order/x?token={pair['access_token']}", headers=bearer)
    http.get("/health/live", headers={"X-Request-Id": pair["refresh_token"]})
    wrong = {"grant_type": "client_credentials", "client_id": "x", "client_secret": "a-wrong-secret-canary"}
    http.post("/v1/auth/token/issue", json=wrong, headers=account)
    yield "wrong secret", "a-wrong-secret-canary"
    end = {"clientId": credentials["OPENTILL_CLIENT_ID"], "access_token": refreshed["access_token"]}
    http.post("/v1/auth/token/revoke", json=end)
    for key in ADVICE_KEYS:  # also where a careless adapter sends the key itself
        for headers in (signed(b"{}", key), signed(b"{}", key) | {"X-Signature": key, "X-Timestamp": key}):
            http.post("/v1/opentill/credit-advices", content=b"{}", headers=headers)
        http.get("/v1/opentill/credit-advices", params={"key": key})
        yield f"advice key {key}", key
    yield "client secret", credentials["OPENTILL_CLIENT_SECRET"]
    yield "webhook key", credentials["OPENTILL_WEBHOOK_KEY"]
    endpoint = {"url": "http://127.0.0.1:1/", "signingKey": "a-signing-key-canary"}
    added = http.post("/v1/opentill/webhook-endpoints", json=endpoint, headers={"Idempotency-Key": "canary"})
    yield "signing key", added.json()["data"]["signingKey"]
    new = http.post(f"/v1/opentill/webhook-endpoints/{added.json()['data']['id']}/rotate-key")
    yield "next signing key", new.json()["data"]["signingKey"]
    rotated = operate(server, "clients", "rotate", credentials["OPENTILL_CLIENT_ID"])
    yield "rotated secret", rotated.strip().rpartition("OPENTILL_CLIENT_SECRET=")[2]
    yield "secret key", (server.data / "secret.key").read_text().strip()


def signed(body: bytes, key: str) -> dict[str, str]:
    """The headers of a bank's adapter."""
    timestamp = str(int(time.time()))
    signature = hmac.digest(key.encode(), timestamp.encode() + b"." + body, "sha256")
    return {
        "Content-Type": "application/json",
        "X-Timestamp": timestamp,
        "X-Signature": base64.b64encode(signature).decode(),
    }


def secrets_of(pair: dict[str, str], name: str) -> Iterator[tuple[str, str]]:
    yield f"{name} access token", pair["access_token"]
    yield f"{name} signature", pair["access_token"].rpartition(".")[2]
    yield f"{name} refresh token", pair["refresh_token"]


@contextmanager
def faults(server: Server) -> Iterator[None]:
    """Meanwhile a table is away, so that requests fail inside the server and are logged at length."""
    with writing(server.place) as run:
        run("ALTER TABLE attempts RENAME TO away")
        yield
        run("ALTER TABLE away RENAME TO attempts")


def database_log(server: Server) -> str:
    """Return what PostgreSQL has logged so far, of every database of its."""
    url = server.place
    return server_of(url).log_file.read_text(encoding="utf-8") if isinstance(url, str) else ""


@pytest.fixture(scope="module", params=[SQLITE, POSTGRES], ids=str)
def database_kind(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture(scope="module")
def seen(new_database: NewDatabase, tmp_path_factory: pytest.TempPathFactory) -> Seen:
    chosen: dict[str, Any] = {
        "database_url": new_database(),
        "access_log": True,
        "log_level": "debug",
        "credit_advice_keys": ",".join(ADVICE_KEYS),
    }
    with Server(tmp_path_factory.mktemp("canary"), **chosen) as server, client(server) as http:
        answers = [each.text for each in use_cards(http)]
        secrets = dict(use_secrets(server, http))
        create(http, "faulty")
        with faults(server):
            failed = submit_card(http, "faulty", VISA)
            assert failed.status_code == 500
            answers.append(failed.text)
        tables, running = rows(server) | rail_contents(server.place), files(server)
        server.kill()
        return Seen(
            printed=server.output,
            logged=server.log_file.read_text() + database_log(server),
            answered="\n".join(answers),
            files={f"{name}, running": content for name, content in running.items()} | files(server),
            tables=tables,
            secrets=secrets,
        )


def test_the_canaries_flew(seen: Seen) -> None:
    """Every request was logged, the fault at length, and the payment is in the database, masked."""
    assert seen.logged.count('"event": "request"') > 30
    assert "command_failed" in seen.logged
    assert "543462******2808" in repr(seen.tables["attempts"])
    assert "411111******1111" in repr(seen.tables["attempts"])
    assert len(seen.tables["rail_payments"]) > 1
    own = {"opentill.db", "sandbox-rail.db", "opentill.db-wal, running"}
    assert own <= set(seen.files) or 'relation "attempts" does not exist' in seen.logged
    assert len(seen.secrets) == 15


@pytest.mark.parametrize("canary", CARD_DATA)
def test_card_data_is_written_nowhere(seen: Seen, canary: str) -> None:
    """No card number, CVV, PIN or password is in the log, the output, an answer, a table or a file."""
    for text in (seen.printed, seen.logged, seen.answered, repr(seen.tables)):
        assert canary not in text
    for name, content in seen.files.items():
        assert canary.encode() not in content, name


def test_secrets_are_not_logged(seen: Seen) -> None:
    """No secret, token or key, nor the signature of a token, is in the log."""
    for name, secret in seen.secrets.items():
        assert secret not in seen.logged, name


def test_secrets_are_not_kept_in_plain(seen: Seen) -> None:
    """Outside the two files that are made to hold them, no file and no table holds a secret as it is."""
    for name, secret in seen.secrets.items():
        assert secret not in repr(seen.tables), name
        for file, content in seen.files.items():
            if file.removesuffix(", running") not in MEANT_FOR_SECRETS:
                assert secret.encode() not in content, f"{name} in {file}"
