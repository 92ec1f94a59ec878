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
from typing import Any, TypeAlias

from server import Server, operate

Row: TypeAlias = dict[str, Any]
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


def read_books(folder: Path) -> Books:
    """The books of the data folder, as of one committed moment each."""
    with closing(_open(folder / "opentill.db")) as database:
        database.execute("BEGIN")
        orders = {row["order_id"]: row for row in _rows(database, "SELECT * FROM orders")}
        attempts = _rows(database, "SELECT * FROM attempts ORDER BY started_at")
        refunds = _rows(database, "SELECT * FROM refunds ORDER BY started_at")
        events = _rows(database, "SELECT * FROM events ORDER BY sequence")
        entries = _rows(database, "SELECT * FROM ledger_entries ORDER BY sequence, line")
    return Books(
        orders=orders,
        attempts=_by_order(attempts),
        refunds=_by_order(refunds),
        events=_by_order(events),
        entries=_by_order(entries),
        at_the_rail=_rail(folder, "rail_payments", "transaction_id"),
        paid_out=_rail(folder, "rail_payouts", "payout_id"),
    )


def calls_under_way(folder: Path) -> int:
    """How many attempts wait for a rail's answer, or for their money to be given back; refunds as well."""
    with closing(_open(folder / "opentill.db")) as database:
        found = database.execute(
            "SELECT count(a.call_until) FROM (SELECT call_until FROM attempts"
            " UNION ALL SELECT call_until FROM refunds) AS a"
        )
        return int(found.fetchone()[0])


def sound_file(folder: Path) -> bool:
    """Whether the database file is whole, down to its last page and index."""
    with closing(_open(folder / "opentill.db")) as database:
        return database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def ledger_check(server: Server) -> str:
    """What the program's own check of the server's books complains of; empty when all holds."""
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


def _open(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"file:{path}?mode=ro", uri=True, isolation_level=None)


def _rows(database: sqlite3.Connection, statement: str) -> list[Row]:
    found = database.execute(statement)
    names = [column[0] for column in found.description]
    return [dict(zip(names, row, strict=True)) for row in found]


def _by_order(rows: list[Row]) -> dict[str, list[Row]]:
    grouped = defaultdict(list)
    for row in rows:
        grouped[row["order_id"]].append(row)
    return dict(grouped)


def _rail(folder: Path, table: str, key: str) -> dict[str, Row]:
    path = folder / "sandbox-rail.db"
    if not path.exists():
        return {}
    with closing(_open(path)) as journal:
        return {row[key]: row for row in _rows(journal, f"SELECT * FROM {table}")}
