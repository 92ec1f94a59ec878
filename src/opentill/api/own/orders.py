"""Lists of a merchant's orders (contract 10)."""

from typing import Annotated, Final

from msgspec import Meta

from opentill.api.http.call import Call
from opentill.api.http.cursor import from_cursor, to_cursor
from opentill.api.http.decode import ReferenceText, Text
from opentill.api.http.times import beginning
from opentill.api.own.order_views import OrderInList, order_in_list
from opentill.api.wire import Reply, WireStruct
from opentill.domain.order import OrderStatus
from opentill.store.orders.contract import OrderFilter

_MOST_LISTED: Final = 500


class OrdersQuery(WireStruct, kw_only=True):
    """The filters of a list, all of which must match, and which page of it."""

    status: OrderStatus | None = None
    reference: ReferenceText | None = None
    """A reference or an order id, in full."""
    customer_email: Text | None = None
    """In full, letter by letter."""
    created_after: Text | None = None
    """A date or time, itself included, so that one list begins where another ends."""
    created_before: Text | None = None
    """A date or time, itself not included."""
    limit: Annotated[int, Meta(ge=1, le=_MOST_LISTED)] = 50
    cursor: Text | None = None


class OrderList(WireStruct):
    """A page of orders, newest first. An empty cursor ends the list; a page may end before it is full."""

    results: list[OrderInList]
    cursor: str


async def list_orders(call: Call) -> Reply:
    """Return the merchant's orders, those of its sub-accounts included."""
    wanted = _wanted(call, call.query)
    page = await call.deps.reader.ask(lambda snapshot: snapshot.list_orders(wanted), call.token)
    cursor = to_cursor(*page.end) if page.end else ""
    return call.success(OrderList([order_in_list(view) for view in page.views], cursor))


def _wanted(call: Call, query: OrdersQuery) -> OrderFilter:
    return OrderFilter(
        account_id=call.account_id,
        name=None if query.reference is None else call.reference(query.reference, "reference"),
        statuses=None if query.status is None else frozenset({query.status.value}),
        customer_email=query.customer_email,
        created_from=None if (after := query.created_after) is None else beginning(after, "createdAfter"),
        created_before=None if (end := query.created_before) is None else beginning(end, "createdBefore"),
        behind=None if query.cursor is None else from_cursor(query.cursor),
        limit=query.limit,
    )
