"""Names that banks pad with blanks are one name, however they are told: a transfer is one credit."""

import itertools
import json
from collections.abc import Iterator
from typing import Any, Final

import httpx2
import pytest

from api.golden.state import create
from api.test_http_transfers import KEY, advise
from databases import POSTGRES, SQLITE, NewDatabase
from server import Server, client

_numbers = itertools.count(1)
PADDED: Final = ["{} ", " {}", "{}\t", "\u00a0{}\u00a0", "{}\n", "{}" + " " * 60]


@pytest.fixture(scope="module", params=[SQLITE, POSTGRES], ids=str)
def database_kind(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture(scope="module")
def server(new_database: NewDatabase, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("padded")
    with Server(folder, database_url=new_database(), credit_advice_keys=KEY) as running:
        yield running


@pytest.fixture
def http(server: Server) -> Iterator[httpx2.Client]:
    with client(server) as connection:
        yield connection


def told(http: httpx2.Client, advice: dict[str, Any], **changed: str) -> dict[str, Any]:
    """``data`` of an advice that is taken."""
    answer = advise(http, json.dumps(advice | changed).encode())
    assert answer.status_code == 200, answer.text
    data: dict[str, Any] = answer.json()["data"]
    return data


@pytest.mark.parametrize("padded", PADDED)
def test_a_padded_transfer_is_the_same_transfer(http: httpx2.Client, padded: str) -> None:
    """Told again with blanks around every name it is one credit, and no money goes back that came once."""
    reference = f"padded-{next(_numbers)}"
    assert create(http, reference).status_code == 200
    account = http.get(f"/v1/checkout/get-checkout-kta/{reference}").json()["data"]["accountNumber"]
    names = {
        "sessionId": f"session-of-{reference}",
        "accountNumber": account,
        "currency": "NGN",
        "senderAccountNumber": "0123456789",
        "senderBankCode": "058",
    }
    advice = {**names, "amount": "100.00", "senderName": "Ada Obi"}
    first = told(http, advice, **{name: padded.format(value) for name, value in names.items()})
    assert first["disposition"] == "applied"
    assert told(http, advice) == first
    order = http.get(f"/v1/opentill/orders/{reference}").json()["data"]
    (credit,) = order["credits"]
    kept = ("sessionId", "accountNumber", "senderAccountNumber", "senderBankCode")
    assert {name: credit[name] for name in kept} == {name: names[name] for name in kept}
    assert (order["money"]["received"], order["returns"]) == ("100.00", [])


def test_a_name_is_as_long_as_it_is_without_its_blanks(http: httpx2.Client) -> None:
    """The longest session id is taken with blanks around it; one letter more is 400 and names the member."""
    advice = {"accountNumber": "0000000000", "amount": "1.00", "currency": "NGN"}
    longest = f"{next(_numbers)}".rjust(64, "s")
    assert told(http, advice, sessionId=f" {longest} ") == told(http, advice, sessionId=longest)
    for name, length in (("sessionId", 65), ("senderAccountNumber", 35), ("senderBankCode", 17)):
        body = {"sessionId": "too-long", **advice, name: "x" * length}
        answer = advise(http, json.dumps(body).encode())
        assert (answer.status_code, answer.json()["description"]) == (400, f"{name} is too long")


def test_a_sender_of_blanks_is_a_sender_that_was_not_told(http: httpx2.Client) -> None:
    """Money that came is not refused because nothing stands where its sender should."""
    advice = {"sessionId": "blank sender", "accountNumber": "0000000000", "amount": "1.00", "currency": "NGN"}
    assert told(http, advice, senderAccountNumber="  ", senderBankCode=" ")["disposition"] == "unmatched"


def test_a_session_id_of_blanks_is_none(http: httpx2.Client) -> None:
    """Without a session id nothing can be told twice, so it is 400."""
    body = {"sessionId": " \t", "accountNumber": "0000000000", "amount": "1.00", "currency": "NGN"}
    answer = advise(http, json.dumps(body).encode())
    assert (answer.status_code, answer.json()["description"]) == (400, "sessionId can not be blank")


def test_a_refund_goes_to_the_account_that_was_meant(http: httpx2.Client) -> None:
    """The bank code of a refund is kept without blanks that fill it up, as those of senders are."""
    reference = f"padded-{next(_numbers)}"
    assert create(http, reference).status_code == 200
    http.post("/sandbox/transfers", json={"orderReference": reference, "amount": "100.00"})
    paid = http.get(f"/v1/opentill/orders/{reference}").json()["data"]["credits"][0]["transactionId"]
    account = {"accountNumber": "0123456789", "bankCode": " 058 "}
    answer = http.post("/v1/checkout/refund", json={"transactionId": paid, **account})
    assert answer.status_code == 200, answer.text
    (refund,) = http.get(f"/v1/opentill/orders/{reference}").json()["data"]["refunds"]
    assert (refund["accountNumber"], refund["bankCode"]) == ("0123456789", "058")
