"""The invariants of transfers; see ``invariants``."""

from typing import Final

from opentill.store.audit.invariants import Check

_CREDITS_ACCOUNTED_FOR = """
    SELECT c.account_id, c.order_id,
           'credit ' || c.transaction_id || ' brought ' || c.amount || '; applied ' || c.applied ||
           ', held ' || c.held || ', sent back ' || coalesce(r.amount, 0)
      FROM credits AS c
      LEFT JOIN returns AS r ON r.account_id = c.account_id AND r.transaction_id = c.transaction_id
     WHERE c.amount <> c.applied + c.held + coalesce(r.amount, 0)
"""

_CREDITS_SUMMED = """
    SELECT o.account_id, o.order_id,
           'held ' || o.held || ', applied ' || o.applied || '; its credits ' || coalesce(c.held, 0) ||
           ' and ' || coalesce(c.applied, 0)
      FROM orders AS o
      LEFT JOIN (SELECT account_id, order_id, sum(held) AS held, sum(applied) AS applied
                   FROM credits GROUP BY account_id, order_id) AS c
        ON c.account_id = o.account_id AND c.order_id = o.order_id
     WHERE o.held <> coalesce(c.held, 0) OR coalesce(c.applied, 0) NOT IN (0, o.applied)
"""

_CREDITS_COUNTED = """
    SELECT account_id, order_id, 'counts ' || credit_count || ' credits and has ' || number
      FROM (SELECT o.account_id, o.order_id, o.credit_count,
                   (SELECT count(*) FROM credits AS c
                     WHERE c.account_id = o.account_id AND c.order_id = o.order_id) AS number
              FROM orders AS o) AS o
     WHERE credit_count <> number
"""

_HELD_BY_RIGHT = """
    SELECT account_id, order_id, 'holds ' || held || ' and is ' || status
      FROM orders
     WHERE held <> 0
       AND status <> :order_pending AND NOT (status = :order_expired AND late_money = :late_money_hold)
"""

_RETURNS_SUMMED = """
    SELECT account_id, order_id,
           'returning ' || "returning" || ', returned ' || returned || '; by returns and voids ' || due ||
           ' and ' || done
      FROM (SELECT o.account_id, o.order_id, o."returning", o.returned,
                   (SELECT coalesce(sum(r.amount), 0) FROM returns AS r
                     WHERE r.account_id = o.account_id AND r.order_id = o.order_id
                       AND r.status <> :return_done) +
                   (SELECT coalesce(sum(a.amount), 0) FROM attempts AS a
                     WHERE a.account_id = o.account_id AND a.order_id = o.order_id
                       AND a.status = :attempt_voiding) AS due,
                   (SELECT coalesce(sum(r.amount), 0) FROM returns AS r
                     WHERE r.account_id = o.account_id AND r.order_id = o.order_id
                       AND r.status = :return_done) +
                   (SELECT coalesce(sum(a.amount), 0) FROM attempts AS a
                     WHERE a.account_id = o.account_id AND a.order_id = o.order_id
                       AND a.status = :attempt_voided) AS done
              FROM orders AS o) AS o
     WHERE "returning" <> due OR returned <> done
"""

_RETURNS_OF_CREDITS = """
    SELECT r.account_id, r.order_id, 'returns ' || r.transaction_id || ', which is no credit of it'
      FROM returns AS r
      LEFT JOIN credits AS c
        ON c.account_id = r.account_id AND c.transaction_id = r.transaction_id AND c.order_id = r.order_id
     WHERE c.transaction_id IS NULL
"""

_REFUNDS_TO_SENDERS = """
    SELECT r.account_id, r.order_id,
           'gives back ' || r.amount || ' of ' || r.from_credit || ', which paid ' || coalesce(c.applied, 0)
      FROM (SELECT account_id, order_id, from_credit, sum(amount) AS amount
              FROM refunds WHERE from_credit IS NOT NULL AND status <> :refund_refused
             GROUP BY account_id, order_id, from_credit) AS r
      LEFT JOIN credits AS c
        ON c.account_id = r.account_id AND c.transaction_id = r.from_credit AND c.order_id = r.order_id
     WHERE r.amount > coalesce(c.applied, 0)
"""

_ONE_CREDIT_FOR_A_TRANSFER = """
    SELECT c.account_id, c.order_id, 'transfer ' || c.session_id || ' is booked for ' || d.first || ' too'
      FROM credits AS c
      JOIN (SELECT rail, session_id, min(account_id) AS first FROM credits
             WHERE account_id <> :house GROUP BY rail, session_id HAVING count(*) > 1) AS d
        ON d.rail = c.rail AND d.session_id = c.session_id
     WHERE c.account_id <> :house AND c.account_id <> d.first
"""

_ADVICES_BOOKED = """
    SELECT coalesce(a.account_id, :house), coalesce(a.order_id, a.credit_id),
           'transfer ' || a.session_id || ' of ' || a.amount || ' counts as booked and is not'
      FROM advices AS a
      LEFT JOIN credits AS c
        ON c.account_id = a.account_id AND c.session_id = a.session_id AND c.rail = a.rail
       AND c.amount = a.amount
      LEFT JOIN credits AS h
        ON h.account_id = :house AND h.session_id = a.session_id AND h.rail = a.rail AND h.amount = a.amount
     WHERE a.route_by IS NULL AND c.transaction_id IS NULL AND (a.attached = 1 OR h.transaction_id IS NULL)
"""

TRANSFER_CHECKS: Final = (
    Check(
        "credits-accounted-for",
        "What a credit brought is applied, held or sent back by its one return.",
        _CREDITS_ACCOUNTED_FOR,
    ),
    Check(
        "credits-summed",
        "Held and, where transfers paid, applied are the sums of the order's credits.",
        _CREDITS_SUMMED,
    ),
    Check("credits-counted", "The order counts its credits.", _CREDITS_COUNTED),
    Check(
        "held-by-right",
        "Only an open order holds money, or an expired one for a person to decide on.",
        _HELD_BY_RIGHT,
    ),
    Check(
        "returns-summed",
        "What is on its way back, and back, are the sums of the returns and voids.",
        _RETURNS_SUMMED,
    ),
    Check("returns-of-credits", "Each return is of a credit of its order.", _RETURNS_OF_CREDITS),
    Check(
        "refunds-to-senders",
        "No sender of a payment is given back more than it paid.",
        _REFUNDS_TO_SENDERS,
    ),
    Check("one-credit-for-a-transfer", "A transfer is one credit.", _ONE_CREDIT_FOR_A_TRANSFER),
    Check("advices-booked", "Every advice that counts as booked has its credit.", _ADVICES_BOOKED),
)
"""Every invariant of transfers, in the order in which they are checked."""
