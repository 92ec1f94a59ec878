"""Refunds: how paid money is given back, to the card that paid or to the senders of its credits."""

from collections.abc import Callable, Iterator
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from opentill.domain.commands import BeginRefund, CancelOrRefund, RefundOutcome, SettleRefund
from opentill.domain.events import NO_REMARK, EventType, Remark, event_id
from opentill.domain.lifecycle import REFUND_TABLE, OrderInput
from opentill.domain.order import CallKind, Order, Parts, RailCall, Refund, RefundStatus
from opentill.domain.refusals import OrderNotPaid, RecordNotFound, RefundExceedsPaid
from opentill.domain.sharing import shares_back
from opentill.domain.transition import Transition


class PartsMissing(Exception):
    """The credits of an order do not hold what its totals say may be refunded: nothing is given back."""


class _Part(Struct, frozen=True):
    """The part of a refund that goes to one place; ``from_credit`` is None for a card or named account."""

    amount: int
    from_credit: str | None = None


def begin_refund(transition: Transition, command: BeginRefund) -> None:
    """Give paid money back. What was paid by several transfers goes back as several refunds."""
    order = transition.order
    transition.cell(OrderInput.REFUND)
    if order.paid_by != command.transaction_id:
        raise OrderNotPaid
    amount = _left(order) if command.amount is None else command.amount
    if not 0 < amount <= _left(order):
        raise RefundExceedsPaid
    _start_parts(transition, command, CallKind.REFUND, amount, NO_REMARK)


def refund_the_rest(transition: Transition, command: CancelOrRefund, remark: Remark) -> None:
    """Give back all that is left; of a payment of which nothing is left, nothing more is given back."""
    if left := _left(transition.order):
        _start_parts(transition, command, CallKind.CANCEL_OR_REFUND, left, remark)


def new_refund(transition: Transition, refund_id: str, transaction_id: str, amount: int) -> Refund:
    """Return a refund that runs from now on, by the way the money came."""
    return Refund(
        refund_id=refund_id,
        transaction_id=transaction_id,
        amount=amount,
        status=RefundStatus.RUNNING,
        account_number=None,
        bank_code=None,
        started_at=transition.at,
        updated_at=transition.at,
        whole_id=refund_id,
        whole_amount=amount,
    )


def _left(order: Order) -> int:
    """Return what may still be given back; what a rail paid after its refusal is gone as well."""
    disputed = sum(r.amount for r in order.refunds if r.status is RefundStatus.DISPUTED)
    return max(order.totals.applied - order.totals.refunded - disputed, 0)


def _start_parts(
    transition: Transition,
    command: BeginRefund | CancelOrRefund,
    kind: CallKind,
    amount: int,
    remark: Remark,
) -> None:
    """Start a refund for each place the money goes to; the first has the command's id and its reply's key."""
    paid_by, key = transition.order.paid_by or "", command.reply_key
    account = bank = None
    if isinstance(command, BeginRefund):
        account, bank = command.account_number, command.bank_code
    for number, part in enumerate(_parts(transition.order, paid_by, amount, at_once=account is not None)):
        refund = replace(
            new_refund(transition, event_id(command.refund_id, number), paid_by, part.amount),
            account_number=account,
            bank_code=bank,
            call=RailCall(kind, command.call_until, key if number == 0 else None),
            from_credit=part.from_credit,
            whole_id=command.refund_id,
            whole_amount=amount,
        )
        start_refund(transition, refund, remark)


def _parts(order: Order, paid_by: str, amount: int, *, at_once: bool) -> Iterator[_Part]:
    """Yield one part for the card or the named account; else newest credit first, of each what it brought.

    Raises PartsMissing rather than give back less than ``amount``.
    """
    if at_once or order.credit(paid_by) is None:
        yield _Part(amount)
        return
    for credit in reversed(order.credits):
        part = min(amount, credit.applied - _given_back(order, credit.transaction_id))
        if part > 0:
            yield _Part(part, credit.transaction_id)
            amount -= part
    if amount:
        raise PartsMissing(f"{amount} of a refund stand on no credit of the order")


def _given_back(order: Order, credit: str) -> int:
    counted = (r for r in order.refunds if r.from_credit == credit and r.status is not RefundStatus.REFUSED)
    return sum(refund.amount for refund in counted)


def start_refund(transition: Transition, refund: Refund, remark: Remark = NO_REMARK) -> None:
    """Count the refund against what was applied, from this moment on."""
    order = transition.order
    refunded = order.totals.refunded + refund.amount
    totals = replace(order.totals, refunded=refunded)
    transition.record(
        EventType.REFUND_STARTED,
        replace(order, refund_count=order.refund_count + 1, totals=totals),
        refund,
        amount=refund.amount,
        parts=Parts(shares=shares_back(order, refunded)),
        remark=remark,
    )


_TOLD_FIRST: Final = (
    RefundStatus.RUNNING,
    RefundStatus.UNKNOWN,
    RefundStatus.CLOSING,
    RefundStatus.DISPUTED,
    RefundStatus.REFUSED,
    RefundStatus.DONE,
)


def whole_refund(order: Order, refund_id: str) -> Refund | None:
    """Return what one command began, as one refund: the sum of its parts, done only when all of them are.

    Of parts that ended differently the one is told that did not go well.
    """
    first = order.refund(refund_id)
    if first is None or first.from_credit is None:
        return first
    parts = [refund for refund in order.refunds if refund.whole_id == refund_id]
    told = min(parts, key=lambda part: _TOLD_FIRST.index(part.status))
    return replace(told, refund_id=refund_id, amount=sum(part.amount for part in parts))


def settle_refund(transition: Transition, command: SettleRefund) -> None:
    """Book what the rail answered; where it is known already, nothing changes."""
    refund = transition.order.refund(command.refund_id)
    if refund is None:
        raise RecordNotFound
    target = REFUND_TABLE[refund.status].get(command.outcome)
    if target is None:
        return
    settled = replace(
        refund, status=target, updated_at=transition.at, call=_next_call(refund, target, command)
    )
    if command.outcome is not RefundOutcome.CLOSED or not refund.response_code:
        settled = replace(settled, response_code=command.response_code, message=command.message)
    _REFUND_STEP[target](transition, settled)


def _next_call(refund: Refund, target: RefundStatus, command: SettleRefund) -> RailCall | None:
    """Return what a worker is to see to: an unknown refund in its time, a closing one at once."""
    if refund.call is None or target not in _STILL_ASKED:
        return None
    call = refund.call if command.keeps_key else replace(refund.call, key=None)
    return replace(call, until=0) if target is RefundStatus.CLOSING else call


_STILL_ASKED: Final = frozenset({RefundStatus.UNKNOWN, RefundStatus.CLOSING})


def _note_unknown_refund(transition: Transition, refund: Refund) -> None:
    transition.record(EventType.REFUND_UNKNOWN, transition.order, refund)


def _note_closing(transition: Transition, refund: Refund) -> None:
    remark = Remark(reason=refund.response_code or None)
    transition.record(EventType.REFUND_CLOSING, transition.order, refund, remark=remark)


def _dispute(transition: Transition, refund: Refund) -> None:
    """Book in the open what the rail paid although it had refused it for good."""
    remark = Remark(reason="refund")
    transition.record(
        EventType.PAYOUT_DISPUTED, transition.order, refund, amount=refund.amount, remark=remark
    )


def finish_refund(transition: Transition, refund: Refund) -> None:
    """Note that the money is back."""
    remark = Remark(reason="refund")
    transition.record(
        EventType.PAYMENT_REFUNDED, transition.order, refund, amount=refund.amount, remark=remark
    )


def _drop_refund(transition: Transition, refund: Refund) -> None:
    """Give up a refund that the rail will not pay: the money is the merchant's, and may be refunded again."""
    order = transition.order
    refunded = order.totals.refunded - refund.amount
    transition.record(
        EventType.REFUND_REFUSED,
        replace(order, totals=replace(order.totals, refunded=refunded)),
        refund,
        amount=refund.amount,
        parts=Parts(shares=shares_back(order, refunded)),
        remark=Remark(reason=refund.response_code or None),
    )


_REFUND_STEP: Final[dict[RefundStatus, Callable[[Transition, Refund], None]]] = {
    RefundStatus.UNKNOWN: _note_unknown_refund,
    RefundStatus.CLOSING: _note_closing,
    RefundStatus.DISPUTED: _dispute,
    RefundStatus.DONE: finish_refund,
    RefundStatus.REFUSED: _drop_refund,
}
