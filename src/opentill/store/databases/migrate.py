"""Bringing a database to the tables that this version of the code works with."""

from pathlib import Path
from typing import Final

from sqlalchemy import Connection, inspect, select, text

from opentill.store import schema
from opentill.store.errors import StoreUnusable

HEAD: Final = "0015"
"""The newest migration. Kept here so that an up-to-date database opens without loading Alembic."""

_SCRIPTS: Final = Path(__file__).parent / "migrations"


def bring_up_to_date(connection: Connection) -> None:
    """Run the migrations that are missing, inside the caller's transaction.

    Raises StoreUnusable when a newer version has changed the tables so that this one can not use them.
    """
    if is_usable(connection):
        return
    from alembic import command  # noqa: PLC0415 - a third of a second that only migrations need
    from alembic.config import Config  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(_SCRIPTS))
    config.attributes["connection"] = connection
    command.upgrade(config, HEAD)


def expect_up_to_date(connection: Connection) -> None:
    """Raise StoreUnusable unless this version can use the tables as they are."""
    if not is_usable(connection):
        raise StoreUnusable(
            f"This database is at schema {revision(connection) or 'none'} and this opentill needs {HEAD}; "
            "run `opentill migrate`."
        )


def is_usable(connection: Connection) -> bool:
    """Say whether this version can use the tables as they are; if not, its migrations are missing.

    Raises StoreUnusable when a newer version has changed them so that this one can not use them.
    """
    found = revision(connection)
    return found == HEAD or _serves_older_code(connection, found)


def revision(connection: Connection) -> str | None:
    """Read the newest migration that has been run on this database; None before the first."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    return connection.execute(text("SELECT version_num FROM alembic_version")).scalar()


def _serves_older_code(connection: Connection, found: str | None) -> bool:
    """Say whether a newer version made these tables and left them good for this one (rolling upgrades)."""
    if found is None or found <= HEAD:
        return False
    oldest = connection.execute(select(schema.schema_support.c.oldest_code)).scalar_one()
    if oldest > HEAD:
        raise StoreUnusable(
            f"This database is at schema {found}, which needs an opentill that knows {oldest}; "
            f"this one knows {HEAD}. Start the version that migrated it, or a later one."
        )
    return True
