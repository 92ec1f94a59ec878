"""Builders of commands: about cards, refunds, challenges and transfers, with every detail filled in."""

from typing import Any, TypeVar

from msgspec.structs import replace

from opentill.domain.commands import (
    BeginAttempt,
    BeginRefund,
    CancelAttempt,
    CancelOrRefund,
    EnsureCancelled,
    RailOutcome,
    ReceiveCredit,
    RefundOutcome,
    ResendOtp,
    ReturnFromChallenge,
    SettleAttempt,
    SettleRefund,
    SubmitOtp,
    TransactionCommand,
)
from opentill.domain.order import Challenge, Sender
from opentill.store.orders.contract import KeyClaim
from store_factories import ACCOUNT, ACTOR, IDS, NOW

C = TypeVar("C", bound=TransactionCommand)
SENDER = Sender("Ada Obi", "0123456789", "058")
CHALLENGE = Challenge("https://bank.example/3ds", "jwt-1", "md-1")


def begin(name: str, transaction_id: str, account_id: str = ACCOUNT, key: str | None = None) -> BeginAttempt:
    return BeginAttempt(
        account_id=account_id,
        command_id=IDS.uuid(),
        actor=ACTOR,
        name=name,
        transaction_id=transaction_id,
        card_masked="543462******2808",
        card_brand="Mastercard",
        call_until=NOW + 30_000,
        max_attempts=10,
        reply_key=key,
    )


def submit_otp(name: str, transaction_id: str, account_id: str = ACCOUNT) -> SubmitOtp:
    return SubmitOtp(
        account_id=account_id,
        command_id=IDS.uuid(),
        actor=ACTOR,
        name=name,
        transaction_id=transaction_id,
        call_until=NOW + 30_000,
    )


def settle(
    name: str,
    transaction_id: str,
    outcome: RailOutcome,
    account_id: str = ACCOUNT,
    *,
    answers_try: int = 0,
    max_otp_tries: int = 5,
) -> SettleAttempt:
    return SettleAttempt(
        account_id=account_id,
        command_id=IDS.uuid(),
        actor=ACTOR,
        name=name,
        transaction_id=transaction_id,
        outcome=outcome,
        answers_try=answers_try,
        response_code="00",
        message="said the rail",
        call_until=NOW + 60_000,
        max_otp_tries=max_otp_tries,
    )


def claim(key: str, fingerprint: str = "f", account_id: str = ACCOUNT) -> KeyClaim:
    return KeyClaim(account_id, key, fingerprint, IDS.uuid())


def resend_otp(name: str, account_id: str = ACCOUNT, *, max_otp_sends: int = 2) -> ResendOtp:
    return ResendOtp(
        account_id=account_id, command_id=IDS.uuid(), actor=ACTOR, name=name, max_otp_sends=max_otp_sends
    )


def return_from_challenge(transaction_id: str, account_id: str = ACCOUNT) -> ReturnFromChallenge:
    return ReturnFromChallenge(
        account_id=account_id,
        command_id=IDS.uuid(),
        actor=ACTOR,
        transaction_id=transaction_id,
        call_until=NOW + 30_000,
    )


def cancel_attempt(transaction_id: str, account_id: str = ACCOUNT) -> CancelAttempt:
    return CancelAttempt(
        account_id=account_id, command_id=IDS.uuid(), actor=ACTOR, transaction_id=transaction_id
    )


def answer(
    name: str,
    transaction_id: str,
    outcome: RailOutcome,
    account_id: str = ACCOUNT,
    *,
    answers_try: int = 0,
    max_otp_tries: int = 5,
) -> SettleAttempt:
    """Return what the rail answers, with the challenge that belongs to it."""
    command = settle(
        name,
        transaction_id,
        outcome,
        account_id,
        answers_try=answers_try,
        max_otp_tries=max_otp_tries,
    )
    wants = outcome is RailOutcome.CHALLENGE_REQUIRED
    return replace(command, challenge=CHALLENGE if wants else None)


def begin_refund(
    transaction_id: str,
    amount: int | None = None,
    account_id: str = ACCOUNT,
    *,
    refund_id: str = "F1",
    key: str | None = None,
) -> BeginRefund:
    return BeginRefund(
        account_id=account_id,
        command_id=IDS.uuid(),
        actor=ACTOR,
        transaction_id=transaction_id,
        refund_id=refund_id,
        amount=amount,
        call_until=NOW + 30_000,
        reply_key=key,
    )


def ensure_cancelled(name: str, account_id: str = ACCOUNT) -> EnsureCancelled:
    return EnsureCancelled(account_id=account_id, command_id=IDS.uuid(), actor=ACTOR, name=name)


def cancel_or_refund(
    name: str,
    account_id: str = ACCOUNT,
    *,
    refund_id: str = "F1",
    key: str | None = None,
    call_until: int = NOW + 30_000,
) -> CancelOrRefund:
    return CancelOrRefund(
        account_id=account_id,
        command_id=IDS.uuid(),
        actor=ACTOR,
        name=name,
        refund_id=refund_id,
        call_until=call_until,
        reply_key=key,
    )


def settle_refund(
    transaction_id: str, outcome: RefundOutcome, account_id: str = ACCOUNT, *, refund_id: str = "F1"
) -> SettleRefund:
    return SettleRefund(
        account_id=account_id,
        command_id=IDS.uuid(),
        actor=ACTOR,
        transaction_id=transaction_id,
        refund_id=refund_id,
        outcome=outcome,
        response_code="00",
        message="said the rail",
    )


def received(
    name: str, transaction_id: str, amount: int, account_id: str = ACCOUNT, **changes: Any
) -> ReceiveCredit:
    """A transfer arrives; its session id is made of its name."""
    details: dict[str, Any] = {
        "rail": "bank",
        "session_id": f"S {transaction_id}",
        "account_number": "9000000017",
        "currency": "NGN",
        "sender": SENDER,
        "transferred_at": None,
        "arrived_at": NOW,
    }
    return ReceiveCredit(
        account_id=account_id,
        command_id=IDS.uuid(),
        actor=ACTOR,
        name=name,
        transaction_id=transaction_id,
        amount=amount,
        **(details | changes),
    )


def transfer(kind: type[C], transaction_id: str, account_id: str = ACCOUNT, **members: Any) -> C:
    """A command about the credit of this name."""
    return kind(
        account_id=account_id,
        command_id=IDS.uuid(),
        actor=ACTOR,
        transaction_id=transaction_id,
        **members,
    )
