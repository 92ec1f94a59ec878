"""What a database says of itself, read without opening a store on it."""

from dataclasses import dataclass

from sqlalchemy import Connection, select, text

from opentill.store import schema
from opentill.store.accounts.contract import Mode


@dataclass(frozen=True, slots=True)
class Stamp:
    """What was stamped into the database when it was made."""

    mode: Mode
    secret_fingerprint: str


def stamp(connection: Connection) -> Stamp | None:
    """The stamp; None before the first server has started on it."""
    wanted = select(schema.installation.c.mode, schema.installation.c.secret_fingerprint)
    found = connection.execute(wanted).first()
    return None if found is None else Stamp(Mode(found.mode), found.secret_fingerprint)


def database_time(connection: Connection) -> int | None:
    """The time of the database's machine in UTC milliseconds; None for a file, which has no other machine."""
    if connection.dialect.name == "sqlite":
        return None
    now = "SELECT CAST(extract(epoch FROM clock_timestamp()) * 1000 AS bigint)"
    return int(connection.execute(text(now)).scalar_one())
