"""The feed of a merchant's events, page by page: gap-free, in one order for ever (contract 10)."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final

from opentill.api.http.cursor import START
from opentill.api.http.dependencies import Wanted
from opentill.api.own.order_views import ActorShown, EventShown, event_view
from opentill.api.wire import invalid, iso_time
from opentill.domain.events import EventType
from opentill.engine.reader import Reader
from opentill.engine.threads import StoreThreads
from opentill.store.orders.contract import Name, OrderView, Snapshot
from opentill.store.outbox.contract import EndpointEventType, FeedEntry, Placed, PlacedEndpointEvent

LATEST: Final = "latest"
"""Stands for the cursor behind the last event that there is now."""
_TYPES: Final = frozenset(each.value for kind in (EventType, EndpointEventType) for each in kind)
_STATES: Final = {
    EndpointEventType.PAUSED: ("active", "paused"),
    EndpointEventType.RESUMED: ("paused", "active"),
}
"""Before and after, in the words of ``EndpointShown.state``."""


@dataclass(frozen=True, slots=True)
class Page:
    """Some events with their positions, and behind which one to go on."""

    events: list[tuple[int, EventShown]]
    position: int
    full: bool
    """Whether there may be more already."""


class Feed:
    """Reads pages, with what an event alone does not tell."""

    def __init__(self, threads: StoreThreads, reader: Reader):
        self._threads = threads
        self._reader = reader

    async def page(self, wanted: Wanted, after: int, limit: int) -> Page:
        """Return the wanted events behind a position. Raises TokenRevoked.

        Where only some types are wanted, the page ends behind all others that were there already, too.
        """
        last = await self.last_position(wanted.account_id) if wanted.types else START
        store = self._threads.store
        placed = await self._threads.read(store.outbox.feed, wanted.account_id, after, wanted.types, limit)
        views = await self._created(wanted, placed)
        events = [(each.place, _view(each, views)) for each in placed]
        position = placed[-1].place if placed else after
        full = len(placed) == limit
        return Page(events, position if full else max(position, last), full)

    async def last_position(self, account_id: str) -> int:
        """Return the position of the merchant's last event; START where there is none."""
        last = await self._threads.read(self._threads.store.outbox.last_places, {account_id})
        return last[account_id]

    async def _created(self, wanted: Wanted, placed: Collection[FeedEntry]) -> dict[Name, OrderView]:
        """Return the orders that these events created; what was agreed with them never changes."""
        of_orders = [each for each in placed if isinstance(each, Placed)]
        names = {_name(each) for each in of_orders if each.event.type is EventType.ORDER_CREATED}

        def ask(snapshot: Snapshot) -> dict[Name, OrderView]:
            return dict(snapshot.orders(names)) if names else {}

        return await self._reader.ask(ask, wanted.token)


def _view(entry: FeedEntry, views: Mapping[Name, OrderView]) -> EventShown:
    if isinstance(entry, Placed):
        return event_view(entry.event, entry.reference, views.get(_name(entry)))
    return _endpoint_event_view(entry)


def _endpoint_event_view(placed: PlacedEndpointEvent) -> EventShown:
    event = placed.event
    before, after = _STATES[event.type]
    return EventShown(
        id=event.event_id,
        type=event.type.value,
        order_reference=None,
        sequence=None,
        before=before,
        after=after,
        actor=ActorShown(event.actor.kind.value, event.actor.id),
        reason=None,
        note=None,
        at=iso_time(event.at),
        data={"endpointId": event.endpoint_id},
    )


def _name(placed: Placed) -> Name:
    return placed.event.account_id, placed.event.order_id


def types_of(text: str | None) -> frozenset[str]:
    """Return the event types of a text, separated by commas; raises Rejected when one is unknown."""
    types = frozenset(text.split(",")) if text else frozenset()
    if not types <= _TYPES:
        raise invalid("type is not one of the allowed values")
    return types
