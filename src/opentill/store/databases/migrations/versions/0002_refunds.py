"""Refunds, 3-D Secure challenges and resent passwords."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.add_column("orders", sa.Column("refund_count", sa.Integer(), server_default="0", nullable=False))
    op.add_column("attempts", sa.Column("otp_sends", sa.Integer(), server_default="0", nullable=False))
    op.add_column("attempts", sa.Column("challenge", sa.Text(), nullable=True))
    op.add_column("events", sa.Column("refund_id", sa.String(length=36), nullable=True))
    op.create_table(
        "refunds",
        sa.Column("account_id", sa.String(length=36), nullable=False),
        sa.Column("refund_id", sa.String(length=36), nullable=False),
        sa.Column("order_id", sa.String(length=36), nullable=False),
        sa.Column("transaction_id", sa.String(length=64), nullable=False),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("account_number", sa.String(length=10), nullable=True),
        sa.Column("bank_code", sa.String(length=16), nullable=True),
        sa.Column("started_at", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.Column("call_kind", sa.String(length=16), nullable=True),
        sa.Column("call_until", sa.BigInteger(), nullable=True),
        sa.Column("call_key", sa.String(length=255), nullable=True),
        sa.Column("response_code", sa.String(length=64), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.CheckConstraint("status IN ('RUNNING', 'UNKNOWN', 'DONE', 'REFUSED')", name="known_refund_status"),
        sa.CheckConstraint("amount > 0", name="refund_above_zero"),
        sa.CheckConstraint(
            "(account_number IS NULL) = (bank_code IS NULL)", name="bank_account_whole_or_absent"
        ),
        sa.CheckConstraint("(call_kind IS NULL) = (call_until IS NULL)", name="refund_call_whole_or_absent"),
        sa.PrimaryKeyConstraint("account_id", "refund_id"),
    )
    op.create_index("refunds_by_order", "refunds", ["account_id", "order_id"], unique=False)
    op.create_index("refunds_by_call", "refunds", ["call_until"], unique=False)
