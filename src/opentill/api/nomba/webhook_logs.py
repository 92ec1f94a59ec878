"""Looking at deliveries and repeating them: Nomba's webhook debug endpoints (contract 5.6)."""

from collections.abc import Collection, Iterable, Sequence
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from opentill.api.http.call import Call
from opentill.api.http.decode import Text
from opentill.api.http.idempotency import answer_once
from opentill.api.http.times import beginning, ending
from opentill.api.nomba.views import DELIVERY_STATUS, delivery_status
from opentill.api.wire import FORBIDDEN, RECORD_NOT_FOUND, Rejected, Reply, WireStruct, iso_time
from opentill.store.outbox.contract import Delivery, DeliveryFilter, DeliveryState
from opentill.webhooks.payload import SUBSCRIBABLE

_MOST_LISTED: Final = 100
_MOST_PUSHED: Final = 100
_MOST_REPLAYED: Final = 500
"""Deliveries that one replay looks at."""

_STATUSES: Final = tuple(dict.fromkeys(DELIVERY_STATUS.values()))
_GIVEN_UP: Final = frozenset(
    word for (state, _), word in DELIVERY_STATUS.items() if state is DeliveryState.DEAD
)

Limit = Annotated[int, Meta(ge=1, le=_MOST_LISTED)]
TypeWord = Literal[SUBSCRIBABLE]  # type: ignore[valid-type]
StatusWord = Literal[_STATUSES]  # type: ignore[valid-type]


class LogsRequest(WireStruct, kw_only=True):
    """The deliveries that are wanted; a date without a time means all of that day, in UTC."""

    core_user_id: Text
    limit: Limit | None = None
    event_type: TypeWord | None = None
    start_date_time: Text | None = None
    end_date_time: Text | None = None


class SubscriptionsRequest(WireStruct, kw_only=True):
    """Whose subscriptions are wanted."""

    core_user_id: Text
    limit: Limit | None = None


class RePushRequest(WireStruct):
    """One delivery, by its ``hookRequestId``; the name of this member is Nomba's."""

    hooks_request_id: Text


class BulkRePushRequest(WireStruct):
    """Several deliveries."""

    hooks_request_ids: Annotated[list[Text], Meta(min_length=1, max_length=_MOST_PUSHED)]


class ReplayFilter(WireStruct):
    """The deliveries of a time; empty and absent statuses mean those that were given up."""

    statuses: Annotated[list[StatusWord], Meta(max_length=20)] | None = None
    event_types: Annotated[list[TypeWord], Meta(max_length=50)] | None = None


class ReplayRequest(WireStruct, kw_only=True):
    """The deliveries that go out again, by the time at which they were first due."""

    start_date: Text
    end_date: Text
    filter: ReplayFilter | None = None


class LogEntry(WireStruct, kw_only=True):
    """One delivery of one event to one endpoint, and how its last try ended."""

    hook_request_id: str
    request_id: str
    """The event's, as it stands in the body."""
    web_hook_id: str
    event_type: str
    status: str
    response_http_status: int | None
    response_payload: str
    """The beginning of the answer, or why none was heard."""
    tries: int
    created_at: str
    updated_at: str
    next_try_at: str | None


class LogList(WireStruct):
    """Deliveries, newest first."""

    results: list[LogEntry]


class ReplayList(LogList):
    """The deliveries that go out again."""

    cursor: str
    """The ``endDate`` with which to go on; empty when nothing of that time is left."""


class Subscription(WireStruct, kw_only=True):
    """One event type that goes to one endpoint."""

    web_hook_id: str
    event_url: str = msgspec.field(name="eventURL")
    event_type: str
    enabled: bool


class SubscriptionList(WireStruct):
    """Subscriptions, those of the oldest endpoint first."""

    results: list[Subscription]


async def event_logs(call: Call) -> Reply:
    """Return the newest deliveries of the merchant."""
    body: LogsRequest = call.body
    _check_caller(call, body.core_user_id)
    wanted = DeliveryFilter(
        account_id=call.account_id,
        types=(body.event_type,) if body.event_type else (),
        created_from=None if (begin := body.start_date_time) is None else beginning(begin, "startDateTime"),
        created_before=None if (end := body.end_date_time) is None else ending(end, "endDateTime"),
        limit=body.limit or _MOST_LISTED,
    )
    await call.check_token()
    threads = call.deps.threads
    found = await threads.read(threads.store.outbox.deliveries, wanted)
    return call.success(LogList(_entries(found)))


async def subscriptions(call: Call) -> Reply:
    """Return what goes to which endpoint of the merchant."""
    body: SubscriptionsRequest = call.body
    _check_caller(call, body.core_user_id)
    await call.check_token()
    threads = call.deps.threads
    endpoints = await threads.read(threads.store.outbox.endpoints, call.account_id)
    found = [
        Subscription(web_hook_id=e.endpoint_id, event_url=e.url, event_type=event, enabled=e.enabled)
        for e in endpoints
        for event in e.events
    ]
    return call.success(SubscriptionList(found[: body.limit or _MOST_LISTED]))


async def re_push(call: Call) -> Reply:
    """Send one delivery again, whatever became of it; one of a deleted endpoint is an unknown record."""
    body: RePushRequest = call.body
    return await _push(call, [body.hooks_request_id])


async def bulk_re_push(call: Call) -> Reply:
    """Send several deliveries again; those that are unknown are left out, unless all are."""
    body: BulkRePushRequest = call.body
    return await _push(call, body.hooks_request_ids)


async def replay(call: Call) -> Reply:
    """Send again what is wanted of a time, a bounded number at once."""
    body: ReplayRequest = call.body
    chosen = body.filter or ReplayFilter()
    statuses = frozenset(chosen.statuses or _GIVEN_UP)
    wanted = DeliveryFilter(
        account_id=call.account_id,
        types=tuple(chosen.event_types or ()),
        states=tuple({state for (state, _), word in DELIVERY_STATUS.items() if word in statuses}),
        created_from=beginning(body.start_date, "startDate"),
        created_before=ending(body.end_date, "endDate"),
        limit=_MOST_REPLAYED,
    )

    async def act() -> Reply:
        found, pushed = await _push_again(call, wanted, statuses)
        cursor = iso_time(found[-1].created_at + 1) if len(found) == wanted.limit else ""
        return call.success(ReplayList(_entries(pushed), cursor))

    return await answer_once(call, act)


# --- carried out ----------------------------------------------------------------------------------


async def _push(call: Call, delivery_ids: Sequence[str]) -> Reply:
    ids = tuple(dict.fromkeys(delivery_ids))
    wanted = DeliveryFilter(account_id=call.account_id, delivery_ids=ids, limit=len(ids))

    async def act() -> Reply:
        _, pushed = await _push_again(call, wanted, frozenset(_STATUSES))
        return call.success(LogList(_entries(pushed))) if pushed else RECORD_NOT_FOUND

    return await answer_once(call, act)


async def _push_again(
    call: Call, wanted: DeliveryFilter, statuses: Collection[str]
) -> tuple[list[Delivery], list[Delivery]]:
    """Send again, of what is found, these statuses to endpoints that still exist; returns found and sent."""
    store, now = call.deps.threads.store, call.deps.clock.now()

    def work() -> tuple[list[Delivery], list[Delivery]]:
        found = store.outbox.deliveries(wanted)
        alive = {endpoint.endpoint_id for endpoint in store.outbox.endpoints(wanted.account_id)}
        chosen = [d for d in found if d.endpoint_id in alive and delivery_status(d) in statuses]
        if not chosen:
            return found, []
        ids = tuple(each.delivery_id for each in chosen)
        store.outbox.push_again(wanted.account_id, ids, now)
        by_id = DeliveryFilter(account_id=wanted.account_id, delivery_ids=ids, limit=len(ids))
        return found, store.outbox.deliveries(by_id)

    return await call.deps.threads.write(work)


def _check_caller(call: Call, core_user_id: str) -> None:
    """Check that ``coreUserId`` is the caller's own parent account (contract 5.6)."""
    if core_user_id != call.account_id:
        raise Rejected(FORBIDDEN)


def _entries(deliveries: Iterable[Delivery]) -> list[LogEntry]:
    return [
        LogEntry(
            hook_request_id=each.delivery_id,
            request_id=each.event_id,
            web_hook_id=each.endpoint_id,
            event_type=each.type,
            status=delivery_status(each),
            response_http_status=each.status,
            response_payload=each.response,
            tries=each.tries,
            created_at=iso_time(each.created_at),
            updated_at=iso_time(each.updated_at),
            next_try_at=None if each.next_try_at is None else iso_time(each.next_try_at),
        )
        for each in deliveries
    ]
