"""``opentill listen``, run beside a server, with a receiver of webhooks where it forwards to."""

import json
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from cli.listening import cancelled_order, endpoint, endpoint_urls, is_signed_by, listening
from cli.program import SECONDS, Serving, _clean, run, serving
from polling import until
from webhooks.receiver import OK, Receiver, always, answer


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("till") / "data"


@pytest.fixture(scope="module", autouse=True)
def server(data: Path) -> Iterator[Serving]:
    """A sandbox that tries a webhook again after a second."""
    with serving(data, OPENTILL_WEBHOOK_SCHEDULE_SECONDS="1,1") as server:
        yield server


def test_what_is_forwarded_is_signed_by_the_printed_key(data: Path, server: Serving) -> None:
    """The real event arrives under the merchant's key, and its line tells result and latency."""
    with Receiver() as receiver, listening(data, "--forward-to", receiver.url, "--json") as listener:
        event = json.loads(run("trigger", "payment_success", "--data", str(data), "--json").stdout)
        line = listener.told(lambda said: said["delivery"]["tries"])

    assert listener.key == server.env["OPENTILL_WEBHOOK_KEY"]
    assert [is_signed_by(listener.key, post) for post in receiver.posts] == [True]
    assert json.loads(receiver.posts[0].body)["requestId"] == event["eventId"] == line["eventId"]
    assert (line["type"], line["orderStatus"]) == ("payment_success", "PAID")
    assert (line["delivery"]["state"], line["delivery"]["status"]) == ("delivered", 200)
    assert 0 <= line["delivery"]["latencyMilliseconds"] < SECONDS * 1000


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGHUP])
def test_nothing_is_left_when_it_ends(data: Path, server: Serving, ending: int) -> None:
    """Ctrl-C and a closed terminal end it with status 0, and take its endpoint away."""
    with Receiver() as receiver, listening(data, "--forward-to", receiver.url, "--json") as listener:
        until(lambda: endpoint_urls(server) == {receiver.url}, "its endpoint")
        assert listener.end(ending) == 0
        assert endpoint_urls(server) == set()


def test_a_killed_one_can_be_started_again(data: Path, server: Serving) -> None:
    """A killed listener leaves its endpoint; started again it has the same key, and then removes it."""
    with Receiver() as receiver:
        with listening(data, "--forward-to", receiver.url, "--json") as killed:
            killed.end(signal.SIGKILL)
        assert endpoint_urls(server) == {receiver.url}
        with listening(data, "--forward-to", receiver.url, "--json") as again:
            cancelled_order(server)
            again.told(lambda said: said["delivery"]["tries"])
    assert again.key == killed.key
    assert [is_signed_by(again.key, post) for post in receiver.posts] == [True]
    assert endpoint_urls(server) == set()


def test_a_killed_one_is_cleared_away_by_any_other(data: Path, server: Serving) -> None:
    """What a killed listener left goes when a listener to another URL begins, a few seconds later."""
    with Receiver() as old, Receiver() as new:
        with listening(data, "--forward-to", old.url) as killed:
            killed.end(signal.SIGKILL)

        def cleared() -> bool:
            with listening(data, "--forward-to", new.url):
                return endpoint_urls(server) == {new.url}

        until(cleared, "the old endpoint to go", SECONDS)


def test_living_ones_leave_each_other_alone(data: Path, server: Serving) -> None:
    """Two URLs can be forwarded to at once; a second listener to the same one is refused."""
    with Receiver() as one, Receiver() as other, listening(data, "--forward-to", one.url) as first:
        refused = run("listen", "--forward-to", one.url, "--data", str(data))
        with listening(data, "--forward-to", other.url):
            assert endpoint_urls(server) == {one.url, other.url}
        assert endpoint_urls(server) == {one.url}
        assert first.process.poll() is None
    assert (refused.returncode, refused.stdout) == (2, "")
    assert refused.stderr == f"opentill: another `opentill listen` forwards to {one.url} already.\n"


def test_an_endpoint_of_the_merchants_own_is_used_and_left(data: Path, server: Serving) -> None:
    """Where the URL is an endpoint already its own key is printed, it is told once, and it stays."""
    own = {"signingKey": "a key of my own choice", "events": ["order_cancelled"]}
    with Receiver() as receiver, endpoint(server, receiver.url, **own):
        with listening(data, "--forward-to", receiver.url, "--json") as listener:
            cancelled_order(server)
            listener.told(lambda said: said["delivery"]["tries"])
        assert listener.key == own["signingKey"]
        assert [is_signed_by(listener.key, post) for post in receiver.posts] == [
            True,
            True,
        ]  # one is the ping
        assert endpoint_urls(server) == {receiver.url}


def test_a_failure_is_shown_and_tried_again(data: Path, server: Serving) -> None:
    """Plain lines tell what was answered, without what could steer a terminal, and the retry's success."""
    with (
        Receiver(lambda number: answer(500, b"no\x1b[2Jway") if number == 0 else OK) as receiver,
        listening(data, "--forward-to", receiver.url) as listener,
    ):
        reference = cancelled_order(server)
        listener.said("  200  ")
    failed, well = [line for line in listener.lines if reference in line and "on its way" not in line]
    assert f"  order_cancelled  {reference}  CANCELLED  500: no\\x1b[2Jway  " in failed
    assert "  try 2 at " in failed
    assert f"  order_cancelled  {reference}  CANCELLED  200  " in well
    assert receiver.posts[0].body == receiver.posts[1].body


def test_without_forwarding_it_only_looks(data: Path, server: Serving) -> None:
    """Events of the wanted types are shown, and that nobody is told of them; the others are not."""
    with listening(data, "--events", "order_cancelled, payment_success") as listener:
        declined = run("trigger", "payment_failed", "--data", str(data), "--json")
        cancelled = cancelled_order(server)
        listener.said(f"  order_cancelled  {cancelled}  CANCELLED  no endpoint wants it")
    assert json.loads(declined.stdout)["orderReference"] not in "".join(listener.lines)
    assert endpoint_urls(server) == set()


def test_without_forwarding_every_endpoint_is_watched(data: Path, server: Serving) -> None:
    """An event that two endpoints are told of has a line for the result of each."""
    wants = {"events": ["order_cancelled"]}
    with (
        Receiver() as well,
        Receiver(always(answer(410))) as gone,
        endpoint(server, well.url, **wants) as first,
        endpoint(server, gone.url, **wants) as second,
        listening(data, "--json") as listener,
    ):
        cancelled_order(server)
        listener.told(lambda said: _answered(said["delivery"]) == (first, 200))
        listener.told(lambda said: _answered(said["delivery"]) == (second, 410))


def _answered(delivery: dict[str, object] | None) -> object:
    return delivery and (delivery["endpointId"], delivery["status"])


def test_only_the_wanted_events_are_forwarded(data: Path, server: Serving) -> None:
    """With --events the endpoint is subscribed to those alone."""
    with (
        Receiver() as receiver,
        listening(data, "--forward-to", receiver.url, "--events", "payment_failed,order_expired"),
    ):
        known = server.ask("GET", "/v1/opentill/webhook-endpoints").json()["data"]["results"]
    assert [each["events"] for each in known] == [["payment_failed", "order_expired"]]


def test_on_a_terminal_it_is_a_table_that_lives(data: Path, server: Serving) -> None:
    """A terminal gets the key in one piece, and a row that is drawn again when the answer is there."""
    screen, terminal = pty.openpty()
    command = [sys.executable, "-m", "opentill", "listen", "--data", str(data)]
    with Receiver() as receiver:
        process = subprocess.Popen(
            [*command, "--forward-to", receiver.url],
            env={**_clean({}), "TERM": "xterm", "COLUMNS": "160"},
            stdout=terminal,
            stdin=subprocess.DEVNULL,
        )
        os.close(terminal)
        drawn = os.read(screen, 4096).decode()
        cancelled_order(server)
        while "200" not in drawn.rpartition("result")[2]:
            drawn += os.read(screen, 4096).decode()
        process.send_signal(signal.SIGINT)
        assert process.wait(SECONDS) == 0
        os.close(screen)
    assert "OPENTILL_WEBHOOK_KEY=" in drawn
    assert "order_cancelled" in drawn
    assert "\x1b[" in drawn


def test_it_ends_when_nobody_reads(data: Path, server: Serving) -> None:
    """When what reads its output has ended it ends quietly at the next event, and nothing is left."""
    with Receiver() as receiver:
        process = subprocess.Popen(
            [sys.executable, "-m", "opentill", "listen", "--forward-to", receiver.url, "--data", str(data)],
            env=_clean({}),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        process.stdout.readline()
        process.stdout.close()
        cancelled_order(server)
        assert process.wait(SECONDS) == 0
        assert process.stderr is not None
        assert process.stderr.read() == ""
        process.stderr.close()
    assert endpoint_urls(server) == set()


REFUSED: dict[str, tuple[list[str], str]] = {
    "a private address": (["--forward-to", "http://10.0.0.1/"], "The URL's host must be public"),
    "an unknown event": (["--events", "payout_success"], "'payout_success' is no event; --events takes"),
}


@pytest.mark.parametrize("why", REFUSED)
def test_what_can_not_be_is_refused_in_a_sentence(data: Path, why: str) -> None:
    """A URL that is never called, or an event that nobody sends, is one sentence and status 2."""
    arguments, says = REFUSED[why]
    answered = run("listen", *arguments, "--data", str(data))
    assert (answered.returncode, answered.stdout) == (2, "")
    assert says in answered.stderr
    assert answered.stderr.count("\n") == 1


def test_it_says_when_no_server_runs(data: Path, tmp_path: Path) -> None:
    """Without a server nothing can happen, which is said at once; the key is that of the last start."""
    with serving(tmp_path / "data") as ended:
        key = ended.env["OPENTILL_WEBHOOK_KEY"]
    with listening(tmp_path / "data") as listener:
        listener.said(f"OPENTILL_WEBHOOK_KEY={key}")
    assert listener.lines[0].startswith(f"opentill: no server answers at {ended.url};")
