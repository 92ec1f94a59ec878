"""Taking deliveries that are due, so that nobody else tries them meanwhile."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from opentill.store.databases.database import Run
from opentill.store.orders.batch import as_set
from opentill.store.outbox import rows
from opentill.store.outbox.contract import Delivery, Endpoint, Outgoing
from opentill.store.outbox.statements import OutboxStatements

LOOKED_AT: Final = 4
"""How many times the wanted number is looked at when many endpoints have deliveries that are due."""


@dataclass(frozen=True, slots=True)
class Room:
    """The number of further deliveries that each endpoint may have under way."""

    by_endpoint: Mapping[str, int]
    of_others: int

    def at(self, endpoint_id: str) -> int:
        """Say how many more this one may have."""
        return self.by_endpoint.get(endpoint_id, self.of_others)


class Claiming:
    """One transaction that claims. Each endpoint is asked by itself: none stands in the way of another."""

    def __init__(self, run: Run, statements: OutboxStatements):
        self._run = run
        self._statements = statements

    def claim(self, now: int, lease_until: int, limit: int, room: Room) -> list[Outgoing]:
        """Claim due deliveries endpoint by endpoint, as ``Outbox.claim_deliveries`` says."""
        endpoints = self._endpoints(now, limit, room)
        deliveries = self._lock_due(list(endpoints), now, limit, room) if endpoints else []
        if not deliveries:
            return []
        keys = sorted((d.account_id, d.delivery_id) for d in deliveries)
        self._run(self._statements.claim, (as_set(keys), lease_until))
        bodies = self._bodies(deliveries)
        return [
            Outgoing(d, endpoints[d.account_id, d.endpoint_id], bodies[d.account_id, d.order_id, d.sequence])
            for d in deliveries
        ]

    def _endpoints(self, now: int, limit: int, room: Room) -> dict[tuple[str, str], Endpoint]:
        """Find those with something due and room for it, longest due first; no more than are wanted."""
        found = self._run(self._statements.endpoints_with_due, (now,)).fetchall()
        endpoints = (rows.endpoint(row[:-1]) for row in found)
        with_room = [e for e in endpoints if room.at(e.endpoint_id) > 0]
        return {(e.account_id, e.endpoint_id): e for e in with_room[:limit]}

    def _lock_due(
        self, endpoints: Sequence[tuple[str, str]], now: int, limit: int, room: Room
    ) -> list[Delivery]:
        """Lock the longest due of these endpoints, within their room; other senders pass over them."""
        most = max(room.at(endpoint_id) for _, endpoint_id in endpoints)
        of_each = min(limit, most, max(LOOKED_AT, LOOKED_AT * limit // len(endpoints)))
        found = self._run(self._statements.lock_due, (as_set(endpoints), now, of_each)).fetchall()
        due = sorted(map(rows.delivery, found), key=lambda d: (d.next_try_at or 0, d.sequence))
        return list(_within_room(due, room))[:limit]

    def _bodies(self, deliveries: Sequence[Delivery]) -> dict[tuple[str, str, int], bytes]:
        events = sorted({(d.account_id, d.order_id, d.sequence) for d in deliveries})
        found = self._run(self._statements.bodies, (as_set(events),)).fetchall()
        return {(row[0], row[1], row[2]): row[3].encode() for row in found}


def _within_room(due: Sequence[Delivery], room: Room) -> Iterator[Delivery]:
    taken: Counter[str] = Counter()
    for delivery in due:
        if taken[delivery.endpoint_id] < room.at(delivery.endpoint_id):
            taken[delivery.endpoint_id] += 1
            yield delivery
