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
from opentill.domain.events import EventType
from opentill.domain.lifecycle import RETURN_REFUSAL_OF, RETURN_TABLE, ReturnInput
from opentill.domain.order import CallKind, Credit, RailCall, Return, ReturnKind, ReturnStatus
from opentill.domain.refusals import RecordNotFound, ReturnInProgress
from opentill.domain.transition import Transition

_AT_ONCE: Final = RailCall(CallKind.RETURN, until=0)
"""Nobody has it yet: the next worker who comes by takes it."""


def start_return(draft: Transition, credit: Credit, kind: ReturnKind, amount: int) -> None:
    """Owe a credit's money to its sender; ``credit`` holds it no more. Workers send it after the commit."""
    totals = draft.order.totals
    due = Return(
        transaction_id=credit.transaction_id,
        kind=kind,
        amount=amount,
        status=ReturnStatus.DUE,
        started_at=draft.at,
        updated_at=draft.at,
        call=_AT_ONCE,
    )
    draft.record(
        EventType.RETURN_STARTED,
        credit=credit,
        return_=due,
        amount=amount,
        reason=kind.value,
        totals=replace(totals, held=totals.held - amount, returning=totals.returning + amount),
    )


def begin_return(draft: Transition, command: BeginReturn) -> None:
    """One try begins, if nobody else has the return until later."""
    known, target = _asked(draft, command, ReturnInput.TRIED)
    if known.call is None or known.call.until > command.now:
        raise ReturnInProgress
    call = RailCall(CallKind.RETURN, command.call_until)
    _note(draft, EventType.RETURN_TRIED, replace(known, status=target, call=call))


def settle_return(draft: Transition, command: SettleReturn) -> None:
    """Book what the rail answered; where it is known already, or a newer try is under way, nothing changes.

    Else a late refusal would call a return due, for a person to settle, that another try may just be paying.
    """
    known = _known(draft, command)
    if command.outcome is not RefundOutcome.DONE and not _is_under_way(known, command.answers_until):
        return
    refused = known.tries + (command.outcome is RefundOutcome.REFUSED)
    column = ReturnInput(command.outcome)
    if column is ReturnInput.REFUSED and refused >= command.max_tries:
        column = ReturnInput.REFUSED_AT_LAST
    target = RETURN_TABLE[known.status].get(column)
    if target is None:
        return
    settled = replace(
        known,
        status=target,
        tries=refused,
        call=RailCall(CallKind.RETURN, command.try_again_at),
        response_code=command.response_code,
        message=command.message,
    )
    _STEP[target](draft, settled)


def _is_under_way(return_: Return, until: int) -> bool:
    return return_.call is not None and return_.call.until == until


def retry_return(draft: Transition, command: RetryReturn) -> None:
    """A person has a parked return tried again."""
    known, target = _asked(draft, command, ReturnInput.RETRIED)
    _note(draft, EventType.RETURN_RETRIED, replace(known, status=target, tries=0, call=_AT_ONCE))


def settle_return_by_hand(draft: Transition, command: SettleReturnByHand) -> None:
    """A person sent the money back outside; from this commit on no worker touches it."""
    known, _ = _asked(draft, command, ReturnInput.SETTLED_BY_HAND)
    finish_return(draft, replace(known, bank_reference=command.bank_reference))


def finish_return(draft: Transition, return_: Return) -> None:
    """The money is back."""
    done = replace(return_, status=ReturnStatus.DONE, call=None, updated_at=draft.at)
    totals, amount = draft.order.totals, done.amount
    draft.record(
        EventType.PAYMENT_REVERSAL,
        return_=done,
        amount=amount,
        reason=done.kind.value,
        note=done.bank_reference or None,
        totals=replace(totals, returning=totals.returning - amount, returned=totals.returned + amount),
    )


def _known(draft: Transition, command: TransactionCommand) -> Return:
    known = draft.order.return_of(command.transaction_id)
    if known is None:
        raise RecordNotFound
    return known


def _asked(
    draft: Transition, command: TransactionCommand, column: ReturnInput
) -> tuple[Return, ReturnStatus]:
    """The return and where the column leads it, or the refusal that a missing cell means."""
    known = _known(draft, command)
    target = RETURN_TABLE[known.status].get(column)
    if target is None:
        raise RETURN_REFUSAL_OF[known.status]
    return known, target


def _note(draft: Transition, type_: EventType, return_: Return) -> None:
    draft.record(type_, return_=replace(return_, updated_at=draft.at), reason=return_.kind.value)


def _note_silence(draft: Transition, return_: Return) -> None:
    _note(draft, EventType.RETURN_UNKNOWN, return_)


def _note_refusal(draft: Transition, return_: Return) -> None:
    _note(draft, EventType.RETURN_REFUSED, return_)


def _park(draft: Transition, return_: Return) -> None:
    _note(draft, EventType.RETURN_PARKED, replace(return_, call=None))


_STEP: Final[dict[ReturnStatus, Callable[[Transition, Return], None]]] = {
    ReturnStatus.DONE: finish_return,
    ReturnStatus.DUE: _note_refusal,
    ReturnStatus.UNKNOWN: _note_silence,
    ReturnStatus.PARKED: _park,
}
