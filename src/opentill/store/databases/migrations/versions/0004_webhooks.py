"""The feed of events, webhook endpoints and deliveries. Code of 0003 goes on beside it."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

ROOM = {"fillfactor": 80}


def code(length: int) -> sa.types.TypeEngine[str]:
    return sa.String(length=length).with_variant(sa.String(length=length, collation="C"), "postgresql")


def index_where(name: str, table: str, columns: list[str], condition: str, *, unique: bool = False) -> None:
    few = sa.text(condition)
    op.create_index(name, table, columns, unique=unique, sqlite_where=few, postgresql_where=few)


def upgrade() -> None:
    op.add_column("events", sa.Column("place", sa.BigInteger(), nullable=True))
    index_where("events_by_place", "events", ["account_id", "place"], "place IS NOT NULL", unique=True)
    index_where("events_unplaced", "events", ["at"], "place IS NULL")
    op.create_table(
        "feeds",
        sa.Column("account_id", code(36), nullable=False),
        sa.Column("place", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("place >= 0", name="places_count_from_one"),
        sa.PrimaryKeyConstraint("account_id"),
        postgresql_with=ROOM,
    )
    op.create_table(
        "leases",
        sa.Column("name", code(64), nullable=False),
        sa.Column("holder", code(64), nullable=False),
        sa.Column("held_until", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )
    op.create_table(
        "webhook_endpoints",
        sa.Column("account_id", code(36), nullable=False),
        sa.Column("endpoint_id", code(36), nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("events", sa.Text(), nullable=False),
        sa.Column("enabled", sa.Integer(), nullable=False),
        sa.Column("key_sealed", sa.LargeBinary(), nullable=False),
        sa.Column("next_key_sealed", sa.LargeBinary(), nullable=True),
        sa.Column("paused_at", sa.BigInteger(), nullable=True),
        sa.Column("failing_since", sa.BigInteger(), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("account_id", "endpoint_id"),
        postgresql_with=ROOM,
    )
    op.create_table(
        "webhook_bodies",
        sa.Column("account_id", code(36), nullable=False),
        sa.Column("order_id", code(36), nullable=False),
        sa.Column("sequence", sa.Integer(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("account_id", "order_id", "sequence"),
    )
    op.create_table(
        "webhook_deliveries",
        sa.Column("account_id", code(36), nullable=False),
        sa.Column("delivery_id", code(36), nullable=False),
        sa.Column("endpoint_id", code(36), nullable=False),
        sa.Column("event_id", code(36), nullable=False),
        sa.Column("order_id", code(36), nullable=False),
        sa.Column("sequence", sa.Integer(), nullable=False),
        sa.Column("type", code(32), nullable=False),
        sa.Column("state", code(16), nullable=False),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("next_try_at", sa.BigInteger(), nullable=True),
        sa.Column("claimed_until", sa.BigInteger(), nullable=True),
        sa.Column("status", sa.Integer(), nullable=True),
        sa.Column("response", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("state IN ('PENDING', 'DELIVERED', 'DEAD')", name="known_delivery_state"),
        sa.CheckConstraint(
            "(state = 'PENDING') = (next_try_at IS NOT NULL)", name="pending_has_its_next_try"
        ),
        sa.CheckConstraint("state = 'PENDING' OR claimed_until IS NULL", name="only_pending_is_claimed"),
        sa.PrimaryKeyConstraint("account_id", "delivery_id"),
        postgresql_with=ROOM,
    )
    op.create_index("deliveries_by_event", "webhook_deliveries", ["account_id", "order_id", "sequence"])
    op.create_index("deliveries_by_time", "webhook_deliveries", ["account_id", "created_at"])
    index_where(
        "deliveries_due",
        "webhook_deliveries",
        ["account_id", "endpoint_id", "next_try_at"],
        "state = 'PENDING'",
    )
    index_where("deliveries_dead", "webhook_deliveries", ["account_id"], "state = 'DEAD'")
