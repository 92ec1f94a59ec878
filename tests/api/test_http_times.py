"""Times over HTTP: none is taken that can not be shown, and money that came is never refused for one."""

import itertools
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any, Final

import httpx2
import pytest

from api.golden.state import create, submit_card
from databases import POSTGRES, SQLITE, NewDatabase
from server import Server, client, signed_in

ORDERS: Final = "/v1/opentill/orders"
POISON: Final = [
    "9999-12-31T23:59:59-14:00",
    "0001-01-01T00:00:00+01:00",
    "2200-01-01T00:00:00.001Z",
]
_numbers = itertools.count(1)


@pytest.fixture(scope="module", params=[SQLITE, POSTGRES], ids=str)
def database_kind(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture(scope="module")
def server(new_database: NewDatabase, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(tmp_path_factory.mktemp("times"), database_url=new_database()) as running:
        yield running


@pytest.fixture
def http(server: Server) -> Iterator[httpx2.Client]:
    with client(server, headers=signed_in(server)) as connection:
        yield connection


def order_of(http: httpx2.Client, **more: object) -> str:
    reference = f"timed-{next(_numbers)}"
    assert create(http, reference, **more).status_code == 200
    return reference


def in_full(http: httpx2.Client, reference: str) -> dict[str, Any]:
    answer = http.get(f"{ORDERS}/{reference}")
    assert answer.status_code == 200, answer.text
    data: dict[str, Any] = answer.json()["data"]
    return data


def arrive(http: httpx2.Client, reference: str, **told: object) -> httpx2.Response:
    return http.post("/sandbox/transfers", json={"orderReference": reference, "amount": "100.00", **told})


# --- where something is asked for -------------------------------------------------------------------


@pytest.mark.parametrize("field", ["expiresAt", "cancelAt"])
@pytest.mark.parametrize("text", POISON)
def test_an_order_does_not_end_at_a_time_that_can_not_be_shown(
    http: httpx2.Client, field: str, text: str
) -> None:
    """400 02 with the range, no order is made, and every list still reads."""
    reference = f"poison-{field}-{POISON.index(text)}"
    answer = create(http, reference, **{field: text})
    assert http.get(ORDERS).status_code == 200, "the list is poisoned"
    assert answer.status_code == 400
    sentence = f"{field} must lie between 2000-01-01 and 2200-01-01"
    assert answer.json() == {"code": "02", "description": sentence, "data": None}
    assert http.get(f"{ORDERS}/{reference}").status_code == 404


def test_an_order_ends_at_the_time_that_was_meant(http: httpx2.Client) -> None:
    """A due time without seconds, with a short offset or many decimals is the moment that it says."""
    for text in ("2099-01-01T01:00+0100", "20990101T000000.000000000Z", "2098-12-31T24:00Z"):
        assert in_full(http, order_of(http, expiresAt=text))["dueAt"] == "2099-01-01T00:00:00.000Z"


# --- where money is told ----------------------------------------------------------------------------


@pytest.mark.parametrize("text", [*POISON, "yesterday", "2026-01-01T00:00:00", "2026-02-30T00:00:00Z"])
def test_money_is_taken_whatever_time_is_told_of_it(http: httpx2.Client, text: str) -> None:
    """It pays, its arrival counts, the timeline says what was told, and everything reads as before."""
    reference = order_of(http)
    answer = arrive(http, reference, transferredAt=text)
    assert answer.status_code == 200, answer.text
    assert answer.json()["data"]["disposition"] == "applied"
    order = in_full(http, reference)
    assert order["status"] == "PAID"
    (credit,) = order["credits"]
    assert credit["transferredAt"] == credit["arrivedAt"]
    (received,) = [each for each in order["timeline"] if each["type"] == "credit_received"]
    assert received["note"] == f"the bank's time can not be used, so the arrival counts: {text}"


def test_a_time_that_is_not_told_is_not_remarked_upon(http: httpx2.Client) -> None:
    """A credit without a time, or with a blank one, has no note: there is nothing to doubt."""
    told: tuple[dict[str, object], ...] = ({}, {"transferredAt": " "})
    for each in told:
        reference = order_of(http)
        assert arrive(http, reference, **each).status_code == 200
        timeline = in_full(http, reference)["timeline"]
        (received,) = [event for event in timeline if event["type"] == "credit_received"]
        assert received["note"] is None


# --- lists ------------------------------------------------------------------------------------------


def test_all_lists_begin_and_end_alike(server: Server) -> None:
    """A beginning belongs to a list, a time as its end does not, a date as its end is in it as a whole."""
    with client(server, headers=signed_in(server)) as http:
        reference = order_of(http)
        submit_card(http, reference)
        full = in_full(http, reference)
        began = full["attempts"][0]["startedAt"]
        a_bit_later = (datetime.fromisoformat(began) + timedelta(milliseconds=1)).isoformat()

        def transactions(**days: str) -> bool:
            query = {"dateFrom": began, **days}
            answer = http.get("/v1/transactions/accounts", params=query)
            return any(
                each["onlineCheckoutOrderReference"] == reference for each in answer.json()["data"]["results"]
            )

        assert transactions(dateTo=a_bit_later)
        assert not transactions(dateTo=began)
        assert transactions(dateFrom=began[:10], dateTo=began[:10])
        assert transactions(dateFrom=began, dateTo=began[:10])


def test_what_a_cancel_by_filter_takes_is_what_the_list_shows(http: httpx2.Client) -> None:
    """The same createdBefore, also as a date or without an offset, names the same orders in both."""
    customer = f"customer-{next(_numbers)}"
    reference = order_of(http, customerId=customer)
    created_at = in_full(http, reference)["createdAt"]
    for text in (created_at, created_at[:-1], created_at[:10], "2000-01-01"):
        shown = http.get(ORDERS, params={"createdBefore": text}).json()["data"]["results"]
        assert reference not in [each["orderReference"] for each in shown]
        body = {"createdBefore": text, "customerId": customer}
        answer = http.post(f"{ORDERS}/cancel", json=body)
        assert answer.status_code == 200, answer.text
        assert answer.json()["data"]["results"] == []


def test_a_plus_that_a_query_made_a_blank_is_a_plus(http: httpx2.Client) -> None:
    """An offset that was not escaped in a URL means what its writer meant."""
    reference = order_of(http)
    query = "createdAfter=2026-01-01T00:00:00+01:00&limit=500"
    answer = http.get(f"{ORDERS}?{query}")
    assert answer.status_code == 200, answer.text
    assert reference in [each["orderReference"] for each in answer.json()["data"]["results"]]


@pytest.mark.parametrize(
    ("path", "name", "body"),
    [
        (ORDERS, "createdAfter", None),
        (ORDERS, "createdBefore", None),
        ("/v1/transactions/accounts", "dateFrom", None),
        ("/v1/transactions/accounts", "dateTo", None),
        ("/v1/checkout/tokenized-card-data", "startDate", None),
        ("/v1/checkout/tokenized-card-data", "endDate", None),
        ("/v1/webhooks/event-logs", "startDateTime", {}),
        ("/v1/webhooks/event-logs", "endDateTime", {}),
        ("/v1/webhooks/replay", "startDate", {"endDate": "2026-01-01"}),
        ("/v1/webhooks/replay", "endDate", {"startDate": "2026-01-01"}),
        (f"{ORDERS}/cancel", "createdBefore", {}),
    ],
)
def test_no_list_is_of_a_time_outside_of_the_range(
    server: Server, http: httpx2.Client, path: str, name: str, body: dict[str, str] | None
) -> None:
    """Each says so with 400 02 and the range, for a date and for a time."""
    for text in ("1970-01-01", *POISON):
        if body is None:
            answer = http.get(path, params={name: text})
        else:
            account = {"coreUserId": server.credentials["OPENTILL_ACCOUNT_ID"]}
            answer = http.post(path, json={**account, **body, name: text})
        sentence = f"{name} must lie between 2000-01-01 and 2200-01-01"
        assert answer.json() == {"code": "02", "description": sentence, "data": None}
        assert answer.status_code == 400
