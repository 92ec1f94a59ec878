"""Saved cards and shoppers' passwords: portable SQLAlchemy Core, as all that is cold."""

from typing import Any, Final

from sqlalchemy import Connection, Select, delete, or_, select, update

from opentill.store.cards.contract import CardFilter, CardView, PasswordOf
from opentill.store.databases.database import Database
from opentill.store.databases.dialect import dialect_of
from opentill.store.orders import rows
from opentill.store.schema import card_passwords as p
from opentill.store.schema import saved_cards as c

_COLUMNS: Final = (*(c.c[name] for name in rows.SAVED_CARD), c.c.customer_email, c.c.confirmed_at)
_IS_USABLE: Final = or_(c.c.tokenized == 1, c.c.confirmed_at.is_not(None))


class CardVerbs:
    """Cards that can be charged again, and the passwords that shoppers confirm them by."""

    def __init__(self, database: Database):
        self._database = database

    def saved_cards(self, wanted: CardFilter) -> list[CardView]:
        """List the cards that match, a page at a time."""
        newest_first = (c.c.created_at.desc(), c.c.transaction_id.desc())
        return self._cards(_filtered(wanted).order_by(*newest_first).offset(wanted.skip).limit(wanted.limit))

    def saved_card(self, account_id: str, token_key_hash: str) -> CardView | None:
        """Find a card that can be charged by its token key."""
        wanted = select(*_COLUMNS).where(*_of(account_id, token_key_hash))
        return next(iter(self._cards(wanted)), None)

    def card_of_payment(self, account_id: str, transaction_id: str) -> CardView | None:
        """Find the card of a payment by its key."""
        one = (c.c.account_id == account_id, c.c.transaction_id == transaction_id)
        return next(iter(self._cards(select(*_COLUMNS).where(*one))), None)

    def _cards(self, statement: Select[Any]) -> list[CardView]:
        return [_view(tuple(row)) for row in self._database.read(lambda run: run.execute(statement).all())]

    def give_card(self, account_id: str, token_key_hash: str, from_email: str, to_email: str) -> bool:
        """Change the customer of a card by one guarded update."""
        given = (
            update(c)
            .where(*_of(account_id, token_key_hash), c.c.customer_email == from_email)
            .values(customer_email=to_email)
        )
        return self._database.write(lambda run: run.execute(given).rowcount == 1)

    def forget_card(self, account_id: str, token_key_hash: str) -> bool:
        """Delete a card that can be charged."""
        forgotten = delete(c).where(*_of(account_id, token_key_hash))
        return self._database.write(lambda run: run.execute(forgotten).rowcount == 1)

    def confirm_card(self, account_id: str, transaction_id: str, at: int) -> bool:
        """Note when the shopper confirmed the card of a payment."""
        confirmed = (
            update(c)
            .where(c.c.account_id == account_id, c.c.transaction_id == transaction_id)
            .values(confirmed_at=at)
        )
        return self._database.write(lambda run: run.execute(confirmed).rowcount == 1)

    def send_password(self, password: PasswordOf, at: int, most_sends: int) -> bool:
        """Count one send more by an upsert that is guarded by the limit."""

        def work(run: Connection) -> bool:
            key = {
                "account_id": password.account_id,
                "order_id": password.order_id,
                "use": password.use.value,
            }
            new = {"phone_hash": password.phone_hash, "sent_at": at, "tries": 0}
            sent = (
                dialect_of(run)
                .insert(p)
                .values(**key, **new, sends=1)
                .on_conflict_do_update(
                    index_elements=list(key),
                    set_=new | {"sends": p.c.sends + 1},
                    where=p.c.sends < most_sends,
                )
                .returning(p.c.sends)
            )
            return run.execute(sent).first() is not None

        return self._database.write(work)

    def try_password(self, password: PasswordOf, sent_after: int, most_tries: int) -> bool:
        """Count one try more by an update that is guarded by time and limit."""
        tried = (
            update(p)
            .where(*_sent(password), p.c.phone_hash == password.phone_hash)
            .where(p.c.sent_at > sent_after, p.c.tries < most_tries)
            .values(tries=p.c.tries + 1)
        )
        return self._database.write(lambda run: run.execute(tried).rowcount == 1)

    def use_up_password(self, password: PasswordOf) -> bool:
        """Delete the password: of two who do, one has used it."""
        used = delete(p).where(*_sent(password))
        return self._database.write(lambda run: run.execute(used).rowcount == 1)


def _of(account_id: str, token_key_hash: str) -> tuple[Any, ...]:
    return c.c.account_id == account_id, c.c.token_key_hash == token_key_hash, _IS_USABLE


def _sent(password: PasswordOf) -> tuple[Any, ...]:
    return (
        p.c.account_id == password.account_id,
        p.c.order_id == password.order_id,
        p.c.use == password.use.value,
    )


def _filtered(wanted: CardFilter) -> Select[Any]:
    usable = c.c.confirmed_at.is_not(None) if wanted.confirmed_only else _IS_USABLE
    statement = select(*_COLUMNS).where(c.c.account_id == wanted.account_id, usable)
    if wanted.customer_email is not None:
        statement = statement.where(c.c.customer_email == wanted.customer_email)
    if wanted.created_from is not None:
        statement = statement.where(c.c.created_at >= wanted.created_from)
    if wanted.created_before is not None:
        statement = statement.where(c.c.created_at < wanted.created_before)
    return statement


def _view(row: rows.Row) -> CardView:
    return CardView(rows.saved_card(row[: len(rows.SAVED_CARD)]), *row[len(rows.SAVED_CARD) :])
