"""A sender in a process of its own, to be killed: ``python -m webhooks.sending_process FOLDER NOW``."""

import asyncio
import sys
from pathlib import Path

from opentill.store.databases.sqlite import SqliteStore
from store_factories import ToldClock, open_store
from webhooks.sending import sending


async def main() -> None:
    store = open_store(Path(sys.argv[1]))
    assert isinstance(store, SqliteStore)
    async with sending(store, ToldClock(int(sys.argv[2]))):
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
