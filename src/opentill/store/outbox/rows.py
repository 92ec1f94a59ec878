"""Rows of the outbox to its values and back, in the column order of the schema."""

import uuid
from typing import Any, Final

import msgspec

from opentill.domain.commands import Actor, ActorKind
from opentill.domain.events import Event
from opentill.store import columns, schema
from opentill.store.orders.rows import Row
from opentill.store.outbox.contract import (
    Delivery,
    DeliveryState,
    Endpoint,
    EndpointEvent,
    EndpointEventType,
    PlacedEndpointEvent,
    Tried,
)

ENDPOINT: Final = columns.names_of(schema.webhook_endpoints)
ENDPOINT_EVENT: Final = columns.names_of(schema.endpoint_events)
DELIVERY: Final = columns.names_of(schema.webhook_deliveries, without=("claimed_until",))
BODY: Final = columns.names_of(schema.webhook_bodies)

_DELIVERIES: Final = uuid.UUID("6d2f5a0e-0b1c-5e0a-9a43-7f1f3f6f0c55")
"""The namespace of delivery ids."""
_ENDPOINT_EVENTS: Final = uuid.UUID("b0d7a4f2-5c3e-5d11-8a6f-0e9c2b7d4a18")
"""The namespace of the ids of what happened to endpoints."""
_STATE: Final = {s.value: s for s in DeliveryState}


def endpoint(row: Row) -> Endpoint:
    """Make an endpoint of ``ENDPOINT``."""
    (
        account_id, endpoint_id, url, events, enabled, key, next_key, paused_at, failing_since, created_at,
        failed_tries,
    ) = row  # fmt: skip
    return Endpoint(
        account_id=account_id,
        endpoint_id=endpoint_id,
        url=url,
        events=tuple(msgspec.json.decode(events)),
        enabled=bool(enabled),
        key_sealed=key,
        next_key_sealed=next_key,
        paused_at=paused_at,
        failing_since=failing_since,
        created_at=created_at,
        failed_tries=failed_tries,
    )


def endpoint_values(e: Endpoint) -> dict[str, Any]:
    """Give the columns of an endpoint by name."""
    values = {name: getattr(e, name) for name in ENDPOINT}
    return values | {"events": msgspec.json.encode(e.events).decode(), "enabled": int(e.enabled)}


def endpoint_row(e: Endpoint) -> Row:
    """Give the values of ``ENDPOINT``."""
    return tuple(endpoint_values(e).values())


def endpoint_event_row(e: Endpoint, type_: EndpointEventType, actor: Actor, at: int, place: int) -> Row:
    """Give the values of ``ENDPOINT_EVENT``; its id follows from its place, which is given once."""
    event_id = str(uuid.uuid5(_ENDPOINT_EVENTS, f"{e.account_id} {place}"))
    return e.account_id, place, event_id, e.endpoint_id, type_, actor.kind, actor.id, at


def placed_endpoint_event(row: Row) -> PlacedEndpointEvent:
    """Make what stands in a feed of ``ENDPOINT_EVENT``."""
    account_id, place, event_id, endpoint_id, type_, actor_kind, actor_id, at = row
    actor = Actor(ActorKind(actor_kind), actor_id)
    event = EndpointEvent(event_id, account_id, endpoint_id, EndpointEventType(type_), actor, at)
    return PlacedEndpointEvent(place, event)


def delivery(row: Row) -> Delivery:
    """Make a delivery of ``DELIVERY``."""
    (
        account_id, delivery_id, endpoint_id, event_id, order_id, sequence, type_, state, tries, next_try_at,
        status, response, created_at, updated_at,
    ) = row  # fmt: skip
    return Delivery(
        account_id,
        delivery_id,
        endpoint_id,
        event_id,
        order_id,
        sequence,
        type_,
        _STATE[state],
        tries,
        next_try_at,
        status,
        response,
        created_at,
        updated_at,
    )


def new_delivery_row(e: Event, endpoint_id: str, type_: str, now: int) -> Row:
    """Give the values of ``DELIVERY`` for one that is due at once."""
    return (
        e.account_id, delivery_id(endpoint_id, e.event_id), endpoint_id, e.event_id, e.order_id, e.sequence,
        type_, DeliveryState.PENDING, 0, now, None, "", now, now,
    )  # fmt: skip


def delivery_id(endpoint_id: str, event_id: str) -> str:
    """Derive the id from what it is: the same event can not be queued for the same endpoint twice."""
    return str(uuid.uuid5(_DELIVERIES, f"{endpoint_id} {event_id}"))


def tried_row(t: Tried) -> Row:
    """Give what ``record_tries`` takes. PostgreSQL keeps no NUL, and a receiver may answer with some."""
    response = t.response.replace("\0", "")
    return (t.account_id, t.delivery_id, t.state, t.next_try_at, t.status, response, t.at)
