"""PostgreSQL beside SQLite: keys compared byte by byte, room to update in place; and who may still work here."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

CODES = {
    "installation": {"mode": 16, "secret_fingerprint": 64, "default_account_id": 36},
    "merchants": {"account_id": 36},
    "sub_accounts": {"account_id": 36, "sub_account_id": 36},
    "clients": {"account_id": 36, "client_id": 36, "secret_hash": 64},
    "tokens": {"account_id": 36, "jti": 36, "client_id": 36, "refresh_hash": 64},
    "idempotency_keys": {
        "account_id": 36, "key": 255, "fingerprint": 64, "command_id": 36, "reason": 64,
    },
    "orders": {
        "account_id": 36, "order_id": 36, "reference": 255, "status": 16, "currency": 3, "sub_account_id": 36,
        "due_action": 8, "late_money": 8, "paid_by": 64,
    },
    "attempts": {
        "account_id": 36, "transaction_id": 64, "order_id": 36, "status": 16, "card_masked": 24,
        "card_brand": 16, "call_kind": 16, "call_key": 255, "response_code": 64,
    },
    "refunds": {
        "account_id": 36, "refund_id": 36, "order_id": 36, "transaction_id": 64, "status": 16,
        "account_number": 10, "bank_code": 16, "call_kind": 16, "call_key": 255, "response_code": 64,
    },
    "events": {
        "account_id": 36, "order_id": 36, "event_id": 36, "type": 32, "before": 16, "after": 16,
        "actor_kind": 16, "actor_id": 64, "reason": 64, "note": 255, "transaction_id": 64, "refund_id": 36,
        "currency": 3, "beneficiary": 36,
    },
    "ledger_entries": {"account_id": 36, "order_id": 36, "ledger_account": 64, "currency": 3},
}  # fmt: skip


def upgrade() -> None:
    op.create_table(
        "schema_support",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column(
            "oldest_code",
            sa.String(length=32).with_variant(sa.String(length=32, collation="C"), "postgresql"),
            nullable=False,
        ),
        sa.CheckConstraint("id = 1", name="one_schema"),
        sa.PrimaryKeyConstraint("id"),
    )
    op.execute("INSERT INTO schema_support (id, oldest_code) VALUES (1, '0003')")
    if op.get_context().dialect.name == "postgresql":
        _compare_byte_by_byte()
        op.execute("ALTER TABLE orders SET (fillfactor = 80)")
        op.execute("ALTER TABLE idempotency_keys SET (fillfactor = 80)")


def _compare_byte_by_byte() -> None:
    for table, columns in CODES.items():
        changes = ", ".join(
            f'ALTER COLUMN "{name}" TYPE varchar({length}) COLLATE "C"' for name, length in columns.items()
        )
        op.execute(f"ALTER TABLE {table} {changes}")
