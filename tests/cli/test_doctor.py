"""``opentill doctor`` from the command line: what it finds, and that each finding has its fix."""

import json
import shutil
import socket
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from cli.program import run, serving
from databases import POSTGRES, databases

KEY = "cd" * 32
LONG_AGO = 1_000_000


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data folder of a sandbox in which one order waits and one was cancelled."""
    data = tmp_path_factory.mktemp("till") / "data"
    with serving(data) as server:
        for reference in ("waits", "ends"):
            order = {"amount": "1.00", "currency": "NGN", "customerEmail": "a@example.com"}
            server.ask("POST", "/v1/checkout/order", {"order": order | {"orderReference": reference}})
        server.ask("POST", "/v1/checkout/order/cancel", {"orderReference": "ends"})
    return data


@pytest.fixture
def data(made: Path, tmp_path: Path) -> Path:
    shutil.copytree(made, tmp_path / "data")
    (tmp_path / "data").chmod(0o700)
    return tmp_path / "data"


def execute(data: Path, statement: str) -> None:
    with closing(sqlite3.connect(data / "opentill.db", isolation_level=None)) as connection:
        connection.execute("PRAGMA ignore_check_constraints = ON")
        connection.execute(statement)


def free_port() -> str:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return str(taken.getsockname()[1])


def states(data: Path, *more: str, **environment: str) -> tuple[int, dict[str, dict[str, str]]]:
    """Exit status, and the findings by check."""
    (data / "sandbox.env").unlink(missing_ok=True)  # it names a server that was
    environment = {"OPENTILL_PORT": free_port()} | environment
    answer = run("doctor", "--json", "--data", str(data), *more, **environment)
    assert answer.stderr == ""
    told = json.loads(answer.stdout)
    assert told["healthy"] is (answer.returncode == 0)
    return answer.returncode, {each["check"]: each for each in told["checks"]}


def ill(found: dict[str, dict[str, str]]) -> dict[str, str]:
    """The checks that are not well, each with its state; every one has a fix."""
    unwell = {name: each for name, each in found.items() if each["state"] in {"warning", "failed"}}
    assert all(each["fix"] for each in unwell.values())
    return {name: each["state"] for name, each in unwell.items()}


CHECKS = {
    *("settings", "data-folder", "disk", "secret-key", "public-url", "server", "dangers", "database"),
    *("stamp", "clock", "writes", "seen-time", "due-orders", "calls", "money", "webhooks", "ledger"),
}


def test_an_installation_in_order_is_said_to_be(data: Path) -> None:
    """Every check is well, the exit status is 0, and people read one line for each."""
    status, found = states(data)
    assert (status, ill(found)) == (0, {})
    assert set(found) == CHECKS
    shown = run("doctor", "--data", str(data), OPENTILL_PORT=free_port())
    assert (shown.returncode, shown.stderr) == (0, "")
    assert [line.split()[1] for line in shown.stdout.splitlines()[: len(CHECKS)]] == list(found)
    assert shown.stdout.rstrip().splitlines()[-1] == f"All is well: {len(CHECKS)} ok."


def _weaken_key(data: Path) -> None:
    (data / "secret.key").chmod(0o644)


def _other_key(data: Path) -> None:
    (data / "secret.key").write_text("ab" * 32)


def _no_database(data: Path) -> None:
    (data / "opentill.db").unlink()


def _sql(statement: str) -> Callable[[Path], None]:
    return lambda data: execute(data, statement)


def _cut_key(data: Path) -> None:
    (data / "secret.key").write_text("abcd")


def _no_key(data: Path) -> None:
    (data / "secret.key").unlink()


def _other_file(data: Path) -> None:
    (data / "opentill.db").write_text("x" * 9999)


OLDER = _sql("UPDATE alembic_version SET version_num = '0001'")
OVERDUE = _sql(f"UPDATE orders SET due_at = {LONG_AGO}, awaits_due = 1 WHERE reference = 'waits'")
UNPLACED = _sql(f"UPDATE events SET place = NULL, at = {LONG_AGO}")
DAMAGE: dict[str, tuple[Callable[[Path], None], str, str]] = {
    "a folder open to others": (lambda data: data.chmod(0o755), "data-folder", "chmod 700"),
    "a key open to others": (_weaken_key, "secret-key", "chmod 600"),
    "a key that is gone": (_no_key, "secret-key", "backup"),
    "a key cut short": (_cut_key, "secret-key", "OPENTILL_SECRET_KEY"),
    "another key": (_other_key, "stamp", "start with that key"),
    "no database": (_no_database, "database", "--database"),
    "no database of ours": (_other_file, "database", "opentill"),
    "an older schema": (OLDER, "database", "opentill migrate"),
    "the other mode": (_sql("UPDATE installation SET mode = 'live'"), "stamp", "another folder"),
    "a clock behind": (_sql("UPDATE installation SET seen_at = 4000000000000"), "seen-time", "clock confirm"),
    "an overdue order": (OVERDUE, "due-orders", "start a server"),
    "an unplaced event": (UNPLACED, "webhooks", "start a server"),
    "a broken book": (_sql("UPDATE orders SET attempt_count = 7"), "ledger", "opentill ledger check"),
}


@pytest.mark.parametrize("what", DAMAGE)
def test_each_ill_is_found_with_its_fix(data: Path, what: str) -> None:
    """The check that is meant for it says so, and what to do; what can not be looked at is skipped."""
    damage, check, fix = DAMAGE[what]
    damage(data)
    status, found = states(data)
    assert check in ill(found)
    assert fix in found[check]["fix"]
    assert status == (1 if "failed" in ill(found).values() else 0)
    assert set(found) == CHECKS


def test_a_call_that_nobody_settled_is_found(data: Path) -> None:
    """An attempt whose call ran out of time long ago waits for a worker."""
    execute(
        data,
        "INSERT INTO attempts (account_id, transaction_id, order_id, status, amount, card_masked, "
        "card_brand, started_at, updated_at, call_kind, call_until, confirmations, response_code, message) "
        f"SELECT account_id, 't', order_id, 'CALLING', amount, '', '', 1, 1, 'charge', {LONG_AGO}, 0, '', '' "
        "FROM orders WHERE reference = 'waits'",
    )
    execute(data, "UPDATE orders SET attempt_count = 1 WHERE reference = 'waits'")
    _, found = states(data)
    assert ill(found) == {"calls": "failed"}


def test_webhooks_that_do_not_arrive_are_found(data: Path) -> None:
    """First a dead delivery, then a paused endpoint, each with the way out."""
    account = "(SELECT account_id FROM merchants)"
    execute(
        data,
        f"INSERT INTO webhook_deliveries VALUES ({account}, 'd', 'e', 'v', 'o', 1, 'order_cancelled', "
        "'DEAD', 6, NULL, NULL, 500, '', 1, 1)",
    )
    _, found = states(data)
    assert "resend" in found["webhooks"]["fix"]
    execute(
        data,
        "INSERT INTO webhook_endpoints (account_id, endpoint_id, url, events, enabled, key_sealed, paused_at,"
        f" failing_since, created_at) VALUES ({account}, 'e', 'http://127.0.0.1:1/', '', 1, x'', 1, 1, 1)",
    )
    _, found = states(data)
    assert "PATCH" in found["webhooks"]["fix"]


def test_settings_that_can_not_be_used_end_the_visit(data: Path) -> None:
    """There is nothing to look at by wrong settings; the one that is wrong is named."""
    status, found = states(data, OPENTILL_MAX_BATCH="many")
    assert (status, set(found)) == (1, {"settings"})
    assert "OPENTILL_MAX_BATCH" in found["settings"]["said"]


def test_a_port_that_somebody_else_has_is_found(data: Path) -> None:
    """Nobody answers there, it can not be had, and the fix names --port."""
    with closing(socket.socket()) as silent:
        silent.bind(("127.0.0.1", 0))
        _, found = states(data, OPENTILL_PORT=str(silent.getsockname()[1]))
    assert ill(found) == {"server": "failed"}
    assert "--port" in found["server"]["fix"]


def test_a_running_server_is_asked_whether_it_is_ready(tmp_path: Path) -> None:
    """Beside a server on PostgreSQL, or on a file, everything is well, and the server is named."""
    with databases(POSTGRES) as new:
        for number, url in enumerate((None, new())):
            data = tmp_path / str(number)
            environment = {} if url is None else {"OPENTILL_DATABASE_URL": url}
            with serving(data, **environment) as server:
                answer = run("doctor", "--json", "--data", str(data), **environment)
                found = {each["check"]: each for each in json.loads(answer.stdout)["checks"]}
                assert (answer.returncode, ill(found)) == (0, {})
                assert found["server"]["said"] == f"it answers at {server.url} and is ready"


def test_what_is_dangerous_in_live_mode_is_found(tmp_path: Path) -> None:
    """A URL without TLS, requests without limit and webhooks to this machine are failures there."""
    live = {"OPENTILL_SECRET_KEY": KEY, "OPENTILL_PUBLIC_URL": "https://pay.example.com"}
    assert run("migrate", "--live", "--data", str(tmp_path), **live).returncode == 0
    _, found = states(tmp_path, "--live", **live)
    assert "failed" not in ill(found).values()
    dangerous = {"OPENTILL_PUBLIC_URL": "http://pay.example.com", "OPENTILL_POST_LIMIT": "0"}
    status, found = states(tmp_path, "--live", **live | dangerous)
    assert status == 1
    assert ill(found).items() >= {("public-url", "failed"), ("dangers", "failed")}
    assert "OPENTILL_POST_LIMIT" in found["dangers"]["said"]


def test_nothing_is_made_where_nothing_is(tmp_path: Path) -> None:
    """An empty place stays empty: no folder, key or database comes of looking."""
    status, found = states_of_nothing(tmp_path / "none")
    assert status == 1
    assert found["database"]["state"] == "failed"
    assert list(tmp_path.iterdir()) == []


def states_of_nothing(data: Path) -> tuple[int, dict[str, dict[str, str]]]:
    answer = run("doctor", "--json", "--data", str(data), OPENTILL_PORT=free_port())
    return answer.returncode, {each["check"]: each for each in json.loads(answer.stdout)["checks"]}


def test_no_secret_is_told(data: Path) -> None:
    """Neither the key nor a database's password appears in what it prints."""
    secret = (data / "secret.key").read_text().strip()
    url = "postgresql://someone:hunter2@127.0.0.1:1/none"
    for more in ((), ("--database", url)):
        answer = run("doctor", "--data", str(data), *more, OPENTILL_PORT=free_port())
        assert secret not in answer.stdout
        assert "hunter2" not in answer.stdout + answer.stderr


def test_money_that_waits_for_a_person_is_told_of(data: Path) -> None:
    """A transfer that matches no order is a warning that names the command to see it by."""
    with serving(data) as server:
        server.ask("POST", "/sandbox/transfers", {"accountNumber": "0000000000", "amount": "5.00"})
    _, found = states(data)
    assert found["money"]["state"] == "warning"
    assert "opentill credits list" in found["money"]["fix"]
