"""The invariants of money that went out beside, or beyond, what was owed; see ``invariants``."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from typing import Final

from sqlalchemy import Connection, text

from opentill.store.audit.examination import Finding, Offence
from opentill.store.audit.invariants import WORDS, Check

_GONE_AND_GOING: Final = """
    SELECT o.account_id, o.order_id, t.transaction_id,
           o.returned
           - (SELECT coalesce(sum(r.amount), 0) FROM returns AS r
               WHERE r.account_id = o.account_id AND r.order_id = o.order_id
                 AND r.status = :return_done AND r.bank_reference <> '')
           + (SELECT coalesce(sum(r.amount), 0) FROM refunds AS r
               WHERE r.account_id = o.account_id AND r.order_id = o.order_id AND r.status = :refund_done)
           + (SELECT coalesce(sum(l.amount), 0) FROM ledger_entries AS l
               WHERE l.account_id = o.account_id AND l.order_id = o.order_id
                 AND l.ledger_account = :payouts_disputed) AS gone,
           o."returning"
           + (SELECT coalesce(sum(r.amount), 0) FROM refunds AS r
               WHERE r.account_id = o.account_id AND r.order_id = o.order_id
                 AND r.status IN (:refund_running, :refund_unknown)) AS going
      FROM orders AS o
      JOIN (SELECT account_id, order_id, transaction_id FROM attempts
             UNION ALL
            SELECT account_id, order_id, transaction_id FROM credits) AS t
        ON t.account_id = o.account_id AND t.order_id = o.order_id
     WHERE o.received <> 0
     ORDER BY o.account_id, o.order_id
"""
"""What persons sent by hand, and what moved to another order, left by no rail of ours."""

RAIL_CHECK: Final = Check(
    "rail-agrees",
    "What the rail gave out for an order is what was refunded, returned or disputed.",
    _GONE_AND_GOING,
)


@dataclass(frozen=True, slots=True)
class MoneyOut:
    """The minor units that a rail gave out, by payment or credit, before the books are read and after.

    A server may go on working meanwhile, and what is on its way out may have arrived.
    """

    before: Mapping[str, int]
    after: Callable[[], Mapping[str, int] | None]


def held_against_rail(connection: Connection, out: MoneyOut, show: int) -> Finding:
    """Hold each order against the rail's own ledger; count all offences and keep the first ``show``."""
    asked = text(_GONE_AND_GOING)
    words = {word: WORDS[word] for word in asked.compile().params}
    found = [tuple(row) for row in connection.execute(asked, words)]
    after = out.after() or {}
    offences = []
    for (account_id, order_id), rows in groupby(found, key=itemgetter(0, 1)):
        of_order = list(rows)
        gone, going = (int(amount) for amount in of_order[0][3:])
        least = sum(out.before.get(row[2], 0) for row in of_order)
        most = sum(after.get(row[2], 0) for row in of_order)
        if least > gone + going or most < gone:
            what = f"the rail gave out {least}; by the books {gone} are out and {going} on their way"
            offences.append(Offence(account_id, order_id, what))
    return Finding(RAIL_CHECK, len(offences), tuple(offences[:show]))
