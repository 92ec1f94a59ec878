"""Cancel many orders by one call (contract 10).

Each order is a command of its own: it is decided alone, and one that is paid or unknown stops no other. They
go to the engine in its background lane, so that a cancel of a single order never waits behind a thousand.
With an idempotency key each order has one derived from it, so that a call that broke off is carried on by
the next one with this key; where it names its orders, that one tells for what was done before what the first
would have told. By a filter an order that was cancelled before is not found again.
"""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Final

from msgspec import Meta

from opentill.api.http.call import Call
from opentill.api.http.cursor import from_cursor, to_cursor
from opentill.api.http.decode import ReferenceText, Text
from opentill.api.http.idempotency import answer_once
from opentill.api.http.times import beginning
from opentill.api.own.cancellation import CancelSaid
from opentill.api.wire import Reply, WireStruct, invalid
from opentill.domain.commands import EnsureCancelled
from opentill.domain.lifecycle import CANCELLABLE
from opentill.domain.order import OrderStatus
from opentill.domain.refusals import OrderAlreadyPaid, RecordNotFound, Refusal
from opentill.engine.engine import Outcome, Result
from opentill.store.orders.contract import KeyClaim, OrderFilter, OrderPage

MOST: Final = 1000
"""How many orders one call cancels at the most."""
PAGES: Final = 20
"""How many pages one call looks through for the orders of its filter; ``more`` says that it stopped there."""
BODY_BYTES: Final = 2**21
"""Room for so many references of the greatest length, whatever they are written in."""
AT_ONCE: Final = 256
"""How many of them wait in the engine together."""
_OURS: Final = "\N{SECTION SIGN}"
"""Begins keys that no caller can send, for theirs are ASCII."""


class BulkCancel(CancelSaid, kw_only=True):
    """The orders to cancel: those named, or those that can be cancelled of some time or customer."""

    order_references: Annotated[list[ReferenceText], Meta(min_length=1, max_length=MOST)] | None = None
    created_before: Text | None = None
    """A date or time, itself not included, as in the list of orders."""
    customer_id: Text | None = None
    cursor: Text | None = None
    """That of the answer before, to look on where it stopped; with a filter alone."""


class CancelOutcome(WireStruct):
    """The outcome for one order: cancelled, already_cancelled, already_paid or not_found."""

    order_reference: str
    outcome: str


class BulkOutcome(WireStruct):
    """The outcome for each, in the order of the request; of a filter's, newest first."""

    results: list[CancelOutcome]
    more: bool
    """Whether the filter may find more than it found now."""
    cursor: str
    """Behind which to look for more; empty where there is none."""


async def cancel_orders(call: Call) -> Reply:
    """Cancel many orders, as far as they are not paid."""
    body: BulkCancel = call.body
    select = _by_reference(call, body) or _by_filter(call, body)

    async def act() -> Reply:
        names, end = await select()
        outcomes = await _cancel_each(call, body, names)
        results = [CancelOutcome(*each) for each in zip(names, outcomes, strict=True)]
        return call.success(BulkOutcome(results, end is not None, to_cursor(*end) if end else ""))

    return await answer_once(call, act)


# --- which ----------------------------------------------------------------------------------------

_Selected = tuple[list[str], tuple[int, str] | None]
"""References, and where a filter stopped looking; None where there is nothing more."""
_Select = Callable[[], Awaitable[_Selected]]


def _by_reference(call: Call, body: BulkCancel) -> _Select | None:
    """Return how those named are selected, each once; None where none is."""
    if body.order_references is None:
        return None
    if (body.created_before, body.customer_id, body.cursor) != (None, None, None):
        raise invalid("orderReferences can not be given together with a filter")
    names = [call.reference(each, "orderReferences") for each in dict.fromkeys(body.order_references)]

    async def select() -> _Selected:
        return names, None

    return select


def _by_filter(call: Call, body: BulkCancel) -> _Select:
    if body.created_before is None and body.customer_id is None:
        raise invalid("one of orderReferences, createdBefore and customerId must be given")
    wanted = OrderFilter(
        account_id=call.account_id,
        statuses=frozenset(status.value for status in CANCELLABLE),
        customer_id=body.customer_id,
        created_before=None if (end := body.created_before) is None else beginning(end, "createdBefore"),
        behind=None if body.cursor is None else from_cursor(body.cursor),
    )

    async def select() -> _Selected:
        names: list[str] = []
        end = wanted.behind
        for _ in range(PAGES):
            page = await _page(call, replace(wanted, behind=end, limit=MOST - len(names)))
            names += [view.order.reference for view in page.views]
            end = page.end
            if end is None or len(names) >= MOST:
                break
        return names, end

    return select


async def _page(call: Call, wanted: OrderFilter) -> OrderPage:
    return await call.deps.reader.ask(lambda snapshot: snapshot.list_orders(wanted), call.token)


# --- cancelling -----------------------------------------------------------------------------------

_CANCELLED: Final = "cancelled"
_ALREADY_CANCELLED: Final = "already_cancelled"
_REFUSED: Final[Mapping[type[Refusal], str]] = {
    OrderAlreadyPaid: "already_paid",
    RecordNotFound: "not_found",
}


async def _cancel_each(call: Call, body: BulkCancel, names: Sequence[str]) -> list[str]:
    said, whole = body.members(), call.claim()

    async def cancel(name: str) -> str:
        command = EnsureCancelled(
            account_id=call.account_id,
            command_id=call.deps.ids.uuid(),
            actor=call.actor,
            name=name,
            **said,
        )
        claim = whole and _claim(whole, name, command.command_id)
        result = await call.deps.engine.submit(
            command, render=_render, claim=claim, token=call.token, background=True
        )
        return _word(result)

    outcomes: list[str] = []
    for start in range(0, len(names), AT_ONCE):
        outcomes += await asyncio.gather(*map(cancel, names[start : start + AT_ONCE]))
    return outcomes


def _claim(whole: KeyClaim, name: str, command_id: str) -> KeyClaim:
    """Return the claim on the key of one order: another for each call's key and each order."""
    derived = _OURS + hashlib.sha256(f"{whole.key}\n{name}".encode()).hexdigest()
    return replace(whole, key=derived, command_id=command_id)


def _render(outcome: Outcome) -> Reply:
    return Reply(200, "", _word_for(outcome).encode())


def _word_for(outcome: Outcome) -> str:
    if isinstance(outcome, Refusal):
        return _REFUSED.get(type(outcome), "")
    return _ALREADY_CANCELLED if outcome.met is OrderStatus.CANCELLED else _CANCELLED


def _word(result: Result) -> str:
    """Return the word of a result; raises the refusals of the whole call: of its token, or its key."""
    if isinstance(result.outcome, Refusal) and type(result.outcome) not in _REFUSED:
        raise result.outcome
    assert result.reply is not None
    return result.reply.body.decode()
