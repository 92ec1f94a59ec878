"""Saved cards on a real server: where the token key goes, where it is never seen, and who charges by it."""

import asyncio
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from api.golden.state import OTP_CARD, files
from api.shops import open_shop
from opentill.webhooks.signature import verify
from polling import until
from races.books import calls_under_way, ledger_check, read_books
from races.lines import process_of
from server import Server, client, operate, signed_in
from webhooks.receiver import OK, Post, Reaction, Receiver, answer

KEY = "a signing key of the merchant"
CHARGE = "/v1/checkout/tokenized-card-payment"
CARDS = "/v1/checkout/tokenized-card-data"
QUICK: dict[str, Any] = {
    "card_timeout_seconds": 0.5,
    "call_grace_seconds": 0.1,
    "sweep_interval_seconds": 0.1,
    "webhook_schedule_seconds": "1,1,1",
    "access_log": True,
}
PATIENT = QUICK | {"card_timeout_seconds": 3}
"""The server that is to die while it waits for the rail."""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with Server(tmp_path, **QUICK) as running:
        yield running


@pytest.fixture
def shop(server: Server) -> Iterator[httpx2.Client]:
    with client(server, headers=signed_in(server)) as http:
        yield http


def data(answer: httpx2.Response) -> dict[str, Any]:
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()["data"]
    return found


def order(reference: str, **more: object) -> dict[str, object]:
    email = "payer@example.com"
    return {"orderReference": reference, "amount": "100.00", "currency": "NGN", "customerEmail": email} | more


def submit(http: httpx2.Client, reference: str, *, save: bool = False) -> str:
    """The card is entered; returns the transaction that waits for its password."""
    card = {"cardNumber": OTP_CARD, "cardCVV": "1", "cardExpiryMonth": "9", "cardExpiryYear": "2031"}
    body = {"cardDetails": json.dumps(card), "key": "", "orderReference": reference, "saveCard": save}
    transaction: str = data(http.post("/v1/checkout/checkout-card-detail", json=body))["transactionId"]
    return transaction


def confirm(http: httpx2.Client, reference: str, transaction: str) -> httpx2.Response:
    body = {"otp": "9999", "orderReference": reference, "transactionId": transaction}
    return http.post("/v1/checkout/checkout-card-otp", json=body)


def pay(
    http: httpx2.Client, reference: str, *, tokenize: bool = True, save: bool = False, **more: object
) -> None:
    body = {"order": order(reference, **more), "tokenizeCard": tokenize}
    data(http.post("/v1/checkout/order", json=body))
    assert data(confirm(http, reference, submit(http, reference, save=save)))["status"]


def listen(http: httpx2.Client, receiver: Receiver) -> None:
    endpoint = {"url": receiver.url, "events": ["payment_success"], "signingKey": KEY}
    data(http.post("/v1/opentill/webhook-endpoints", json=endpoint))


def received(receiver: Receiver, number: int = 1) -> list[Post]:
    """The first so many webhooks, which come."""

    def arrived() -> list[Post]:
        return [post for post in receiver.posts if post.body != b"{}"]

    until(lambda: len(arrived()) >= number, "the webhook arrives")
    return arrived()[:number]


def saved(post: Post) -> dict[str, str]:
    """Return what a webhook says of the saved card."""
    found: dict[str, str] = json.loads(post.body)["data"]["tokenizedCardData"]
    return found


def token_key_of(reference: str, receiver: Receiver) -> str | None:
    """Return what the webhook of this order brought, once it has come."""
    bodies = (json.loads(post.body)["data"] for post in receiver.posts if post.body != b"{}")
    keys = (b["tokenizedCardData"]["tokenKey"] for b in bodies if b["order"]["orderReference"] == reference)
    return next(keys, None)


def token_keys(http: httpx2.Client) -> list[str]:
    return [each["tokenKey"] for each in data(http.get(CARDS))["tokenizedCardDataList"]]


def charge(http: httpx2.Client, token_key: str, reference: str, key: str = "") -> httpx2.Response:
    headers = {"X-Idempotent-key": key} if key else {}
    return http.post(CHARGE, json={"tokenKey": token_key, "order": order(reference)}, headers=headers)


# --- where the token key goes -----------------------------------------------------------------------


def test_the_webhook_of_the_payment_brings_the_token_key_that_charges(shop: httpx2.Client) -> None:
    """Signed as it goes out, it says how the card can be charged; a charge by it is told as tokenized."""
    with Receiver() as receiver:
        listen(shop, receiver)
        pay(shop, "first")
        [post] = received(receiver)
        card = saved(post)
        token_key = card.pop("tokenKey")
        assert card == {
            "cardType": "Mastercard",
            "tokenExpiryYear": "31",
            "tokenExpiryMonth": "09",
            "cardPan": "543462******2808",
        }
        assert [token_key] == token_keys(shop)
        verify(post.body, post.headers, KEY)
        assert data(charge(shop, token_key, "second"))["status"]
        _, post = received(receiver, 2)
        assert saved(post)["tokenKey"] == "N/A"
        assert json.loads(post.body)["data"]["order"]["isTokenizedCardPayment"] == "true"


def test_nothing_is_told_of_a_card_that_nobody_wanted_saved(shop: httpx2.Client) -> None:
    """Without tokenizeCard the webhook says N/A, and no card is kept at all."""
    with Receiver() as receiver:
        listen(shop, receiver)
        pay(shop, "plain", tokenize=False)
        assert set(saved(received(receiver)[0]).values()) == {"N/A"}
    assert token_keys(shop) == []


def test_a_card_that_its_payer_alone_wants_saved_is_not_told_to_the_merchant(shop: httpx2.Client) -> None:
    """Until its payer has confirmed it, its token key comes by no webhook and stands in no list."""
    with Receiver() as receiver:
        listen(shop, receiver)
        pay(shop, "hers", tokenize=False, save=True)
        assert set(saved(received(receiver)[0]).values()) == {"N/A"}
    assert token_keys(shop) == []


def test_a_merchant_can_not_have_its_own_text_opened(shop: httpx2.Client) -> None:
    """Metadata that look like a sealed token key go out as they are, whatever the order asks for."""
    trick = {"tokenKey": "sealed:AAAA", "tokenizedCardData": '{"tokenKey":"sealed:AAAA"}'}
    with Receiver() as receiver:
        listen(shop, receiver)
        for reference, tokenize in (("trick", False), ("trick-2", True)):
            pay(shop, reference, tokenize=tokenize, orderMetaData=trick)
        for post in received(receiver, 2):
            assert json.loads(post.body)["data"]["order"]["orderMetaData"] == trick


# --- where it is never seen -------------------------------------------------------------------------


def test_no_secret_of_a_card_lies_in_files_logs_or_listings(server: Server, shop: httpx2.Client) -> None:
    """Neither the token key, nor the rail's token, nor the card's number is in any file, log or listing."""
    calm: list[str] = []

    def echo(number: int) -> Reaction:
        """Of each delivery what was sent the time before: a retry is told its own body."""
        return OK if calm or not number else answer(500, receiver.posts[-1].body)

    with Receiver(echo) as receiver:
        listen(shop, receiver)
        pay(shop, "secret")
        token_key = saved(received(receiver)[0])["tokenKey"]
        account = shop.headers["accountId"]

        def logged() -> Any:
            asked = {"coreUserId": account, "limit": 10, "eventType": "payment_success"}
            entries = shop.post("/v1/webhooks/event-logs", json=asked).json()["data"]["results"]
            return [each for each in entries if "withheld" in each["responsePayload"]]

        until(lambda: bool(logged()), "the answer is in the log")
        entry = logged()[0]
        calm.append("enough")
        data(charge(shop, token_key, "secret-2", key="charged-once"))
        shown = operate(server, "webhooks", "show", entry["hookRequestId"], "--json")
    assert '"tokenKey":"<withheld>"' in shown
    assert server.stop() == 0
    everything = b"".join(
        [*files(server).values(), server.log_file.read_bytes(), shown.encode(), json.dumps(entry).encode()]
    )
    assert b"543462******2808" in everything
    assert token_key[:16].encode() not in everything
    assert OTP_CARD.encode() not in everything
    assert re.search(rb"card_[0-9a-f]{64}", everything) is None


def test_a_delivery_is_sent_again_with_the_same_body_when_the_card_is_gone(shop: httpx2.Client) -> None:
    """A delivery told once stays what it was, byte for byte; the card can not be charged any more."""
    with Receiver() as receiver:
        listen(shop, receiver)
        pay(shop, "gone")
        [first] = received(receiver)
        token_key = saved(first)["tokenKey"]
        assert shop.request("DELETE", CARDS, json={"tokenKey": token_key}).status_code == 200
        asked = {"coreUserId": shop.headers["accountId"], "limit": 1, "eventType": "payment_success"}
        [entry] = shop.post("/v1/webhooks/event-logs", json=asked).json()["data"]["results"]
        shop.post("/v1/webhooks/re-push", json={"hooksRequestId": entry["hookRequestId"]})
        assert received(receiver, 2)[1].body == first.body
    assert charge(shop, token_key, "too-late").status_code == 404


# --- tenancy ----------------------------------------------------------------------------------------


def test_every_route_knows_only_the_callers_own_cards(server: Server, shop: httpx2.Client) -> None:
    """With another merchant's token key and order each answer is that of an unknown one; nothing changes."""
    pay(shop, "mine")
    [token_key] = token_keys(shop)
    phone = {"orderReference": "mine", "phoneNumber": "08030000000"}
    data(shop.post("/v1/checkout/user-card/auth", json=phone))
    with client(server, headers=signed_in(server, open_shop(server))) as stranger:
        move = {
            "tokenKey": token_key,
            "currentEmailAddress": "payer@example.com",
            "newEmailAddress": "x@y.example",
        }
        asked = [
            charge(stranger, token_key, "theirs"),
            stranger.post(CARDS, json=move),
            stranger.request("DELETE", CARDS, json={"tokenKey": token_key}),
            stranger.post("/v1/checkout/user-card/auth", json=phone),
            stranger.post("/v1/checkout/user-card", json=phone | {"otp": "9999"}),
            stranger.post("/v1/checkout/user-card/saved-card/auth", json={"orderReference": "mine"}),
            stranger.get("/v1/checkout/user-card/mine?otp=9999"),
        ]
        assert [each.status_code for each in asked] == [404] * len(asked)
        assert {each.text for each in asked} == {
            '{"code":"404","description":"Record not found","data":null}'
        }
        assert token_keys(stranger) == []
    assert token_keys(shop) == [token_key]
    assert data(charge(shop, token_key, "theirs"))["status"]


def test_guessing_a_password_ends(shop: httpx2.Client) -> None:
    """After as many wrong passwords as are taken the right one is not taken either."""
    pay(shop, "guessed")
    phone = {"orderReference": "guessed", "phoneNumber": "08030000000"}
    data(shop.post("/v1/checkout/user-card/auth", json=phone))
    for _ in range(5):
        said = data(shop.post("/v1/checkout/user-card", json=phone | {"otp": "0001"}))
        assert not said["success"]
    refused = shop.post("/v1/checkout/user-card", json=phone | {"otp": "9999"})
    assert refused.headers["refusal-reason"] == "no-password-sent"
    assert not data(shop.get("/v1/checkout/order/guessed"))["hasSavedCards"]


# --- the two commits --------------------------------------------------------------------------------


def test_a_charge_whose_answer_is_lost_is_said_to_be_checked_and_settles(
    server: Server, shop: httpx2.Client
) -> None:
    """It is never told as failed: the worker asks the rail, and the order is paid once (ruling 22)."""
    pay(shop, "before")
    [token_key] = token_keys(shop)
    body = {"operation": "charge", "outcome": "unknown"}
    assert shop.post("/sandbox/rail", json=body).status_code == 200
    said = data(charge(shop, token_key, "checked", key="checked"))
    assert not said["status"]
    assert "being checked" in said["message"]
    until(lambda: calls_under_way(server.place) == 0, "the worker has asked the rail")
    again = charge(shop, token_key, "checked", key="checked")
    assert again.headers["idempotency-replayed"] == "true"
    assert data(again) == said
    assert data(shop.get("/v1/checkout/order/checked"))["order"]["status"] == "PAID"


@pytest.mark.parametrize("outcome", ["unknown", "timeout"])
def test_a_server_that_dies_while_the_rail_is_asked_loses_no_card_and_no_money(
    tmp_path: Path, outcome: str
) -> None:
    """Killed between the commits of two charges, the next one finds out; who asks again is told the same.

    The first is entered by a payer and leaves a card, the second is of a card that is saved: where the rail
    took the money both orders are paid and the card's token key is told, where not, neither.
    """
    with Receiver() as receiver:
        with Server(tmp_path, **PATIENT) as server:
            with client(server, headers=signed_in(server)) as http:
                pay(http, "seed")
                [token_key] = token_keys(http)
                listen(http, receiver)
                data(http.post("/v1/checkout/order", json={"order": order("entered"), "tokenizeCard": True}))
                transaction = submit(http, "entered")
                for operation in ("confirm", "charge"):
                    switch = {"operation": operation, "outcome": outcome}
                    assert http.post("/sandbox/rail", json=switch).status_code == 200
            asyncio.run(_ask_and_kill(server, transaction, token_key, taken=3 if outcome == "unknown" else 1))
        with Server(tmp_path, **QUICK) as server:
            until(lambda: calls_under_way(server.place) == 0, "the worker has asked the rail")
            with client(server, headers=signed_in(server)) as http:
                again = charge(http, token_key, "by-token", key="by-token")
                statuses = [
                    data(http.get(f"/v1/checkout/order/{each}"))["order"]["status"]
                    for each in ("entered", "by-token")
                ]
                known = token_keys(http)
            if outcome == "unknown":
                assert statuses == ["PAID", "PAID"]
                assert again.json()["data"]["status"]
                assert again.headers["idempotency-replayed"] == "true"
                until(lambda: token_key_of("entered", receiver), "the webhook arrives")
                assert {token_key_of("entered", receiver), token_key} == set(known)
            else:
                assert statuses == ["PENDING", "PENDING"]
                assert again.json()["description"] == "tokenized transaction failed"
                assert known == [token_key]
            assert server.stop() == 0
            assert ledger_check(server) == ""


async def _ask_and_kill(server: Server, transaction: str, token_key: str, taken: int) -> None:
    """Send the password and the charge, and kill the server between their commits.

    By then the rail has taken the money of so many payments.
    """

    def between() -> bool:
        at_rail = [each["state"] for each in read_books(server.place).at_the_rail.values()]
        return calls_under_way(server.place) == 2 and at_rail.count("approved") == taken

    headers = await asyncio.to_thread(signed_in, server)
    async with httpx2.AsyncClient(
        base_url=server.url, headers=headers, trust_env=False, verify=False, timeout=30
    ) as http:
        password = {"otp": "9999", "orderReference": "entered", "transactionId": transaction}
        by_token = {"tokenKey": token_key, "order": order("by-token")}
        asked = [
            asyncio.ensure_future(http.post("/v1/checkout/checkout-card-otp", json=password)),
            asyncio.ensure_future(http.post(CHARGE, json=by_token, headers={"X-Idempotent-key": "by-token"})),
        ]
        await asyncio.to_thread(until, between, "both calls are between their commits")
        server.kill()
        await asyncio.gather(*asked, return_exceptions=True)


@pytest.mark.parametrize("workers", [1, 2])
def test_of_two_charges_with_one_token_and_one_reference_one_is_made(tmp_path: Path, workers: int) -> None:
    """However many ask at once, on however many processes: one order, one charge, all others told so."""
    with Server(tmp_path, workers=workers, **QUICK) as server:
        headers = signed_in(server)
        with client(server, headers=headers) as http:
            pay(http, "seed")
            [token_key] = token_keys(http)
        for round_ in range(6):
            answers = asyncio.run(_at_once(server, headers, token_key, f"contested-{round_}"))
            won = [each for each in answers if each.status_code == 200]
            lost = {each.text for each in answers if each.status_code != 200}
            assert len(won) == 1
            assert len(lost) == 1
            assert "An order already exists with this order reference" in lost.pop()
        books = read_books(server.place)
        assert server.stop() == 0
        assert ledger_check(server) == ""
    assert [
        len(books.attempts[each["order_id"]])
        for each in books.orders.values()
        if each["reference"].startswith("contested-")
    ] == [1] * 6
    at_rail = [each for each in books.at_the_rail.values() if each["state"] == "approved"]
    assert len(at_rail) == 7


async def _at_once(
    server: Server, headers: dict[str, str], token_key: str, reference: str
) -> list[httpx2.Response]:
    body = {"tokenKey": token_key, "order": order(reference)}

    async def ask() -> httpx2.Response:
        async with httpx2.AsyncClient(
            base_url=server.url, headers=headers, trust_env=False, verify=False, timeout=30
        ) as http:
            answer = await http.post(CHARGE, json=body)
            assert process_of(answer)
            return answer

    return await asyncio.gather(*(ask() for _ in range(6)))
