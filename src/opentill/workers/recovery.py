"""Finishing what a crash left: the rail is asked about each call whose caller is taken for dead.

Any number of processes may do it at once: each step is a command that decides in its own transaction, so the
second to come is refused or finds nothing.
"""

import asyncio
import math
from collections import Counter
from collections.abc import Sequence
from typing import Final

import structlog

from opentill.clock import Clock
from opentill.domain.order import Order
from opentill.engine.errors import CommandFailed, EngineError
from opentill.engine.reader import Reader
from opentill.rails.card_payments import CardPaymentService
from opentill.rails.transfer_payments import TransferPaymentService

SWEEP: Final = 128
"""How many orders one round takes: half a batch, so that foreground commands always fit beside it."""
NEXT_LOOK_MILLISECONDS: Final = 2000
"""How long an order whose call could not be settled is passed over, so that it never blocks the others."""
TRIES_BEFORE_PARKING: Final = 5
"""How often an order's calls may fail to be settled before this process leaves them to a person."""

_log = structlog.get_logger("opentill.workers")


class Recovery:
    """One process's care for calls to rails that nobody waits for any more."""

    def __init__(
        self,
        reader: Reader,
        payment_services: Sequence[CardPaymentService | TransferPaymentService],
        clock: Clock,
    ):
        self._reader = reader
        self._payment_services = payment_services
        self._clock = clock
        self._failures: Counter[str] = Counter()
        self._not_before: dict[str, float] = {}
        """By order id, when its calls may be looked up again, by the monotonic clock; infinity: never."""

    async def finish_attempts(self) -> int:
        """Settle up to SWEEP orders' calls whose callers are taken for dead, and send what is to go back.

        Returns how many orders it saw to.
        """
        now, moment = self._clock.now(), self._clock.monotonic()
        self._not_before = {order_id: at for order_id, at in self._not_before.items() if at > moment}
        most = SWEEP + len(self._not_before)
        overdue = await self._reader.ask(lambda s: s.overdue_calls(now, most), None)
        orders = [view.order for view in overdue if view.order.order_id not in self._not_before]
        await asyncio.gather(*(self._finish(order) for order in orders))
        return len(orders)

    async def _finish(self, order: Order) -> None:
        """Settle one order's calls. One that fails each time is left to a person and stops no other.

        The pause until its next look begins when this one has ended: a rail that is silent takes longer than
        the pause, and the same orders would come first for ever.
        """
        self._not_before[order.order_id] = math.inf
        try:
            for service in self._payment_services:
                await service.finish(order)
        except CommandFailed:
            self._failures[order.order_id] += 1
        except EngineError as error:
            _log.warning("attempt_waits", order_id=order.order_id, error=type(error).__name__)
        finally:
            self._pause(order)

    def _pause(self, order: Order) -> None:
        if self._failures[order.order_id] >= TRIES_BEFORE_PARKING:
            _log.error("attempt_parked", account_id=order.account_id, order_id=order.order_id)
        else:
            self._not_before[order.order_id] = self._clock.monotonic() + NEXT_LOOK_MILLISECONDS
