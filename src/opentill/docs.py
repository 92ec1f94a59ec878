"""The pages of ``docs/`` that are made from the code, so that they can not say anything else.

``python -m opentill.docs`` writes them into ``docs`` below the working directory; with ``--check`` it
writes nothing and exits 1 when one is stale.
"""

import argparse
import inspect
import json
import re
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Final, TypeVar

from opentill.api import wire
from opentill.api.operations import OPERATIONS
from opentill.api.routing import Operation
from opentill.api.wire import REFUSALS, envelope
from opentill.domain.commands import RefundOutcome
from opentill.domain.decisions import IN_FLIGHT
from opentill.domain.lifecycle import (
    ATTEMPT_REFUSAL_OF,
    ATTEMPT_TABLE,
    CREDIT_TABLE,
    ORDER_TABLE,
    REFUND_TABLE,
    REFUSAL_IN,
    REFUSAL_OF,
    RETURN_REFUSAL_OF,
    RETURN_TABLE,
    AttemptInput,
    Cell,
    CreditInput,
    OrderInput,
    ReturnInput,
    Take,
)
from opentill.domain.order import AttemptStatus, OrderStatus, RefundStatus, ReturnStatus
from opentill.domain.refusals import (
    PRECEDENCE,
    AttemptAlreadyCompleted,
    AttemptEnded,
    AttemptInProgress,
    CreditBelowAmount,
    CreditNotHeld,
    CurrencyMismatch,
    IdempotencyKeyInProgress,
    IdempotencyKeyReused,
    OrderAlreadyCancelled,
    OrderAlreadyPaid,
    OrderExpired,
    OrderNotDue,
    OrderNotPaid,
    OrderReferenceUsed,
    RecordNotFound,
    RefundExceedsPaid,
    Refusal,
    ReturnCompleted,
    ReturnInProgress,
    ReturnParked,
    TokenRevoked,
    TooManyAttempts,
    TooManyOtps,
    VersionChanged,
)
from opentill.settings import settings_page

_Row = TypeVar("_Row", bound=StrEnum)
_Column = TypeVar("_Column", bound=StrEnum)

_MADE_BY = "<!-- Made by `python -m opentill.docs`; do not edit. -->"

_ORDER_MEANING: Final[Mapping[OrderStatus, str]] = {
    OrderStatus.PENDING: "open: it can be paid, cancelled or fall due",
    OrderStatus.PAID: "final: the money is applied; it can only be given back by a refund",
    OrderStatus.CANCELLED: "final: money that still arrives is sent back",
    OrderStatus.EXPIRED: "its due time passed unpaid: it takes no card any more and can still be cancelled; "
    "a transfer that was on time, or is accepted, pays for it after all",
}

_ATTEMPT_MEANING: Final[Mapping[AttemptStatus, str]] = {
    AttemptStatus.CALLING: "the rail has been, or is about to be, asked",
    AttemptStatus.AWAITING_OTP: "the payer has to enter a one-time password",
    AttemptStatus.AWAITING_3DS: "the payer is with the card's issuer (3-D Secure)",
    AttemptStatus.UNKNOWN: "the rail did not answer in time; a worker finds out",
    AttemptStatus.APPROVED: "its money pays for the order",
    AttemptStatus.DECLINED: "the rail took no money",
    AttemptStatus.CANCELLED: "cancelled by the merchant, by the end of its order, or by a newer attempt",
    AttemptStatus.VOIDING: "the rail took money that the order does not want; it is being given back",
    AttemptStatus.VOIDED: "that money is back with the payer",
    AttemptStatus.FAILED: "the rail never saw the call, and refuses it should it still arrive",
}

_REFUND_MEANING: Final[Mapping[RefundStatus, str]] = {
    RefundStatus.RUNNING: "the rail has been, or is about to be, asked",
    RefundStatus.UNKNOWN: "the rail did not answer in time; a worker asks about it until it does",
    RefundStatus.DONE: "the money is on its way to the payer or the bank account",
    RefundStatus.REFUSED: "the rail would not pay it; the money is the merchant's again",
}

_RETURN_MEANING: Final[Mapping[ReturnStatus, str]] = {
    ReturnStatus.DUE: "to be sent; nobody is sending it at this moment",
    ReturnStatus.RUNNING: "the rail has been, or is about to be, asked",
    ReturnStatus.UNKNOWN: "the rail did not answer in time; a worker asks about it until it does",
    ReturnStatus.PARKED: "the rail refused it as often as it was to be tried; it waits for a person",
    ReturnStatus.DONE: "the money is back",
}

_INSTEAD: Final[Mapping[type[Refusal], str]] = {
    TokenRevoked: "Issue a new token. If that fails too, the client was disabled: ask who runs the server.",
    IdempotencyKeyReused: "Send the other request under a key of its own.",
    IdempotencyKeyInProgress: "Send the same request with the same key again; its stored answer comes back.",
    RecordNotFound: "Check the reference, letter by letter, and that the token is that merchant's.",
    OrderReferenceUsed: "Look the order up by this reference, or create one under a new reference.",
    VersionChanged: "Look the order up again, and decide on what it is now.",
    AttemptAlreadyCompleted: "Nothing: the payment succeeded. Look the order up.",
    OrderAlreadyPaid: "Refund it if the money is to go back; otherwise deliver.",
    OrderAlreadyCancelled: "Nothing, if it was to be cancelled. To be paid after all, create a new order.",
    OrderExpired: "Create a new order under a new reference, or cancel this one for good.",
    OrderNotDue: "Nothing: only workers ask for this, and they come again.",
    AttemptEnded: "Start a new attempt, if the order is still unpaid.",
    AttemptInProgress: "Ask again in a few seconds; the attempt then has its answer, or a worker finds it.",
    TooManyAttempts: "Create a new order under a new reference.",
    OrderNotPaid: "Cancel the order if it is not to be paid; its paying transaction can be refunded.",
    RefundExceedsPaid: "Look the order up, and refund at most what is left of the payment.",
    TooManyOtps: "Start a new attempt, or cancel the order.",
    CreditNotHeld: "Look the order up: its credits and returns say where the money is.",
    CreditBelowAmount: "Return it, and let the payer pay a new order.",
    ReturnCompleted: "Nothing: look the order up.",
    ReturnParked: "Retry it, or settle it once the money was sent by hand.",
    CurrencyMismatch: "Nothing: the money goes back to its sender.",
    ReturnInProgress: "Wait for its outcome; it is tried again by itself, and parked in the end.",
}

_INSTEAD_OUTSIDE: Final[Mapping[str, str]] = {
    "card-entry-not-permitted": "Send the payer to the order's page; no card number is taken here.",
    "too-many-endpoints": "Take an endpoint away that is not needed any more.",
    "card-declined": "Charge another card, or let the payer pay, under a new reference: this one is used up.",
    "no-card-to-save": "Save the card of an order that was paid by one, and that was to be saved.",
    "no-password-sent": "Have one sent, or a new one: it runs out, and may be tried only so often.",
    "no-rotation": "Begin one by `rotate-key`.",
    "transfers-not-taken": "Ask who runs the server: no bank is connected (`OPENTILL_CREDIT_ADVICE_KEYS`).",
    "session-id-reused": "Have a person look at both; the first one counts.",
    "password-refused": "Enter the password that was sent, or have a new one sent.",
}


_REFUSABLE: Final = frozenset(
    {AttemptInput.OTP_SUBMITTED, AttemptInput.CHALLENGE_RETURNED, AttemptInput.CANCEL_REQUESTED}
)
"""What payers and merchants ask for, unlike what rails tell."""

_RETURN_REFUSABLE: Final = frozenset({ReturnInput.TRIED, ReturnInput.RETRIED, ReturnInput.SETTLED_BY_HAND})

_ABOUT_STATES: Final = """\
The tables in [`lifecycle.py`](../src/opentill/domain/lifecycle.py) decide everything about an order, its
credits, attempts, refunds and returns. A cell says where an input leads; a missing cell is a refusal, and is
named here."""

_ABOUT_ORDERS: Final = f"""\
*Due* counts from the due time on, whether or not a worker has come by: any command first carries out what
is due, in the same change; only a transfer that was on time finds the order still open. An order that asked
to be cancelled at its due time takes the step of the column *{OrderInput.CANCEL}* then. Money
*{Take.SEND_BACK}* was never applied: it is booked, voided or returned and reported as a reversal. *Held* is
what transfers brought and no payment used so far. Money *{Take.REFUND}* is what paid for the order, as far as
it has not been given back yet."""

_ABOUT_CREDITS: Final = """\
A credit is the money of one bank transfer. It is *full* if it makes up the order's amount, together with the
money held already where that would be applied; else it is *short*. It was *on time* if the bank's time of the
transfer is not after the order's due time; for one that was not, the order's `lateMoney` decides. Credits
apply oldest first, and what is too much of the last one goes back."""

_ABOUT_RETURNS: Final = f"""\
A return has one id for life, which the rail is given on every try. A try of unknown outcome is asked about
and never repeated under another id. A person may settle a return with the bank's reference only while the
outcome of no try is unknown. An answer of the rail whose cell is missing (`-`) is known already, or comes too
late to count. {ReturnStatus.PARKED} is told to the merchant as a reversal that failed."""

_ABOUT_ATTEMPTS: Final = f"""\
An attempt is *{AttemptInput.ABANDONED}* when its order ends or a newer attempt takes its place. An
answer of the rail is a fact and never refused: where its cell is missing (`-`) it tells nothing new and
changes nothing. An approval pays for the order if the order's table applies the money; else the attempt
becomes {AttemptStatus.VOIDING}. When the order has ended, an answer that would wait for the payer abandons
the attempt at once. *closed*: the attempt had ended before the answer came, which now closes its call."""

_ABOUT_REFUNDS: Final = f"""\
A refund counts against what may be refunded from the moment it is {RefundStatus.RUNNING} until it is
{RefundStatus.REFUSED}. It keeps its one id on every try. The rail answers one id in one way for ever, so an
answer whose cell is missing (`-`) is known already."""

_ABOUT_REFUSALS: Final = """\
A refusal was understood and may not be done; it changes nothing. When several hold, the first in the order of
this page is told. Its word travels in the header `Refusal-Reason`, never in the body. An operation with an
answer of its own, for every refusal of code `01` or for one alone, gives that in place of the one below:

"""


_ABOUT_REFUSALS_OUTSIDE: Final = """\
Some words are said outside of any command, or after a rail has said no:

| `Refusal-Reason` | answer | instead |
|---|---|---|"""


def pages() -> dict[str, str]:
    """The text of every generated page, by its file name in ``docs/``."""
    return {"states.md": states_page(), "refusals.md": refusals_page(), "settings.md": settings_page()}


def states_page() -> str:
    """The tables of ``domain/lifecycle.py``, every cell of them, with diagrams."""
    return _joined(
        "# States",
        _MADE_BY,
        _ABOUT_STATES,
        "## Order",
        _meanings(_ORDER_MEANING),
        _diagram(OrderStatus.PENDING, _order_edges(), finals=(OrderStatus.PAID, OrderStatus.CANCELLED)),
        _table(OrderInput, OrderStatus, _order_cell),
        _ABOUT_ORDERS,
        "## Credit",
        _ABOUT_CREDITS,
        _table(CreditInput, OrderStatus, lambda status, column: _step(status, CREDIT_TABLE[status][column])),
        "## Attempt",
        "An attempt is one try of a payer to pay by card. An order has at most one live attempt.",
        _meanings(_ATTEMPT_MEANING),
        _diagram(AttemptStatus.CALLING, _attempt_edges(), finals=_finals(ATTEMPT_TABLE)),
        _table(AttemptInput, AttemptStatus, _attempt_cell),
        _ABOUT_ATTEMPTS,
        "## Refund",
        "A refund gives back what an attempt was paid, in whole or in part.",
        _meanings(_REFUND_MEANING),
        _diagram(RefundStatus.RUNNING, _refund_edges(), finals=_finals(REFUND_TABLE)),
        _table(RefundOutcome, RefundStatus, _refund_cell),
        _ABOUT_REFUNDS,
        "## Return",
        "A return sends money of a credit back that was never applied.",
        _meanings(_RETURN_MEANING),
        _diagram(ReturnStatus.DUE, _return_edges(), finals=_finals(RETURN_TABLE)),
        _table(ReturnInput, ReturnStatus, _return_cell),
        _ABOUT_RETURNS,
    )


def refusals_page() -> str:
    """Every refusal under a heading of its own, in precedence order."""
    parts = (part for refusal in PRECEDENCE for part in _refusal_parts(refusal))
    outside = "\n".join([_ABOUT_REFUSALS_OUTSIDE, *_outside()])
    return _joined("# Refusals", _MADE_BY, _ABOUT_REFUSALS + _own_texts(), outside, *parts)


def _outside() -> Iterable[str]:
    """A line for each answer of ``api/wire.py`` that has a word of its own; none can be forgotten here."""
    last = wire.password_refused("(in the rail's own words)")
    fixed = [each for each in vars(wire).values() if isinstance(each, type(last)) and each.reason]
    for reply in (*fixed, last):
        said = json.loads(reply.body)
        answer = f'HTTP {reply.status}, code `{said["code"]}`, "{said["description"]}"'
        yield f"| `{reply.reason}` | {answer} | {_INSTEAD_OUTSIDE[reply.reason]} |"


def _own_texts() -> str:
    return "\n".join(line for operation in OPERATIONS for line in _own_texts_of(operation))


def _own_texts_of(operation: Operation) -> Iterable[str]:
    of = f"- `{operation.method} {operation.path}`"
    if operation.refusal_description:
        yield f"{of}: `{envelope('01', operation.refusal_description).decode()}`"
    for refusal, row in operation.refusal_rows.items():
        yield f"{of}, {_heading(refusal)} alone: `{envelope(row.code, row.text, row.data).decode()}`"


def _refusal_parts(refusal: type[Refusal]) -> tuple[str, str, str]:
    row = REFUSALS[refusal]
    status = row.status or "400 (setting `refusal_http_status`)"
    facts = (
        f"- `Refusal-Reason`: {f'`{refusal.reason}`' if refusal.reason else 'not sent'}",
        f'- Answer: HTTP {status}, code `{row.code}`, "{row.text}"',
        f"- Instead: {_INSTEAD[refusal]}",
    )
    return f"## {_heading(refusal)}", inspect.cleandoc(refusal.__doc__ or ""), "\n".join(facts)


def _heading(refusal: type[Refusal]) -> str:
    return refusal.reason or re.sub(r"(?<!^)(?=[A-Z])", "-", refusal.__name__).lower()


def _link(refusal: type[Refusal]) -> str:
    return f"[{_heading(refusal)}](refusals.md#{_heading(refusal)})"


def _order_cell(status: OrderStatus, column: OrderInput) -> str:
    cell = ORDER_TABLE[status].get(column)
    if cell is None:
        word = "no effect" if column is OrderInput.DUE else "refused"
        return f"{word}: {_link(REFUSAL_IN.get(column) or REFUSAL_OF[status])}"
    return _step(status, cell)


def _step(status: OrderStatus, cell: Cell) -> str:
    step = f"→ **{cell.to}**" if cell.to is not status else "stays"
    money = "" if cell.take is Take.NOTHING else f", money {cell.take}"
    return step + money + ("" if cell.held is Take.NOTHING else f", held {cell.held}")


def _attempt_cell(status: AttemptStatus, column: AttemptInput) -> str:
    target = ATTEMPT_TABLE[status].get(column)
    if target is not None:
        unwanted = f" or **{AttemptStatus.VOIDING}**" if target is AttemptStatus.APPROVED else ""
        return "closed" if target is status else f"→ **{target}**{unwanted}"
    if column in _REFUSABLE:
        return f"refused: {_link(ATTEMPT_REFUSAL_OF[status])}"
    return "goes on" if column is AttemptInput.ABANDONED and status in IN_FLIGHT else "-"


def _refund_cell(status: RefundStatus, column: RefundOutcome) -> str:
    target = REFUND_TABLE[status].get(column)
    return f"→ **{target}**" if target else "-"


def _return_cell(status: ReturnStatus, column: ReturnInput) -> str:
    target = RETURN_TABLE[status].get(column)
    if target is not None:
        return f"→ **{target}**"
    return f"refused: {_link(RETURN_REFUSAL_OF[status])}" if column in _RETURN_REFUSABLE else "-"


def _order_edges() -> Iterable[tuple[str, str, str]]:
    for status, row in ORDER_TABLE.items():
        yield from ((status, cell.to, column) for column, cell in row.items() if cell.to is not status)
    for status, row_of_credits in CREDIT_TABLE.items():
        if any(cell.to is not status for cell in row_of_credits.values()):
            yield status, OrderStatus.PAID, "credit"


def _return_edges() -> Iterable[tuple[str, str, str]]:
    for status, row in RETURN_TABLE.items():
        yield from ((status, target, column) for column, target in row.items() if target is not status)


def _attempt_edges() -> Iterable[tuple[str, str, str]]:
    for status, row in ATTEMPT_TABLE.items():
        for column, target in row.items():
            if target is status:
                continue
            yield status, target, _words(column)
            if target is AttemptStatus.APPROVED:
                yield status, AttemptStatus.VOIDING, "approved but not wanted"


def _refund_edges() -> Iterable[tuple[str, str, str]]:
    for status, row in REFUND_TABLE.items():
        yield from ((status, target, outcome) for outcome, target in row.items())


def _finals(table: Mapping[_Row, Mapping[_Column, _Row]]) -> Iterable[str]:
    return (status for status, row in table.items() if not row)


def _diagram(first: str, edges: Iterable[tuple[str, str, str]], finals: Iterable[str]) -> str:
    labels: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
    for source, target, label in edges:
        labels[source, target].append(label)
    arrows = [f"    {source} --> {target}: {', '.join(each)}" for (source, target), each in labels.items()]
    ends = [f"    {final} --> [*]" for final in finals]
    return "\n".join(["```mermaid", "stateDiagram-v2", f"    [*] --> {first}", *arrows, *ends, "```"])


def _meanings(meaning: Mapping[_Row, str]) -> str:
    return "\n".join(f"- **{status}**: {text}" for status, text in meaning.items())


def _table(columns: type[_Column], rows: type[_Row], cell: Callable[[_Row, _Column], str]) -> str:
    head = ["", *(_words(column) for column in columns)]
    body = [[f"**{row}**", *(cell(row, column) for column in columns)] for row in rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in [head, ["---"] * len(head), *body])


def _words(column: str) -> str:
    return column.replace("_", " ")


def _joined(*parts: str) -> str:
    return "\n\n".join(parts) + "\n"


def stale(folder: Path) -> list[str]:
    """The names of the generated pages whose file in ``folder`` is missing or says something else."""
    return [
        name
        for name, text in pages().items()
        if not (folder / name).is_file() or (folder / name).read_text(encoding="utf-8") != text
    ]


def main(arguments: list[str] | None = None) -> int:
    """Write the pages, or with ``--check`` say which are stale; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m opentill.docs", description=main.__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 when a page is stale")
    parser.add_argument("--into", type=Path, default=Path("docs"), help="the folder of the pages")
    chosen = parser.parse_args(arguments)
    old = stale(chosen.into)
    if not chosen.check:
        chosen.into.mkdir(parents=True, exist_ok=True)
        for name, text in pages().items():
            (chosen.into / name).write_text(text, encoding="utf-8")
    for name in old:
        sys.stdout.write(f"{chosen.into / name}: {'stale' if chosen.check else 'written'}\n")
    return 1 if chosen.check and old else 0


if __name__ == "__main__":
    sys.exit(main())
