"""Measures the hot path over HTTP on the embedded SQLite store and prints a table and JSON.

``make bench`` runs all of it, in about six minutes. Rates are compared within this one run only; the
machine's noise is in every figure, so each is the median of several alternating rounds. The load comes
from wrk (not Python) over 64 connections, with a token; every order is named once.
"""

import argparse
import asyncio
import contextlib
import json
import os
import resource
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from opentill.clock import RandomIds, SystemClock
from opentill.domain.commands import Actor, ActorKind, CancelOrder, CreateOrder
from opentill.domain.decisions import Change, create, decide
from opentill.domain.ledger import CARD_RAIL
from opentill.domain.order import Terms
from opentill.store.sqlite import SqliteStore, open_sqlite

HERE: Final = Path(__file__).parent
CONNECTIONS: Final = 64
AMOUNT_MINOR: Final = 10_000_00
ACTOR: Final = Actor(ActorKind.OPERATOR, "bench")
IDS: Final = RandomIds()
CLOCK: Final = SystemClock()


# --- a server with a past ----------------------------------------------------------------------------


@dataclass(slots=True)
class Server:
    """A running server and what is needed to load it."""

    process: subprocess.Popen[str]
    url: str
    account_id: str
    token: str

    def cpu_microseconds(self) -> float:
        """Processor time that the process has used so far."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) * 1e6 / os.sysconf("SC_CLK_TCK")

    def anonymous_megabytes(self) -> float:
        """Memory that is the process's own and no file's."""
        rollup = Path(f"/proc/{self.process.pid}/smaps_rollup").read_text()
        line = next(line for line in rollup.splitlines() if line.startswith("Anonymous:"))
        return int(line.split()[1]) / 1024


@contextlib.contextmanager
def serving(folder: Path, **settings: str) -> Iterator[Server]:
    """A server on this folder, ended by its own process id."""
    environment = os.environ | {f"OPENTILL_{name.upper()}": value for name, value in settings.items()}
    command = [sys.executable, "-m", "opentill", "serve", "--port", "0", "--data", str(folder)]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("A page for a payer"):
                break
        lines = (folder / "sandbox.env").read_text().splitlines()
        values = dict(line.split("=", 1) for line in lines if line)
        yield Server(process, values["OPENTILL_URL"], values["OPENTILL_ACCOUNT_ID"], _token(values))
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(10)


def _token(values: dict[str, str]) -> str:
    body = {
        "grant_type": "client_credentials",
        "client_id": values["OPENTILL_CLIENT_ID"],
        "client_secret": values["OPENTILL_CLIENT_SECRET"],
    }
    request = urllib.request.Request(
        f"{values['OPENTILL_URL']}/v1/auth/token/issue",
        json.dumps(body).encode(),
        {"Content-Type": "application/json", "accountId": values["OPENTILL_ACCOUNT_ID"]},
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        return str(json.load(answer)["data"]["access_token"])


def account_of(folder: Path) -> str:
    """The default merchant of this folder; a first start makes it."""
    with serving(folder) as server:
        return server.account_id


def _order(account_id: str, reference: str) -> Change:
    command = CreateOrder(
        account_id=account_id,
        command_id=IDS.uuid(),
        actor=ACTOR,
        order_id=IDS.uuid(),
        reference=reference,
        amount=AMOUNT_MINOR,
        currency="NGN",
        terms=Terms("payer@example.com"),
    )
    return create(command, CLOCK.now())


def _ended(change: Change) -> Change:
    order = change.after
    cancel = CancelOrder(
        account_id=order.account_id, command_id=IDS.uuid(), actor=ACTOR, name=order.reference
    )
    end = decide(order, cancel, CLOCK.now())
    return Change(None, end.after, change.events + end.events, change.terms)


def add_orders(store: SqliteStore, account_id: str, prefix: str, count: int, *, ended: bool) -> None:
    """Write so many orders straight into the store, in large batches."""
    for first in range(0, count, 2000):
        changes = [_order(account_id, f"{prefix}{n}") for n in range(first, min(first + 2000, count))]
        with store.batch() as batch:
            batch.write([_ended(change) for change in changes] if ended else changes)
            batch.commit()


# --- load --------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Load:
    """What one round of load came to."""

    per_second: float
    p50_ms: float
    p99_ms: float
    cpu_us: float
    requests: int


def load(server: Server, operation: str, seconds: int, *, at_rate: float = 0, **names: object) -> Load:
    """Load a server for some seconds; every answer must be a success."""
    environment = os.environ | {
        "BENCH_OPERATION": operation,
        "BENCH_TOKEN": server.token,
        "BENCH_ACCOUNT": server.account_id,
        "BENCH_PAUSE_MILLISECONDS": str(CONNECTIONS / at_rate * 1000 if at_rate else 0),
        **{f"BENCH_{name.upper()}": str(value) for name, value in names.items()},
    }
    script = str(HERE / ("pay.lua" if operation == "pay" else "load.lua"))
    command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "-s", script, server.url]
    before = server.cpu_microseconds()
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    cpu = server.cpu_microseconds() - before
    told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    if told["refused"] or told["broken"]:
        raise SystemExit(f"{operation}: {told['refused']} refused, {told['broken']} broken; no figure")
    requests = told["requests"]
    rate = requests / told["seconds"]
    return Load(rate, told["p50_ms"], told["p99_ms"], cpu / requests, requests)


def median(rounds: list[Load]) -> Load:
    """The middle of several rounds, figure by figure."""
    return Load(*(statistics.median(getattr(one, name) for one in rounds) for name in Load.__slots__))


# --- what is measured --------------------------------------------------------------------------------


def one_commit_per_cancel(folder: Path, seconds: int) -> float:
    """Cancels a second with one commit each, on the store alone: no HTTP, no queue, no sharing."""
    store = open_sqlite(folder / "opentill.db")
    account_id, prefix = store.default_account_id() or "", f"alone-{uuid.uuid4()}-"
    add_orders(store, account_id, prefix, seconds * 12_000, ended=False)
    done, ends = 0, time.perf_counter() + seconds
    while time.perf_counter() < ends:
        name = (account_id, f"{prefix}{done}")
        with store.batch() as batch:
            batch.facts(())
            order = batch.lock_orders([name])[name]
            command = CancelOrder(
                account_id=account_id, command_id=IDS.uuid(), actor=ACTOR, name=order.reference
            )
            batch.write([decide(order, command, CLOCK.now())])
            batch.commit()
        done += 1
    store.close()
    return done / seconds


def fsync_milliseconds(folder: Path) -> float:
    """The median time of one small write and fdatasync on this disk."""
    taken = []
    with (folder / "fsync").open("wb", buffering=0) as file:
        for _ in range(200):
            began = time.perf_counter()
            file.write(b"x" * 4096)
            os.fdatasync(file.fileno())
            taken.append(time.perf_counter() - began)
    return statistics.median(taken) * 1000


def payments(folder: Path, seconds: int) -> Load:
    """One round of card payments; each is two requests, two calls of the rail and four commits."""
    prefix = fresh_orders(folder, seconds * 4000)
    before = _paid(folder)
    with serving(folder) as server:
        told = load(server, "pay", seconds, prefix=prefix)
    paid = _paid(folder) - before
    share = paid / told.requests
    return Load(told.per_second * share, told.p50_ms, told.p99_ms, told.cpu_us / share, paid)


def _paid(folder: Path) -> int:
    """How many orders have been paid so far, by the books of a stopped server."""
    store = open_sqlite(folder / "opentill.db")
    account_id = store.default_account_id() or ""
    with store.snapshot() as snapshot:
        balances = snapshot.trial_balance(account_id)
    store.close()
    return sum(b.debit for b in balances if b.ledger_account == CARD_RAIL) // AMOUNT_MINOR


def fresh_orders(folder: Path, count: int) -> str:
    """Add pending orders and return the prefix of their references."""
    prefix = f"fresh-{uuid.uuid4()}-"
    store = open_sqlite(folder / "opentill.db")
    add_orders(store, store.default_account_id() or "", prefix, count, ended=False)
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
        add_orders(store, account_id, "ended-", count, ended=True)
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


def show(figures: dict[str, Any]) -> None:
    """Print the table, then the same as one line of JSON."""
    print(f"{'':48} {'per s':>9} {'p50 ms':>8} {'p99 ms':>8} {'CPU us':>8}")
    for name, figure in figures.items():
        if isinstance(figure, Load):
            times = f"{figure.p50_ms:8.2f} {figure.p99_ms:8.2f} {figure.cpu_us:8.1f}"
            print(f"{name:48} {figure.per_second:9.0f} {times}")
        else:
            print(f"{name:48} {figure:9.2f}")
    print(json.dumps(figures, default=lambda one: {name: getattr(one, name) for name in Load.__slots__}))


def main() -> None:
    """Run everything in a temporary folder beside this checkout, on the disk that will be used."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=5, help="length of one round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--small", type=int, default=100_000, help="ended orders in the small database")
    parser.add_argument("--large", type=int, default=1_000_000, help="ended orders in the large one")
    arguments = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_NOFILE, (4096, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    with tempfile.TemporaryDirectory(prefix="bench-", dir=HERE.parent) as folder:
        show(measure(Path(folder), arguments))


if __name__ == "__main__":
    main()
