"""``docs/states.md``: the tables of ``domain/lifecycle.py``, every cell of them, with diagrams."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from enum import StrEnum
from typing import Final, TypeVar

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
from tools.pages.markdown import MADE_BY, joined
from tools.pages.refusals import link

_Row = TypeVar("_Row", bound=StrEnum)
_Column = TypeVar("_Column", bound=StrEnum)

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
    RefundStatus.CLOSING: "refused beside a try that has no answer; the rail is asked to close its id",
    RefundStatus.DISPUTED: "refused for good, and paid by the rail all the same",
}

_RETURN_MEANING: Final[Mapping[ReturnStatus, str]] = {
    ReturnStatus.DUE: "to be sent; nobody is sending it at this moment",
    ReturnStatus.RUNNING: "the rail has been, or is about to be, asked",
    ReturnStatus.UNKNOWN: "the rail did not answer in time; a worker asks about it until it does",
    ReturnStatus.PARKED: "the rail refused it as often as it was to be tried; it waits for a person",
    ReturnStatus.DONE: "the money is back",
    ReturnStatus.CLOSING: "refused at its last try beside one without an answer; the rail is to close its id",
    ReturnStatus.DISPUTED: "settled by hand, and paid by the rail all the same",
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
and never repeated under another id. Before a person settles a return with the bank's reference the rail is
asked to close its id: only when it has answered that it will never pay it is the settlement booked. An answer
of the rail whose cell is missing (`-`) is known already, or comes too late to count. {ReturnStatus.PARKED}
is told to the merchant as a reversal that failed."""

_ABOUT_ATTEMPTS: Final = f"""\
An attempt is *{AttemptInput.ABANDONED}* when its order ends or a newer attempt takes its place. An
answer of the rail is a fact and never refused: where its cell is missing (`-`) it tells nothing new and
changes nothing. An approval pays for the order if the order's table applies the money; else the attempt
becomes {AttemptStatus.VOIDING}. When the order has ended, an answer that would wait for the payer abandons
the attempt at once. *closed*: the attempt had ended before the answer came, which now closes its call."""

_ABOUT_REFUNDS: Final = f"""\
A refund counts against what may be refunded from the moment it is {RefundStatus.RUNNING} until it is
{RefundStatus.REFUSED}. It keeps its one id on every try. Once a try has had no answer a refusal of another
one frees nothing: the rail is first asked to close the id (*closed*: it will never be paid). An answer whose
cell is missing (`-`) is known already."""


def states_page() -> str:
    """Show the tables of ``domain/lifecycle.py``, every cell of them, with diagrams."""
    return joined(
        "# States",
        MADE_BY,
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


def _order_cell(status: OrderStatus, column: OrderInput) -> str:
    cell = ORDER_TABLE[status].get(column)
    if cell is None:
        word = "no effect" if column is OrderInput.DUE else "refused"
        return f"{word}: {link(REFUSAL_IN.get(column) or REFUSAL_OF[status])}"
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
        return f"refused: {link(ATTEMPT_REFUSAL_OF[status])}"
    return "goes on" if column is AttemptInput.ABANDONED and status in IN_FLIGHT else "-"


def _refund_cell(status: RefundStatus, column: RefundOutcome) -> str:
    target = REFUND_TABLE[status].get(column)
    return f"→ **{target}**" if target else "-"


def _return_cell(status: ReturnStatus, column: ReturnInput) -> str:
    target = RETURN_TABLE[status].get(column)
    if target is not None:
        return f"→ **{target}**"
    return f"refused: {link(RETURN_REFUSAL_OF[status])}" if column in _RETURN_REFUSABLE else "-"


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
