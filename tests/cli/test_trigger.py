"""``opentill trigger``, run against a sandbox: what it says has really happened."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cli.listening import endpoint, is_signed_by
from cli.program import Serving, run, serving
from opentill.domain.events import EventType
from polling import until
from webhooks.receiver import Receiver

HAPPENS = {
    "payment_success": ("PAID", EventType.PAYMENT_SUCCESS, ["APPROVED"]),
    "payment_failed": ("PENDING", EventType.PAYMENT_FAILED, ["DECLINED"]),
    "order_cancelled": ("CANCELLED", EventType.ORDER_CANCELLED, []),
    "payment_reversal": ("PAID", EventType.PAYMENT_REFUNDED, ["APPROVED"]),
}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("till") / "data"


@pytest.fixture(scope="module", autouse=True)
def server(data: Path) -> Iterator[Serving]:
    """A sandbox whose clients must encrypt card details."""
    with serving(data, OPENTILL_CARD_ENCRYPTION="true") as server:
        yield server


def in_full(server: Serving, reference: str) -> dict[str, Any]:
    """The order of this reference, with all that happened to it."""
    answer = server.ask("GET", f"/v1/opentill/orders/{reference}")
    data: dict[str, Any] = answer.json()["data"]
    return data


@pytest.mark.parametrize("event", HAPPENS)
def test_it_really_happens(server: Serving, data: Path, event: str) -> None:
    """The order is in the state that the event leaves it in, and the printed id is the event's own."""
    answer = run("trigger", event, "--data", str(data), "--amount", "250.50", "--json")
    said = json.loads(answer.stdout)
    status, type_, attempts = HAPPENS[event]

    order = in_full(server, said["orderReference"])
    assert (order["status"], order["amount"]) == (status, "250.50")
    assert [each["status"] for each in order["attempts"]] == attempts
    happened = {each["id"]: each["type"] for each in order["timeline"]}
    assert happened[said["eventId"]] == type_
    assert (said["type"], said["orderStatus"]) == (event, status)
    assert order["money"]["refunded"] == ("250.50" if event == "payment_reversal" else "0.00")


BY_TRANSFER = {
    "payment_success": ("PAID", EventType.PAYMENT_SUCCESS, "applied", "applied"),
    "payment_reversal": ("CANCELLED", EventType.PAYMENT_REVERSAL, "late", "returned"),
}


@pytest.mark.parametrize("event", BY_TRANSFER)
def test_it_really_happens_by_transfer(server: Serving, data: Path, event: str) -> None:
    """A transfer to the order's own number pays it, or comes after the cancel and goes back."""
    answer = run("trigger", event, "--method", "transfer", "--data", str(data), "--amount", "75", "--json")
    said = json.loads(answer.stdout)
    status, type_, disposition, where = BY_TRANSFER[event]

    order = in_full(server, said["orderReference"])
    assert (order["status"], order["money"][where]) == (status, "75.00")
    assert [each["disposition"] for each in order["credits"]] == [disposition]
    happened = {each["id"]: each["type"] for each in order["timeline"]}
    assert happened[said["eventId"]] == type_


def test_it_says_each_step_and_a_webhook_goes_out(server: Serving) -> None:
    """Found by its URL alone, the server is made to tell an endpoint, by the id that was printed last."""
    with Receiver() as receiver, endpoint(server, receiver.url):
        answer = run("trigger", "payment_reversal", "--url", server.url)
        opened, paid, refunded, happened = answer.stdout.splitlines()
        until(lambda: len(receiver.posts) == 3, "the ping, the payment and its reversal")

    bodies = [json.loads(post.body) for post in receiver.posts]
    reference = bodies[2]["data"]["order"]["orderReference"]
    assert opened == f"Order {reference} of 100.00 NGN was opened."
    assert bodies[1]["data"]["transaction"]["transactionId"] in paid
    assert refunded == "All of it was refunded: Refund processed successfully."
    assert happened == f"payment_reversal {bodies[2]['requestId']}: order {reference} is PAID."
    assert all(is_signed_by(server.env["OPENTILL_WEBHOOK_KEY"], post) for post in receiver.posts)


def test_a_rail_that_will_not_play_along_is_told(server: Serving, data: Path) -> None:
    """Where the sandbox's rail was told to decline nothing was paid, which is a sentence and status 2."""
    switch = {"operation": "confirm", "outcome": "decline", "delayMilliseconds": 0, "count": 1}
    assert server.ask("POST", "/sandbox/rail", switch).status_code == 200
    answer = run("trigger", "payment_success", "--data", str(data), "--json")
    assert (answer.returncode, answer.stdout) == (2, "")
    assert answer.stderr.startswith("opentill: the payment did not go through: ")


REFUSED = {
    "nobody listens": (["payment_failed", "--url", "http://127.0.0.1:1"], "no server answers at"),
    "no URL": (["payment_failed", "--url", "127.0.0.1:8480"], "the server's URL must be like"),
    "a secret in the URL": (["payment_failed", "--url", "http://me:pw@127.0.0.1/"], "the server's URL must"),
    "no such event": (["payout_success"], 'Invalid value "payout_success" for EVENT'),
    "no transfer is declined": (
        ["payment_failed", "--method", "transfer"],
        "no payment_failed comes of a transfer",
    ),
    "no such amount": (
        ["payment_failed", "--amount", "1.234"],
        "was refused with HTTP 400: amount can not have",
    ),
}


@pytest.mark.parametrize("why", REFUSED)
def test_what_can_not_be_is_refused_in_a_sentence(data: Path, why: str) -> None:
    """A server that is not there, or a wish that it refuses, is one sentence and status 2."""
    arguments, says = REFUSED[why]
    answer = run("trigger", *arguments, "--data", str(data))
    assert (answer.returncode, answer.stdout) == (2, "")
    assert says in answer.stderr
    assert answer.stderr.count("\n") == 1
    assert "pw" not in answer.stderr
