"""The outbox on PostgreSQL, where several transactions write at once."""

from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing

import pytest

from databases import KINDS, NewDatabase
from opentill.store.interface import OpenStore, Store
from opentill.store.outbox.contract import (
    DeliveryState,
    Outgoing,
    Patience,
    Placed,
    PlacedEndpointEvent,
    Tried,
)
from store.conformance_outbox import E1, E2, LATER, add_cancelled, change, claim, feed, place, queue
from store_factories import ACCOUNT, add_orders, cancelled, open_store, write


@pytest.fixture(scope="module", params=KINDS[1:], ids=str)
def database_kind(request: pytest.FixtureRequest) -> object:
    return request.param


@pytest.fixture
def opener(new_database: NewDatabase) -> OpenStore:
    """Opens stores on one new database."""
    url = new_database()
    assert url is not None
    return lambda: open_store(url)


# --- the feed beside slow commits -----------------------------------------------------------------


def test_a_slow_commit_leaves_no_gap_in_the_feed(opener: OpenStore) -> None:
    """A reader behind its cursor sees what a transaction wrote that began before others and ended later."""
    with closing(opener()) as slow, closing(opener()) as fast, closing(opener()) as sequencer:
        first, second = add_orders(fast, "first", "second")
        place(sequencer)
        seen = feed(fast)
        with slow.batch() as batch:
            batch.write([cancelled(first)])
            write(fast, [cancelled(second)])
            assert place(sequencer) == 1
            seen += feed(fast, after=seen[-1].place)
            assert seen[-1].event.order_id == second.order_id
            batch.commit()
        assert place(sequencer) == 1
        seen += feed(fast, after=seen[-1].place)
    assert [placed.place for placed in seen] == [1, 2, 3, 4]
    assert seen[-1].event.order_id == first.order_id
    assert seen[-1].event.at == seen[-2].event.at  # by its time alone it would be looked for before the other


def test_two_sequencers_at_the_same_moment_do_no_harm(opener: OpenStore) -> None:
    """Processes that place at once give each event one place, and queue each delivery once."""
    with ExitStack() as opened:
        stores = [opened.enter_context(closing(opener())) for _ in range(4)]
        stores[0].outbox.add_endpoint(E1)
        add_cancelled(stores[0], *(f"r{number}" for number in range(50)))
        with ThreadPoolExecutor(len(stores)) as threads:
            placed = sum(threads.map(place, stores))
        assert placed == 100
        assert [p.place for p in feed(stores[0], limit=1000)] == list(range(1, 101))
        assert stores[0].outbox.outbox_health().pending == 50


def test_endpoints_that_pause_and_resume_beside_a_sequencer_leave_no_gap(opener: OpenStore) -> None:
    """Each gets the next place of the feed while events get theirs; nobody waits in a circle."""
    rounds = 60
    with ExitStack() as opened:
        placing, pausing, resuming, orders = (opened.enter_context(closing(opener())) for _ in range(4))
        for endpoint in (E1, E2):
            placing.outbox.add_endpoint(endpoint)

        def pause(number: int) -> None:
            at = LATER + number
            tries = [
                Tried(ACCOUNT, "d", e.endpoint_id, DeliveryState.DEAD, None, None, "", at) for e in (E1, E2)
            ]
            pausing.outbox.record_tries(tries, Patience(milliseconds=0, tries=1))

        def resume(number: int) -> None:
            for endpoint in (E2, E1):
                change(resuming, endpoint)

        with ThreadPoolExecutor(4) as threads:
            work = [
                threads.submit(_each_of, range(rounds), do)
                for do in (
                    pause,
                    resume,
                    lambda number: add_cancelled(orders, f"order {number}"),
                    lambda _number: place(placing),
                )
            ]
            for each in work:
                each.result(60)
        place(placing)
        whole = placing.outbox.feed(ACCOUNT, 0, (), 1000)
    assert [each.place for each in whole] == list(range(1, len(whole) + 1))
    kinds = Counter(type(each) for each in whole)
    assert kinds[Placed] == 2 * rounds
    assert kinds[PlacedEndpointEvent] >= 2


def _each_of(numbers: range, do: Callable[[int], object]) -> None:
    for number in numbers:
        do(number)


def test_claims_at_the_same_moment_never_share_a_delivery(opener: OpenStore) -> None:
    """Senders that claim at once take different deliveries, and together all of them."""
    with ExitStack() as opened:
        stores = [opened.enter_context(closing(opener())) for _ in range(4)]
        queue(stores[0], *(f"r{number}" for number in range(60)))
        with ThreadPoolExecutor(len(stores)) as threads:
            claimed = [o.delivery.delivery_id for found in threads.map(_claim_all, stores) for o in found]
        assert len(claimed) == len(set(claimed)) == 60


def _claim_all(store: Store) -> list[Outgoing]:
    """All that this one gets by claims of seven, until it gets none."""
    taken = []
    while some := claim(store, limit=7):
        taken += some
    return taken
