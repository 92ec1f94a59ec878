"""Rows to domain values and back, in the column order of the schema, which the statements follow too."""

from collections.abc import Mapping
from typing import Any, Final, TypeAlias

import msgspec

from opentill.domain.commands import Actor, ActorKind
from opentill.domain.events import Event, EventType
from opentill.domain.order import (
    WHOLE,
    Attempt,
    AttemptStatus,
    CallKind,
    Challenge,
    Credit,
    Disposition,
    DueAction,
    KeptCard,
    LateMoney,
    Method,
    Order,
    OrderStatus,
    Parts,
    RailCall,
    Refund,
    RefundStatus,
    Return,
    ReturnKind,
    ReturnStatus,
    SavedCard,
    Sender,
    Shares,
    Split,
    SplitKind,
    Terms,
    Totals,
)
from opentill.store import columns, schema

Row: TypeAlias = tuple[Any, ...]

ORDER_FACTS: Final = columns.names_of(schema.orders)
"""What of an order's deciding columns never changes."""

ORDER_STATE: Final = columns.names_of(schema.orders, part=columns.STATE)
"""What of an order changes."""

TERMS: Final = columns.names_of(schema.orders, part=columns.TERMS)
ATTEMPT: Final = columns.names_of(schema.attempts)
SAVED_CARD: Final = columns.names_of(schema.saved_cards, without=("customer_email", "confirmed_at"))
REFUND: Final = columns.names_of(schema.refunds)
CREDIT: Final = columns.names_of(schema.credits_)
RETURN: Final = columns.names_of(schema.returns)
EVENT: Final = columns.names_of(schema.events, without=("place",))
ENTRY: Final = columns.names_of(schema.ledger_entries)

_STATUS: Final = {s.value: s for s in OrderStatus}
_DUE: Final = {d.value: d for d in DueAction}
_LATE: Final = {m.value: m for m in LateMoney}
_NO_MONEY: Final = Totals()
_json = msgspec.json.Encoder()
_unjson = msgspec.json.Decoder()


def order(
    row: Row,
    attempts: tuple[Attempt, ...] = (),
    refunds: tuple[Refund, ...] = (),
    credits_: tuple[Credit, ...] = (),
    returns: tuple[Return, ...] = (),
) -> Order:
    """Make an order of ``ORDER_FACTS + ORDER_STATE``."""
    (
        account_id, order_id, reference, amount, currency, sub_account_id, created_at, due_at,
        due_action, late_money, split_text, tokenize_card, status, version, updated_at, paid_at,
        cancelled_at, expired_at, paid_by, attempt_count, refund_count, credit_count, received, applied,
        held, returning, returned, refunded, fee, shares_text,
    ) = row[:30]  # fmt: skip
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
        bool(tokenize_card),
        paid_at,
        cancelled_at,
        expired_at,
        paid_by,
        attempt_count,
        refund_count,
        Totals(received, applied, held, returning, returned, refunded) if received else _NO_MONEY,
        attempts,
        refunds,
        credit_count,
        credits_,
        returns,
        split(split_text) if split_text else None,
        _parts(fee, shares_text),
    )


def split(text: str) -> Split:
    """Make a split of how it is stored."""
    stored = _unjson.decode(text)
    return Split(SplitKind(stored["kind"]), _pairs(stored["shares"]))


def shares(text: str | None) -> Shares:
    """Make shares of how they are stored; none where there is nothing."""
    return _pairs(_unjson.decode(text)) if text else ()


def _pairs(stored: list[tuple[str, int]]) -> Shares:
    return tuple((account, number) for account, number in stored)


def _split_text(s: Split | None) -> str | None:
    return _json.encode({"kind": s.kind, "shares": s.shares}).decode() if s else None


def _parts(fee: int, shares_text: str | None) -> Parts:
    return Parts(fee, shares(shares_text)) if fee or shares_text else WHOLE


def _shares_text(parts: Parts) -> str | None:
    return _json.encode(parts.shares).decode() if parts.shares else None


def order_facts(o: Order) -> Row:
    """Give the values of ``ORDER_FACTS``."""
    return (
        o.account_id, o.order_id, o.reference, o.amount, o.currency, o.sub_account_id, o.created_at,
        o.due_at, o.due_action, o.late_money, _split_text(o.split), int(o.tokenize_card),
    )  # fmt: skip


def order_state(o: Order) -> Row:
    """Give the values of ``ORDER_STATE``."""
    t = o.totals
    return (
        o.status, o.version, o.updated_at, o.paid_at, o.cancelled_at, o.expired_at, o.paid_by,
        o.attempt_count, o.refund_count, o.credit_count, t.received, t.applied, t.held, t.returning,
        t.returned, t.refunded, o.parts.fee, _shares_text(o.parts),
        int(o.due_at is not None and o.status is OrderStatus.PENDING),
    )  # fmt: skip


def terms(row: Row) -> Terms:
    """Make the agreement of ``TERMS``."""
    email, customer_id, callback_url, methods, metadata = row
    return Terms(
        customer_email=email,
        customer_id=customer_id,
        callback_url=callback_url,
        allowed_payment_methods=tuple(_unjson.decode(methods)),
        metadata=tuple(_unjson.decode(metadata).items()),
    )


def terms_row(t: Terms) -> Row:
    """Give the values of ``TERMS``."""
    return (
        t.customer_email,
        t.customer_id,
        t.callback_url,
        _json.encode(t.allowed_payment_methods).decode(),
        _json.encode(dict(t.metadata)).decode(),
    )


def attempt(row: Row) -> Attempt:
    """Make an attempt of ``ATTEMPT``."""
    (
        _account_id, transaction_id, _order_id, status, amount, card_masked, card_brand, started_at,
        updated_at, call_kind, call_until, call_key, confirmations, otp_sends, challenge, response_code,
        message, save_card, saved_card,
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
        save_card=bool(save_card),
        saved_card=saved_card,
        challenge=Challenge(*_unjson.decode(challenge)) if challenge else None,
        response_code=response_code,
        message=message,
    )


def _call(kind: str | None, until: int, key: str | None) -> RailCall | None:
    return RailCall(CallKind(kind), until, key) if kind else None


def attempt_row(o: Order, a: Attempt) -> Row:
    """Give the values of ``ATTEMPT``."""
    call = a.call
    return (
        o.account_id, a.transaction_id, o.order_id, a.status, a.amount, a.card_masked, a.card_brand,
        a.started_at, a.updated_at, call and call.kind, call and call.until, call and call.key,
        a.confirmations, a.otp_sends, _challenge_text(a.challenge), a.response_code, a.message,
        int(a.save_card), a.saved_card,
    )  # fmt: skip


def _challenge_text(challenge: Challenge | None) -> str | None:
    return _json.encode((challenge.acs_url, challenge.jwt, challenge.md)).decode() if challenge else None


def saved_card(row: Row) -> SavedCard:
    """Make a saved card of ``SAVED_CARD``."""
    account_id, transaction_id, order_id, *kept, card_masked, card_brand, tokenized, created_at = row
    return SavedCard(
        account_id,
        transaction_id,
        order_id,
        KeptCard(*kept),
        card_masked,
        card_brand,
        bool(tokenized),
        created_at,
    )


def saved_card_row(c: SavedCard) -> Row:
    """Give the values of ``SAVED_CARD``."""
    k = c.kept
    return (
        c.account_id, c.transaction_id, c.order_id, k.token_key_hash, k.token_key_sealed,
        k.rail_token_sealed, k.expiry, c.card_masked, c.card_brand, int(c.tokenized), c.created_at,
    )  # fmt: skip


def refund(row: Row) -> Refund:
    """Make a refund of ``REFUND``."""
    (
        _account_id, refund_id, _order_id, transaction_id, amount, status, account_number, bank_code,
        started_at, updated_at, call_kind, call_until, call_key, response_code, message, from_credit,
        whole_id, whole_amount, finer_status,
    ) = row  # fmt: skip
    return Refund(
        refund_id=refund_id,
        transaction_id=transaction_id,
        amount=amount,
        status=RefundStatus(_finer(columns.LATER_STATUS, status, finer_status)),
        account_number=account_number,
        bank_code=bank_code,
        started_at=started_at,
        updated_at=updated_at,
        call=_call(call_kind, call_until, call_key),
        response_code=response_code,
        message=message,
        from_credit=from_credit,
        whole_id=whole_id or refund_id,
        whole_amount=whole_amount,
    )


def _finer(later: Mapping[str, str], status: str, finer_status: str | None) -> str:
    """Return the finer word, unless code of before has gone on from the older one and left it behind."""
    return finer_status if finer_status and later[finer_status] == status else status


def refund_row(o: Order, r: Refund) -> Row:
    """Give the values of ``REFUND``."""
    call = r.call
    return (
        o.account_id, r.refund_id, o.order_id, r.transaction_id, r.amount,
        columns.LATER_STATUS.get(r.status, r.status), r.account_number,
        r.bank_code, r.started_at, r.updated_at, call and call.kind, call and call.until,
        call and call.key, r.response_code, r.message, r.from_credit, r.whole_id, r.whole_amount,
        r.status if r.status in columns.LATER_STATUS else None,
    )  # fmt: skip


def credit(row: Row) -> Credit:
    """Make a credit of ``CREDIT``."""
    (
        _account_id, transaction_id, _order_id, rail, session_id, account_number, amount, applied, held,
        disposition, sender_name, sender_account_number, sender_bank_code, transferred_at, arrived_at,
        narration,
    ) = row  # fmt: skip
    return Credit(
        transaction_id=transaction_id,
        rail=rail,
        session_id=session_id,
        account_number=account_number,
        amount=amount,
        sender=Sender(sender_name, sender_account_number, sender_bank_code),
        transferred_at=transferred_at,
        arrived_at=arrived_at,
        disposition=Disposition(disposition),
        narration=narration,
        applied=applied,
        held=held,
    )


def credit_row(o: Order, c: Credit) -> Row:
    """Give the values of ``CREDIT``."""
    return (
        o.account_id, c.transaction_id, o.order_id, c.rail, c.session_id, c.account_number, c.amount,
        c.applied, c.held, c.disposition, c.sender.name, c.sender.account_number, c.sender.bank_code,
        c.transferred_at, c.arrived_at, c.narration,
    )  # fmt: skip


def return_(row: Row) -> Return:
    """Make a return of ``RETURN``."""
    (
        _account_id, transaction_id, _order_id, kind, amount, status, started_at, updated_at, tries,
        call_until, bank_reference, response_code, message, finer_status, unanswered,
    ) = row  # fmt: skip
    return Return(
        transaction_id=transaction_id,
        kind=ReturnKind(kind),
        amount=amount,
        status=ReturnStatus(_finer(columns.LATER_RETURN_STATUS, status, finer_status)),
        started_at=started_at,
        updated_at=updated_at,
        tries=tries,
        call=RailCall(CallKind.RETURN, call_until) if call_until is not None else None,
        bank_reference=bank_reference,
        unanswered=bool(unanswered),
        response_code=response_code,
        message=message,
    )


def return_row(o: Order, r: Return) -> Row:
    """Give the values of ``RETURN``."""
    return (
        o.account_id, r.transaction_id, o.order_id, r.kind, r.amount,
        columns.LATER_RETURN_STATUS.get(r.status, r.status), r.started_at, r.updated_at,
        r.tries, r.call and r.call.until, r.bank_reference, r.response_code, r.message,
        r.status if r.status in columns.LATER_RETURN_STATUS else None, int(r.unanswered),
    )  # fmt: skip


def event(row: Row) -> Event:
    """Make an event of ``EVENT``."""
    (
        account_id, order_id, sequence, event_id, type_, before, after, actor_kind, actor_id, at, reason,
        note, transaction_id, refund_id, amount, currency, beneficiary, method, metadata,
        fee, shares_text,
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
        metadata=tuple(_unjson.decode(metadata).items()) if metadata else (),
        transaction_id=transaction_id,
        refund_id=refund_id,
        amount=amount,
        currency=currency,
        beneficiary=beneficiary,
        method=Method(method),
        parts=_parts(fee, shares_text),
    )


def event_row(e: Event) -> Row:
    """Give the values of ``EVENT``."""
    return (
        e.account_id, e.order_id, e.sequence, e.event_id, e.type, e.before, e.after, e.actor.kind,
        e.actor.id, e.at, e.reason, e.note, e.transaction_id, e.refund_id, e.amount, e.currency,
        e.beneficiary, e.method, _json.encode(dict(e.metadata)).decode() if e.metadata else None,
        e.parts.fee, _shares_text(e.parts),
    )  # fmt: skip
