"""Connections that break, idle and in the middle of everything: nobody is told anything wrong."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any, TypeVar

import pytest

from clusters import cluster
from engine.builders import claim
from engine.harness import Renderer, ending, running, submitted, together
from faults.load import Diary, asked_again, shopping
from faults.postgres import ask, calls_under_way, event_types, installed, read_books, terminate
from faults.proxy import Proxy
from faults.test_kill import QUICK
from opentill.engine.errors import Overloaded
from opentill.engine.reader import Reader
from opentill.engine.threads import StoreThreads
from opentill.store.databases.postgres import open_postgres
from opentill.store.errors import StoreError
from opentill.store.interface import Store
from races.books import ledger_check, until
from races.laws import complaints, unsettled
from server import Server
from store_factories import ACCOUNT, add_orders, cancel

T = TypeVar("T")
MOST_POINTS = 60
references = map("order-{}".format, count())


@pytest.fixture(scope="module")
def url() -> str:
    """A database in which no test uses another's references."""
    return installed()


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    with closing(open_postgres(url)) as store:
        yield store


def test_idle_connections_that_break_are_not_noticed(url: str, store: Store) -> None:
    """After all connections were ended, writing, reading and the cold verbs work as if nothing had been."""
    reference = next(references)
    add_orders(store, reference)
    assert _status(store, reference) == "PENDING"
    for again in range(3):
        assert terminate(url) >= 1
        assert submitted(store, cancel(reference)) == ["OrderAlreadyCancelled" if again else "done"]
        assert terminate(url) >= 1
        assert _status(store, reference) == "CANCELLED"
        assert terminate(url) >= 1
        store.probe_write(again)
        assert terminate(url) >= 1
        store.accounts.advance_clock(1)


def _status(store: Store, reference: str) -> str:
    async def work(reader: Reader) -> str:
        view = await reader.order(ACCOUNT, reference, None)
        return view.order.status if view else "none"

    return _read(store, work)


@pytest.fixture(scope="module")
def proxy(url: str) -> Iterator[Proxy]:
    with Proxy(url) as proxy:
        yield proxy


def _before(proxy: Proxy, point: int, act: Callable[[], object]) -> list[int]:
    """Act once, before so many statements more have been passed on; filled when that has come."""
    passed, come = count(1), list[int]()

    def look(_message: bytes) -> None:
        if next(passed) == point:
            come.append(point)
            act()

    proxy.before_each = look
    return come


def _cut_at(proxy: Proxy, point: int) -> list[int]:
    """All connections end before so many statements more have been passed on."""
    return _before(proxy, point, lambda: terminate(proxy.direct))


def test_a_batch_whose_connection_breaks_anywhere_is_run_again(proxy: Proxy) -> None:
    """Whichever statement of a batch the connection breaks at, the command is done, and done once."""
    for point in range(1, MOST_POINTS):
        with closing(open_postgres(proxy.url)) as store:
            reference = next(references)
            add_orders(store, reference)
            done = _cut_at(proxy, point)
            assert submitted(store, cancel(reference)) == ["done"]
            proxy.before_each = len
        assert event_types(proxy.direct, reference) == ["order_created", "order_cancelled"]
        if not done:
            break
    assert 5 <= point < MOST_POINTS


def test_a_key_that_is_purged_while_it_is_claimed_is_not_lost(proxy: Proxy) -> None:
    """Whenever an expired key is deleted beside its new claim, the reply is kept and replayed."""
    with closing(open_postgres(proxy.url)) as store:
        for point in range(1, MOST_POINTS):
            reference = next(references)
            add_orders(store, reference)
            _claim_for_a_moment(store, reference)
            come = _before(proxy, point, partial(ask, proxy.direct, _PURGE, reference))
            assert _cancelled_under(store, reference) == ["done", "replayed"]
            if not come:
                break
    assert 5 <= point < MOST_POINTS


_PURGE = """
    DELETE FROM idempotency_keys WHERE key IN
      (SELECT key FROM idempotency_keys WHERE key = %s AND expires_at = 1 FOR UPDATE SKIP LOCKED)
"""


def _claim_for_a_moment(store: Store, key: str) -> None:
    with store.batch() as batch:
        batch.claim_keys([claim(key)], 0, 1)
        batch.commit()


def _cancelled_under(store: Store, key: str) -> list[str]:
    """Return how a cancel ends that is asked twice under the key that is its reference."""

    async def work() -> list[str]:
        async with running(store) as engine:
            asked = [engine.submit(cancel(key), claim=claim(key), render=Renderer()) for _ in range(2)]
            return [ending(await one) for one in asked]

    return asyncio.run(work())


def test_reads_whose_connection_breaks_anywhere_are_asked_again(proxy: Proxy) -> None:
    """Whichever statement of a group of reads the connection breaks at, all of them are answered."""
    with closing(open_postgres(proxy.url)) as store:
        reference = next(references)
        [order] = add_orders(store, reference)
        for point in range(1, MOST_POINTS):
            done = _cut_at(proxy, point)
            looked_up, asked, balance = _answers(store, reference)
            assert looked_up.order == order
            assert [event.type for event in asked] == ["order_created"]
            assert balance == []
            if not done:
                break
        proxy.before_each = len
    assert 5 <= point < MOST_POINTS


def _answers(store: Store, reference: str) -> list[Any]:
    """An order, its events and the balance, asked for together."""

    async def work(reader: Reader) -> list[Any]:
        [known] = [await reader.order(ACCOUNT, reference, None)]
        assert known is not None
        return await together(
            reader.order(ACCOUNT, reference, None),
            reader.ask(lambda s: s.events(ACCOUNT, known.order.order_id), None),
            reader.ask(lambda s: s.trial_balance(ACCOUNT), None),
        )

    return _read(store, work)


def _read(store: Store, work: Callable[[Reader], Awaitable[T]]) -> T:
    async def main() -> T:
        threads = StoreThreads(store)
        reader = Reader(threads, 100)
        reader.start()
        try:
            return await work(reader)
        finally:
            await reader.close()
            threads.close()

    return asyncio.run(main())


def test_reads_of_a_database_that_stays_away_are_overloaded(proxy: Proxy) -> None:
    """A connection that breaks again and again ends in Overloaded, and the next reads are answered."""
    with closing(open_postgres(proxy.url)) as store:
        reference = next(references)
        add_orders(store, reference)

        async def work(reader: Reader) -> list[Any]:
            proxy.before_each = lambda _: terminate(proxy.direct)
            broken = await together(*(reader.order(ACCOUNT, reference, None) for _ in range(2)))
            proxy.before_each = len
            return [*broken, await reader.order(ACCOUNT, reference, None)]

        first, second, last = _read(store, work)
    assert (type(first), type(second)) == (Overloaded, Overloaded)
    assert last.order.reference == reference


def test_a_question_the_database_refuses_fails_alone(url: str, store: Store) -> None:
    """A failing statement ends its transaction; the others of its group are answered all the same."""
    reference = next(references)
    add_orders(store, reference)

    async def work(reader: Reader) -> list[Any]:
        return await together(
            reader.ask(lambda s: s.due_orders(0, -1), None),
            reader.order(ACCOUNT, reference, None),
            reader.order(ACCOUNT, "lone \ud800", None),
        )

    negative, found, unspeakable = _read(store, work)
    assert isinstance(negative, StoreError)
    assert found.order.reference == reference
    assert isinstance(unspeakable, UnicodeEncodeError)


# --- under load -----------------------------------------------------------------------------------------

CUTS = 8


def test_connections_that_break_under_load_do_no_harm(tmp_path: Path) -> None:
    """All connections of two workers are ended again and again: no answer is wrong, none is missing."""
    url = cluster(18).fresh_database()
    diary = Diary()
    ended = 0

    async def end() -> None:
        nonlocal ended
        for _ in range(CUTS):
            await diary.filled(10)
            ended += await asyncio.to_thread(terminate, url)
        await diary.filled(100)
        assert await asyncio.to_thread(server.stop) == 0

    with Server(tmp_path, workers=2, database_url=url, **QUICK) as server:
        asyncio.run(shopping(server, diary, end))
    assert ended > 2 * CUTS
    assert diary.strange == []
    assert complaints(read_books(url), diary.heard) == []
    with Server(tmp_path, database_url=url, **QUICK) as server:
        asyncio.run(asked_again(server, diary))
        until(lambda: calls_under_way(url) == 0)
        assert server.stop() == 0
        assert ledger_check(server) == ""
    books = read_books(url)
    assert complaints(books, diary.heard) == []
    assert unsettled(books) == []
    assert diary.strange == []
