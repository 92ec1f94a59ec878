"""The first tables."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "attempts",
        sa.Column("account_id", sa.String(length=36), nullable=False),
        sa.Column("transaction_id", sa.String(length=64), nullable=False),
        sa.Column("order_id", sa.String(length=36), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.Column("card_masked", sa.String(length=24), nullable=False),
        sa.Column("card_brand", sa.String(length=16), nullable=False),
        sa.Column("started_at", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.Column("call_kind", sa.String(length=16), nullable=True),
        sa.Column("call_until", sa.BigInteger(), nullable=True),
        sa.Column("call_key", sa.String(length=255), nullable=True),
        sa.Column("confirmations", sa.Integer(), nullable=False),
        sa.Column("response_code", sa.String(length=64), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.CheckConstraint(
            "status IN ('CALLING', 'AWAITING_OTP', 'AWAITING_3DS', 'UNKNOWN', 'APPROVED', 'DECLINED', 'CANCELLED', 'VOIDING', 'VOIDED', 'FAILED')",
            name="known_attempt_status",
        ),
        sa.CheckConstraint("(call_kind IS NULL) = (call_until IS NULL)", name="call_whole_or_absent"),
        sa.PrimaryKeyConstraint("account_id", "transaction_id"),
    )
    op.create_index("attempts_by_call", "attempts", ["call_until"], unique=False)
    op.create_index("attempts_by_order", "attempts", ["account_id", "order_id"], unique=False)
    op.create_index(
        "attempts_by_start", "attempts", ["account_id", "started_at", "transaction_id"], unique=False
    )
    op.create_table(
        "clients",
        sa.Column("account_id", sa.String(length=36), nullable=False),
        sa.Column("client_id", sa.String(length=36), nullable=False),
        sa.Column("secret_hash", sa.String(length=64), nullable=False),
        sa.Column("secret_sealed", sa.LargeBinary(), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("disabled_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("account_id", "client_id"),
    )
    op.create_table(
        "events",
        sa.Column("account_id", sa.String(length=36), nullable=False),
        sa.Column("order_id", sa.String(length=36), nullable=False),
        sa.Column("sequence", sa.Integer(), nullable=False),
        sa.Column("event_id", sa.String(length=36), nullable=False),
        sa.Column("type", sa.String(length=32), nullable=False),
        sa.Column("before", sa.String(length=16), nullable=True),
        sa.Column("after", sa.String(length=16), nullable=False),
        sa.Column("actor_kind", sa.String(length=16), nullable=False),
        sa.Column("actor_id", sa.String(length=64), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("reason", sa.String(length=64), nullable=True),
        sa.Column("note", sa.String(length=255), nullable=True),
        sa.Column("transaction_id", sa.String(length=64), nullable=True),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.Column("currency", sa.String(length=3), nullable=False),
        sa.Column("beneficiary", sa.String(length=36), nullable=False),
        sa.PrimaryKeyConstraint("account_id", "order_id", "sequence"),
    )
    op.create_table(
        "idempotency_keys",
        sa.Column("account_id", sa.String(length=36), nullable=False),
        sa.Column("key", sa.String(length=255), nullable=False),
        sa.Column("fingerprint", sa.String(length=64), nullable=False),
        sa.Column("command_id", sa.String(length=36), nullable=False),
        sa.Column("status", sa.Integer(), nullable=True),
        sa.Column("reason", sa.String(length=64), nullable=True),
        sa.Column("body", sa.Text(), nullable=True),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("(status IS NULL) = (body IS NULL)", name="reply_whole_or_absent"),
        sa.PrimaryKeyConstraint("account_id", "key"),
    )
    op.create_index("idempotency_keys_by_end", "idempotency_keys", ["expires_at"], unique=False)
    op.create_table(
        "installation",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("mode", sa.String(length=16), nullable=False),
        sa.Column("secret_fingerprint", sa.String(length=64), nullable=False),
        sa.Column("clock_offset", sa.BigInteger(), nullable=False),
        sa.Column("default_account_id", sa.String(length=36), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("write_probed_at", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("clock_offset >= 0", name="clock_moves_forward_only"),
        sa.CheckConstraint("id = 1", name="one_installation"),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "ledger_entries",
        sa.Column("account_id", sa.String(length=36), nullable=False),
        sa.Column("order_id", sa.String(length=36), nullable=False),
        sa.Column("sequence", sa.Integer(), nullable=False),
        sa.Column("line", sa.Integer(), nullable=False),
        sa.Column("ledger_account", sa.String(length=64), nullable=False),
        sa.Column("currency", sa.String(length=3), nullable=False),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("amount <> 0", name="entry_moves_money"),
        sa.PrimaryKeyConstraint("account_id", "order_id", "sequence", "line"),
    )
    op.create_table(
        "merchants",
        sa.Column("account_id", sa.String(length=36), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("email", sa.Text(), nullable=False),
        sa.Column("logo_url", sa.Text(), nullable=False),
        sa.Column("post_limit", sa.Integer(), nullable=True),
        sa.Column("other_limit", sa.Integer(), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("webhook_key_sealed", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("account_id"),
    )
    op.create_table(
        "orders",
        sa.Column("account_id", sa.String(length=36), nullable=False),
        sa.Column("order_id", sa.String(length=36), nullable=False),
        sa.Column("reference", sa.String(length=255), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.Column("currency", sa.String(length=3), nullable=False),
        sa.Column("sub_account_id", sa.String(length=36), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.Column("due_at", sa.BigInteger(), nullable=True),
        sa.Column("due_action", sa.String(length=8), nullable=False),
        sa.Column("late_money", sa.String(length=8), nullable=False),
        sa.Column("paid_at", sa.BigInteger(), nullable=True),
        sa.Column("cancelled_at", sa.BigInteger(), nullable=True),
        sa.Column("expired_at", sa.BigInteger(), nullable=True),
        sa.Column("paid_by", sa.String(length=64), nullable=True),
        sa.Column("attempt_count", sa.Integer(), nullable=False),
        sa.Column("received", sa.BigInteger(), nullable=False),
        sa.Column("applied", sa.BigInteger(), nullable=False),
        sa.Column("held", sa.BigInteger(), nullable=False),
        sa.Column("returning", sa.BigInteger(), quote=True, nullable=False),
        sa.Column("returned", sa.BigInteger(), nullable=False),
        sa.Column("refunded", sa.BigInteger(), nullable=False),
        sa.Column("customer_email", sa.Text(), nullable=False),
        sa.Column("customer_id", sa.Text(), nullable=True),
        sa.Column("callback_url", sa.Text(), nullable=True),
        sa.Column("allowed_payment_methods", sa.Text(), nullable=False),
        sa.Column("split", sa.Text(), nullable=True),
        sa.Column("metadata", sa.Text(), nullable=False),
        sa.Column("tokenize_card", sa.Integer(), nullable=False),
        sa.CheckConstraint(
            "(status = 'CANCELLED') = (cancelled_at IS NOT NULL)", name="cancelled_has_its_time"
        ),
        sa.CheckConstraint("(status = 'PAID') = (applied = amount)", name="paid_is_paid_in_full"),
        sa.CheckConstraint("(status = 'PAID') = (paid_at IS NOT NULL)", name="paid_has_its_time"),
        sa.CheckConstraint("status <> 'EXPIRED' OR expired_at IS NOT NULL", name="expired_has_its_time"),
        sa.CheckConstraint("status = 'PAID' OR applied = 0", name="only_paid_applies_money"),
        sa.CheckConstraint("status IN ('PENDING', 'PAID', 'CANCELLED', 'EXPIRED')", name="known_status"),
        sa.CheckConstraint("(paid_at IS NULL) = (paid_by IS NULL)", name="paid_names_its_payment"),
        sa.CheckConstraint("amount > 0", name="amount_above_zero"),
        sa.CheckConstraint(
            'applied >= 0 AND held >= 0 AND "returning" >= 0 AND returned >= 0', name="no_negative_money"
        ),
        sa.CheckConstraint(
            "paid_at IS NULL OR cancelled_at IS NULL", name="paid_and_cancelled_exclude_each_other"
        ),
        sa.CheckConstraint('received = applied + held + "returning" + returned', name="money_accounted_for"),
        sa.CheckConstraint("refunded BETWEEN 0 AND applied", name="refunds_capped"),
        sa.CheckConstraint("updated_at >= created_at", name="time_runs_forward"),
        sa.CheckConstraint("version > 0", name="version_counts_events"),
        sa.PrimaryKeyConstraint("account_id", "order_id"),
        sa.UniqueConstraint("account_id", "reference", name="reference_once"),
    )
    op.create_index("orders_by_due", "orders", ["due_at"], unique=False)
    op.create_table(
        "sub_accounts",
        sa.Column("account_id", sa.String(length=36), nullable=False),
        sa.Column("sub_account_id", sa.String(length=36), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("account_id", "sub_account_id"),
    )
    op.create_table(
        "tokens",
        sa.Column("account_id", sa.String(length=36), nullable=False),
        sa.Column("jti", sa.String(length=36), nullable=False),
        sa.Column("client_id", sa.String(length=36), nullable=False),
        sa.Column("refresh_hash", sa.String(length=64), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.Column("refresh_expires_at", sa.BigInteger(), nullable=False),
        sa.Column("refresh_used_at", sa.BigInteger(), nullable=True),
        sa.Column("revoked_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("account_id", "jti"),
        sa.UniqueConstraint("account_id", "refresh_hash", name="refresh_token_once"),
    )
    op.create_index("tokens_by_end", "tokens", ["refresh_expires_at"], unique=False)
