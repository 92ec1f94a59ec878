"""What merchants want of orders that say nothing; and an index of the orders that still wait to fall due.

Code of before, which does not know the new column, leaves it at its default: its orders are swept as well.
"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"

LATE_MONEY = sa.String(length=8).with_variant(sa.String(length=8, collation="C"), "postgresql")
WAITING = "awaits_due = 1 AND due_at IS NOT NULL"


def upgrade() -> None:
    op.add_column("merchants", sa.Column("expires_in_seconds", sa.Integer(), nullable=True))
    op.add_column("merchants", sa.Column("late_money", LATE_MONEY, nullable=True))
    op.add_column("orders", sa.Column("awaits_due", sa.Integer(), server_default="1", nullable=False))
    op.execute("UPDATE orders SET awaits_due = 0 WHERE due_at IS NOT NULL AND status <> 'PENDING'")
    op.drop_index("orders_by_due", "orders")
    op.create_index(
        "orders_due", "orders", ["due_at"], sqlite_where=sa.text(WAITING), postgresql_where=sa.text(WAITING)
    )
