"""The verbs of merchants, their accounts and credentials, tokens and the installation: portable SQLAlchemy.

Each verb is one short transaction.
"""

from typing import Any, Final

from sqlalchemy import Connection, Row, RowMapping, Table, insert, select, update

from opentill.clock import MOST_AHEAD_MILLISECONDS, NOTED_MILLISECONDS
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
from opentill.store.databases.database import Database
from opentill.store.databases.dialect import dialect_of
from opentill.store.errors import ClockOutOfRange, StoreUnusable


class AccountVerbs:
    """Merchants, their accounts, credentials and tokens, and the facts of this installation."""

    def __init__(self, database: Database):
        self._database = database

    def install(self, mode: Mode, secret_fingerprint: str, now: int) -> None:
        """Stamp mode and secret key into a new database; raises StoreUnusable if an old one has others."""

        def work(connection: Connection) -> Row[Any]:
            stamp = (
                dialect_of(connection)
                .insert(schema.installation)
                .values(
                    id=1,
                    mode=mode.value,
                    secret_fingerprint=secret_fingerprint,
                    clock_offset=0,
                    created_at=now,
                    write_probed_at=now,
                )
            )
            connection.execute(stamp.on_conflict_do_nothing())  # another process may stamp it at this moment
            return connection.execute(select(schema.installation)).one()

        found = self._database.write(work)
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

    def seen_at(self) -> int | None:
        """Read the last seen time of the installation."""
        return self._database.read(lambda c: c.execute(select(schema.installation.c.seen_at)).scalar())

    def note_time(self, now: int) -> None:
        """Move the last seen time on by one statement, which checks how far."""
        table = schema.installation
        near = (table.c.mode == Mode.SANDBOX.value) | (table.c.seen_at >= now - MOST_AHEAD_MILLISECONDS)
        due = table.c.seen_at.is_(None) | ((table.c.seen_at <= now - NOTED_MILLISECONDS) & near)
        moved = update(table).where(due).values(seen_at=now)
        self._database.write(lambda c: c.execute(moved))

    def confirm_time(self, now: int) -> None:
        """Write the last seen time; before that, bring forward what waits, where time went back."""
        table = schema.installation

        def work(connection: Connection) -> None:
            seen_at = connection.execute(select(table.c.seen_at).with_for_update()).scalar()
            if seen_at is not None and seen_at > now:
                _bring_forward(connection, now, seen_at - now)
            connection.execute(update(table).values(seen_at=now))

        self._database.write(work)

    def advance_clock(self, milliseconds: int) -> int:
        """Move the offset on in one statement, which checks mode and limit; as ``Accounts`` says."""
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
        offset = self._database.write(lambda c: c.execute(moved).scalar())
        if offset is None:
            raise ClockOutOfRange("is moved in a sandbox only, and no more than a hundred years")
        return int(offset)

    def default_account_id(self) -> str | None:
        """Read the default merchant of the installation."""
        return self._database.read(
            lambda c: c.execute(select(schema.installation.c.default_account_id)).scalar()
        )

    def add_merchant(self, merchant: Merchant, *, default: bool) -> bool:
        """Add the merchant in the transaction that makes it the default one."""
        account_id = schema.installation.c.default_account_id
        make_default = update(schema.installation).where(account_id.is_(None))

        def work(connection: Connection) -> bool:
            if default:
                made = connection.execute(make_default.values(default_account_id=merchant.account_id))
                if not made.rowcount:
                    return False
            connection.execute(insert(schema.merchants).values(**_values(merchant)))
            return True

        return self._database.write(work)

    def merchant(self, account_id: str) -> Merchant | None:
        """Find one merchant by its key."""
        wanted = select(schema.merchants).where(schema.merchants.c.account_id == account_id)
        found = self._database.read(lambda c: c.execute(wanted).mappings().first())
        return _merchant(found) if found else None

    def set_defaults(
        self, account_id: str, expires_in_seconds: int | None, late_money: LateMoney | None
    ) -> bool:
        """Set both defaults of a merchant's orders."""
        changed = (
            update(schema.merchants)
            .where(schema.merchants.c.account_id == account_id)
            .values(expires_in_seconds=expires_in_seconds, late_money=late_money)
        )
        return self._database.write(lambda c: c.execute(changed).rowcount == 1)

    def set_logo(self, account_id: str, logo_url: str) -> bool:
        """Set a merchant's logo."""
        merchants = schema.merchants
        changed = update(merchants).where(merchants.c.account_id == account_id).values(logo_url=logo_url)
        return self._database.write(lambda c: c.execute(changed).rowcount == 1)

    def merchants(self) -> list[Merchant]:
        """List all merchants by their time."""
        wanted = select(schema.merchants).order_by(schema.merchants.c.created_at)
        return [_merchant(row) for row in self._database.read(lambda c: c.execute(wanted).mappings().all())]

    def add_sub_account(self, sub_account: SubAccount) -> None:
        """Insert a sub-account."""
        self._database.write(lambda c: c.execute(insert(schema.sub_accounts).values(**_values(sub_account))))

    def sub_accounts(self, account_id: str) -> list[SubAccount]:
        """List a merchant's sub-accounts by their time."""
        return [SubAccount(**row) for row in self._of_account(schema.sub_accounts, account_id)]

    def add_client(self, client: Client) -> None:
        """Insert credentials."""
        self._database.write(lambda c: c.execute(insert(schema.clients).values(**_values(client))))

    def client(self, account_id: str, client_id: str) -> Client | None:
        """Find credentials among the few of their merchant."""
        return next((c for c in self.clients(account_id) if c.client_id == client_id), None)

    def clients(self, account_id: str) -> list[Client]:
        """List a merchant's credentials by their time."""
        return [Client(**row) for row in self._of_account(schema.clients, account_id)]

    def _of_account(self, table: Table, account_id: str) -> list[RowMapping]:
        wanted = select(table).where(table.c.account_id == account_id).order_by(table.c.created_at)
        return self._database.read(lambda c: list(c.execute(wanted).mappings().all()))

    def disable_client(self, account_id: str, client_id: str, now: int) -> bool:
        """Disable credentials and revoke their tokens in one transaction."""
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

        return self._database.write(work)

    def rotate_client(self, account_id: str, client_id: str, secret_hash: str, sealed: bytes | None) -> bool:
        """Replace the secret of credentials."""
        clients = schema.clients
        changed = (
            update(clients)
            .where(clients.c.account_id == account_id, clients.c.client_id == client_id)
            .values(secret_hash=secret_hash, secret_sealed=sealed)
        )
        return self._database.write(lambda c: c.execute(changed).rowcount == 1)

    def add_token(self, token: IssuedToken) -> None:
        """Insert a token before it is handed out."""
        self._database.write(lambda c: c.execute(insert(schema.tokens).values(**_values(token))))

    def use_refresh_token(self, account_id: str, refresh_hash: str, now: int) -> IssuedToken | None:
        """Use a refresh token up by one guarded update, so that of two calls one gets it."""
        tokens = schema.tokens
        used = (
            update(tokens)
            .where(tokens.c.account_id == account_id, tokens.c.refresh_hash == refresh_hash)
            .where(tokens.c.refresh_used_at.is_(None), tokens.c.revoked_at.is_(None))
            .where(tokens.c.refresh_expires_at > now)
            .values(refresh_used_at=now)
            .returning(*(tokens.c[name] for name in IssuedToken.__dataclass_fields__))
        )
        found = self._database.write(lambda c: c.execute(used).mappings().first())
        return IssuedToken(**found) if found else None

    def revoke_token(self, account_id: str, jti: str, client_id: str, now: int) -> bool:
        """Revoke one token of a client."""
        tokens = schema.tokens
        revoked = (
            update(tokens)
            .where(tokens.c.account_id == account_id, tokens.c.jti == jti, tokens.c.client_id == client_id)
            .values(revoked_at=now)
        )
        return self._database.write(lambda c: c.execute(revoked).rowcount == 1)


_WAITED_FOR: Final = (
    schema.attempts.c.call_until,
    schema.refunds.c.call_until,
    schema.returns.c.call_until,
    schema.advices.c.route_by,
    schema.webhook_deliveries.c.next_try_at,
)
"""Real times at which a worker or a sender goes on, whatever a command says."""


def _bring_forward(connection: Connection, now: int, milliseconds: int) -> None:
    for waited_for in _WAITED_FOR:
        sooner = {waited_for.name: waited_for - milliseconds}
        connection.execute(update(waited_for.table).where(waited_for > now).values(sooner))


def _merchant(row: RowMapping) -> Merchant:
    late_money = row["late_money"]
    return Merchant(**{**row, "late_money": None if late_money is None else LateMoney(late_money)})


def _values(record: Any) -> dict[str, Any]:
    return {name: getattr(record, name) for name in record.__dataclass_fields__}
