"""A PostgreSQL database with a past: orders by the hundred thousand, generated where they stand.

The rows are those that the server would write. What differs between them (ids, references, times) is
generated; all else is copied from one order that the domain itself decided.
"""

from collections.abc import Mapping
from typing import Any, Final

import psycopg
from psycopg import sql

from opentill.domain.commands import Actor, ActorKind
from opentill.domain.events import Event
from opentill.domain.transition import Change
from opentill.store.orders import rows
from orders import IDS, ended, pending

CLIENT: Final = Actor(ActorKind.API_KEY, IDS.uuid())
ORDER: Final = rows.ORDER_FACTS + rows.ORDER_STATE + rows.TERMS
_BATCH: Final = 100_000

_OWN: Final = {
    "order_id": sql.SQL("m.order_id"),
    "reference": sql.SQL("m.reference"),
    "event_id": sql.SQL("gen_random_uuid()::text"),
    **dict.fromkeys(("created_at", "updated_at", "cancelled_at", "at"), sql.SQL("m.at")),
}

_INSERT: Final = """
    WITH m AS MATERIALIZED (
           SELECT gen_random_uuid()::text AS order_id, {prefix} || n AS reference, {at} - {count} + n AS at
             FROM generate_series({first}, {last}) AS n),
         made AS (INSERT INTO orders ({order_columns}) SELECT {order} FROM m),
         happened ({event_columns}) AS ({events}),
         behind AS MATERIALIZED (
           SELECT COALESCE(max(place), 0) AS place FROM events WHERE account_id = {account})
    INSERT INTO events ({event_columns}, place)
    SELECT h.*, b.place + row_number() OVER () FROM happened AS h CROSS JOIN behind AS b
"""

_MOVE_FEED: Final = """
    INSERT INTO feeds (account_id, place) SELECT account_id, max(place) FROM events GROUP BY account_id
    ON CONFLICT (account_id) DO UPDATE SET place = excluded.place
"""
"""What happened long ago has been placed long ago."""


def add_pending(connection: psycopg.Connection[Any], account_id: str, prefix: str, count: int) -> None:
    """Orders that can be cancelled or paid: ``prefix`` with 0, 1, 2, ..."""
    _add(connection, prefix, count, pending(account_id, prefix, CLIENT))


def add_ended(connection: psycopg.Connection[Any], account_id: str, prefix: str, count: int) -> None:
    """Orders that were created and cancelled."""
    _add(connection, prefix, count, ended(pending(account_id, prefix, CLIENT), CLIENT))


def _add(connection: psycopg.Connection[Any], prefix: str, count: int, model: Change) -> None:
    order, terms = model.after, model.terms
    assert terms is not None
    row = rows.order_facts(order) + rows.order_state(order) + rows.terms_row(terms)
    events = [sql.SQL("SELECT {} FROM m").format(event_values(event, _OWN)) for event in model.events]
    for first in range(0, count, _BATCH):
        statement = sql.SQL(_INSERT).format(
            prefix=sql.Literal(prefix),
            at=sql.Literal(order.updated_at),
            count=sql.Literal(count),
            first=sql.Literal(first),
            last=sql.Literal(min(first + _BATCH, count) - 1),
            order_columns=_names(ORDER),
            order=_values(ORDER, row, _OWN),
            event_columns=event_columns(),
            events=sql.SQL(" UNION ALL ").join(events),
            account=sql.Literal(order.account_id),
        )
        connection.execute(statement)
    connection.execute(_MOVE_FEED)


def event_columns() -> sql.Composed:
    """The columns of an event, in the order of ``event_values``."""
    return _names(rows.EVENT)


def event_values(event: Event, own: Mapping[str, sql.Composable]) -> sql.Composed:
    """An event as a list of SQL expressions: its own values, but for the columns that ``own`` names."""
    return _values(rows.EVENT, rows.event_row(event), own)


def _names(columns: tuple[str, ...]) -> sql.Composed:
    return sql.SQL(", ").join(map(sql.Identifier, columns))


def _values(columns: tuple[str, ...], row: rows.Row, own: Mapping[str, sql.Composable]) -> sql.Composed:
    """Keep NULL what is NULL in the model, in every copy of it."""
    return sql.SQL(", ").join(
        own[name] if name in own and value is not None else sql.Literal(_plain(value))
        for name, value in zip(columns, row, strict=True)
    )


def _plain(value: Any) -> Any:
    """The domain's words as mere text."""
    return str(value) if isinstance(value, str) else value
