"""What a database says of time: its own clock, and the last time that servers on it have seen (laws 7)."""

from sqlalchemy import Connection, select, text

from opentill.clock import certain
from opentill.store import schema
from opentill.store.accounts.contract import Mode
from opentill.store.databases.dialect import dialect_of


def database_time(connection: Connection) -> int | None:
    """Read the clock of the database's machine in UTC milliseconds; None for a file on this one."""
    asked = dialect_of(connection).time
    return int(connection.execute(text(asked)).scalar_one()) if asked else None


def certain_time(connection: Connection, now: int) -> int:
    """Return up to when time has certainly come, as of this transaction; see ``Facts.certain``."""
    live = schema.installation.c.mode == Mode.LIVE.value
    return certain(now, connection.execute(select(schema.installation.c.seen_at).where(live)).scalar())
