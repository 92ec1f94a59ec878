"""The sequencer over a real store: who does it, in which steps, and what can not stop it."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from opentill.domain.events import Event
from opentill.engine.threads import StoreThreads
from opentill.store.interface import Store
from opentill.store.orders.contract import OrderView
from opentill.store.outbox.contract import DeliveryFilter, Told
from opentill.webhooks.sequencer import ASK_MILLISECONDS, BATCH, LEASE_MILLISECONDS, Sequencer
from store.conformance_outbox import E1, add_cancelled, feed, said
from store_factories import ACCOUNT, NOW, ToldClock, add_orders, open_store


def _on(folder: Path, work: Callable[[Store, StoreThreads, ToldClock], Awaitable[None]]) -> None:
    async def main() -> None:
        store = open_store(folder)
        threads = StoreThreads(store)
        try:
            await work(store, threads, ToldClock())
        finally:
            threads.close()
            store.close()

    asyncio.run(main())


def test_committed_events_are_placed_and_queued(tmp_path: Path) -> None:
    """What was committed is in the feed and on its way after a round; one without events does nothing."""

    async def work(store: Store, threads: StoreThreads, clock: ToldClock) -> None:
        sequencer = Sequencer(threads=threads, clock=clock, holder="one", render=said)
        assert await sequencer.place() == 0
        store.outbox.add_endpoint(E1)
        add_cancelled(store, "a")
        assert await sequencer.place() == 2
        assert await sequencer.place() == 0
        assert [p.event.type for p in store.outbox.feed(ACCOUNT, 0, (), 10)] == [
            "order_created",
            "order_cancelled",
        ]
        (delivery,) = store.outbox.deliveries(DeliveryFilter(account_id=ACCOUNT))
        assert delivery.next_try_at == NOW

    _on(tmp_path, work)


def test_a_round_is_bounded(tmp_path: Path) -> None:
    """However many events wait, one transaction places a batch of them, and the next goes on behind it."""

    async def work(store: Store, threads: StoreThreads, clock: ToldClock) -> None:
        add_orders(store, *(f"r{number}" for number in range(BATCH + 3)))
        sequencer = Sequencer(threads=threads, clock=clock, holder="one", render=said)
        assert [await sequencer.place() for _ in range(3)] == [BATCH, 3, 0]

    _on(tmp_path, work)


def test_one_process_at_a_time_does_it(tmp_path: Path) -> None:
    """The holder of the lease keeps it while it works; another goes on soon after it was last heard of."""

    async def work(store: Store, threads: StoreThreads, clock: ToldClock) -> None:
        first, second = (
            Sequencer(threads=threads, clock=clock, holder=holder, render=said) for holder in ("one", "two")
        )
        for seconds in range(13):
            clock.time = NOW + seconds * 1000
            add_orders(store, f"r{seconds}")
            assert await first.place() == 1
            assert await second.place() == 0
        add_orders(store, "left behind")  # the first was last heard of, and renewed its lease, just now
        clock.time += LEASE_MILLISECONDS - 1
        assert await second.place() == 0
        clock.time += ASK_MILLISECONDS
        assert await second.place() == 1
        add_orders(store, "after that")
        assert await first.place() == 0

    _on(tmp_path, work)


@pytest.mark.parametrize("hours", [-1, 1])
def test_a_clock_that_is_set_keeps_nobody_waiting(tmp_path: Path, hours: int) -> None:
    """Set by an hour, either way, it leaves the feed to whoever comes once its holder has died."""

    async def work(store: Store, threads: StoreThreads, clock: ToldClock) -> None:
        first, second = (
            Sequencer(threads=threads, clock=clock, holder=holder, render=said) for holder in ("one", "two")
        )
        assert [await first.place(), await second.place()] == [0, 0]
        add_orders(store, "left behind")
        clock.step = hours * 3_600_000
        clock.time += LEASE_MILLISECONDS + ASK_MILLISECONDS
        assert await second.place() == 1

    _on(tmp_path, work)


def test_an_event_without_words_stops_no_other(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """One that fails to be rendered has its place and is logged; the others are told."""

    def stumbles(event: Event, view: OrderView) -> Told | None:
        if view.order.reference == "bad":
            raise ValueError("no words")
        return said(event, view)

    async def work(store: Store, threads: StoreThreads, clock: ToldClock) -> None:
        store.outbox.add_endpoint(E1)
        bad, good = add_cancelled(store, "bad", "good")
        sequencer = Sequencer(threads=threads, clock=clock, holder="one", render=stumbles)
        assert await sequencer.place() == 4
        told = {d.order_id for d in store.outbox.deliveries(DeliveryFilter(account_id=ACCOUNT))}
        assert told == {good.order_id}
        assert {p.event.order_id for p in feed(store)} == {bad.order_id, good.order_id}

    _on(tmp_path, work)
