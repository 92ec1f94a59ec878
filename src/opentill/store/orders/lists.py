"""Lists of a merchant's orders: statements built from a filter, portable SQLAlchemy Core.

A filter that no index knows is tried on a bounded number of orders for each page, so that no page, however
rare what it looks for, keeps other readers waiting.
"""

from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, Select, select, tuple_, union

from opentill.store.orders import rows
from opentill.store.orders.contract import OrderFilter, OrderPage, OrderView
from opentill.store.orders.statements import ORDER
from opentill.store.schema import orders

LOOKED_AT: Final = 5000
"""How many orders one page tries at the most."""

_COLUMNS: Final = tuple(orders.c[name] for name in ORDER + rows.TERMS)
_place: Final = tuple_(orders.c.created_at, orders.c.order_id)
_NEWEST_FIRST: Final = (orders.c.created_at.desc(), orders.c.order_id.desc())


def select_orders(connection: Connection, wanted: OrderFilter) -> OrderPage:
    """Select one page of a merchant's orders, as ``Snapshot.list_orders`` says."""
    if wanted.name is not None:
        found = connection.execute(_one(wanted, wanted.name))
        return OrderPage([_view(tuple(row)) for row in found], None)
    last = _last_looked_at(connection, wanted)
    statement = select(*_COLUMNS).where(*_indexed(wanted), *_tried(wanted)).order_by(*_NEWEST_FIRST)
    if last is not None:
        statement = statement.where(_place >= tuple_(*last))
    found = connection.execute(statement.limit(wanted.limit + 1))
    views = [_view(tuple(row)) for row in found]
    if len(views) > wanted.limit:
        end = views[wanted.limit - 1].order
        return OrderPage(views[: wanted.limit], (end.created_at, end.order_id))
    return OrderPage(views, last)


def _last_looked_at(connection: Connection, wanted: OrderFilter) -> tuple[int, str] | None:
    """Find where this page stops trying; None when it tries all, or every one of them is wanted."""
    if not _tried(wanted):
        return None
    places = select(orders.c.created_at, orders.c.order_id).where(*_indexed(wanted))
    row = connection.execute(places.order_by(*_NEWEST_FIRST).offset(LOOKED_AT - 1).limit(1)).first()
    return None if row is None else (row.created_at, row.order_id)


def _indexed(wanted: OrderFilter) -> list[ColumnElement[bool]]:
    """List the conditions that an index answers."""
    conditions = [orders.c.account_id == wanted.account_id]
    if wanted.customer_email is not None:
        conditions.append(orders.c.customer_email == wanted.customer_email)
    if wanted.created_from is not None:
        conditions.append(orders.c.created_at >= wanted.created_from)
    if wanted.created_before is not None:
        conditions.append(orders.c.created_at < wanted.created_before)
    if wanted.behind is not None:
        conditions.append(_place < tuple_(*wanted.behind))
    return conditions


def _tried(wanted: OrderFilter) -> list[ColumnElement[bool]]:
    """List the conditions that are tried on one order after the other."""
    conditions: list[ColumnElement[bool]] = []
    if wanted.statuses is not None:
        conditions.append(orders.c.status.in_(sorted(wanted.statuses)))
    if wanted.customer_id is not None:
        conditions.append(orders.c.customer_id == wanted.customer_id)
    return conditions


def _one(wanted: OrderFilter, name: str) -> Select[Any]:
    """Select the order of this name, if it fulfils the rest; by its keys, whatever else is asked."""
    mine = orders.c.account_id == wanted.account_id
    ids = union(
        select(orders.c.order_id).where(mine, orders.c.reference == name),
        select(orders.c.order_id).where(mine, orders.c.order_id == name),
    )
    return select(*_COLUMNS).where(orders.c.order_id.in_(ids), *_indexed(wanted), *_tried(wanted))


def _view(row: rows.Row) -> OrderView:
    return OrderView(rows.order(row), rows.terms(row[len(ORDER) :]))
