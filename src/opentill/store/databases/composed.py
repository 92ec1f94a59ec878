"""A store put together from its parts: each gets the database, and knows nothing of the others.

See docs/decisions/0018 for why they stand side by side and are called by name.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

from sqlalchemy import Connection, Table, delete, select, text, update
from sqlalchemy.exc import DBAPIError

from opentill.store import schema
from opentill.store.accounts.verbs import AccountVerbs
from opentill.store.cards.verbs import CardVerbs
from opentill.store.databases.database import Database
from opentill.store.databases.times import certain_time, database_time
from opentill.store.errors import StoreError
from opentill.store.outbox.statements import OutboxStatements
from opentill.store.outbox.verbs import OutboxVerbs
from opentill.store.transfers.verbs import TransferVerbs

UNCONFIRMED_MILLISECONDS: Final = 24 * 3_600_000
"""How long a card waits for its shopper's confirmation, and sends of a password are counted."""


class ComposedStore(Database):
    """The parts of a store on one database, and what concerns them all.

    A driver adds its connections and how a transaction on them begins and ends.
    """

    def __init__(self, statements: OutboxStatements):
        self.accounts = AccountVerbs(self)
        self.outbox = OutboxVerbs(self, statements)
        self.transfers = TransferVerbs(self)
        self.cards = CardVerbs(self)

    def probe_write(self, now: int) -> None:
        """Write the moment of this probe (UTC milliseconds) into the installation, and commit it."""
        self.write(lambda c: c.execute(update(schema.installation).values(write_probed_at=now)))

    def time(self) -> int | None:
        """Ask the database in its own words."""
        return self.read(database_time)

    def purge(self, now: int, limit: int) -> int:
        """Delete keys, tokens, cards and passwords whose time is over; pass over those that are locked."""
        now = self.read(lambda connection: certain_time(connection, now))
        keys, tokens = schema.idempotency_keys, schema.tokens
        cards, passwords = schema.saved_cards, schema.card_passwords
        yesterday = now - UNCONFIRMED_MILLISECONDS

        def work(connection: Connection) -> int:
            return sum(
                _delete_some(connection, table, ended, limit)
                for table, ended in (
                    (keys, keys.c.expires_at <= now),
                    (tokens, (tokens.c.refresh_expires_at <= now) & (tokens.c.expires_at <= now)),
                    (cards, text(schema.UNCONFIRMED) & (cards.c.created_at <= yesterday)),
                    (passwords, passwords.c.sent_at <= yesterday),
                )
            )

        return self.write(work)


@contextmanager
def translated(
    of_driver: type[Exception], in_our_words: Callable[[BaseException | None], StoreError]
) -> Iterator[None]:
    """Raise a driver's errors, bare or wrapped by SQLAlchemy, in the words of ``store.errors``."""
    try:
        yield
    except DBAPIError as wrapped:
        raise in_our_words(wrapped.orig) from wrapped
    except of_driver as error:
        raise in_our_words(error) from error


def _delete_some(connection: Connection, table: Table, ended: Any, limit: int) -> int:
    key = tuple(table.primary_key.columns)
    free = select(*key).where(ended).limit(limit).with_for_update(skip_locked=True)
    doomed = connection.execute(free).all()
    for one in doomed:
        its = (column == value for column, value in zip(key, one, strict=True))
        connection.execute(delete(table).where(*its))
    return len(doomed)
