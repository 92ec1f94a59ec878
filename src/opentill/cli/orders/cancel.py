"""``opentill orders cancel``: one order, or as many as standard input names."""

import sys
from collections import Counter
from collections.abc import Iterable
from typing import Annotated, Any, Final, Literal, TypeAlias

from cyclopts import Parameter

from opentill.cli.orders.bulk_cancel import DONE, cancel_all
from opentill.cli.orders.show import path_of
from opentill.cli.preflight import OperatorError, operator_errors
from opentill.cli.printing import AsJson, printable, say, say_json
from opentill.cli.server import AskedServer

NOT_ALL: Final = 1
"""Exit status when an order that was named is not cancelled now."""

Reason: TypeAlias = Literal[
    "customer_request",
    "abandoned",
    "duplicate",
    "fraud_suspected",
    "out_of_stock",
    "price_changed",
    "expired",
    "test",
    "other",
]


def cancel(
    *names: str,
    stdin: Annotated[bool, Parameter(negative="")] = False,
    reason: Reason | None = None,
    note: str | None = None,
    or_refund: Annotated[bool, Parameter(negative="")] = False,
    if_version: int | None = None,
    as_json: AsJson = False,
    asked: AskedServer | None = None,
) -> None:
    """Cancel orders; one that is cancelled already stays so, and is no failure.

    Interrupted, it is run again with the same orders; two runs at once do no harm. It exits with 1 if an
    order is paid or unknown.

    Args:
        names: References or order ids.
        stdin: Read them from standard input, one a line, instead.
        reason: Why, for the timeline.
        note: More about it.
        or_refund: Refund what is left of the payment where the order is paid; for one order.
        if_version: Only while the order is at this version; for one order.
        as_json: Print one line of JSON for each order.
        asked: Which server.
    """
    said = {"reason": reason, "note": note}
    with operator_errors():
        wanted = _read(sys.stdin) if stdin else names
        if stdin == bool(names) or not wanted:
            raise OperatorError("name the orders to cancel, or give them on standard input with --stdin.")
        if stdin or len(names) > 1:
            if or_refund or if_version is not None:
                raise OperatorError("--or-refund and --if-version are for one order.")
            _cancel_many(asked or AskedServer(), wanted, said, as_json=as_json)
            return
        mode = "cancel_or_refund" if or_refund else "only_if_unpaid"
        body = said | {"mode": mode, "ifVersion": if_version}
        told = (asked or AskedServer()).server().ask("POST", f"{path_of(names[0])}/cancel", body)
    if as_json:
        say_json({"orderReference": names[0]} | told)
    else:
        say(f"Order {printable(names[0])} {_became(told)}.")


def _read(lines: Iterable[str]) -> tuple[str, ...]:
    """Read each line once; blank ones do not count."""
    return tuple(dict.fromkeys(line.strip("\r\n") for line in lines if line.strip()))


def _became(told: dict[str, Any]) -> str:
    refund = told["refund"]
    if refund:
        return f"is paid; the refund {refund['id']} of {refund['amount']} is {refund['status'].lower()}"
    if told["alreadyRefunded"]:
        return "is paid, and all of it was refunded before"
    return "was cancelled before" if told["alreadyCancelled"] else "is cancelled"


def _cancel_many(asked: AskedServer, names: tuple[str, ...], said: dict[str, Any], *, as_json: bool) -> None:
    counted: Counter[str] = Counter()
    for each in cancel_all(asked.server(), names, said):
        counted[each["outcome"]] += 1
        if as_json:
            say_json(each)
        elif each["outcome"] not in DONE:
            say(f"{printable(each['orderReference'])}  {each['outcome'].replace('_', ' ')}")
    if not as_json:
        say(", ".join(f"{word.replace('_', ' ')} {number}" for word, number in sorted(counted.items())) + ".")
    if counted.keys() - DONE:
        sys.exit(NOT_ALL)
