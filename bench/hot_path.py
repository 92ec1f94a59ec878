"""Measures the hot path over HTTP on the embedded SQLite store and prints a table and JSON.

``make bench`` runs all of it, in about eight minutes. Rates are compared within this one run only; the
machine's noise is in every figure, so each is the median of several alternating rounds. The load comes
from wrk (not Python) over 64 connections, with a token; every order is named once.
"""

import argparse
import asyncio
import json
import statistics
import tempfile
import time
import uuid
from pathlib import Path
from typing import Any

from load import (
    HERE,
    Load,
    Server,
    account_of,
    allow_many_files,
    as_json,
    fsync_milliseconds,
    load,
    median,
    rescaled,
    serving,
    show,
)
from opentill.domain.ledger import CARD_RAIL
from opentill.store.databases.sqlite import SqliteStore, open_sqlite
from orders import AMOUNT_MINOR, OPERATOR, cancelled, ended, pending

# --- a store with a past ------------------------------------------------------------------------------


def add_orders(store: SqliteStore, account_id: str, prefix: str, count: int, *, past: bool) -> None:
    """Write so many orders straight into the store, in large batches; past ones have ended."""
    for first in range(0, count, 2000):
        numbers = range(first, min(first + 2000, count))
        changes = [pending(account_id, f"{prefix}{n}", OPERATOR) for n in numbers]
        with store.batch() as batch:
            batch.write([ended(change, OPERATOR) for change in changes] if past else changes)
            batch.commit()


# --- what is measured --------------------------------------------------------------------------------


def one_commit_per_cancel(folder: Path, seconds: int) -> float:
    """Cancels a second with one commit each, on the store alone: no HTTP, no queue, no sharing."""
    store = open_sqlite(folder / "opentill.db")
    account_id, prefix = store.accounts.default_account_id() or "", f"alone-{uuid.uuid4()}-"
    add_orders(store, account_id, prefix, seconds * 12_000, past=False)
    done, ends = 0, time.perf_counter() + seconds
    while time.perf_counter() < ends:
        name = (account_id, f"{prefix}{done}")
        with store.batch() as batch:
            batch.facts(())
            (order,) = batch.lock_orders([name])
            batch.write([cancelled(order, OPERATOR)])
            batch.commit()
        done += 1
    store.close()
    return done / seconds


def payments(folder: Path, seconds: int) -> Load:
    """One round of card payments; each is two requests, two calls of the rail and four commits."""
    prefix = fresh_orders(folder, seconds * 4000)
    before = _paid(folder)
    with serving(folder) as server:
        told = load(server, "pay", seconds, prefix=prefix)
    return rescaled(told, _paid(folder) - before)


def _paid(folder: Path) -> int:
    """Return how many orders have been paid so far, by the books of a stopped server."""
    store = open_sqlite(folder / "opentill.db")
    account_id = store.accounts.default_account_id() or ""
    with store.snapshot() as snapshot:
        balances = snapshot.trial_balance(account_id)
    store.close()
    return sum(b.debit for b in balances if b.ledger_account == CARD_RAIL) // AMOUNT_MINOR


def fresh_orders(folder: Path, count: int) -> str:
    """Add pending orders and return the prefix of their references."""
    prefix = f"fresh-{uuid.uuid4()}-"
    store = open_sqlite(folder / "opentill.db")
    add_orders(store, store.accounts.default_account_id() or "", prefix, count, past=False)
    store.close()
    return prefix


def cancels(folder: Path, seconds: int, *, at_rate: float = 0, **settings: str) -> Load:
    """One round of cancels of fresh orders."""
    prefix = fresh_orders(folder, seconds * 25_000 if not at_rate else int(seconds * at_rate * 1.5))
    with serving(folder, **settings) as server:
        return load(server, "cancel", seconds, at_rate=at_rate, prefix=prefix)


async def _alone(server: Server, prefix: str, count: int) -> list[float]:
    """The times of cancels sent one after another over one connection, in milliseconds."""
    host, port = server.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    taken = []
    for number in range(count):
        body = json.dumps({"orderReference": f"{prefix}{number}"}).encode()
        head = (
            f"POST /v1/checkout/order/cancel HTTP/1.1\r\nHost: bench\r\nAuthorization: {server.token}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        began = time.perf_counter()
        writer.write(head.encode() + body)
        answer = await reader.readuntil(b'Order cancelled successfully"}}')
        taken.append((time.perf_counter() - began) * 1000)
        assert answer.startswith(b"HTTP/1.1 200")
    writer.close()
    return taken


def idle_milliseconds(folder: Path) -> float:
    """The median time of a lone cancel on an idle server."""
    prefix = fresh_orders(folder, 500)
    with serving(folder) as server:
        return statistics.median(asyncio.run(_alone(server, prefix, 500)))


def measure(folder: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    """All figures, from alternating rounds."""
    small, large = folder / "small", folder / "large"
    for each, count in ((small, arguments.small), (large, arguments.large)):
        account_id = account_of(each)
        store = open_sqlite(each / "opentill.db")
        add_orders(store, account_id, "ended-", count, past=True)
        store.close()
    seconds, rounds = arguments.seconds, range(arguments.rounds)
    grouped, alone, single, million = [], [], [], []
    for _ in rounds:
        grouped.append(cancels(small, seconds))
        single.append(cancels(small, seconds, group_commit="false"))
        million.append(cancels(large, seconds))
        alone.append(one_commit_per_cancel(small, seconds))
    cancel = median(grouped)
    half = median([cancels(small, seconds, at_rate=cancel.per_second / 2) for _ in rounds])
    pay = median([payments(small, seconds) for _ in rounds])
    creates, gets, memory = creates_and_gets(small, seconds, arguments.rounds)
    return {
        "cancel": cancel,
        "cancel, group commit off": median(single),
        f"cancel, {arguments.large:,} ended orders": median(million),
        "cancel at half the rate": half,
        "create": creates,
        "get": gets,
        "card payment": pay,
        "one commit per cancel, no HTTP, per second": statistics.median(alone),
        "idle cancel, ms": idle_milliseconds(small),
        "fsync, ms": fsync_milliseconds(folder),
        "anonymous memory, MB": memory,
        "group commit on / off": cancel.per_second / median(single).per_second,
        "cancel over HTTP / one commit per cancel without": cancel.per_second / statistics.median(alone),
        f"rate at {arguments.large:,} / at {arguments.small:,}": median(million).per_second
        / cancel.per_second,
    }


def creates_and_gets(folder: Path, seconds: int, rounds: int) -> tuple[Load, Load, float]:
    """Creates and gets on one server, and its anonymous memory when they have been served."""
    prefix = fresh_orders(folder, 20_000)
    creates, gets = [], []
    with serving(folder) as server:
        for number in range(rounds):
            new = f"new-{uuid.uuid4()}-{number}-"
            creates.append(load(server, "create", seconds, prefix=new))
            gets.append(load(server, "get", seconds, prefix=prefix, orders=20_000))
        served = sum(one.requests for one in creates)
        first = 0
        while served < 100_000:
            more = load(server, "create", seconds, prefix=f"more-{uuid.uuid4()}-{first}-")
            served, first = served + more.requests, first + 1
        return median(creates), median(gets), server.anonymous_megabytes()


def main() -> None:
    """Run everything in a temporary folder beside this checkout, on the disk that will be used."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=5, help="length of one round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--small", type=int, default=100_000, help="ended orders in the small database")
    parser.add_argument("--large", type=int, default=1_000_000, help="ended orders in the large one")
    arguments = parser.parse_args()
    allow_many_files()
    with tempfile.TemporaryDirectory(prefix="bench-", dir=HERE.parent) as folder:
        figures = measure(Path(folder), arguments)
    show(figures)
    print(as_json(figures))


if __name__ == "__main__":
    main()
