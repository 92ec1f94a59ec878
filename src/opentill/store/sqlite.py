"""The embedded store: one SQLite file in WAL mode, every commit durable (synchronous=FULL).

One connection writes and one reads. Batches and snapshots run prepared set statements on the driver;
the cold verbs of ``Directory`` use SQLAlchemy Core over the same two connections.
"""

import sqlite3
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from threading import Lock
from typing import Any, Final, TypeVar

import msgspec
from sqlalchemy import Connection, create_engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import StaticPool

from opentill.clock import Clock, SystemClock
from opentill.domain.decisions import Change
from opentill.domain.events import Event
from opentill.domain.ledger import entries_for
from opentill.domain.order import Attempt, Order, Refund
from opentill.store import rows, statements
from opentill.store.directory import Directory
from opentill.store.files import make_private
from opentill.store.interface import (
    Balance,
    Batch,
    CommitUnknown,
    Facts,
    KeyClaim,
    KeyRecord,
    Name,
    OrderView,
    Reply,
    Snapshot,
    StoreError,
    StoreUnusable,
    TokenId,
    TransactionFilter,
    TransactionView,
    Transient,
    Witness,
)
from opentill.store.migrate import bring_up_to_date
from opentill.store.transactions import select_transactions
from opentill.store.turnstile import Turnstile

PATIENCE_MILLISECONDS: Final = 500
"""How long a writer waits for its turn, and then for a foreign program that holds the file beside our
turnstile. A write in good health takes a hundredth of it; the engine asks three times."""

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

_as_set = msgspec.json.Encoder().encode
T = TypeVar("T")


def open_sqlite(path: Path, clock: Clock | None = None) -> "SqliteStore":
    """Open the database file, made and migrated as needed; raises StoreUnusable with the fix."""
    try:
        return SqliteStore(path, clock)
    except (StoreError, sqlite3.Error, OSError) as error:
        raise StoreUnusable(
            f"The database {path} can not be opened ({error}); check that the folder exists, is writable "
            "and that the file is an opentill database."
        ) from error


class SqliteStore(Directory):
    """The store contract on one SQLite file. One thread may write and one may read at a time."""

    def __init__(self, path: Path, clock: Clock | None = None):
        self._turnstile = Turnstile(path, clock or SystemClock(), PATIENCE_MILLISECONDS)
        self._writer = _connect(path, _WRITER_PRAGMAS)
        self._writer_sql = _core(self._writer)
        self._write_lock = Lock()
        with self._transaction():
            bring_up_to_date(self._writer_sql)
        self._checkpointer = _connect(path, ())
        self._checkpoint_lock = Lock()
        self._reader = _connect(path, _READER_PRAGMAS)
        self._reader_sql = _core(self._reader)
        self._read_lock = Lock()

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        """A write transaction: committed at the end of the block unless the block has ended it."""
        with self._write_lock, self._turnstile.turn(), _translated():
            self._writer.execute("BEGIN IMMEDIATE")
            try:
                yield
                if self._writer.in_transaction:
                    self._writer.execute("COMMIT")
            finally:
                if self._writer.in_transaction:
                    self._writer.execute("ROLLBACK")

    def batch(self) -> AbstractContextManager[Batch]:
        """See ``Store.batch``."""
        return self._batch()

    @contextmanager
    def _batch(self) -> Iterator["SqliteBatch"]:
        with self._transaction():
            batch = SqliteBatch(self._writer)
            yield batch
            if self._writer.in_transaction:
                self._writer.execute("ROLLBACK")

    def snapshot(self) -> AbstractContextManager[Snapshot]:
        """See ``Store.snapshot``."""
        return self._snapshot()

    @contextmanager
    def _snapshot(self) -> Iterator["SqliteSnapshot"]:
        with self._read_lock, _translated():
            self._reader.execute("BEGIN")
            try:
                yield SqliteSnapshot(self._reader, self._reader_sql)
            finally:
                self._reader.execute("ROLLBACK")

    def _read(self, question: Callable[[Connection], T]) -> T:
        with self._read_lock, _translated():
            return question(self._reader_sql)

    def _write(self, work: Callable[[Connection], T]) -> T:
        with self._transaction():
            return work(self._writer_sql)

    def checkpoint(self) -> None:
        """See ``Store.checkpoint``. Left to the writer, it would stop every cancel while it runs."""
        with self._checkpoint_lock, _translated():
            self._checkpointer.execute("PRAGMA wal_checkpoint(PASSIVE)")

    def close(self) -> None:
        """See ``Store.close``."""
        with self._checkpoint_lock:
            self._checkpointer.close()
        for lock, connection, core in (
            (self._read_lock, self._reader, self._reader_sql),
            (self._write_lock, self._writer, self._writer_sql),
        ):
            with lock:
                core.close()
                connection.close()
        self._turnstile.close()


class SqliteSnapshot:
    """See ``Snapshot``."""

    def __init__(self, connection: sqlite3.Connection, core: Connection):
        self._run = connection.execute
        self._core = core

    def facts(self, tokens: Collection[TokenId]) -> Facts:
        """See ``Batch.facts``."""
        return _facts(self._run, tokens)

    def orders(self, names: Collection[Name]) -> Mapping[Name, OrderView]:
        """See ``Snapshot.orders``."""
        loaded = _by_name(self._run, names, statements.VIEWS_BY_REFERENCE, statements.VIEWS_BY_ID)
        return {
            name: OrderView(order, rows.terms(loaded[name][len(statements.ORDER) :]))
            for name, order in _whole_orders(self._run, loaded).items()
        }

    def order_of_transaction(self, account_id: str, transaction_id: str) -> OrderView | None:
        """See ``Snapshot.order_of_transaction``."""
        found = _orders_of_transactions(self._run, [(account_id, transaction_id)])
        return next(iter(self.orders(list(found.values())).values()), None)

    def transactions(self, wanted: TransactionFilter) -> list[TransactionView]:
        """See ``Snapshot.transactions``."""
        return select_transactions(self._core, wanted)

    def overdue_calls(self, now: int, limit: int) -> list[OrderView]:
        """See ``Snapshot.overdue_calls``."""
        names = dict.fromkeys((row[0], row[1]) for row in self._run(statements.OVERDUE_CALLS, (now, limit)))
        return list(self.orders(list(names)).values())

    def events(self, account_id: str, order_id: str) -> list[Event]:
        """See ``Snapshot.events``."""
        return [rows.event(row) for row in self._run(statements.EVENTS_OF_ORDER, (account_id, order_id))]

    def trial_balance(self, account_id: str) -> list[Balance]:
        """See ``Snapshot.trial_balance``."""
        return [Balance(*row) for row in self._run(statements.TRIAL_BALANCE, (account_id,))]

    def due_orders(self, now: int, limit: int) -> list[Order]:
        """See ``Snapshot.due_orders``."""
        return [rows.order(row) for row in self._run(statements.DUE_ORDERS, (now, limit))]


class SqliteBatch:
    """See ``Batch``. The write transaction is the lock on every order."""

    def __init__(self, connection: sqlite3.Connection):
        self._connection = connection
        self._run = connection.execute

    def facts(self, tokens: Collection[TokenId]) -> Facts:
        """See ``Batch.facts``."""
        return _facts(self._run, tokens)

    def claim_keys(self, claims: Sequence[KeyClaim], now: int, expires_at: int) -> Mapping[Name, KeyRecord]:
        """See ``Batch.claim_keys``."""
        wanted = sorted((c.account_id, c.key, c.fingerprint, c.command_id, expires_at) for c in claims)
        ours = set(self._run(statements.CLAIM_KEYS, (_set(wanted), now)).fetchall())
        others = [row[:2] for row in wanted if row[:2] not in ours]
        if not others:
            return {}
        return {
            (record[0], record[1]): _key_record(record)
            for record in self._run(statements.READ_KEYS, (_set(others),))
        }

    def orders_of_transactions(self, transactions: Collection[Name]) -> Mapping[Name, Name]:
        """See ``Batch.orders_of_transactions``."""
        return _orders_of_transactions(self._run, transactions)

    def lock_orders(self, names: Collection[Name]) -> Mapping[Name, Order]:
        """See ``Batch.lock_orders``."""
        loaded = _by_name(self._run, names, statements.ORDERS_BY_REFERENCE, statements.ORDERS_BY_ID)
        return _whole_orders(self._run, loaded)

    def write(self, changes: Sequence[Change]) -> None:
        """See ``Batch.write``."""
        ordered = sorted(changes, key=lambda c: (c.after.account_id, c.after.order_id))
        self._write_new([c for c in ordered if c.before is None])
        self._write_changed([c for c in ordered if c.before is not None])
        self._insert(statements.WRITE_ATTEMPTS, sorted(_changed_attempts(ordered)))
        self._insert(statements.WRITE_REFUNDS, sorted(_changed_refunds(ordered)))
        self._insert(statements.INSERT_EVENTS, [rows.event_row(e) for c in ordered for e in c.events])
        self._insert(statements.INSERT_ENTRIES, list(_entry_rows(ordered)))

    def _write_new(self, changes: list[Change]) -> None:
        new = [
            rows.order_facts(c.after) + rows.order_state(c.after) + rows.terms_row(c.terms)
            for c in changes
            if c.terms is not None
        ]
        if new and self._run(statements.INSERT_ORDERS, (_set(new),)).rowcount != len(new):
            raise Transient("a new order's reference was taken meanwhile")

    def _write_changed(self, changes: list[Change]) -> None:
        changed = [
            (c.after.account_id, c.after.order_id, c.before.version, *rows.order_state(c.after))
            for c in changes
            if c.before is not None
        ]
        if changed and self._run(statements.UPDATE_ORDERS, (_set(changed),)).rowcount != len(changed):
            raise Transient("an order changed after it was judged")

    def _insert(self, statement: str, new: list[rows.Row]) -> None:
        if new:
            self._run(statement, (_set(new),))

    def store_replies(self, replies: Mapping[Name, Reply]) -> None:
        """See ``Batch.store_replies``."""
        done = sorted((*name, r.status, r.reason, r.body.decode()) for name, r in replies.items())
        self._insert(statements.STORE_REPLIES, done)

    def contains(self, witness: Witness) -> bool:
        """See ``Batch.contains``."""
        w = witness
        if w.key is not None:
            found = self._run(statements.KEY_EXISTS, (w.account_id, w.key, w.event_id))
        else:
            found = self._run(statements.EVENT_EXISTS, (w.account_id, w.order_id, w.sequence, w.event_id))
        return found.fetchone() is not None

    def commit(self) -> None:
        """See ``Batch.commit``."""
        try:
            self._run("COMMIT")
        except sqlite3.Error as error:
            if self._connection.in_transaction:
                raise
            raise CommitUnknown(str(error)) from error


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
    """SQLAlchemy Core over a connection that we open, begin and commit ourselves."""
    engine = create_engine(
        "sqlite://", creator=lambda: connection, poolclass=StaticPool, isolation_level="AUTOCOMMIT"
    )
    return engine.connect()


@contextmanager
def _translated() -> Iterator[None]:
    """The driver's errors in the words of the store's contract."""
    try:
        yield
    except DBAPIError as wrapped:
        raise _in_our_words(wrapped.orig) from wrapped
    except sqlite3.Error as error:
        raise _in_our_words(error) from error


def _in_our_words(error: BaseException | None) -> StoreError:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    return (Transient if code in _TRY_AGAIN else StoreError)(str(error))


_Run = Callable[..., sqlite3.Cursor]


def _set(values: Sequence[Any]) -> str:
    return _as_set(values).decode()


def _facts(run: _Run, tokens: Collection[TokenId]) -> Facts:
    found = run(statements.FACTS, (_set([(t.account_id, t.jti) for t in tokens]),)).fetchall()
    alive = {TokenId(account_id, jti) for _, account_id, jti in found}
    return Facts(found[0][0], frozenset(t for t in tokens if t not in alive))


def _by_name(run: _Run, names: Collection[Name], by_reference: str, by_id: str) -> dict[Name, rows.Row]:
    """Order rows by name: references first, then, for what is left and may be one, order ids."""
    found: dict[Name, rows.Row] = {
        (row[0], row[2]): row for row in run(by_reference, (_set(list(names)),)).fetchall()
    }
    rest = [name for name in names if len(name[1]) == 36 and name not in found]
    if rest:
        found |= {(row[0], row[1]): row for row in run(by_id, (_set(rest),)).fetchall()}
    return found


def _attempts(run: _Run, orders: Collection[Order]) -> dict[str, tuple[Attempt, ...]]:
    """By order id, oldest first. Orders that count no attempts cost no read."""
    tried = [(o.account_id, o.order_id) for o in orders if o.attempt_count]
    found: dict[str, tuple[Attempt, ...]] = {}
    if tried:
        for row in run(statements.ATTEMPTS_OF_ORDERS, (_set(tried),)):
            found[row[2]] = (*found.get(row[2], ()), rows.attempt(row))
    return found


def _refunds(run: _Run, orders: Collection[Order]) -> dict[str, tuple[Refund, ...]]:
    """By order id, oldest first. Orders that count no refunds cost no read."""
    refunded = [(o.account_id, o.order_id) for o in orders if o.refund_count]
    found: dict[str, tuple[Refund, ...]] = {}
    if refunded:
        for row in run(statements.REFUNDS_OF_ORDERS, (_set(refunded),)):
            found[row[2]] = (*found.get(row[2], ()), rows.refund(row))
    return found


def _whole_orders(run: _Run, loaded: Mapping[Name, rows.Row]) -> dict[Name, Order]:
    """The orders of these rows; those that count children get them by statements of their own, later."""
    orders = {name: rows.order(row) for name, row in loaded.items()}
    attempts, refunds = _attempts(run, orders.values()), _refunds(run, orders.values())
    return {
        name: rows.order(loaded[name], attempts.get(o.order_id, ()), refunds.get(o.order_id, ()))
        if o.attempt_count
        else o
        for name, o in orders.items()
    }


def _orders_of_transactions(run: _Run, transactions: Collection[Name]) -> dict[Name, Name]:
    found = run(statements.ORDERS_OF_TRANSACTIONS, (_set(list(transactions)),))
    return {(account_id, transaction): (account_id, order_id) for account_id, transaction, order_id in found}


def _key_record(row: rows.Row) -> KeyRecord:
    account_id, key, fingerprint, command_id, status, reason, body = row
    reply = Reply(status, reason, body.encode()) if status is not None else None
    return KeyRecord(account_id, key, fingerprint, command_id, reply)


def _changed_attempts(changes: Sequence[Change]) -> Iterator[rows.Row]:
    for change in changes:
        judged = change.before.attempts if change.before else ()
        for attempt in change.after.attempts:
            if attempt not in judged:
                yield rows.attempt_row(change.after, attempt)


def _changed_refunds(changes: Sequence[Change]) -> Iterator[rows.Row]:
    for change in changes:
        judged = change.before.refunds if change.before else ()
        for refund in change.after.refunds:
            if refund not in judged:
                yield rows.refund_row(change.after, refund)


def _entry_rows(changes: Sequence[Change]) -> Iterator[rows.Row]:
    for change in changes:
        for event in change.events:
            for line, entry in enumerate(entries_for(event)):
                yield (
                    event.account_id,
                    event.order_id,
                    event.sequence,
                    line,
                    entry.account,
                    entry.currency,
                    entry.amount,
                    event.at,
                )
