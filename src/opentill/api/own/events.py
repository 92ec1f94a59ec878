"""What happened to a merchant's orders: page by page, or as it happens (contract 10)."""

from typing import Annotated, Final

from msgspec import Meta

from opentill.api.http.call import Call
from opentill.api.http.cursor import START, from_feed_cursor, to_feed_cursor
from opentill.api.http.decode import Text
from opentill.api.http.dependencies import Wanted
from opentill.api.http.streaming import Stream
from opentill.api.own.feed import LATEST, Feed, types_of
from opentill.api.own.order_views import EventShown
from opentill.api.wire import Reply, WireStruct

_MOST_LISTED: Final = 500
_TYPES_CHARACTERS: Final = 500

TypesText = Annotated[str, Meta(max_length=_TYPES_CHARACTERS)]


class StreamQuery(WireStruct):
    """Behind which event to begin, and which types are wanted."""

    after: Text | None = None
    """A cursor, or ``latest`` for what happens from now on; absent: from the first event on."""
    type: TypesText | None = None
    """Event types, separated by commas; absent: all."""


class EventsQuery(StreamQuery, kw_only=True):
    """A StreamQuery with how many events at the most."""

    limit: Annotated[int, Meta(ge=1, le=_MOST_LISTED)] = 100


class EventList(WireStruct):
    """Events in the order of the feed; the cursor goes on behind them, also when there was none."""

    results: list[EventShown]
    cursor: str


async def list_events(call: Call) -> Reply:
    """Return the merchant's events behind a cursor."""
    query: EventsQuery = call.query
    wanted = Wanted(call.account_id, call.token, types_of(query.type))
    after = await _position(call, query.after, "after")
    page = await _feed(call).page(wanted, after, query.limit)
    return call.success(EventList([event for _, event in page.events], to_feed_cursor(page.position)))


async def stream_events(call: Call) -> Stream:
    """Open a stream of the merchant's events; what a client heard last wins over where it first began."""
    query: StreamQuery = call.query
    wanted = Wanted(call.account_id, call.token, types_of(query.type))
    heard_last = call.headers.get(b"last-event-id", b"").decode("latin-1")
    if heard_last:
        after = from_feed_cursor(heard_last, "Last-Event-ID")
    else:
        after = await _position(call, query.after, "after")
    await call.check_token()
    return call.deps.streams.open(wanted, after, call.token_until)


def _feed(call: Call) -> Feed:
    return Feed(call.deps.threads, call.deps.reader)


async def _position(call: Call, cursor: str | None, field: str) -> int:
    if cursor == LATEST:
        return await _feed(call).last_position(call.account_id)
    return START if cursor is None else from_feed_cursor(cursor, field)
