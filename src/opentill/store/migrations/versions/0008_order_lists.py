"""What a merchant keeps with a cancel, and lists of orders. Code of 0004 goes on beside it."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0004"


def upgrade() -> None:
    op.add_column("events", sa.Column("metadata", sa.Text(), nullable=True))
    op.create_index("orders_by_creation", "orders", ["account_id", "created_at", "order_id"])
    op.create_index(
        "orders_by_customer_email", "orders", ["account_id", "customer_email", "created_at", "order_id"]
    )
