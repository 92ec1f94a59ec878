"""The last time that servers have seen, by which a clock that is behind or far ahead is noticed.

Code of before goes on beside this: it neither reads the column nor moves it.
"""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"


def upgrade() -> None:
    op.add_column("installation", sa.Column("seen_at", sa.BigInteger(), nullable=True))
