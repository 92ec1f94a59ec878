"""What a refund was asked to give back in all, with each of its parts.

Code of before goes on beside this: it leaves both columns empty, and a refund of its own counts as a whole
one. The parts that are here already are brought together by the moment at which they began.
"""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"

REFUND_ID = sa.String(length=36).with_variant(sa.String(length=36, collation="C"), "postgresql")


def upgrade() -> None:
    op.add_column("refunds", sa.Column("whole_id", REFUND_ID, nullable=True))
    op.add_column("refunds", sa.Column("whole_amount", sa.BigInteger(), nullable=True))
    op.execute(
        """
        UPDATE refunds
           SET whole_id = (SELECT e.refund_id
                             FROM refunds AS f
                             JOIN events AS e ON e.account_id = f.account_id AND e.order_id = f.order_id
                              AND e.refund_id = f.refund_id AND e.type = 'refund_started'
                            WHERE f.account_id = refunds.account_id AND f.order_id = refunds.order_id
                              AND f.started_at = refunds.started_at AND f.from_credit IS NOT NULL
                            ORDER BY e.sequence
                            LIMIT 1)
         WHERE from_credit IS NOT NULL
        """
    )
