"""Bounded loops beside the requests: expire what is due, finish what a crash left, purge what is old.

Every process runs them. Two that do the same work at once do no harm: the second is refused or finds
nothing, because each step is a command or a verb that decides in its own transaction.
"""

import asyncio
import math
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import structlog

from opentill.clock import Clock
from opentill.domain.order import Order
from opentill.engine.errors import CommandFailed, EngineError
from opentill.engine.reader import Reader
from opentill.engine.threads import StoreThreads
from opentill.rails.card_payments import CardPaymentService
from opentill.rails.transfer_payments import TransferPaymentService
from opentill.store.errors import StoreError
from opentill.workers.expiry import Expiry

SWEEP: Final = 128
"""How many orders one round takes: half a batch, so that foreground commands always fit beside it."""
EXPIRE_SECONDS: Final = 1.0
"""How long one round of ending due orders lasts while there are plenty."""
CHECKPOINT_SECONDS: Final = 0.2
"""Pause between two checkpoints of the store's log."""
BUSY_SECONDS: Final = 0.01
"""Pause between two sweeps while there is plenty to do."""
NEXT_LOOK_MILLISECONDS: Final = 2000
"""How long an order whose call could not be settled is passed over, so that it never blocks the others."""
TRIES_BEFORE_PARKING: Final = 5
"""How often an order's calls may fail to be settled before this process leaves them to a person."""
PURGE: Final = 500
"""How many rows of each kind one purge deletes."""

_log = structlog.get_logger("opentill.workers")


class Workers:
    """The loops of one process."""

    def __init__(
        self,
        *,
        reader: Reader,
        threads: StoreThreads,
        desks: Sequence[CardPaymentService | TransferPaymentService],
        expiry: Expiry,
        clock: Clock,
        sweep_seconds: float,
        purge_seconds: float,
    ):
        self._reader = reader
        self._threads = threads
        self._desks = desks
        self._expiry = expiry
        self._clock = clock
        self._sweep_seconds = sweep_seconds
        self._purge_seconds = purge_seconds
        self._tasks: list[asyncio.Task[None]] = []
        self._failures: Counter[str] = Counter()
        self._not_before: dict[str, float] = {}
        """By order id, when its calls may be looked up again; infinity for one that is left to a person."""

    def start(self, *more: tuple[Callable[[], Awaitable[int]], float]) -> None:
        """Begin the loops, inside the running event loop.

        ``more`` is further work, each with the pause between two rounds in seconds.
        """
        for work, seconds in (
            (self.expire, self._sweep_seconds),
            (self.finish_attempts, self._sweep_seconds),
            (self.purge, self._purge_seconds),
            (self.checkpoint, CHECKPOINT_SECONDS),
            *more,
        ):
            self._tasks.append(asyncio.create_task(self._every(seconds, work)))

    async def close(self) -> None:
        """Stop the loops; what they have submitted is still carried out."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def expire(self) -> int:
        """End what is due, for EXPIRE_SECONDS at the most."""
        return await self._expiry.catch_up(EXPIRE_SECONDS)

    async def finish_attempts(self) -> int:
        """Settle up to SWEEP orders' calls whose callers are taken for dead, and send what is to go back.

        Returns how many orders it saw to.
        """
        now = self._clock.now()
        self._not_before = {order_id: at for order_id, at in self._not_before.items() if at > now}
        most = SWEEP + len(self._not_before)
        overdue = await self._reader.ask(lambda s: s.overdue_calls(now, most), None)
        orders = [view.order for view in overdue if view.order.order_id not in self._not_before]
        await asyncio.gather(*(self._finish(order) for order in orders))
        return len(orders)

    async def _finish(self, order: Order) -> None:
        """Settle one order's calls. One that fails each time is left to a person and stops no other."""
        self._not_before[order.order_id] = self._clock.now() + NEXT_LOOK_MILLISECONDS
        try:
            for desk in self._desks:
                await desk.finish(order)
        except CommandFailed:
            self._failures[order.order_id] += 1
            if self._failures[order.order_id] >= TRIES_BEFORE_PARKING:
                self._not_before[order.order_id] = math.inf
                _log.error("attempt_parked", account_id=order.account_id, order_id=order.order_id)
        except EngineError as error:
            _log.warning("attempt_waits", order_id=order.order_id, error=type(error).__name__)

    async def purge(self) -> int:
        """Delete idempotency keys and tokens that nobody can need again, in bounded steps."""
        gone = 0
        while deleted := await self._threads.write(self._threads.store.purge, self._clock.now(), PURGE):
            gone += deleted
            await asyncio.sleep(0)
        return gone

    async def checkpoint(self) -> int:
        """Keep the store's log short, so that no writer ever has to stop for it."""
        await asyncio.to_thread(self._threads.store.checkpoint)
        return 0

    async def _every(self, seconds: float, work: Callable[[], Awaitable[int]]) -> None:
        """Repeat for ever; soon again while there is plenty, and a failure only ends this round."""
        while True:
            done = 0
            try:
                done = await work()
            except (EngineError, StoreError) as error:
                _log.warning("worker_waits", work=work.__name__, error=type(error).__name__)
            except Exception:  # noqa: BLE001 - a bug in one round must not end the loop
                _log.exception("worker_failed", work=work.__name__)
            await asyncio.sleep(min(seconds, BUSY_SECONDS) if done >= SWEEP else seconds)
