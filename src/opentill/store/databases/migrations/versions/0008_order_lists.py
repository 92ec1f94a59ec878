"""What a merchant keeps with a cancel, and lists of orders. Code of 0004 goes on beside it."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    op.add_column("events", sa.Column("metadata", sa.Text(), nullable=True))
    # Of a large table they may have been built beforehand, beside its writers.
    by_creation = ["account_id", "created_at", "order_id"]
    by_customer = ["account_id", "customer_email", "created_at", "order_id"]
    op.create_index("orders_by_creation", "orders", by_creation, if_not_exists=True)
    op.create_index("orders_by_customer_email", "orders", by_customer, if_not_exists=True)
