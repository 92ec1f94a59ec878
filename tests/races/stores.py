"""The real store and one that breaks the law; both tell when a batch has loaded what it will judge."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final, cast

from opentill.domain.decisions import Change
from opentill.domain.order import Order
from opentill.store import rows
from opentill.store.interface import Batch, Name, Store
from opentill.store.sets import _set
from opentill.store.sqlite import SqliteBatch, SqliteStore
from opentill.store.statements import SQLITE, Statements

OpenContested = Callable[[Path, Callable[[], None]], Store]
"""Opens a store that calls back each time a batch has loaded its orders."""


class RealStore(SqliteStore):
    """The real store; it only tells when it has loaded orders."""

    def __init__(self, path: Path, judged: Callable[[], None]):
        super().__init__(path)
        self._judged = judged

    def batch(self) -> AbstractContextManager[Batch]:
        return self._telling()

    @contextmanager
    def _telling(self) -> Iterator[Batch]:
        with super().batch() as batch:
            yield cast("Batch", _Telling(batch, self._judged))


class _Telling:
    def __init__(self, batch: Batch, judged: Callable[[], None]):
        self._batch = batch
        self._judged = judged

    def __getattr__(self, verb: str) -> Any:
        return getattr(self._batch, verb)

    def lock_orders(self, names: Collection[Name]) -> Mapping[Name, Order]:
        orders = self._batch.lock_orders(names)
        self._judged()
        return orders


class CarelessStore(SqliteStore):
    """Breaks the law: it reads orders before its transaction, and writes them unguarded and unchecked."""

    def __init__(self, path: Path, judged: Callable[[], None]):
        super().__init__(path)
        self._judged = judged
        self._writer.execute("PRAGMA ignore_check_constraints = ON")

    def batch(self) -> AbstractContextManager[Batch]:
        return self._careless()

    @contextmanager
    def _careless(self) -> Iterator[Batch]:
        with ExitStack() as transaction:
            yield _CarelessBatch(self, transaction, self._judged)


class _CarelessBatch(SqliteBatch):
    def __init__(self, store: CarelessStore, transaction: ExitStack, judged: Callable[[], None]):
        super().__init__(store._writer)
        self._store = store
        self._transaction = transaction
        self._judged = judged

    def lock_orders(self, names: Collection[Name]) -> Mapping[Name, Order]:
        with self._store.snapshot() as snapshot:
            orders = {name: view.order for name, view in snapshot.orders(names).items()}
        self._judged()
        return orders

    def write(self, changes: Sequence[Change]) -> None:
        self._transaction.enter_context(self._store._transaction())
        super().write(changes)

    def _write_changed(self, changes: list[Change]) -> None:
        changed = [
            (c.after.account_id, c.after.order_id, 0, *rows.order_state(c.after)) for c in changes if c.before
        ]
        self._run(_UNGUARDED_UPDATE, (_set(changed),))

    def _insert(self, statement: str, new: list[rows.Row]) -> None:
        """The primary keys of events and entries are one more guard; it has to go as well."""
        super()._insert(statement.replace("INSERT INTO", "INSERT OR REPLACE INTO", 1), new)


_GUARDED_UPDATE: Final = Statements(SQLITE).update_orders
_UNGUARDED_UPDATE: Final = _GUARDED_UPDATE.replace("AND orders.version = (w.value ->> 2)", "")
assert _UNGUARDED_UPDATE != _GUARDED_UPDATE
