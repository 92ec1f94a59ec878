"""``opentill ledger check`` from the command line."""

import asyncio
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from cli.program import run, serving
from opentill.store.audit.examination import ALL_CHECKS
from store import seed_data

FILE = "opentill.db"


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    folder = tmp_path_factory.mktemp("seed")
    return folder / FILE, asyncio.run(seed_data.play(folder))


@pytest.fixture
def data(played: tuple[Path, dict[str, str]], tmp_path: Path) -> Path:
    shutil.copy(played[0], tmp_path)
    return tmp_path


def damage(file: Path, statement: str, *values: str) -> None:
    with closing(sqlite3.connect(file, isolation_level=None)) as connection:
        connection.execute("PRAGMA ignore_check_constraints = ON")
        connection.execute(statement, values)


def test_books_in_order_are_said_to_be(data: Path) -> None:
    """Each check stands in the table with no offence, the exit status is 0, and no byte has changed."""
    before = (data / FILE).read_bytes()
    answer = run("ledger", "check", "--data", str(data))
    assert (answer.returncode, answer.stderr) == (0, "")
    table, _, last = answer.stdout.rstrip().rpartition("\n\n")
    assert [line.split() for line in table.splitlines()[1:]] == [[check.name, "0"] for check in ALL_CHECKS]
    assert last == f"38 orders; all {len(ALL_CHECKS)} checks hold."
    assert (data / FILE).read_bytes() == before


def test_a_broken_invariant_names_its_order(data: Path, played: tuple[Path, dict[str, str]]) -> None:
    """The check that found it, what it claims, account, order and what is wrong are told; exit status 1."""
    order = played[1]["paid"]
    damage(data / FILE, "UPDATE orders SET attempt_count = 7 WHERE order_id = ?", order)
    answer = run("ledger", "check", "--database", f"sqlite:///{data / FILE}")
    assert (answer.returncode, answer.stderr) == (1, "")
    table, told, last = answer.stdout.rstrip().split("\n\n")
    counts = dict(line.split() for line in table.splitlines()[1:])
    assert {name for name, count in counts.items() if count != "0"} == {"attempts-counted"}
    assert counts["attempts-counted"] == "1"
    heading, offence = told.splitlines()
    assert heading == "attempts-counted: The order counts its attempts."
    assert offence.endswith(f"order {order}: counts 7 attempts and has 1")
    assert last == f"38 orders; 1 of {len(ALL_CHECKS)} checks are broken."


def test_many_offences_are_told_in_part(data: Path) -> None:
    """Of each check the first 20 offences are listed, and the rest is counted."""
    damage(data / FILE, "UPDATE orders SET refund_count = refund_count + 1")
    answer = run("ledger", "check", "--data", str(data))
    assert answer.returncode == 1
    assert answer.stdout.count(", order ") == 20
    assert "\n  and 18 more\n" in answer.stdout


def test_the_books_of_a_running_server_can_be_checked(tmp_path: Path) -> None:
    """A check beside a server reads its orders and its rail's journal, and leaves it in its place."""
    data = tmp_path / "data"
    with serving(data) as server:
        order = {"amount": "100.00", "currency": "NGN", "customerEmail": "payer@example.com"}
        made = server.ask("POST", "/v1/checkout/order", {"order": order | {"orderReference": "r"}})
        answer = run("ledger", "check", "--data", str(data))
        cancelled = server.ask("POST", "/v1/checkout/order/cancel", {"orderReference": "r"})
    assert (made.status_code, answer.returncode, cancelled.status_code) == (200, 0, 200)
    checks = len(ALL_CHECKS) + 1  # the rail's
    assert f"2 orders; all {checks} checks hold." in answer.stdout  # the server's own demo order too


def test_a_missing_database_is_not_made(tmp_path: Path) -> None:
    """Where there is no database the command says so in one sentence, exits 2 and makes no file or folder."""
    answer = run("ledger", "check", "--data", str(tmp_path / "data"))
    assert (answer.returncode, answer.stdout) == (2, "")
    assert answer.stderr.startswith("opentill: There is no database ")
    assert answer.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_an_older_database_is_not_migrated(data: Path) -> None:
    """A database of an earlier version is refused in one sentence with the fix, and left as it is."""
    damage(data / FILE, "UPDATE alembic_version SET version_num = '0001'")
    before = (data / FILE).read_bytes()
    answer = run("ledger", "check", "--data", str(data))
    assert (answer.returncode, answer.stdout) == (2, "")
    assert "bring it up to date with `opentill migrate`" in answer.stderr
    assert (data / FILE).read_bytes() == before
