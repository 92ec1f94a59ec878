"""Two runs over the same orders, beside single cancels and payers, and SIGKILL in the middle of them."""

import asyncio
import json
import random
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import httpx2
import pytest

from databases import POSTGRES, SQLITE, NewDatabase, Place
from faults.test_kill import QUICK
from races.books import calls_under_way, ledger_check, read_books, until
from races.laws import Heard, Told, complaints
from races.lines import Line, paid
from server import Server, signed_in

ORDERS: Final = [f"order-{number}" for number in range(400)]
PAYERS: Final = ORDERS[::4]
"""Orders whose payers have a password to send."""
SINGLE: Final = ORDERS[2::4]
"""Orders that somebody else cancels one by one."""
IN_A_CALL: Final = 40
RUNS: Final = ("one", "two")
ANSWERS_BEFORE_DEATH: Final = 3


@pytest.fixture(scope="module", params=[SQLITE, POSTGRES], ids=str)
def database_kind(request: pytest.FixtureRequest) -> Any:
    return request.param


@dataclass
class Run:
    """One run: which orders each of its calls names, and how those ended that have been answered."""

    name: str
    calls: dict[str, list[str]] = field(default_factory=dict)
    """By idempotency key."""
    outcomes: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        shuffled = random.sample(ORDERS, len(ORDERS))
        for start in range(0, len(shuffled), IN_A_CALL):
            self.calls[f"{self.name}-{start}"] = shuffled[start : start + IN_A_CALL]

    async def ask(self, line: Line, key: str) -> bool:
        """Tell whether the call was answered; what it said is noted, and may not differ from before."""
        try:
            answer = await line.cancel_many(self.calls[key], self.name, key)
        except httpx2.TransportError:
            return False
        if answer.status_code != 200:
            assert answer.headers.get("refusal-reason") == "idempotency-key-in-progress", answer.text
            return False
        for each in answer.json()["data"]["results"]:
            before = self.outcomes.setdefault(each["orderReference"], each["outcome"])
            assert before == each["outcome"], each
        return True


@dataclass
class Contest:
    """All that happens at once, and what was heard of it."""

    server: Server
    runs: Sequence[Run]
    transactions: dict[str, str] = field(default_factory=dict)
    heard: list[Heard] = field(default_factory=list)
    answers: int = 0

    async def prepare(self, line: Line) -> None:
        await asyncio.gather(*map(line.create, ORDERS))
        charged = await asyncio.gather(*map(line.card, PAYERS))
        for reference, answer in zip(PAYERS, charged, strict=True):
            self.transactions[reference] = answer.json()["data"]["transactionId"]

    async def fight(self, line: Line) -> None:
        """Until the server is dead, which it is in the middle of it."""
        pays = (self._pay(line, reference) for reference in PAYERS)
        singles = (self._cancel(line, reference) for reference in SINGLE)
        await asyncio.gather(*(self._go(line, run) for run in self.runs), *pays, *singles)

    async def _go(self, line: Line, run: Run) -> None:
        for key in run.calls:
            if not await run.ask(line, key):
                return
            self.answers += 1
            if self.answers == ANSWERS_BEFORE_DEATH:
                self.server.kill()

    async def _pay(self, line: Line, reference: str) -> None:
        try:
            if paid(await line.otp(reference, self.transactions[reference])):
                self.heard.append(Heard(reference, Told.PAID))
        except httpx2.TransportError:
            return

    async def _cancel(self, line: Line, reference: str) -> None:
        try:
            if (await line.cancel(reference)).status_code == 200:
                self.heard.append(Heard(reference, Told.CANCELLED))
        except httpx2.TransportError:
            return


async def at(server: Server, *acts: Any) -> None:
    """Do these things one after the other over one bundle of connections."""
    headers = await asyncio.to_thread(signed_in, server)
    async with AsyncExitStack() as stack:
        line = Line(server.url, headers, most_connections=24)
        stack.push_async_callback(line.close)
        for act in acts:
            await act(line)


async def finish(line: Line, runs: Sequence[Run]) -> None:
    """Ask every call again under its key, those that were answered as well, until it is answered."""
    for run in runs:
        for key in run.calls:
            while not await run.ask(line, key):
                continue  # its key is still held by the call that died; the server waits for that a while


def cancelled_by(place: Place, run: str) -> set[str]:
    """The references of the orders whose cancel is this run's, going by what is kept with it."""
    books = read_books(place)
    kept = json.dumps({"run": run}, separators=(",", ":"))
    every = (event for events in books.events.values() for event in events)
    mine = (event for event in every if event["type"] == "order_cancelled" and event["metadata"] == kept)
    return {books.orders[event["order_id"]]["reference"] for event in mine}


def test_runs_that_are_killed_and_go_on_tell_the_truth_about_every_order(
    new_database: NewDatabase, tmp_path: Path
) -> None:
    """Each order has one winner; each run calls its own just what it cancelled, before the death or after."""
    chosen: dict[str, Any] = QUICK | {"database_url": new_database(), "webhook_timeout_seconds": 0.1}
    runs = [Run(name) for name in RUNS]
    with Server(tmp_path, workers=2, **chosen) as server:
        contest = Contest(server, runs)
        asyncio.run(at(server, contest.prepare, contest.fight))
    assert all(len(run.outcomes) < len(ORDERS) for run in runs), "the server died too late"
    with Server(tmp_path, workers=2, **chosen) as server:
        asyncio.run(at(server, lambda line: finish(line, runs)))
        until(lambda: calls_under_way(server.place) == 0)
        assert ledger_check(server) == ""
        books = read_books(server.place)
        owned = {run.name: cancelled_by(server.place, run.name) for run in runs}
    granted = [
        Heard(reference, Told.CANCELLED)
        for run in runs
        for reference, outcome in run.outcomes.items()
        if outcome == "cancelled"
    ]
    assert complaints(books, [*contest.heard, *granted]) == []
    for run in runs:
        assert {r for r, outcome in run.outcomes.items() if outcome == "cancelled"} == owned[run.name]
        assert {r for r, outcome in run.outcomes.items() if outcome == "already_paid"} == {
            order["reference"] for order in books.orders.values() if order["status"] == "PAID"
        } & run.outcomes.keys()
        assert len(run.outcomes) == len(ORDERS)
    assert owned["one"]
    assert owned["two"]
