"""The ledger as it was booked, read in one go beside a running server: all of it is of one moment."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import Final

from sqlalchemy import Connection, text

from opentill.domain.ledger import Entry


@dataclass(frozen=True, slots=True)
class Booking:
    """The entries that one event booked."""

    account_id: str
    order_id: str
    sequence: int
    at: int
    """Business time in UTC milliseconds."""
    event_type: str
    """Empty for entries whose event is lost."""
    reference: str
    entries: tuple[Entry, ...]


_ENTRIES: Final = """
    SELECT l.account_id, l.order_id, l.sequence, l.at, coalesce(e.type, ''), coalesce(o.reference, ''),
           l.ledger_account, l.currency, l.amount
      FROM ledger_entries AS l
      LEFT JOIN events AS e
        ON e.account_id = l.account_id AND e.order_id = l.order_id AND e.sequence = l.sequence
      LEFT JOIN orders AS o ON o.account_id = l.account_id AND o.order_id = l.order_id
     {chosen}
     ORDER BY l.account_id, l.order_id, l.sequence, l.line
"""
_FETCHED_ROWS: Final = 1000


def read_bookings(connection: Connection, account_id: str | None = None) -> Iterator[Booking]:
    """Read every booking of one merchant, or of all, as one statement finds them."""
    chosen = "" if account_id is None else "WHERE l.account_id = :account_id"
    given = {} if account_id is None else {"account_id": account_id}
    streaming = connection.execution_options(stream_results=True, max_row_buffer=_FETCHED_ROWS)
    found = streaming.execute(text(_ENTRIES.format(chosen=chosen)), given)
    for (account, order, sequence), lines in groupby(found, key=lambda row: row[:3]):
        rows = list(lines)
        _, _, _, at, event_type, reference, *_ = rows[0]
        entries = tuple(Entry(row[6], row[7], row[8]) for row in rows)
        yield Booking(account, order, sequence, at, event_type, reference, entries)
