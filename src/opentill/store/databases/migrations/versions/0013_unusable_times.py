"""The bank's time of a transfer as it was written, where it can not be used and the arrival counts instead.

Code of before goes on beside this: it leaves the column empty.
"""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    op.add_column("advices", sa.Column("unusable_time", sa.Text(), server_default="", nullable=False))
