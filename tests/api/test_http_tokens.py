"""Tokens and two at once, over HTTP: what is single, is single; what is revoked, is dead everywhere."""

import base64
import hashlib
import hmac
import json
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import httpx2
import pytest

from api.golden.state import cancel, create, given_orders, unchanged
from databases import PARTITIONED, POSTGRES, SQLITE, databases
from server import Server, client, issue, operate, read_env, signed_in, token

AT_ONCE = 8


@pytest.fixture(
    scope="module",
    params=[(SQLITE, 1), (SQLITE, 2), (POSTGRES, 2), (PARTITIONED, 2)],
    ids=lambda chosen: f"{chosen[0]}, workers: {chosen[1]}",
)
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    kind, workers = request.param
    folder = tmp_path_factory.mktemp("tokens")
    with databases(kind) as new, Server(folder, workers=workers, database_url=new()) as running:
        given_orders(running)
        yield running


def at_once(server: Server, ask: Callable[[httpx2.Client], httpx2.Response]) -> list[httpx2.Response]:
    """The same question from several connections, which are all open before the first is asked."""
    ready = Barrier(AT_ONCE)

    def one(_: int) -> httpx2.Response:
        with client(server) as http:
            http.get("/health/live")
            ready.wait(10)
            return ask(http)

    with ThreadPoolExecutor(AT_ONCE) as threads:
        return list(threads.map(one, range(AT_ONCE)))


def on_every_worker(server: Server, bearer: str) -> set[int]:
    """The statuses a token gets on many connections, which the workers share among them."""
    statuses = set()
    for _ in range(24):
        with client(server, headers={"Authorization": f"Bearer {bearer}"}) as http:
            statuses.add(http.get("/v1/checkout/order/victim").status_code)
            statuses.add(http.post("/v1/checkout/order/cancel", json={"orderReference": "none"}).status_code)
    return statuses


def refresh(server: Server, http: httpx2.Client, refresh_token: str, bearer: str) -> httpx2.Response:
    headers = {"Authorization": f"Bearer {bearer}", "accountId": server.credentials["OPENTILL_ACCOUNT_ID"]}
    body = {"grant_type": "refresh_token", "refresh_token": refresh_token}
    return http.post("/v1/auth/token/refresh", json=body, headers=headers)


# --- two at once ----------------------------------------------------------------------------------


def test_of_cancels_at_once_exactly_one_succeeds(server: Server) -> None:
    """However many cancel one order at once, one is told success and the others that it is cancelled."""
    with client(server) as http:
        for number in range(10):
            create(http, f"at-once-{number}")
    for number in range(10):
        told = at_once(server, lambda http, name=f"at-once-{number}": cancel(http, name))  # type: ignore[misc]

        outcomes = Counter((each.json()["code"], each.headers.get("refusal-reason", "")) for each in told)
        assert outcomes == {("00", ""): 1, ("01", "order-already-cancelled"): AT_ONCE - 1}


def test_of_creates_at_once_exactly_one_succeeds(server: Server) -> None:
    """However many create one reference at once, one order is opened."""
    told = at_once(server, lambda http: create(http, "created-at-once"))

    assert Counter(each.json()["code"] for each in told) == {"00": 1, "400": AT_ONCE - 1}


def test_of_calls_with_one_key_at_once_all_get_one_answer(server: Server) -> None:
    """With one idempotency key a cancel is done once, and everyone is told of that one."""
    with client(server) as http:
        create(http, "one-key")

    def ask(http: httpx2.Client) -> httpx2.Response:
        body, headers = {"orderReference": "one-key"}, {"X-Idempotent-key": "one-key"}
        return http.post("/v1/checkout/order/cancel", json=body, headers=headers)

    told = at_once(server, ask)

    assert {(each.status_code, each.text) for each in told} == {(200, told[0].text)}
    assert Counter(each.headers.get("idempotency-replayed") for each in told) == {
        None: 1,
        "true": AT_ONCE - 1,
    }


def test_a_refresh_token_is_used_once(server: Server) -> None:
    """However many use one refresh token at once, one gets new tokens; those of that one are good."""
    old = issue(server)

    told = at_once(server, lambda http: refresh(server, http, old["refresh_token"], old["access_token"]))

    assert Counter(each.status_code for each in told) == {200: 1, 401: AT_ONCE - 1}
    new = next(each.json()["data"] for each in told if each.status_code == 200)
    assert on_every_worker(server, new["access_token"]) == {200, 404}
    with client(server) as http:
        assert refresh(server, http, new["refresh_token"], new["access_token"]).status_code == 200


# --- the end of a token ---------------------------------------------------------------------------


def test_a_revoked_token_is_dead_everywhere_at_once(server: Server) -> None:
    """Once the answer of revoke is here, no worker takes the token or its refresh token; others live on."""
    ended, other = issue(server), token(server)
    assert on_every_worker(server, ended["access_token"]) == {200, 404}
    with client(server) as http:
        body = {
            "clientId": server.credentials["OPENTILL_CLIENT_ID"],
            "access_token": ended["access_token"],
        }
        assert http.post("/v1/auth/token/revoke", json=body).status_code == 200

    assert on_every_worker(server, ended["access_token"]) == {401}
    assert on_every_worker(server, other) == {200, 404}
    with client(server) as http, unchanged(server):
        assert refresh(server, http, ended["refresh_token"], other).status_code == 401


def test_a_disabled_client_is_out_at_once(server: Server) -> None:
    """Disabling a client ends its tokens everywhere and gives it no new ones; other clients go on."""
    printed = operate(server, "clients", "add")
    credentials = server.credentials | dict(line.split("=", 1) for line in printed.split() if "=" in line)
    tokens, other = issue(server, credentials), token(server)
    assert on_every_worker(server, tokens["access_token"]) == {200, 404}

    operate(server, "clients", "disable", credentials["OPENTILL_CLIENT_ID"])

    assert on_every_worker(server, tokens["access_token"]) == {401}
    assert on_every_worker(server, other) == {200, 404}
    with client(server) as http:
        assert refresh(server, http, tokens["refresh_token"], other).status_code == 401
        body = {
            "grant_type": "client_credentials",
            "client_id": credentials["OPENTILL_CLIENT_ID"],
            "client_secret": credentials["OPENTILL_CLIENT_SECRET"],
        }
        headers = {"accountId": credentials["OPENTILL_ACCOUNT_ID"]}
        assert http.post("/v1/auth/token/issue", json=body, headers=headers).json()["code"] == "01"


def test_a_rotated_secret_replaces_the_old_one(server: Server) -> None:
    """After a rotation only the new secret gets tokens; those that were given out live on."""
    printed = operate(server, "clients", "add")
    old = server.credentials | dict(line.split("=", 1) for line in printed.split() if "=" in line)
    given = token(server, old)

    printed = operate(server, "clients", "rotate", old["OPENTILL_CLIENT_ID"])

    new = old | dict(line.split("=", 1) for line in printed.split() if "=" in line)
    assert new["OPENTILL_CLIENT_SECRET"] != old["OPENTILL_CLIENT_SECRET"]
    assert token(server, new)
    with pytest.raises(AssertionError, match="Invalid credentials"):
        issue(server, old)
    assert on_every_worker(server, given) == {200, 404}


# --- tokens that are none -------------------------------------------------------------------------


def part(value: object) -> str:
    """A part of a JWT."""
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def forged(good: str) -> dict[str, str]:
    """Tokens like a good one that nobody with the key has signed."""
    head, claims, signature = good.split(".")
    header = json.loads(base64.urlsafe_b64decode(head + "=="))
    payload = json.loads(base64.urlsafe_b64decode(claims + "=="))
    later = part(payload | {"exp": payload["exp"] + 1})

    def signed(head: str, claims: str, key: bytes) -> str:
        mac = hmac.new(key, f"{head}.{claims}".encode(), hashlib.sha256).digest()
        return f"{head}.{claims}.{base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}"

    return {
        "no algorithm": f"{part({'alg': 'none', 'typ': 'JWT'})}.{claims}.",
        "no algorithm, in capitals": f"{part({'alg': 'NONE', 'typ': 'JWT'})}.{claims}.",
        "no algorithm, old signature": f"{part(header | {'alg': 'none'})}.{claims}.{signature}",
        "another algorithm": f"{part(header | {'alg': 'HS512'})}.{claims}.{signature}",
        "an asymmetric algorithm": f"{part(header | {'alg': 'RS256'})}.{claims}.{signature}",
        "later expiry": f"{head}.{later}.{signature}",
        "another account": f"{head}.{part(payload | {'account': payload['sub']})}.{signature}",
        "empty key": signed(head, claims, b""),
        "key of zeros": signed(head, claims, bytes(32)),
        "key id as key": signed(head, claims, header["kid"].encode()),
        "another key id": f"{part(header | {'kid': '../../dev/null'})}.{claims}.{signature}",
        "no key id": f"{part({'alg': 'HS256', 'typ': 'JWT'})}.{claims}.{signature}",
        "a key of its own": signed(part(header | {"jwk": {"kty": "oct", "k": "AA"}}), claims, b"\0"),
        "no signature": f"{head}.{claims}.",
        "two parts": f"{head}.{claims}",
        "four parts": f"{good}.{signature}",
        "half a signature": good[:-20],
        "one letter of the claims changed": f"{head}.f{claims[1:]}.{signature}",
        "claims that are no object": f"{head}.{part([])}.{signature}",
        "padding": f"{head}==.{claims}.{signature}",
        "twice": f"{good} {good}",
        "scheme twice": f"Bearer {good}",
        "empty": "",
        "a megabyte": "e" * 60_000,
    }


@pytest.fixture(scope="module")
def forgeries(server: Server) -> dict[str, str]:
    return forged(token(server))


def test_a_forged_token_is_401(server: Server, forgeries: dict[str, str]) -> None:
    """No token that the server did not sign as it stands opens anything, and revoking one ends nothing."""
    with client(server) as http, unchanged(server):
        for name, bad in forgeries.items():
            answer = http.get("/v1/checkout/order/victim", headers={"Authorization": f"Bearer {bad}".strip()})
            assert (answer.status_code, answer.json()["code"]) == (401, "401"), name
            assert answer.headers["www-authenticate"] == "Bearer"
            body = {"clientId": server.credentials["OPENTILL_CLIENT_ID"], "access_token": bad[:4000]}
            assert http.post("/v1/auth/token/revoke", json=body).status_code == 401, name


def test_a_token_of_another_server_is_401(server: Server, tmp_path_factory: pytest.TempPathFactory) -> None:
    """A token signed with another server's key opens nothing here."""
    with Server(tmp_path_factory.mktemp("elsewhere")) as other:
        foreign = token(other)

    assert on_every_worker(server, foreign) == {401}


def test_token_answers_are_never_cached(server: Server) -> None:
    """Success and refusal of each token call carry Cache-Control: no-store; other calls need not."""
    account = server.credentials["OPENTILL_ACCOUNT_ID"]
    with client(server, headers={"accountId": account}) as http:
        for call in ("issue", "refresh", "revoke"):
            answer = http.post(f"/v1/auth/token/{call}", json={})
            assert answer.status_code == 400
            assert answer.headers["cache-control"] == "no-store"
        good = issue(server)
        assert (
            refresh(server, http, good["refresh_token"], good["access_token"]).headers["cache-control"]
            == "no-store"
        )


def test_the_env_file_opens_the_door(server: Server) -> None:
    """The file sandbox.env says all that a merchant's program needs to know."""
    credentials = read_env(server.data / "sandbox.env")
    with client(server, headers=signed_in(server, credentials)) as http:
        assert http.get("/v1/transactions/accounts").status_code == 200


def test_a_token_is_over_at_once_when_the_clock_is_moved(server: Server) -> None:
    """The very next call with it is refused on every worker, whichever of them moved the clock."""
    bearer = token(server)
    assert on_every_worker(server, bearer) == {200, 404}
    with client(server) as http:
        assert http.post("/sandbox/clock", json={"advanceSeconds": 1800}).status_code == 200
    assert on_every_worker(server, bearer) == {401}
