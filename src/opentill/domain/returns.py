"""Returns: how money that no order wanted goes back to its sender, by ``RETURN_TABLE``."""

from collections.abc import Callable
from typing import Final

from msgspec.structs import replace

from opentill.domain.commands import (
    BeginReturn,
    RefundOutcome,
    RetryReturn,
    SettleReturn,
    SettleReturnByHand,
    TransactionCommand,
)
from opentill.domain.events import EventType, Remark
from opentill.domain.lifecycle import RETURN_REFUSAL_OF, RETURN_TABLE, ReturnInput
from opentill.domain.order import CallKind, Credit, RailCall, Return, ReturnKind, ReturnStatus
from opentill.domain.refusals import RecordNotFound, ReturnInProgress
from opentill.domain.transition import Transition, with_child

_AT_ONCE: Final = RailCall(CallKind.RETURN, until=0)
"""Nobody has it yet: the next worker who comes by takes it."""


def start_return(transition: Transition, credit: Credit, kind: ReturnKind, amount: int) -> None:
    """Owe a credit's money to its sender; ``credit`` holds it no more. Workers send it after the commit."""
    order, totals = transition.order, transition.order.totals
    due = Return(
        transaction_id=credit.transaction_id,
        kind=kind,
        amount=amount,
        status=ReturnStatus.DUE,
        started_at=transition.at,
        updated_at=transition.at,
        call=_AT_ONCE,
    )
    totals = replace(totals, held=totals.held - amount, returning=totals.returning + amount)
    transition.record(
        EventType.RETURN_STARTED,
        replace(with_child(order, credit), totals=totals),
        due,
        amount=amount,
        remark=Remark(reason=kind.value),
    )


def begin_return(transition: Transition, command: BeginReturn) -> None:
    """Begin one try, if nobody else has the return until later; else raises ReturnInProgress."""
    known, target = _asked(transition, command, ReturnInput.TRIED)
    if known.call is None or known.call.until > command.now:
        raise ReturnInProgress
    call = RailCall(CallKind.RETURN, command.call_until)
    unanswered = known.unanswered or known.status in _WITHOUT_ANSWER
    tried = replace(known, status=target, call=call, unanswered=unanswered)
    _note(transition, EventType.RETURN_TRIED, tried)


_WITHOUT_ANSWER: Final = frozenset({ReturnStatus.RUNNING, ReturnStatus.UNKNOWN})
"""Of a return that is tried again from here, the try before was never answered."""


def settle_return(transition: Transition, command: SettleReturn) -> None:
    """Book what the rail answered; where it is known already, or a newer try is under way, nothing changes.

    Else a late refusal would call a return due, for a person to settle, that another try may just be paying.
    """
    known = _known(transition, command)
    if command.outcome in _OF_ONE_TRY and not _is_under_way(known, command.answers_until):
        return
    refused = known.tries + (command.outcome is RefundOutcome.REFUSED)
    target = RETURN_TABLE[known.status].get(_column(known, command, refused))
    if target is None:
        return
    settled = replace(
        known, status=target, tries=refused, call=RailCall(CallKind.RETURN, command.try_again_at)
    )
    if command.outcome is RefundOutcome.CLOSED:
        settled = replace(settled, unanswered=False)
    else:
        settled = replace(settled, response_code=command.response_code, message=command.message)
    _STEP[target](transition, settled)


_OF_ONE_TRY: Final = frozenset({RefundOutcome.REFUSED, RefundOutcome.SILENT})
"""Answers to one try; the others say what became of the id, whichever try they answer."""


def _column(known: Return, command: SettleReturn, refused: int) -> ReturnInput:
    column = ReturnInput(command.outcome)
    if column is ReturnInput.DONE and known.status is ReturnStatus.DONE and known.bank_reference:
        return ReturnInput.PAID_AS_WELL
    if column is ReturnInput.REFUSED and refused >= command.max_tries:
        return ReturnInput.REFUSED_UNSURE if known.unanswered else ReturnInput.REFUSED_AT_LAST
    return column


def _is_under_way(return_: Return, until: int) -> bool:
    return return_.call is not None and return_.call.until == until


def retry_return(transition: Transition, command: RetryReturn) -> None:
    """Have a parked return tried again, as a person wants."""
    known, target = _asked(transition, command, ReturnInput.RETRIED)
    _note(transition, EventType.RETURN_RETRIED, replace(known, status=target, tries=0, call=_AT_ONCE))


def settle_return_by_hand(transition: Transition, command: SettleReturnByHand) -> None:
    """Note that a person sent the money back outside; from this commit on no worker touches it."""
    known, _ = _asked(transition, command, ReturnInput.SETTLED_BY_HAND)
    finish_return(transition, replace(known, bank_reference=command.bank_reference))


def finish_return(transition: Transition, return_: Return) -> None:
    """Note that the money is back."""
    done = replace(return_, status=ReturnStatus.DONE, call=None, updated_at=transition.at)
    totals, amount = transition.order.totals, done.amount
    totals = replace(totals, returning=totals.returning - amount, returned=totals.returned + amount)
    transition.record(
        EventType.PAYMENT_REVERSAL,
        replace(transition.order, totals=totals),
        done,
        amount=amount,
        remark=Remark(reason=done.kind.value, note=done.bank_reference or None),
    )


def _known(transition: Transition, command: TransactionCommand) -> Return:
    known = transition.order.return_of(command.transaction_id)
    if known is None:
        raise RecordNotFound
    return known


def _asked(
    transition: Transition, command: TransactionCommand, column: ReturnInput
) -> tuple[Return, ReturnStatus]:
    """Return the return and where the column leads it; raises the refusal that a missing cell means."""
    known = _known(transition, command)
    target = RETURN_TABLE[known.status].get(column)
    if target is None:
        raise RETURN_REFUSAL_OF[known.status]
    return known, target


def _note(transition: Transition, type_: EventType, return_: Return) -> None:
    changed = replace(return_, updated_at=transition.at)
    transition.record(type_, transition.order, changed, remark=Remark(reason=return_.kind.value))


def _note_silence(transition: Transition, return_: Return) -> None:
    _note(transition, EventType.RETURN_UNKNOWN, return_)


def _note_refusal(transition: Transition, return_: Return) -> None:
    _note(transition, EventType.RETURN_REFUSED, return_)


def _note_closing(transition: Transition, return_: Return) -> None:
    _note(transition, EventType.RETURN_CLOSING, replace(return_, call=_AT_ONCE))


def _dispute(transition: Transition, return_: Return) -> None:
    """Book in the open what the rail paid although a person had sent the money back by hand."""
    disputed = replace(return_, call=None, updated_at=transition.at)
    transition.record(
        EventType.PAYOUT_DISPUTED,
        transition.order,
        disputed,
        amount=disputed.amount,
        remark=Remark(reason=disputed.kind.value, note=disputed.bank_reference),
    )


def _park(transition: Transition, return_: Return) -> None:
    _note(transition, EventType.RETURN_PARKED, replace(return_, call=None))


_STEP: Final[dict[ReturnStatus, Callable[[Transition, Return], None]]] = {
    ReturnStatus.DONE: finish_return,
    ReturnStatus.DUE: _note_refusal,
    ReturnStatus.UNKNOWN: _note_silence,
    ReturnStatus.CLOSING: _note_closing,
    ReturnStatus.PARKED: _park,
    ReturnStatus.DISPUTED: _dispute,
}
