"""The statements of batches and snapshots, by name. Each takes a whole set of rows at once.

Both databases take a set as one JSON array of arrays, so that neither the text of a statement nor the
number of statements depends on how many commands share the commit. What differs between them is the
words of ``Dialect``; everything else is the same statement.
"""

from functools import cached_property
from typing import Final

from sqlalchemy import Integer, Table

from opentill.domain.order import OrderStatus, ReturnStatus
from opentill.store import schema
from opentill.store.accounts.contract import Mode
from opentill.store.databases.dialect import Dialect
from opentill.store.orders.rows import (
    ATTEMPT,
    CREDIT,
    ENTRY,
    EVENT,
    ORDER_FACTS,
    ORDER_STATE,
    REFUND,
    RETURN,
    SAVED_CARD,
    TERMS,
)

ORDER: Final = ORDER_FACTS + ORDER_STATE


class Statements:
    """Every statement of the engine and its readers, in the words of one database."""

    def __init__(self, dialect: Dialect):
        self._dialect = dialect
        self._set = dialect.rows
        self._join = dialect.join
        self._int = dialect.integer
        self._lock = dialect.locked("FOR UPDATE")
        self._lock_of_cards = dialect.locked("FOR KEY SHARE OF s")
        self._in_key_order = dialect.locked("ORDER BY o.account_id, o.order_id FOR UPDATE OF o")
        self._p = dialect.parameter

    @cached_property
    def facts(self) -> str:
        """Read the clock's offset and, of a live one, the last seen time, once for each asked token alive.

        At least once.
        """
        return f"""
            SELECT i.clock_offset, CASE WHEN i.mode = '{Mode.LIVE.value}' THEN i.seen_at END,
                   t.account_id, t.jti
              FROM installation AS i
              LEFT JOIN (SELECT t.account_id, t.jti
                           FROM {self._set}
                           {self._join} tokens AS t ON t.account_id = w.value ->> 0 AND t.jti = w.value ->> 1
                          WHERE t.revoked_at IS NULL) AS t ON true
        """

    @cached_property
    def claim_keys(self) -> str:
        """Claim keys that nobody has, and return those that are ours now.

        It does not lock the others': a later request with the key of a running one must not stand in the way
        of the answer that it waits for.
        """
        return f"""
            {self._insert(schema.idempotency_keys, _KEY_CLAIM)}
             WHERE true
            ON CONFLICT (account_id, key) DO NOTHING
            RETURNING account_id, key
        """

    @cached_property
    def read_keys(self) -> str:
        """Read what is stored under these keys, and until when.

        Which have run out is not asked here, or a plan might look through all that have not.
        """
        return f"""
            SELECT {columns(_KEY, "k.")}
              FROM {self._set}
              {self._join} idempotency_keys AS k ON k.account_id = w.value ->> 0 AND k.key = w.value ->> 1
        """

    @cached_property
    def write_keys(self) -> str:
        """Write keys with their replies, leaving out one that is taken, which the count of rows tells.

        Waits for whoever is writing one of them. What has run out is no longer taken.
        """
        return f"""
            {self._upsert(schema.idempotency_keys, _KEY)}
             WHERE idempotency_keys.expires_at <= {self._p}2
        """

    @cached_property
    def renew_keys(self) -> str:
        """Take over the keys whose retention has run out, and return them."""
        return f"""
            UPDATE idempotency_keys
               SET fingerprint = w.value ->> 2, command_id = w.value ->> 3,
                   expires_at = (w.value ->> 4){self._int}, status = NULL, reason = NULL, body = NULL
              FROM {self._set}
             WHERE idempotency_keys.account_id = w.value ->> 0 AND idempotency_keys.key = w.value ->> 1
               AND idempotency_keys.expires_at <= {self._p}2
            RETURNING account_id, key
        """

    @cached_property
    def store_replies(self) -> str:
        """Complete running keys; one that has its reply keeps it."""
        return f"""
            UPDATE idempotency_keys
               SET status = (w.value ->> 2){self._int}, reason = w.value ->> 3, body = w.value ->> 4
              FROM {self._set}
             WHERE idempotency_keys.account_id = w.value ->> 0 AND idempotency_keys.key = w.value ->> 1
               AND idempotency_keys.status IS NULL
        """

    @cached_property
    def lock_by_reference(self) -> str:
        """Lock and read orders by their references alone, in key order."""
        return f"{self._orders_by('reference', ORDER)} {self._in_key_order}"

    @cached_property
    def lock_by_name(self) -> str:
        """Lock and read orders by names that are a reference or an order id, in key order.

        Whatever they are called by, one statement locks all orders of a batch: in two, two transactions could
        each hold what the other wants.
        """
        return f"""
            SELECT {columns(ORDER, "o.")}
              FROM (SELECT r.account_id, r.order_id
                      FROM {self._set}
                      {self._join} orders AS r ON r.account_id = w.value ->> 0 AND r.reference = w.value ->> 1
                     UNION
                    SELECT w.value ->> 0, w.value ->> 1 FROM {self._set}) AS k
              {self._join} orders AS o ON o.account_id = k.account_id AND o.order_id = k.order_id
            {self._in_key_order}
        """

    @cached_property
    def views_by_reference(self) -> str:
        """Read orders, what was agreed, and whether their customers have saved cards, by reference."""
        return self._orders_by("reference", ORDER + TERMS, _HAS_SAVED_CARDS)

    @cached_property
    def views_by_id(self) -> str:
        """Read orders as ``views_by_reference`` does, by order id."""
        return self._orders_by("order_id", ORDER + TERMS, _HAS_SAVED_CARDS)

    @cached_property
    def versions(self) -> str:
        """Read the clock's offset and the version of each of these orders that exists (at least one row)."""
        return f"""
            SELECT i.clock_offset, v.account_id, v.order_id, v.version
              FROM installation AS i
              LEFT JOIN (SELECT o.account_id, o.order_id, o.version
                           FROM {self._set}
                           {self._join} orders AS o
                                ON o.account_id = w.value ->> 0 AND o.order_id = w.value ->> 1) AS v ON true
        """

    @cached_property
    def attempts_of_orders(self) -> str:
        """Read the attempts of these orders, oldest first."""
        return f"""
            SELECT {columns(ATTEMPT, "a.")}
              FROM {self._set}
              {self._join} attempts AS a ON a.account_id = w.value ->> 0 AND a.order_id = w.value ->> 1
             ORDER BY a.started_at, a.transaction_id
        """

    @cached_property
    def refunds_of_orders(self) -> str:
        """Read the refunds of these orders, oldest first."""
        return f"""
            SELECT {columns(REFUND, "r.")}
              FROM {self._set}
              {self._join} refunds AS r ON r.account_id = w.value ->> 0 AND r.order_id = w.value ->> 1
             ORDER BY r.started_at, r.refund_id
        """

    @cached_property
    def credits_of_orders(self) -> str:
        """Read the credits of these orders, in the order in which they arrived."""
        return f"""
            SELECT {columns(CREDIT, "c.")}
              FROM {self._set}
              {self._join} credits AS c ON c.account_id = w.value ->> 0 AND c.order_id = w.value ->> 1
             ORDER BY c.arrived_at, c.transaction_id
        """

    @cached_property
    def returns_of_orders(self) -> str:
        """Read the returns of these orders, oldest first."""
        return f"""
            SELECT {columns(RETURN, "r.")}
              FROM {self._set}
              {self._join} returns AS r ON r.account_id = w.value ->> 0 AND r.order_id = w.value ->> 1
             ORDER BY r.started_at, r.transaction_id
        """

    @cached_property
    def orders_of_transactions(self) -> str:
        """Find the order id behind each transaction, which is an attempt or a credit."""
        return " UNION ALL ".join(
            f"""
            SELECT t.account_id, t.transaction_id, t.order_id
              FROM {self._set}
              {self._join} {table} AS t ON t.account_id = w.value ->> 0 AND t.transaction_id = w.value ->> 1
            """
            for table in (schema.attempts.name, schema.credits_.name)
        )

    @cached_property
    def order_of_session(self) -> str:
        """Find the order of a transfer by session id, whichever bank gave it; the newest if several did."""
        return f"""
            SELECT account_id, order_id FROM credits
             WHERE account_id = {self._p}1 AND session_id = {self._p}2
             ORDER BY arrived_at DESC LIMIT 1
        """

    @cached_property
    def orders_with_held_money(self) -> str:
        """Find expired orders that hold money, which waits for a person; longest held first."""
        return f"""
            SELECT c.account_id, c.order_id FROM credits AS c
              JOIN orders AS o ON o.account_id = c.account_id AND o.order_id = c.order_id
             WHERE c.held > 0 AND o.status = '{OrderStatus.EXPIRED.value}'
             ORDER BY c.arrived_at LIMIT {self._p}1
        """

    @cached_property
    def orders_with_open_returns(self) -> str:
        """Find orders with money on its way back, longest under way first."""
        return f"""
            SELECT account_id, order_id FROM returns
             WHERE status <> '{ReturnStatus.DONE.value}'
             ORDER BY started_at LIMIT {self._p}1
        """

    @cached_property
    def insert_orders(self) -> str:
        """Insert orders, leaving out one whose reference is taken, which the count of rows tells."""
        return f"""
            {self._insert(schema.orders, ORDER + TERMS)}
             WHERE true
            ON CONFLICT DO NOTHING
        """

    @cached_property
    def update_orders(self) -> str:
        """Compare and set: write only rows still at the version that was judged."""
        return f"""
            UPDATE orders SET {self._assignments(schema.orders, ORDER_STATE, start=3)}
              FROM {self._set}
             WHERE orders.account_id = w.value ->> 0
               AND orders.order_id = w.value ->> 1
               AND orders.version = (w.value ->> 2){self._int}
        """

    @cached_property
    def write_attempts(self) -> str:
        """Write attempts, new or changed: only together with their orders, whose version guards them."""
        return self._upsert(schema.attempts, ATTEMPT)

    @cached_property
    def write_refunds(self) -> str:
        """Write refunds, as ``write_attempts`` does."""
        return self._upsert(schema.refunds, REFUND)

    @cached_property
    def write_credits(self) -> str:
        """Write credits, as ``write_attempts`` does."""
        return self._upsert(schema.credits_, CREDIT)

    @cached_property
    def write_returns(self) -> str:
        """Write returns, as ``write_attempts`` does."""
        return self._upsert(schema.returns, RETURN)

    @cached_property
    def lock_saved_cards(self) -> str:
        """Lock against deletion, and name, those of the cards of these payments that can be charged."""
        return f"""
            SELECT s.account_id, s.transaction_id
              FROM {self._set}
              {self._join} saved_cards AS s
                ON s.account_id = w.value ->> 0 AND s.transaction_id = w.value ->> 1
             WHERE s.tokenized = 1 OR s.confirmed_at IS NOT NULL
            {self._lock_of_cards}
        """

    @cached_property
    def insert_saved_cards(self) -> str:
        """Insert the cards that payments leave, each its order's customer's; never changed by a batch."""
        values = ", ".join(
            self._value(schema.saved_cards, name, place) for place, name in enumerate(SAVED_CARD)
        )
        return f"""
            INSERT INTO saved_cards ({columns(SAVED_CARD)}, customer_email)
            SELECT {values}, o.customer_email
              FROM {self._set}
              {self._join} orders AS o ON o.account_id = w.value ->> 0 AND o.order_id = w.value ->> 2
        """

    @cached_property
    def insert_events(self) -> str:
        """Insert events, never changed afterwards."""
        return self._insert(schema.events, EVENT)

    @cached_property
    def insert_entries(self) -> str:
        """Insert ledger entries, never changed afterwards."""
        return self._insert(schema.ledger_entries, ENTRY)

    @cached_property
    def lock_order(self) -> str:
        """Lock one order for whoever asks what became of a commit.

        A commit that is still going on ends first; and the asker's commit waits for a standby, as the
        lost one should have.
        """
        return f"""
            SELECT 1 FROM orders WHERE account_id = {self._p}1 AND order_id = {self._p}2 {self._lock}
        """

    @cached_property
    def event_exists(self) -> str:
        """Look for this very event."""
        return f"""
            SELECT 1 FROM events
             WHERE account_id = {self._p}1 AND order_id = {self._p}2
               AND sequence = {self._p}3 AND event_id = {self._p}4
        """

    @cached_property
    def key_exists(self) -> str:
        """Look for this command's answer under the key; locked as in ``lock_order``."""
        return f"""
            SELECT 1 FROM idempotency_keys
             WHERE account_id = {self._p}1 AND key = {self._p}2
               AND command_id = {self._p}3 AND status IS NOT NULL
             {self._lock}
        """

    @cached_property
    def events_of_order(self) -> str:
        """Read all events of one order, in their sequence."""
        return f"""
            SELECT {columns(EVENT)} FROM events
             WHERE account_id = {self._p}1 AND order_id = {self._p}2
             ORDER BY sequence
        """

    @cached_property
    def trial_balance(self) -> str:
        """Sum debits and credits of each ledger account of one merchant."""
        return f"""
            SELECT ledger_account, currency,
                   CAST(SUM(CASE WHEN amount > 0 THEN amount ELSE 0 END) AS BIGINT),
                   CAST(SUM(CASE WHEN amount < 0 THEN -amount ELSE 0 END) AS BIGINT)
              FROM ledger_entries
             WHERE account_id = {self._p}1
             GROUP BY ledger_account, currency
             ORDER BY ledger_account, currency
        """

    @cached_property
    def overdue_calls(self) -> str:
        """Find orders with a rail call whose caller is taken for dead, longest overdue first."""
        return f"""
            SELECT account_id, order_id, min(call_until) AS call_until
              FROM (SELECT account_id, order_id, call_until FROM attempts WHERE call_until <= {self._p}1
                    UNION ALL
                    SELECT account_id, order_id, call_until FROM refunds WHERE call_until <= {self._p}1
                    UNION ALL
                    SELECT account_id, order_id, call_until FROM returns WHERE call_until <= {self._p}1) AS c
             GROUP BY account_id, order_id
             ORDER BY call_until LIMIT {self._p}2
        """

    @cached_property
    def due_orders(self) -> str:
        """Find pending orders whose time has come, longest due first."""
        return f"""
            SELECT account_id, reference FROM orders
             WHERE awaits_due = 1 AND due_at <= {self._p}1 AND status = '{OrderStatus.PENDING.value}'
             ORDER BY due_at LIMIT {self._p}2
        """

    @cached_property
    def first_due_at(self) -> str:
        """Find the earliest due time of a pending order."""
        return f"""
            SELECT due_at FROM orders
             WHERE awaits_due = 1 AND due_at IS NOT NULL AND status = '{OrderStatus.PENDING.value}'
             ORDER BY due_at LIMIT 1
        """

    def _value(self, table: Table, name: str, place: int) -> str:
        integer = isinstance(table.c[name].type, Integer)
        return f"(w.value ->> {place}){self._int}" if integer else f"w.value ->> {place}"

    def _assignments(self, table: Table, names: tuple[str, ...], start: int) -> str:
        return ", ".join(f'"{n}" = {self._value(table, n, place)}' for place, n in enumerate(names, start))

    def _insert(self, table: Table, names: tuple[str, ...]) -> str:
        values = ", ".join(self._value(table, name, place) for place, name in enumerate(names))
        return f"""
            INSERT INTO {table.name} ({columns(names)})
            SELECT {values}
              FROM {self._set}
        """

    def _upsert(self, table: Table, names: tuple[str, ...]) -> str:
        key = tuple(column.name for column in table.primary_key.columns)
        state = ", ".join(f'"{name}" = excluded."{name}"' for name in names if name not in key)
        return f"""
            {self._insert(table, names)}
             WHERE true
            ON CONFLICT ({columns(key)}) DO UPDATE
               SET {state}
        """

    def _orders_by(self, key: str, wanted: tuple[str, ...], also: str = "") -> str:
        return f"""
            SELECT {columns(wanted, "o.")}{also}
              FROM {self._set}
              {self._join} orders AS o
                ON o.account_id = w.value ->> 0 AND o.{key} = w.value ->> 1
        """


_HAS_SAVED_CARDS: Final = """,
    EXISTS (SELECT 1 FROM saved_cards AS s
             WHERE s.account_id = o.account_id AND s.customer_email = o.customer_email
               AND s.confirmed_at IS NOT NULL)
"""
_KEY: Final = ("account_id", "key", "fingerprint", "command_id", "status", "reason", "body", "expires_at")
_KEY_CLAIM: Final = ("account_id", "key", "fingerprint", "command_id", "expires_at")


def columns(names: tuple[str, ...], prefix: str = "") -> str:
    """List columns as a statement does."""
    return ", ".join(f'{prefix}"{name}"' for name in names)
