"""The cancel as a program without us would do it, driven by pgbench on our own tables.

Each transaction takes an order of its own, by the merchant's reference as our API does, and ends it with
its event. What a program would send (the time, the number of the order) is a parameter of the prepared
statement; all else that never differs is a literal, which is in pgbench's favour.
"""

import shutil
import statistics
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import psycopg
from psycopg import sql

from load import Load, cpu_microseconds
from opentill.domain.order import OrderStatus
from orders import CLOCK, cancelled, pending
from past import CLIENT, event_columns, event_values

THREADS: Final = 2
SAMPLED: Final = 0.1
"""The share of transactions whose time is logged; logging all would load the machine."""

_NEXT: Final = "\\set n :n + 1\n\\set number :n * :clients + :client_id\n"
_UPDATE: Final = """
UPDATE orders SET status = {cancelled}, version = version + 1, updated_at = :at, cancelled_at = :at
 WHERE account_id = {account} AND reference = {prefix} || :number::text AND status = {pending}
"""
_INSERT: Final = "INSERT INTO events ({columns}) "

CONVENTIONAL: Final = (
    _NEXT
    + "BEGIN;"
    + _UPDATE
    + "RETURNING order_id, version \\gset\n"
    + _INSERT
    + "VALUES ({sent});\nCOMMIT;\n"
)
"""Four round trips; the client stops with an error if an order could not be cancelled."""

ONE_STATEMENT: Final = (
    _NEXT + "WITH u AS (" + _UPDATE + "RETURNING order_id, version)\n" + _INSERT + "SELECT {found} FROM u;\n"
)
"""The same in one round trip, as a stored procedure would do it."""


@dataclass(frozen=True, slots=True)
class Target:
    """The database that is loaded, and what is needed to measure it."""

    url: str
    programs: Path
    """The folder of PostgreSQL's programs."""
    pid: int
    """The process above all of the database's."""
    account_id: str


def run(target: Target, script: str, clients: int, seconds: int, prefix: str, at_rate: float = 0) -> Load:
    """Cancel orders of this prefix for some seconds; every transaction must have cancelled one.

    At a rate each is timed from when it should have begun, as opentill's are.

    Raises SystemExit when one did not, as when there were too few orders.
    """
    with tempfile.TemporaryDirectory() as folder, psycopg.connect(target.url, autocommit=True) as connection:
        file = Path(folder) / "cancel.sql"
        file.write_text(_fill(script, target.account_id, prefix, connection))
        command = [_program(target.programs), "-n", "-M", "prepared", "-f", str(file), "-T", str(seconds)]
        command += ["-c", str(clients), "-j", str(THREADS), "-D", f"clients={clients}", "-D", "n=-1"]
        command += ["-D", f"at={CLOCK.now()}", "-l", f"--sampling-rate={SAMPLED}", target.url]
        if at_rate:
            command[1:1] = [f"--rate={at_rate:.0f}"]
        earlier, before = cancelled_orders(connection), cpu_microseconds(target.pid)
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        used = cpu_microseconds(target.pid) - before
        if done.returncode:
            raise SystemExit(f"pgbench: {done.stderr.splitlines()[-1]}; no figure")
        processed, rate = _told(done.stdout)
        really = cancelled_orders(connection) - earlier
        if really != processed:
            raise SystemExit(f"pgbench: {really} of {processed} transactions cancelled an order; no figure")
        p50, p99 = _percentiles(Path(folder))
    return Load(rate, p50, p99, 0, really, used / really)


def cancelled_orders(connection: psycopg.Connection[Any]) -> int:
    """Return how many cancelled orders the database holds."""
    statement = "SELECT count(*) FROM orders WHERE status = %s"
    (count,) = connection.execute(statement, (OrderStatus.CANCELLED.value,)).fetchone() or (0,)
    return int(count)


def _fill(script: str, account_id: str, prefix: str, connection: psycopg.Connection[Any]) -> str:
    order = pending(account_id, prefix, CLIENT).after
    event = cancelled(order, CLIENT).events[0]
    common = {"event_id": sql.SQL("gen_random_uuid()::text"), "at": sql.SQL(":at")}
    sent = common | {"order_id": sql.SQL(":order_id"), "sequence": sql.SQL(":version")}
    found = common | {"order_id": sql.SQL("u.order_id"), "sequence": sql.SQL("u.version")}
    return (
        sql.SQL(script)
        .format(
            cancelled=sql.Literal(OrderStatus.CANCELLED.value),
            pending=sql.Literal(OrderStatus.PENDING.value),
            account=sql.Literal(account_id),
            prefix=sql.Literal(prefix),
            columns=event_columns(),
            sent=event_values(event, sent),
            found=event_values(event, found),
        )
        .as_string(connection)
    )


def _program(programs: Path) -> str:
    beside = programs / "pgbench"
    found = str(beside) if beside.exists() else shutil.which("pgbench")
    if found is None:
        raise SystemExit(f"there is no pgbench in {programs} nor on PATH.")
    return found


def _told(output: str) -> tuple[int, float]:
    """Transactions processed, and transactions a second without the time it took to connect."""
    lines = dict(line.split(" = ") if " = " in line else line.split(": ") for line in output.splitlines()[1:])
    return int(lines["number of transactions actually processed"]), float(lines["tps"].split()[0])


def _percentiles(folder: Path) -> tuple[float, float]:
    """Median and 99th percentile in milliseconds, from the third column of pgbench's logs."""
    lines = [line for file in folder.glob("pgbench_log.*") for line in file.read_text().splitlines()]
    hundredths = statistics.quantiles([int(line.split()[2]) / 1000 for line in lines], n=100)
    return hundredths[49], hundredths[98]
