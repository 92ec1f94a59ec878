"""``opentill credits`` and ``opentill returns``: a person decides on money, beside a running server."""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from cli.program import Serving, run, serving
from opentill.rails.sandbox.journal import JOURNAL_FILE
from polling import until

SENDER = {"senderName": "Ada \u202eibO", "senderAccountNumber": "0123456789", "senderBankCode": "058"}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("till") / "data"


@pytest.fixture(scope="module", autouse=True)
def server(data: Path) -> Iterator[Serving]:
    """A sandbox that looks for due orders at once, and leaves a return to a person at its first refusal."""
    with serving(data, OPENTILL_SWEEP_INTERVAL_SECONDS="0.05", OPENTILL_RETURN_MAX_TRIES="1") as server:
        yield server


class Till:
    """Commands on the server's data, and what the server says of it."""

    def __init__(self, data: Path, server: Serving) -> None:
        self.data = data
        self.server = server

    def said(self, *arguments: str) -> str:
        answer = run(*arguments, "--data", str(self.data))
        assert (answer.returncode, answer.stderr) == (0, "")
        return answer.stdout

    def json(self, *arguments: str) -> Any:
        return json.loads(self.said(*arguments, "--json"))

    def refused(self, *arguments: str) -> str:
        answer = run(*arguments, "--data", str(self.data))
        assert (answer.returncode, answer.stdout) == (2, "")
        assert answer.stderr.count("\n") == 1
        return answer.stderr

    def post(self, path: str, **body: object) -> dict[str, Any]:
        answer = self.server.ask("POST", path, body)
        assert answer.status_code == 200, answer.text
        data: dict[str, Any] = answer.json()["data"]
        return data

    def order(self, reference: str) -> dict[str, Any]:
        data: dict[str, Any] = self.server.ask("GET", f"/v1/opentill/orders/{reference}").json()["data"]
        return data

    def create(self, reference: str, **more: object) -> None:
        order = {"orderReference": reference, "amount": "100.00", "currency": "NGN", "customerEmail": "a@b.c"}
        self.post("/v1/checkout/order", order=order | more)

    def held(self, reference: str, amount: str = "100.00") -> str:
        """The credit id of late money that an expired order holds."""
        self.create(reference, lateMoney="hold", expiresInSeconds=1)
        self.server.ask("GET", f"/v1/checkout/get-checkout-kta/{reference}")
        until(lambda: self.order(reference)["status"] == "EXPIRED", "the order expires")
        arrived = self.post("/sandbox/transfers", orderReference=reference, amount=amount, **SENDER)
        assert arrived["disposition"] == "held"
        credit_id: str = arrived["creditId"]
        return credit_id

    def unmatched(self, amount: str = "100.00") -> str:
        """The credit id of money that came to a number which no order has."""
        arrived = self.post("/sandbox/transfers", accountNumber="0000000000", amount=amount, **SENDER)
        assert arrived["disposition"] == "unmatched"
        credit_id: str = arrived["creditId"]
        return credit_id

    def parked(self, reference: str) -> str:
        """The return id of late money that the bank refused to send back."""
        self.create(reference)
        self.server.ask("GET", f"/v1/checkout/get-checkout-kta/{reference}")
        self.post("/v1/checkout/order/cancel", orderReference=reference)
        self.post("/sandbox/rail", operation="return", outcome="refuse", count=1)
        self.post("/sandbox/transfers", orderReference=reference, amount="100.00", **SENDER)
        until(lambda: self.order(reference)["returns"][0]["status"] == "PARKED", "the return is parked")
        (left,) = self.order(reference)["returns"]
        return_id: str = left["id"]
        return return_id

    def waiting(self) -> dict[str, Any]:
        return {each["creditId"]: each for each in self.json("credits", "list")["credits"]}


@pytest.fixture
def till(data: Path, server: Serving) -> Till:
    return Till(data, server)


def test_what_waits_is_listed(till: Till) -> None:
    """Both kinds of waiting money stand in the list, and what a sender wrote can not steer the terminal."""
    held, unmatched = till.held("listed"), till.unmatched("25")

    waiting = till.waiting()
    assert (waiting[held]["orderReference"], waiting[held]["held"]) == ("listed", "100.00")
    assert (waiting[unmatched]["orderReference"], waiting[unmatched]["disposition"]) == (None, "unmatched")
    shown = till.said("credits", "list")
    assert held in shown
    assert "25.00 NGN" in shown
    assert "Ada \\u202eibO" in shown
    assert "\u202e" not in shown


def test_held_money_is_accepted(till: Till) -> None:
    """Accepted money pays for its expired order, once, in the name of the operator."""
    credit_id = till.held("accepted")
    told = till.said("credits", "accept", credit_id)
    assert told == f"Credit {credit_id} of 100.00 NGN paid for order accepted.\n"

    order = till.order("accepted")
    assert (order["status"], order["amountPaid"]) == ("PAID", "100.00")
    assert order["timeline"][-1]["actor"] == {"kind": "operator", "id": "cli"}
    assert credit_id not in till.waiting()
    for verb in ("accept", "return"):
        assert "no money of this credit waits" in till.refused("credits", verb, credit_id)


def test_held_money_is_returned(till: Till) -> None:
    """Returned money goes back to its sender, once; the order stays expired."""
    credit_id = till.held("returned")
    told = till.json("credits", "return", credit_id)
    assert (told["held"], told["returning"]) == ("0.00", "100.00")

    until(lambda: till.order("returned")["money"]["returned"] == "100.00", "the money is back")
    assert till.order("returned")["status"] == "EXPIRED"
    assert "no money of this credit waits" in till.refused("credits", "return", credit_id)
    assert "no money of this credit waits" in till.refused("credits", "accept", credit_id)


def test_too_little_is_not_accepted(till: Till) -> None:
    """Money below the amount does not pay for an expired order, and goes on waiting."""
    credit_id = till.held("too-little", "99.99")
    assert "does not pay for its order" in till.refused("credits", "accept", credit_id)
    assert till.waiting()[credit_id]["held"] == "99.99"


def test_unmatched_money_is_attached(till: Till) -> None:
    """Attached money pays for its new order and leaves the house; twice it is not attached."""
    till.create("attached")
    credit_id = till.unmatched()
    told = till.json("credits", "attach", credit_id, "--to", "attached")
    assert told == {"creditId": credit_id, "disposition": "applied"}

    order = till.order("attached")
    assert (order["status"], order["credits"][0]["creditId"]) == ("PAID", credit_id)
    assert order["timeline"][-1]["actor"]["kind"] == "operator"
    assert credit_id not in till.waiting()
    assert "no money of this credit waits" in till.refused("credits", "attach", credit_id, "--to", "attached")


def test_unmatched_money_is_returned(till: Till) -> None:
    """Money that nobody claims goes back to its sender, and can not be attached any more."""
    till.create("too-late")
    credit_id = till.unmatched()
    told = till.said("credits", "return", credit_id)
    assert told == f"Credit {credit_id} of 100.00 NGN goes back from no order.\n"
    assert "no money of this credit waits" in till.refused("credits", "attach", credit_id, "--to", "too-late")


def test_unmatched_money_pays_for_nothing_by_itself(till: Till) -> None:
    """It can not be accepted where there is no order; to attach it, order and currency must fit."""
    credit_id = till.unmatched()
    assert "`opentill credits attach`" in till.refused("credits", "accept", credit_id)
    assert "there is no such" in till.refused("credits", "attach", credit_id, "--to", "nowhere")
    till.create("dollars", currency="USD")
    assert "of another currency" in till.refused("credits", "attach", credit_id, "--to", "dollars")
    nobody = "5f9a1b2c-0000-4000-8000-000000000000"
    assert "there is no merchant" in till.refused(
        "credits", "attach", credit_id, "--to", "x", "--merchant", nobody
    )
    assert credit_id in till.waiting()


def test_money_that_waits_for_the_rest_is_not_decided_on(till: Till) -> None:
    """Partial money of an order that can still be paid waits for no person."""
    till.create("short")
    arrived = till.post("/sandbox/transfers", orderReference="short", amount="40", **SENDER)
    credit_id = arrived["creditId"]
    assert credit_id not in till.waiting()
    for verb in ("accept", "return"):
        assert "waits for the rest" in till.refused("credits", verb, credit_id)


def test_a_parked_return_is_retried(till: Till) -> None:
    """It stands in the list with what the bank said; retried, the server sends it under the same id."""
    return_id = till.parked("parked")
    (listed,) = (each for each in till.json("returns", "list")["returns"] if each["returnId"] == return_id)
    assert (listed["status"], listed["kind"], listed["amount"]) == ("PARKED", "late", "100.00")
    assert return_id in till.said("returns", "list", "--parked")

    assert till.json("returns", "retry", return_id)["status"] == "DUE"
    until(lambda: till.order("parked")["returns"][0]["status"] == "DONE", "the money is back")
    assert till.order("parked")["returns"][0]["id"] == return_id
    assert return_id not in till.said("returns", "list")
    assert "is back already" in till.refused("returns", "retry", return_id)


def test_a_parked_return_is_settled_by_hand(till: Till) -> None:
    """The bank's reference is kept with it, and the server never sends it."""
    return_id = till.parked("by-hand")
    told = till.said("returns", "settle", return_id, "--bank-reference", "FT-2026-1")
    assert told == f"Return {return_id} of 100.00 NGN is settled.\n"

    order = till.order("by-hand")
    assert (order["returns"][0]["status"], order["returns"][0]["bankReference"]) == ("DONE", "FT-2026-1")
    assert order["money"]["returned"] == "100.00"
    assert order["timeline"][-1]["actor"]["kind"] == "operator"
    assert "is back already" in till.refused("returns", "settle", return_id, "--bank-reference", "again")


def test_what_the_bank_has_sent_is_not_settled_by_hand(till: Till) -> None:
    """The bank had sent it under the return's id after all: that is booked, and the person is told."""
    return_id = till.parked("by-both")
    with closing(sqlite3.connect(till.data / JOURNAL_FILE)) as journal, journal:
        journal.execute("UPDATE rail_payouts SET state = 'done' WHERE payout_id = ?", (return_id,))
    told = till.said("returns", "settle", return_id, "--bank-reference", "FT-2026-2")
    assert f"The bank had sent return {return_id} of 100.00 NGN already" in told
    assert "under FT-2026-2 as well, it went out twice" in told
    left = till.order("by-both")["returns"][0]
    assert (left["status"], left["bankReference"]) == ("DONE", "")


def test_a_return_that_was_settled_is_closed_at_the_bank(till: Till) -> None:
    """The bank refuses the id of a settled return from then on."""
    return_id = till.parked("closed")
    till.said("returns", "settle", return_id, "--bank-reference", "FT-2026-3")
    with closing(sqlite3.connect(till.data / JOURNAL_FILE)) as journal:
        asked = journal.execute("SELECT state FROM rail_payouts WHERE payout_id = ?", (return_id,))
        assert asked.fetchall() == [("closed",)]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("credits", "return", "nothing"), "there is no such credit"),
        (("credits", "accept", "x' OR '1'='1"), "there is no such credit"),
        (("returns", "retry", "nothing"), "there is no such credit"),
        (("returns", "settle", "nothing", "--bank-reference", " "), "a bank reference has 1 to 255"),
        (("returns", "settle", "nothing", "--bank-reference", "a\nb"), "a bank reference has 1 to 255"),
        (("returns", "settle", "nothing"), "requires an argument"),
        (("credits", "list", "--limit", "0"), "Must be >= 1"),
    ],
)
def test_what_can_not_be_is_a_sentence(till: Till, arguments: tuple[str, ...], says: str) -> None:
    """An id that is none, or an option that can not be, is one sentence and status 2."""
    assert says in till.refused(*arguments)


def test_the_books_hold_after_all_of_it(till: Till) -> None:
    """After every decision above, the audit of the whole database finds nothing."""
    assert "checks hold" in till.said("ledger", "check")
