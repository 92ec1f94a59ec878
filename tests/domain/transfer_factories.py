"""Factories of credits, returns and commands about them, with every detail filled in that a test ignores."""

from typing import Any

from msgspec.structs import replace

from domain import factories
from opentill.domain.commands import (
    AcceptCredit,
    AttachCredit,
    BeginReturn,
    ReceiveCredit,
    RefundOutcome,
    RetryReturn,
    ReturnCredit,
    SettleReturn,
    SettleReturnByHand,
)
from opentill.domain.order import (
    CallKind,
    Credit,
    Disposition,
    Order,
    OrderStatus,
    RailCall,
    Return,
    ReturnKind,
    ReturnStatus,
    Sender,
    Totals,
)

SENDER = Sender("Ada Obi", "0123456789", "058")
MAX_TRIES = 2


def _about(number: int, transaction_id: str) -> dict[str, Any]:
    return {
        "account_id": "M",
        "command_id": factories.command_id(number),
        "actor": factories.ACTOR,
        "transaction_id": transaction_id,
    }


def receive(
    amount: int,
    *,
    number: int = 1,
    transaction_id: str = "C-new",
    transferred_at: int | None = None,
    arrived_at: int = factories.NOW,
    currency: str = "NGN",
) -> ReceiveCredit:
    return ReceiveCredit(
        **_about(number, transaction_id),
        name="R",
        rail="bank",
        session_id=f"session of {transaction_id}",
        account_number="9000000017",
        amount=amount,
        currency=currency,
        sender=SENDER,
        transferred_at=transferred_at,
        arrived_at=arrived_at,
    )


def accept(transaction_id: str = "C", *, number: int = 1) -> AcceptCredit:
    return AcceptCredit(**_about(number, transaction_id))


def give_back(transaction_id: str = "C", *, number: int = 1) -> ReturnCredit:
    return ReturnCredit(**_about(number, transaction_id))


def attach(transaction_id: str = "C", *, number: int = 1) -> AttachCredit:
    return AttachCredit(**_about(number, transaction_id), attached_to="M/other")


def try_return(transaction_id: str = "C", *, number: int = 1, now: int = factories.NOW) -> BeginReturn:
    return BeginReturn(**_about(number, transaction_id), now=now, call_until=now + 30_000)


def settle_return(
    outcome: RefundOutcome,
    transaction_id: str = "C",
    *,
    number: int = 1,
    max_tries: int = MAX_TRIES,
    answers_until: int = factories.NOW,
) -> SettleReturn:
    return SettleReturn(
        **_about(number, transaction_id),
        outcome=outcome,
        answers_until=answers_until,
        response_code="91",
        message="what the bank said",
        try_again_at=factories.NOW + 60_000,
        max_tries=max_tries,
    )


def retry(transaction_id: str = "C", *, number: int = 1) -> RetryReturn:
    return RetryReturn(**_about(number, transaction_id))


def by_hand(transaction_id: str = "C", *, number: int = 1) -> SettleReturnByHand:
    return SettleReturnByHand(**_about(number, transaction_id), bank_reference="REF 1")


def credit(held: int, *, transaction_id: str = "C", amount: int | None = None, applied: int = 0) -> Credit:
    return Credit(
        transaction_id=transaction_id,
        rail="bank",
        session_id=f"session of {transaction_id}",
        account_number="9000000017",
        amount=held + applied if amount is None else amount,
        sender=SENDER,
        transferred_at=factories.CREATED_AT,
        arrived_at=factories.CREATED_AT,
        disposition=Disposition.HELD,
        applied=applied,
        held=held,
    )


def with_held(order: Order, *credits_: Credit) -> Order:
    """The order, which holds what these credits hold."""
    held, totals = sum(c.held for c in credits_), order.totals
    return replace(
        order,
        credits=credits_,
        credit_count=len(credits_),
        totals=replace(totals, received=totals.received + held, held=held),
    )


def with_return(status: ReturnStatus, *, until: int = factories.NOW) -> Order:
    """A cancelled order with one return of 100 in this status."""
    done = status in {ReturnStatus.DONE, ReturnStatus.DISPUTED}
    calls = not done and status is not ReturnStatus.PARKED
    return_ = Return(
        transaction_id="C",
        kind=ReturnKind.LATE,
        amount=100,
        status=status,
        started_at=factories.CREATED_AT,
        updated_at=factories.CREATED_AT,
        tries=0,
        call=RailCall(CallKind.RETURN, until) if calls else None,
    )
    return factories.order(
        OrderStatus.CANCELLED,
        credits=(credit(0, amount=100),),
        credit_count=1,
        returns=(return_,),
        totals=Totals(received=100, returning=0 if done else 100, returned=100 if done else 0),
    )
