"""Measures the ways in which the engine's batches can reach PostgreSQL, and prints a table and JSON.

``.venv/bin/python bench/drivers.py`` (needs the dependency group ``bench``) takes about six minutes. A
number of callers cancel fresh orders through the real engine, in one process, without HTTP; the database is
one durable server of our own. Rounds alternate, each on connections of its own that were warmed up. Each
figure is the median of its rounds, and processor time is the steadiest of them: only figures of one run can
be compared. What is chosen, and why, is in docs/decisions/0006.
"""

import argparse
import asyncio
import contextlib
import gc
import json
import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

import psycopg
import uvloop

sys.path.append(str(Path(__file__).parents[1] / "tests"))
from ground import DurableCluster
from opentill.domain.commands import CancelOrder
from opentill.domain.order import OrderStatus
from opentill.domain.transition import Change
from opentill.engine.engine import Engine
from opentill.store.accounts.contract import Mode
from opentill.store.databases.postgres import open_postgres
from orders import IDS, OPERATOR
from past import add_ended, add_pending
from store_factories import ACCOUNT, NOW, TOKEN, add_token
from ways import TREE, WAYS, Open

WARM: Final = 2_000
"""Cancels before the clock starts: statements are prepared and their plans have settled."""


@dataclass(frozen=True, slots=True)
class Cost:
    """The speed of cancels in one round, or in the median of several."""

    per_second: float
    ours_us: float
    """Processor time of this process for each cancel."""
    database_us: float
    """Processor time of the database's processes that served us, for each cancel."""
    both_us: float
    ratio: float = 1
    """``both_us`` compared with what it was for the tree's way in the same round."""


# --- one round ---------------------------------------------------------------------------------------


async def one_round(url: str, way: Open, callers: int, commands: Sequence[CancelOrder]) -> Cost:
    """Cancel all of these, the first of them to warm up."""
    async with way(url, callers) as engine:
        await cancel(engine, commands[:WARM], callers)
        with psycopg.connect(url, autocommit=True) as connection:
            served = _serving(connection)
        count = len(commands) - WARM
        ours, database, began = time.process_time(), _microseconds(served), time.perf_counter()
        await cancel(engine, commands[WARM:], callers)
        seconds = time.perf_counter() - began
        ours_us = (time.process_time() - ours) * 1e6 / count
        database_us = (_microseconds(served) - database) / count
    return Cost(count / seconds, ours_us, database_us, ours_us + database_us)


async def cancel(engine: Engine, commands: Sequence[CancelOrder], callers: int) -> None:
    """Cancel with so many callers, each of which waits for its answer before it goes on."""
    left = iter(commands)
    async with asyncio.TaskGroup() as group:
        for _ in range(callers):
            group.create_task(_call(engine, left))


async def _call(engine: Engine, left: Iterator[CancelOrder]) -> None:
    for command in left:
        result = await engine.submit(command, token=TOKEN)
        if not isinstance(result.outcome, Change):
            raise SystemExit(f"{command.name} was not cancelled; no figure")


def _serving(connection: psycopg.Connection[Any]) -> list[int]:
    """The process ids of the connections to this database, but for the one that asks."""
    found = connection.execute(
        "SELECT pid FROM pg_stat_activity WHERE datname = current_database()"
        " AND backend_type = 'client backend' AND pid <> pg_backend_pid()"
    )
    return [pid for (pid,) in found]


def _microseconds(pids: Sequence[int]) -> float:
    """Processor time of these processes so far, to the nanosecond."""
    return sum(int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) for pid in pids) / 1000


# --- all of them -------------------------------------------------------------------------------------


def prepare(url: str, prefixes: Sequence[str], cancels: int, ended: int) -> None:
    """A database with a past and fresh orders for every round.

    All of it is made after the checkpoint: the first change of a page that is older is logged with the whole
    page, which would be most of what a short round shows.
    """
    store = open_postgres(url)
    store.accounts.install(Mode.SANDBOX, "bench", NOW)
    add_token(store)
    store.close()
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CHECKPOINT")
        add_ended(connection, ACCOUNT, "ended-", ended)
        for prefix in prefixes:
            add_pending(connection, ACCOUNT, prefix, cancels + WARM)
        connection.execute("VACUUM ANALYZE")


def measure(url: str, names: Sequence[str], callers: int, arguments: argparse.Namespace) -> dict[str, Cost]:
    """The median of each way; every other round runs backwards, so that none is always first."""
    rounds: dict[str, list[Cost]] = {name: [] for name in names}
    for number in range(arguments.rounds):
        for name in names[:: -1 if number % 2 else 1]:
            orders = _orders(_prefix(callers, number, name), arguments.cancels + WARM)
            with _calm():
                cost = uvloop.run(one_round(url, WAYS[name], callers, orders))
            rounds[name].append(cost)
            print(f"  {callers} callers, round {number + 1}: {name} {cost.both_us:.0f} us", file=sys.stderr)
    _prove(url, len(names) * arguments.rounds * (arguments.cancels + WARM), callers)
    return {name: _median(_compared(costs, rounds[TREE])) for name, costs in rounds.items()}


def _prefix(callers: int, number: int, name: str) -> str:
    return f"{callers}-{number}-{list(WAYS).index(name)}-"


def _orders(prefix: str, count: int) -> list[CancelOrder]:
    return [
        CancelOrder(account_id=ACCOUNT, command_id=IDS.uuid(), actor=OPERATOR, name=f"{prefix}{n}")
        for n in range(count)
    ]


@contextlib.contextmanager
def _calm() -> Iterator[None]:
    """Garbage is collected as seldom as in the server (docs/decisions/0002)."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 50, 100)
    yield
    gc.unfreeze()


def _prove(url: str, expected: int, callers: int) -> None:
    """The database must hold what was answered; raises SystemExit otherwise."""
    with psycopg.connect(url) as connection:
        found = connection.execute(
            "SELECT count(*) FROM orders JOIN events USING (account_id, order_id)"
            " WHERE orders.status = %s AND events.after = %s AND reference LIKE %s",
            (OrderStatus.CANCELLED.value, OrderStatus.CANCELLED.value, f"{callers}-%"),
        ).fetchone()
    if found != (expected,):
        raise SystemExit(f"{expected} were answered, {found} happened; no figure")


def _compared(costs: Sequence[Cost], tree: Sequence[Cost]) -> list[Cost]:
    return [replace(c, ratio=c.both_us / t.both_us) for c, t in zip(costs, tree, strict=True)]


def _median(costs: Sequence[Cost]) -> Cost:
    return Cost(*(statistics.median(getattr(cost, name) for cost in costs) for name in Cost.__slots__))


def show(callers: int, costs: dict[str, Cost]) -> None:
    """Print the table of so many callers."""
    print(f"{f'{callers} callers':46} {'per s':>8} {'ours us':>8} {'DB us':>8} {'both us':>8} {'ratio':>6}")
    for name, c in costs.items():
        figures = f"{c.per_second:8.0f} {c.ours_us:8.1f} {c.database_us:8.1f} {c.both_us:8.1f}"
        print(f"{name:46} {figures} {c.ratio:6.2f}")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--cancels", type=int, default=6_400, help="cancels in one round")
    parser.add_argument("--callers", type=int, nargs="+", default=[64, 16], help="who call at the same time")
    parser.add_argument("--ended", type=int, default=100_000, help="orders that ended long ago")
    parser.add_argument(
        "--only", nargs="+", default=[""], metavar="TEXT", help="ways whose name has one of these"
    )
    return parser.parse_args()


def main() -> None:
    """Start a PostgreSQL, measure, and leave nothing behind."""
    arguments = _arguments()
    names = [name for name in WAYS if name == TREE or any(text in name for text in arguments.only)]
    cluster = DurableCluster(None)
    try:
        url = cluster.fresh_database()
        prefixes = [
            _prefix(c, r, n) for c in arguments.callers for r in range(arguments.rounds) for n in names
        ]
        prepare(url, prefixes, arguments.cancels, arguments.ended)
        told = {callers: measure(url, names, callers, arguments) for callers in arguments.callers}
    finally:
        cluster.stop()
    for callers, costs in told.items():
        show(callers, costs)
    print(json.dumps({callers: {n: asdict(c) for n, c in costs.items()} for callers, costs in told.items()}))


if __name__ == "__main__":
    main()
