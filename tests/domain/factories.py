"""Factories of orders, attempts and commands, with every detail that a test does not care about filled in."""

import uuid
from typing import Any

from opentill.domain.commands import (
    Actor,
    ActorKind,
    BeginAttempt,
    BeginRefund,
    CancelAttempt,
    CancelOrder,
    CancelOrRefund,
    CreateOrder,
    EnsureCancelled,
    ExpireOrder,
    RailOutcome,
    RefundOutcome,
    ResendOtp,
    ReturnFromChallenge,
    SettleAttempt,
    SettleRefund,
    SubmitOtp,
)
from opentill.domain.order import (
    Attempt,
    AttemptStatus,
    CallKind,
    Challenge,
    Order,
    OrderStatus,
    RailCall,
    Refund,
    RefundStatus,
    Terms,
    Totals,
)

AMOUNT = 10_000_50
CREATED_AT = 1_000
NOW = 5_000
ACTOR = Actor(ActorKind.API_KEY, "client-1")
CHALLENGE = Challenge("https://issuer.example/acs", "jwt-1", "md-1")


def command_id(number: int) -> str:
    """The id of the ``number``-th command: random ids lie far apart, and so do these."""
    return str(uuid.UUID(int=number << 64))


def _common(number: int = 1) -> dict[str, Any]:
    return {"account_id": "M", "command_id": command_id(number), "actor": ACTOR}


def create_order(*, number: int = 0, **changes: Any) -> CreateOrder:
    asked: dict[str, Any] = {
        "order_id": "O",
        "reference": "R",
        "amount": AMOUNT,
        "currency": "NGN",
        "terms": Terms(customer_email="payer@example.com"),
    }
    return CreateOrder(**_common(number), **(asked | changes))


def cancel(*, number: int = 1, **more: Any) -> CancelOrder:
    return CancelOrder(**_common(number), name="R", **more)


def ensure_cancelled(*, number: int = 1, **more: Any) -> EnsureCancelled:
    return EnsureCancelled(**_common(number), name="R", **more)


def cancel_or_refund(*, number: int = 1, refund_id: str = "F-new", **more: Any) -> CancelOrRefund:
    return CancelOrRefund(
        **_common(number),
        name="R",
        refund_id=refund_id,
        call_until=NOW + 30_000,
        reply_key="key-1",
        **more,
    )


def expire(*, number: int = 1) -> ExpireOrder:
    return ExpireOrder(**_common(number), name="R")


def begin(*, number: int = 1, transaction_id: str = "T-new", max_attempts: int = 10) -> BeginAttempt:
    return BeginAttempt(
        **_common(number),
        name="R",
        transaction_id=transaction_id,
        card_masked="543462******2808",
        card_brand="Mastercard",
        call_until=NOW + 30_000,
        max_attempts=max_attempts,
        reply_key="key-1",
    )


def submit_otp(*, number: int = 1, transaction_id: str = "T") -> SubmitOtp:
    return SubmitOtp(**_common(number), name="R", transaction_id=transaction_id, call_until=NOW + 30_000)


def resend(*, number: int = 1, max_otp_sends: int = 3) -> ResendOtp:
    return ResendOtp(**_common(number), name="R", max_otp_sends=max_otp_sends)


def return_from_challenge(*, number: int = 1, transaction_id: str = "T") -> ReturnFromChallenge:
    return ReturnFromChallenge(**_common(number), transaction_id=transaction_id, call_until=NOW + 30_000)


def cancel_attempt(*, number: int = 1, transaction_id: str = "T") -> CancelAttempt:
    return CancelAttempt(**_common(number), transaction_id=transaction_id)


def settle(
    outcome: RailOutcome,
    *,
    number: int = 1,
    transaction_id: str = "T",
    answers_try: int = 0,
    max_otp_tries: int = 3,
) -> SettleAttempt:
    return SettleAttempt(
        **_common(number),
        name="R",
        transaction_id=transaction_id,
        outcome=outcome,
        answers_try=answers_try,
        response_code="51",
        message="what the rail said",
        call_until=NOW + 30_000,
        max_otp_tries=max_otp_tries,
        challenge=CHALLENGE if outcome is RailOutcome.CHALLENGE_REQUIRED else None,
    )


def begin_refund(
    amount: int | None = None, *, number: int = 1, refund_id: str = "F-new", transaction_id: str = "T-paid"
) -> BeginRefund:
    return BeginRefund(
        **_common(number),
        transaction_id=transaction_id,
        refund_id=refund_id,
        amount=amount,
        call_until=NOW + 30_000,
        reply_key="key-1",
    )


def settle_refund(
    outcome: RefundOutcome, *, number: int = 1, refund_id: str = "F", transaction_id: str = "T-paid"
) -> SettleRefund:
    return SettleRefund(
        **_common(number),
        transaction_id=transaction_id,
        refund_id=refund_id,
        outcome=outcome,
        response_code="61",
        message="what the rail said",
    )


def refund(status: RefundStatus, *, refund_id: str = "F", amount: int = 100) -> Refund:
    """A refund in this status; it waits for a call where such a refund does."""
    calls = {
        RefundStatus.RUNNING: RailCall(CallKind.REFUND, NOW, "key-0"),
        RefundStatus.UNKNOWN: RailCall(CallKind.REFUND, NOW),
        RefundStatus.CLOSING: RailCall(CallKind.REFUND, 0),
    }
    return Refund(
        refund_id=refund_id,
        transaction_id="T-paid",
        amount=amount,
        status=status,
        account_number=None,
        bank_code=None,
        started_at=CREATED_AT,
        updated_at=CREATED_AT,
        whole_id=refund_id,
        whole_amount=amount,
        call=calls.get(status),
    )


def attempt(
    status: AttemptStatus, *, transaction_id: str = "T", confirmations: int = 0, otp_sends: int = 0
) -> Attempt:
    """An attempt in this status; it waits for a call where such an attempt does."""
    calls = {
        AttemptStatus.CALLING: RailCall(CallKind.CHARGE, NOW, "key-0"),
        AttemptStatus.UNKNOWN: RailCall(CallKind.CHARGE, NOW),
        AttemptStatus.VOIDING: RailCall(CallKind.VOID, NOW),
    }
    return Attempt(
        transaction_id=transaction_id,
        status=status,
        amount=AMOUNT,
        card_masked="543462******2808",
        card_brand="Mastercard",
        started_at=CREATED_AT,
        updated_at=CREATED_AT,
        call=calls.get(status),
        confirmations=confirmations,
        otp_sends=otp_sends,
        challenge=CHALLENGE if status is AttemptStatus.AWAITING_3DS else None,
    )


_NOT_COUNTED = {RefundStatus.REFUSED, RefundStatus.DISPUTED}
"""Refunds that the totals do not tell of."""


def order(status: OrderStatus, *attempts: Attempt, refunds: tuple[Refund, ...] = (), **changes: Any) -> Order:
    """An order in this status, with the timestamps and totals that its status and children imply."""
    paid = AMOUNT if status is OrderStatus.PAID else 0
    returning = AMOUNT * sum(a.status is AttemptStatus.VOIDING for a in attempts)
    returned = AMOUNT * sum(a.status is AttemptStatus.VOIDED for a in attempts)
    refunded = sum(r.amount for r in refunds if r.status not in _NOT_COUNTED)
    ended: dict[OrderStatus, dict[str, Any]] = {
        OrderStatus.PAID: {"paid_at": CREATED_AT, "paid_by": "T-paid"},
        OrderStatus.CANCELLED: {"cancelled_at": CREATED_AT},
        OrderStatus.EXPIRED: {"expired_at": CREATED_AT, "due_at": CREATED_AT},
        OrderStatus.PENDING: {},
    }
    known: dict[str, Any] = {
        "account_id": "M",
        "order_id": "O",
        "reference": "R",
        "status": status,
        "version": 7,
        "amount": AMOUNT,
        "currency": "NGN",
        "sub_account_id": None,
        "created_at": CREATED_AT,
        "updated_at": CREATED_AT,
        "attempt_count": len(attempts),
        "refund_count": len(refunds),
        "totals": Totals(
            received=paid + returning + returned,
            applied=paid,
            returning=returning,
            returned=returned,
            refunded=refunded,
        ),
        "attempts": attempts,
        "refunds": refunds,
    }
    return Order(**(known | ended[status] | changes))
