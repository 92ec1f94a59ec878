"""What the processes of ``test_postgres_deadlock`` do: the same rows, wanted in opposite orders.

A module of its own, since each process imports it anew. All rounds begin at one moment in both processes.
"""

import asyncio
import multiprocessing
import random
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Barrier
from typing import Any, Final

import psycopg

import store_factories
from engine.builders import begin, claim, settle
from engine.harness import Renderer, ending, rendered_later, running
from opentill.domain.commands import Command, RailOutcome
from opentill.domain.decisions import create, decide
from opentill.domain.order import Order
from opentill.domain.transition import Change
from opentill.engine.engine import Engine, EngineSettings
from opentill.store.databases.postgres import open_postgres
from opentill.store.errors import Transient
from opentill.store.interface import Store
from opentill.store.orders.contract import KeyClaim, KeyRecord, StoredReply
from store_factories import ACCOUNT, NOW, CountingIds, cancel, new_order, read

SPAWN: Final = multiprocessing.get_context("spawn")
PROCESSES, ROUNDS, ORDERS = 3, 5, 40
WAIT_SECONDS: Final = 60
TRIES: Final = 5
CARELESS_ROUNDS: Final = 3


@dataclass(frozen=True)
class Side:
    """One of the processes, and in which order it wants things."""

    number: int
    url: str
    start: Barrier

    def ordered(self, round_: int, kind: str) -> list[str]:
        """The names of a round: forwards, backwards or shuffled, as no other process wants them."""
        names = [name_of(round_, kind, i) for i in range(ORDERS)]
        if self.number == PROCESSES - 1:
            random.Random(round_).shuffle(names)
        return names if self.number else names[::-1]

    def called(self, store: Store, references: Sequence[str]) -> list[str]:
        """Return what this process calls these orders: by reference, some by order id, or all of them."""
        found = read(store, *((ACCOUNT, reference) for reference in references))
        ids = [order.order_id for order in found if order is not None]
        return [ids[i] if i % 2 < self.number else reference for i, reference in enumerate(references)]


def name_of(round_: int, kind: str, i: int) -> str:
    return f"{kind}-{round_}-{i}"


Work = Callable[[Side, Any], Any]


def run_opposed(work: Work, url: str) -> list[Any]:
    """Start the work in all processes; what each of them has told."""
    start, told = SPAWN.Barrier(PROCESSES), SPAWN.Queue()
    running = [
        SPAWN.Process(target=_process, args=(work, Side(number, url, start), told))
        for number in range(PROCESSES)
    ]
    try:
        for process in running:
            process.start()
        return [told.get(timeout=WAIT_SECONDS) for _ in running]
    finally:
        for process in running:
            process.join(10)
            if process.is_alive():
                process.kill()
                process.join()


def _process(work: Callable[[Side, Store], Any], side: Side, told: "Queue[Any]") -> None:
    store_factories.IDS = CountingIds(start=(side.number + 2) << 40)
    with closing(open_postgres(side.url)) as store:
        told.put(work(side, store))


# --- through the store's batches ------------------------------------------------------------------------


KINDS: Final = (("key",), ("old",), ("new",), ("new",), ("key", "old", "new"))
"""What the batches of a round want, in turn. Alone, since whoever waits for one never gets to the rest."""


def batches(side: Side, store: Store) -> int:
    """Each round writes keys, cancels orders or creates others; returns how many batches got through."""
    won = 0
    for round_ in range(ROUNDS):
        wanted = {kind: side.ordered(round_, kind) for kind in KINDS[round_ % len(KINDS)]}
        names = side.called(store, wanted.get("old", ())) + wanted.get("new", [])
        claims = [claim(key) for key in wanted.get("key", ())]
        side.start.wait(WAIT_SECONDS)
        won += any(_batch(store, names, claims) for _ in range(TRIES))
    return won


def _batch(store: Store, names: list[str], claims: list[KeyClaim]) -> bool:
    """Everything that a batch does, in the order that its contract asks for; False if it must run again."""
    try:
        with store.batch() as batch:
            batch.facts(())
            found = batch.lock_orders([(ACCOUNT, name) for name in names])
            orders = {name: order for order in found for name in (order.reference, order.order_id)}
            held = batch.keys([(c.account_id, c.key) for c in claims], NOW)
            batch.write([change for name in names if (change := _change(name, orders))])
            ours = [
                KeyRecord(c.account_id, c.key, c.fingerprint, c.command_id, StoredReply(200, "", b"{}"))
                for c in claims
                if (c.account_id, c.key) not in held
            ]
            batch.write_keys(ours, NOW, NOW + 1)
            batch.commit()
    except Transient:
        return False
    return True


def _change(name: str, orders: Mapping[str, Order]) -> Change | None:
    """A pending order is cancelled, one that is not there is created."""
    order = orders.get(name)
    if order is None:
        return create(new_order(name), NOW)
    wanted = "old" in order.reference and order.cancelled_at is None
    return decide(order, cancel(name), NOW) if wanted else None


def row_by_row(side: Side, store: Store) -> int:
    """The mistake that all of this avoids: locks one by one, as the commands came; its deadlocks."""
    deadlocks = 0
    with psycopg.connect(side.url, autocommit=True) as database:
        for round_ in range(CARELESS_ROUNDS):
            side.start.wait(WAIT_SECONDS)
            try:
                with database.transaction():
                    for reference in side.ordered(round_, "old"):
                        wanted = "SELECT 1 FROM orders WHERE reference = %s FOR UPDATE"
                        database.execute(wanted, [reference])
            except psycopg.errors.DeadlockDetected:
                deadlocks += 1
    return deadlocks


# --- through engines --------------------------------------------------------------------------------------


def engines(side: Side, store: Store) -> dict[str, int]:
    """Each round cancels, creates, begins payments and asks again under their keys; how all of it ended."""
    ends: dict[str, int] = {}

    async def work() -> None:
        async with running(store, settings=EngineSettings(key_wait_seconds=0)) as engine:
            for round_ in range(ROUNDS):
                await _round(side, store, engine, round_, ends)

    asyncio.run(work())
    return ends


async def _round(side: Side, store: Store, engine: Engine, round_: int, ends: dict[str, int]) -> None:
    """Every other round without keys, since whoever waits for a key never gets to the orders."""
    references, new = side.ordered(round_, "old"), side.ordered(round_, "new")
    commands: list[Command] = [*map(cancel, side.called(store, references)), *map(new_order, new)]
    keys = [claim(f"key-{each}") if round_ % 2 else None for each in references + new]
    side.start.wait(WAIT_SECONDS)
    asked = [
        *(engine.submit(c, claim=key, render=Renderer()) for c, key in zip(commands, keys, strict=True)),
        *(_payment(side, engine, reference) for reference in side.ordered(round_, "pay")),
    ]
    for answer in await asyncio.gather(*asked, return_exceptions=True):
        end = ending(answer)
        ends[end] = ends.get(end, 0) + 1


async def _payment(side: Side, engine: Engine, reference: str) -> Any:
    """The first process brings replies under keys claimed earlier; the others ask again under those keys."""
    if side.number == 0:
        answer = settle(reference, f"T-{reference}", RailOutcome.APPROVED)
        return await engine.submit(answer, completes_key=f"pay-{reference}", render=Renderer())
    again = begin(reference, f"T{side.number}-{reference}")
    return await engine.submit(again, claim=claim(f"pay-{reference}"), render=rendered_later)
