"""The outbox on PostgreSQL, where several transactions write at once."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing

import pytest

from databases import KINDS, NewDatabase
from given_store import add_orders, cancelled, open_store, write
from opentill.store.interface import OpenStore, Store
from opentill.store.outbox import Outgoing
from store.conformance_outbox import E1, add_cancelled, claim, feed, place, queue


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
        stores[0].add_endpoint(E1)
        add_cancelled(stores[0], *(f"r{number}" for number in range(50)))
        with ThreadPoolExecutor(len(stores)) as threads:
            placed = sum(threads.map(place, stores))
        assert placed == 100
        assert [p.place for p in feed(stores[0], limit=1000)] == list(range(1, 101))
        assert stores[0].outbox_health().pending == 50


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
