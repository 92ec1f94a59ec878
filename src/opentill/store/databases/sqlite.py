"""The embedded store: one SQLite file in WAL mode, every commit durable (synchronous=FULL).

One connection writes and one reads. Batches and snapshots run prepared set statements on the driver;
what is cold uses SQLAlchemy Core over the same two connections.
"""

import contextlib
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from threading import Lock
from typing import Final, TypeVar
from urllib.parse import quote

from sqlalchemy import Connection, Engine, NullPool, create_engine
from sqlalchemy.pool import StaticPool

from opentill.clock import Clock, SystemClock
from opentill.store.databases.composed import ComposedStore, translated
from opentill.store.databases.database import Run
from opentill.store.databases.dialect import SQLITE
from opentill.store.databases.file_lock import OPENING_PATIENCE_MILLISECONDS, FileLock
from opentill.store.databases.migrate import bring_up_to_date, expect_up_to_date
from opentill.store.errors import CommitUnknown, StoreError, StoreUnusable, Transient
from opentill.store.orders.batch import BatchRepository, SnapshotRepository
from opentill.store.orders.contract import Batch, Snapshot
from opentill.store.outbox.statements import OutboxStatements

PATIENCE_MILLISECONDS: Final = 500
"""How long a writer waits for its turn, and then for a foreign program that holds the file beside our
file lock. A write in good health takes a hundredth of it; the engine asks three times."""

_WRITER_PRAGMAS: Final = (
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = FULL",
    "PRAGMA foreign_keys = ON",
    "PRAGMA cache_size = -16384",
    "PRAGMA mmap_size = 4294967296",
    "PRAGMA wal_autocheckpoint = 16000",
    "PRAGMA journal_size_limit = 67108864",
)
_READER_PRAGMAS: Final = (
    "PRAGMA query_only = ON",
    "PRAGMA cache_size = -4096",
    "PRAGMA mmap_size = 4294967296",
)
_TRY_AGAIN: Final = frozenset(
    {
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_CANTOPEN,
    }
)
"""Primary result codes that speak of the machine, not of the statement."""

_STATEMENTS: Final = OutboxStatements(SQLITE)

T = TypeVar("T")


def open_sqlite(path: Path, clock: Clock | None = None, *, migrate: bool = True) -> "SqliteStore":
    """Open the database file, made and migrated as needed unless ``migrate`` is False.

    Raises StoreUnusable with the fix.
    """
    try:
        return SqliteStore(path, clock, migrate=migrate)
    except (StoreError, sqlite3.Error, OSError) as error:
        raise StoreUnusable(
            f"The database {path} can not be opened ({error}); check that the folder exists, is writable "
            "and that the file is an opentill database."
        ) from error


class SqliteStore(ComposedStore):
    """The store contract on one SQLite file. One thread may write and one may read at a time."""

    def __init__(self, path: Path, clock: Clock | None = None, *, migrate: bool = True):
        super().__init__(_STATEMENTS)
        self._file_lock = FileLock(path, clock or SystemClock(), PATIENCE_MILLISECONDS)
        # Of two that make a file a WAL database at once SQLite turns one away, whatever its patience.
        with self._file_lock.turn(OPENING_PATIENCE_MILLISECONDS):
            self._writer = _connect(path, _WRITER_PRAGMAS)
        self._writer_sql = _core(self._writer)
        self._write_lock = Lock()
        with self._transaction(OPENING_PATIENCE_MILLISECONDS):
            (bring_up_to_date if migrate else expect_up_to_date)(self._writer_sql)
        self._checkpointer = _connect(path, ())
        self._checkpoint_lock = Lock()
        self._reader = _connect(path, _READER_PRAGMAS)
        self._reader_sql = _core(self._reader)
        self._read_lock = Lock()

    @contextmanager
    def _transaction(self, patience_milliseconds: int | None = None) -> Iterator[None]:
        """Open a write transaction, committed at the end of the block unless the block has ended it."""
        with (
            self._write_lock,
            self._file_lock.turn(patience_milliseconds),
            translated(sqlite3.Error, _in_our_words),
        ):
            self._writer.execute("BEGIN IMMEDIATE")
            try:
                yield
                if self._writer.in_transaction:
                    self._writer.execute("COMMIT")
            finally:
                if self._writer.in_transaction:
                    self._writer.execute("ROLLBACK")

    def batch(self) -> AbstractContextManager[Batch]:
        """Open the write transaction in this process's turn; it is the lock on every order."""
        return self._batch()

    @contextmanager
    def _batch(self) -> Iterator["SqliteBatch"]:
        with self._transaction():
            batch = SqliteBatch(self._writer)
            yield batch
            if self._writer.in_transaction:
                self._writer.execute("ROLLBACK")

    def snapshot(self) -> AbstractContextManager[Snapshot]:
        """Open a read transaction on the connection that reads."""
        return self._snapshot()

    @contextmanager
    def _snapshot(self) -> Iterator[SnapshotRepository]:
        with self._read_lock, translated(sqlite3.Error, _in_our_words):
            self._reader.execute("BEGIN")
            try:
                yield SnapshotRepository(self._reader.execute, _STATEMENTS, lambda: self._reader_sql)
            finally:
                self._reader.execute("ROLLBACK")

    def read(self, question: Callable[[Connection], T]) -> T:
        """Ask over the connection that reads; one statement sees one moment."""
        with self._read_lock, translated(sqlite3.Error, _in_our_words):
            return question(self._reader_sql)

    def write(self, work: Callable[[Connection], T]) -> T:
        """Work in the turn of this process."""
        with self._transaction():
            return work(self._writer_sql)

    def ask(self, question: Callable[[Run], T]) -> T:
        """Ask over the connection that reads, prepared statements of the driver."""
        with self._read_lock, translated(sqlite3.Error, _in_our_words):
            return question(self._reader.execute)

    def work(self, work: Callable[[Run], T]) -> T:
        """Work in the turn of this process, by prepared statements of the driver."""
        with self._transaction():
            return work(self._writer.execute)

    def interrupt(self) -> None:
        """Do nothing: no wait of ours is longer than ``PATIENCE_MILLISECONDS``."""

    def checkpoint(self) -> None:
        """Move the log's pages beside the writer: left to it, that would stop every cancel meanwhile."""
        with self._checkpoint_lock, translated(sqlite3.Error, _in_our_words):
            self._checkpointer.execute("PRAGMA wal_checkpoint(PASSIVE)")

    def close(self) -> None:
        """Give back all connections and the file lock."""
        with self._checkpoint_lock:
            self._checkpointer.close()
        for lock, connection, core in (
            (self._read_lock, self._reader, self._reader_sql),
            (self._write_lock, self._writer, self._writer_sql),
        ):
            with lock:
                core.close()
                connection.close()
        self._file_lock.close()


class SqliteBatch(BatchRepository):
    """A batch whose write transaction is the lock on every order."""

    def __init__(self, connection: sqlite3.Connection):
        super().__init__(connection.execute, _STATEMENTS)
        self._connection = connection

    def commit(self) -> None:
        """Commit; CommitUnknown when that failed and no transaction is left to roll back."""
        try:
            self._connection.execute("COMMIT")
        except sqlite3.Error as error:
            if self._connection.in_transaction:
                raise
            raise CommitUnknown(str(error)) from error


def make_private(path: Path) -> None:
    """Make the file, readable by its owner only, unless it is there; SQLite's side files take its mode.

    A file that is there is not even opened: closing any handle on it would drop every lock that this
    process holds on it (POSIX), and another program could then delete the log that SQLite writes to.
    """
    with contextlib.suppress(FileExistsError):
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))


def read_only_engine(path: Path) -> Engine:
    """Make an engine whose connections can not write to the file."""
    return create_engine("sqlite://", creator=lambda: _connect_read_only(path), poolclass=NullPool)


def _connect_read_only(path: Path) -> sqlite3.Connection:
    name = f"file:{quote(str(path.absolute()))}?mode=ro"
    connection = sqlite3.connect(name, uri=True, check_same_thread=False)
    for pragma in ("query_only = ON", "mmap_size = 4294967296", "cache_size = -65536"):
        connection.execute(f"PRAGMA {pragma}")
    return connection


def _connect(path: Path, pragmas: tuple[str, ...]) -> sqlite3.Connection:
    make_private(path)
    connection = sqlite3.connect(
        path,
        timeout=PATIENCE_MILLISECONDS / 1000,
        isolation_level=None,
        check_same_thread=False,
        cached_statements=256,
    )
    for pragma in pragmas:
        connection.execute(pragma)
    return connection


def _core(connection: sqlite3.Connection) -> Connection:
    """Put SQLAlchemy Core over a connection that we open, begin and commit ourselves."""
    engine = create_engine(
        "sqlite://", creator=lambda: connection, poolclass=StaticPool, isolation_level="AUTOCOMMIT"
    )
    return engine.connect()


def _in_our_words(error: BaseException | None) -> StoreError:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    return (Transient if code in _TRY_AGAIN else StoreError)(str(error))
