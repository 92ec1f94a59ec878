"""``opentill webhooks``: looking at what was delivered, and delivering it again, beside a running server."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cli.listening import cancelled_order, endpoint
from cli.program import Serving, run, serving
from polling import until
from webhooks.receiver import OK, Behaviour, Receiver, answer

ANSWER = b"not\x1b[2J now"


def failing_at_first(times: int) -> Behaviour:
    """So many failures, not counting the registration ping, then success."""
    return lambda number: answer(503, ANSWER) if 0 < number <= times else OK


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("till") / "data"


@pytest.fixture(scope="module", autouse=True)
def server(data: Path) -> Iterator[Serving]:
    """A sandbox that tries a webhook twice, the second time after a second."""
    with serving(data, OPENTILL_WEBHOOK_SCHEDULE_SECONDS="1") as server:
        yield server


def webhooks(data: Path, *arguments: str) -> Any:
    """What ``opentill webhooks`` says as JSON."""
    answered = run("webhooks", *arguments, "--data", str(data), "--json")
    assert answered.returncode == 0, answered.stderr
    return json.loads(answered.stdout)


def newest(data: Path) -> dict[str, Any]:
    """The delivery that is listed first."""
    found: dict[str, Any] = webhooks(data, "list", "--limit", "1")["deliveries"][0]
    return found


def test_a_dead_delivery_is_seen_and_sent_again(server: Serving, data: Path) -> None:
    """Listed with its last answer, shown with its body, and after resend --dead it arrives, the same body."""
    with (
        Receiver(failing_at_first(2)) as receiver,
        endpoint(server, receiver.url, events=["order_cancelled"]) as endpoint_id,
    ):
        reference = cancelled_order(server)
        until(lambda: len(receiver.posts) == 3, "the ping and two tries")
        until(lambda: newest(data)["state"] == "dead", "the last try to be written down")

        listed = run("webhooks", "list", "--state", "dead", "--data", str(data)).stdout
        delivery = newest(data)
        for text in (endpoint_id, receiver.url, delivery["id"], "order_cancelled", "dead", "503"):
            assert text in listed
        shown = run("webhooks", "show", delivery["id"], "--data", str(data)).stdout
        assert "state     dead, tries: 2\nanswer    503: not\\x1b[2J now\n" in shown
        assert f'\n        "orderReference": "{reference}",\n' in shown
        assert '"amount": 100.00,' in shown  # as it was sent, not as a program would print it

        assert webhooks(data, "resend", "--dead") == {"resent": 1}
        until(lambda: len(receiver.posts) == 4, "the ping, two tries, and one more")
    assert len({post.body for post in receiver.posts[1:]}) == 1


def test_a_delivered_one_can_be_sent_again(server: Serving, data: Path) -> None:
    """By the id of the delivery or of its event; both in one call send it once."""
    with Receiver() as receiver, endpoint(server, receiver.url, events=["order_cancelled"]):
        cancelled_order(server)
        until(lambda: len(receiver.posts) == 2, "the ping and the delivery")
        until(lambda: newest(data)["state"] == "delivered", "it to be written down")
        delivery = newest(data)

        by_event = webhooks(data, "show", delivery["eventId"])
        assert by_event["body"] == json.loads(receiver.posts[1].body)
        assert by_event["body"]["requestId"] == delivery["eventId"]
        dead = webhooks(data, "list", "--state", "dead")["deliveries"]
        assert delivery["id"] not in [each["id"] for each in dead]
        sent = run("webhooks", "resend", delivery["id"], delivery["eventId"], "--data", str(data))
        assert sent.stdout == "1 delivery is due now.\n"
        until(lambda: len(receiver.posts) == 3, "it to come again")


def test_what_has_no_endpoint_any_more_is_not_sent(server: Serving, data: Path) -> None:
    """A delivery whose endpoint was deleted is listed still, and its resending refused in a sentence."""
    with Receiver() as receiver, endpoint(server, receiver.url, events=["order_cancelled"]):
        cancelled_order(server)
        until(lambda: len(receiver.posts) == 2, "the ping and the delivery")
        until(lambda: newest(data)["state"] == "delivered", "it to be written down")
    delivery = newest(data)
    assert delivery["url"] is None
    answered = run("webhooks", "resend", delivery["id"], "--data", str(data))
    assert (answered.returncode, answered.stdout) == (2, "")
    assert answered.stderr == "opentill: of 1 deliveries only 0 have an endpoint still.\n"


def test_what_can_not_be_is_refused_in_a_sentence(data: Path) -> None:
    """Nothing to send, and an id that nothing has, are one sentence and status 2 each."""
    nothing = run("webhooks", "resend", "--data", str(data))
    unknown = run("webhooks", "show", "no-such-id", "--data", str(data))
    assert (nothing.returncode, unknown.returncode) == (2, 2)
    assert nothing.stderr == "opentill: name what to send again, or say --dead.\n"
    assert unknown.stderr.startswith("opentill: there is no delivery and no told event no-such-id;")
