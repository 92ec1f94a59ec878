"""The queue: bounded, fair to accounts, foreground first, and nothing that it accepted is lost."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

import pytest

from engine.harness import FaultyStore, ending, running, served, status, together
from opentill.engine.engine import Engine, EngineSettings
from opentill.engine.errors import EngineError, Overloaded
from opentill.engine.queue import Queue, QueueLimits
from store_factories import OTHER, add_orders, cancel, new_order

T = TypeVar("T")


class Kitchen:
    """Carries out groups of words when it is let, and remembers the groups."""

    def __init__(self) -> None:
        self.groups: list[list[str]] = []
        self.begun = asyncio.Event()
        self.open = asyncio.Event()
        self.open.set()
        self.errors: list[Exception] = []

    async def carry_out(self, asked: Sequence[str]) -> Sequence[str | EngineError]:
        self.groups.append(list(asked))
        self.begun.set()
        await self.open.wait()
        if self.errors:
            raise self.errors.pop()
        return [word.upper() for word in asked]


def _gathered(
    work: Callable[[Kitchen, Queue[str, str]], Awaitable[T]], group: int = 8, waiting: int = 100
) -> T:
    async def main() -> T:
        kitchen = Kitchen()
        queue: Queue[str, str] = Queue(kitchen.carry_out, QueueLimits(group, waiting))
        queue.start()
        try:
            return await work(kitchen, queue)
        finally:
            kitchen.open.set()
            await queue.close()

    return asyncio.run(main())


def test_beyond_the_limit_callers_are_turned_away() -> None:
    """The queue takes as many as its limit, and more again as soon as some were served."""

    async def work(_kitchen: Kitchen, queue: Queue[str, str]) -> str:
        accepted = [queue.submit("a", str(i)) for i in range(10)]
        with pytest.raises(Overloaded):
            queue.submit("a", "10")
        await asyncio.gather(*accepted)
        return await queue.submit("b", "10")

    assert _gathered(work, waiting=10) == "B"


def test_one_account_gets_half_of_the_queue() -> None:
    """An account that floods the queue is turned away at half of it, while others still get in."""

    async def work(_kitchen: Kitchen, queue: Queue[str, str]) -> list[str]:
        accepted = [queue.submit("a", "flood") for _ in range(5)]
        with pytest.raises(Overloaded):
            queue.submit("a", "flood")
        accepted.append(queue.submit("b", "calm"))
        await asyncio.gather(*accepted)
        return [*await asyncio.gather(*accepted), await queue.submit("c", "flood")]

    assert _gathered(work, waiting=10) == ["A"] * 5 + ["B", "C"]


def test_an_engine_turns_away_the_flood_of_one_merchant(store: FaultyStore) -> None:
    """Eight places: the fifth command of one merchant gets Overloaded, another merchant's is done."""

    async def work(engine: Engine) -> list[str]:
        flood = [engine.submit(new_order(f"r{i}")) for i in range(5)]
        answers = await together(*flood, engine.submit(new_order("r", OTHER)))
        return [ending(answer) for answer in answers]

    answers = served(store, work, settings=EngineSettings(queue_limit=8))
    assert answers == ["done"] * 4 + ["Overloaded", "done"]
    assert status(store, "r4") == "none"


def test_foreground_goes_before_background() -> None:
    """Background work that came first goes behind the foreground work that fills the next groups."""

    async def work(kitchen: Kitchen, queue: Queue[str, str]) -> list[list[str]]:
        for i in range(4):
            queue.submit(f"b{i}", "m", background=True)
        for i in range(10):
            queue.submit(f"f{i}", "m")
        await queue.close()
        return kitchen.groups

    first, second, third = _gathered(work, group=8)
    assert first == [f"f{i}" for i in range(8)]
    assert second == ["f8", "f9", "b0", "b1"]
    assert third == ["b2", "b3"]


def test_background_takes_at_most_a_quarter_of_a_group() -> None:
    """Even alone, background work makes small groups: a foreground command may come and must wait for one."""

    async def work(kitchen: Kitchen, queue: Queue[str, str]) -> list[int]:
        for i in range(10):
            queue.submit(f"b{i}", "m", background=True)
        await queue.close()
        return [len(group) for group in kitchen.groups]

    assert _gathered(work, group=8) == [2, 2, 2, 2, 2]


def test_background_is_not_starved() -> None:
    """Under foreground load that fills every group some background work is still done in each."""

    async def work(kitchen: Kitchen, queue: Queue[str, str]) -> list[list[str]]:
        for i in range(4):
            queue.submit(f"b{i}", "m", background=True)
        for i in range(96):
            queue.submit(f"f{i}", str(i))
        await queue.close()
        return kitchen.groups

    groups = _gathered(work, group=32, waiting=200)
    assert ["b0" in groups[0], "b2" in groups[1]] == [True, True]


def test_what_comes_while_one_group_is_served_is_the_next_group() -> None:
    """A lone request is taken at once; those that come meanwhile gather and are served together."""

    async def work(kitchen: Kitchen, queue: Queue[str, str]) -> list[list[str]]:
        kitchen.open.clear()
        first = queue.submit("a", "m")
        await kitchen.begun.wait()
        rest = [queue.submit(word, "m") for word in "bcd"]
        kitchen.open.set()
        await asyncio.gather(first, *rest)
        return kitchen.groups

    assert _gathered(work) == [["a"], ["b", "c", "d"]]


def test_no_waiter_hangs_when_the_work_fails() -> None:
    """Everybody of a group whose work raised gets the error, and the next group is served."""

    async def work(kitchen: Kitchen, queue: Queue[str, str]) -> str:
        kitchen.errors.append(ZeroDivisionError())
        answers = await asyncio.gather(queue.submit("a", "m"), queue.submit("b", "m"), return_exceptions=True)
        assert [type(answer) for answer in answers] == [ZeroDivisionError] * 2
        return await queue.submit("c", "m")

    assert _gathered(work) == "C"


# --- the engine's end, and waiters that go away -----------------------------------------------------------


def test_nothing_accepted_is_lost_on_close(store: FaultyStore) -> None:
    """Commands that wait when the engine closes are committed and answered; later ones are turned away."""

    async def main() -> list[str]:
        async with running(store, settings=EngineSettings(max_batch=4)) as engine:
            accepted = [asyncio.ensure_future(engine.submit(new_order(f"r{i}"))) for i in range(20)]
            accepted.append(asyncio.ensure_future(engine.submit(new_order("b"), background=True)))
            await asyncio.sleep(0)
            closing = asyncio.create_task(engine.close())
            await asyncio.sleep(0)
            late = await together(engine.submit(new_order("late")))
            await closing
            assert all(task.done() for task in accepted)
            return [ending(answer) for answer in [*await asyncio.gather(*accepted), *late]]

    assert asyncio.run(main()) == ["done"] * 21 + ["Overloaded"]
    assert [status(store, name) for name in ("r0", "r19", "b", "late")] == ["PENDING"] * 3 + ["none"]


def test_a_waiter_that_goes_away_takes_nothing_with_it(store: FaultyStore) -> None:
    """The command of a cancelled waiter is carried out, and its neighbours of the batch are answered."""
    add_orders(store, "r", "s", "t")

    async def work(engine: Engine) -> list[str]:
        tasks = [asyncio.create_task(engine.submit(cancel(name))) for name in "rst"]
        await asyncio.sleep(0)
        tasks[1].cancel()
        answers = await asyncio.gather(*tasks, return_exceptions=True)
        return [ending(answer) for answer in answers]

    assert served(store, work) == ["done", "CancelledError", "done"]
    assert [status(store, name) for name in "rst"] == ["CANCELLED"] * 3
