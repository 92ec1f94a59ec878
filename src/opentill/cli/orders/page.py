"""An order as ``opentill orders show`` draws it: what it is, how it came about, what may be done now."""

import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from opentill.cli.printing import WIDE_COLUMNS, printable, say

_WHO: Final = {
    "api_key": "client",
    "open_sandbox": "nobody's token",
    "payer": "payer",
    "rail": "card processor",
    "worker": "server",
    "operator": "operator",
}
_STYLE: Final = {
    "payment_success": "green",
    "payment_failed": "red",
    "order_cancelled": "yellow",
    "order_expired": "yellow",
}


def print_order(order: Mapping[str, Any]) -> None:
    """Print the order."""
    for line in _head(order):
        say(line)
    say("")
    width = None if sys.stdout.isatty() else WIDE_COLUMNS
    Console(width=width, highlight=False, markup=False, emoji=False).print(_timeline(order["timeline"]))
    say("")
    for each in order["allowed"]:
        say(f"{each['action']:<10}{_possible(each)}")


def _head(order: Mapping[str, Any]) -> Iterator[str]:
    money, currency = order["money"], order["currency"]
    yield f"order     {printable(order['orderReference'])} ({order['orderId']})"
    yield f"status    {order['status']}, version {order['version']}"
    yield f"amount    {order['amount']} {currency}"
    kept = (f"{name} {money[name]}" for name in _MONEY if float(money[name]))
    yield f"money     {', '.join(kept) or 'none came'}"
    yield f"customer  {printable(order['customerEmail'])}"
    if order["dueAt"]:
        yield f"due       {order['dueAt']}"


_MONEY: Final = ("received", "applied", "held", "returning", "returned", "refunded")


def _timeline(events: Sequence[Mapping[str, Any]]) -> Table:
    table = Table(box=None, show_header=False, pad_edge=False)
    for overflow in (None, None, None, None, "fold"):
        table.add_column(no_wrap=overflow is None, overflow="fold")
    for event in events:
        place = "┌" if event is events[0] else "└" if event is events[-1] else "├"
        row = (f"{place}─ {event['sequence']}", event["at"], event["type"], _moved(event), _told(event))
        table.add_row(*row, style=_STYLE.get(event["type"]))
    return table


def _moved(event: Mapping[str, Any]) -> str:
    before, after = event["before"], event["after"]
    return f"→ {after}" if before != after else ""


def _told(event: Mapping[str, Any]) -> str:
    """Say who did it, about how much, and what was said."""
    data = event["data"]
    words = [f"by {who(event['actor'])}"]
    words += [f"{data['amount']} {data['currency']}"] if "amount" in data else []
    words += [str(data[name]) for name in ("transactionId", "refundId") if name in data]
    words += [printable(str(event[name])) for name in ("reason", "note") if event[name]]
    words += [printable(f"{name}={value}") for name, value in data.get("metadata", {}).items()]
    return ", ".join(words)


def who(actor: Mapping[str, str]) -> str:
    """Name whoever was behind an event, in a few words."""
    word = _WHO.get(actor["kind"], actor["kind"])
    return f"{word} {printable(actor['id'])}" if actor["id"] else word


def _possible(action: Mapping[str, Any]) -> str:
    if action["allowed"]:
        return "possible"
    instead = f"; {action['instead']} instead" if action["instead"] else ""
    return f"not possible: {action['reason']}{instead}"
