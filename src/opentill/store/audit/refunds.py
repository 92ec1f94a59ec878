"""The invariants of what refunds were asked for and of what was answered; see ``invariants``."""

from collections.abc import Iterable, Iterator
from typing import Any, Final

import msgspec

from opentill.domain.money import major_units
from opentill.store.audit.invariants import Check
from opentill.store.orders.rows import Row

_WHOLE: Final = """
    SELECT account_id, order_id,
           'refund ' || whole_id || ' was asked for ' || max(whole_amount) || '; its parts sum to ' ||
           sum(amount)
      FROM refunds
     WHERE whole_amount IS NOT NULL
     GROUP BY account_id, order_id, whole_id
    HAVING sum(amount) <> max(whole_amount) OR min(whole_amount) <> max(whole_amount)
"""

_ANSWERED: Final = """
    SELECT e.account_id, e.order_id, k.body, w.whole_id, w.amount, w.refused, e.currency
      FROM idempotency_keys AS k
      JOIN events AS e
        ON e.account_id = k.account_id AND e.event_id = k.command_id AND e.type = :refund_started
      JOIN (SELECT account_id, order_id, coalesce(whole_id, refund_id) AS whole_id, sum(amount) AS amount,
                   count(CASE WHEN status = :refund_refused THEN 1 END) AS refused
              FROM refunds
             GROUP BY account_id, order_id, coalesce(whole_id, refund_id)) AS w
        ON w.account_id = e.account_id AND w.order_id = e.order_id AND w.whole_id = e.refund_id
     WHERE k.status = 200
"""
"""The stored answers to commands that began a refund, each beside that refund in all its parts."""


def _judge(found: Iterable[Row]) -> Iterator[Row]:
    """Return one row for each answer that tells something else than was booked."""
    for account_id, order_id, body, whole_id, amount, refused, currency in found:
        data: dict[str, Any] = msgspec.json.decode(body)["data"]
        told = data.get("refund")
        booked = {"id": whole_id, "amount": major_units(int(amount), currency)}
        if told is not None and {name: told[name] for name in booked} != booked:
            wrong = f"a refund of {told['amount']} was answered and one of {booked['amount']} booked"
            yield account_id, order_id, wrong
        elif data.get("success") is False and not refused:
            yield account_id, order_id, f"refund {whole_id} was answered as refused and is booked"


REFUND_CHECKS: Final = (
    Check("refunds-whole", "A refund gives back in its parts what it was asked for.", _WHOLE),
    Check("refunds-answered", "What was answered to a refund is what was booked.", _ANSWERED, judge=_judge),
)
"""Every invariant of whole refunds and their answers."""
