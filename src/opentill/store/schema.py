"""The tables. Every key begins with the merchant's account id; every rule that SQL can hold is a CHECK.

Times are UTC milliseconds, amounts integer minor units. The migrations make these tables; this
module is what they must come to (a test compares the two) and what cold statements are built from.
"""

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
    UniqueConstraint,
)

from opentill.domain.order import AttemptStatus, OrderStatus, RefundStatus

metadata = MetaData()

UPDATED_IN_PLACE = 80
"""Percent to which PostgreSQL fills a page of orders or keys, so that a new version fits beside the old."""


def code(length: int) -> String:
    """Text of ours or of a merchant's program: compared byte by byte, whatever language a database speaks."""
    return String(length).with_variant(String(length, collation="C"), "postgresql")


_PAID, _CANCELLED, _EXPIRED = (
    s.value for s in (OrderStatus.PAID, OrderStatus.CANCELLED, OrderStatus.EXPIRED)
)


def _one_of(column: str, words: type[OrderStatus] | type[AttemptStatus] | type[RefundStatus]) -> str:
    return f"{column} IN ({', '.join(repr(w.value) for w in words)})"


installation = Table(
    "installation",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("mode", code(16), nullable=False),
    Column("secret_fingerprint", code(64), nullable=False),
    Column("clock_offset", BigInteger, nullable=False),
    Column("default_account_id", code(36)),
    Column("created_at", BigInteger, nullable=False),
    Column("write_probed_at", BigInteger, nullable=False),
    CheckConstraint("id = 1", name="one_installation"),
    CheckConstraint("clock_offset >= 0", name="clock_moves_forward_only"),
)

schema_support = Table(
    "schema_support",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    # The oldest migration whose code works on these tables; every migration says so again.
    Column("oldest_code", code(32), nullable=False),
    CheckConstraint("id = 1", name="one_schema"),
)

merchants = Table(
    "merchants",
    metadata,
    Column("account_id", code(36), nullable=False),
    Column("name", Text, nullable=False),
    Column("email", Text, nullable=False),
    Column("logo_url", Text, nullable=False),
    Column("post_limit", Integer),
    Column("other_limit", Integer),
    Column("created_at", BigInteger, nullable=False),
    Column("webhook_key_sealed", LargeBinary, nullable=False),
    PrimaryKeyConstraint("account_id"),
)

sub_accounts = Table(
    "sub_accounts",
    metadata,
    Column("account_id", code(36), nullable=False),
    Column("sub_account_id", code(36), nullable=False),
    Column("name", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    PrimaryKeyConstraint("account_id", "sub_account_id"),
)

clients = Table(
    "clients",
    metadata,
    Column("account_id", code(36), nullable=False),
    Column("client_id", code(36), nullable=False),
    Column("secret_hash", code(64), nullable=False),
    Column("secret_sealed", LargeBinary),
    Column("created_at", BigInteger, nullable=False),
    Column("disabled_at", BigInteger),
    PrimaryKeyConstraint("account_id", "client_id"),
)

tokens = Table(
    "tokens",
    metadata,
    Column("account_id", code(36), nullable=False),
    Column("jti", code(36), nullable=False),
    Column("client_id", code(36), nullable=False),
    Column("refresh_hash", code(64), nullable=False),
    Column("expires_at", BigInteger, nullable=False),
    Column("refresh_expires_at", BigInteger, nullable=False),
    Column("refresh_used_at", BigInteger),
    Column("revoked_at", BigInteger),
    PrimaryKeyConstraint("account_id", "jti"),
    UniqueConstraint("account_id", "refresh_hash", name="refresh_token_once"),
    Index("tokens_by_end", "refresh_expires_at"),
)

idempotency_keys = Table(
    "idempotency_keys",
    metadata,
    Column("account_id", code(36), nullable=False),
    Column("key", code(255), nullable=False),
    Column("fingerprint", code(64), nullable=False),
    Column("command_id", code(36), nullable=False),
    Column("status", Integer),
    Column("reason", code(64)),
    Column("body", Text),
    Column("expires_at", BigInteger, nullable=False),
    PrimaryKeyConstraint("account_id", "key"),
    CheckConstraint("(status IS NULL) = (body IS NULL)", name="reply_whole_or_absent"),
    Index("idempotency_keys_by_end", "expires_at"),
    postgresql_with={"fillfactor": UPDATED_IN_PLACE},
)

orders = Table(
    "orders",
    metadata,
    # What a decision needs.
    Column("account_id", code(36), nullable=False),
    Column("order_id", code(36), nullable=False),
    Column("reference", code(255), nullable=False),
    Column("status", code(16), nullable=False),
    Column("version", Integer, nullable=False),
    Column("amount", BigInteger, nullable=False),
    Column("currency", code(3), nullable=False),
    Column("sub_account_id", code(36)),
    Column("created_at", BigInteger, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
    Column("due_at", BigInteger),
    Column("due_action", code(8), nullable=False),
    Column("late_money", code(8), nullable=False),
    Column("paid_at", BigInteger),
    Column("cancelled_at", BigInteger),
    Column("expired_at", BigInteger),
    Column("paid_by", code(64)),
    Column("attempt_count", Integer, nullable=False),
    Column("refund_count", Integer, nullable=False, server_default="0"),
    Column("received", BigInteger, nullable=False),
    Column("applied", BigInteger, nullable=False),
    Column("held", BigInteger, nullable=False),
    Column("returning", BigInteger, quote=True, nullable=False),
    Column("returned", BigInteger, nullable=False),
    Column("refunded", BigInteger, nullable=False),
    # What was agreed: written once, never judged.
    Column("customer_email", Text, nullable=False),
    Column("customer_id", Text),
    Column("callback_url", Text),
    Column("allowed_payment_methods", Text, nullable=False),
    Column("split", Text),
    Column("metadata", Text, nullable=False),
    Column("tokenize_card", Integer, nullable=False),
    PrimaryKeyConstraint("account_id", "order_id"),
    UniqueConstraint("account_id", "reference", name="reference_once"),
    CheckConstraint(_one_of("status", OrderStatus), name="known_status"),
    CheckConstraint(f"(status = '{_PAID}') = (paid_at IS NOT NULL)", name="paid_has_its_time"),
    CheckConstraint(f"(status = '{_PAID}') = (applied = amount)", name="paid_is_paid_in_full"),
    CheckConstraint(f"status = '{_PAID}' OR applied = 0", name="only_paid_applies_money"),
    CheckConstraint(f"(status = '{_CANCELLED}') = (cancelled_at IS NOT NULL)", name="cancelled_has_its_time"),
    CheckConstraint(f"status <> '{_EXPIRED}' OR expired_at IS NOT NULL", name="expired_has_its_time"),
    CheckConstraint("paid_at IS NULL OR cancelled_at IS NULL", name="paid_and_cancelled_exclude_each_other"),
    CheckConstraint("(paid_at IS NULL) = (paid_by IS NULL)", name="paid_names_its_payment"),
    CheckConstraint("amount > 0", name="amount_above_zero"),
    CheckConstraint("version > 0", name="version_counts_events"),
    CheckConstraint('received = applied + held + "returning" + returned', name="money_accounted_for"),
    CheckConstraint(
        'applied >= 0 AND held >= 0 AND "returning" >= 0 AND returned >= 0', name="no_negative_money"
    ),
    CheckConstraint("refunded BETWEEN 0 AND applied", name="refunds_capped"),
    CheckConstraint("updated_at >= created_at", name="time_runs_forward"),
    # Not partial and not on status: that would make every cancel rewrite an index (design, section 7).
    Index("orders_by_due", "due_at"),
    postgresql_with={"fillfactor": UPDATED_IN_PLACE},
)

attempts = Table(
    "attempts",
    metadata,
    Column("account_id", code(36), nullable=False),
    Column("transaction_id", code(64), nullable=False),
    Column("order_id", code(36), nullable=False),
    Column("status", code(16), nullable=False),
    Column("amount", BigInteger, nullable=False),
    Column("card_masked", code(24), nullable=False),
    Column("card_brand", code(16), nullable=False),
    Column("started_at", BigInteger, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
    Column("call_kind", code(16)),
    Column("call_until", BigInteger),
    Column("call_key", code(255)),
    Column("confirmations", Integer, nullable=False),
    Column("otp_sends", Integer, nullable=False, server_default="0"),
    Column("challenge", Text),
    Column("response_code", code(64), nullable=False),
    Column("message", Text, nullable=False),
    PrimaryKeyConstraint("account_id", "transaction_id"),
    CheckConstraint(_one_of("status", AttemptStatus), name="known_attempt_status"),
    CheckConstraint("(call_kind IS NULL) = (call_until IS NULL)", name="call_whole_or_absent"),
    Index("attempts_by_order", "account_id", "order_id"),
    Index("attempts_by_start", "account_id", "started_at", "transaction_id"),
    Index("attempts_by_call", "call_until"),
)

refunds = Table(
    "refunds",
    metadata,
    Column("account_id", code(36), nullable=False),
    Column("refund_id", code(36), nullable=False),
    Column("order_id", code(36), nullable=False),
    Column("transaction_id", code(64), nullable=False),
    Column("amount", BigInteger, nullable=False),
    Column("status", code(16), nullable=False),
    Column("account_number", code(10)),
    Column("bank_code", code(16)),
    Column("started_at", BigInteger, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
    Column("call_kind", code(16)),
    Column("call_until", BigInteger),
    Column("call_key", code(255)),
    Column("response_code", code(64), nullable=False),
    Column("message", Text, nullable=False),
    PrimaryKeyConstraint("account_id", "refund_id"),
    CheckConstraint(_one_of("status", RefundStatus), name="known_refund_status"),
    CheckConstraint("amount > 0", name="refund_above_zero"),
    CheckConstraint("(account_number IS NULL) = (bank_code IS NULL)", name="bank_account_whole_or_absent"),
    CheckConstraint("(call_kind IS NULL) = (call_until IS NULL)", name="refund_call_whole_or_absent"),
    Index("refunds_by_order", "account_id", "order_id"),
    Index("refunds_by_call", "call_until"),
)

events = Table(
    "events",
    metadata,
    Column("account_id", code(36), nullable=False),
    Column("order_id", code(36), nullable=False),
    Column("sequence", Integer, nullable=False),
    Column("event_id", code(36), nullable=False),
    Column("type", code(32), nullable=False),
    Column("before", code(16)),
    Column("after", code(16), nullable=False),
    Column("actor_kind", code(16), nullable=False),
    Column("actor_id", code(64), nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("reason", code(64)),
    Column("note", code(255)),
    Column("transaction_id", code(64)),
    Column("refund_id", code(36)),
    Column("amount", BigInteger, nullable=False),
    Column("currency", code(3), nullable=False),
    Column("beneficiary", code(36), nullable=False),
    PrimaryKeyConstraint("account_id", "order_id", "sequence"),
)

ledger_entries = Table(
    "ledger_entries",
    metadata,
    Column("account_id", code(36), nullable=False),
    Column("order_id", code(36), nullable=False),
    Column("sequence", Integer, nullable=False),
    Column("line", Integer, nullable=False),
    Column("ledger_account", code(64), nullable=False),
    Column("currency", code(3), nullable=False),
    Column("amount", BigInteger, nullable=False),
    Column("at", BigInteger, nullable=False),
    PrimaryKeyConstraint("account_id", "order_id", "sequence", "line"),
    CheckConstraint("amount <> 0", name="entry_moves_money"),
)
