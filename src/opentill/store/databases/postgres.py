"""The production store: PostgreSQL 15 or later, shared by any number of server processes.

Each process has two connections, one that writes and one that reads. Both are opened again when they
break: whatever was under way is rolled back by the server, and the engine runs it again.
"""

import os
import socket
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from threading import Lock
from typing import Any, Final, TypeVar

import psycopg
from psycopg.pq import TransactionStatus
from sqlalchemy import Connection, Engine, NullPool, create_engine
from sqlalchemy.pool import StaticPool

from opentill.clock import Clock, SystemClock
from opentill.store.databases.composed import ComposedStore, translated
from opentill.store.databases.connecting import connect, expect_one_session
from opentill.store.databases.database import Cursor, Run
from opentill.store.databases.dialect import POSTGRES
from opentill.store.databases.migrate import bring_up_to_date, expect_up_to_date
from opentill.store.databases.urls import shown
from opentill.store.errors import CommitUnknown, LockTimeout, StoreError, StoreUnusable, Transient
from opentill.store.orders.batch import BatchRepository, SnapshotRepository
from opentill.store.orders.contract import Batch, Snapshot
from opentill.store.outbox.statements import OutboxStatements

OLDEST_SERVER: Final = 150000
_PLANNING: Final = (
    "SET LOCAL enable_seqscan = off; SET LOCAL enable_hashjoin = off; SET LOCAL enable_mergejoin = off; "
    "SET LOCAL jit = off"
)
"""A set is small and its table is not, also where a statement was planned while the table was empty.

Compiling a statement takes longer than running it ever does.
"""

_BEGIN_WRITING: Final = (
    "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; SET LOCAL lock_timeout = '2s'; "
    f"SET LOCAL idle_in_transaction_session_timeout = '10s'; {_PLANNING}"
)
"""A process that hangs in its transaction gives up its locks in ten seconds; whoever waits asks again."""

_BEGIN_READING: Final = f"BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; {_PLANNING}"

_BEGIN_MIGRATING: Final = "BEGIN; SET LOCAL lock_timeout = '500ms'"
_MIGRATION_TRIES: Final = 15
_MIGRATION_PAUSE_MILLISECONDS: Final = 2000
"""Tables that others work with are asked for again and again: whoever comes after a waiting migration waits
behind it, so it never waits long, and leaves the others much more time than it takes."""
_ONE_MIGRATES: Final = POSTGRES.take_turn.format(number=8480)
"""Keeps processes that start together from migrating side by side; that one would fail is not relied on."""

_NOT_HERE: Final = frozenset({"25006", "0A000"})
"""Read only, or a standby, or tables changed under a prepared statement: another connection may do better."""
_GIVEN_UP: Final = frozenset({"25P03", "25P04"})
"""The server ended our transaction because we took too long in it."""
_LIMIT_EXCEEDED: Final = "54"
_LOCK_NOT_AVAILABLE: Final = "55P03"
_STATEMENTS: Final = OutboxStatements(POSTGRES)

T = TypeVar("T")


def open_postgres(url: str, *, prepare: bool = True, migrate: bool = True) -> "PostgresStore":
    """Open the database, migrated as needed unless ``migrate`` is False.

    ``prepare`` keeps statements prepared on the server; a PgBouncer older than 1.21 can not.
    Raises StoreUnusable with the fix.
    """
    store = PostgresStore(url, prepare=prepare)
    try:
        store.make_ready(migrate=migrate)
    except (StoreError, StoreUnusable) as error:
        store.close()
        if isinstance(error, StoreUnusable):
            raise
        raise StoreUnusable(
            f"The database {shown(url)} can not be opened ({error}); check that it exists, that PostgreSQL "
            "listens there and that this user may create tables in it."
        ) from error
    return store


class PostgresStore(ComposedStore):
    """The store contract on PostgreSQL. One thread may write and one may read at a time."""

    def __init__(self, url: str, clock: Clock | None = None, *, prepare: bool = True):
        super().__init__(_STATEMENTS)
        self._clock = clock or SystemClock()
        self._writer = _Session(url, prepare=prepare)
        self._reader = _Session(url, prepare=prepare)

    def make_ready(self, *, migrate: bool) -> None:
        """Check the server and bring the tables up to date, or only check that they are.

        Raises StoreUnusable when they can not be used, StoreError when the database says no.
        """
        for tries_left in reversed(range(_MIGRATION_TRIES)):
            try:
                with self._writer.transaction(_BEGIN_MIGRATING):
                    self._writer.check_server()
                    if migrate:
                        self._writer.run(_ONE_MIGRATES, ())
                        bring_up_to_date(self._writer.core)
                        self._writer.commit()
                    else:
                        expect_up_to_date(self._writer.core)
            except LockTimeout as error:
                if not tries_left:
                    raise StoreUnusable(
                        f"The tables are in use by a long transaction ({error}); end it, then run "
                        "`opentill migrate` again."
                    ) from error
                self._clock.pause(_MIGRATION_PAUSE_MILLISECONDS)
            else:
                return

    def batch(self) -> AbstractContextManager[Batch]:
        """Open a transaction on the connection that writes; rows are locked as they are read."""
        return self._batch()

    @contextmanager
    def _batch(self) -> Iterator["PostgresBatch"]:
        with self._writer.transaction(_BEGIN_WRITING):
            yield PostgresBatch(self._writer)

    def snapshot(self) -> AbstractContextManager[Snapshot]:
        """Open a read only transaction, all of one moment, on the connection that reads."""
        return self._snapshot()

    @contextmanager
    def _snapshot(self) -> Iterator[SnapshotRepository]:
        with self._reader.transaction(_BEGIN_READING):
            yield SnapshotRepository(self._reader.run, _STATEMENTS, lambda: self._reader.core)

    def read(self, question: Callable[[Connection], T]) -> T:
        """Ask in a transaction that sees one moment."""
        with self._reader.transaction(_BEGIN_READING):
            return question(self._reader.core)

    def write(self, work: Callable[[Connection], T]) -> T:
        """Work, then commit; raises CommitUnknown when the answer to COMMIT was lost."""
        with self._writer.transaction(_BEGIN_WRITING):
            done = work(self._writer.core)
            self._writer.commit()
            return done

    def ask(self, question: Callable[[Run], T]) -> T:
        """Ask in a transaction that sees one moment, by statements prepared on the server."""
        with self._reader.transaction(_BEGIN_READING):
            return question(self._reader.run)

    def work(self, work: Callable[[Run], T]) -> T:
        """Work by statements prepared on the server, then commit as ``write`` does."""
        with self._writer.transaction(_BEGIN_WRITING):
            done = work(self._writer.run)
            self._writer.commit()
            return done

    def interrupt(self) -> None:
        """Cut the connection that writes: a COMMIT may wait for its standby for ever."""
        self._writer.cut()

    def checkpoint(self) -> None:
        """Do nothing: PostgreSQL has a process of its own for it."""

    def close(self) -> None:
        """Give back both connections."""
        self._reader.close()
        self._writer.close()


class PostgresBatch(BatchRepository):
    """A batch that locks its orders row by row, in key order."""

    def __init__(self, line: "_Session"):
        super().__init__(line.run, _STATEMENTS)
        self._line = line

    def commit(self) -> None:
        """Commit on the connection that writes; see ``_Session.commit`` for what can go wrong."""
        self._line.commit()


class _Session:
    """One connection, opened when it is needed and opened again after it broke. One thread at a time."""

    def __init__(self, url: str, *, prepare: bool):
        self._url = url
        self._prepare = prepare
        self._lock = Lock()
        self._connection: psycopg.Connection[Any] | None = None
        self._cursor: psycopg.RawCursor[Any] | None = None
        self._core: Connection | None = None
        self._warning = ""
        self._cut = False

    @contextmanager
    def transaction(self, begin: str) -> Iterator[None]:
        """Open a transaction, rolled back at the end of the block unless the block has committed it."""
        with self._lock, translated(psycopg.Error, _in_our_words):
            try:
                self._begin(begin)
                yield
            except psycopg.Error as error:
                if error.sqlstate in _NOT_HERE:
                    self._hang_up()
                raise
            finally:
                self._leave()

    def _begin(self, begin: str) -> None:
        """Begin; a connection that broke while nobody used it is noticed here, where nothing is lost."""
        if self._cut:
            raise Transient("the server stops")
        if self._connection is not None:
            try:
                self._connection.execute(begin, prepare=False)
            except psycopg.Error:
                self._hang_up()
            else:
                return
        self._connection = self._connect()
        self._connection.execute(begin, prepare=False)

    def _connect(self) -> psycopg.Connection[Any]:
        connection = connect(self._url, autocommit=True)
        connection.add_notice_handler(self._heard)
        if self._prepare:
            expect_one_session(connection)
        else:
            connection.prepare_threshold = None
        self._cursor = psycopg.RawCursor(connection)
        self._core = _core(connection)
        return connection

    def _heard(self, notice: psycopg.errors.Diagnostic) -> None:
        if notice.severity_nonlocalized == "WARNING":
            self._warning = notice.message_primary or "a warning"

    def _leave(self) -> None:
        connection = self._connection
        if connection is None or connection.pgconn.transaction_status == TransactionStatus.IDLE:
            return
        with suppress(psycopg.Error):
            connection.execute("ROLLBACK", prepare=False)
        if connection.pgconn.transaction_status != TransactionStatus.IDLE:
            self._hang_up()

    def run(self, statement: str, parameters: tuple[Any, ...]) -> Cursor:
        """Run a statement; its rows must be fetched before the next one runs."""
        assert self._cursor is not None
        return self._cursor.execute(statement, parameters, prepare=self._prepare)

    @property
    def core(self) -> Connection:
        """Give SQLAlchemy Core over the open connection, in the transaction that is under way."""
        assert self._core is not None
        return self._core

    def check_server(self) -> None:
        """Raise StoreUnusable for a server that is too old, or that acknowledges what it may yet forget."""
        assert self._connection is not None
        if self._connection.info.server_version < OLDEST_SERVER:
            raise StoreUnusable("opentill needs PostgreSQL 15 or later; upgrade the server of this database.")
        found = self.run("SHOW synchronous_commit", ()).fetchone()
        if found[0] == "off":
            raise StoreUnusable(
                "synchronous_commit is off, so this database would forget payments that were acknowledged; "
                "turn it on for this server, database and user."
            )

    def commit(self) -> None:
        """Make it a fact; raises CommitUnknown when no answer came, or a warning with it.

        The one warning that COMMIT gives is that it stopped waiting for the standby (laws 2).
        """
        connection = self._connection
        assert connection is not None
        self._warning = ""
        try:
            done = connection.execute("COMMIT", prepare=False).statusmessage
        except psycopg.Error as error:
            if connection.closed:
                raise CommitUnknown(str(error)) from error
            raise
        if self._warning:
            raise CommitUnknown(self._warning)
        if done != "COMMIT":
            raise StoreError("the transaction had failed before its commit")

    def cut(self) -> None:
        """End the connection for good, under whoever uses it: from another thread, without asking the server.

        A cancel sent to the server would end the wait for the standby, which must not look like success.
        """
        self._cut, connection = True, self._connection
        if connection is not None:
            with suppress(psycopg.Error, OSError), socket.socket(fileno=os.dup(connection.fileno())) as wire:
                wire.shutdown(socket.SHUT_RDWR)

    def _hang_up(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._connection = self._cursor = self._core = None

    def close(self) -> None:
        """Give back the connection."""
        with self._lock:
            self._hang_up()


def read_only_engine(url: str) -> Engine:
    """Make an engine whose connections can not write and see one moment each."""
    return create_engine(
        "postgresql+psycopg://",
        creator=lambda: connect(url),
        poolclass=NullPool,
        execution_options={"isolation_level": "REPEATABLE READ", "postgresql_readonly": True},
    )


def _core(connection: psycopg.Connection[Any]) -> Connection:
    """Put SQLAlchemy Core over a connection that we open, begin and commit ourselves."""
    engine = create_engine(
        "postgresql+psycopg://",
        creator=lambda: connection,
        poolclass=StaticPool,
        pool_reset_on_return=None,
        isolation_level="AUTOCOMMIT",
    )
    return engine.connect()


def _in_our_words(error: BaseException | None) -> StoreError:
    """Say what happened, by the server's first line: it names no row, its further ones name all values."""
    diagnosis = error.diag.message_primary if isinstance(error, psycopg.Error) else None
    told = " ".join((diagnosis or str(error)).split())
    state = getattr(error, "sqlstate", None) or ""
    if state == _LOCK_NOT_AVAILABLE:
        return LockTimeout(told)
    of_the_machine = isinstance(error, psycopg.OperationalError | psycopg.InterfaceError)
    again = state in _NOT_HERE | _GIVEN_UP or (of_the_machine and not state.startswith(_LIMIT_EXCEEDED))
    return (Transient if again else StoreError)(told)
