"""``opentill orders list`` and ``show``: a merchant's orders, asked of a running server."""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Final, Literal, TypeAlias
from urllib.parse import quote, urlencode

from cyclopts import Parameter
from cyclopts.validators import Number

from opentill.cli.orders.page import print_order
from opentill.cli.preflight import operator_errors
from opentill.cli.printing import AsJson, print_table, printable, say_json
from opentill.cli.server import AskedServer, RunningServer

MOST: Final = 1_000_000
_PAGE: Final = 500

StatusWord: TypeAlias = Literal["pending", "paid", "cancelled", "expired"]


def list_(
    *,
    status: StatusWord | None = None,
    reference: str | None = None,
    email: str | None = None,
    created_after: str | None = None,
    created_before: str | None = None,
    limit: Annotated[int, Parameter(validator=Number(gte=1, lte=MOST))] = 20,
    as_json: AsJson = False,
    asked: AskedServer | None = None,
) -> None:
    """List orders, newest first.

    Args:
        status: Only orders of this status.
        reference: Only the order of this reference or order id.
        email: Only orders of the customer with this address.
        created_after: Only orders from this date or time (ISO 8601) on.
        created_before: Only orders before this date or time.
        limit: How many orders.
        as_json: Print one line of JSON for each order.
        asked: Which server.
    """
    wanted = {
        "status": status and status.upper(),
        "reference": reference,
        "customerEmail": email,
        "createdAfter": created_after,
        "createdBefore": created_before,
    }
    with operator_errors():
        found = _found((asked or AskedServer()).server(), wanted, limit)
        if as_json:
            for order in found:
                say_json(order)
        else:
            print_table(("reference", "status", "amount", "created", "customer"), map(_row, found))


def _found(server: RunningServer, wanted: Mapping[str, str | None], limit: int) -> Iterator[dict[str, Any]]:
    """Read page after page, until there are enough orders or no more."""
    given: dict[str, object] = {name: value for name, value in wanted.items() if value is not None}
    while limit:
        page = server.ask("GET", f"/v1/opentill/orders?{urlencode(given | {'limit': min(limit, _PAGE)})}")
        yield from page["results"]
        limit -= len(page["results"])
        if not page["cursor"]:
            return
        given["cursor"] = page["cursor"]


def _row(order: Mapping[str, Any]) -> tuple[str, ...]:
    return (
        printable(order["orderReference"]),
        order["status"],
        f"{order['amount']} {order['currency']}",
        order["createdAt"],
        printable(order["customerEmail"]),
    )


def show(name: str, /, *, as_json: AsJson = False, asked: AskedServer | None = None) -> None:
    """Show an order: its money, its timeline, and what may be done with it now.

    Args:
        name: Its reference or order id.
        as_json: Print one line of JSON.
        asked: Which server.
    """
    with operator_errors():
        order = order_view((asked or AskedServer()).server(), name)
    if as_json:
        say_json(order)
    else:
        print_order(order)


def order_view(server: RunningServer, name: str) -> dict[str, Any]:
    """Ask for the order as the server knows it."""
    return server.ask("GET", path_of(name))


def path_of(name: str) -> str:
    """Return the path at which the API has the order of this reference or order id."""
    return f"/v1/opentill/orders/{quote(name, safe='')}"
