"""The real stores and ones that break the law; all tell when a batch has loaded what it will judge."""

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any, Final, TypeAlias, cast

from databases import Place, drop_constraints, url_of
from doubling_store import doubled
from opentill.domain.order import Order
from opentill.domain.transition import Change
from opentill.store.databases.dialect import POSTGRES, SQLITE
from opentill.store.databases.opening import open_store
from opentill.store.databases.postgres import _BEGIN_WRITING, PostgresBatch, PostgresStore
from opentill.store.databases.sqlite import SqliteBatch, SqliteStore
from opentill.store.databases.urls import sqlite_path
from opentill.store.interface import Store
from opentill.store.orders import rows
from opentill.store.orders.batch import BatchRepository, as_set
from opentill.store.orders.contract import Batch, Name
from opentill.store.orders.statements import Statements

Judged: TypeAlias = Callable[[], None]
OpenContested = Callable[[Place, Judged], Store]
"""Opens a store that calls back each time a batch has loaded its orders."""


# --- the real stores ------------------------------------------------------------------------------


def real(place: Place, judged: Judged) -> Store:
    """The real store of this place; it only tells when it has loaded orders."""
    return cast("Store", _TellingStore(open_store(url_of(place)), judged))


class _TellingStore:
    def __init__(self, store: Store, judged: Judged):
        self._store = store
        self._judged = judged

    def __getattr__(self, verb: str) -> Any:
        return getattr(self._store, verb)

    @contextmanager
    def batch(self) -> Iterator[Batch]:
        with self._store.batch() as batch:
            yield cast("Batch", _Telling(batch, self._judged))


class _Telling:
    def __init__(self, batch: Batch, judged: Judged):
        self._batch = batch
        self._judged = judged

    def __getattr__(self, verb: str) -> Any:
        return getattr(self._batch, verb)

    def lock_orders(self, names: Collection[Name]) -> Collection[Order]:
        orders = self._batch.lock_orders(names)
        self._judged()
        return orders


def doubling(place: Place, judged: Judged) -> Store:
    """The real store of this place, but for a seeded defect: children come twice."""
    return doubled(real(place, judged))


# --- stores that break the law --------------------------------------------------------------------


def careless(place: Place, judged: Judged) -> Store:
    """A store that reads orders before its transaction, and writes them unguarded and unchecked."""
    url = url_of(place)
    return _CarelessSqlite(url, judged) if url.startswith("sqlite") else _CarelessPostgres(url, judged)


def let_anything_pass(place: Place) -> None:
    """Take PostgreSQL's last guards away: CHECKs, and keys of which nobody but a duplicate has need.

    SQLite is told by each careless store for itself.
    """
    if isinstance(place, str):
        drop_constraints(place)
        drop_constraints(place, "p", ("events", "ledger_entries"))


class _CarelessSqlite(SqliteStore):
    def __init__(self, url: str, judged: Judged):
        super().__init__(sqlite_path(url))
        self._judged = judged
        self._writer.execute("PRAGMA ignore_check_constraints = ON")

    @contextmanager
    def batch(self) -> Iterator[Batch]:
        with ExitStack() as later:
            transaction = _Transaction(later, self._transaction)
            yield _CarelessSqliteBatch(self._writer, self, transaction, self._judged)


class _CarelessPostgres(PostgresStore):
    def __init__(self, url: str, judged: Judged):
        super().__init__(url)
        self.make_ready(migrate=False)
        self._judged = judged

    @contextmanager
    def batch(self) -> Iterator[Batch]:
        with ExitStack() as later:
            transaction = _Transaction(later, lambda: self._writer.transaction(_BEGIN_WRITING))
            yield _CarelessPostgresBatch(self._writer, self, transaction, self._judged)


class _Transaction:
    """One that is begun late, and ends with the batch."""

    def __init__(self, ends_with: ExitStack, begin: Callable[[], AbstractContextManager[None]]):
        self._ends_with = ends_with
        self._begin = begin
        self._begun = False

    def begin(self) -> None:
        if not self._begun:
            self._ends_with.enter_context(self._begin())
        self._begun = True


class _Careless(BatchRepository):
    """What is wrong with a careless batch, on either database."""

    store: Store
    transaction: _Transaction
    judged: Judged
    unguarded_update: str

    def lock_orders(self, names: Collection[Name]) -> Collection[Order]:
        with self.store.snapshot() as snapshot:
            found = {view.order.order_id: view.order for view in snapshot.orders(names).values()}
        self.judged()
        return found.values()

    def write(self, changes: Sequence[Change]) -> None:
        self.transaction.begin()
        super().write(changes)

    def _write_changed(self, changes: list[Change]) -> None:
        changed = [
            (c.after.account_id, c.after.order_id, 0, *rows.order_state(c.after)) for c in changes if c.before
        ]
        self._run(self.unguarded_update, (as_set(changed),))


class _CarelessSqliteBatch(_Careless, SqliteBatch):
    def __init__(self, writer: Any, store: Store, transaction: _Transaction, judged: Judged):
        super().__init__(writer)
        self.store, self.transaction, self.judged = store, transaction, judged
        self.unguarded_update = _UNGUARDED[0]

    def _insert(self, statement: str, new: list[rows.Row]) -> None:
        """The primary keys of events and entries are one more guard; it has to go as well."""
        super()._insert(statement.replace("INSERT INTO", "INSERT OR REPLACE INTO", 1), new)

    def commit(self) -> None:
        self.transaction.begin()
        super().commit()


class _CarelessPostgresBatch(_Careless, PostgresBatch):
    def __init__(self, writer: Any, store: Store, transaction: _Transaction, judged: Judged):
        super().__init__(writer)
        self.store, self.transaction, self.judged = store, transaction, judged
        self.unguarded_update = _UNGUARDED[1]

    def commit(self) -> None:
        self.transaction.begin()
        super().commit()


def _without_guard(update: str) -> str:
    head, guard, _ = update.partition("AND orders.version =")
    assert guard
    return head


_UNGUARDED: Final = [_without_guard(Statements(dialect).update_orders) for dialect in (SQLITE, POSTGRES)]
