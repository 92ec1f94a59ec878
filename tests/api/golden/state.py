"""What a server keeps, so that a test can say: nothing changed."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import httpx2

from databases import Contents, contents, reading
from polling import until
from server import Server, client, signed_in

OTP_CARD = "5434621074252808"
PASSING = {"installation", "leases"}
"""Tables that change although nobody asked: the readiness probe and the sequencer write there."""


def rows(server: Server) -> Contents:
    """Every row of every table, by the table's name."""
    return {name: rows for name, rows in contents(server.place).items() if name not in PASSING}


def files(server: Server) -> dict[str, bytes]:
    """Every file of the data folder."""
    found = (file for file in server.data.rglob("*") if file.is_file())
    return {file.relative_to(server.data).as_posix(): file.read_bytes() for file in found}


@contextmanager
def unchanged(server: Server) -> Iterator[None]:
    """Whatever is done meanwhile changes no row, and the server serves afterwards as it did before."""
    until(lambda: all_is_told(server), "what happened before has its place in the feed")
    before, logged = rows(server), server.log_file.read_text()
    seen = sight(server)
    yield
    assert rows(server) == before
    assert sight(server) == seen
    new_lines = server.log_file.read_text().removeprefix(logged)
    assert not any(word in new_lines for word in ('"error"', "Traceback", "request_failed"))


def all_is_told(server: Server) -> bool:
    """Return whether every event has its place, so that no worker has anything to write."""
    with reading(server.place) as run:
        return not run("SELECT 1 FROM events WHERE place IS NULL LIMIT 1")


def sight(server: Server) -> str:
    """Return what merchants see of the orders that tests may not change."""
    with client(server) as http:
        return hashlib.sha256(
            http.get("/v1/checkout/order/victim").content
            + http.get("/v1/transactions/accounts/single?orderReference=waiting").content
            + http.get("/health/live").content
        ).hexdigest()


def given_orders(server: Server) -> str:
    """Open ``victim`` and ``waiting``, the latter with a card attempt; returns its transaction id."""
    with client(server, headers=signed_in(server)) as http:
        for reference in ("victim", "waiting"):
            assert create(http, reference).status_code == 200
        answer = submit_card(http, "waiting")
    transaction: str = answer.json()["data"]["transactionId"]
    return transaction


def create(http: httpx2.Client, reference: str, **more: object) -> httpx2.Response:
    """Ask for an order of 100 naira."""
    order = {
        "orderReference": reference,
        "amount": "100.00",
        "currency": "NGN",
        "customerEmail": "a@b.example",
    }
    return http.post("/v1/checkout/order", json={"order": order | more})


def cancel(http: httpx2.Client, reference: str) -> httpx2.Response:
    """Ask for a cancel."""
    return http.post("/v1/checkout/order/cancel", json={"orderReference": reference})


def submit_card(http: httpx2.Client, reference: str, card_number: str = OTP_CARD) -> httpx2.Response:
    """Pay by card; the test card then waits for its password."""
    details = (
        f'{{"cardCVV":"737","cardExpiryMonth":"10","cardExpiryYear":"30","cardNumber":"{card_number}",'
        '"cardPin":"8391"}'
    )
    body = {"cardDetails": details, "key": "", "orderReference": reference, "saveCard": False}
    return http.post("/v1/checkout/checkout-card-detail", json=body)
