"""A PostgreSQL server that begins from a backup instead of an empty folder."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

from clusters import _HASTY, _SETTINGS, Cluster
from polling import until

ARCHIVE = "test ! -f {0}/%f && cp %p {0}/%f"
RESTORE = "cp {0}/%f %p"


def archiving(version: int, archive: Path) -> Cluster:
    """A server that copies each finished part of its log into this folder, which belongs to it."""
    return Cluster(
        version, _SETTINGS | _HASTY | {"archive_mode": "on", "archive_command": ARCHIVE.format(archive)}
    )


class Restored(Cluster):
    """A server on a copy of a base backup, recovered from the archived log up to a named point."""

    def __init__(self, version: int, backup: Path, archive: Path, point: str) -> None:
        self._backup = backup
        recovery = {
            "restore_command": RESTORE.format(archive),
            "recovery_target_name": point,
            "recovery_target_action": "promote",
        }
        super().__init__(version, _SETTINGS | _HASTY | recovery)
        until(self._has_recovered, "the database reached the point", 30)

    def _has_recovered(self) -> bool:
        """It answers readers long before it has read the whole log."""
        with psycopg.connect(self.url("postgres")) as connection:
            return connection.execute("SELECT pg_is_in_recovery()").fetchone() == (False,)

    def _init(self) -> None:
        shutil.copytree(self._backup, self.data)
        (self.data / "recovery.signal").touch()
        hand_over(self.data, self._owner)


def hand_over(folder: Path, owner: dict[str, int]) -> None:
    """Give a folder and all in it to whom PostgreSQL runs as."""
    if owner:
        for path in (folder, *folder.rglob("*")):
            os.chown(path, owner["user"], owner["group"])


@contextmanager
def stopping(server: Cluster) -> Iterator[Cluster]:
    """The server, stopped and removed at the end of the block."""
    try:
        yield server
    finally:
        server.stop()
