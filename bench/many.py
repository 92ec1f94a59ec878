"""Very many orders at once, in either database: copies of what the domain decides for one, made by SQL."""

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from typing import Any, Final, Protocol

import psycopg

from opentill.domain.ledger import entries_for
from opentill.domain.transition import Change
from opentill.store.databases.urls import is_postgres, sqlite_path
from opentill.store.orders import rows

ORDER: Final = rows.ORDER_FACTS + rows.ORDER_STATE + rows.TERMS
TRANSACTION: Final = "'WEB-ONLINE_C-' || m.order_id"


class Books(Protocol):
    """A connection to a database that nobody serves meanwhile."""

    uuid: str
    series: str
    updated_in_place: str
    """Asks for the number of orders that this transaction has updated without touching an index."""

    def run(self, statement: str) -> list[Any]:
        """Run one statement; its rows."""


class _Sqlite:
    uuid = (
        "lower(hex(randomblob(4))) || '-' || lower(hex(randomblob(2))) || '-4' || "
        "substr(lower(hex(randomblob(2))), 2) || '-8' || substr(lower(hex(randomblob(2))), 2) || '-' || "
        "lower(hex(randomblob(6)))"
    )
    series = (
        "(WITH RECURSIVE s (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM s WHERE n + 1 < {count}) "
        "SELECT n FROM s) AS s"
    )
    updated_in_place = "SELECT 0"

    def __init__(self, connection: sqlite3.Connection):
        self._connection = connection

    def run(self, statement: str) -> list[Any]:
        return self._connection.execute(statement).fetchall()


class _Postgres:
    uuid = "gen_random_uuid()::text"
    series = "generate_series(0, {count} - 1) AS s (n)"
    updated_in_place = "SELECT pg_stat_get_xact_tuples_hot_updated('orders'::regclass)"

    def __init__(self, connection: psycopg.Connection[Any]):
        self._connection = connection

    def run(self, statement: str) -> list[Any]:
        found = self._connection.execute(statement.encode())
        return found.fetchall() if found.description else []


@contextmanager
def books(url: str) -> Iterator[Books]:
    """The database of this URL, made by opentill before; what is written is there at the end of the block."""
    if is_postgres(url):
        with psycopg.connect(url, autocommit=True) as connection:
            yield _Postgres(connection)
            connection.execute("VACUUM ANALYZE")
            connection.execute("CHECKPOINT")
        return
    with closing(sqlite3.connect(sqlite_path(url), isolation_level=None)) as file:
        for pragma in ("synchronous = OFF", "cache_size = -1000000", "wal_autocheckpoint = 100000"):
            file.execute(f"PRAGMA {pragma}")
        yield _Sqlite(file)
        file.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def add(to: Books, model: Change, prefix: str, count: int, *, due_step: int = 0) -> None:
    """So many orders like the model, referred to as ``prefix`` with 0, 1, 2, ...; all of them told.

    Each falls due ``due_step`` milliseconds after the one before it, where the model falls due at all.
    """
    account = model.after.account_id
    found = to.run(f"SELECT place FROM feeds WHERE account_id = '{account}'")
    place = int(found[0][0]) if found else 0
    to.run("DROP TABLE IF EXISTS m")
    to.run(
        f"CREATE TEMP TABLE m AS SELECT n, {to.uuid} AS order_id, '{prefix}' || n AS reference "
        f"FROM {to.series.format(count=count)}"
    )
    order = model.after
    assert model.terms is not None
    row = rows.order_facts(order) + rows.order_state(order) + rows.terms_row(model.terms)
    due = {"due_at": f"{order.due_at} + m.n * {due_step}"}
    _insert(to, "orders", ORDER, row, due)
    for attempt in order.attempts:
        _insert(to, "attempts", rows.ATTEMPT, rows.attempt_row(order, attempt), {})
    for refund in order.refunds:
        _insert(to, "refunds", rows.REFUND, rows.refund_row(order, refund), {"refund_id": "m.order_id"})
    for number, event in enumerate(model.events, 1):
        its_place = f"{place} + m.n * {len(model.events)} + {number}"
        own = {"event_id": to.uuid, "place": its_place, "refund_id": "m.order_id"}
        _insert(to, "events", (*rows.EVENT, "place"), (*rows.event_row(event), 0), own)
        for line, entry in enumerate(entries_for(event)):
            moved = entry.account, entry.currency, entry.amount, event.at
            _insert(to, "ledger_entries", rows.ENTRY, (account, "", event.sequence, line, *moved), {})
    last = place + count * len(model.events)
    to.run(
        f"INSERT INTO feeds (account_id, place) VALUES ('{account}', {last}) "
        "ON CONFLICT (account_id) DO UPDATE SET place = excluded.place"
    )


_OWN: Final[Mapping[str, str]] = {
    "order_id": "m.order_id",
    "reference": "m.reference",
    "transaction_id": TRANSACTION,
    "paid_by": TRANSACTION,
}


def _insert(to: Books, table: str, columns: tuple[str, ...], row: rows.Row, own: Mapping[str, str]) -> None:
    """One row for each of ``m``; what is NULL in the model stays so in every copy of it."""
    special = {**_OWN, **own}
    values = (
        special[name] if name in special and value is not None else _literal(value)
        for name, value in zip(columns, row, strict=True)
    )
    names = ", ".join(f'"{name}"' for name in columns)
    to.run(f"INSERT INTO {table} ({names}) SELECT {', '.join(values)} FROM m")


def _literal(value: Any) -> str:
    if value is None:
        return "NULL"
    return str(value) if isinstance(value, int) else "'" + str(value).replace("'", "''") + "'"
