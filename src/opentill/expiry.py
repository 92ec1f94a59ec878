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
from opentill.store.interface import Name, Snapshot

WORKER: Final = Actor(ActorKind.WORKER)
LOOK: Final = 512
"""How many due orders one look takes: four half batches, so that the engine never waits for the next look."""
TRIES_BEFORE_PARKING: Final = 5
"""How often the end of one order may fail before this process leaves it to a person."""

_log = structlog.get_logger("opentill.expiry")


class Expiry:
    """What one process does about due orders."""

    def __init__(self, *, engine: Engine, reader: Reader, clock: Clock, ids: Ids):
        self._engine = engine
        self._reader = reader
        self._clock = clock
        self._ids = ids
        self._looking = asyncio.Lock()
        """Held from a look to the end of what it found: two looks at once would find the same orders."""
        self._failures: Counter[Name] = Counter()
        """Of the orders whose end has failed: never many, or the database has other troubles."""

    async def sweep(self) -> int:
        """Expire, or cancel where they asked for it, up to LOOK orders; returns how many were due."""
        async with self._looking:
            return await self._sweep()

    async def _sweep(self) -> int:
        due = await self._reader.ask(self._due_orders, None)
        answers = await self._engine.submit_all([self._command(name) for name in due])
        for name, answer in zip(due, answers, strict=True):
            if isinstance(answer, CommandFailed):
                self._note_failure(name)
            elif isinstance(answer, EngineError):
                raise answer
        return len(due)

    async def catch_up(self, most_seconds: float) -> int:
        """Sweep until nothing is due, or the time is over; returns how many orders were due."""
        loop, done = asyncio.get_running_loop(), 0
        until = loop.time() + most_seconds
        while due := await self.sweep():
            done += due
            if loop.time() >= until:
                break
        return done

    def _due_orders(self, snapshot: Snapshot) -> list[Name]:
        business_now = self._clock.now() + snapshot.facts(()).clock_offset
        due = snapshot.due_orders(business_now, LOOK + len(self._failures))
        return [name for name in due if self._failures[name] < TRIES_BEFORE_PARKING][:LOOK]

    def _command(self, name: Name) -> ExpireOrder:
        return ExpireOrder(account_id=name[0], command_id=self._ids.uuid(), actor=WORKER, name=name[1])

    def _note_failure(self, name: Name) -> None:
        """One that can not be ended is left to a person and stops no other."""
        self._failures[name] += 1
        if self._failures[name] == TRIES_BEFORE_PARKING:
            _log.error("expiry_parked", account_id=name[0], reference=name[1])
