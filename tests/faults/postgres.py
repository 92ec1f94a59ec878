"""A PostgreSQL that may die, and what it says of itself and our tables, past all code of ours."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final

import psycopg
from psycopg.rows import dict_row

from clusters import _HASTY, _SETTINGS, WHEEL_VERSION, Cluster, cluster
from opentill.store.accounts.contract import Mode
from opentill.store.databases.postgres import open_postgres
from races.books import Books, Row, _by_order, until
from store_factories import NOW

LOOK_SECONDS: Final = 0.01
KILLED_SECONDS: Final = 10


def installed(version: int = 18) -> str:
    """The URL of a new database with all tables, installed as a sandbox."""
    return install(cluster(version).fresh_database())


def install(url: str) -> str:
    """The same URL, once the database has all tables and is installed as a sandbox."""
    store = open_postgres(url)
    store.accounts.install(Mode.SANDBOX, "key-fingerprint", NOW)
    store.close()
    return url


class MortalCluster(Cluster):
    """A server of its own that a test may kill and start again on the same data and port."""

    def __init__(self) -> None:
        super().__init__(WHEEL_VERSION, _SETTINGS | _HASTY)

    close = Cluster.stop

    def crash(self) -> None:
        """Stop at once, without a checkpoint, as ``pg_ctl stop -m immediate`` does."""
        os.kill(self._server.pid, signal.SIGQUIT)
        self._server.wait(KILLED_SECONDS)

    def start_again(self, *, standby: bool = False) -> None:
        """Start on what the crash left, which a standby may only read; returns when connections are taken."""
        self._keeper.kill()  # it guards the server that is gone; the next one gets its own
        self._keeper.communicate()
        if standby:
            (self.data / "standby.signal").touch()
            os.chown(self.data / "standby.signal", *self._user())
        folder = {"port": str(self.port), "unix_socket_directories": str(self._folder)}
        self._launch(_SETTINGS | _HASTY | folder)
        until(self._takes_connections)

    def _user(self) -> tuple[int, int]:
        status = self.data.stat()
        return status.st_uid, status.st_gid

    def _takes_connections(self) -> bool:
        assert self._server.poll() is None, self.log_file.read_text(encoding="utf-8")
        try:
            ask(self.url("postgres"), "SELECT")
        except psycopg.OperationalError:
            return False
        return True


def ask(url: str, statement: str, *values: object) -> list[tuple[Any, ...]]:
    """The rows of a statement that runs in a transaction of its own; none if it has none."""
    with psycopg.connect(url, autocommit=True) as database:
        found = database.execute(statement.encode(), values or None)
        return found.fetchall() if found.description else []


def waiting_for_locks(url: str) -> int:
    """Return how many sessions of this database wait for a lock that another one holds."""
    [(count,)] = ask(
        url,
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
        " AND cardinality(pg_blocking_pids(pid)) > 0",
    )
    return int(count)


def sessions(url: str) -> list[int]:
    """The process ids of the program's connections to this database."""
    found = ask(
        url,
        "SELECT pid FROM pg_stat_activity"
        " WHERE datname = current_database() AND application_name = 'opentill'",
    )
    return [int(pid) for (pid,) in found]


def terminate(url: str) -> int:
    """End all the program's connections to this database; returns how many there were."""
    return sum(
        bool(*row) for pid in sessions(url) for row in ask(url, "SELECT pg_terminate_backend(%s)", pid)
    )


@contextmanager
def meanwhile(look: Callable[[], object]) -> Iterator[None]:
    """Look again and again, on a thread of its own, until the block has ended."""
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(LOOK_SECONDS):
            with suppress(psycopg.Error):
                look()

    watching = threading.Thread(target=watch)
    watching.start()
    try:
        yield
    finally:
        ended.set()
        watching.join()


def deadlocks(url: str) -> int:
    """Return how many deadlocks this database has had to break."""
    [(count,)] = ask(
        url, "SELECT pg_stat_get_db_deadlocks(oid) FROM pg_database WHERE datname = current_database()"
    )
    return int(count)


def event_types(url: str, reference: str) -> list[str]:
    """Return what happened to the order, in its order."""
    found = ask(
        url,
        "SELECT e.type FROM events AS e JOIN orders AS o USING (account_id, order_id)"
        " WHERE o.reference = %s ORDER BY e.sequence",
        reference,
    )
    return [str(type_) for (type_,) in found]


def read_books(url: str) -> Books:
    """The books in the database and those of the sandbox's rail beside them, as of one moment."""
    with psycopg.connect(url, row_factory=dict_row) as database:
        database.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")

        def rows(statement: str) -> list[Row]:
            return database.execute(statement.encode()).fetchall()

        return Books(
            orders={row["order_id"]: row for row in rows("SELECT * FROM orders")},
            attempts=_by_order(rows("SELECT * FROM attempts ORDER BY started_at")),
            refunds=_by_order(rows("SELECT * FROM refunds ORDER BY started_at")),
            events=_by_order(rows("SELECT * FROM events ORDER BY sequence")),
            entries=_by_order(rows("SELECT * FROM ledger_entries ORDER BY sequence, line")),
            at_the_rail={row["transaction_id"]: row for row in rows("SELECT * FROM rail_payments")},
            paid_out={row["payout_id"]: row for row in rows("SELECT * FROM rail_payouts")},
        )


def calls_under_way(url: str) -> int:
    """Count the attempts that wait for a rail's answer or for their money to go back; refunds as well."""
    [(count,)] = ask(
        url,
        "SELECT count(a.call_until) FROM (SELECT call_until FROM attempts"
        " UNION ALL SELECT call_until FROM refunds) AS a",
    )
    return int(count)
