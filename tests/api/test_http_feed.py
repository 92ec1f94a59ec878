"""The feed and the stream of a real server: nothing missing, nothing twice, and nobody else's."""

import time
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx2
import pytest

from api.golden.state import cancel, create, submit_card
from api.hearing import Listener, listening
from api.shops import open_shop
from polling import until
from server import Server, client, issue, signed_in

EVENTS = "/v1/opentill/events"
REFUSED_CARD = "5484497218317651"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(tmp_path_factory.mktemp("feed"), sweep_interval_seconds=0.1) as running:
        yield running


@pytest.fixture
def shop(server: Server) -> Iterator[httpx2.Client]:
    """A merchant of this test alone."""
    credentials = open_shop(server)
    with client(server, headers=signed_in(server, credentials)) as http:
        yield http


def feed(http: httpx2.Client, **query: str) -> dict[str, Any]:
    answer = http.get(EVENTS, params=query)
    assert answer.status_code == 200, answer.text
    data: dict[str, Any] = answer.json()["data"]
    return data


def whole_feed(http: httpx2.Client, limit: int) -> list[dict[str, Any]]:
    """All events, page by page."""
    events, page = [], feed(http, limit=str(limit))
    while page["results"]:
        events += page["results"]
        page = feed(http, limit=str(limit), after=page["cursor"])
    return events


def types_told(http: httpx2.Client) -> list[str]:
    return [event["type"] for event in feed(http)["results"]]


# --- a merchant can rebuild its state -------------------------------------------------------------


def pay(http: httpx2.Client, reference: str) -> str:
    transaction: str = submit_card(http, reference).json()["data"]["transactionId"]
    body = {"otp": "9999", "orderReference": reference, "transactionId": transaction}
    assert http.post("/v1/checkout/checkout-card-otp", json=body).json()["data"]["status"] is True
    return transaction


def trade(http: httpx2.Client) -> list[str]:
    """Orders that end in every way; returns their references."""
    for reference in ("open", "cancelled", "paid", "refunded", "declined"):
        assert create(http, reference, orderMetaData={"of": reference}).status_code == 200
    assert create(http, "expired", expiresInSeconds=1).status_code == 200
    cancel(http, "cancelled")
    pay(http, "paid")
    transaction = pay(http, "refunded")
    for amount in ("30.00", "20.50"):
        refund = {"transactionId": transaction, "amount": amount}
        assert http.post("/v1/checkout/refund", json=refund).json()["data"]["success"] is True
    submit_card(http, "declined", REFUSED_CARD)
    until(lambda: "order_expired" in types_told(http), "the order has expired")
    return ["open", "cancelled", "paid", "refunded", "declined", "expired"]


def rebuilt(events: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """The orders, from what the feed tells and nothing else."""
    orders: dict[str, dict[str, Any]] = {}
    for event in events:
        data, reference = event["data"], event["orderReference"]
        if event["type"] == "order_created":
            orders[reference] = data | {"paid": Decimal(0), "refunded": Decimal(0)}
        order, amount = orders[reference], Decimal(data.get("amount", "0"))
        if event["type"] == "payment_success":
            order["paid"] += amount
        if event["type"] == "refund_started":
            order["refunded"] += amount
        order |= {"status": event["after"], "version": event["sequence"]}
    return orders


def test_the_feed_alone_tells_the_state_of_every_order(shop: httpx2.Client) -> None:
    """Orders rebuilt from the feed, three events at a time, are the orders that the server has."""
    references = trade(shop)
    orders = rebuilt(whole_feed(shop, limit=3))
    assert set(orders) == set(references)
    for reference in references:
        known = shop.get(f"/v1/opentill/orders/{reference}").json()["data"]
        order = orders[reference]
        same = ("orderId", "accountId", "amount", "currency", "customerEmail", "status", "version")
        assert {name: order[name] for name in same} == {name: known[name] for name in same}
        assert (order["paid"], order["refunded"]) == (
            Decimal(known["amountPaid"]),
            Decimal(known["amountRefunded"]),
        )
        assert order.get("orderMetaData", {}) == known["orderMetaData"]
    assert {order["status"] for order in orders.values()} >= {"PAID", "CANCELLED"}


def test_each_order_stands_in_its_own_sequence(shop: httpx2.Client) -> None:
    """In the feed every order's events are numbered 1, 2, 3 ... without a gap and without a repetition."""
    trade(shop)
    sequences: dict[str, list[int]] = {}
    for event in whole_feed(shop, limit=4):
        sequences.setdefault(event["orderReference"], []).append(event["sequence"])
    assert all(numbers == list(range(1, len(numbers) + 1)) for numbers in sequences.values())


def test_a_narrowed_feed_moves_on_behind_what_it_leaves_out(shop: httpx2.Client) -> None:
    """With types the cursor passes over all other events that were there, and misses none that come later."""
    for number in range(3):
        create(shop, f"o{number}")
    until(lambda: len(types_told(shop)) == 3, "all are told")
    page = feed(shop, type="order_cancelled")
    assert page == {"results": [], "cursor": feed(shop, after="latest")["cursor"]}
    cancel(shop, "o1")
    until(lambda: "order_cancelled" in types_told(shop), "it is told")
    (event,) = feed(shop, type="order_cancelled", after=page["cursor"])["results"]
    assert event["orderReference"] == "o1"


def test_a_cursor_of_another_merchant_shows_nothing_of_theirs(server: Server, shop: httpx2.Client) -> None:
    """A cursor is a place in one's own feed, whoever it was made for."""
    create(shop, "mine")
    until(lambda: types_told(shop), "it is told")
    cursor = feed(shop, limit="1")["cursor"]
    with client(server, headers=signed_in(server, open_shop(server))) as curious:
        assert feed(curious)["results"] == []
        assert feed(curious, after=cursor)["results"] == []


# --- the stream -----------------------------------------------------------------------------------


@pytest.mark.alone
def test_the_stream_tells_what_happens_as_it_happens(tmp_path: Path) -> None:
    """Whichever process an event came from, an open stream tells it soon, in the words of the feed."""
    with Server(tmp_path, workers=2) as server, client(server) as http:
        with listening(http, "?after=latest") as stream:
            for number in range(10):
                with client(server) as again:  # a connection that either process may have
                    create(again, f"o{number}")
            created = stream.hear(10)
            began = time.monotonic()
            cancel(http, "o9")
            created += stream.hear(1)
            assert time.monotonic() - began < 5
        page = feed(http, after=feed(http, limit="1")["cursor"])
    assert page["results"] == [event.data for event in created]
    assert page["cursor"] == created[-1].cursor


def test_a_stream_goes_on_where_it_broke_off(shop: httpx2.Client) -> None:
    """With what was heard last, nothing is missing and nothing comes twice; it wins over ``after``."""
    heard: list[str] = []
    last = ""
    for number in range(12):
        create(shop, f"o{number}")
    for taken in (1, 4, 7):
        with listening(shop, "?after=ZXZlbnQ6MA==", **({"Last-Event-ID": last} if last else {})) as stream:
            events = stream.hear(taken)
        heard += [event.data["orderReference"] for event in events]
        last = events[-1].cursor
    assert heard == [f"o{number}" for number in range(12)]


def test_a_stream_may_begin_now_and_with_some_types(shop: httpx2.Client) -> None:
    """``after=latest`` leaves out the past, ``type`` what is not wanted."""
    create(shop, "past")
    cancel(shop, "past")
    until(lambda: len(types_told(shop)) == 2, "the past is told")
    with listening(shop, "?after=latest&type=order_cancelled") as stream:
        create(shop, "present")
        cancel(shop, "present")
        (event,) = stream.hear(1)
    assert (event.type, event.data["orderReference"]) == ("order_cancelled", "present")


def test_a_long_past_is_told_in_full(shop: httpx2.Client) -> None:
    """More events than fit into one piece of a stream come in their order."""
    for number in range(130):
        create(shop, f"o{number}")
    with listening(shop) as stream:
        told = [event.data["orderReference"] for event in stream.hear(130)]
    assert told == [f"o{number}" for number in range(130)]


@pytest.mark.alone
def test_a_stream_ends_with_its_token(server: Server) -> None:
    """Revoking the token ends the stream, in order and soon; what happens then is not told any more."""
    credentials = open_shop(server)
    pair = issue(server, credentials)
    account_id = credentials["OPENTILL_ACCOUNT_ID"]
    headers = {"Authorization": pair["access_token"], "accountId": account_id}
    with client(server, headers=headers) as http, listening(http) as stream:
        assert create(http, "before").status_code == 200
        stream.hear(1)
        end = {"clientId": credentials["OPENTILL_CLIENT_ID"], "access_token": pair["access_token"]}
        assert http.post("/v1/auth/token/revoke", json=end).status_code == 200
        began = time.monotonic()
        assert stream.rest() == []
        assert time.monotonic() - began < 4
        assert http.get(f"{EVENTS}/stream").status_code == 401


def test_only_so_many_streams_are_open(tmp_path: Path) -> None:
    """One merchant has at most half of them; beyond it is 503 with Retry-After until one is closed."""
    with Server(tmp_path, max_open_streams=4) as server, client(server) as http:
        with listening(http), listening(http):
            refused = http.get(f"{EVENTS}/stream")
            assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
            assert http.get(EVENTS).status_code == 200
            with client(server, headers=signed_in(server, open_shop(server))) as other, listening(other):
                pass
        until(lambda: _opens(http), "a place is free again")


def _opens(http: httpx2.Client) -> bool:
    with http.stream("GET", f"{EVENTS}/stream") as answer:
        return answer.status_code == 200


@pytest.mark.alone
@pytest.mark.parametrize("workers", [1, 2])
def test_open_streams_end_at_once_when_the_server_stops(tmp_path: Path, workers: int) -> None:
    """SIGTERM: each stream ends in order, and nobody waits for the time that open requests may take."""
    with Server(tmp_path, workers=workers, shutdown_seconds=30) as server:
        with client(server) as http, listening(http) as one, listening(http) as two:
            began = time.monotonic()
            assert server.stop() == 0
            assert time.monotonic() - began < 5
            assert _ends_in_order(one)
            assert _ends_in_order(two)
        logged = server.log_file.read_text()
    assert "Exception" not in logged
    assert "stream_failed" not in logged


def _ends_in_order(stream: Listener) -> bool:
    """Return whether the stream came to its own end; a torn connection raises instead."""
    return not any(line.startswith("data") for line in stream.rest() if "opentill-demo" not in line)
