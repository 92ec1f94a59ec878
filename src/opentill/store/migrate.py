"""Bringing a database to the tables that this version of the code works with."""

from pathlib import Path
from typing import Final

from sqlalchemy import Connection, inspect, text

from opentill.store.interface import StoreUnusable

HEAD: Final = "0002"
"""The newest migration. Kept here so that an up-to-date database opens without loading Alembic."""

_SCRIPTS: Final = Path(__file__).parent / "migrations"


def bring_up_to_date(connection: Connection) -> None:
    """Run the migrations that are missing, inside the caller's transaction.

    Raises StoreUnusable when the database was written by a newer version of opentill.
    """
    found = _revision(connection)
    if found == HEAD:
        return
    from alembic import command  # noqa: PLC0415 - a third of a second that only migrations need
    from alembic.config import Config  # noqa: PLC0415
    from alembic.script import ScriptDirectory  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(_SCRIPTS))
    config.attributes["connection"] = connection
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    if found is not None and found not in known:
        raise StoreUnusable(
            f"This database is at schema {found}, which is newer than this opentill knows ({HEAD}); "
            "start the version that wrote it, or a later one."
        )
    command.upgrade(config, HEAD)


def _revision(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    return connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
