"""SIGKILL while shoppers are served: what was acknowledged is kept, what was begun is finished."""

import asyncio
import random
from pathlib import Path
from typing import Any

from faults.load import TOLD_TO_SHOPPERS, Diary, asked_again, shopping
from races.books import calls_under_way, ledger_check, read_books, sound_file, until
from races.laws import complaints, unsettled
from server import Server

QUICK: dict[str, Any] = {
    "sandbox_rail_delay_milliseconds": 15,
    "card_timeout_seconds": 0.5,
    "call_grace_seconds": 0.2,
    "sweep_interval_seconds": 0.1,
}
KILLS_WITH_WORKERS = (1, 2, 1, 2, 1)
"""One life of the server each, with so many workers."""


async def life_and_death(server: Server, diary: Diary) -> None:
    """Ask again what the last death left unanswered, then serve shoppers until killed at a random moment."""
    await asked_again(server, diary)

    async def kill() -> None:
        await diary.filled(random.randint(40, 120))
        server.kill()

    await shopping(server, diary, kill)


def test_nothing_acknowledged_is_lost_when_the_server_is_killed(tmp_path: Path) -> None:
    """Through several deaths under load: acknowledged stays, a silence ends by its key, money adds up."""
    diary = Diary()
    silences = torn_calls = 0
    for workers in KILLS_WITH_WORKERS:
        with Server(tmp_path, workers=workers, **QUICK) as server:
            asyncio.run(life_and_death(server, diary))
        assert complaints(read_books(server.data), diary.heard) == []
        silences += len(diary.silences)
        torn_calls += calls_under_way(server.data)
    assert silences, "nobody was being served when the server was killed"
    assert torn_calls, "no payment was under way when the server was killed"

    with Server(tmp_path, **QUICK) as server:
        asyncio.run(asked_again(server, diary))
        until(lambda: calls_under_way(server.data) == 0)
        assert server.stop() == 0
        assert ledger_check(server) == ""
    books = read_books(server.data)
    assert complaints(books, diary.heard) == []
    assert unsettled(books) == []
    assert sound_file(server.data)
    assert diary.strange == []
    assert diary.unavailable == 0
    assert min(diary.told(told) for told in TOLD_TO_SHOPPERS) >= 10
