"""Keeping the time of a process, on every database."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import closing

import pytest
from sqlalchemy import text

from databases import Place
from opentill.clock import NOTED_MILLISECONDS, DatabaseClock
from opentill.engine.threads import StoreThreads
from opentill.store.accounts.contract import Mode
from opentill.store.interface import Store
from opentill.workers.timekeeping import ClockDoubt, Timekeeping
from store_factories import NOW, ToldClock, open_store

DAY = 86_400_000
Work = Callable[[Timekeeping, ToldClock, Store], Awaitable[None]]


def kept(place: Place, work: Work, mode: Mode = Mode.SANDBOX) -> None:
    """Do this with a process whose database has no clock of its own."""

    async def main(store: Store) -> None:
        threads, machine = StoreThreads(store), ToldClock()
        store.write(  # type: ignore[attr-defined]
            lambda connection: connection.execute(text(f"UPDATE installation SET mode = '{mode}'"))
        )
        try:
            await work(Timekeeping(threads, DatabaseClock(machine, lambda: None), mode), machine, store)
        finally:
            threads.close()

    with closing(open_store(place)) as store:
        asyncio.run(main(store))


def test_the_time_is_noted_once_a_minute(place: Place) -> None:
    """From the first look on, and without a write in between."""

    async def work(keeping: Timekeeping, machine: ToldClock, store: Store) -> None:
        seen = []
        for time in (NOW, NOW + 5_000, NOW + NOTED_MILLISECONDS, NOW + NOTED_MILLISECONDS + 1):
            machine.time = time
            await keeping.keep()
            seen.append(store.accounts.seen_at())
        assert seen == [NOW, NOW, NOW + NOTED_MILLISECONDS, NOW + NOTED_MILLISECONDS]
        assert keeping.doubt is None

    kept(place, work)


def test_a_clock_that_is_set_back_is_doubted_and_not_noted(place: Place) -> None:
    """Until it is set right, or a person says that it is; from then on it is followed."""

    async def work(keeping: Timekeeping, machine: ToldClock, store: Store) -> None:
        await keeping.keep()
        machine.step, machine.time = -3_600_000, NOW + 2 * NOTED_MILLISECONDS
        await keeping.keep()
        assert (keeping.doubt, store.accounts.seen_at()) == (ClockDoubt.BACK, NOW)
        store.accounts.confirm_time(machine.now())
        await keeping.keep()
        assert (keeping.doubt, store.accounts.seen_at()) == (None, machine.now())

    kept(place, work)


@pytest.mark.parametrize("mode", list(Mode))
def test_a_clock_far_ahead_is_doubted_where_money_is_real(place: Place, mode: Mode) -> None:
    """A live server waits for a person; a sandbox goes on."""

    async def work(keeping: Timekeeping, machine: ToldClock, store: Store) -> None:
        await keeping.keep()
        machine.time = NOW + 60 * DAY
        await keeping.keep()
        live = mode is Mode.LIVE
        assert keeping.doubt is (ClockDoubt.AHEAD if live else None)
        assert store.accounts.seen_at() == (NOW if live else machine.time)
        store.accounts.confirm_time(machine.time)
        await keeping.keep()
        assert keeping.doubt is None

    kept(place, work, mode)


def test_a_wrong_clock_that_is_set_right_is_followed_at_once(place: Place) -> None:
    """Nobody need confirm the time that servers had seen before."""

    async def work(keeping: Timekeeping, machine: ToldClock, store: Store) -> None:
        await keeping.keep()
        doubts = []
        for step in (60 * DAY, 0):
            machine.step = step
            await keeping.keep()
            doubts.append(keeping.doubt)
        assert doubts == [ClockDoubt.AHEAD, None]
        assert store.accounts.seen_at() == NOW

    kept(place, work, Mode.LIVE)
