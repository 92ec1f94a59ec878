"""Credits: what money that arrives by transfer does to an order, by ``CREDIT_TABLE`` (ruling 17).

A credit is booked as held first, in every case; what follows from it in the same change takes it from there.
"""

from typing import Final

from msgspec.structs import replace

from opentill.domain.commands import AcceptCredit, AttachCredit, ReceiveCredit, ReturnCredit, TimeDoubt
from opentill.domain.events import EventType, Remark
from opentill.domain.lifecycle import CREDIT_TABLE, LATE_COLUMN, Cell, CreditInput, OrderInput, Take
from opentill.domain.order import Credit, Disposition, DueAction, Order, ReturnKind
from opentill.domain.refusals import CreditBelowAmount, CreditNotHeld, CurrencyMismatch, RecordNotFound
from opentill.domain.returns import finish_return, start_return
from opentill.domain.transition import Transition, without_waiting_attempts

_KIND: Final = {Disposition.LATE: ReturnKind.LATE, Disposition.EXCESS: ReturnKind.EXCESS}
"""As what a credit goes back that is sent back whole."""


def comes_in_time(order: Order, command: ReceiveCredit) -> bool:
    """Return True if the due time of this order is no hindrance to the credit: it was on time (ruling 17).

    An order that is cancelled when it is due is never opened again.
    """
    return order.due_action is DueAction.EXPIRE and _on_time(order, command)


def _on_time(order: Order, command: ReceiveCredit) -> bool:
    return order.due_at is None or _transferred_at(order, command) <= order.due_at


def _transferred_at(order: Order, command: ReceiveCredit) -> int:
    """Return the bank's time, and the arrival where none was told or can not be true."""
    at = command.transferred_at
    return command.arrived_at if at is None or _doubt(order, command) else at


def _doubt(order: Order, command: ReceiveCredit) -> TimeDoubt | None:
    """Return why the bank's time, though told, counts as absent: money for this order was not sent then."""
    at = command.transferred_at
    if at is None or command.time_doubt:
        return command.time_doubt
    if at > command.arrived_at:
        return TimeDoubt.AFTER_ARRIVAL
    return TimeDoubt.BEFORE_ORDER if at < order.created_at else None


def _time_note(order: Order, command: ReceiveCredit) -> str | None:
    """Say why the arrival counts and not the bank's time; None where that counts, or none was told."""
    if command.unusable_time:
        return f"the bank's time can not be used, so the arrival counts: {command.unusable_time}"
    return _doubt(order, command)


def receive_credit(transition: Transition, command: ReceiveCredit) -> None:
    """Book money that arrived; a second advice of the same credit changes nothing."""
    order = transition.order
    if order.credit(command.transaction_id) is not None:
        return
    if command.currency != order.currency:
        raise CurrencyMismatch
    cell = _credit_cell(order, command)
    assert cell.disposition is not None
    credit = Credit(
        transaction_id=command.transaction_id,
        rail=command.rail,
        session_id=command.session_id,
        account_number=command.account_number,
        amount=command.amount,
        sender=command.sender,
        transferred_at=_transferred_at(order, command),
        arrived_at=command.arrived_at,
        disposition=cell.disposition,
        narration=command.narration,
        held=command.amount,
    )
    totals, amount = order.totals, credit.amount
    totals = replace(totals, received=totals.received + amount, held=totals.held + amount)
    transition.record(
        EventType.CREDIT_RECEIVED,
        replace(order, credit_count=order.credit_count + 1, totals=totals),
        credit,
        amount=amount,
        remark=Remark(reason=cell.disposition.value, note=_time_note(order, command)),
    )
    if cell.take is Take.APPLY:
        _pay(transition, credit, cell)
    elif cell.take is Take.SEND_BACK:
        _send_back(transition, credit, _KIND[cell.disposition])


def _credit_cell(order: Order, command: ReceiveCredit) -> Cell:
    row = CREDIT_TABLE[order.status]
    counted = order.totals.held if row[CreditInput.FULL_ON_TIME].held is Take.APPLY else 0
    full = counted + command.amount >= order.amount
    if full and _on_time(order, command):
        return row[CreditInput.FULL_ON_TIME]
    return row[LATE_COLUMN[full, order.late_money]]


def _pay(transition: Transition, last: Credit, cell: Cell) -> None:
    """Let credits pay for the order, oldest first; what is too much of the last goes back (laws 6)."""
    order, left = transition.order, transition.order.amount
    shared = []
    for credit in order.credits:
        pays = credit.transaction_id == last.transaction_id or cell.held is Take.APPLY
        part = min(left, credit.held) if pays else 0
        shared.append(replace(credit, applied=credit.applied + part, held=credit.held - part))
        left -= part
        if credit.transaction_id == last.transaction_id:
            last = shared[-1]
    totals = order.totals
    paid = replace(
        order,
        status=cell.to,
        attempts=without_waiting_attempts(order, transition.at),
        credits=tuple(shared),
        totals=replace(totals, held=totals.held - order.amount, applied=totals.applied + order.amount),
    )
    transition.record_payment(paid, last)
    see_to_held(transition, cell)


def see_to_held(transition: Transition, cell: Cell) -> None:
    """Send back what is still held, where the cell says so; an order without credits is left at once."""
    if not transition.order.totals.held or cell.held is Take.NOTHING:
        return
    for credit in transition.order.credits:
        if credit.held:
            _send_back(transition, credit, ReturnKind.EXCESS if credit.applied else ReturnKind.HELD)


def _send_back(transition: Transition, credit: Credit, kind: ReturnKind) -> None:
    start_return(transition, replace(credit, held=0), kind, credit.held)


def accept_credit(transition: Transition, command: AcceptCredit) -> None:
    """Let held money pay for an EXPIRED order, by a person's decision."""
    cell = transition.cell(OrderInput.HELD_ACCEPTED)
    credit = _held(transition.order, command.transaction_id)
    if credit.held < transition.order.amount:
        raise CreditBelowAmount
    _pay(transition, credit, cell)


def return_credit(transition: Transition, command: ReturnCredit) -> None:
    """Send held money of an EXPIRED order back, by a person's decision."""
    transition.cell(OrderInput.HELD_RELEASED)
    _send_back(transition, _held(transition.order, command.transaction_id), ReturnKind.HELD)


def attach_credit(transition: Transition, command: AttachCredit) -> None:
    """Move held money of an EXPIRED order to another one, at once and by no bank."""
    transition.cell(OrderInput.HELD_RELEASED)
    credit = _held(transition.order, command.transaction_id)
    _send_back(transition, credit, ReturnKind.ATTACHED)
    begun = transition.order.return_of(credit.transaction_id)
    assert begun is not None
    finish_return(transition, replace(begun, bank_reference=command.attached_to))


def _held(order: Order, transaction_id: str) -> Credit:
    credit = order.credit(transaction_id)
    if credit is None:
        raise RecordNotFound
    if not credit.held:
        raise CreditNotHeld
    return credit
