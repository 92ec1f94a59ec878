"""Measures opentill on PostgreSQL against pgbench on the same database, and prints a table and JSON.

``make bench-postgres`` runs all of it, in about twenty minutes; ``--only``, ``--seconds``, ``--rounds`` and
``--short`` run less. The server is a PostgreSQL of our own with every commit durable, its data in a new
folder under TMPDIR; fsync is timed there, so that a disk which does not flush shows. Each round of each
measure works on a fresh copy of its database, warmed up for a second. Figures are medians of rounds that
alternate, and only ratios within one run mean anything.
"""

import argparse
import json
import tempfile
import urllib.request
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Final

import psycopg

import pgbench
import receiver
from ground import FRESH, WARM, WARM_SECONDS, DurableCluster, Ground, prepare
from load import (
    CONNECTIONS,
    Load,
    Server,
    allow_many_files,
    alternating,
    fsync_milliseconds,
    load,
    rescaled,
    serving,
    show,
)
from opentill.domain.order import OrderStatus

PARTS: Final = ("pgbench", "cancel", "keyed", "single", "large", "create", "get", "pay", "half")

# --- one round of each measure -----------------------------------------------------------------------


def by_pgbench(ground: Ground, script: str, clients: int, seconds: int, at_rate: float = 0) -> Load:
    """Cancels by pgbench."""
    with ground.copy() as url:
        target = pgbench.Target(url, ground.cluster.bin, ground.cluster.pid, ground.account_id)
        pgbench.run(target, script, clients, WARM_SECONDS, WARM)
        return pgbench.run(target, script, clients, seconds, FRESH, at_rate)


@dataclass(frozen=True, slots=True)
class Way:
    """A way to run opentill and to ask it."""

    workers: int = 1
    group_commit: bool = True
    keyed: bool = False
    """Whether each request carries an idempotency key of its own."""
    told: bool = False
    """Whether the merchant has an endpoint that every cancel is told to."""

    def settings(self, url: str) -> dict[str, str]:
        """The server's settings for a database."""
        group_commit = str(self.group_commit).lower()
        return {"database_url": url, "workers": str(self.workers), "group_commit": group_commit}


def listen(server: Server, url: str) -> None:
    """Give the merchant an endpoint at this URL that is told of cancels."""
    request = urllib.request.Request(
        f"{server.url}/v1/opentill/webhook-endpoints",
        json.dumps({"url": url, "events": ["order_cancelled"]}).encode(),
        {"Content-Type": "application/json", "Authorization": f"Bearer {server.token}"},
    )
    urllib.request.urlopen(request).close()  # raises for any refusal


_PREFIXES: Final = {"create": (f"new-{WARM}", "new-"), "get": (FRESH, FRESH)}
"""Which orders are named, first to warm up and then to measure; elsewhere each is there for one request."""


def by_opentill(ground: Ground, operation: str, way: Way, seconds: int, at_rate: float = 0) -> Load:
    """One operation over HTTP, and a look into the database whether all of it has really happened."""
    ask = {"database_pid": ground.cluster.pid, "keyed": int(way.keyed), "orders": ground.pool}
    warm, prefix = _PREFIXES.get(operation, (WARM, FRESH))
    with ground.copy() as url:
        with serving(ground.folder, **way.settings(url)) as server, ExitStack() as beside:
            if way.told:
                listen(server, beside.enter_context(receiver.running()))
            load(server, operation, WARM_SECONDS, at_rate=at_rate, prefix=warm, **ask)
            told = load(server, operation, seconds, at_rate=at_rate, prefix=prefix, **ask)
        return told if operation == "get" else _witnessed(told, operation, _count(url, operation, prefix))


def _count(url: str, operation: str, prefix: str) -> int:
    """Return how many orders of this prefix are where the operation brings them."""
    status = {
        "create": OrderStatus.PENDING,
        "cancel": OrderStatus.CANCELLED,
        "pay": OrderStatus.PAID,
    }[operation]
    statement = "SELECT count(*) FROM orders WHERE reference ~ %s AND status = %s"
    with psycopg.connect(url) as connection:
        row = connection.execute(statement, (f"^{prefix}[0-9]+$", status.value)).fetchone()
    assert row is not None
    return int(row[0])


def _witnessed(told: Load, operation: str, count: int) -> Load:
    """The load, for payments counted in them; raises SystemExit when an answer was not true."""
    if operation == "pay":
        return rescaled(told, count)
    if not told.requests <= count <= told.requests + CONNECTIONS:  # the last ones were not waited for
        raise SystemExit(f"{operation}: {told.requests} acknowledged, {count} happened; no figure")
    return told


# --- all of them -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Measure:
    """One line of the table: the part it belongs to, its name, and one round of it."""

    part: str
    name: str
    run: Callable[[int], Load]
    """Takes the seconds of the round."""


CONVENTIONAL: Final = "pgbench, 64 clients"
CANCEL: Final = "cancel"
TWO_WORKERS: Final = "cancel, 2 workers"
SINGLE: Final = "cancel, group commit off"
LARGE: Final = "cancel, many ended orders"
HALF: Final = "cancel at half the rate"
HALF_OF_PGBENCH: Final = "pgbench at half its rate"
"""How long the machine itself makes such a transaction wait."""


def measures(small: Ground, large: Ground | None) -> list[Measure]:
    """Return what is measured in alternating rounds; without a large database nothing is measured on it."""
    opentill, bench = partial(partial, by_opentill, small), partial(partial, by_pgbench, small)
    two = Way(workers=2)
    listed = [
        Measure("pgbench", CONVENTIONAL, bench(pgbench.CONVENTIONAL, 64)),
        Measure("cancel", CANCEL, opentill("cancel", Way())),
        Measure("pgbench", "pgbench, 16 clients", bench(pgbench.CONVENTIONAL, 16)),
        Measure("cancel", TWO_WORKERS, opentill("cancel", two)),
        Measure("pgbench", "pgbench, one statement, 64 clients", bench(pgbench.ONE_STATEMENT, 64)),
        Measure("pgbench", "pgbench, one statement, 16 clients", bench(pgbench.ONE_STATEMENT, 16)),
        Measure("keyed", "cancel with a key", opentill("cancel", Way(keyed=True))),
        Measure("keyed", "cancel with key and webhook", opentill("cancel", Way(keyed=True, told=True))),
        Measure(
            "keyed",
            "cancel with key and webhook, 2 workers",
            opentill("cancel", Way(workers=2, keyed=True, told=True)),
        ),
        Measure("single", SINGLE, opentill("cancel", Way(group_commit=False))),
    ]
    for part, name in (("create", "create"), ("get", "get"), ("pay", "card payment")):
        listed.append(Measure(part, name, opentill(part, Way())))
        listed.append(Measure(part, f"{name}, 2 workers", opentill(part, two)))
    if large is not None:
        listed.append(Measure("large", LARGE, partial(by_opentill, large, "cancel", Way())))
        listed.append(
            Measure(
                "large", "pgbench, many ended orders", partial(by_pgbench, large, pgbench.CONVENTIONAL, 64)
            )
        )
    return listed


def measure(small: Ground, large: Ground | None, arguments: argparse.Namespace) -> dict[str, Load]:
    """The figures of all wanted parts; half the rate can only be known when the rate is."""
    wanted = [one for one in measures(small, large) if one.part in arguments.only]
    runs = {one.name: partial(one.run, arguments.seconds) for one in wanted}
    figures = alternating(runs, arguments.rounds)
    if "half" in arguments.only and CANCEL in figures:
        rates = {HALF: (CANCEL, Way()), f"{HALF}, 2 workers": (TWO_WORKERS, Way(workers=2))}
        halves = {
            name: partial(by_opentill, small, "cancel", way, arguments.seconds, figures[full].per_second / 2)
            for name, (full, way) in rates.items()
        }
        if CONVENTIONAL in figures:
            rate = figures[CONVENTIONAL].per_second / 2
            halves[HALF_OF_PGBENCH] = partial(
                by_pgbench, small, pgbench.CONVENTIONAL, 64, arguments.seconds, rate
            )
        figures |= alternating(halves, arguments.rounds)
    return figures


@dataclass(frozen=True, slots=True)
class Reach:
    """A ratio, or p99 in milliseconds, and what it is to be."""

    name: str
    value: float
    limit: float
    met: bool


_RATIOS: Final = (
    ("cancels, opentill / pgbench with 64 clients", CANCEL, CONVENTIONAL, 2.0),
    ("cancels, group commit on / off", CANCEL, SINGLE, 4.0),
    ("cancels, many ended orders / few", LARGE, CANCEL, 0.9),
    ("cancels, two workers / one", TWO_WORKERS, CANCEL, 0.8),
)
_P99_MS: Final = 25.0


def reaches(figures: Mapping[str, Load]) -> list[Reach]:
    """Return what was to be reached, as far as it was measured."""
    found = []
    for name, over, under, least in _RATIOS:
        if over in figures and under in figures:
            ratio = figures[over].per_second / figures[under].per_second
            found.append(Reach(name, ratio, least, ratio >= least))
    if HALF in figures:
        p99_ms = figures[HALF].p99_ms
        found.append(Reach("p99 at half the rate, ms", p99_ms, _P99_MS, p99_ms < _P99_MS))
    return found


# --- the program -------------------------------------------------------------------------------------


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", type=lambda text: text.split(","), default=list(PARTS), metavar="PART,...")
    parser.add_argument("--seconds", type=int, default=5, help="length of one round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--few", type=int, default=100_000, help="ended orders in the small database")
    parser.add_argument("--many", type=int, default=1_000_000, help="ended orders in the large one")
    parser.add_argument("--short", action="store_true", help="one round of 2 s on a tenth of the orders")
    parser.add_argument("--bin", type=Path, help="the programs of another PostgreSQL than the wheel's")
    parser.add_argument("--json", type=Path, metavar="FILE", help="where to write the figures as JSON")
    arguments = parser.parse_args()
    if unknown := set(arguments.only) - set(PARTS):
        parser.error(f"unknown part {min(unknown)}; there are {', '.join(PARTS)}")
    if arguments.short:
        arguments.seconds, arguments.rounds = 2, 1
        arguments.few, arguments.many = arguments.few // 10, arguments.many // 10
    return arguments


def _run(cluster: DurableCluster, folder: Path, arguments: argparse.Namespace) -> dict[str, object]:
    """Measure, print the table and what was reached; returns all of it for JSON."""
    version = cluster.server_version()
    fsync_ms = fsync_milliseconds(cluster.log_file.parent)
    small = prepare(cluster, folder / "few", arguments.few, arguments.seconds)
    many = "large" in arguments.only
    large = prepare(cluster, folder / "many", arguments.many, arguments.seconds) if many else None
    figures = measure(small, large, arguments)
    reached = reaches(figures)
    print(f"PostgreSQL {version}, fsync {fsync_ms:.2f} ms")
    print(f"{arguments.few:,} ended orders, {arguments.many:,} where there are many")
    show(figures)
    for one in reached:
        sign = "<" if one.limit == _P99_MS else ">="
        print(f"{one.name:48} {one.value:9.2f}  ({sign} {one.limit:g}: {'yes' if one.met else 'NO'})")
    return {
        "postgresql": version,
        "fsync_ms": fsync_ms,
        "few": arguments.few,
        "many": arguments.many,
        "seconds": arguments.seconds,
        "rounds": arguments.rounds,
        "figures": {name: asdict(load) for name, load in figures.items()},
        "reach": [asdict(one) for one in reached],
    }


def main() -> None:
    """Start a PostgreSQL, measure, and leave nothing behind."""
    arguments = _arguments()
    allow_many_files()
    cluster = DurableCluster(arguments.bin)
    try:
        with tempfile.TemporaryDirectory(prefix="bench-") as folder:
            told = json.dumps(_run(cluster, Path(folder), arguments))
    finally:
        cluster.stop()
    print(told)
    if arguments.json:
        arguments.json.write_text(told + "\n")


if __name__ == "__main__":
    main()
