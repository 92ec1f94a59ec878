"""What the API remembers of the store, and how often it asks again."""

import asyncio
from pathlib import Path

from opentill.api.http.account_cache import AccountCache
from opentill.engine.reader import Reader
from opentill.engine.threads import StoreThreads
from opentill.store.accounts.contract import Merchant
from opentill.store.databases.sqlite import SqliteStore
from store_factories import ACCOUNT, NOW, ToldClock, open_store

MERCHANT = Merchant(ACCOUNT, "Shop", "", "", None, None, NOW, b"sealed")


def test_many_who_ask_at_once_are_one_question(tmp_path: Path) -> None:
    """One request asks for all that arrive once what was remembered has run out; later ones know it."""
    store = open_store(tmp_path)
    assert isinstance(store, SqliteStore)
    store.accounts.add_merchant(MERCHANT, default=False)
    store.accounts.advance_clock(5_000)
    asked: list[str] = []
    store._reader.set_trace_callback(asked.append)

    async def main() -> None:
        threads, clock = StoreThreads(store), ToldClock()
        reader = Reader(threads, 100, clock)
        reader.start()
        cache = AccountCache(threads, reader, clock)
        for _ in range(2):
            times = await asyncio.gather(*(cache.business_time(clock.now()) for _ in range(50)))
            assert set(times) == {clock.now() + 5_000}
            merchants = await asyncio.gather(*(cache.merchant(ACCOUNT) for _ in range(50)))
            assert merchants == [MERCHANT] * 50
        await reader.close()
        threads.close()

    asyncio.run(main())
    assert sum("clock_offset" in statement for statement in asked) == 2  # the reader's own, and the question
    assert sum("FROM merchants" in statement for statement in asked) == 1
    store.close()
