"""What a payment costs and who shares in it, with the order and with each event that moves it.

Code of before goes on beside this: what it books has no parts, and so gives none back when it is refunded. A
refund of a shared payment it takes from the order's own account alone.
"""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    for table in ("orders", "events"):
        op.add_column(table, sa.Column("fee", sa.BigInteger(), server_default="0", nullable=False))
        op.add_column(table, sa.Column("shares", sa.Text(), nullable=True))
