"""What a process has beside its requests, at a till on a real store."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from opentill.domain.decisions import create
from opentill.domain.order import DueAction
from opentill.engine.reader import Reader
from opentill.engine.threads import StoreThreads
from opentill.workers.expiry import Expiry
from opentill.workers.housekeeping import Housekeeping
from opentill.workers.loops import Workers
from opentill.workers.recovery import Recovery
from rails.till import Till, at_the_till
from store_factories import IDS, NOW, new_order, write

T = TypeVar("T")


@dataclass
class Shift:
    """Workers at a till."""

    till: Till
    workers: Workers
    expiry: Expiry
    recovery: Recovery
    housekeeping: Housekeeping


def at_work(folder: Path, work: Callable[[Shift], Awaitable[T]], now: int = NOW) -> T:
    async def at_the(till: Till) -> T:
        threads = StoreThreads(till.store)
        reader = Reader(threads, 1000)
        reader.start()
        expiry = Expiry(engine=till.engine, reader=reader, clock=till.clock, ids=IDS)
        recovery = Recovery(reader, (till.card_payments,), till.clock)
        workers = Workers()
        try:
            return await work(Shift(till, workers, expiry, recovery, Housekeeping(threads, till.clock)))
        finally:
            await workers.close()
            await reader.close()
            threads.close()

    return at_the_till(folder, at_the, now=now)


def add_due(till: Till, reference: str, due_at: int, action: DueAction = DueAction.EXPIRE) -> None:
    write(till.store, [create(new_order(reference, due_at=due_at, due_action=action), NOW)])
