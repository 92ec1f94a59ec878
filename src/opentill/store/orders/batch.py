"""The verbs of batches and snapshots, on any database: prepared statements that take whole sets.

A store opens the transaction and hands in how a statement is run and in which words; nothing here
knows which database it is.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, TypeVar

import msgspec
from sqlalchemy import Connection

from opentill.domain.events import Event
from opentill.domain.ledger import entries_for
from opentill.domain.order import Attempt, Credit, Order, Refund, Return
from opentill.domain.transition import Change
from opentill.store.databases.database import Cursor, Run
from opentill.store.errors import Transient
from opentill.store.orders import rows
from opentill.store.orders.contract import (
    Balance,
    CommitMarker,
    Facts,
    KeyClaim,
    KeyRecord,
    Name,
    OrderFilter,
    OrderPage,
    OrderView,
    StoredReply,
    TokenId,
    TransactionFilter,
    TransactionView,
    Versions,
)
from opentill.store.orders.lists import select_orders
from opentill.store.orders.rows import TERMS
from opentill.store.orders.statements import ORDER, Statements
from opentill.store.orders.transactions import select_transactions

ORDER_ID_CHARACTERS: Final = 36
_VIEW: Final = len(ORDER) + len(TERMS)

_Child = TypeVar("_Child")

_encode = msgspec.json.Encoder().encode


class SnapshotRepository:
    """Reads orders and what belongs to them as of one moment."""

    def __init__(self, run: Run, statements: Statements, core: Callable[[], Connection]):
        self._run = run
        self._statements = statements
        self._core = core

    def facts(self, tokens: Collection[TokenId]) -> Facts:
        """Read clock and tokens by one statement."""
        return _facts(self._run, self._statements, tokens)

    def orders(self, names: Collection[Name]) -> Mapping[Name, OrderView]:
        """Load the orders by their names, then what belongs to them."""
        loaded = self._views(names)
        views = _order_views(self._run, self._statements, loaded.values())
        return {name: views[row[0], row[1]] for name, row in loaded.items()}

    def _views(self, names: Collection[Name]) -> dict[Name, rows.Row]:
        """Load rows by name: references first, then, for what is left and may be one, order ids."""
        by_reference = self._run(self._statements.views_by_reference, (as_set(list(names)),))
        found: dict[Name, rows.Row] = {(row[0], row[2]): row for row in by_reference.fetchall()}
        rest = [name for name in names if _may_be_order_id(name) and name not in found]
        if rest:
            by_id = self._run(self._statements.views_by_id, (as_set(rest),))
            found |= {(row[0], row[1]): row for row in by_id.fetchall()}
        return found

    def versions(self, orders: Collection[Name]) -> Versions:
        """Read clock and versions by one statement."""
        found = self._run(self._statements.versions, (as_set(list(orders)),)).fetchall()
        of = {(account_id, order_id): version for _, account_id, order_id, version in found if order_id}
        return Versions(found[0][0], of)

    def order_of_transaction(self, account_id: str, transaction_id: str) -> OrderView | None:
        """Find the order's id by the transaction, then load it."""
        found = _orders_of_transactions(self._run, self._statements, [(account_id, transaction_id)])
        return next(iter(self.orders(list(found.values())).values()), None)

    def order_of_session(self, account_id: str, session_id: str) -> OrderView | None:
        """Load the order of the newest credit with this session id."""
        return next(iter(self._views_of(self._statements.order_of_session, account_id, session_id)), None)

    def held_credits(self, limit: int) -> list[OrderView]:
        """Load the orders that an index of held credits names."""
        return self._views_of(self._statements.orders_with_held_money, limit)

    def open_returns(self, limit: int) -> list[OrderView]:
        """Load the orders that an index of open returns names."""
        return self._views_of(self._statements.orders_with_open_returns, limit)

    def _views_of(self, statement: str, *values: Any) -> list[OrderView]:
        """Load the orders that a statement names, each once, in its order."""
        found = self._run(statement, values).fetchall()
        names = list(dict.fromkeys((row[0], row[1]) for row in found))
        views = views_by_id(self._run, self._statements, names)
        return [views[name] for name in names]

    def transactions(self, wanted: TransactionFilter) -> list[TransactionView]:
        """List attempts and transfers by ``store.orders.transactions``."""
        return select_transactions(self._core(), wanted)

    def list_orders(self, wanted: OrderFilter) -> OrderPage:
        """List orders by ``store.orders.lists``."""
        return select_orders(self._core(), wanted)

    def overdue_calls(self, now: int, limit: int) -> list[OrderView]:
        """Load the orders that three indexes of running calls name."""
        found = self._run(self._statements.overdue_calls, (now, limit)).fetchall()
        names = dict.fromkeys((row[0], row[1]) for row in found)
        return list(self.orders(list(names)).values())

    def events(self, account_id: str, order_id: str) -> list[Event]:
        """Read one order's events by their key."""
        found = self._run(self._statements.events_of_order, (account_id, order_id)).fetchall()
        return [rows.event(row) for row in found]

    def trial_balance(self, account_id: str) -> list[Balance]:
        """Sum one merchant's entries by account and currency."""
        return [Balance(*row) for row in self._run(self._statements.trial_balance, (account_id,)).fetchall()]

    def due_orders(self, now: int, limit: int) -> list[Name]:
        """Name the orders that an index of those awaiting their due time holds."""
        return [(row[0], row[1]) for row in self._run(self._statements.due_orders, (now, limit)).fetchall()]

    def first_due_at(self) -> int | None:
        """Read the first place of the index of those awaiting their due time."""
        found = self._run(self._statements.first_due_at, ()).fetchone()
        return None if found is None else int(found[0])


class BatchRepository:
    """The batch repository: loads and writes all that a batch touches. A driver adds how it is committed."""

    def __init__(self, run: Run, statements: Statements):
        self._run = run
        self._statements = statements

    def facts(self, tokens: Collection[TokenId]) -> Facts:
        """Read clock and tokens by one statement."""
        return _facts(self._run, self._statements, tokens)

    def claim_keys(self, claims: Sequence[KeyClaim], now: int, expires_at: int) -> Mapping[Name, KeyRecord]:
        """Insert what is free, take over what has run out, then read who holds the rest."""
        wanted = sorted((c.account_id, c.key, c.fingerprint, c.command_id, expires_at) for c in claims)
        rest = _without(wanted, self._run(self._statements.claim_keys, (as_set(wanted),)))
        if rest:
            rest = _without(rest, self._run(self._statements.renew_keys, (as_set(rest), now)))
        if not rest:
            return {}
        records = self._run(self._statements.read_keys, (as_set([row[:2] for row in rest]),)).fetchall()
        if len(records) < len(rest):
            raise Transient("a key was purged meanwhile")
        return {(record[0], record[1]): _key_record(record) for record in records}

    def orders_of_transactions(self, transactions: Collection[Name]) -> Mapping[Name, Name]:
        """Look attempts and credits up by one statement."""
        return _orders_of_transactions(self._run, self._statements, transactions)

    def lock_orders(self, names: Collection[Name]) -> Collection[Order]:
        """Lock orders by one statement in key order, then load what belongs to them."""
        by_name = any(map(_may_be_order_id, names))
        lock = self._statements.lock_by_name if by_name else self._statements.lock_by_reference
        found = self._run(lock, (as_set(list(names)),)).fetchall()
        return _whole_orders(self._run, self._statements, found).values()

    def saved_cards(self, payments: Collection[Name]) -> Collection[Name]:
        """Lock the cards by one statement."""
        found = self._run(self._statements.lock_saved_cards, (as_set(sorted(payments)),)).fetchall()
        return {(row[0], row[1]) for row in found}

    def keys(self, names: Collection[Name], now: int) -> Mapping[Name, KeyRecord]:
        """Read the records and leave out, here, those past their expiry."""
        found = self._run(self._statements.read_keys, (as_set(list(names)),)).fetchall()
        return {(row[0], row[1]): _key_record(row) for row in found if row[-1] > now}

    def write(self, changes: Sequence[Change]) -> None:
        """Write table by table in one order, each table by one statement in key order."""
        ordered = sorted(changes, key=lambda c: (c.after.account_id, c.after.order_id))
        self._write_new([c for c in ordered if c.before is None])
        self._write_changed([c for c in ordered if c.before is not None])
        self._insert(
            self._statements.write_attempts, _changed(ordered, lambda o: o.attempts, rows.attempt_row)
        )
        self._insert(self._statements.write_refunds, _changed(ordered, lambda o: o.refunds, rows.refund_row))
        self._write_transfers([c for c in ordered if c.after.credit_count])
        saved = [rows.saved_card_row(c.saved_card) for c in ordered if c.saved_card is not None]
        self._insert(self._statements.insert_saved_cards, sorted(saved))
        self._insert(self._statements.insert_events, [rows.event_row(e) for c in ordered for e in c.events])
        self._insert(self._statements.insert_entries, list(_entry_rows(ordered)))

    def _write_new(self, changes: list[Change]) -> None:
        """Insert in the order of references: two batches that create the same must meet at the same first."""
        new = [
            rows.order_facts(c.after) + rows.order_state(c.after) + rows.terms_row(c.terms)
            for c in sorted(changes, key=lambda c: (c.after.account_id, c.after.reference))
            if c.terms is not None
        ]
        if new and self._run(self._statements.insert_orders, (as_set(new),)).rowcount != len(new):
            raise Transient("a new order's reference was taken meanwhile")

    def _write_changed(self, changes: list[Change]) -> None:
        changed = [
            (c.after.account_id, c.after.order_id, c.before.version, *rows.order_state(c.after))
            for c in changes
            if c.before is not None
        ]
        if changed and self._run(self._statements.update_orders, (as_set(changed),)).rowcount != len(changed):
            raise Transient("an order changed after it was judged")

    def _write_transfers(self, changes: list[Change]) -> None:
        self._insert(self._statements.write_credits, _changed(changes, lambda o: o.credits, rows.credit_row))
        self._insert(self._statements.write_returns, _changed(changes, lambda o: o.returns, rows.return_row))

    def _insert(self, statement: str, new: list[rows.Row]) -> None:
        if new:
            self._run(statement, (as_set(new),))

    def write_keys(self, records: Collection[KeyRecord], now: int, expires_at: int) -> None:
        """Write keys by one guarded upsert; the count of rows tells whether one was taken."""
        new = sorted(
            (k.account_id, k.key, k.fingerprint, k.command_id, *_reply_row(k.reply), expires_at)
            for k in records
        )
        if new and self._run(self._statements.write_keys, (as_set(new), now)).rowcount != len(new):
            raise Transient("an idempotency key was used meanwhile")

    def store_replies(self, replies: Mapping[Name, StoredReply]) -> None:
        """Complete running keys by one statement."""
        done = sorted((*name, *_reply_row(reply)) for name, reply in replies.items())
        self._insert(self._statements.store_replies, done)

    def contains(self, marker: CommitMarker) -> bool:
        """Look for the marker's key, or lock its order and look for its event."""
        m = marker
        if m.key is not None:
            found = self._run(self._statements.key_exists, (m.account_id, m.key, m.event_id))
        else:
            self._run(self._statements.lock_order, (m.account_id, m.order_id))
            identity = (m.account_id, m.order_id, m.sequence, m.event_id)
            found = self._run(self._statements.event_exists, identity)
        return found.fetchone() is not None


def as_set(values: Sequence[Any]) -> str:
    """Encode rows as a statement takes them."""
    return _encode(values).decode()


def views_by_id(run: Run, statements: Statements, names: Collection[Name]) -> dict[Name, OrderView]:
    """Load the orders of these (account, order id) with all that belongs to them."""
    return _order_views(run, statements, run(statements.views_by_id, (as_set(list(names)),)).fetchall())


def _order_views(run: Run, statements: Statements, found: Collection[rows.Row]) -> dict[Name, OrderView]:
    """Make views of these rows, by (account, order id)."""
    orders = _whole_orders(run, statements, found)
    return {
        (row[0], row[1]): OrderView(
            orders[row[0], row[1]], rows.terms(row[len(ORDER) : _VIEW]), has_saved_cards=bool(row[_VIEW])
        )
        for row in found
    }


def _may_be_order_id(name: Name) -> bool:
    return len(name[1]) == ORDER_ID_CHARACTERS


def _without(wanted: list[rows.Row], taken: Cursor) -> list[rows.Row]:
    """Return the claims whose (account, key) is not among the returned ones."""
    ours = {tuple(row) for row in taken.fetchall()}
    return [row for row in wanted if row[:2] not in ours]


def _facts(run: Run, statements: Statements, tokens: Collection[TokenId]) -> Facts:
    found = run(statements.facts, (as_set([(t.account_id, t.jti) for t in tokens]),)).fetchall()
    alive = {TokenId(account_id, jti) for *_, account_id, jti in found}
    return Facts(found[0][0], frozenset(t for t in tokens if t not in alive), found[0][1])


def _whole_orders(run: Run, statements: Statements, found: Iterable[rows.Row]) -> dict[Name, Order]:
    """Make the orders of these rows by (account, order id): each once, whatever it was asked for by.

    Those that count children get them by statements of their own, later. Read together with their order,
    children would be those from before the wait for its lock (laws 1).
    """
    loaded = {(row[0], row[1]): row for row in found}
    orders = {name: rows.order(row) for name, row in loaded.items()}
    children = _Children(run, statements, orders)
    return {
        name: rows.order(loaded[name], *children.of(order))
        if order.attempt_count or order.credit_count
        else order
        for name, order in orders.items()
    }


class _Children:
    """The children of some orders, oldest first. A table of which none of them counts a row costs no read."""

    def __init__(self, run: Run, statements: Statements, orders: Mapping[Name, Order]):
        self._run = run
        paid_by_transfer = [name for name, order in orders.items() if order.credit_count]
        self._attempts = self._read(
            statements.attempts_of_orders, rows.attempt, [n for n, o in orders.items() if o.attempt_count]
        )
        self._refunds = self._read(
            statements.refunds_of_orders, rows.refund, [n for n, o in orders.items() if o.refund_count]
        )
        self._credits = self._read(statements.credits_of_orders, rows.credit, paid_by_transfer)
        self._returns = self._read(statements.returns_of_orders, rows.return_, paid_by_transfer)

    def _read(
        self, statement: str, child: Callable[[rows.Row], _Child], names: Sequence[Name]
    ) -> dict[Name, tuple[_Child, ...]]:
        """Read the children of these orders, by (account, order id)."""
        found: dict[Name, tuple[_Child, ...]] = {}
        if names:
            for row in self._run(statement, (as_set(sorted(names)),)).fetchall():
                of = (row[0], row[2])
                found[of] = (*found.get(of, ()), child(row))
        return found

    def of(
        self, order: Order
    ) -> tuple[tuple[Attempt, ...], tuple[Refund, ...], tuple[Credit, ...], tuple[Return, ...]]:
        """Return what belongs to one of them."""
        name = order.account_id, order.order_id
        return (
            self._attempts.get(name, ()),
            self._refunds.get(name, ()),
            self._credits.get(name, ()),
            self._returns.get(name, ()),
        )


def _orders_of_transactions(
    run: Run, statements: Statements, transactions: Collection[Name]
) -> dict[Name, Name]:
    found = run(statements.orders_of_transactions, (as_set(list(transactions)),)).fetchall()
    return {(account_id, transaction): (account_id, order_id) for account_id, transaction, order_id in found}


def _key_record(row: rows.Row) -> KeyRecord:
    account_id, key, fingerprint, command_id, status, reason, body, _expires_at = row
    reply = StoredReply(status, reason, body.encode()) if status is not None else None
    return KeyRecord(account_id, key, fingerprint, command_id, reply)


def _reply_row(reply: StoredReply | None) -> rows.Row:
    return (reply.status, reply.reason, reply.body.decode()) if reply else (None, None, None)


def _changed(
    changes: Sequence[Change],
    children_of: Callable[[Order], tuple[_Child, ...]],
    row_of: Callable[[Order, _Child], rows.Row],
) -> list[rows.Row]:
    """Make the rows of the children that these changes added or altered, in the order of their keys."""
    return sorted(
        row_of(change.after, child)
        for change in changes
        for child in children_of(change.after)
        if change.before is None or child not in children_of(change.before)
    )


def _entry_rows(changes: Sequence[Change]) -> Iterator[rows.Row]:
    for change in changes:
        for event in change.events:
            for line, entry in enumerate(entries_for(event)):
                yield (
                    event.account_id,
                    event.order_id,
                    event.sequence,
                    line,
                    entry.account,
                    entry.currency,
                    entry.amount,
                    event.at,
                )
