"""Holding a whole database against its invariants, without writing, waiting or holding anything up.

A server may go on working meanwhile: on PostgreSQL all checks see one moment, on SQLite each its own.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby
from queue import SimpleQueue
from typing import Final

from sqlalchemy import Connection, text

from opentill.store.audit.invariants import CHECKS, WORDS, Check
from opentill.store.audit.refunds import REFUND_CHECKS
from opentill.store.audit.shares import SHARE_CHECKS
from opentill.store.audit.transfers import TRANSFER_CHECKS
from opentill.store.databases.dialect import dialect_of
from opentill.store.databases.migrate import HEAD, revision
from opentill.store.databases.opening import read_only
from opentill.store.databases.urls import shown
from opentill.store.errors import StoreUnusable

ALL_CHECKS: Final = (*CHECKS, *REFUND_CHECKS, *SHARE_CHECKS, *TRANSFER_CHECKS)
"""Every invariant, in the order in which they are checked."""


@dataclass(frozen=True, slots=True)
class Offence:
    """An order that breaks an invariant, and how."""

    account_id: str
    order_id: str
    what: str


@dataclass(frozen=True, slots=True)
class Finding:
    """The findings of one check: the number of offences, and the first of them."""

    check: Check
    count: int
    first: tuple[Offence, ...]


@contextmanager
def open_read_only(url: str) -> Iterator[Connection]:
    """Connect to the database without the right to write, neither making nor migrating it.

    Raises StoreUnusable with the fix when there is no such database or its tables are of another version.
    """
    with read_only(url) as connection:
        _expect_revision(connection, url)
        yield connection


def _expect_revision(connection: Connection, url: str) -> None:
    found = revision(connection)
    if found != HEAD:
        raise StoreUnusable(
            f"The database {shown(url)} is at schema {found} and this opentill checks {HEAD}; bring it up to "
            "date with `opentill migrate`, or check it with the version that wrote it."
        )


def count_orders(connection: Connection) -> int:
    """Count the orders that there are to check."""
    return int(connection.execute(text("SELECT count(*) FROM orders")).scalar_one())


def audit(connection: Connection, show: int) -> Iterator[Finding]:
    """Make every check; of each one's offences, count all and keep the first ``show``.

    Two checks run at a time, the second on a connection of its own that sees the same moment (on SQLite, the
    moment at which it began).
    """
    free: SimpleQueue[Connection] = SimpleQueue()

    def found(checks: tuple[Check, ...]) -> list[Finding]:
        ours = free.get()
        try:
            return list(_found(ours, checks, show))
        finally:
            free.put(ours)

    with _beside(connection) as other, ThreadPoolExecutor(2) as threads:
        for each in (connection, other):
            _get_ready_to_walk(each)
            free.put(each)
        together = [tuple(checks) for _, checks in groupby(ALL_CHECKS, key=lambda check: check.statement)]
        for findings in threads.map(found, together):
            yield from findings


@contextmanager
def _beside(connection: Connection) -> Iterator[Connection]:
    with connection.engine.connect() as other:
        dialect = dialect_of(connection)
        if dialect.export_moment:
            moment = connection.execute(text(dialect.export_moment)).scalar_one()
            other.exec_driver_sql(dialect.see_moment.format(name=moment))
        yield other


def _get_ready_to_walk(connection: Connection) -> None:
    if setting := dialect_of(connection).walk:
        connection.execute(text(setting))


def _found(connection: Connection, checks: tuple[Check, ...], show: int) -> Iterator[Finding]:
    """Find what the one statement of these checks finds."""
    asked = text(checks[0].statement)
    words = {word: WORDS[word] for word in asked.compile().params}
    counts: Counter[str] = Counter()
    first: defaultdict[str, list[Offence]] = defaultdict(list)
    found = connection.execution_options(stream_results=True).execute(asked, words)
    for account_id, order_id, *whats in checks[0].judge(tuple(row) for row in found):
        for check in checks:
            what = whats[check.finding]
            if what is not None:
                counts[check.name] += 1
                if len(first[check.name]) < show:
                    first[check.name].append(Offence(account_id, order_id, what))
    for check in checks:
        yield Finding(check, counts[check.name], tuple(first[check.name]))
