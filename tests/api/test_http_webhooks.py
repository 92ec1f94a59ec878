"""Webhook endpoints and the debug calls on a real server, with a real receiver."""

import base64
import json
import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx2
import pytest

from api.golden.state import cancel, create, rows
from api.shops import open_shop
from opentill.webhooks.signature import USER_AGENT, verify
from polling import until
from server import Server, client, signed_in
from webhooks.receiver import HANGS_UP, OK, SILENT, Behaviour, Post, Reaction, Receiver, always, answer

ENDPOINTS = "/v1/opentill/webhook-endpoints"
DEBUG = "/v1/webhooks"
KEY = "a signing key of the merchant"
NOBODY = "http://127.0.0.1:1/hook"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("webhooks")
    with Server(folder, webhook_timeout_seconds=0.5, webhook_schedule_seconds="") as running:
        yield running


@pytest.fixture
def shop(server: Server) -> Iterator[httpx2.Client]:
    """A merchant of this test alone."""
    with client(server, headers=signed_in(server, open_shop(server))) as http:
        yield http


def data(answer: httpx2.Response) -> dict[str, Any]:
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()["data"]
    return found


def add(http: httpx2.Client, url: str, **more: object) -> dict[str, Any]:
    return data(http.post(ENDPOINTS, json={"url": url, "events": ["order_cancelled"]} | more))


def listed(http: httpx2.Client) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = data(http.get(ENDPOINTS))["results"]
    return found


def debug(http: httpx2.Client, call: str, **body: object) -> list[dict[str, Any]]:
    answer = http.post(f"{DEBUG}/{call}", json=body)
    assert answer.json()["code"] == "200", answer.text
    found: list[dict[str, Any]] = data(answer)["results"]
    return found


def logs(http: httpx2.Client, **more: object) -> list[dict[str, Any]]:
    return debug(http, "event-logs", coreUserId=http.headers["accountId"], **more)


def statuses(http: httpx2.Client) -> list[str]:
    return [entry["status"] for entry in logs(http)]


def deliveries(receiver: Receiver) -> list[Post]:
    """Return what came to a receiver after the first delivery, which is empty."""
    return [post for post in receiver.posts if post.body != b"{}"]


def end_an_order(http: httpx2.Client, reference: str) -> None:
    assert create(http, reference).status_code == 200
    assert cancel(http, reference).status_code == 200


# --- registration ---------------------------------------------------------------------------------


def test_a_new_endpoint_gets_a_first_delivery(shop: httpx2.Client) -> None:
    """It is an empty object under our name, signed as all others by the key that is shown."""
    with Receiver() as receiver:
        added = add(shop, receiver.url, signingKey=KEY)
        (post,) = receiver.posts
    assert added["ping"] == {"delivered": True, "status": 200, "message": "It answered with HTTP 200."}
    assert (post.body, post.headers["user-agent"]) == (b"{}", USER_AGENT)
    findings = verify(post.body, post.headers, added["signingKey"])
    assert len(findings) == 3
    assert not any(finding.fault for finding in findings)


@pytest.mark.parametrize("reaction", [answer(500), answer(301, Location="/"), HANGS_UP, SILENT])
def test_a_first_delivery_that_fails_is_told_and_refuses_nothing(
    shop: httpx2.Client, reaction: Reaction
) -> None:
    """Whatever the receiver does with it, the endpoint is added, and its merchant hears what happened."""
    with Receiver(always(reaction)) as receiver:
        added = add(shop, receiver.url)
    assert added["ping"]["delivered"] is False
    assert added["ping"]["message"].endswith(".")
    assert [each["id"] for each in listed(shop)] == [added["id"]]


def test_a_key_is_shown_when_it_is_set_and_never_again(server: Server, shop: httpx2.Client) -> None:
    """Only what sets a key shows it; it is in no list, and in no table as it is, replays included."""
    headers = {"Idempotency-Key": "shown-again"}
    first = shop.post(ENDPOINTS, json={"url": NOBODY, "signingKey": KEY}, headers=headers)
    endpoint = f"{ENDPOINTS}/{data(first)['id']}"
    rotated = data(shop.post(f"{endpoint}/rotate-key", headers={"Idempotency-Key": "rotated"}))
    assert data(first)["signingKey"] == KEY
    assert len(rotated["signingKey"]) == 44
    later = [shop.get(ENDPOINTS).text, shop.patch(endpoint, json={}).text]
    later.append(shop.post(f"{endpoint}/finish-rotation").text)
    stored = [row[6] for row in rows(server)["idempotency_keys"] if "shown-again" in row or "rotated" in row]
    assert len(stored) == 2
    later += [repr(base64.b64decode(str(reply))) for reply in stored]
    for text in (*later, repr(rows(server)), server.log_file.read_text()):
        assert KEY not in text
        assert rotated["signingKey"] not in text
    again = shop.post(ENDPOINTS, json={"url": NOBODY, "signingKey": KEY}, headers=headers)
    assert (again.content, again.headers["idempotency-replayed"]) == (first.content, "true")


def test_where_loopback_is_not_allowed_its_urls_are_refused(tmp_path: Path) -> None:
    """This machine, its name and what other programs take for its address are no endpoint."""
    with Server(tmp_path, allow_loopback_webhooks=False) as server, client(server) as http:
        for url in ("http://127.0.0.1/", "http://localhost:8480/", "http://[::1]/", "http://2130706433/"):
            refused = http.post(ENDPOINTS, json={"url": url})
            assert (refused.status_code, refused.json()["code"]) == (400, "02"), url
            assert refused.json()["description"].startswith("url "), url
        assert listed(http) == []


def test_a_server_that_others_reach_says_that_webhooks_may_come_back(tmp_path: Path) -> None:
    """Allowed loopback is shouted into the log, except in a sandbox on loopback, where it is the default."""
    shout = "WEBHOOKS_MAY_REACH_THIS_MACHINE"
    live: dict[str, Any] = {"mode": "live", "secret_key": "5e" * 32}
    with Server(tmp_path / "live", allow_loopback_webhooks=True, **live) as server:
        assert shout in server.log_file.read_text()
    with Server(tmp_path / "own") as server:
        assert shout not in server.log_file.read_text()


# --- once per idempotency key ---------------------------------------------------------------------


def test_two_requests_with_one_key_add_one_endpoint(shop: httpx2.Client) -> None:
    """The second waits for the first, whose receiver takes its time, and gets the very same answer."""

    def ask(_number: int) -> httpx2.Response:
        return shop.post(ENDPOINTS, json={"url": receiver.url}, headers={"Idempotency-Key": "twice"})

    with Receiver(always(answer(200, after_seconds=0.3))) as receiver, ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(ask, range(4)))
        assert len(receiver.posts) == 1
    assert {each.status_code for each in answers} == {200}
    assert len({each.content for each in answers}) == 1
    assert sorted("idempotency-replayed" in each.headers for each in answers) == [False, True, True, True]
    assert len(listed(shop)) == 1


def test_a_request_that_broke_off_adds_nothing_twice(tmp_path: Path) -> None:
    """A server killed in the middle leaves the key claimed; when that is over the same endpoint is told."""
    body, headers = {"url": "", "signingKey": KEY}, {"Idempotency-Key": "torn"}
    settings: dict[str, Any] = {"webhook_timeout_seconds": 30, "idempotency_wait_seconds": 0}
    with Receiver(lambda number: SILENT if number == 0 else OK) as receiver:
        body["url"] = receiver.url
        with Server(tmp_path, **settings) as server, client(server) as http, ThreadPoolExecutor(1) as pool:
            torn = pool.submit(http.post, ENDPOINTS, json=body, headers=headers)
            until(lambda: receiver.posts, "the first delivery is under way")
            server.kill()
            assert isinstance(torn.exception(), httpx2.TransportError)
        with Server(tmp_path, **settings) as server, client(server) as http:
            (added,) = listed(http)
            running = http.post(ENDPOINTS, json=body, headers=headers)
            assert running.headers["refusal-reason"] == "idempotency-key-in-progress"
            _let_claims_run_out(server)
            assert data(http.post(ENDPOINTS, json=body, headers=headers))["id"] == added["id"]
            assert len(listed(http)) == 1
            assert http.post(ENDPOINTS, json=body, headers=headers).headers["idempotency-replayed"] == "true"


def _let_claims_run_out(server: Server) -> None:
    with closing(sqlite3.connect(server.data / "opentill.db")) as database:
        database.execute("UPDATE idempotency_keys SET expires_at = 1")
        database.commit()


# --- what is told, and to whom --------------------------------------------------------------------


def test_an_ending_reaches_the_endpoint_signed_by_the_merchants_key(server: Server) -> None:
    """Without a key of its own an endpoint's deliveries are signed by the key of ``sandbox.env``."""
    with client(server) as http, Receiver() as receiver:
        endpoint = add(http, receiver.url, events=["order_cancelled", "payment_success"])
        end_an_order(http, "told")
        until(lambda: deliveries(receiver), "the ending is delivered")
        (post,) = deliveries(receiver)
        http.delete(f"{ENDPOINTS}/{endpoint['id']}")
    told = json.loads(post.body)
    assert (told["event_type"], told["data"]["order"]["orderReference"]) == ("order_cancelled", "told")
    findings = verify(post.body, post.headers, server.credentials["OPENTILL_WEBHOOK_KEY"])
    assert findings
    assert not any(finding.fault for finding in findings)


def test_a_rotation_changes_who_signs_at_its_end(shop: httpx2.Client) -> None:
    """Until it is finished the old key signs and both verify; then the new one does, alone."""

    def faults(reference: str, key: str) -> list[str]:
        end_an_order(shop, reference)
        until(lambda: any(reference.encode() in post.body for post in receiver.posts), "it is told")
        post = next(post for post in receiver.posts if reference.encode() in post.body)
        return [finding.header for finding in verify(post.body, post.headers, key) if finding.fault]

    nombas = ["nomba-signature", "nomba-sig-value"]
    with Receiver() as receiver:
        endpoint = f"{ENDPOINTS}/{add(shop, receiver.url, signingKey=KEY)['id']}"
        new = data(shop.post(f"{endpoint}/rotate-key"))["signingKey"]
        assert faults("rotating-1", KEY) == []
        assert faults("rotating-2", new) == nombas
        assert data(shop.post(f"{endpoint}/finish-rotation"))["rotating"] is False
        assert faults("rotated-1", new) == []
        assert faults("rotated-2", KEY) == [*nombas, "webhook-signature"]


def test_a_paused_endpoint_is_shown_and_resumed(tmp_path: Path) -> None:
    """One that did nothing but fail is paused and keeps what waits for it; a change lets all of it go out."""
    settings: dict[str, Any] = {
        "webhook_schedule_seconds": "1,1,3600",
        "webhook_pause_hours": 0.0001,
        "webhook_pause_tries": 2,
    }
    with Server(tmp_path, **settings) as server, client(server) as http, Receiver() as receiver:
        endpoint = f"{ENDPOINTS}/{add(http, NOBODY)['id']}"
        end_an_order(http, "waits")
        until(lambda: listed(http)[0]["state"] == "paused", "it is paused")
        (paused,) = listed(http)
        assert paused["pausedAt"] >= paused["failingSince"]
        assert [(told["type"], told["data"], told["actor"]["kind"]) for told in of_endpoints(http)] == [
            ("endpoint_paused", {"endpointId": paused["id"]}, "worker")
        ]
        until(lambda: "warnings" in ready(http), "health warns")
        assert ready(http) == {"status": "ready", "warnings": {"pausedEndpoints": 1}}
        end_an_order(http, "waits too")
        changed = data(http.patch(endpoint, json={"url": receiver.url}))
        assert (changed["state"], changed["failingSince"]) == ("active", None)
        assert changed["ping"]["delivered"] is True
        until(lambda: len(deliveries(receiver)) == 2, "what waited is delivered")
        references = {
            json.loads(post.body)["data"]["order"]["orderReference"] for post in deliveries(receiver)
        }
        assert references == {"waits", "waits too"}
        told = of_endpoints(http)[-1]
        assert (told["type"], told["before"], told["after"]) == ("endpoint_resumed", "paused", "active")
        assert (told["orderReference"], told["sequence"]) == (None, None)
        until(lambda: ready(http) == {"status": "ready"}, "health warns no more")


def of_endpoints(http: httpx2.Client) -> list[dict[str, Any]]:
    """Return what the feed says of endpoints."""
    asked = {"type": "endpoint_paused,endpoint_resumed"}
    results: list[dict[str, Any]] = data(http.get("/v1/opentill/events", params=asked))["results"]
    return results


def ready(http: httpx2.Client) -> dict[str, Any]:
    return data(http.get("/health/ready"))


def test_a_disabled_endpoint_is_told_nothing(shop: httpx2.Client) -> None:
    """Nothing that happens while it is off is ever told there."""
    with Receiver() as receiver:
        endpoint = f"{ENDPOINTS}/{add(shop, receiver.url)['id']}"
        assert data(shop.patch(endpoint, json={"enabled": False}))["enabled"] is False
        end_an_order(shop, "unheard")
        until(lambda: _in_feed(shop, "unheard"), "it is in the feed")
        shop.patch(endpoint, json={"enabled": True})
        end_an_order(shop, "heard")
        until(lambda: deliveries(receiver), "the next one is told")
        (post,) = deliveries(receiver)
    assert b'"heard"' in post.body


def _in_feed(http: httpx2.Client, reference: str) -> bool:
    return f'"orderReference":"{reference}"' in http.get("/v1/opentill/events?type=order_cancelled").text


# --- looking and repeating ------------------------------------------------------------------------


def first_fails(reaction: Reaction) -> Behaviour:
    """Takes the first delivery, not the second, and all after that."""
    return lambda number: reaction if number == 1 else OK


@pytest.mark.parametrize(
    ("reaction", "status", "heard"),
    [(answer(503, b"closed"), "FAILED", 503), (SILENT, "INCONCLUSIVE", None)],
)
def test_what_was_given_up_is_replayed(
    shop: httpx2.Client, reaction: Reaction, status: str, heard: int | None
) -> None:
    """The log says how it ended; a replay of the time sends it again, and once it arrived nothing is left."""
    always_day = {"startDate": "2020-01-01", "endDate": "2199-12-31"}
    with Receiver(first_fails(reaction)) as receiver:
        add(shop, receiver.url)
        end_an_order(shop, "given-up")
        until(lambda: statuses(shop) == [status], "it is given up")
        (entry,) = logs(shop)
        assert (entry["responseHttpStatus"], entry["tries"]) == (heard, 1)
        other = {"FAILED": "INCONCLUSIVE", "INCONCLUSIVE": "FAILED"}[status]
        assert debug(shop, "replay", **always_day, filter={"statuses": [other]}) == []
        assert debug(shop, "replay", **always_day, filter={"eventTypes": ["payment_success"]}) == []
        (again,) = debug(shop, "replay", **always_day)
        assert again["hookRequestId"] == entry["hookRequestId"]
        until(lambda: statuses(shop) == ["PUSHED"], "it arrives")
        assert debug(shop, "replay", **always_day) == []
        bodies = {post.body for post in deliveries(receiver)}
    assert len(bodies) == 1


def test_what_arrived_can_be_pushed_again(shop: httpx2.Client) -> None:
    """A delivery goes out again as it was, by one call or by many; its log has one line."""
    with Receiver() as receiver:
        add(shop, receiver.url)
        end_an_order(shop, "again")
        until(lambda: statuses(shop) == ["PUSHED"], "it arrives")
        (entry,) = logs(shop)
        debug(shop, "re-push", hooksRequestId=entry["hookRequestId"])
        until(lambda: len(deliveries(receiver)) == 2, "it arrives again")
        debug(shop, "bulk-re-push", hooksRequestIds=[entry["hookRequestId"], "unknown"])
        until(lambda: len(deliveries(receiver)) == 3, "and again")
        assert len({post.body for post in deliveries(receiver)}) == 1
        assert len(logs(shop)) == 1


def test_the_log_is_newest_first_and_bounded(shop: httpx2.Client) -> None:
    """``limit`` takes the newest, times and types leave out the rest."""
    add(shop, NOBODY)
    for number in range(3):
        end_an_order(shop, f"log-{number}")
    until(lambda: statuses(shop) == ["INCONCLUSIVE"] * 3, "all are given up")
    times = [entry["createdAt"] for entry in logs(shop)]
    assert times == sorted(times, reverse=True)
    assert [entry["createdAt"] for entry in logs(shop, limit=2)] == times[:2]
    assert len(logs(shop, startDateTime=times[1])) >= 2
    assert logs(shop, startDateTime=times[0], endDateTime=times[0]) == []
    assert logs(shop, endDateTime="2020-01-01") == []
    assert logs(shop, eventType="payment_failed") == []


def test_subscriptions_stand_one_by_one(shop: httpx2.Client) -> None:
    """The debug list of events has one entry for each event of each endpoint."""
    first = add(shop, NOBODY, events=["payment_success", "order_expired"])
    add(shop, NOBODY, enabled=False)
    found = debug(shop, "events", coreUserId=shop.headers["accountId"])
    assert found[0] == {
        "webHookId": first["id"],
        "eventURL": NOBODY,
        "eventType": "payment_success",
        "enabled": True,
    }
    assert [(each["eventType"], each["enabled"]) for each in found[1:]] == [
        ("order_expired", True),
        ("order_cancelled", False),
    ]
    assert len(debug(shop, "events", coreUserId=shop.headers["accountId"], limit=2)) == 2


# --- other people's things ------------------------------------------------------------------------


def test_another_merchant_reaches_no_endpoint_and_no_delivery(server: Server, shop: httpx2.Client) -> None:
    """Endpoints and deliveries are unknown to another merchant by every call, and stay as they were."""
    add(shop, NOBODY)
    end_an_order(shop, "private")
    until(lambda: statuses(shop) == ["INCONCLUSIVE"], "it is given up")
    (endpoint,), (entry,) = listed(shop), logs(shop)
    path, pushed = f"{ENDPOINTS}/{endpoint['id']}", entry["hookRequestId"]
    with client(server, headers=signed_in(server, open_shop(server))) as mallory:
        before = rows(server)["webhook_endpoints"], rows(server)["webhook_deliveries"]
        for refused in (
            mallory.patch(path, json={"url": "https://mallory.example/"}),
            mallory.delete(path),
            mallory.post(f"{path}/rotate-key"),
            mallory.post(f"{path}/finish-rotation"),
            mallory.post(f"{DEBUG}/re-push", json={"hooksRequestId": pushed}),
            mallory.post(f"{DEBUG}/bulk-re-push", json={"hooksRequestIds": [pushed]}),
        ):
            assert refused.status_code == 404, refused.text
        for call in ("event-logs", "events"):
            body = {"coreUserId": shop.headers["accountId"]}
            assert mallory.post(f"{DEBUG}/{call}", json=body).status_code == 403
        assert listed(mallory) == logs(mallory) == []
        assert debug(mallory, "replay", startDate="2020-01-01", endDate="2199-12-31") == []
        assert (rows(server)["webhook_endpoints"], rows(server)["webhook_deliveries"]) == before
