"""Five calls to the rail, each brought to one point between its two commits, and the server killed there.

What is true at the moment of death is read from the books and from the rail's own journal; what came of it
is asked of the next server on the same folder, once its worker has done its work.
"""

import asyncio
import json
import sqlite3
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import httpx2

from opentill.engine.engine import TRIES
from races.books import Books, calls_under_way, ledger_check, read_books, until
from races.lines import CHALLENGE_CARD, OTP_CARD, Line, paid
from server import Server, signed_in

OPERATIONS: Final = ("charge", "confirm", "challenge", "void", "refund")
"""The calls that are cut off, each on an order that has this word for its reference."""
PATIENT: Final[dict[str, Any]] = {"card_timeout_seconds": 4, "call_grace_seconds": 0.2}
"""The server that dies. All five calls must be where they should be before the first times out."""
QUICK: Final[dict[str, Any]] = {
    "card_timeout_seconds": 0.5,
    "call_grace_seconds": 0.1,
    "sweep_interval_seconds": 0.1,
}
LONG_MILLISECONDS: Final = 60_000
LOCKING_MILLISECONDS: Final = 1500
"""How long the rail keeps its answers back so that the books can be locked before they come."""
APPROVING_MILLISECONDS: Final = 300
"""How long it keeps the approval back that is to be voided, so that its order can be cancelled."""


class Point(Enum):
    """A point where calls are cut off; the value tells the rail: an outcome, and how late it answers."""

    BEFORE_THE_RAIL = ("timeout", 0)
    """The intention is committed; the call never arrives."""
    BEFORE_THE_ANSWER = (None, LONG_MILLISECONDS)
    """The rail has done it and remembers it; its answer never arrives."""
    BEFORE_THE_SECOND_COMMIT = (None, LOCKING_MILLISECONDS)
    """The answer is in hand; it can not be written."""


@dataclass(frozen=True)
class Death:
    """A server that was killed with every operation at one point, and what came of it."""

    point: Point
    left: Books
    """As the dead server left them."""
    finished: Books
    """After the next server's worker had finished, and after everything had been asked again."""
    ledger_check: str
    shown: dict[str, Any]
    """What ``/v1/opentill/orders/{reference}`` said in the end, by operation."""
    money: dict[str, Any]
    """The same of ``/money``."""
    again: dict[str, httpx2.Response]
    """What the same request, under the same key where it takes one, was answered after all."""


def died_at(point: Point, folder: Path) -> Death:
    """Kill a server with every operation at this point, and let another one finish."""
    with Server(folder, **PATIENT) as server:
        requests = asyncio.run(_cut_off(server, point))
    left = read_books(server.data)
    with Server(folder, **QUICK) as server:
        until(lambda: calls_under_way(server.data) == 0)
        again, shown, money = asyncio.run(_asked(server, requests))
        assert server.stop() == 0
        checked = ledger_check(server)
    return Death(point, left, read_books(server.data), checked, shown, money, again)


def call_of(books: Books, operation: str) -> str | None:
    """Return which call to the rail the books say is under way for the operation's one attempt or refund."""
    order_id = books.by_reference[operation]["order_id"]
    about = books.refunds if operation == "refund" else books.attempts
    calls = [row["call_kind"] for row in about.get(order_id, [])]
    return calls[0] if calls else None


def done_by_rail(books: Books, operation: str) -> bool:
    """Tell whether the rail remembers to have moved the money of the operation."""
    order_id = books.by_reference[operation]["order_id"]
    if operation == "refund":
        [refund] = books.refunds[order_id]
        return books.paid_out.get(refund["refund_id"], {}).get("state") == "done"
    [attempt] = books.attempts[order_id]
    known = books.at_the_rail.get(attempt["transaction_id"], {})
    return known.get("state") == ("voided" if operation == "void" else "approved")


# --- the life that is cut off -----------------------------------------------------------------------

Request = Callable[[Line], Awaitable[httpx2.Response]]


async def _cut_off(server: Server, point: Point) -> dict[str, Request]:
    """Bring every operation to the point and kill the server; the requests are for asking again."""
    line = Line(server.url, await asyncio.to_thread(signed_in, server), most_connections=len(OPERATIONS) + 2)
    requests = await _prepared(line)
    approved = await _void_begun(server, line, requests["void"], point)
    outcome, delay = point.value
    await line.switch_rail("charge", outcome or "approve", delay=delay)
    await line.switch_rail("confirm", outcome, count=2, delay=delay)
    await line.switch_rail("refund", outcome, delay=delay)
    running = [asyncio.ensure_future(requests[each](line)) for each in OPERATIONS if each != "void"]
    await asyncio.to_thread(_kill_there, server, point)
    await asyncio.gather(approved, *running, return_exceptions=True)
    await line.close()
    return requests


async def _prepared(line: Line) -> dict[str, Request]:
    """Orders on which each operation is one request away, and those requests."""
    for reference in OPERATIONS:
        assert (await line.create(reference)).status_code == 200
    confirm, challenge, refund = [
        (await line.card(reference, number=number)).json()["data"]
        for reference, number in (("confirm", OTP_CARD), ("challenge", CHALLENGE_CARD), ("refund", OTP_CARD))
    ]
    secure = challenge["secureAuthenticationData"]
    await line.pass_challenge(secure)
    assert paid(await line.otp("refund", refund["transactionId"]))
    return {
        "charge": lambda line: line.card("charge", "key-charge"),
        "confirm": lambda line: line.otp("confirm", confirm["transactionId"], "key-confirm"),
        "challenge": lambda line: line.come_back(urlsplit(secure["termUrl"]).path),
        "void": lambda line: line.cancel("void", "key-void"),
        "refund": lambda line: line.refund(refund["transactionId"], key="key-refund"),
    }


async def _void_begun(server: Server, line: Line, cancel: Request, point: Point) -> Awaitable[Any]:
    """Cancel an order while its card is being approved, which must then be voided; returns the approval."""
    outcome, delay = point.value
    await line.switch_rail("void", outcome, delay=delay)
    await line.switch_rail("charge", "approve", delay=APPROVING_MILLISECONDS)
    approved = asyncio.ensure_future(line.card("void"))
    await asyncio.to_thread(until, lambda: _approved_at_the_rail(read_books(server.data), "void"))
    assert (await cancel(line)).status_code == 200
    return approved


def _approved_at_the_rail(books: Books, reference: str) -> bool:
    attempts = books.attempts.get(books.by_reference[reference]["order_id"], [])
    return any(books.at_the_rail.get(a["transaction_id"], {}).get("state") == "approved" for a in attempts)


def _kill_there(server: Server, point: Point) -> None:
    until(lambda: _all_there(read_books(server.data), point))
    if point is Point.BEFORE_THE_SECOND_COMMIT:
        with _locked_books(server):
            until(lambda: _answers_held_up(server) == len(OPERATIONS))
            server.kill()
    else:
        server.kill()


def _all_there(books: Books, point: Point) -> bool:
    """Tell whether all intentions are committed and, where it may, the rail has carried them out."""
    done = point is not Point.BEFORE_THE_RAIL
    return all(call_of(books, each) == each and done_by_rail(books, each) is done for each in OPERATIONS)


@contextmanager
def _locked_books(server: Server) -> Iterator[None]:
    """Another program is in the middle of a write transaction on the server's file."""
    with closing(sqlite3.connect(server.data / "opentill.db", isolation_level=None)) as foreign:
        foreign.execute("BEGIN IMMEDIATE")
        yield
        foreign.execute("ROLLBACK")


def _answers_held_up(server: Server) -> int:
    """Return how many commands could not be committed so far; a batch says so at each of its tries."""
    said = [json.loads(line) for line in server.log_file.read_text().splitlines() if line.endswith("}")]
    batches = [line for line in said if line.get("event") == "batch_runs_again"][::TRIES]
    return sum(batch["commands"] for batch in batches)


# --- the life after it ------------------------------------------------------------------------------


async def _asked(
    server: Server, requests: dict[str, Request]
) -> tuple[dict[str, httpx2.Response], dict[str, Any], dict[str, Any]]:
    """The answers to all requests, made once more, and what the lookups say then."""
    line = Line(server.url, await asyncio.to_thread(signed_in, server))
    again = {each: await request(line) for each, request in requests.items()}
    shown = {each: (await line.get(f"/v1/opentill/orders/{each}")).json()["data"] for each in OPERATIONS}
    money = {
        each: (await line.get(f"/v1/opentill/orders/{each}/money")).json()["data"] for each in OPERATIONS
    }
    await line.close()
    return again, shown, money
