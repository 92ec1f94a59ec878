"""Ending unpaid orders whose time has come: looked for in bounded looks, ended through the one door.

Any number of processes may do it at once: whoever comes second is refused, because each order is ended by a
command that decides in its own transaction.
"""

import asyncio
from collections import Counter
from typing import Final

import structlog

from opentill.clock import Clock, Ids
from opentill.domain.commands import Actor, ActorKind, ExpireOrder
from opentill.engine.engine import Engine
from opentill.engine.errors import CommandFailed, EngineError
from opentill.engine.reader import Reader
from opentill.store.orders.contract import Name, Snapshot

WORKER: Final = Actor(ActorKind.WORKER)
LOOK: Final = 512
"""How many due orders one look takes: eight batches of background work, so that the engine need not wait."""
EXPIRE_SECONDS: Final = 1.0
"""How long one round of ending due orders lasts while there are plenty."""
TRIES_BEFORE_PARKING: Final = 5
"""How often the end of one order may fail before this process leaves it to a person."""

_log = structlog.get_logger("opentill.expiry")


class Expiry:
    """The end of due orders, by one process."""

    def __init__(self, *, engine: Engine, reader: Reader, clock: Clock, ids: Ids):
        self._engine = engine
        self._reader = reader
        self._clock = clock
        self._ids = ids
        self._looking = asyncio.Lock()
        self._under_way: set[Name] = set()
        self._failures: Counter[Name] = Counter()
        """Of the orders whose end has failed: never many, or the database has other troubles."""

    async def sweep(self) -> int:
        """Expire, or cancel where they asked for it, up to LOOK orders; returns how many it ended.

        Those that another sweep of this process is about are left to it.
        """
        due = await self._look()
        try:
            answers = await self._engine.submit_all([self._command(name) for name in due])
        finally:
            self._under_way.difference_update(due)
        for name, answer in zip(due, answers, strict=True):
            if isinstance(answer, CommandFailed):
                self._note_failure(name)
            elif isinstance(answer, EngineError):
                raise answer
        return len(due)

    async def expire(self) -> int:
        """End what is due, for EXPIRE_SECONDS at the most; returns how many orders were ended."""
        return await self.catch_up(EXPIRE_SECONDS)

    async def catch_up(self, most_seconds: float) -> int:
        """Sweep until nothing is due, or the time is over; returns how many orders were ended.

        Two sweeps take turns, so that the engine has work while one of them looks.
        """
        until = asyncio.get_running_loop().time() + most_seconds
        return sum(await asyncio.gather(self._sweep_until(until), self._sweep_until(until)))

    async def _sweep_until(self, until: float) -> int:
        loop, done = asyncio.get_running_loop(), 0
        while due := await self.sweep():
            done += due
            if loop.time() >= until:
                break
        return done

    async def _look(self) -> list[Name]:
        """Take up to LOOK due orders that nobody here is about; from now on the caller is."""
        async with self._looking:
            limit = LOOK + len(self._failures) + len(self._under_way)
            found = await self._reader.ask(lambda snapshot: self._due_orders(snapshot, limit), None)
            due = [name for name in found if self._is_free(name)][:LOOK]
            self._under_way.update(due)
        return due

    def _due_orders(self, snapshot: Snapshot, limit: int) -> list[Name]:
        return snapshot.due_orders(snapshot.facts(()).due_by(self._clock.now()), limit)

    def _is_free(self, name: Name) -> bool:
        return name not in self._under_way and self._failures[name] < TRIES_BEFORE_PARKING

    def _command(self, name: Name) -> ExpireOrder:
        return ExpireOrder(account_id=name[0], command_id=self._ids.uuid(), actor=WORKER, name=name[1])

    def _note_failure(self, name: Name) -> None:
        """Count a failed end; an order that can not be ended is left to a person and stops no other."""
        self._failures[name] += 1
        if self._failures[name] == TRIES_BEFORE_PARKING:
            _log.error("expiry_parked", account_id=name[0], reference=name[1])
