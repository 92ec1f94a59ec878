"""A seeded defect: a store that hands over what belongs to an order twice.

So did one that looked each order up under every name that a batch called it by. Suites that must notice it
run on it as their negative control.
"""

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Any, cast

from msgspec.structs import replace

from opentill.domain.order import Order
from opentill.store.interface import Store
from opentill.store.orders.contract import Batch, Name


def doubled(store: Store) -> Store:
    """This store, with the children of each order that it locks doubled."""
    return cast("Store", _DoublingStore(store))


class _DoublingStore:
    def __init__(self, store: Store):
        self._store = store

    def __getattr__(self, verb: str) -> Any:
        return getattr(self._store, verb)

    @contextmanager
    def batch(self) -> Iterator[Batch]:
        with self._store.batch() as batch:
            yield cast("Batch", _DoublingBatch(batch))


class _DoublingBatch:
    def __init__(self, batch: Batch):
        self._batch = batch

    def __getattr__(self, verb: str) -> Any:
        return getattr(self._batch, verb)

    def lock_orders(self, names: Collection[Name]) -> Collection[Order]:
        return [_with_children_twice(order) for order in self._batch.lock_orders(names)]


def _with_children_twice(order: Order) -> Order:
    return replace(
        order,
        attempts=order.attempts * 2,
        refunds=order.refunds * 2,
        credits=order.credits * 2,
        returns=order.returns * 2,
    )
