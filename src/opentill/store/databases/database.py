"""What the parts of the store need of a database, whichever it is: short transactions to ask or to work.

What is cold speaks SQLAlchemy Core over the driver's connection. What runs all day speaks prepared statements
of the driver, which take whole sets.
"""

from abc import abstractmethod
from collections.abc import Callable
from typing import Any, Protocol, TypeAlias, TypeVar

from sqlalchemy import Connection

T = TypeVar("T")


class Cursor(Protocol):
    """A driver's answer to a statement."""

    @property
    def rowcount(self) -> int:
        """Count the rows that were written."""

    def fetchone(self) -> Any:
        """Return the next row, or None."""

    def fetchall(self) -> list[Any]:
        """Return all rows."""


Run: TypeAlias = Callable[[str, tuple[Any, ...]], Cursor]
"""Runs a statement with its parameters; its rows must be fetched before the next one runs."""


class Database(Protocol):
    """The short transactions of a part. All raise the errors of ``store.errors``."""

    @abstractmethod
    def read(self, question: Callable[[Connection], T]) -> T:
        """Ask in a read transaction, by SQLAlchemy Core."""

    @abstractmethod
    def write(self, work: Callable[[Connection], T]) -> T:
        """Work in a write transaction that commits when the work returns, by SQLAlchemy Core."""

    @abstractmethod
    def ask(self, question: Callable[[Run], T]) -> T:
        """Ask in a read transaction, by statements of the driver."""

    @abstractmethod
    def work(self, work: Callable[[Run], T]) -> T:
        """Work in a write transaction that commits when the work returns, by statements of the driver."""
