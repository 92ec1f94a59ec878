"""A merchant's orders over HTTP: lists, previews, and cancels that may be repeated."""

import asyncio
import itertools
import json
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Final

import httpx2
import pytest
from hypothesis import given as for_all
from hypothesis import settings
from hypothesis import strategies as st
from msgspec.structs import replace

from api.golden.state import submit_card
from api.shops import open_shop
from databases import POSTGRES, SQLITE, NewDatabase
from domain import factories
from domain.test_properties import Story, stories
from opentill.api.nomba.replies import late_reply
from opentill.api.own.cancellation import CancelMode, cancellation
from opentill.domain.commands import CancelOrder, RefundOutcome
from opentill.domain.decisions import decide
from opentill.domain.order import CallKind, Order, OrderStatus
from opentill.domain.refusals import Refusal
from opentill.domain.transition import Change
from polling import until
from server import Server, client, signed_in

ORDERS: Final = "/v1/opentill/orders"
DECLINED_CARD: Final = "5484497218317651"
_numbers = itertools.count(1)


@pytest.fixture(scope="module", params=[SQLITE, POSTGRES], ids=str)
def database_kind(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture(scope="module")
def server(new_database: NewDatabase, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A sandbox whose worker never comes by, so that what is due stays unswept."""
    folder = tmp_path_factory.mktemp("orders")
    chosen: dict[str, Any] = {
        "sweep_interval_seconds": 3600,
        "refund_wait_seconds": 0.1,
        "card_timeout_seconds": 60,
    }
    with Server(folder, database_url=new_database(), **chosen) as running:
        yield running


@pytest.fixture
def http(server: Server) -> Iterator[httpx2.Client]:
    with client(server, headers=signed_in(server)) as connection:
        yield connection


def created(http: httpx2.Client, **more: Any) -> str:
    reference = f"order-{next(_numbers)}"
    order = {"orderReference": reference, "amount": "100.00", "currency": "NGN", "customerEmail": "a@b.c"}
    assert http.post("/v1/checkout/order", json={"order": order | more}).status_code == 200
    return reference


def paid(http: httpx2.Client) -> str:
    reference = created(http)
    transaction = submit_card(http, reference).json()["data"]["transactionId"]
    body = {"otp": "9999", "orderReference": reference, "transactionId": transaction}
    assert http.post("/v1/checkout/checkout-card-otp", json=body).json()["data"]["status"] is True
    return reference


def refund(http: httpx2.Client, reference: str, amount: str | None = None) -> str:
    transaction = full_order(http, reference)["attempts"][-1]["transactionId"]
    body = {"transactionId": transaction, "amount": amount}
    assert http.post("/v1/checkout/refund", json=body).json()["data"]["success"] is True
    return reference


def full_order(http: httpx2.Client, reference: str) -> dict[str, Any]:
    data: dict[str, Any] = http.get(f"{ORDERS}/{reference}").json()["data"]
    return data


def preview(http: httpx2.Client, reference: str, **query: str) -> dict[str, Any]:
    data: dict[str, Any] = http.get(f"{ORDERS}/{reference}/cancellation", params=query).json()["data"]
    return data


def cancel(http: httpx2.Client, reference: str, key: str | None = None, **body: Any) -> httpx2.Response:
    headers = {"Idempotency-Key": key} if key else {}
    return http.post(f"{ORDERS}/{reference}/cancel", json=body, headers=headers)


def reply_of(answer: httpx2.Response) -> tuple[int, str, str | None]:
    return answer.status_code, answer.json()["code"], answer.headers.get("refusal-reason")


# --- what is previewed happens --------------------------------------------------------------------


ASK: Final[dict[CancelMode, Callable[..., CancelOrder]]] = {
    CancelMode.ONLY_IF_UNPAID: factories.ensure_cancelled,
    CancelMode.CANCEL_OR_REFUND: partial(factories.cancel_or_refund, refund_id=factories.command_id(999)),
}


@for_all(stories, st.sampled_from(CancelMode), st.integers(0, 60))
@settings(max_examples=150, deadline=None)
def test_the_preview_is_the_outcome_of_a_cancel_of_that_version(
    story: Story, mode: CancelMode, at: int
) -> None:
    """Whatever became of an order, a cancel of the previewed version does what the preview said, no more."""
    order = replace(story.end, order_id=factories.command_id(1))
    seen = cancellation(order, mode, at)
    outcome = _outcome(order, ASK[mode](number=99, if_version=seen.version, reason="test", note="why"), at)
    if isinstance(outcome, Refusal):
        assert (seen.allowed, seen.reason, seen.events, seen.attempts) == (False, outcome.reason, [], [])
        assert seen.status == order.status
        return
    assert (seen.allowed, seen.reason, seen.instead) == (True, None, None)
    assert seen.events == [event.type for event in outcome.events]
    assert (seen.status, seen.version + len(seen.events)) == (outcome.after.status, outcome.after.version)
    assert seen.already_cancelled == (outcome.met is OrderStatus.CANCELLED)
    assert (seen.refund is not None) == (len(outcome.after.refunds) > len(order.refunds))
    assert seen.already_refunded == (outcome.met is OrderStatus.PAID and seen.refund is None)
    assert {fate.transaction_id: fate.becomes for fate in seen.attempts} == _touched(outcome)


def _outcome(order: Order, command: CancelOrder, at: int) -> Change | Refusal:
    try:
        return decide(order, command, at)
    except Refusal as refusal:
        return refusal


def _touched(change: Change) -> dict[str, str]:
    """The attempts that changed, and those whose call goes on."""
    assert change.before is not None
    was = {attempt.transaction_id: attempt for attempt in change.before.attempts}
    return {
        each.transaction_id: each.status
        for each in change.after.attempts
        if each.status is not was[each.transaction_id].status or was[each.transaction_id].call
    }


def _slow_refund(http: httpx2.Client) -> str:
    reference = paid(http)
    switch = {"operation": "refund", "delayMilliseconds": 600_000, "count": 1}
    assert http.post("/sandbox/rail", json=switch).status_code == 200
    return refund(http, reference)


def _due(http: httpx2.Client, member: str) -> str:
    """An order whose time has come and that no worker came by."""
    now = datetime.fromisoformat(full_order(http, created(http))["createdAt"])
    reference = created(http, **{member: (now + timedelta(seconds=0.5)).isoformat()})
    until(lambda: not _possible(http, reference)[1], f"{member} to pass")
    return reference


def _possible(http: httpx2.Client, reference: str) -> list[bool]:
    return [each["allowed"] for each in full_order(http, reference)["allowed"]]


def _with(act: Callable[[httpx2.Client, str], Any]) -> Callable[[httpx2.Client], str]:
    def make(http: httpx2.Client) -> str:
        reference = created(http)
        act(http, reference)
        return reference

    return make


STATES: Final[dict[str, Callable[[httpx2.Client], str]]] = {
    "pending": created,
    "waiting for a password": _with(submit_card),
    "declined": _with(lambda http, reference: submit_card(http, reference, DECLINED_CARD)),
    "paid": paid,
    "refunded in part": lambda http: refund(http, paid(http), "30.00"),
    "refunded": lambda http: refund(http, paid(http)),
    "being refunded": _slow_refund,
    "cancelled": _with(cancel),
    "due to expire": lambda http: _due(http, "expiresAt"),
    "due to be cancelled": lambda http: _due(http, "cancelAt"),
}


@pytest.mark.parametrize("mode", ["only_if_unpaid", "cancel_or_refund"])
@pytest.mark.parametrize("state", STATES)
def test_a_cancel_does_what_its_preview_said(http: httpx2.Client, state: str, mode: str) -> None:
    """Over HTTP, in every state that an order can be brought into: outcome, version and what is reply_of."""
    reference = STATES[state](http)
    before = full_order(http, reference)
    seen = preview(http, reference, mode=mode)
    assert seen["version"] == before["version"]
    answer = cancel(http, reference, mode=mode, ifVersion=seen["version"])
    after = full_order(http, reference)

    if not seen["allowed"]:
        assert reply_of(answer) == (400, "01", seen["reason"])
        assert after == before
        possible = [each["action"] for each in before["allowed"] if each["allowed"]]
        assert seen["instead"] == ("refund" if "refund" in possible else None)
        return
    said = answer.json()["data"]
    added = [event["type"] for event in after["timeline"][len(before["timeline"]) :]]
    assert added[: len(seen["events"])] == seen["events"]
    assert set(added[len(seen["events"]) :]) <= {"payment_refunded"}
    for name in ("status", "alreadyCancelled", "alreadyRefunded"):
        assert said[name] == seen[name]
    assert (after["status"], after["version"]) == (said["status"], said["version"])
    assert (said["refund"] and said["refund"]["amount"]) == (seen["refund"] and seen["refund"]["amount"])
    becomes = {each["transactionId"]: each["status"] for each in after["attempts"]}
    assert all(becomes[fate["transactionId"]] == fate["becomes"] for fate in seen["attempts"])


# --- one order ------------------------------------------------------------------------------------


def test_a_cancel_is_told_and_kept_with_all_that_was_said(http: httpx2.Client) -> None:
    """Reason, note and metadata stand in the timeline and in the feed; asked again it changes nothing."""
    reference = created(http)
    said: dict[str, Any] = {"reason": "out_of_stock", "note": "sold twice", "metadata": {"ticket": "T-1"}}
    first = cancel(http, reference, **said).json()["data"]
    assert first == {
        "status": "CANCELLED",
        "alreadyCancelled": False,
        "version": 2,
        "refund": None,
        "alreadyRefunded": False,
    }
    again = cancel(http, reference, reason="other").json()["data"]
    assert again == first | {"alreadyCancelled": True}

    event = full_order(http, reference)["timeline"][-1]
    assert (event["reason"], event["note"]) == ("out_of_stock", "sold twice")
    assert event["data"] == {"metadata": {"ticket": "T-1"}}
    until(lambda: event in _feed(http), "the event's place in the feed")


def _feed(http: httpx2.Client) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    cursor = ""
    while True:
        page = http.get("/v1/opentill/events", params={"type": "order_cancelled", "after": cursor}).json()[
            "data"
        ]
        if not page["results"]:
            return found
        found, cursor = found + page["results"], page["cursor"]


def test_a_cancel_of_an_older_version_is_a_conflict(http: httpx2.Client) -> None:
    """409 version-changed for a version that was, or never was, and nothing changes; the present one does."""
    reference = created(http)
    submit_card(http, reference, DECLINED_CARD)
    version = full_order(http, reference)["version"]
    for other in (1, version + 1):
        assert reply_of(cancel(http, reference, ifVersion=other)) == (409, "409", "version-changed")
    assert full_order(http, reference)["status"] == "PENDING"
    assert cancel(http, reference, ifVersion=version).status_code == 200


def test_under_its_key_a_cancel_is_answered_as_the_first_time(http: httpx2.Client) -> None:
    """The first answer again, byte for byte, also where it began a refund; another body is 409."""
    for reference, mode in ((created(http), "only_if_unpaid"), (paid(http), "cancel_or_refund")):
        first, again = (cancel(http, reference, key=f"k-{reference}", mode=mode) for _ in range(2))
        assert first.json()["data"]["alreadyCancelled"] is False
        assert first.content == again.content
        assert again.headers["idempotency-replayed"] == "true"
        other = cancel(http, reference, key=f"k-{reference}", mode=mode, note="another")
        assert reply_of(other) == (409, "409", "idempotency-key-reused")
    assert len(full_order(http, reference)["refunds"]) == 1


def test_a_paid_order_is_refunded_once_by_whoever_wants_it_gone(http: httpx2.Client) -> None:
    """The rest goes back by one refund; asked again nothing is left, and no more than was paid goes."""
    reference = refund(http, paid(http), "30.00")
    first = cancel(http, reference, mode="cancel_or_refund", reason="duplicate").json()["data"]
    assert (first["status"], first["refund"]["amount"], first["refund"]["status"]) == (
        "PAID",
        "70.00",
        "DONE",
    )
    again = cancel(http, reference, mode="cancel_or_refund").json()["data"]
    assert (again["refund"], again["alreadyRefunded"], again["alreadyCancelled"]) == (None, True, False)
    assert full_order(http, reference)["amountRefunded"] == "100.00"


def test_a_refund_that_takes_long_is_told_as_far_as_it_is_known(http: httpx2.Client) -> None:
    """The answer comes while the rail still thinks, and stays that under its key."""
    reference = paid(http)
    switch = {"operation": "refund", "delayMilliseconds": 600_000, "count": 1}
    assert http.post("/sandbox/rail", json=switch).status_code == 200
    first, again = (cancel(http, reference, key=f"k-{reference}", mode="cancel_or_refund") for _ in range(2))
    assert first.json()["data"]["refund"]["status"] == "UNKNOWN"
    assert first.content == again.content


WRONG: Final = [
    ({"reason": "boredom"}, "reason is not one of the allowed values"),
    ({"mode": "always"}, "mode is not one of the allowed values"),
    ({"note": "x" * 256}, "note is too long"),
    ({"metadata": {"a": 1}}, "a value of metadata must be a string"),
    ({"metadata": {"a": "\0"}}, "a can not contain control characters"),
    ({"metadata": {str(n): "" for n in range(51)}}, "metadata is too long"),
    ({"ifVersion": 0}, "ifVersion is too small"),
    ({"ifVersion": "1"}, "ifVersion must be a whole number"),
]


@pytest.mark.parametrize(("body", "sentence"), WRONG)
def test_a_cancel_that_can_not_be_understood_says_why(
    http: httpx2.Client, body: dict[str, Any], sentence: str
) -> None:
    """400 02 and a sentence that names the member; nothing is cancelled."""
    reference = created(http)
    answer = cancel(http, reference, **body)
    assert (*reply_of(answer), answer.json()["description"]) == (400, "02", None, sentence)
    assert full_order(http, reference)["status"] == "PENDING"


def test_a_refund_that_a_worker_finished_is_answered_as_a_cancel() -> None:
    """The reply under the key of a cancel whose caller died has a cancel's members, with the refund in it."""
    begun = decide(factories.order(OrderStatus.PAID), factories.cancel_or_refund(), factories.NOW).after
    done = decide(begun, factories.settle_refund(RefundOutcome.DONE, refund_id="F-new"), factories.NOW)
    late = late_reply(400, lambda account, transaction: f"{account}/{transaction}")
    reply = late(CallKind.CANCEL_OR_REFUND, "F-new")(done)
    assert reply is not None
    data = json.loads(reply.body)["data"]
    assert (data["status"], data["version"], data["alreadyRefunded"]) == ("PAID", 9, False)
    assert (data["refund"]["id"], data["refund"]["status"]) == ("F-new", "DONE")


# --- many orders ----------------------------------------------------------------------------------


def cancel_many(http: httpx2.Client, key: str | None = None, **body: Any) -> httpx2.Response:
    return http.post(f"{ORDERS}/cancel", json=body, headers={"Idempotency-Key": key} if key else {})


def outcomes(answer: httpx2.Response) -> dict[str, str]:
    assert answer.status_code == 200, answer.text
    return {each["orderReference"]: each["outcome"] for each in answer.json()["data"]["results"]}


def test_each_order_of_many_has_an_outcome_of_its_own(http: httpx2.Client) -> None:
    """Cancelled now, before, paid, unknown; by either name, each asked once, with reason and metadata."""
    one, two, three = (created(http) for _ in range(3))
    cancel(http, two)
    by_id = full_order(http, three)["orderId"]
    names = [one, two, paid(http), "nobody", by_id, one]
    answer = cancel_many(http, orderReferences=names, reason="test", metadata={"run": "7"})
    words = ["cancelled", "already_cancelled", "already_paid", "not_found", "cancelled"]
    assert outcomes(answer) == dict(zip(names, words, strict=False))
    assert len(answer.json()["data"]["results"]) == 5
    assert answer.json()["data"]["more"] is False
    event = full_order(http, one)["timeline"][-1]
    assert (event["reason"], event["data"]) == ("test", {"metadata": {"run": "7"}})


def test_under_its_key_a_call_for_many_tells_the_same_again(http: httpx2.Client) -> None:
    """Byte for byte, by name and by filter; another body is 409; each order's key is its own."""
    names = [created(http) for _ in range(3)]
    first, again = (cancel_many(http, f"many-{names[0]}", orderReferences=names) for _ in range(2))
    assert set(outcomes(first).values()) == {"cancelled"}
    assert first.content == again.content
    assert again.headers["idempotency-replayed"] == "true"
    other = cancel_many(http, f"many-{names[0]}", orderReferences=names[:1])
    assert reply_of(other) == (409, "409", "idempotency-key-reused")

    mine = created(http, customerId=f"c-{names[0]}")
    by_filter = {"customerId": f"c-{names[0]}"}
    first, again = (cancel_many(http, f"filter-{names[0]}", **by_filter) for _ in range(2))
    assert outcomes(first) == {mine: "cancelled"}
    assert first.content == again.content


def test_a_filter_takes_only_what_can_be_cancelled(server: Server) -> None:
    """Of a merchant of its own: not what is paid, cancelled, of another customer or too young."""
    with client(server, headers=signed_in(server, open_shop(server))) as http:
        mine = [created(http, customerId="c-1") for _ in range(3)]
        other, paid_, gone = created(http, customerId="c-2"), paid(http), created(http, customerId="c-1")
        cancel(http, gone)
        moment = full_order(http, mine[0])["createdAt"]
        assert outcomes(cancel_many(http, createdBefore=moment)) == {}
        assert outcomes(cancel_many(http, customerId="c-1")) == dict.fromkeys(mine, "cancelled")
        assert outcomes(cancel_many(http, createdBefore="2099-01-01T00:00:00Z")) == {other: "cancelled"}
        assert full_order(http, paid_)["status"] == "PAID"


def test_a_filter_that_finds_too_many_is_asked_again(server: Server) -> None:
    """A thousand at a time, newest first; more says so, the cursor goes on, and asking again ends too."""
    with client(server, headers=signed_in(server, open_shop(server))) as http:
        order = {"amount": "1.00", "currency": "NGN", "customerEmail": "a@b.c"}
        asyncio.run(_create_many(server, http, 1003, order))
        first = cancel_many(http, createdBefore="2099-01-01T00:00:00Z").json()["data"]
        assert (len(first["results"]), first["more"]) == (1000, True)
        rest = cancel_many(http, createdBefore="2099-01-01T00:00:00Z", cursor=first["cursor"]).json()["data"]
        assert (len(rest["results"]), rest["more"], rest["cursor"]) == (3, False, "")
        none = cancel_many(http, createdBefore="2099-01-01T00:00:00Z").json()["data"]
        assert none == {"results": [], "more": False, "cursor": ""}


async def _create_many(server: Server, http: httpx2.Client, number: int, order: dict[str, str]) -> None:
    async with httpx2.AsyncClient(base_url=server.url, headers=http.headers, timeout=20) as line:
        for _ in range(0, number, 100):
            body = {"order": order}
            size = min(100, number)
            number -= size
            await asyncio.gather(*(line.post("/v1/checkout/order", json=body) for _ in range(size)))


WRONG_MANY: Final = [
    ({}, "one of orderReferences, createdBefore and customerId must be given"),
    ({"orderReferences": None}, "one of orderReferences, createdBefore and customerId must be given"),
    ({"orderReferences": []}, "orderReferences can not be empty"),
    ({"orderReferences": [str(n) for n in range(1001)]}, "orderReferences is too long"),
    ({"orderReferences": ["a", " "]}, "orderReferences can not be blank"),
    ({"orderReferences": ["a", "x" * 256]}, "orderReferences is too long"),
    ({"orderReferences": ["a", 1]}, "a value of orderReferences must be a string"),
    (
        {"orderReferences": ["a"], "customerId": "c"},
        "orderReferences can not be given together with a filter",
    ),
    ({"createdBefore": "tomorrow"}, "createdBefore must be an ISO-8601 date or time"),
    ({"createdBefore": "1970-01-01"}, "createdBefore must lie between 2000-01-01 and 2200-01-01"),
    ({"customerId": "c", "cursor": "x"}, "cursor is not valid"),
]


@pytest.mark.parametrize(("body", "sentence"), WRONG_MANY)
def test_a_call_for_many_that_can_not_be_understood_says_why(
    http: httpx2.Client, body: dict[str, Any], sentence: str
) -> None:
    """400 02 and a sentence that names the member; none of the orders is touched."""
    answer = cancel_many(http, **body)
    assert (*reply_of(answer), answer.json()["description"]) == (400, "02", None, sentence)


def test_a_thousand_of_the_longest_references_are_taken(http: httpx2.Client) -> None:
    """The largest call that the contract allows is not too large, however its letters are written."""
    names = [f"{n:03}" + "ß" * 252 for n in range(1000)]
    assert len(json.dumps(names)) > 65_536
    assert set(outcomes(cancel_many(http, orderReferences=names)).values()) == {"not_found"}


# --- lists ----------------------------------------------------------------------------------------


def listed(http: httpx2.Client, **query: Any) -> dict[str, Any]:
    answer = http.get(ORDERS, params=query)
    assert answer.status_code == 200, answer.text
    data: dict[str, Any] = answer.json()["data"]
    return data


def test_orders_are_listed_page_by_page_and_searched(server: Server) -> None:
    """Newest first; each filter alone and together; a cursor is good although orders are added meanwhile."""
    with client(server, headers=signed_in(server, open_shop(server))) as http:
        names = [created(http, customerEmail=f"{n % 2}@b.c") for n in range(5)]
        cancel(http, names[1])
        first = listed(http, limit=2)
        assert [each["orderReference"] for each in first["results"]] == names[:2:-1]
        created(http)
        second = listed(http, limit=2, cursor=first["cursor"])
        third = listed(http, limit=2, cursor=second["cursor"])
        assert [each["orderReference"] for each in second["results"] + third["results"]] == names[2::-1]
        assert third["cursor"] == ""

        def found(**query: Any) -> list[str]:
            return [each["orderReference"] for each in listed(http, **query)["results"]]

        full = full_order(http, names[1])
        assert found(status="CANCELLED") == found(reference=full["orderId"]) == [names[1]]
        assert found(customerEmail="1@b.c") == [names[3], names[1]]
        assert found(customerEmail="1@b.c", status="PENDING") == [names[3]]
        assert found(reference=names[0], status="PAID") == found(reference="nobody") == []
        assert found(createdAfter=full["createdAt"], createdBefore=full["createdAt"]) == []
        assert names[0] not in found(createdAfter=full["createdAt"])
        assert found(createdBefore="2000-01-01") == []
        (shown,) = listed(http, status="CANCELLED")["results"]
        assert shown == {name: full[name] for name in shown}
        assert {"version", "createdAt", "dueAt", "endedAt", "status"} <= set(shown)


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        ({"status": "paid"}, "status is not one of the allowed values"),
        ({"limit": "0"}, "limit is too small"),
        ({"limit": "501"}, "limit is too large"),
        ({"cursor": "x"}, "cursor is not valid"),
        ({"createdAfter": "yesterday"}, "createdAfter must be an ISO-8601 date or time"),
        ({"createdBefore": "1"}, "createdBefore must be an ISO-8601 date or time"),
    ],
)
def test_a_list_that_can_not_be_understood_says_why(
    http: httpx2.Client, query: dict[str, str], sentence: str
) -> None:
    """400 02 and a sentence that names the parameter."""
    answer = http.get(ORDERS, params=query)
    assert (*reply_of(answer), answer.json()["description"]) == (400, "02", None, sentence)


# --- whose orders ---------------------------------------------------------------------------------

ROUTES: Final[dict[str, Callable[[httpx2.Client, str], httpx2.Response]]] = {
    "in full": lambda http, name: http.get(f"{ORDERS}/{name}"),
    "preview": lambda http, name: http.get(f"{ORDERS}/{name}/cancellation"),
    "preview of a refund": lambda http, name: http.get(f"{ORDERS}/{name}/cancellation?mode=cancel_or_refund"),
    "cancel": cancel,
    "cancel of a version": lambda http, name: cancel(http, name, ifVersion=99),
    "cancel or refund": lambda http, name: cancel(http, name, mode="cancel_or_refund"),
    "cancel under a key": lambda http, name: cancel(http, name, key=f"tenant-{next(_numbers)}"),
}


@pytest.mark.parametrize("route", ROUTES)
def test_a_foreign_order_can_not_be_told_from_an_unknown_one(server: Server, route: str) -> None:
    """By either of its names: the same 404, and the order stays as it was."""
    with client(server, headers=signed_in(server)) as http:
        mine = paid(http)
        before = full_order(http, mine)
        with client(server, headers=signed_in(server, open_shop(server))) as other:
            unknown = ROUTES[route](other, "nobody")
            for name in (mine, before["orderId"]):
                foreign = ROUTES[route](other, name)
                assert reply_of(foreign) == reply_of(unknown) == (404, "404", None)
                assert foreign.content == unknown.content
                assert "refusal-reason" not in foreign.headers
        assert full_order(http, mine) == before


def test_lists_and_calls_for_many_see_only_ones_own(server: Server) -> None:
    """Another merchant's orders are in no list, found by no filter, and not found by their names."""
    with client(server, headers=signed_in(server)) as http:
        mine = created(http, customerId="c-shared", customerEmail="shared@b.c")
        order_id = full_order(http, mine)["orderId"]
        cursor = listed(http, limit=1)["cursor"]
        with client(server, headers=signed_in(server, open_shop(server))) as other:
            assert listed(other)["results"] == listed(other, cursor=cursor)["results"] == []
            assert listed(other, reference=mine)["results"] == []
            assert listed(other, customerEmail="shared@b.c")["results"] == []
            assert outcomes(cancel_many(other, customerId="c-shared")) == {}
            named = outcomes(cancel_many(other, orderReferences=[mine, order_id, "nobody"]))
            assert set(named.values()) == {"not_found"}
        assert full_order(http, mine)["status"] == "PENDING"
