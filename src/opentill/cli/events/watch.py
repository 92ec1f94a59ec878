"""What happens from now on, and what becomes of telling it: the feed and its deliveries, looked at again."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Final

from opentill.clock import Clock
from opentill.domain.events import Event
from opentill.store.interface import Store
from opentill.store.outbox.contract import Delivery, DeliveryFilter, Placed
from opentill.webhooks.payload import TYPE_OF

CLOCKS_DIFFER_MILLISECONDS: Final = 60_000
"""How far the clocks of this machine and the server's may be apart."""
WATCHED: Final = 200
"""How many events are watched at most; of older ones, what still becomes of them is not seen."""
LOOK: Final = 100
"""How many events one look takes from the feed."""


@dataclass(frozen=True, slots=True)
class SeenEvent:
    """An event and one delivery of it, as they are now."""

    event: Event
    reference: str
    type: str
    """Webhook type of the event (contract 5.1)."""
    delivery: Delivery | None
    """None where no endpoint wants to be told of the event."""
    latency_milliseconds: int | None
    """Of the last try, from when it was due to its answer; None where that is not known."""


class Watch:
    """A merchant's events of some webhook types, from the moment the watch is made."""

    def __init__(
        self, store: Store, clock: Clock, account_id: str, types: Collection[str], endpoint_id: str | None
    ):
        """``endpoint_id`` names the one endpoint that matters; None watches all of them."""
        self._store = store
        self._clock = clock
        self._account_id = account_id
        self._types = [event for event, type_ in TYPE_OF.items() if type_ in types]
        self._endpoint_id = endpoint_id
        self._after = store.outbox.last_places([account_id])[account_id]
        self._watched: dict[str, tuple[Placed, int]] = {}
        """By event id, with the time of its first sight; oldest first."""
        self._seen: dict[tuple[str, str], SeenEvent] = {}
        """By event id and delivery id, as it was last told."""

    def look(self) -> Iterator[SeenEvent]:
        """Look for all that is new or has changed since the last look, in the order of the feed."""
        self._take_new()
        if not self._watched:
            return
        by_event: dict[str, list[Delivery | None]] = {}
        for delivery in self._deliveries():
            by_event.setdefault(delivery.event_id, []).append(delivery)
        for event_id, (placed, _) in self._watched.items():
            for found in by_event.get(event_id, [None]):
                yield from self._if_changed(placed, found)

    def _take_new(self) -> None:
        last = self._store.outbox.last_places([self._account_id])[self._account_id]
        placed = self._store.outbox.feed(self._account_id, self._after, self._types, LOOK)
        for each in placed:
            if isinstance(each, Placed):
                self._watched[each.event.event_id] = each, self._clock.now()
        self._after = placed[-1].place if len(placed) == LOOK else max(self._after, last)
        while len(self._watched) > WATCHED:
            forgotten = next(iter(self._watched))
            del self._watched[forgotten]
            self._seen = {key: seen for key, seen in self._seen.items() if key[0] != forgotten}

    def _deliveries(self) -> list[Delivery]:
        _, oldest_seen_at = next(iter(self._watched.values()))
        return self._store.outbox.deliveries(
            DeliveryFilter(
                account_id=self._account_id,
                endpoint_id=self._endpoint_id,
                event_ids=tuple(self._watched),
                created_from=oldest_seen_at - CLOCKS_DIFFER_MILLISECONDS,
                limit=WATCHED * LOOK,
            )
        )

    def _if_changed(self, placed: Placed, delivery: Delivery | None) -> Iterator[SeenEvent]:
        event = placed.event
        key = event.event_id, delivery.delivery_id if delivery else ""
        before = self._seen.get(key)
        if before is None or before.delivery != delivery:
            type_ = TYPE_OF[event.type].value
            latency = _latency(delivery, before.delivery if before else None) if delivery else None
            self._seen[key] = SeenEvent(event, placed.reference, type_, delivery, latency)
            yield self._seen[key]


def _latency(now: Delivery, before: Delivery | None) -> int | None:
    if now.tries == (before.tries if before else 0):
        return None
    due_at = before.next_try_at if before else now.created_at
    return None if due_at is None else max(now.updated_at - due_at, 0)
