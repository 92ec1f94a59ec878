"""Saved cards, shoppers' passwords, and which attempts save a card or charge a saved one."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def code(length: int) -> sa.types.TypeEngine[str]:
    return sa.String(length=length).with_variant(sa.String(length=length, collation="C"), "postgresql")


def upgrade() -> None:
    op.add_column("attempts", sa.Column("save_card", sa.Integer(), server_default="0", nullable=False))
    op.add_column("attempts", sa.Column("saved_card", code(64), nullable=True))
    op.create_table(
        "saved_cards",
        sa.Column("account_id", code(36), nullable=False),
        sa.Column("transaction_id", code(64), nullable=False),
        sa.Column("order_id", code(36), nullable=False),
        sa.Column("token_key_hash", code(64), nullable=False),
        sa.Column("token_key_sealed", sa.Text(), nullable=False),
        sa.Column("rail_token_sealed", sa.Text(), nullable=False),
        sa.Column("expiry", code(8), nullable=False),
        sa.Column("card_masked", code(24), nullable=False),
        sa.Column("card_brand", code(16), nullable=False),
        sa.Column("tokenized", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("customer_email", sa.Text(), nullable=False),
        sa.Column("confirmed_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("account_id", "transaction_id"),
        sa.UniqueConstraint("account_id", "token_key_hash", name="token_key_once"),
    )
    op.create_index("saved_cards_by_customer", "saved_cards", ["account_id", "customer_email"])
    op.create_index("saved_cards_by_time", "saved_cards", ["account_id", "created_at"])
    unconfirmed = sa.text("tokenized = 0 AND confirmed_at IS NULL")
    op.create_index(
        "saved_cards_unconfirmed",
        "saved_cards",
        ["created_at"],
        sqlite_where=unconfirmed,
        postgresql_where=unconfirmed,
    )
    op.create_table(
        "card_passwords",
        sa.Column("account_id", code(36), nullable=False),
        sa.Column("order_id", code(36), nullable=False),
        sa.Column("use", code(8), nullable=False),
        sa.Column("phone_hash", code(64), nullable=False),
        sa.Column("sent_at", sa.BigInteger(), nullable=False),
        sa.Column("sends", sa.Integer(), nullable=False),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("account_id", "order_id", "use"),
    )
    op.create_index("card_passwords_by_time", "card_passwords", ["sent_at"])
