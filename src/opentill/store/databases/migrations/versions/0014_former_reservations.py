"""Who had an account number before, and whether the bank's time of a transfer counts.

Code of before goes on beside this: a number that it gives to another order leaves no former reservation, so
that a transfer of the time before counts from its arrival, as all did until now.
"""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"


def code(length: int) -> sa.types.TypeEngine[str]:
    return sa.String(length=length).with_variant(sa.String(length=length, collation="C"), "postgresql")


def upgrade() -> None:
    op.create_table(
        "former_reservations",
        sa.Column("account_number", code(10), nullable=False),
        sa.Column("reserved_at", sa.BigInteger(), nullable=False),
        sa.Column("ended_at", sa.BigInteger(), nullable=False),
        sa.Column("account_id", code(36), nullable=False),
        sa.Column("order_id", code(36), nullable=False),
        sa.CheckConstraint("reserved_at < ended_at", name="reservation_lasted"),
        sa.PrimaryKeyConstraint("account_number", "reserved_at"),
    )
    op.add_column("advices", sa.Column("time_counts", sa.Integer(), server_default="1", nullable=False))
