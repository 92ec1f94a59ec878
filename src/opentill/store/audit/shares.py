"""The invariant of shared payments; see ``invariants``. What a share is, the domain says, and no SQL."""

from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import groupby
from operator import itemgetter
from typing import Final

from opentill.domain.events import EventType
from opentill.domain.ledger import merchant_balance
from opentill.domain.order import Shares
from opentill.domain.sharing import given_back, shares_of
from opentill.store.audit.invariants import Check
from opentill.store.orders import rows
from opentill.store.orders.rows import Row

_SHARED: Final = """
    SELECT o.account_id, o.order_id, o.amount, o.refunded, o.split, o.shares,
           coalesce(o.sub_account_id, o.account_id), e.sequence, e.type, e.shares, l.ledger_account, l.amount
      FROM orders AS o
      LEFT JOIN events AS e
        ON e.account_id = o.account_id AND e.order_id = o.order_id AND e.shares IS NOT NULL
      LEFT JOIN ledger_entries AS l
        ON l.account_id = e.account_id AND l.order_id = e.order_id AND l.sequence = e.sequence
       AND l.ledger_account LIKE :merchant_balances
       AND l.ledger_account <> replace(:merchant_balances, '%', coalesce(o.sub_account_id, o.account_id))
     WHERE o.shares IS NOT NULL
     ORDER BY o.account_id, o.order_id, e.sequence
"""
"""Of the orders that have shares; that no other order's event has any, ``money-of-the-order`` looks after."""


def _judge(found: Iterable[Row]) -> Iterator[Row]:
    """Return one row for each order whose shares are not as they should be."""
    for (account_id, order_id), of_order in groupby(found, key=itemgetter(0, 1)):
        what = _what_is_wrong(list(of_order))
        if what is not None:
            yield account_id, order_id, what


def _what_is_wrong(of_order: list[Row]) -> str | None:
    _, _, amount, refunded, split, booked, beneficiary, *_ = of_order[0]
    shares = rows.shares(booked)
    if split is None or shares != shares_of(rows.split(split), amount, beneficiary):
        return "its payment is not shared as was agreed"
    moved: Counter[str] = Counter()
    for (sequence, type_, told), lines in groupby(of_order, key=itemgetter(7, 8, 9)):
        sign = 1 if type_ == EventType.REFUND_STARTED else -1
        entries = {account: line for *_, account, line in lines if account is not None}
        if entries != _entries(rows.shares(told), sign):
            return f"event {sequence} does not book the shares that it tells"
        moved.update({account: -sign * share for account, share in rows.shares(told)})
    left = {account: share for account, share in moved.items() if share}
    kept = {account: share - given_back(share, refunded, amount) for account, share in shares}
    if left != {account: share for account, share in kept.items() if share}:
        return f"what its shares keep does not fit the {refunded} of {amount} that were refunded"
    return None


def _entries(shares: Shares, sign: int) -> dict[str, int]:
    return {merchant_balance(account): sign * share for account, share in shares}


SHARE_CHECKS: Final = (
    Check(
        "shares-booked",
        "A payment is shared as was agreed, and its refunds take the shares back pro rata.",
        _SHARED,
        judge=_judge,
    ),
)
"""Every invariant of shared payments."""
