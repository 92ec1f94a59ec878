"""Endpoints that are paused are counted and told of in the feed. Code of 0004 goes on beside it."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"


def code(length: int) -> sa.types.TypeEngine[str]:
    return sa.String(length=length).with_variant(sa.String(length=length, collation="C"), "postgresql")


def upgrade() -> None:
    op.add_column(
        "webhook_endpoints", sa.Column("failed_tries", sa.Integer(), server_default="0", nullable=False)
    )
    paused = sa.text("paused_at IS NOT NULL")
    op.create_index(
        "endpoints_paused", "webhook_endpoints", ["account_id"], sqlite_where=paused, postgresql_where=paused
    )
    op.create_table(
        "endpoint_events",
        sa.Column("account_id", code(36), nullable=False),
        sa.Column("place", sa.BigInteger(), nullable=False),
        sa.Column("event_id", code(36), nullable=False),
        sa.Column("endpoint_id", code(36), nullable=False),
        sa.Column("type", code(32), nullable=False),
        sa.Column("actor_kind", code(16), nullable=False),
        sa.Column("actor_id", code(64), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("account_id", "place"),
    )
