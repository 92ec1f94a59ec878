"""Refunds and returns that wait for the rail to close their id, and those that were paid after their end.

Code of before goes on beside this: it knows neither status, and reads the older one that stands in its place.
A return of which more tries began than were answered has had one that may still be paid.
"""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"

STATUS = sa.String(length=16).with_variant(sa.String(length=16, collation="C"), "postgresql")


def upgrade() -> None:
    op.add_column("refunds", sa.Column("finer_status", STATUS, nullable=True))
    op.add_column("returns", sa.Column("finer_status", STATUS, nullable=True))
    op.add_column("returns", sa.Column("unanswered", sa.Integer(), nullable=False, server_default="0"))
    op.execute(
        """
        UPDATE returns
           SET unanswered = 1
         WHERE status IN ('DUE', 'RUNNING', 'UNKNOWN', 'PARKED')
           AND (SELECT sum(CASE e.type WHEN 'return_tried' THEN 1 ELSE -1 END)
                  FROM events AS e
                 WHERE e.account_id = returns.account_id AND e.order_id = returns.order_id
                   AND e.transaction_id = returns.transaction_id
                   AND e.type IN ('return_tried', 'return_refused', 'return_parked'))
               > CASE status WHEN 'RUNNING' THEN 1 ELSE 0 END
        """
    )
