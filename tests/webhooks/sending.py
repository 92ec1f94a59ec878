"""A sender at work on a store with something to tell: merchants with endpoints, and cancelled orders."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace

from opentill.domain.events import Event, EventType
from opentill.engine.threads import StoreThreads
from opentill.store.databases.sqlite import SqliteStore
from opentill.store.orders.contract import OrderView
from opentill.store.outbox.contract import Delivery, DeliveryFilter, Endpoint, Outgoing, Told
from opentill.webhooks.guard import Guard
from opentill.webhooks.pacing import Schedule
from opentill.webhooks.poster import Poster
from opentill.webhooks.sender import DeliverySender, SenderSettings, Signer
from polling import until
from store_factories import ACCOUNT, IDS, NOW, ToldClock, add_orders, cancelled, write

TYPE = "order_cancelled"
PATIENCE_SECONDS = 20
QUICK = SenderSettings(poll_seconds=0.02)
LEASE_MILLISECONDS = 60_000
"""Longer than any lease of a sender of these tests."""


def endpoint(url: str, account_id: str = ACCOUNT) -> Endpoint:
    """An endpoint that wants to hear of cancels."""
    return Endpoint(
        account_id=account_id,
        endpoint_id=IDS.uuid(),
        url=url,
        events=(TYPE,),
        enabled=True,
        key_sealed=b"sealed",
        next_key_sealed=None,
        paused_at=None,
        failing_since=None,
        created_at=NOW,
    )


def render(event: Event, _view: OrderView) -> Told | None:
    """Cancels are told, as little as a receiver needs."""
    if event.type is not EventType.ORDER_CANCELLED:
        return None
    return Told(TYPE, json.dumps({"requestId": event.event_id, "order": event.order_id}).encode())


def sign(outgoing: Outgoing, at: int) -> dict[str, str]:
    """Return what these tests look for instead of a signature."""
    return {"X-Signed": f"{outgoing.delivery.event_id} {at}"}


def tell(store: SqliteStore, *endpoints: Endpoint, orders: int = 1) -> None:
    """Add the endpoints, cancel so many new orders of their merchants, and queue what is to be told."""
    for each in endpoints:
        store.outbox.add_endpoint(each)
    for account_id in sorted({each.account_id for each in endpoints}):
        names = [IDS.uuid() for _ in range(orders)]
        write(store, [cancelled(order) for order in add_orders(store, *names, account_id=account_id)])
    while store.outbox.place_events(render, NOW, 256):
        pass


def deliveries(store: SqliteStore, account_id: str = ACCOUNT) -> list[Delivery]:
    """All deliveries of a merchant."""
    return store.outbox.deliveries(DeliveryFilter(account_id=account_id, limit=10_000))


@asynccontextmanager
async def sending(
    store: SqliteStore,
    clock: ToldClock,
    settings: SenderSettings = QUICK,
    timeout_seconds: float = 10,
    signer: Signer = sign,
) -> AsyncIterator[DeliverySender]:
    """A sender at work over the store, which stays open."""
    threads, poster = StoreThreads(store), Poster(Guard(allow_loopback=True), timeout_seconds)
    sender = DeliverySender(
        threads=threads,
        poster=poster,
        signer=signer,
        clock=clock,
        settings=settings,
    )
    sender.start()
    try:
        yield sender
    finally:
        await sender.close()
        await poster.close()
        threads.close()


async def came(condition: Callable[[], object], what: str) -> None:
    """Wait as ``until`` does, while the loop goes on."""
    await asyncio.to_thread(until, condition, what, PATIENCE_SECONDS)


async def tried(store: SqliteStore, times: int) -> Delivery:
    """The only delivery, once it has been tried so often."""
    await came(lambda: deliveries(store)[0].tries == times, f"try {times}")
    return deliveries(store)[0]


def with_pauses(*seconds: int) -> SenderSettings:
    """Quick settings with this schedule."""
    return replace(QUICK, schedule=Schedule(seconds))
