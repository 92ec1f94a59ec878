"""Rows to domain values and back. The column orders here are the ones the statements name."""

from typing import Any, Final, TypeAlias

import msgspec

from opentill.domain.commands import Actor, ActorKind
from opentill.domain.events import Event, EventType
from opentill.domain.order import (
    Attempt,
    AttemptStatus,
    Call,
    CallKind,
    Challenge,
    DueAction,
    LateMoney,
    Order,
    OrderStatus,
    Refund,
    RefundStatus,
    Split,
    Terms,
    Totals,
)

Row: TypeAlias = tuple[Any, ...]

ORDER_FACTS: Final = (
    "account_id", "order_id", "reference", "amount", "currency", "sub_account_id", "created_at",
    "due_at", "due_action", "late_money",
)  # fmt: skip
"""What of an order's deciding columns never changes."""

ORDER_STATE: Final = (
    "status", "version", "updated_at", "paid_at", "cancelled_at", "expired_at", "paid_by",
    "attempt_count", "refund_count", "received", "applied", "held", "returning", "returned", "refunded",
    "awaits_due",
)  # fmt: skip
"""What of an order changes."""

TERMS: Final = (
    "customer_email", "customer_id", "callback_url", "allowed_payment_methods", "split", "metadata",
    "tokenize_card",
)  # fmt: skip

ATTEMPT: Final = (
    "account_id", "transaction_id", "order_id", "status", "amount", "card_masked", "card_brand",
    "started_at", "updated_at", "call_kind", "call_until", "call_key", "confirmations", "otp_sends",
    "challenge", "response_code", "message",
)  # fmt: skip

REFUND: Final = (
    "account_id", "refund_id", "order_id", "transaction_id", "amount", "status", "account_number",
    "bank_code", "started_at", "updated_at", "call_kind", "call_until", "call_key", "response_code",
    "message",
)  # fmt: skip

EVENT: Final = (
    "account_id", "order_id", "sequence", "event_id", "type", "before", "after", "actor_kind",
    "actor_id", "at", "reason", "note", "transaction_id", "refund_id", "amount", "currency", "beneficiary",
)  # fmt: skip

ENTRY: Final = (
    "account_id", "order_id", "sequence", "line", "ledger_account", "currency", "amount", "at",
)  # fmt: skip

_STATUS: Final = {s.value: s for s in OrderStatus}
_DUE: Final = {d.value: d for d in DueAction}
_LATE: Final = {m.value: m for m in LateMoney}
_NO_MONEY: Final = Totals()
_json = msgspec.json.Encoder()
_unjson = msgspec.json.Decoder()


def order(row: Row, attempts: tuple[Attempt, ...] = (), refunds: tuple[Refund, ...] = ()) -> Order:
    """An order from ``ORDER_FACTS + ORDER_STATE``."""
    (
        account_id, order_id, reference, amount, currency, sub_account_id, created_at, due_at,
        due_action, late_money, status, version, updated_at, paid_at, cancelled_at, expired_at,
        paid_by, attempt_count, refund_count, received, applied, held, returning, returned, refunded,
    ) = row[:25]  # fmt: skip
    return Order(
        account_id,
        order_id,
        reference,
        _STATUS[status],
        version,
        amount,
        currency,
        sub_account_id,
        created_at,
        updated_at,
        due_at,
        _DUE[due_action],
        _LATE[late_money],
        paid_at,
        cancelled_at,
        expired_at,
        paid_by,
        attempt_count,
        refund_count,
        Totals(received, applied, held, returning, returned, refunded) if received else _NO_MONEY,
        attempts,
        refunds,
    )


def order_facts(o: Order) -> Row:
    """The values of ``ORDER_FACTS``."""
    return (
        o.account_id, o.order_id, o.reference, o.amount, o.currency, o.sub_account_id, o.created_at,
        o.due_at, o.due_action, o.late_money,
    )  # fmt: skip


def order_state(o: Order) -> Row:
    """The values of ``ORDER_STATE``."""
    t = o.totals
    return (
        o.status, o.version, o.updated_at, o.paid_at, o.cancelled_at, o.expired_at, o.paid_by,
        o.attempt_count, o.refund_count, t.received, t.applied, t.held, t.returning, t.returned, t.refunded,
        int(o.due_at is not None and o.status is OrderStatus.PENDING),
    )  # fmt: skip


def terms(row: Row) -> Terms:
    """The agreement from ``TERMS``."""
    email, customer_id, callback_url, methods, split, metadata, tokenize_card = row
    return Terms(
        customer_email=email,
        customer_id=customer_id,
        callback_url=callback_url,
        allowed_payment_methods=tuple(_unjson.decode(methods)),
        split=_split(_unjson.decode(split)) if split else None,
        metadata=tuple(_unjson.decode(metadata).items()),
        tokenize_card=bool(tokenize_card),
    )


def _split(stored: dict[str, Any]) -> Split:
    return Split(stored["kind"], tuple((account, value) for account, value in stored["shares"]))


def terms_row(t: Terms) -> Row:
    """The values of ``TERMS``."""
    return (
        t.customer_email,
        t.customer_id,
        t.callback_url,
        _json.encode(t.allowed_payment_methods).decode(),
        _json.encode({"kind": t.split.kind, "shares": t.split.shares}).decode() if t.split else None,
        _json.encode(dict(t.metadata)).decode(),
        int(t.tokenize_card),
    )


def attempt(row: Row) -> Attempt:
    """An attempt from ``ATTEMPT``."""
    (
        _account_id, transaction_id, _order_id, status, amount, card_masked, card_brand, started_at,
        updated_at, call_kind, call_until, call_key, confirmations, otp_sends, challenge, response_code,
        message,
    ) = row  # fmt: skip
    return Attempt(
        transaction_id=transaction_id,
        status=AttemptStatus(status),
        amount=amount,
        card_masked=card_masked,
        card_brand=card_brand,
        started_at=started_at,
        updated_at=updated_at,
        call=_call(call_kind, call_until, call_key),
        confirmations=confirmations,
        otp_sends=otp_sends,
        challenge=Challenge(*_unjson.decode(challenge)) if challenge else None,
        response_code=response_code,
        message=message,
    )


def _call(kind: str | None, until: int, key: str | None) -> Call | None:
    return Call(CallKind(kind), until, key) if kind else None


def attempt_row(o: Order, a: Attempt) -> Row:
    """The values of ``ATTEMPT``."""
    call = a.call
    return (
        o.account_id, a.transaction_id, o.order_id, a.status, a.amount, a.card_masked, a.card_brand,
        a.started_at, a.updated_at, call and call.kind, call and call.until, call and call.key,
        a.confirmations, a.otp_sends, _challenge_text(a.challenge), a.response_code, a.message,
    )  # fmt: skip


def _challenge_text(challenge: Challenge | None) -> str | None:
    return _json.encode((challenge.acs_url, challenge.jwt, challenge.md)).decode() if challenge else None


def refund(row: Row) -> Refund:
    """A refund from ``REFUND``."""
    (
        _account_id, refund_id, _order_id, transaction_id, amount, status, account_number, bank_code,
        started_at, updated_at, call_kind, call_until, call_key, response_code, message,
    ) = row  # fmt: skip
    return Refund(
        refund_id=refund_id,
        transaction_id=transaction_id,
        amount=amount,
        status=RefundStatus(status),
        account_number=account_number,
        bank_code=bank_code,
        started_at=started_at,
        updated_at=updated_at,
        call=_call(call_kind, call_until, call_key),
        response_code=response_code,
        message=message,
    )


def refund_row(o: Order, r: Refund) -> Row:
    """The values of ``REFUND``."""
    call = r.call
    return (
        o.account_id, r.refund_id, o.order_id, r.transaction_id, r.amount, r.status, r.account_number,
        r.bank_code, r.started_at, r.updated_at, call and call.kind, call and call.until,
        call and call.key, r.response_code, r.message,
    )  # fmt: skip


def event(row: Row) -> Event:
    """An event from ``EVENT``."""
    (
        account_id, order_id, sequence, event_id, type_, before, after, actor_kind, actor_id, at, reason,
        note, transaction_id, refund_id, amount, currency, beneficiary,
    ) = row  # fmt: skip
    return Event(
        event_id=event_id,
        account_id=account_id,
        order_id=order_id,
        sequence=sequence,
        type=EventType(type_),
        before=_STATUS[before] if before else None,
        after=_STATUS[after],
        actor=Actor(ActorKind(actor_kind), actor_id),
        at=at,
        reason=reason,
        note=note,
        transaction_id=transaction_id,
        refund_id=refund_id,
        amount=amount,
        currency=currency,
        beneficiary=beneficiary,
    )


def event_row(e: Event) -> Row:
    """The values of ``EVENT``."""
    return (
        e.account_id, e.order_id, e.sequence, e.event_id, e.type, e.before, e.after, e.actor.kind,
        e.actor.id, e.at, e.reason, e.note, e.transaction_id, e.refund_id, e.amount, e.currency,
        e.beneficiary,
    )  # fmt: skip
