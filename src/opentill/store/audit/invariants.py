"""The invariants: one statement for each, which finds the orders that break it.

The statements are portable SELECTs, set-wise over all orders. Words of the domain come in as parameters,
and what an event books is asked of ``domain.ledger`` itself.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import product
from typing import Final

from opentill.domain.commands import Actor, ActorKind
from opentill.domain.events import Event, EventType
from opentill.domain.ledger import (
    CARD_RAIL,
    FEES,
    PAYOUTS_DISPUTED,
    REFUNDS_DUE,
    RETURNS_DUE,
    TRANSFER_RAIL,
    entries_for,
    merchant_balance,
)
from opentill.domain.order import (
    AttemptStatus,
    LateMoney,
    Method,
    OrderStatus,
    Parts,
    RefundStatus,
    ReturnStatus,
)
from opentill.domain.suspense import SUSPENSE
from opentill.store.orders.rows import Row


@dataclass(frozen=True, slots=True)
class Check:
    """One invariant of the whole database."""

    name: str
    claim: str
    """The claim that holds for every order."""
    statement: str
    """Finds (account id, order id, what is wrong) of whatever breaks the claim; no row: it holds."""
    finding: int = 0
    """Where one statement serves several claims, and finds one ``what`` for each: this claim's, from 0.

    Such checks stand side by side in ``CHECKS``, and their statement runs once.
    """
    judge: Callable[[Iterable[Row]], Iterable[Row]] = iter
    """Makes such rows of what the statement finds, where it only brings together what is to be judged."""


WORDS: Final = {
    **{f"order_{status.name.lower()}": status.value for status in OrderStatus},
    **{f"attempt_{status.name.lower()}": status.value for status in AttemptStatus},
    **{f"refund_{status.name.lower()}": status.value for status in RefundStatus},
    **{f"return_{status.name.lower()}": status.value for status in ReturnStatus},
    "payment": EventType.PAYMENT_SUCCESS.value,
    "cancel": EventType.ORDER_CANCELLED.value,
    "refund_started": EventType.REFUND_STARTED.value,
    "card_rail": CARD_RAIL,
    "transfer_rail": TRANSFER_RAIL,
    "late_money_hold": LateMoney.HOLD.value,
    "house": SUSPENSE,
    "returns_due": RETURNS_DUE,
    "refunds_due": REFUNDS_DUE,
    "payouts_disputed": PAYOUTS_DISPUTED,
    "fees": FEES,
    "merchant_balances": merchant_balance("%"),
}
"""The parameters that statements may name."""

_SOMEBODY: Final = "~"
"""Stands for the beneficiary when the domain is asked what it books."""
_AMOUNT, _FEE = 1000, 1
"""Of the events that it is asked about; by them what it answers can be told apart."""
_WHAT: Final = {_AMOUNT: "whole", _AMOUNT - _FEE: "rest", _FEE: "fee"}


def _bookings() -> str:
    """Spell what each type of event books: rows (type, method, account, its beneficiary's own?, what, sign).

    Besides, shares are booked on accounts that are nobody's whom the type could name.
    """
    rows = []
    for type_, method in product(EventType, Method):
        event = Event(
            event_id="",
            account_id="",
            order_id="",
            sequence=1,
            type=type_,
            before=None,
            after=OrderStatus.PENDING,
            actor=Actor(ActorKind.WORKER),
            at=0,
            amount=_AMOUNT,
            beneficiary=_SOMEBODY,
            method=method,
            parts=Parts(fee=_FEE),
        )
        for entry in entries_for(event):
            account = entry.account.removesuffix(_SOMEBODY)
            own = int(account != entry.account)
            what, sign = _WHAT[abs(entry.amount)], 1 if entry.amount > 0 else -1
            rows.append(f"('{type_}', '{method}', '{account}', {own}, '{what}', {sign})")
    return f"booking (type, method, ledger_account, own, what, sign) AS (VALUES {', '.join(rows)})"


# --- the checks -----------------------------------------------------------------------------------

_MONEY_ACCOUNTED_FOR = """
    SELECT account_id, order_id,
           'received ' || received || ', applied ' || applied || ', held ' || held ||
           ', returning ' || "returning" || ', returned ' || returned
      FROM orders
     WHERE received <> applied + held + "returning" + returned
        OR applied < 0 OR held < 0 OR "returning" < 0 OR returned < 0
"""

_ENDINGS_DATED = """
    SELECT account_id, order_id, 'the times of its endings do not fit the status ' || status
      FROM orders
     WHERE (status = :order_paid) <> (paid_at IS NOT NULL)
        OR (status = :order_paid) <> (paid_by IS NOT NULL)
        OR (status = :order_cancelled) <> (cancelled_at IS NOT NULL)
        OR (status = :order_expired AND expired_at IS NULL)
"""

_DUE_AWAITED = """
    SELECT account_id, order_id, 'it falls due and nobody looks for it'
      FROM orders
     WHERE status = :order_pending AND due_at IS NOT NULL AND awaits_due <> 1
"""

_NAMES_UNAMBIGUOUS = """
    SELECT o.account_id, o.order_id, 'its reference is the order id of another order'
      FROM orders AS o
      JOIN orders AS other ON other.account_id = o.account_id AND other.order_id = o.reference
     WHERE other.order_id <> o.order_id
"""

_PAID_IN_FULL = """
    SELECT account_id, order_id, 'status ' || status || ' with ' || applied || ' of ' || amount || ' applied'
      FROM orders
     WHERE applied <> CASE WHEN status = :order_paid THEN amount ELSE 0 END
"""

_HISTORY = """
    SELECT o.account_id, o.order_id,
           CASE WHEN payments <> CASE WHEN status = :order_paid THEN 1 ELSE 0 END
                  OR cancels <> CASE WHEN status = :order_cancelled THEN 1 ELSE 0 END
                THEN 'status ' || status || ' with ' || payments || ' payments and ' || cancels || ' cancels'
           END,
           CASE WHEN number <> version OR lowest <> 1 OR highest <> version
                THEN 'version ' || version || ' with ' || number || ' events, numbered ' ||
                     coalesce(lowest, 0) || ' to ' || coalesce(highest, 0)
           END,
           CASE WHEN jump IS NOT NULL
                THEN 'event ' || jump || ' does not begin where the one before it ended' END,
           CASE WHEN highest = version AND ends_at <> status
                THEN 'status ' || status || ', the last event ended at ' || ends_at END,
           CASE WHEN misplaced IS NOT NULL
                THEN 'event ' || misplaced || ' has its place before that of the event before it' END
      FROM (SELECT o.account_id, o.order_id, o.status, o.version, h.jump, h.misplaced, h.lowest, h.highest,
                   z."after" AS ends_at, coalesce(h.number, 0) AS number,
                   coalesce(h.payments, 0) AS payments, coalesce(h.cancels, 0) AS cancels
              FROM orders AS o
              LEFT JOIN (SELECT e.account_id, e.order_id, count(*) AS number,
                                min(e.sequence) AS lowest, max(e.sequence) AS highest,
                                count(CASE WHEN e.type = :payment THEN 1 END) AS payments,
                                count(CASE WHEN e.type = :cancel THEN 1 END) AS cancels,
                                min(CASE WHEN (e.sequence = 1 OR b.sequence IS NOT NULL)
                                          AND coalesce(e."before", '') <> coalesce(b."after", '')
                                         THEN e.sequence END) AS jump,
                                min(CASE WHEN e.place IS NOT NULL AND b.sequence IS NOT NULL
                                          AND coalesce(b.place, e.place) >= e.place
                                         THEN e.sequence END) AS misplaced
                           FROM events AS e
                           LEFT JOIN events AS b
                             ON b.account_id = e.account_id AND b.order_id = e.order_id
                            AND b.sequence = e.sequence - 1
                          GROUP BY e.account_id, e.order_id) AS h
                ON h.account_id = o.account_id AND h.order_id = o.order_id
              LEFT JOIN events AS z
                ON z.account_id = o.account_id AND z.order_id = o.order_id AND z.sequence = o.version) AS o
     WHERE payments <> CASE WHEN status = :order_paid THEN 1 ELSE 0 END
        OR cancels <> CASE WHEN status = :order_cancelled THEN 1 ELSE 0 END
        OR number <> version OR lowest <> 1 OR highest <> version
        OR jump IS NOT NULL OR misplaced IS NOT NULL OR ends_at <> status
"""
"""One walk through all events, each beside the one before it, for five claims."""

_MONEY_OF_THE_ORDER = """
    SELECT e.account_id, e.order_id,
           'event ' || e.sequence || ' moves ' || e.currency || ' of ' || e.beneficiary ||
           coalesce(', shared as ' || e.shares, '')
      FROM events AS e
      JOIN orders AS o ON o.account_id = e.account_id AND o.order_id = e.order_id
     WHERE e.amount <> 0
       AND (e.currency <> o.currency OR e.beneficiary <> coalesce(o.sub_account_id, o.account_id)
            OR (e.shares IS NOT NULL AND o.shares IS NULL))
"""

_ENTRIES_FOLLOW_EVENTS = f"""
      WITH {_bookings()}
    SELECT e.account_id, e.order_id,
           'event ' || e.sequence || ': not on ' || b.ledger_account || ' as ' || e.type || ' books'
      FROM events AS e
     CROSS JOIN booking AS b
      LEFT JOIN ledger_entries AS l
        ON l.account_id = e.account_id AND l.order_id = e.order_id AND l.sequence = e.sequence
       AND l.ledger_account = b.ledger_account || CASE WHEN b.own = 1 THEN e.beneficiary ELSE '' END
       AND l.currency = e.currency AND l.at = e.at
       AND l.amount = b.sign * CASE b.what WHEN 'fee' THEN e.fee ELSE e.amount END
     WHERE e.type IN (SELECT type FROM booking) AND b.type = e.type AND b.method = e.method
       AND CASE b.what WHEN 'fee' THEN e.fee <> 0
                       WHEN 'rest' THEN e.amount <> 0 AND e.fee = 0 AND e.shares IS NULL
                       ELSE e.amount <> 0 END
       AND l.line IS NULL
     UNION ALL
    SELECT l.account_id, l.order_id,
           'event ' || l.sequence || ', line ' || l.line || ': ' || e.type || ' books nothing on ' ||
           l.ledger_account
      FROM ledger_entries AS l
      JOIN events AS e
        ON e.account_id = l.account_id AND e.order_id = l.order_id AND e.sequence = l.sequence
      LEFT JOIN booking AS b
        ON b.type = e.type AND b.method = e.method AND NOT (b.what = 'fee' AND e.fee = 0)
       AND l.ledger_account = b.ledger_account || CASE WHEN b.own = 1 THEN e.beneficiary ELSE '' END
     WHERE b.type IS NULL AND NOT (e.shares IS NOT NULL AND l.ledger_account LIKE :merchant_balances)
        OR l.currency <> e.currency OR l.at <> e.at
     UNION ALL
    SELECT account_id, order_id, 'event ' || sequence || ': ' || type || ' has no parts'
      FROM events
     WHERE (fee <> 0 OR shares IS NOT NULL) AND type NOT IN (SELECT type FROM booking WHERE what = 'fee')
     UNION ALL
    SELECT account_id, order_id, 'event ' || sequence || ': its entries sum to ' || sum(amount)
      FROM ledger_entries
     GROUP BY account_id, order_id, sequence
    HAVING sum(amount) <> 0
"""  # noqa: S608 - put together from the domain's own words
"""Where an event has parts, the beneficiary's line is the rest: what makes the sum zero."""

_ENTRIES_HAVE_EVENTS = """
    SELECT l.account_id, l.order_id, 'entry without its event ' || l.sequence
      FROM ledger_entries AS l
      LEFT JOIN events AS e
        ON e.account_id = l.account_id AND e.order_id = l.order_id AND e.sequence = l.sequence
     WHERE e.sequence IS NULL
"""

_LEDGER_AGREES = """
    SELECT o.account_id, o.order_id,
           'received ' || o.received || ', returned ' || o.returned || ', applied and kept ' ||
           (o.applied - o.refunded) || ', fee ' || o.fee || '; by the ledger ' || coalesce(l.received, 0) ||
           ', ' || coalesce(l.returned, 0) || ', ' || coalesce(l.kept, 0) || ', ' || coalesce(l.fee, 0)
      FROM orders AS o
      LEFT JOIN (SELECT account_id, order_id,
                        sum(CASE WHEN amount > 0 AND ledger_account IN (:card_rail, :transfer_rail)
                                 THEN amount END) AS received,
                        sum(CASE WHEN amount > 0 AND ledger_account = :returns_due THEN amount END)
                            AS returned,
                        -sum(CASE WHEN ledger_account LIKE :merchant_balances OR ledger_account = :fees
                                  THEN amount END) AS kept,
                        -sum(CASE WHEN ledger_account = :fees THEN amount END) AS fee
                   FROM ledger_entries GROUP BY account_id, order_id) AS l
        ON l.account_id = o.account_id AND l.order_id = o.order_id
     WHERE o.received <> coalesce(l.received, 0) OR o.returned <> coalesce(l.returned, 0)
        OR o.applied - o.refunded <> coalesce(l.kept, 0) OR o.fee <> coalesce(l.fee, 0)
"""

_RETURNS_DUE = """
    SELECT o.account_id, o.order_id,
           'returning ' || o."returning" || '; by the ledger ' || coalesce(l.due, 0)
      FROM orders AS o
      LEFT JOIN (SELECT account_id, order_id, -sum(amount) AS due
                   FROM ledger_entries WHERE ledger_account = :returns_due
                  GROUP BY account_id, order_id) AS l
        ON l.account_id = o.account_id AND l.order_id = o.order_id
     WHERE o."returning" <> coalesce(l.due, 0)
"""

_REFUNDS_DUE = """
    SELECT o.account_id, o.order_id,
           'refunds under way ' || coalesce(r.due, 0) || '; by the ledger ' || coalesce(l.due, 0)
      FROM orders AS o
      LEFT JOIN (SELECT account_id, order_id, sum(amount) AS due
                   FROM refunds WHERE status IN (:refund_running, :refund_unknown)
                  GROUP BY account_id, order_id) AS r
        ON r.account_id = o.account_id AND r.order_id = o.order_id
      LEFT JOIN (SELECT account_id, order_id, -sum(amount) AS due
                   FROM ledger_entries WHERE ledger_account = :refunds_due
                  GROUP BY account_id, order_id) AS l
        ON l.account_id = o.account_id AND l.order_id = o.order_id
     WHERE coalesce(r.due, 0) <> coalesce(l.due, 0)
"""

_DISPUTED_BOOKED = """
    SELECT o.account_id, o.order_id,
           'disputed ' || coalesce(d.amount, 0) || '; by the ledger ' || coalesce(l.amount, 0)
      FROM orders AS o
      LEFT JOIN (SELECT account_id, order_id, sum(amount) AS amount
                   FROM (SELECT account_id, order_id, amount FROM refunds
                          WHERE finer_status = :refund_disputed
                          UNION ALL
                         SELECT account_id, order_id, amount FROM returns
                          WHERE finer_status = :return_disputed) AS d
                  GROUP BY account_id, order_id) AS d
        ON d.account_id = o.account_id AND d.order_id = o.order_id
      LEFT JOIN (SELECT account_id, order_id, sum(amount) AS amount
                   FROM ledger_entries WHERE ledger_account = :payouts_disputed
                  GROUP BY account_id, order_id) AS l
        ON l.account_id = o.account_id AND l.order_id = o.order_id
     WHERE coalesce(d.amount, 0) <> coalesce(l.amount, 0)
"""

_REFUNDS_SUMMED = """
    SELECT account_id, order_id, 'refunded ' || refunded || '; its refunds sum to ' || due
      FROM (SELECT o.account_id, o.order_id, o.refunded,
                   (SELECT coalesce(sum(r.amount), 0) FROM refunds AS r
                     WHERE r.account_id = o.account_id AND r.order_id = o.order_id
                       AND r.status <> :refund_refused) AS due
              FROM orders AS o) AS o
     WHERE refunded <> due
"""

_REFUNDS_CAPPED = """
    SELECT account_id, order_id, 'refunded ' || refunded || ' of ' || applied
      FROM orders
     WHERE refunded NOT BETWEEN 0 AND applied
"""

_REFUNDS_OF_THE_PAYMENT = """
    SELECT o.account_id, o.order_id,
           'refund ' || r.refund_id || ' gives back ' || r.transaction_id || ', which did not pay'
      FROM orders AS o
      JOIN refunds AS r ON r.account_id = o.account_id AND r.order_id = o.order_id
     WHERE r.transaction_id <> coalesce(o.paid_by, '')
"""

_ATTEMPTS_COUNTED = """
    SELECT account_id, order_id, 'counts ' || attempt_count || ' attempts and has ' || number
      FROM (SELECT o.account_id, o.order_id, o.attempt_count,
                   (SELECT count(*) FROM attempts AS c
                     WHERE c.account_id = o.account_id AND c.order_id = o.order_id) AS number
              FROM orders AS o) AS o
     WHERE attempt_count <> number
"""

_REFUNDS_COUNTED = """
    SELECT account_id, order_id, 'counts ' || refund_count || ' refunds and has ' || number
      FROM (SELECT o.account_id, o.order_id, o.refund_count,
                   (SELECT count(*) FROM refunds AS c
                     WHERE c.account_id = o.account_id AND c.order_id = o.order_id) AS number
              FROM orders AS o) AS o
     WHERE refund_count <> number
"""

_PAID_BY_ITS_ATTEMPT = """
    SELECT a.account_id, a.order_id, 'attempt ' || a.transaction_id || ' is approved and did not pay'
      FROM attempts AS a
      JOIN orders AS o ON o.account_id = a.account_id AND o.order_id = a.order_id
     WHERE a.status = :attempt_approved AND a.transaction_id <> coalesce(o.paid_by, '')
     UNION ALL
    SELECT o.account_id, o.order_id, 'paid by ' || o.paid_by || ', which is no payment of it'
      FROM orders AS o
      LEFT JOIN attempts AS a
        ON a.account_id = o.account_id AND a.transaction_id = o.paid_by AND a.order_id = o.order_id
       AND a.status = :attempt_approved
      LEFT JOIN credits AS c
        ON c.account_id = o.account_id AND c.transaction_id = o.paid_by AND c.order_id = o.order_id
       AND c.applied > 0
     WHERE o.paid_by IS NOT NULL AND a.transaction_id IS NULL AND c.transaction_id IS NULL
"""

_ONE_LIVE_ATTEMPT = """
    SELECT account_id, order_id, count(*) || ' attempts are under way'
      FROM attempts
     WHERE status IN (:attempt_calling, :attempt_unknown, :attempt_awaiting_otp, :attempt_awaiting_3ds)
     GROUP BY account_id, order_id
    HAVING count(*) > 1
"""

_CALLS_NOTED = """
    SELECT account_id, order_id, 'attempt ' || transaction_id || ' is ' || status || ' and waits for no call'
      FROM attempts
     WHERE status IN (:attempt_calling, :attempt_unknown, :attempt_voiding) AND call_until IS NULL
     UNION ALL
    SELECT account_id, order_id, 'refund ' || refund_id || ' is ' || status || ' and waits for no call'
      FROM refunds
     WHERE status IN (:refund_running, :refund_unknown) AND call_until IS NULL
     UNION ALL
    SELECT account_id, order_id, 'return ' || transaction_id || ' is ' || status || ' and waits for no call'
      FROM returns
     WHERE status IN (:return_due, :return_running, :return_unknown) AND call_until IS NULL
"""

_OF_ONE_ACCOUNT = """
    SELECT e.account_id, e.order_id, 'event ' || e.sequence || ' of no order of this account'
      FROM (SELECT account_id, order_id, min(sequence) AS sequence
              FROM events GROUP BY account_id, order_id) AS e
      LEFT JOIN orders AS o ON o.account_id = e.account_id AND o.order_id = e.order_id
     WHERE o.order_id IS NULL
     UNION ALL
    SELECT a.account_id, a.order_id, 'attempt ' || a.transaction_id || ' of no order of this account'
      FROM attempts AS a
      LEFT JOIN orders AS o ON o.account_id = a.account_id AND o.order_id = a.order_id
     WHERE o.order_id IS NULL
     UNION ALL
    SELECT r.account_id, r.order_id, 'refund ' || r.refund_id || ' of no order of this account'
      FROM refunds AS r
      LEFT JOIN orders AS o ON o.account_id = r.account_id AND o.order_id = r.order_id
     WHERE o.order_id IS NULL
     UNION ALL
    SELECT c.account_id, c.order_id, 'credit ' || c.transaction_id || ' of no order of this account'
      FROM credits AS c
      LEFT JOIN orders AS o ON o.account_id = c.account_id AND o.order_id = c.order_id
     WHERE o.order_id IS NULL
     UNION ALL
    SELECT r.account_id, r.order_id, 'return of ' || r.transaction_id || ' of no order of this account'
      FROM returns AS r
      LEFT JOIN orders AS o ON o.account_id = r.account_id AND o.order_id = r.order_id
     WHERE o.order_id IS NULL
"""

_FEED_WITHOUT_GAPS = """
    SELECT e.account_id, e.order_id,
           'event ' || e.sequence || ' has place ' || e.place || ' and no event has the one before it'
      FROM events AS e
      LEFT JOIN events AS p ON p.account_id = e.account_id AND p.place = e.place - 1
      LEFT JOIN endpoint_events AS n ON n.account_id = e.account_id AND n.place = e.place - 1
     WHERE e.place <> 1 AND p.place IS NULL AND n.place IS NULL
     UNION ALL
    SELECT e.account_id, e.order_id,
           'event ' || e.sequence || ' is the last of a feed that ends at ' || coalesce(f.place, 0) ||
           ' and has place ' || e.place
      FROM (SELECT account_id, max(place) AS place FROM events GROUP BY account_id) AS l
      JOIN events AS e ON e.account_id = l.account_id AND e.place = l.place
      LEFT JOIN feeds AS f ON f.account_id = l.account_id
     WHERE coalesce(f.place, 0) <> l.place
       AND NOT EXISTS (SELECT 1 FROM endpoint_events AS n
                        WHERE n.account_id = l.account_id AND n.place > l.place)
     UNION ALL
    SELECT n.account_id, n.endpoint_id, n.type || ' has place ' || n.place || ', which an order''s event has'
      FROM endpoint_events AS n
      JOIN events AS e ON e.account_id = n.account_id AND e.place = n.place
     UNION ALL
    SELECT n.account_id, n.endpoint_id,
           n.type || ' has place ' || n.place || ' and no event has the one before it'
      FROM endpoint_events AS n
      LEFT JOIN events AS p ON p.account_id = n.account_id AND p.place = n.place - 1
      LEFT JOIN endpoint_events AS o ON o.account_id = n.account_id AND o.place = n.place - 1
     WHERE n.place <> 1 AND p.place IS NULL AND o.place IS NULL
     UNION ALL
    SELECT n.account_id, n.endpoint_id,
           n.type || ' is the last of a feed that ends at ' || coalesce(f.place, 0) ||
           ' and has place ' || n.place
      FROM (SELECT account_id, max(place) AS place FROM endpoint_events GROUP BY account_id) AS l
      JOIN endpoint_events AS n ON n.account_id = l.account_id AND n.place = l.place
      LEFT JOIN feeds AS f ON f.account_id = l.account_id
     WHERE coalesce(f.place, 0) <> l.place
       AND NOT EXISTS (SELECT 1 FROM events AS e WHERE e.account_id = l.account_id AND e.place > l.place)
"""

CHECKS: Final = (
    Check(
        "money-accounted-for",
        "What was received is applied, held, on its way back or back, and none of it is negative.",
        _MONEY_ACCOUNTED_FOR,
    ),
    Check("endings-dated", "Each status has its times, and only a paid order a payment.", _ENDINGS_DATED),
    Check("due-awaited", "An unpaid order that falls due is looked for.", _DUE_AWAITED),
    Check("names-unambiguous", "No reference is the order id of another order.", _NAMES_UNAMBIGUOUS),
    Check("paid-in-full", "The whole amount is applied when the order is paid, else nothing.", _PAID_IN_FULL),
    Check(
        "one-ending",
        "One payment made a paid order, one cancel a cancelled one; no order has both.",
        _HISTORY,
    ),
    Check("version-counts-events", "The events are numbered 1 to the version.", _HISTORY, 1),
    Check("statuses-follow", "Each event begins where the one before it ended.", _HISTORY, 2),
    Check("status-is-the-last", "The status is where the last event ended.", _HISTORY, 3),
    Check("feed-follows-orders", "In the feed the events of an order follow their numbers.", _HISTORY, 4),
    Check(
        "money-of-the-order",
        "Money moves in the currency of the order, for its beneficiary and for who shares in it.",
        _MONEY_OF_THE_ORDER,
    ),
    Check(
        "entries-follow-events",
        "The entries of each event are exactly what it books, and sum to zero.",
        _ENTRIES_FOLLOW_EVENTS,
    ),
    Check("entries-have-events", "No entry is without its event.", _ENTRIES_HAVE_EVENTS),
    Check(
        "ledger-agrees", "Ledger and order say the same of received and kept money and fees.", _LEDGER_AGREES
    ),
    Check("returns-due", "The ledger owes payers what is on its way back.", _RETURNS_DUE),
    Check("refunds-due", "The ledger owes payers the refunds that are under way.", _REFUNDS_DUE),
    Check("disputed-booked", "The ledger shows what was paid beyond what was owed.", _DISPUTED_BOOKED),
    Check("refunds-summed", "Refunded is the sum of the refunds that were not refused.", _REFUNDS_SUMMED),
    Check("refunds-capped", "No more is refunded than was applied.", _REFUNDS_CAPPED),
    Check("refunds-of-the-payment", "Each refund gives back what paid.", _REFUNDS_OF_THE_PAYMENT),
    Check("attempts-counted", "The order counts its attempts.", _ATTEMPTS_COUNTED),
    Check("refunds-counted", "The order counts its refunds.", _REFUNDS_COUNTED),
    Check(
        "paid-by-its-attempt",
        "An attempt is approved just when it paid; else a credit of the order did.",
        _PAID_BY_ITS_ATTEMPT,
    ),
    Check("one-live-attempt", "At most one attempt is under way.", _ONE_LIVE_ATTEMPT),
    Check("calls-noted", "Whatever waits for a rail has its call noted.", _CALLS_NOTED),
    Check("of-one-account", "Whatever belongs to an order is of its account.", _OF_ONE_ACCOUNT),
    Check(
        "feed-without-gaps",
        "The places of a merchant's feed are 1, 2, 3 ... to the last that was given out.",
        _FEED_WITHOUT_GAPS,
    ),
)
"""Every invariant, in the order in which they are checked."""
