"""The named verbs for everything that is neither an order nor money: portable SQLAlchemy Core.

Each verb is one short transaction. A store gives this class its two ways into the database.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, TypeVar

from sqlalchemy import Connection, Row, RowMapping, Table, delete, insert, select, text, update
from sqlalchemy.dialects import postgresql, sqlite

from opentill.domain.order import LateMoney
from opentill.store import schema
from opentill.store.accounts.contract import (
    MOST_CLOCK_OFFSET_MILLISECONDS,
    Client,
    IssuedToken,
    Merchant,
    Mode,
    SubAccount,
)
from opentill.store.errors import ClockOutOfRange, StoreUnusable

UNCONFIRMED_MILLISECONDS = 24 * 3_600_000
"""How long a card waits for its shopper's confirmation, and sends of a password are counted."""

T = TypeVar("T")


class AccountVerbs(ABC):
    """Merchants, their accounts, credentials and tokens, and the facts of this installation."""

    @abstractmethod
    def _read(self, question: Callable[[Connection], T]) -> T:
        """Ask in a read transaction."""

    @abstractmethod
    def _write(self, work: Callable[[Connection], T]) -> T:
        """Work in a write transaction that commits when the work returns."""

    def install(self, mode: Mode, secret_fingerprint: str, now: int) -> None:
        """Stamp mode and secret key into a new database; raises StoreUnusable if an old one has others."""

        def work(connection: Connection) -> Row[Any]:
            insert_of = sqlite.insert if connection.dialect.name == "sqlite" else postgresql.insert
            stamp = insert_of(schema.installation).values(
                id=1,
                mode=mode.value,
                secret_fingerprint=secret_fingerprint,
                clock_offset=0,
                created_at=now,
                write_probed_at=now,
            )
            connection.execute(stamp.on_conflict_do_nothing())  # another process may stamp it at this moment
            return connection.execute(select(schema.installation)).one()

        found = self._write(work)
        if found.mode != mode.value:
            raise StoreUnusable(
                f"This database was made in {found.mode} mode and can not be opened in {mode.value} mode; "
                "choose another data folder or database for this mode."
            )
        if found.secret_fingerprint != secret_fingerprint:
            raise StoreUnusable(
                "OPENTILL_SECRET_KEY is not the key this database was made with; start with the old key "
                "(in sandbox mode it is the file secret.key in the data folder)."
            )

    def probe_write(self, now: int) -> None:
        """See ``Store.probe_write``."""
        self._write(lambda c: c.execute(update(schema.installation).values(write_probed_at=now)))

    def advance_clock(self, milliseconds: int) -> int:
        """See ``Store.advance_clock``."""
        if milliseconds < 0:
            raise ClockOutOfRange("moves forward only")
        table = schema.installation
        there = table.c.clock_offset + milliseconds
        moved = (
            update(table)
            .where(table.c.mode == Mode.SANDBOX.value, there <= MOST_CLOCK_OFFSET_MILLISECONDS)
            .values(clock_offset=there)
            .returning(table.c.clock_offset)
        )
        offset = self._write(lambda c: c.execute(moved).scalar())
        if offset is None:
            raise ClockOutOfRange("is moved in a sandbox only, and no more than a hundred years")
        return int(offset)

    def default_account_id(self) -> str | None:
        """See ``Store.default_account_id``."""
        return self._read(lambda c: c.execute(select(schema.installation.c.default_account_id)).scalar())

    def add_merchant(self, merchant: Merchant, *, default: bool) -> bool:
        """See ``Store.add_merchant``."""
        account_id = schema.installation.c.default_account_id
        make_default = update(schema.installation).where(account_id.is_(None))

        def work(connection: Connection) -> bool:
            if default:
                made = connection.execute(make_default.values(default_account_id=merchant.account_id))
                if not made.rowcount:
                    return False
            connection.execute(insert(schema.merchants).values(**_values(merchant)))
            return True

        return self._write(work)

    def merchant(self, account_id: str) -> Merchant | None:
        """See ``Store.merchant``."""
        wanted = select(schema.merchants).where(schema.merchants.c.account_id == account_id)
        found = self._read(lambda c: c.execute(wanted).mappings().first())
        return _merchant(found) if found else None

    def set_defaults(
        self, account_id: str, expires_in_seconds: int | None, late_money: LateMoney | None
    ) -> bool:
        """See ``Store.set_defaults``."""
        changed = (
            update(schema.merchants)
            .where(schema.merchants.c.account_id == account_id)
            .values(expires_in_seconds=expires_in_seconds, late_money=late_money)
        )
        return self._write(lambda c: c.execute(changed).rowcount == 1)

    def set_logo(self, account_id: str, logo_url: str) -> bool:
        """See ``Store.set_logo``."""
        merchants = schema.merchants
        changed = update(merchants).where(merchants.c.account_id == account_id).values(logo_url=logo_url)
        return self._write(lambda c: c.execute(changed).rowcount == 1)

    def merchants(self) -> list[Merchant]:
        """See ``Store.merchants``."""
        wanted = select(schema.merchants).order_by(schema.merchants.c.created_at)
        return [_merchant(row) for row in self._read(lambda c: c.execute(wanted).mappings().all())]

    def add_sub_account(self, sub_account: SubAccount) -> None:
        """See ``Store.add_sub_account``."""
        self._write(lambda c: c.execute(insert(schema.sub_accounts).values(**_values(sub_account))))

    def sub_accounts(self, account_id: str) -> list[SubAccount]:
        """See ``Store.sub_accounts``."""
        return [SubAccount(**row) for row in self._of_account(schema.sub_accounts, account_id)]

    def add_client(self, client: Client) -> None:
        """See ``Store.add_client``."""
        self._write(lambda c: c.execute(insert(schema.clients).values(**_values(client))))

    def client(self, account_id: str, client_id: str) -> Client | None:
        """See ``Store.client``."""
        return next((c for c in self.clients(account_id) if c.client_id == client_id), None)

    def clients(self, account_id: str) -> list[Client]:
        """See ``Store.clients``."""
        return [Client(**row) for row in self._of_account(schema.clients, account_id)]

    def _of_account(self, table: Table, account_id: str) -> list[RowMapping]:
        wanted = select(table).where(table.c.account_id == account_id).order_by(table.c.created_at)
        return self._read(lambda c: list(c.execute(wanted).mappings().all()))

    def disable_client(self, account_id: str, client_id: str, now: int) -> bool:
        """See ``Store.disable_client``."""
        clients, tokens = schema.clients, schema.tokens

        def work(connection: Connection) -> bool:
            theirs = (clients.c.account_id == account_id) & (clients.c.client_id == client_id)
            found = connection.execute(update(clients).where(theirs).values(disabled_at=now)).rowcount
            connection.execute(
                update(tokens)
                .where(tokens.c.account_id == account_id, tokens.c.client_id == client_id)
                .where(tokens.c.revoked_at.is_(None))
                .values(revoked_at=now)
            )
            return found == 1

        return self._write(work)

    def rotate_client(self, account_id: str, client_id: str, secret_hash: str, sealed: bytes | None) -> bool:
        """See ``Store.rotate_client``."""
        clients = schema.clients
        changed = (
            update(clients)
            .where(clients.c.account_id == account_id, clients.c.client_id == client_id)
            .values(secret_hash=secret_hash, secret_sealed=sealed)
        )
        return self._write(lambda c: c.execute(changed).rowcount == 1)

    def add_token(self, token: IssuedToken) -> None:
        """See ``Store.add_token``."""
        self._write(lambda c: c.execute(insert(schema.tokens).values(**_values(token))))

    def use_refresh_token(self, account_id: str, refresh_hash: str, now: int) -> IssuedToken | None:
        """See ``Store.use_refresh_token``."""
        tokens = schema.tokens
        used = (
            update(tokens)
            .where(tokens.c.account_id == account_id, tokens.c.refresh_hash == refresh_hash)
            .where(tokens.c.refresh_used_at.is_(None), tokens.c.revoked_at.is_(None))
            .where(tokens.c.refresh_expires_at > now)
            .values(refresh_used_at=now)
            .returning(*(tokens.c[name] for name in IssuedToken.__dataclass_fields__))
        )
        found = self._write(lambda c: c.execute(used).mappings().first())
        return IssuedToken(**found) if found else None

    def revoke_token(self, account_id: str, jti: str, client_id: str, now: int) -> bool:
        """See ``Store.revoke_token``."""
        tokens = schema.tokens
        revoked = (
            update(tokens)
            .where(tokens.c.account_id == account_id, tokens.c.jti == jti, tokens.c.client_id == client_id)
            .values(revoked_at=now)
        )
        return self._write(lambda c: c.execute(revoked).rowcount == 1)

    def purge(self, now: int, limit: int) -> int:
        """See ``Store.purge``."""
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

        return self._write(work)


def _delete_some(connection: Connection, table: Table, ended: Any, limit: int) -> int:
    key = tuple(table.primary_key.columns)
    free = select(*key).where(ended).limit(limit).with_for_update(skip_locked=True)
    doomed = connection.execute(free).all()
    for one in doomed:
        its = (column == value for column, value in zip(key, one, strict=True))
        connection.execute(delete(table).where(*its))
    return len(doomed)


def _merchant(row: RowMapping) -> Merchant:
    late_money = row["late_money"]
    return Merchant(**{**row, "late_money": None if late_money is None else LateMoney(late_money)})


def _values(record: Any) -> dict[str, Any]:
    return {name: getattr(record, name) for name in record.__dataclass_fields__}
