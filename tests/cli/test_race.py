"""``opentill race``, run against a sandbox, against a live server, and against one that lies."""

import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import httpx2
import pytest

from cli.program import run
from databases import POSTGRES, NewDatabase
from server import Server


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(tmp_path_factory.mktemp("race"), sandbox_rail_delay_milliseconds=5) as running:
        yield running


def test_a_race_says_who_won_and_that_the_books_balance(server: Server) -> None:
    """Every order has one ending, its winners are counted, and money and ledger come out even."""
    acts = "cancel,pay,refund,expire"
    answer = run("race", "--orders", "40", "--rings", "8", "--with", acts, "--url", server.url, "--json")
    assert (answer.returncode, answer.stderr) == (0, "")
    said = json.loads(answer.stdout)
    requests = {each["request"]: each for each in said["requests"]}
    endings = said["statuses"]
    assert (said["orders"], said["kept"], said["complaints"]) == (40, True, [])
    assert sum(endings.values()) == 40
    assert requests["create"]["asked"] == 40
    assert requests["cancel"]["asked"] == 80
    assert requests["cancel"]["won"] == endings["CANCELLED"]
    assert requests["pay"]["won"] == endings.get("PAID", 0)
    assert requests["cancel"]["refused"].keys() <= {"order-already-paid", "order-already-cancelled"}
    assert said["money"]["returning"] == "0.00"
    assert said["ledgerDifference"] == "0.00"


@pytest.mark.parametrize("database_kind", [POSTGRES], indirect=True, ids=str)
def test_six_hundred_contested_orders_share_their_commits_to_the_last(
    tmp_path: Path, new_database: NewDatabase
) -> None:
    """On PostgreSQL no batch fails as a whole, whatever names the orders in it are called by."""
    database = new_database()
    with Server(tmp_path, database_url=database, sandbox_rail_delay_milliseconds=5) as server:
        acts = "cancel,pay,transfer,refund"
        answer = run("race", "--orders", "600", "--with", acts, "--url", server.url, "--json")
        metrics = httpx2.get(f"{server.url}/metrics").text
    assert answer.returncode == 0, answer.stdout
    assert json.loads(answer.stdout)["orders"] == 600
    assert "opentill_batches_run_one_by_one_total 0.0" in metrics.splitlines()
    assert "batch_run_one_by_one" not in server.log_file.read_text()


def test_a_race_is_told_to_people_too(server: Server) -> None:
    """A table of requests, the endings, the money, and the verdict in a sentence."""
    answer = run("race", "--orders", "4", "--with", "cancel,pay", "--data", str(server.data))
    assert (answer.returncode, answer.stderr) == (0, "")
    assert "p99 ms" in answer.stdout
    assert "The promise was kept" in answer.stdout


@pytest.mark.parametrize(
    ("acts", "sentence"), [("cancel,dance", "it does not take 'dance'"), ("", "--with takes any of")]
)
def test_what_can_not_be_raced_with_is_said(server: Server, acts: str, sentence: str) -> None:
    """An unknown act ends it in one line before any order is opened."""
    answer = run("race", "--with", acts, "--url", server.url)
    assert (answer.returncode, answer.stdout) == (2, "")
    assert sentence in answer.stderr


def test_a_live_server_is_not_raced_on(tmp_path: Path) -> None:
    """A server in live mode is refused in one line, and gets no order."""
    with Server(tmp_path, mode="live", secret_key="5e" * 32) as live:
        answer = run("race", "--orders", "1", "--url", live.url)
    assert (answer.returncode, answer.stdout) == (2, "")
    assert "is live; races are held on a sandbox only" in answer.stderr


# --- the negative control -----------------------------------------------------------------------------

MONEY = {"received": "1500.50", "applied": "1500.50", "held": "0.00", "returning": "0.00"} | {
    "returned": "0.00",
    "refunded": "0.00",
}


class Liar(BaseHTTPRequestHandler):
    """Grants everything to everybody, and has booked one kobo too much."""

    def do_GET(self) -> None:
        reference = self.path.rpartition("/")[2]
        order = {"orderReference": reference, "status": "PAID", "amount": "1500.50", "money": MONEY}
        order |= {"refunds": [], "timeline": []}
        self._say({"difference": "0.01"} if "trial-balance" in self.path else order)

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        self._say({"status": True, "success": True, "message": "", "transactionId": "T"})

    def _say(self, data: dict[str, Any]) -> None:
        body = json.dumps({"data": data, "paths": {"/sandbox/rail": {}}}).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name in the library
        """Nothing."""


def test_two_winners_and_an_unbalanced_ledger_are_found_out() -> None:
    """Of a server that grants a payment and two cancels of each order the race says so, and exits with 1."""
    liar = ThreadingHTTPServer(("127.0.0.1", 0), Liar)
    Thread(target=liar.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{liar.server_port}"
    answer = run("race", "--orders", "3", "--with", "cancel,pay", "--url", url, "--json")
    liar.shutdown()
    said = json.loads(answer.stdout)
    assert answer.returncode == 1
    assert not said["kept"]
    winners = [each for each in said["complaints"] if "3 winners (CANCELLED, CANCELLED, PAID)" in each]
    assert len(winners) == 3
    assert "ledger: debits and credits differ by 0.01" in said["complaints"]
