"""The statements of batches and snapshots, by name. Each takes a whole set of rows at once.

SQLite takes a set as one JSON array of arrays (``json_each``), so that the text of a statement and
the number of statements do not depend on how many commands share the commit. CROSS JOIN keeps the
planner from turning the small set into the inner loop. The PostgreSQL twins will stand beside them.
"""

from typing import Final

from opentill.domain.order import OrderStatus
from opentill.store.rows import ATTEMPT, ENTRY, EVENT, ORDER_FACTS, ORDER_STATE, REFUND, TERMS


def _columns(names: tuple[str, ...], prefix: str = "") -> str:
    return ", ".join(f'{prefix}"{name}"' for name in names)


def _values(count: int, start: int = 0) -> str:
    return ", ".join(f"w.value ->> {i}" for i in range(start, start + count))


def _assignments(names: tuple[str, ...], start: int) -> str:
    return ", ".join(f'"{name}" = w.value ->> {i}' for i, name in enumerate(names, start))


ORDER: Final = ORDER_FACTS + ORDER_STATE

FACTS: Final = """
    SELECT i.clock_offset, t.account_id, t.jti
      FROM installation AS i
      LEFT JOIN (SELECT t.account_id, t.jti
                   FROM json_each(?) AS w
                  CROSS JOIN tokens AS t
                     ON t.account_id = w.value ->> 0 AND t.jti = w.value ->> 1
                  WHERE t.revoked_at IS NULL) AS t
"""
"""The clock's offset, once for each of the asked tokens that is alive (at least once)."""

CLAIM_KEYS: Final = f"""
    INSERT INTO idempotency_keys (account_id, key, fingerprint, command_id, expires_at)
    SELECT {_values(5)} FROM json_each(?) AS w WHERE true
    ON CONFLICT (account_id, key) DO UPDATE
       SET fingerprint = excluded.fingerprint, command_id = excluded.command_id,
           expires_at = excluded.expires_at, status = NULL, reason = NULL, body = NULL
     WHERE idempotency_keys.expires_at <= ?
    RETURNING account_id, key
"""
"""Returns the keys that are now ours: new ones, and those whose retention had run out."""

READ_KEYS: Final = """
    SELECT k.account_id, k.key, k.fingerprint, k.command_id, k.status, k.reason, k.body
      FROM json_each(?) AS w
     CROSS JOIN idempotency_keys AS k ON k.account_id = w.value ->> 0 AND k.key = w.value ->> 1
"""

STORE_REPLIES: Final = """
    UPDATE idempotency_keys
       SET status = w.value ->> 2, reason = w.value ->> 3, body = w.value ->> 4
      FROM json_each(?) AS w
     WHERE idempotency_keys.account_id = w.value ->> 0
       AND idempotency_keys.key = w.value ->> 1
       AND idempotency_keys.status IS NULL
"""


def _orders_by(key: str, columns: tuple[str, ...]) -> str:
    return f"""
    SELECT {_columns(columns, "o.")}
      FROM json_each(?) AS w
     CROSS JOIN orders AS o ON o.account_id = w.value ->> 0 AND o.{key} = w.value ->> 1
"""


ORDERS_BY_REFERENCE: Final = _orders_by("reference", ORDER)
ORDERS_BY_ID: Final = _orders_by("order_id", ORDER)
VIEWS_BY_REFERENCE: Final = _orders_by("reference", ORDER + TERMS)
VIEWS_BY_ID: Final = _orders_by("order_id", ORDER + TERMS)

ATTEMPTS_OF_ORDERS: Final = f"""
    SELECT {_columns(ATTEMPT, "a.")}
      FROM json_each(?) AS w
     CROSS JOIN attempts AS a ON a.account_id = w.value ->> 0 AND a.order_id = w.value ->> 1
     ORDER BY a.started_at, a.transaction_id
"""

REFUNDS_OF_ORDERS: Final = f"""
    SELECT {_columns(REFUND, "r.")}
      FROM json_each(?) AS w
     CROSS JOIN refunds AS r ON r.account_id = w.value ->> 0 AND r.order_id = w.value ->> 1
     ORDER BY r.started_at, r.refund_id
"""

ORDERS_OF_TRANSACTIONS: Final = """
    SELECT a.account_id, a.transaction_id, a.order_id
      FROM json_each(?) AS w
     CROSS JOIN attempts AS a ON a.account_id = w.value ->> 0 AND a.transaction_id = w.value ->> 1
"""

INSERT_ORDERS: Final = f"""
    INSERT INTO orders ({_columns(ORDER + TERMS)})
    SELECT {_values(len(ORDER + TERMS))} FROM json_each(?) AS w WHERE true
    ON CONFLICT DO NOTHING
"""

UPDATE_ORDERS: Final = f"""
    UPDATE orders SET {_assignments(ORDER_STATE, start=3)}
      FROM json_each(?) AS w
     WHERE orders.account_id = w.value ->> 0
       AND orders.order_id = w.value ->> 1
       AND orders.version = w.value ->> 2
"""
"""Compare-and-set: only rows still at the version that was judged are written."""

_ATTEMPT_STATE: Final = tuple(name for name in ATTEMPT if name not in ("account_id", "transaction_id"))

WRITE_ATTEMPTS: Final = f"""
    INSERT INTO attempts ({_columns(ATTEMPT)})
    SELECT {_values(len(ATTEMPT))} FROM json_each(?) AS w WHERE true
    ON CONFLICT (account_id, transaction_id) DO UPDATE
       SET {", ".join(f'"{name}" = excluded."{name}"' for name in _ATTEMPT_STATE)}
"""
"""Needs no guard of its own: an attempt changes only together with its order, whose version guards it."""

_REFUND_STATE: Final = tuple(name for name in REFUND if name not in ("account_id", "refund_id"))

WRITE_REFUNDS: Final = f"""
    INSERT INTO refunds ({_columns(REFUND)})
    SELECT {_values(len(REFUND))} FROM json_each(?) AS w WHERE true
    ON CONFLICT (account_id, refund_id) DO UPDATE
       SET {", ".join(f'"{name}" = excluded."{name}"' for name in _REFUND_STATE)}
"""
"""As ``WRITE_ATTEMPTS``."""

INSERT_EVENTS: Final = f"""
    INSERT INTO events ({_columns(EVENT)}) SELECT {_values(len(EVENT))} FROM json_each(?) AS w
"""

INSERT_ENTRIES: Final = f"""
    INSERT INTO ledger_entries ({_columns(ENTRY)}) SELECT {_values(len(ENTRY))} FROM json_each(?) AS w
"""

EVENTS_OF_ORDER: Final = f"""
    SELECT {_columns(EVENT)} FROM events WHERE account_id = ? AND order_id = ? ORDER BY sequence
"""

TRIAL_BALANCE: Final = """
    SELECT ledger_account, currency,
           SUM(CASE WHEN amount > 0 THEN amount ELSE 0 END), SUM(CASE WHEN amount < 0 THEN -amount ELSE 0 END)
      FROM ledger_entries
     WHERE account_id = ?
     GROUP BY ledger_account, currency
     ORDER BY ledger_account, currency
"""

EVENT_EXISTS: Final = """
    SELECT 1 FROM events WHERE account_id = ? AND order_id = ? AND sequence = ? AND event_id = ?
"""

KEY_EXISTS: Final = "SELECT 1 FROM idempotency_keys WHERE account_id = ? AND key = ? AND command_id = ?"

OVERDUE_CALLS: Final = """
    SELECT account_id, order_id, call_until FROM attempts WHERE call_until <= ?1
    UNION ALL
    SELECT account_id, order_id, call_until FROM refunds WHERE call_until <= ?1
    ORDER BY call_until LIMIT ?2
"""

DUE_ORDERS: Final = f"""
    SELECT {_columns(ORDER)} FROM orders
     WHERE due_at <= ? AND status = '{OrderStatus.PENDING.value}'
     ORDER BY due_at LIMIT ?
"""
