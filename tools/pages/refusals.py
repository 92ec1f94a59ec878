"""``docs/refusals.md``: every refusal, its answer and what to do instead."""

import inspect
import json
import re
from collections.abc import Iterable, Mapping
from typing import Final

from opentill.api import wire
from opentill.api.http.call import Operation
from opentill.api.operations import OPERATIONS
from opentill.api.wire import REFUSALS, envelope
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
from tools.pages.markdown import MADE_BY, joined

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

_ABOUT_REFUSALS: Final = """\
A refusal was understood and may not be done; it changes nothing. When several hold, the first in the order of
this page is told. Its word travels in the header `Refusal-Reason`, never in the body. An operation with an
answer of its own, for every refusal of code `01` or for one alone, gives that in place of the one below:

"""

_ABOUT_REFUSALS_OUTSIDE: Final = """\
Some words are said outside of any command, or after a rail has said no:

| `Refusal-Reason` | answer | instead |
|---|---|---|"""


def refusals_page() -> str:
    """Show every refusal under a heading of its own, in precedence order."""
    parts = (part for refusal in PRECEDENCE for part in _refusal_parts(refusal))
    outside = "\n".join([_ABOUT_REFUSALS_OUTSIDE, *_outside()])
    return joined("# Refusals", MADE_BY, _ABOUT_REFUSALS + _own_texts(), outside, *parts)


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
        yield f"{of}, {heading(refusal)} alone: `{envelope(row.code, row.text, row.data).decode()}`"


def _refusal_parts(refusal: type[Refusal]) -> tuple[str, str, str]:
    row = REFUSALS[refusal]
    status = row.status or "400 (setting `refusal_http_status`)"
    facts = (
        f"- `Refusal-Reason`: {f'`{refusal.reason}`' if refusal.reason else 'not sent'}",
        f'- Answer: HTTP {status}, code `{row.code}`, "{row.text}"',
        f"- Instead: {_INSTEAD[refusal]}",
    )
    return f"## {heading(refusal)}", inspect.cleandoc(refusal.__doc__ or ""), "\n".join(facts)


def heading(refusal: type[Refusal]) -> str:
    """Name a refusal as its heading does: by its reason, or by its class where it has none."""
    return refusal.reason or re.sub(r"(?<!^)(?=[A-Z])", "-", refusal.__name__).lower()


def link(refusal: type[Refusal]) -> str:
    """Link the heading of a refusal from another page."""
    return f"[{heading(refusal)}](refusals.md#{heading(refusal)})"
