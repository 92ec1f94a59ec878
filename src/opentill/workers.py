"""Bounded loops beside the requests: expire what is due, finish what a crash left, purge what is old.

Every process runs them. Two that do the same work at once do no harm: the second is refused or finds
nothing, because each step is a command or a verb that decides in its own transaction.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

import structlog

from opentill.clock import Clock, Ids
from opentill.domain.commands import Actor, ActorKind, ExpireOrder
from opentill.domain.order import Order
from opentill.engine.engine import Engine
from opentill.engine.errors import EngineError
from opentill.engine.reader import Reader
from opentill.engine.threads import StoreThreads
from opentill.rails.desk import CardDesk
from opentill.store.interface import Snapshot, StoreError

WORKER: Final = Actor(ActorKind.WORKER)
SWEEP: Final = 128
"""How many orders one sweep takes: half a batch, so that foreground commands always fit beside it."""
PURGE: Final = 500
"""How many rows of each kind one purge deletes."""

_log = structlog.get_logger("opentill.workers")


class Workers:
    """The loops of one process."""

    def __init__(
        self,
        *,
        engine: Engine,
        reader: Reader,
        threads: StoreThreads,
        desk: CardDesk,
        clock: Clock,
        ids: Ids,
        sweep_seconds: float,
        purge_seconds: float,
    ):
        self._engine = engine
        self._reader = reader
        self._threads = threads
        self._desk = desk
        self._clock = clock
        self._ids = ids
        self._sweep_seconds = sweep_seconds
        self._purge_seconds = purge_seconds
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begin the loops, inside the running event loop."""
        for work, seconds in (
            (self.expire, self._sweep_seconds),
            (self.finish_attempts, self._sweep_seconds),
            (self.purge, self._purge_seconds),
        ):
            self._tasks.append(asyncio.create_task(self._every(seconds, work)))

    async def close(self) -> None:
        """Stop the loops; what they have submitted is still carried out."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def expire(self) -> int:
        """Expire, or cancel where they asked for it, up to SWEEP orders whose time has come."""
        due = await self._reader.ask(self._due_orders, None)
        await asyncio.gather(*(self._expire(order) for order in due))
        return len(due)

    def _due_orders(self, snapshot: Snapshot) -> list[Order]:
        business_now = self._clock.now() + snapshot.facts(()).clock_offset
        return snapshot.due_orders(business_now, SWEEP)

    async def _expire(self, order: Order) -> None:
        command = ExpireOrder(
            account_id=order.account_id, command_id=self._ids.uuid(), actor=WORKER, name=order.order_id
        )
        await self._engine.submit(command, background=True)

    async def finish_attempts(self) -> int:
        """Settle up to SWEEP orders' rail calls whose callers are taken for dead."""
        overdue = await self._reader.ask(lambda s: s.overdue_calls(self._clock.now(), SWEEP), None)
        for view in overdue:
            await self._desk.finish(view.order)
        return len(overdue)

    async def purge(self) -> int:
        """Delete idempotency keys and tokens that nobody can need again, in bounded steps."""
        gone = 0
        while deleted := await self._threads.write(self._threads.store.purge, self._clock.now(), PURGE):
            gone += deleted
            await asyncio.sleep(0)
        return gone

    async def _every(self, seconds: float, work: Callable[[], Awaitable[int]]) -> None:
        """Repeat for ever; more at once while there is plenty, and a failure only ends this round."""
        while True:
            done = 0
            try:
                done = await work()
            except (EngineError, StoreError) as error:
                _log.warning("worker_waits", work=work.__name__, error=type(error).__name__)
            except Exception:  # noqa: BLE001 - a bug in one round must not end the loop
                _log.exception("worker_failed", work=work.__name__)
            await asyncio.sleep(0 if done >= SWEEP else seconds)
