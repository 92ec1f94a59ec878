"""What the processes of ``test_processes`` do; a module of its own, since each of them imports it anew."""

import multiprocessing
from collections.abc import Callable
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Barrier
from typing import Any

import store_factories
from databases import Place
from engine.harness import ending, served, together
from opentill.engine.engine import Engine, EngineSettings
from store_factories import CountingIds, add_orders, cancel, open_store

SPAWN = multiprocessing.get_context("spawn")


def write_in_turn(number: int, place: Place, start: Barrier, told: "Queue[Any]", count: int) -> None:
    """Commit ``count`` orders, one commit each, as fast as turns come."""
    _own_ids(number)
    store = open_store(place)
    start.wait(30)
    for i in range(count):
        add_orders(store, f"{number}-{i}")
    store.close()
    told.put((number, count))


def cancel_in_turn(number: int, place: Place, start: Barrier, told: "Queue[Any]", count: int) -> None:
    """Cancel the orders r0, r1 ... in small batches; tell how each ended."""
    _own_ids(number)
    store = open_store(place)

    async def work(engine: Engine) -> list[str]:
        start.wait(30)
        return [ending(a) for a in await together(*(engine.submit(cancel(f"r{i}")) for i in range(count)))]

    answers = served(store, work, settings=EngineSettings(max_batch=4))
    store.close()
    told.put((number, answers))


def _own_ids(number: int) -> None:
    """Every process counts its ids from a place of its own."""
    store_factories.IDS = CountingIds(start=(number + 2) << 40)


def run_together(
    work: Callable[[int, Place, Barrier, "Queue[Any]", int], None], place: Place, processes: int, count: int
) -> dict[int, Any]:
    """Start the work in so many processes at one moment; what each has told, by its number."""
    start, told = SPAWN.Barrier(processes), SPAWN.Queue()
    running = [
        SPAWN.Process(target=work, args=(number, place, start, told, count)) for number in range(processes)
    ]
    try:
        for process in running:
            process.start()
        return dict(told.get(timeout=60) for _ in running)
    finally:
        for process in running:
            process.join(10)
            if process.is_alive():
                process.kill()
                process.join()
