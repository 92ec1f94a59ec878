"""Clocks that step: of a machine under a running server, and from one start to the next (laws 7)."""

import os
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import httpx2
import pytest

from databases import POSTGRES, SQLITE, databases, reading
from polling import until
from server import Server, client, new_merchant, operate, signed_in

HOUR: Final = 3_600_000
DAY: Final = 24 * HOUR
MACHINE: Final = str(Path(__file__).parent / "machine")
KEY: Final = "5e" * 32
LIVE: Final[Mapping[str, Any]] = {"mode": "live", "secret_key": KEY, "sweep_interval_seconds": 0.05}


class Machine(Server):
    """A server on a machine of which somebody sets the clock."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        super().__init__(folder, **settings)
        folder.mkdir(exist_ok=True)
        self.clock = folder / "clock"
        if not self.clock.exists():
            self.clock.write_text("0")
        path = filter(None, (MACHINE, os.environ.get("PYTHONPATH")))
        self._environment |= {"PYTHONPATH": os.pathsep.join(path), "MACHINE_CLOCK": str(self.clock)}

    def set(self, milliseconds: int) -> None:
        """Set the clock to be so far ahead of the right time."""
        written = self.clock.with_suffix(".new")
        written.write_text(str(milliseconds))
        written.replace(self.clock)

    def does_not_start(self) -> str:
        """Start it, and return the sentence with which it declines."""
        arguments = [*self.program, "serve", "--port", "0", "--data", str(self.data)]
        done = subprocess.run(
            arguments, env=self._environment, capture_output=True, text=True, timeout=30, check=False
        )
        assert (done.returncode, done.stdout) == (2, ""), done.stderr
        return done.stderr


@pytest.fixture(scope="module", params=[SQLITE, POSTGRES], ids=str)
def database_kind(request: pytest.FixtureRequest) -> Any:
    """How tables are split makes no difference to time."""
    return request.param


def opened(http: httpx2.Client, reference: str, headers: Mapping[str, str], **more: Any) -> httpx2.Response:
    order = {"amount": "100", "currency": "NGN", "customerEmail": "a@b.c", "orderReference": reference}
    keyed = {**headers, "Idempotency-Key": f"key of {reference}"}
    answer = http.post("/v1/checkout/order", json={"order": order | more}, headers=keyed)
    assert answer.status_code == 200, answer.text
    return answer


def status(http: httpx2.Client, reference: str, headers: Mapping[str, str]) -> str:
    answer = http.get(f"/v1/checkout/order/{reference}", headers=dict(headers))
    return str(answer.json()["data"]["order"]["status"])


def told(http: httpx2.Client, reference: str, headers: Mapping[str, str]) -> object:
    """Return what the server says that may be done with the order, and what a cancel would do."""
    whole = http.get(f"/v1/opentill/orders/{reference}", headers=dict(headers)).json()["data"]
    preview = http.get(f"/v1/opentill/orders/{reference}/cancellation", headers=dict(headers)).json()["data"]
    return whole["allowed"], preview


def is_told(http: httpx2.Client, reference: str, headers: Mapping[str, str]) -> bool:
    return reference in http.get("/v1/opentill/events?limit=100", headers=dict(headers)).text


def warned(http: httpx2.Client) -> str:
    """Return what readiness says of the clock."""
    return str(http.get("/health/ready").json()["data"].get("warnings", {}).get("clock", ""))


def time_is_noted(server: Server) -> bool:
    with reading(server.place) as run:
        (row,) = run("SELECT * FROM installation")
    return row.get("seen_at", 0) is not None


def test_a_machine_that_is_ahead_holds_nothing_up(tmp_path: Path) -> None:
    """The one of two that gives out places in the feed is an hour ahead, and dies: the other goes on."""
    with databases(POSTGRES) as new:
        url = new()
        ahead = Machine(tmp_path / "ahead", database_url=url, secret_key=KEY)
        ahead.set(HOUR)
        with ahead, client(ahead) as http:
            headers = signed_in(ahead)
            opened(http, "one", headers)
            until(lambda: is_told(http, "one", headers), "the first order is told")
            ahead.kill()
        with Machine(tmp_path / "right", database_url=url, secret_key=KEY) as right, client(right) as http:
            headers = signed_in(right)
            opened(http, "two", headers)
            until(lambda: is_told(http, "two", headers), "the other's lease runs out in seconds", 20)


def test_a_clock_that_is_set_back_stops_nothing(tmp_path: Path, database_url: str | None) -> None:
    """A running server goes on as it did; where its machine's clock is the database's, it says so."""
    with Machine(tmp_path, database_url=database_url) as server, client(server) as http:
        headers = signed_in(server)
        until(lambda: time_is_noted(server), "the time is noted")
        server.set(-HOUR)
        opened(http, "one", headers)
        until(lambda: is_told(http, "one", headers), "the order is told")
        opened(http, "two", headers, expiresInSeconds=1)
        until(lambda: status(http, "two", headers) == "EXPIRED", "what is due ends")
        if database_url is None:
            until(lambda: "set back" in warned(http), "readiness warns")


def test_a_start_behind_what_was_seen_is_declined(tmp_path: Path) -> None:
    """One sentence names both times and what to do; a person may say that the clock is right."""
    with Machine(tmp_path) as server, client(server) as http:
        opened(http, "one", signed_in(server))
        until(lambda: time_is_noted(server), "the time is noted")
    server.set(-HOUR)
    said = server.does_not_start()
    assert said.count("\n") == 1
    assert len(re.findall(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", said)) == 2
    assert "`opentill clock confirm`" in said
    assert "last at" in operate(server, "clock", "confirm")
    with Machine(tmp_path) as server, client(server) as http:
        headers = signed_in(server)
        opened(http, "two", headers)
        until(lambda: is_told(http, "two", headers), "the order is told", 20)
        assert warned(http) == ""


def test_a_start_far_ahead_ends_nothing_for_good(tmp_path: Path, database_url: str | None) -> None:
    """In live mode, 60 days ahead, nothing expires and no key is forgotten before a person has spoken.

    Where the database is on a machine with the right time nobody need speak.
    """
    settings = {**LIVE, "database_url": database_url}
    with Machine(tmp_path, **settings) as server, client(server) as http:
        env = new_merchant(server)
        headers = signed_in(server, env)
        first, allowed = opened(http, "one", headers, expiresInSeconds=3600), told(http, "one", headers)
        until(lambda: time_is_noted(server), "the time is noted")
    server.set(60 * DAY)
    with Machine(tmp_path, **settings) as server, client(server) as http:
        headers = signed_in(server, env)
        assert opened(http, "one", headers, expiresInSeconds=3600).content == first.content
        if database_url is None:
            until(lambda: "far ahead" in warned(http), "readiness warns")
            with pytest.raises(subprocess.CalledProcessError) as ill:
                operate(server, "doctor", "--live")
            assert "s ahead of the time that servers have seen" in ill.value.stdout
        assert (status(http, "one", headers), told(http, "one", headers)) == ("PENDING", allowed)
        operate(server, "clock", "confirm", "--live")
        expected = "EXPIRED" if database_url is None else "PENDING"
        until(lambda: status(http, "one", headers) == expected, "what is due ends")
        until(lambda: warned(http) == "", "the warning ends")
