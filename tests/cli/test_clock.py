"""``opentill clock`` from the command line."""

import json
from pathlib import Path

import pytest

from cli.program import Serving, run, serving

ORDER = {"amount": "100.00", "currency": "NGN", "customerEmail": "payer@example.com"}


def status_of(server: Serving, reference: str) -> str:
    answer = server.ask("GET", f"/v1/checkout/order/{reference}")
    return str(answer.json()["data"]["order"]["status"])


def test_moving_the_clock_ends_what_falls_due_beside_a_server(tmp_path: Path) -> None:
    """When the command has ended, the server's next answer shows the order expired; others stay."""
    data = tmp_path / "data"
    with serving(data) as server:
        for reference, seconds in (("soon", 1800), ("later", 7200)):
            order = ORDER | {"orderReference": reference, "expiresInSeconds": seconds}
            assert server.ask("POST", "/v1/checkout/order", {"order": order}).status_code == 200
        moved = run("clock", "advance", "30m", "--data", str(data))
        assert [status_of(server, each) for each in ("soon", "later")] == ["EXPIRED", "PENDING"]
        shown = server.ask("GET", "/sandbox/clock").json()["data"]
    assert (moved.returncode, moved.stderr) == (0, "")
    assert "1800 seconds ahead. 1 orders fell due and have ended." in moved.stdout
    assert shown["offsetSeconds"] == 1800


@pytest.mark.parametrize(("by", "seconds"), [("90s", 90), ("30m", 1800), ("2h", 7200), ("1d", 86_400)])
def test_a_length_of_time_is_written_as_people_do(tmp_path: Path, by: str, seconds: int) -> None:
    """Seconds, minutes, hours and days move the clock by so much, also where no server runs."""
    moved = run("clock", "advance", by, "--json", "--data", str(tmp_path))
    shown = run("clock", "show", "--json", "--data", str(tmp_path))
    assert [json.loads(each.stdout)["offsetSeconds"] for each in (moved, shown)] == [seconds] * 2
    assert json.loads(moved.stdout)["ordersEnded"] == 0


@pytest.mark.parametrize("by", ["-30m", "0m", "0", "m", "1.5h", "30 m", "1w", "٣m"])
def test_what_is_no_length_of_time_moves_nothing(tmp_path: Path, by: str) -> None:
    """The sentence shows how to write one, and the clock stands where it stood."""
    refused = run("clock", "advance", "--data", str(tmp_path), "--", by)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert refused.stderr.count("\n") == 1
    assert "90s, 30m, 2h or 1d" in refused.stderr
    assert json.loads(run("clock", "show", "--json", "--data", str(tmp_path)).stdout)["offsetSeconds"] == 0


def test_the_clock_stays_within_a_hundred_years(tmp_path: Path) -> None:
    """Beyond it nothing moves, for dates could no longer be written."""
    assert run("clock", "advance", "36500d", "--data", str(tmp_path)).returncode == 0
    refused = run("clock", "advance", "1s", "--data", str(tmp_path))
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "a hundred years" in refused.stderr


@pytest.mark.parametrize("command", [("show",), ("advance", "30m")])
def test_live_mode_has_no_clock(tmp_path: Path, command: tuple[str, ...]) -> None:
    """The command says so, changes nothing and does not even make a database (ruling 23)."""
    data = tmp_path / "live"
    refused = run("clock", *command, "--live", "--data", str(data), OPENTILL_SECRET_KEY="cd" * 32)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "in live mode time is real" in refused.stderr
    assert not data.exists()


def test_a_person_says_that_the_clock_is_right(tmp_path: Path) -> None:
    """The answer has the time, and the one that was seen last; nothing else in the database changes."""
    first, second = (
        json.loads(run("clock", "confirm", "--json", "--data", str(tmp_path)).stdout) for _ in "ab"
    )
    assert first["lastSeen"] is None
    assert second["lastSeen"] == first["now"] < second["now"]
    shown = run("clock", "confirm", "--data", str(tmp_path))
    assert shown.returncode == 0
    assert "Servers saw the time last at" in shown.stdout
