"""How fast what is due ends, beside cancels that want an answer; and how the due orders are best found.

    PYTHONPATH=tests python bench/expiry.py [--orders 1000000] [--due 100000] [--rate 200] [--sqlite-only]

A real server works on a database with so many orders that have ended, and fell due long ago. Its clock is
moved, and so many others fall due at one moment, while cancels come at a fixed rate on connections of their
own. First the layouts of the due index are measured on the same database (docs/decisions/0009).
"""

import argparse
import asyncio
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import msgspec
import uvloop

from ground import DurableCluster
from load import Server, account_of, serving
from many import Books, add, books
from opentill.clock import SystemClock
from opentill.domain.commands import CreateOrder, ExpireOrder
from opentill.domain.decisions import create, decide
from opentill.domain.order import Terms
from opentill.domain.transition import Change
from opentill.store.databases.urls import is_postgres
from orders import IDS, OPERATOR

DAY: Final = 86_400_000
CONNECTIONS: Final = 16
NOW: Final = SystemClock().now()


def order(account_id: str, due_at: int | None) -> Change:
    """Return what writes an order that falls due then."""
    command = CreateOrder(
        account_id=account_id,
        command_id=IDS.uuid(),
        actor=OPERATOR,
        order_id=IDS.uuid(),
        reference="model",
        amount=10_000_00,
        currency="NGN",
        terms=Terms("payer@example.com"),
        due_at=due_at,
    )
    return create(command, NOW - 30 * DAY)


def expired(account_id: str) -> Change:
    """Return what writes an order together with its expiry, long ago."""
    made = order(account_id, NOW - 20 * DAY)
    command = ExpireOrder(account_id=account_id, command_id=IDS.uuid(), actor=OPERATOR, name="model")
    end = decide(made.after, command, NOW - 20 * DAY)
    return Change(None, end.after, made.events + end.events, made.terms)


# --- layouts ----------------------------------------------------------------------------------------

PLAIN: Final = "every due time, ended or not"
BY_STATUS: Final = "partial, by the status"
BY_FLAG: Final = "partial, by a column of its own"
APART: Final = "a table of its own"
_PENDING: Final = "status = 'PENDING'"
LAYOUTS: Final = {
    PLAIN: ("CREATE INDEX due_trial ON orders (due_at)",),
    BY_STATUS: (f"CREATE INDEX due_trial ON orders (due_at) WHERE {_PENDING}",),
    BY_FLAG: ("CREATE INDEX due_trial ON orders (due_at) WHERE awaits_due = 1 AND due_at IS NOT NULL",),
    APART: (
        "CREATE TABLE dues (account_id text, order_id text, due_at bigint)",
        "CREATE UNIQUE INDEX dues_key ON dues (account_id, order_id)",
        f"INSERT INTO dues SELECT account_id, order_id, due_at FROM orders WHERE {_PENDING} AND due_at > 0",
        "CREATE INDEX due_trial ON dues (due_at)",
    ),
}
LOOKS: Final = {
    PLAIN: f"SELECT order_id FROM orders WHERE due_at <= {{now}} AND {_PENDING} ORDER BY due_at LIMIT 512",
    BY_FLAG: f"SELECT order_id FROM orders WHERE awaits_due = 1 AND due_at <= {{now}} AND {_PENDING} "
    "ORDER BY due_at LIMIT 512",
    APART: "SELECT o.order_id FROM (SELECT * FROM dues WHERE due_at <= {now} ORDER BY due_at LIMIT 512) AS d "
    "JOIN orders AS o ON o.account_id = d.account_id AND o.order_id = d.order_id",
}
LOOKS[BY_STATUS] = LOOKS[PLAIN]
ENDS: Final = 256
ROUNDS: Final = 40


def layouts(url: str) -> None:
    """Print what each layout costs a look and the end of an order."""
    with books(url) as at:
        heads = f"{'idle look':>10} {'full look':>10} {'cancel':>9} {'with a due':>11}"
        print(f"\n{'layout':34} {heads}  updates in place")
        at.run("DROP INDEX orders_due")
        for name, statements in LAYOUTS.items():
            for statement in statements:
                at.run(statement)
            if is_postgres(url):
                at.run("VACUUM ANALYZE orders")
            idle = _look_milliseconds(at, name, NOW)
            full = _look_milliseconds(at, name, NOW + 2 * DAY)
            never, never_hot = _end_microseconds(at, name, "never-")
            due, due_hot = _end_microseconds(at, name, "due-")
            print(
                f"{name:34} {idle:7.2f} ms {full:7.2f} ms {never:6.1f} us {due:8.1f} us "
                f"{never_hot:6.0%} {due_hot:4.0%}"
            )
            at.run("DROP INDEX due_trial")
            at.run("DROP TABLE IF EXISTS dues")
        at.run("CREATE INDEX orders_due ON orders (due_at) WHERE awaits_due = 1 AND due_at IS NOT NULL")


def _look_milliseconds(at: Books, layout: str, now: int) -> float:
    took = []
    for _ in range(5):
        began = time.perf_counter()
        at.run(LOOKS[layout].format(now=now))
        took.append((time.perf_counter() - began) * 1000)
    return statistics.median(took)


def _end_microseconds(at: Books, layout: str, prefix: str) -> tuple[float, float]:
    """Of one order where ENDS of them end in one transaction; and PostgreSQL's share of updates in place."""
    took, in_place = [], []
    for number in range(ROUNDS):
        names = ", ".join(f"'{prefix}{number * ENDS + each}'" for each in range(ENDS))
        its = f"account_id = (SELECT account_id FROM feeds) AND reference IN ({names})"
        began = time.perf_counter()
        before = int(at.run(at.updated_in_place)[0][0])
        at.run("BEGIN")
        at.run(
            "UPDATE orders SET status = 'CANCELLED', cancelled_at = 1, version = version + 1, awaits_due = 0 "
            f"WHERE {its}"
        )
        if layout == APART and prefix == "due-":
            at.run(
                f"DELETE FROM dues WHERE (account_id, order_id) IN "
                f"(SELECT account_id, order_id FROM orders WHERE {its})"
            )
        took.append((time.perf_counter() - began) / ENDS * 1e6)
        in_place.append((int(at.run(at.updated_in_place)[0][0]) - before) / ENDS)
        at.run("ROLLBACK")
    return statistics.median(took), statistics.median(in_place)


# --- a server ---------------------------------------------------------------------------------------


@dataclass(slots=True)
class Caller:
    """One connection that sends cancels, one after the other, at moments of its own."""

    server: Server
    milliseconds: list[float]

    async def cancel(self, references: Iterator[str], seconds_apart: float, over: asyncio.Event) -> None:
        """Until it is over; a late answer delays the next question."""
        parts = urlsplit(self.server.url)
        reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
        loop = asyncio.get_running_loop()
        due = loop.time()
        while not over.is_set():
            due += seconds_apart
            await asyncio.sleep(max(0.0, due - loop.time()))
            began = time.perf_counter()
            writer.write(self._request(next(references)))
            status = await _status(reader)
            assert status == 200, status
            self.milliseconds.append((time.perf_counter() - began) * 1000)
        writer.close()

    def _request(self, reference: str) -> bytes:
        body = b'{"orderReference":"%s"}' % reference.encode()
        return (
            b"POST /v1/checkout/order/cancel HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\n"
            b"Content-Length: %d\r\n\r\n%s" % (len(body), body)
        )


async def _status(reader: asyncio.StreamReader) -> int:
    head = await reader.readuntil(b"\r\n\r\n")
    length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
    await reader.readexactly(length)
    return int(head.split(b" ", 2)[1])


async def _advance(server: Server, seconds: int) -> None:
    parts = urlsplit(server.url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    body = msgspec.json.encode({"advanceSeconds": seconds})
    head = "POST /sandbox/clock HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\n"
    writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
    assert await _status(reader) == 200
    writer.close()


async def _race(server: Server, url: str, due: int, rate: int) -> tuple[float, list[float], list[float]]:
    """Seconds until all have ended; cancels' milliseconds before and meanwhile."""
    references = iter([f"fresh-{number}" for number in range(60 * rate)])
    before: list[float] = []
    meanwhile: list[float] = []

    async def cancels(into: list[float], over: asyncio.Event) -> None:
        callers = [Caller(server, into) for _ in range(CONNECTIONS)]
        await asyncio.gather(*(each.cancel(references, CONNECTIONS / rate, over) for each in callers))

    quiet = asyncio.Event()
    asyncio.get_running_loop().call_later(3, quiet.set)
    await cancels(before, quiet)
    over = asyncio.Event()
    calling = asyncio.create_task(cancels(meanwhile, over))
    began = time.perf_counter()
    moving = asyncio.create_task(_advance(server, 2 * DAY // 1000))
    with books(url) as at:
        while _left(at) and time.perf_counter() - began < 120:  # noqa: ASYNC110 - the database tells nobody
            await asyncio.sleep(0.05)
        took = time.perf_counter() - began
        over.set()
        assert not _left(at), f"of {due} some never ended"
    await asyncio.gather(calling, moving)
    return took, before, meanwhile


def _left(at: Books) -> int:
    """Tell whether any still waits; asked of the newest, which ends last."""
    return len(
        at.run("SELECT 1 FROM orders WHERE awaits_due = 1 AND due_at > 0 AND status = 'PENDING' LIMIT 1")
    )


def _percentile(milliseconds: list[float], share: float) -> float:
    return sorted(milliseconds)[int(len(milliseconds) * share)]


def measure(folder: Path, url: str, chosen: argparse.Namespace) -> None:
    """All of it on one database."""
    settings = {"database_url": url, "log_level": "warning"}
    account_id = account_of(folder, **settings)
    began = time.perf_counter()
    with books(url) as at:
        add(at, expired(account_id), "past-", chosen.orders, due_step=1)
        add(at, order(account_id, None), "never-", ENDS * ROUNDS)
        add(at, order(account_id, None), "fresh-", 60 * chosen.rate)
        add(at, order(account_id, NOW + DAY), "due-", chosen.due, due_step=1)
    print(f"\n=== {'PostgreSQL' if is_postgres(url) else 'SQLite'}: {chosen.orders} ended orders, "
          f"{chosen.due} to fall due (made in {time.perf_counter() - began:.0f} s)")  # fmt: skip
    if not chosen.no_layouts:
        layouts(url)
    with serving(folder, **settings) as server:
        took, before, meanwhile = uvloop.run(_race(server, url, chosen.due, chosen.rate))
    print(f"{chosen.due} orders ended in {took:.2f} s: {chosen.due / took:.0f} a second")
    for name, told in (("cancels before", before), ("cancels meanwhile", meanwhile)):
        shares = " ".join(f"p{share * 100:.0f} {_percentile(told, share):6.1f} ms" for share in (0.5, 0.99))
        print(f"{name:18} {len(told):6} at {chosen.rate}/s: {shares}, worst {max(told):.1f} ms")


@contextmanager
def _postgres() -> Iterator[str]:
    cluster = DurableCluster(None)
    try:
        yield cluster.fresh_database()
    finally:
        cluster.stop()


def main() -> None:
    """Measure on both databases."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--orders", type=int, default=1_000_000)
    parser.add_argument("--due", type=int, default=100_000)
    parser.add_argument("--rate", type=int, default=200)
    parser.add_argument("--only", choices=("sqlite", "postgresql"))
    parser.add_argument("--no-layouts", action="store_true")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if chosen.only != "postgresql":
            measure(Path(folder) / "file", f"sqlite:///{folder}/file/opentill.db", chosen)
        if chosen.only != "sqlite":
            with _postgres() as url:
                measure(Path(folder) / "postgresql", url, chosen)


if __name__ == "__main__":
    main()
