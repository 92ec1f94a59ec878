"""Giving committed events their places in the feeds: one process at a time, in bounded batches."""

import math
from typing import Final

import structlog

from opentill.clock import Clock
from opentill.domain.events import Event
from opentill.engine.threads import StoreThreads
from opentill.store.orders.contract import OrderView
from opentill.store.outbox.contract import RenderEvent, Told

LEASE: Final = "sequencer"
LEASE_MILLISECONDS: Final = 5000
"""How long the work rests at most after the process that did it was killed."""
RENEW_MILLISECONDS: Final = LEASE_MILLISECONDS // 2
ASK_MILLISECONDS: Final = LEASE_MILLISECONDS // 5
"""How often a process that does not hold the lease asks for it."""
BATCH: Final = 256
"""How many events one transaction places; a cancel that comes meanwhile waits for it."""

_log = structlog.get_logger("opentill.webhooks")


class Sequencer:
    """Places events and queues what they say. Two that think they hold the lease do no harm."""

    def __init__(self, *, threads: StoreThreads, clock: Clock, holder: str, render: RenderEvent):
        self._threads = threads
        self._clock = clock
        self._holder = holder
        self._render = render
        self._leads = False
        self._ask_at: float = -math.inf
        """By the monotonic clock."""

    async def place(self) -> int:
        """Place up to BATCH events; returns how many, 0 also where another process does it."""
        store, now, moment = self._threads.store, self._clock.now(), self._clock.monotonic()
        if moment >= self._ask_at:
            until = now + LEASE_MILLISECONDS
            self._leads = await self._threads.write(store.outbox.hold_lease, LEASE, self._holder, now, until)
            self._ask_at = moment + (RENEW_MILLISECONDS if self._leads else ASK_MILLISECONDS)
        return (
            await self._threads.write(store.outbox.place_events, self._told, now, BATCH) if self._leads else 0
        )

    def _told(self, event: Event, view: OrderView) -> Told | None:
        """Put events into words; one that can not be must not keep everybody's others from being told."""
        try:
            return self._render(event, view)
        except Exception:  # noqa: BLE001 - whatever it is, it is this event's alone
            _log.exception("event_not_told", account_id=event.account_id, event_id=event.event_id)
            return None
