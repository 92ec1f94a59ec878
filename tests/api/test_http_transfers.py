"""Advices of bank transfers, as a careless and as a hostile adapter sends them; and whose money it is."""

import base64
import hmac
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from threading import Barrier
from typing import Any

import httpx2
import pytest

from api.golden.state import cancel, create, given_orders, unchanged
from databases import NewDatabase, reading
from opentill.api.http.times import told_time
from opentill.domain.commands import TimeDoubt
from opentill.domain.nuban import is_account_number
from polling import until
from server import Server, client, new_merchant, signed_in
from tidy.rules import ROOT

OLD, KEY = "an-old-key-of-the-bank-0123456789ab", "the-key-of-the-bank-0123456789abcd="
ADVICES = "/v1/opentill/credit-advices"


@pytest.fixture(scope="module")
def server(new_database: NewDatabase, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Two processes, which a bank tells of transfers under either of two keys."""
    chosen: dict[str, Any] = {"database_url": new_database(), "credit_advice_keys": f"{OLD},{KEY}"}
    with Server(tmp_path_factory.mktemp("transfers"), workers=2, **chosen) as running:
        given_orders(running)
        yield running


@pytest.fixture
def http(server: Server) -> Iterator[httpx2.Client]:
    with client(server) as connected:
        yield connected


def account_of(http: httpx2.Client, reference: str) -> str:
    """The account number of a new order of 100 naira."""
    assert create(http, reference).status_code == 200
    answer = http.get(f"/v1/checkout/get-checkout-kta/{reference}")
    number: str = answer.json()["data"]["accountNumber"]
    return number


def advice(session_id: str, number: str, **more: object) -> bytes:
    fields = {"sessionId": session_id, "accountNumber": number, "amount": "100.00", "currency": "NGN"}
    return json.dumps(fields | more).encode()


def signature(timestamp: str, body: bytes, key: str = KEY) -> str:
    return base64.b64encode(hmac.digest(key.encode(), timestamp.encode() + b"." + body, "sha256")).decode()


def signed(body: bytes, at: float | None = None, key: str = KEY) -> dict[str, str]:
    timestamp = str(int(time.time() if at is None else at))
    return {
        "Content-Type": "application/json",
        "X-Timestamp": timestamp,
        "X-Signature": signature(timestamp, body, key),
    }


def advise(http: httpx2.Client, body: bytes, headers: Mapping[str, str] | None = None) -> httpx2.Response:
    return http.post(ADVICES, content=body, headers=dict(signed(body) if headers is None else headers))


def money_of(http: httpx2.Client, reference: str) -> dict[str, str]:
    money: dict[str, str] = http.get(f"/v1/opentill/orders/{reference}/money").json()["data"]
    return money


# --- one session, one credit ----------------------------------------------------------------------


def test_two_processes_that_hear_of_one_transfer_book_one_credit(server: Server) -> None:
    """Told 16 times at one moment, to both processes, each of 10 transfers is one credit with one id."""
    for turn in range(10):
        with client(server) as http:
            number = account_of(http, f"raced-{turn}")
        answers = all_at_once(server, 16, advice(f"raced-{turn}", number))
        assert {each.status_code for each in answers} == {200}
        assert len({each.text for each in answers}) == 1
        with client(server) as http:
            assert money_of(http, f"raced-{turn}")["received"] == "100.00"


def test_contradicting_advices_at_one_moment_have_one_winner(server: Server) -> None:
    """Of several amounts told for one session at once one is booked, and the others are 409."""
    with client(server) as http:
        number = account_of(http, "contradicted")
    bodies = [advice("contradicted", number, amount=f"{10 + n}.00") for n in range(8)]
    answers = all_at_once(server, 8, *bodies)
    assert sorted(each.status_code for each in answers) == [200] + [409] * 7
    assert {each.headers.get("refusal-reason") for each in answers if each.status_code == 409} == {
        "session-id-reused"
    }
    with client(server) as http:
        booked = money_of(http, "contradicted")["received"]
    winner = next(body for body, each in zip(bodies, answers, strict=True) if each.status_code == 200)
    assert json.loads(winner)["amount"] == booked


def all_at_once(server: Server, count: int, *bodies: bytes) -> list[httpx2.Response]:
    """So many advices on connections of their own, begun together; the bodies in turn."""
    start = Barrier(count)

    def tell(n: int) -> httpx2.Response:
        body = bodies[n % len(bodies)]
        with client(server) as http:
            http.get("/health/live")
            start.wait(20)
            return advise(http, body)

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(tell, range(count)))


def test_both_processes_answered(server: Server) -> None:
    """The races above were between two processes: each of the two workers has a connection open somewhere."""
    children = subprocess.run(
        ["ps", "--ppid", str(server.pid), "-o", "pid="], capture_output=True, text=True, check=True
    )
    assert len(children.stdout.split()) >= 2


# --- who may tell ---------------------------------------------------------------------------------


def tricks() -> dict[str, Any]:
    """By name, what makes the headers and the body of an advice out of a rightly signed one."""
    now = int(time.time())

    def changed(**headers: str) -> Any:
        return lambda body: (signed(body) | headers, body)

    def at(seconds: float) -> Any:
        return lambda body: (signed(body, now + seconds), body)

    def spelt(timestamp: str) -> Any:
        return lambda body: (
            signed(body) | {"X-Timestamp": timestamp, "X-Signature": signature(timestamp, body)},
            body,
        )

    return {
        "stale": at(-301),
        "from the future": at(330),
        "timestamp in milliseconds": at(now * 999),
        "timestamp with a sign": spelt(f"+{now}"),
        "timestamp with a fraction": spelt(f"{now}.0"),
        "timestamp with a zero before it": spelt(f"0{now}"),
        "timestamp in other digits": lambda body: (
            [(name.encode(), value.encode()) for name, value in signed(body).items() if name != "X-Timestamp"]
            + [(b"X-Timestamp", "\uff11\uff17".encode())],
            body,
        ),
        "no timestamp": changed(**{"X-Timestamp": ""}),
        "no signature": changed(**{"X-Signature": ""}),
        "another timestamp": changed(**{"X-Timestamp": str(now - 1)}),
        "another key": lambda body: (signed(body, key=KEY + "x"), body),
        "both keys as one": lambda body: (signed(body, key=f"{OLD},{KEY}"), body),
        "an empty key": lambda body: (signed(body, key=""), body),
        "a changed body": lambda body: (signed(body), body.replace(b"100.00", b"900.00")),
        "a space more": lambda body: (signed(body), body + b" "),
        "the signature in hex": lambda body: (
            signed(body) | {"X-Signature": base64.b64decode(signed(body)["X-Signature"]).hex()},
            body,
        ),
        "the signature cut": lambda body: (
            signed(body) | {"X-Signature": signed(body)["X-Signature"][:-1]},
            body,
        ),
        "several signatures": lambda body: (
            signed(body) | {"X-Signature": f"{signed(body)['X-Signature']}, AAAA"},
            body,
        ),
        "the dot moved": lambda body: (
            signed(body) | {"X-Timestamp": str(now // 10), "X-Signature": signature(str(now), body)},
            f"{now % 10}.".encode() + body,
        ),
    }


@pytest.mark.parametrize("trick", tricks())
def test_what_is_not_rightly_signed_tells_nothing(server: Server, http: httpx2.Client, trick: str) -> None:
    """However a signature, timestamp or body is bent, the answer is the same 401, and nothing is written."""
    with unchanged(server):
        headers, body = tricks()[trick](advice(f"trick-{trick}", "9012345678"))
        answer = http.post(ADVICES, content=body, headers=headers)
    assert answer.status_code == 401
    assert answer.json() == {"code": "401", "description": "Unauthorized", "data": None}
    assert answer.headers["www-authenticate"] == "X-Signature"


def test_a_token_is_no_signature(server: Server, http: httpx2.Client) -> None:
    """A merchant, signed in and sure of itself, can not tell of a transfer."""
    headers = signed_in(server) | {"Content-Type": "application/json"}
    with unchanged(server):
        assert advise(http, advice("by-token", "9012345678"), headers).status_code == 401


@pytest.mark.parametrize("key", [OLD, KEY])
@pytest.mark.parametrize("seconds", [-290, 290])
def test_within_the_window_either_key_is_good(http: httpx2.Client, key: str, seconds: int) -> None:
    """While a key is changed both sign, by clocks that are nearly five minutes off."""
    body = advice(f"good-{key[:3]}-{seconds}", "0000000000")
    answer = advise(http, body, signed(body, time.time() + seconds, key))
    assert answer.json()["data"]["disposition"] == "unmatched"


# --- whose money it is ----------------------------------------------------------------------------


def test_account_numbers_are_of_one_order_each(http: httpx2.Client) -> None:
    """Each order has its own number, with a right check digit, below the prefix of the settings."""
    numbers = {account_of(http, f"numbered-{n}") for n in range(20)}
    assert len(numbers) == 20
    assert all(number.startswith("90") and is_account_number("999", number) for number in numbers)


def test_a_transfer_is_shown_to_its_own_merchant_alone(server: Server, http: httpx2.Client) -> None:
    """Another merchant finds neither the order's number, nor its payment by session id, reference or list."""
    shop = new_merchant(server)
    number = account_of(http, "private")
    assert advise(http, advice("private-session", number)).json()["data"]["disposition"] == "applied"
    assert http.get("/v1/transactions/requery/private-session").status_code == 200
    with client(server, headers=signed_in(server, shop)) as other:
        assert other.get("/v1/checkout/get-checkout-kta/private").status_code == 404
        assert other.get("/v1/transactions/requery/private-session").status_code == 404
        assert other.get("/v1/transactions/accounts/single?orderReference=private").status_code == 404
        assert other.get("/v1/transactions/accounts").json()["data"]["results"] == []
        refused = other.post("/sandbox/transfers", json={"orderReference": "private", "amount": "1"})
        assert refused.status_code == 404


def test_the_same_session_id_of_two_merchants_is_one_transfer(server: Server, http: httpx2.Client) -> None:
    """A session id is the scheme's, not a merchant's: told for another order it contradicts itself."""
    first, second = account_of(http, "first"), account_of(http, "second")
    assert advise(http, advice("one-session", first)).status_code == 200
    assert advise(http, advice("one-session", second)).status_code == 409
    assert money_of(http, "second")["received"] == "0.00"


HUGE = {
    "a hundred quintillion": "1" + "0" * 20,
    "as a number": 10**20,
    "negative": "-100.00",
    "a negative number": -1,
    "fractions of a kobo": "0.001",
    "a float": 100.005,
    "an exponent": "1e2",
    "infinite": "Infinity",
    "nothing": "0.00",
    "hexadecimal": "0x10",
    "in other digits": "\uff11\uff10\uff10",
    "a list": ["100"],
    "true": True,
    "with NUL": "100\0",
}


@pytest.mark.parametrize("amount", HUGE.values(), ids=HUGE.keys())
def test_what_is_no_amount_is_not_booked(server: Server, http: httpx2.Client, amount: object) -> None:
    """Rightly signed or made up in the sandbox, what is no amount is 400 and leaves no row behind."""
    with unchanged(server):
        body = advice("no-amount", "9012345678", amount=amount)
        assert advise(http, body).status_code == 400
        made = http.post("/sandbox/transfers", json={"orderReference": "victim", "amount": amount})
        assert made.status_code == 400


def test_made_up_money_that_does_not_say_where_from_has_a_way_back(http: httpx2.Client) -> None:
    """A sandbox transfer without a sender that comes after a cancel is returned, not refused by its bank."""
    account_of(http, "way-back")
    assert cancel(http, "way-back").status_code == 200
    made = http.post("/sandbox/transfers", json={"orderReference": "way-back", "amount": "75.00"})
    assert made.json()["data"]["disposition"] == "late"
    until(lambda: money_of(http, "way-back")["returned"] == "75.00", "the money is back")


def test_a_refusal_under_a_key_is_kept(http: httpx2.Client) -> None:
    """A transfer to an order that ended before it had a number is refused, and again so under its key."""
    create(http, "ended-early")
    assert cancel(http, "ended-early").status_code == 200
    body, key = {"orderReference": "ended-early", "amount": "1.00"}, {"X-Idempotent-key": "ended-early"}
    first = http.post("/sandbox/transfers", json=body, headers=key)
    again = http.post("/sandbox/transfers", json=body, headers=key)
    assert (first.status_code, first.headers["refusal-reason"]) == (400, "order-already-cancelled")
    assert (again.status_code, again.content) == (400, first.content)
    assert again.headers["idempotency-replayed"] == "true"


def test_a_narration_of_any_letters_is_kept_in_one_line(http: httpx2.Client) -> None:
    """No money is turned away for what a payer wrote; a line break becomes a space."""
    number = account_of(http, "narrated")
    advise(http, advice("narrated", number, narration="Bàtà\r\n'; DROP TABLE orders;--\t<b>"))
    (credit,) = http.get("/v1/opentill/orders/narrated").json()["data"]["credits"]
    assert credit["narration"] == "Bàtà '; DROP TABLE orders;-- <b>"


UNUSABLE = "the bank's time can not be used, so the arrival counts: "


@pytest.mark.parametrize(
    ("told", "doubt"),
    [
        ("2020-01-01", TimeDoubt.NO_HOLDER),
        ("2099-01-01", TimeDoubt.AFTER_ARRIVAL),
        ("9999-12-31T23:59:59-14:00", f"{UNUSABLE}9999-12-31T23:59:59-14:00"),
        ("0001-01-01T00:00:00+01:00", f"{UNUSABLE}0001-01-01T00:00:00+01:00"),
        ("yesterday", f"{UNUSABLE}yesterday"),
    ],
)
def test_money_with_a_strange_time_is_taken_and_can_be_shown(
    http: httpx2.Client, told: str, doubt: str
) -> None:
    """A date alone, or an impossible year, turns no money away; the timeline says that it did not count."""
    name = f"strange-{told[:4]}"
    assert advise(http, advice(name, account_of(http, name), transferredAt=told)).status_code == 200
    order = http.get(f"/v1/opentill/orders/{name}").json()["data"]
    (credit,) = order["credits"]
    assert (order["status"], credit["transferredAt"]) == ("PAID", credit["arrivedAt"])
    assert [each["note"] for each in order["timeline"] if each["type"] == "credit_received"] == [doubt]


def test_a_day_alone_is_the_end_of_that_day() -> None:
    """What is known of it is only that the transfer was made before the day was over."""
    end = datetime(2026, 3, 4, 23, 59, 59, 999_000, tzinfo=UTC)
    assert told_time("2026-03-04") == int(end.timestamp() * 1000)


def test_a_cancel_and_a_transfer_at_one_moment_have_one_winner(server: Server) -> None:
    """Whichever wins, the other is told so, and the money is applied whole or sent back whole."""
    endings = set()
    for turn in range(20):
        reference = f"contested-{turn}"
        with client(server) as http:
            body = advice(reference, account_of(http, reference))
        start = Barrier(2)

        def first(reference: str = reference, start: Barrier = start) -> int:
            with client(server) as http:
                http.get("/health/live")
                start.wait(20)
                return cancel(http, reference).status_code

        def second(body: bytes = body, start: Barrier = start) -> str:
            with client(server) as http:
                http.get("/health/live")
                start.wait(20)
                disposition: str = advise(http, body).json()["data"]["disposition"]
                return disposition

        with ThreadPoolExecutor(2) as pool:
            cancelled, paid = pool.submit(first), pool.submit(second)
        ending = cancelled.result(), paid.result()
        assert ending in {(200, "late"), (400, "applied")}
        with client(server) as http:
            money = money_of(http, reference)
        assert money["applied"] == ("100.00" if ending[1] == "applied" else "0.00")
        endings.add(ending)
    with reading(server.place) as run:
        assert run('SELECT 1 FROM orders WHERE received <> applied + held + "returning" + returned') == []


# --- the adapter of the documentation -------------------------------------------------------------


def test_the_adapter_of_the_documentation_is_understood(server: Server, http: httpx2.Client) -> None:
    """docs/snippets/advise_credit.py, run as it stands there, tells of a transfer; a wrong key is 401."""
    body = advice("by-the-book", account_of(http, "by-the-book")).decode()

    def run(keys: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [sys.executable, str(ROOT / "docs/snippets/advise_credit.py"), server.url, body],
            env={**os.environ, "OPENTILL_CREDIT_ADVICE_KEYS": keys},
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )

    refused = run("x" * 32)
    assert (refused.returncode, refused.stdout.split()[0]) == (1, "401")
    done = run(f"{OLD},{KEY}")
    assert (done.returncode, done.stderr) == (0, "")
    assert '"disposition":"applied"' in done.stdout
