"""The kinds of columns that the tables are made of, the parts of a row, and the words that CHECKs admit."""

from collections.abc import Collection, Mapping
from typing import Final, TypeAlias

from sqlalchemy import Index, String, Table, text

from opentill.domain.order import AttemptStatus, OrderStatus, RefundStatus, ReturnStatus
from opentill.store.outbox.contract import DeliveryState

FACTS, STATE, TERMS = ({"part": part} for part in ("facts", "state", "terms"))
"""Parts of an order's columns: never changed (as a column is that bears no mark), changed, and agreed."""


def code(length: int) -> String:
    """Make the type of texts of programs: compared byte by byte, whatever language a database speaks."""
    return String(length).with_variant(String(length, collation="C"), "postgresql")


LATER_STATUS: Final[Mapping[str, str]] = {
    RefundStatus.CLOSING: RefundStatus.UNKNOWN.value,
    RefundStatus.DISPUTED: RefundStatus.REFUSED.value,
}
"""Statuses of refunds that came with 0012, each with the older one that stands in its place in ``status``.

The word itself stands in ``finer_status``, so that code of before goes on beside it (as of returns below).
"""
LATER_RETURN_STATUS: Final[Mapping[str, str]] = {
    ReturnStatus.CLOSING: ReturnStatus.UNKNOWN.value,
    ReturnStatus.DISPUTED: ReturnStatus.DONE.value,
}
_Words: TypeAlias = (
    type[OrderStatus] | type[AttemptStatus] | type[RefundStatus] | type[ReturnStatus] | type[DeliveryState]
)


def names_of(
    table: Table, *, without: Collection[str] = (), part: Mapping[str, str] = FACTS
) -> tuple[str, ...]:
    """Name the columns of a table, or of a part of it, in their order here, which statements follow."""
    return tuple(
        column.name
        for column in table.columns
        if column.name not in without and (column.info or FACTS) == part
    )


def one_of(column: str, words: _Words, without: Collection[str] = ()) -> str:
    """Write the condition that a column holds one of these words."""
    return f"{column} IN ({', '.join(repr(w.value) for w in words if w.value not in without)})"


def index_where(name: str, condition: str, *columns: str, unique: bool = False) -> Index:
    """Make an index of the few rows that fulfil a condition."""
    few = text(condition)
    return Index(name, *columns, unique=unique, sqlite_where=few, postgresql_where=few)
