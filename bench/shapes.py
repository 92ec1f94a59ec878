"""The sets of a batch in other shapes than the store's, as far as a cancel needs them."""

from collections.abc import Collection, Sequence
from typing import Any, Final

from sqlalchemy import Integer, Table

from lines import Line, SharedTrips
from opentill.domain.order import Order
from opentill.domain.transition import Change
from opentill.store import schema
from opentill.store.databases.postgres import _STATEMENTS
from opentill.store.errors import Transient
from opentill.store.orders import rows
from opentill.store.orders.batch import BatchRepository, _whole_orders, as_set
from opentill.store.orders.contract import Name
from opentill.store.orders.statements import ORDER

_KEY: Final = ("account_id", "order_id", "version")


class JsonSets(BatchRepository):
    """One JSON array for each set, as in the store."""

    def __init__(self, line: Line):
        super().__init__(line.run, _STATEMENTS)
        self._line = line

    def commit(self) -> None:
        """Commit by the line."""
        self._line.commit()


def _type(table: Table, name: str) -> str:
    return "bigint" if isinstance(table.c[name].type, Integer) else "text"


def _unnest(table: Table, names: Sequence[str]) -> str:
    arrays = ", ".join(f"${place}::{_type(table, name)}[]" for place, name in enumerate(names, 1))
    places = ", ".join(f"c{place}" for place in range(1, len(names) + 1))
    return f"unnest({arrays}) AS w ({places})"


def _quoted(names: Sequence[str], prefix: str = "") -> str:
    return ", ".join(f'{prefix}"{name}"' for name in names)


def _set_state(value: str) -> str:
    start = len(_KEY) + 1
    return ", ".join(f'"{n}" = {value}{place}' for place, n in enumerate(rows.ORDER_STATE, start))


class ColumnSets(JsonSets):
    """One array for each column of a set."""

    _LOCK: Final = f"""
        SELECT {_quoted(ORDER, "o.")}
          FROM {_unnest(schema.orders, ("account_id", "reference"))}
          JOIN orders AS o ON o.account_id = w.c1 AND o.reference = w.c2
         ORDER BY o.account_id, o.order_id FOR UPDATE OF o
    """
    _UPDATE: Final = f"""
        UPDATE orders SET {_set_state("w.c")} FROM {_unnest(schema.orders, _KEY + rows.ORDER_STATE)}
         WHERE orders.account_id = w.c1 AND orders.order_id = w.c2 AND orders.version = w.c3
    """
    _EVENTS: Final = f"""
        INSERT INTO events ({_quoted(rows.EVENT)}) SELECT * FROM {_unnest(schema.events, rows.EVENT)}
    """

    def lock_orders(self, names: Collection[Name]) -> Collection[Order]:
        """Lock the orders that have these names as references."""
        found = self._run(self._LOCK, _columns(list(names))).fetchall()
        return _whole_orders(self._run, self._statements, found).values()

    def _write_changed(self, changes: list[Change]) -> None:
        if self._run(self._UPDATE, _columns(_changed(changes))).rowcount != len(changes):
            raise Transient("an order changed after it was judged")

    def _insert(self, statement: str, new: list[rows.Row]) -> None:
        if new:
            assert statement == self._statements.insert_events
            self._run(self._EVENTS, _columns(new))


class RowByRow(JsonSets):
    """Reads by sets, but writes each row by a statement of its own, all sent together."""

    _UPDATE: Final = f"""
        UPDATE orders SET {_set_state("$")} WHERE account_id = $1 AND order_id = $2 AND version = $3
        RETURNING 1
    """
    _EVENT: Final = f"""
        INSERT INTO events ({_quoted(rows.EVENT)})
        VALUES ({", ".join(f"${place}" for place in range(1, len(rows.EVENT) + 1))}) RETURNING 1
    """

    def _write_changed(self, changes: list[Change]) -> None:
        if self._line.run_many(self._UPDATE, _changed(changes)) != len(changes):
            raise Transient("an order changed after it was judged")

    def _insert(self, statement: str, new: list[rows.Row]) -> None:
        if new:
            assert statement == self._statements.insert_events
            self._line.run_many(self._EVENT, new)


def _changed(changes: Sequence[Change]) -> list[rows.Row]:
    return [
        (c.after.account_id, c.after.order_id, c.before.version, *rows.order_state(c.after))
        for c in changes
        if c.before is not None
    ]


def _columns(values: Sequence[rows.Row]) -> tuple[Any, ...]:
    return tuple(map(list, zip(*values, strict=True)))


class LastWithCommit(JsonSets):
    """JSON sets whose events, the last ones of a cancel, go with COMMIT."""

    def _insert(self, statement: str, new: list[rows.Row]) -> None:
        assert isinstance(self._line, SharedTrips)
        if new:
            self._line.run_last(statement, (as_set(new),))
