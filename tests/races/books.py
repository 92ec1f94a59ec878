"""What the databases of a server say, read as an auditor would: by plain SQL, past all code of ours."""

import sqlite3
import subprocess
from collections import defaultdict
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from time import monotonic

from databases import FILE, Place, Row, has_rail, reading, reading_rail
from server import Server, operate

__all__ = ["Row"]
POLL_SECONDS = 0.02


@dataclass(frozen=True)
class Books:
    """Everything about orders and money at one moment, by order id where it belongs to one."""

    orders: dict[str, Row]
    attempts: dict[str, list[Row]]
    refunds: dict[str, list[Row]]
    events: dict[str, list[Row]]
    entries: dict[str, list[Row]]
    at_the_rail: dict[str, Row]
    """What the card rail remembers, by transaction id; empty where no rail was in play."""
    paid_out: dict[str, Row]
    """What the card rail was asked to give back, by refund id."""

    @property
    def by_reference(self) -> dict[str, Row]:
        return {order["reference"]: order for order in self.orders.values()}


def read_books(place: Place) -> Books:
    """The books of a place, as of one committed moment; the rail's own as of a later one."""
    with reading(place) as run:
        orders = {row["order_id"]: row for row in run("SELECT * FROM orders")}
        attempts = run("SELECT * FROM attempts ORDER BY started_at")
        refunds = run("SELECT * FROM refunds ORDER BY started_at")
        events = run("SELECT * FROM events ORDER BY sequence")
        entries = run("SELECT * FROM ledger_entries ORDER BY sequence, line")
    return Books(
        orders=orders,
        attempts=_by_order(attempts),
        refunds=_by_order(refunds),
        events=_by_order(events),
        entries=_by_order(entries),
        at_the_rail=_rail(place, "rail_payments", "transaction_id"),
        paid_out=_rail(place, "rail_payouts", "payout_id"),
    )


def calls_under_way(place: Place) -> int:
    """Count the attempts that wait for a rail's answer or for their money to go back; refunds as well."""
    with reading(place) as run:
        [found] = run(
            "SELECT count(a.call_until) AS calls FROM (SELECT call_until FROM attempts"
            " UNION ALL SELECT call_until FROM refunds) AS a"
        )
    return int(found["calls"])


def sound_file(folder: Path) -> bool:
    """Tell whether the database file is whole, down to its last page and index."""
    with closing(sqlite3.connect(f"file:{folder / FILE}?mode=ro", uri=True)) as database:
        return database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def ledger_check(server: Server) -> str:
    """Return what the program's own check of the server's books complains of; empty when all holds."""
    try:
        operate(server, "ledger", "check")
    except subprocess.CalledProcessError as broken:
        return f"exit status {broken.returncode}: {broken.stdout}{broken.stderr}"
    return ""


def until(condition: Callable[[], bool], seconds: float = 15) -> None:
    """Wait for something that another process brings about; fails when it does not come."""
    pause, deadline = Event(), monotonic() + seconds
    while not condition():
        assert monotonic() < deadline, "it did not come about in time"
        pause.wait(POLL_SECONDS)


def _by_order(rows: list[Row]) -> dict[str, list[Row]]:
    grouped = defaultdict(list)
    for row in rows:
        grouped[row["order_id"]].append(row)
    return dict(grouped)


def _rail(place: Place, table: str, key: str) -> dict[str, Row]:
    if not has_rail(place):
        return {}
    with reading_rail(place) as run:
        return {row[key]: row for row in run(f"SELECT * FROM {table}")}
