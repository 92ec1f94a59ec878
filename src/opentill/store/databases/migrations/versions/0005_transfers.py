"""Bank transfers: credits, returns, and the two directories.

Code of 0004 goes on beside it as long as no transfer arrives: it does not know of money that an order holds.
"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def code(length: int) -> sa.types.TypeEngine[str]:
    return sa.String(length=length).with_variant(sa.String(length=length, collation="C"), "postgresql")


def index_where(name: str, table: str, columns: list[str], condition: str) -> None:
    few = sa.text(condition)
    op.create_index(name, table, columns, sqlite_where=few, postgresql_where=few)


def upgrade() -> None:
    op.add_column("orders", sa.Column("credit_count", sa.Integer(), server_default="0", nullable=False))
    op.add_column("refunds", sa.Column("from_credit", code(64), nullable=True))
    op.add_column("events", sa.Column("method", code(8), server_default="card", nullable=False))
    op.create_table(
        "credits",
        sa.Column("account_id", code(36), nullable=False),
        sa.Column("transaction_id", code(64), nullable=False),
        sa.Column("order_id", code(36), nullable=False),
        sa.Column("rail", code(32), nullable=False),
        sa.Column("session_id", code(64), nullable=False),
        sa.Column("account_number", code(34), nullable=False),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.Column("applied", sa.BigInteger(), nullable=False),
        sa.Column("held", sa.BigInteger(), nullable=False),
        sa.Column("disposition", code(16), nullable=False),
        sa.Column("sender_name", sa.Text(), nullable=False),
        sa.Column("sender_account_number", code(34), nullable=False),
        sa.Column("sender_bank_code", code(16), nullable=False),
        sa.Column("transferred_at", sa.BigInteger(), nullable=False),
        sa.Column("arrived_at", sa.BigInteger(), nullable=False),
        sa.Column("narration", sa.Text(), nullable=False),
        sa.CheckConstraint("amount > 0", name="credit_above_zero"),
        sa.CheckConstraint(
            "applied >= 0 AND held >= 0 AND applied + held <= amount", name="credit_accounted_for"
        ),
        sa.PrimaryKeyConstraint("account_id", "transaction_id"),
        sa.UniqueConstraint("account_id", "session_id", "rail", name="transfer_once"),
    )
    op.create_index("credits_by_order", "credits", ["account_id", "order_id"])
    op.create_index("credits_by_arrival", "credits", ["account_id", "arrived_at", "transaction_id"])
    index_where("credits_held", "credits", ["arrived_at"], "held > 0")
    op.create_table(
        "returns",
        sa.Column("account_id", code(36), nullable=False),
        sa.Column("transaction_id", code(64), nullable=False),
        sa.Column("order_id", code(36), nullable=False),
        sa.Column("kind", code(16), nullable=False),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.Column("status", code(16), nullable=False),
        sa.Column("started_at", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("call_until", sa.BigInteger(), nullable=True),
        sa.Column("bank_reference", sa.Text(), nullable=False),
        sa.Column("response_code", code(64), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.CheckConstraint(
            "status IN ('DUE', 'RUNNING', 'UNKNOWN', 'PARKED', 'DONE')", name="known_return_status"
        ),
        sa.CheckConstraint("amount > 0", name="return_above_zero"),
        sa.PrimaryKeyConstraint("account_id", "transaction_id"),
    )
    op.create_index("returns_by_order", "returns", ["account_id", "order_id"])
    op.create_index("returns_by_call", "returns", ["call_until"])
    index_where("returns_open", "returns", ["started_at"], "status <> 'DONE'")
    op.create_table(
        "transfer_accounts",
        sa.Column("account_number", code(10), nullable=False),
        sa.Column("bank_code", code(6), nullable=False),
        sa.Column("account_id", code(36), nullable=False),
        sa.Column("order_id", code(36), nullable=False),
        sa.Column("reserved_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("account_number"),
        sa.UniqueConstraint("account_id", "order_id", name="one_number_for_an_order"),
    )
    op.create_table(
        "advices",
        sa.Column("rail", code(32), nullable=False),
        sa.Column("session_id", code(64), nullable=False),
        sa.Column("credit_id", code(36), nullable=False),
        sa.Column("account_number", code(34), nullable=False),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.Column("currency", code(3), nullable=False),
        sa.Column("sender_name", sa.Text(), nullable=False),
        sa.Column("sender_account_number", code(34), nullable=False),
        sa.Column("sender_bank_code", code(16), nullable=False),
        sa.Column("transferred_at", sa.BigInteger(), nullable=True),
        sa.Column("arrived_at", sa.BigInteger(), nullable=False),
        sa.Column("narration", sa.Text(), nullable=False),
        sa.Column("account_id", code(36), nullable=True),
        sa.Column("order_id", code(36), nullable=True),
        sa.Column("attached", sa.Integer(), nullable=False),
        sa.Column("route_by", sa.BigInteger(), nullable=True),
        sa.CheckConstraint("amount > 0", name="advice_above_zero"),
        sa.CheckConstraint("(account_id IS NULL) = (order_id IS NULL)", name="advice_target_whole_or_absent"),
        sa.PrimaryKeyConstraint("rail", "session_id"),
        sa.UniqueConstraint("credit_id", name="credit_of_one_advice"),
    )
    index_where("advices_unrouted", "advices", ["route_by"], "route_by IS NOT NULL")
