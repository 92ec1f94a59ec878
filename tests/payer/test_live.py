"""Open pages without a network: what they ask the database, what they are told, and when they are let go."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import AbstractContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from opentill.api.http.watching import Pace
from opentill.engine.threads import StoreThreads
from opentill.keys.keyring import Keyring
from opentill.payer.live import MOST_OF_ONE_ORDER, OpenPage, OpenPages
from opentill.store.accounts.contract import Mode
from opentill.store.databases.sqlite import SqliteStore
from opentill.store.errors import Transient
from opentill.store.orders.contract import Name, Snapshot
from store_factories import ACCOUNT, NOW, OTHER, add_orders, cancelled, write

QUICK = Pace(look_seconds=0.005, heartbeat_seconds=0.05, patience_seconds=0.02)
LONG_SECONDS = 10
GREETING = b"retry: 1000\nevent: open\ndata:\n\n"
HEARTBEAT = b"event: beat\ndata:\n\n"


class AskedStore(SqliteStore):
    """Counts snapshots, and is away when told to be."""

    def __init__(self, path: Path):
        super().__init__(path)
        self.snapshots = 0
        self.away = False

    def snapshot(self) -> AbstractContextManager[Snapshot]:
        self.snapshots += 1
        if self.away:
            raise Transient("away")
        return super().snapshot()


@dataclass
class Rig:
    """Open pages over a store with orders in it."""

    store: AskedStore
    pages: OpenPages

    def open(self, name: Name, mark: str = "1.0") -> OpenPage:
        page = self.pages.open(name, mark)
        assert page is not None
        return page


@asynccontextmanager
async def rig(folder: Path, most: int) -> AsyncIterator[Rig]:
    store = AskedStore(folder / "opentill.db")
    store.accounts.install(Mode.SANDBOX, "fingerprint", NOW)
    threads = StoreThreads(store)
    pages = OpenPages(threads, Keyring(b"k" * 32), most, QUICK)
    try:
        yield Rig(store, pages)
    finally:
        await pages.close()
        threads.close()
        store.close()


def with_rig(folder: Path, work: Callable[[Rig], Awaitable[None]], most: int = 1000) -> None:
    async def main() -> None:
        async with rig(folder, most) as opened:
            await asyncio.wait_for(work(opened), LONG_SECONDS)

    asyncio.run(main())


async def news(page: OpenPage) -> bytes | None:
    """Return what the page is told next that is no sign of life; None at its end."""
    while (piece := await page.next()) in {GREETING, HEARTBEAT}:
        pass
    return piece


async def all_news(pages: Collection[OpenPage]) -> list[bytes | None]:
    return await asyncio.gather(*map(news, pages))


def test_one_question_serves_all_open_pages(tmp_path: Path) -> None:
    """However many pages of however many orders are open, each round asks once for all of them."""

    async def work(rig: Rig) -> None:
        first, second = add_orders(rig.store, "a", "b")
        (third,) = add_orders(rig.store, "c", account_id=OTHER)
        names = [(o.account_id, o.order_id) for o in (first, second, third)]
        pages = [rig.open(name) for name in names for _ in range(20)]
        await asyncio.gather(*(page.next() for page in pages))
        before = rig.store.snapshots
        assert await asyncio.gather(*(page.next() for page in pages)) == [HEARTBEAT] * 60
        rounds = QUICK.heartbeat_seconds / QUICK.look_seconds
        assert 0 < rig.store.snapshots - before <= rounds + 1
        write(rig.store, [cancelled(second)])
        assert await all_news(pages[20:40]) == [b"data: 2.0\n\n"] * 20
        assert await pages[0].next() == HEARTBEAT

    with_rig(tmp_path, work)


def test_a_moved_clock_is_news_to_every_page(tmp_path: Path) -> None:
    """A page that shows how much time is left asks anew."""

    async def work(rig: Rig) -> None:
        (order,) = add_orders(rig.store, "a")
        page = rig.open((ACCOUNT, order.order_id))
        rig.store.accounts.advance_clock(1000)
        assert await news(page) == b"data: 1.1000\n\n"

    with_rig(tmp_path, work)


def test_pages_are_let_go_when_the_database_stays_away(tmp_path: Path) -> None:
    """They then find out for themselves; once it is back they can listen again."""

    async def work(rig: Rig) -> None:
        (order,) = add_orders(rig.store, "a")
        name = (ACCOUNT, order.order_id)
        rig.store.away = True
        assert await news(rig.open(name)) is None
        rig.store.away = False
        assert await news(rig.open(name, "0.0")) == b"data: 1.0\n\n"

    with_rig(tmp_path, work)


def test_pages_are_limited_in_all_and_for_one_order(tmp_path: Path) -> None:
    """Beyond either limit a page is turned away, and one that goes makes room."""

    async def work(rig: Rig) -> None:
        names = [(ACCOUNT, o.order_id) for o in add_orders(rig.store, "a", "b")]
        of_one = [rig.open(names[0]) for _ in range(MOST_OF_ONE_ORDER)]
        assert rig.pages.open(names[0], "") is None
        last = rig.open(names[1])
        assert rig.pages.open(names[1], "") is None
        of_one[0].end()
        of_one[0].end()
        rig.open(names[1])
        assert rig.pages.open(names[1], "") is None
        last.end()
        rig.open(names[0])

    with_rig(tmp_path, work, most=MOST_OF_ONE_ORDER + 1)


def test_no_page_is_opened_once_the_server_stops(tmp_path: Path) -> None:
    """All that listen are ended at once, and nobody waits."""

    async def work(rig: Rig) -> None:
        (order,) = add_orders(rig.store, "a")
        page = rig.open((ACCOUNT, order.order_id))
        rig.pages.end()
        assert await all_news([page]) == [None]
        assert rig.pages.open((ACCOUNT, order.order_id), "") is None

    with_rig(tmp_path, work)
