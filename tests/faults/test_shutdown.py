"""SIGTERM while shoppers are served: out within three seconds, and every answer given is true."""

import asyncio
from pathlib import Path
from time import monotonic
from typing import Any

import pytest

from faults.load import TOLD_TO_SHOPPERS, Diary, asked_again, shopping
from races.books import calls_under_way, read_books, sound_file, until
from races.laws import complaints, unsettled
from races.lines import Line
from server import Server

MOST_SECONDS = 3.0
QUICK: dict[str, Any] = {
    "card_timeout_seconds": 4,
    "call_grace_seconds": 0.1,
    "sweep_interval_seconds": 0.1,
}


@pytest.mark.alone
@pytest.mark.parametrize("workers", [1, 2])
def test_a_stop_under_load_is_quick_clean_and_honest(tmp_path: Path, workers: int) -> None:
    """SIGTERM under load: exit code 0 in time, acknowledged is kept, the rest is whole or absent."""
    diary = Diary()
    took = 0.0

    async def main(server: Server) -> None:
        async def stop() -> None:
            nonlocal took
            await diary.filled(150)
            begun = monotonic()
            assert await asyncio.to_thread(server.stop) == 0
            took = monotonic() - begun

        await shopping(server, diary, stop)

    with Server(tmp_path, workers=workers, sandbox_rail_delay_milliseconds=20) as server:
        asyncio.run(main(server))
    assert took < MOST_SECONDS
    assert sound_file(server.data)
    books = read_books(server.data)
    assert complaints(books, diary.heard) == []
    assert unsettled(books) == [], "a call that could have ended in time was torn"
    assert diary.strange == []
    assert min(diary.told(told) for told in TOLD_TO_SHOPPERS) > 0

    with Server(tmp_path) as again:
        asyncio.run(asked_again(again, diary))
    assert complaints(read_books(again.data), diary.heard) == []
    assert diary.strange == []


@pytest.mark.alone
def test_a_payer_whom_the_rail_keeps_waiting_is_told_at_the_stop(tmp_path: Path) -> None:
    """A call to the rail that outlasts the stop is answered 503, and the next start finds out its end."""

    async def pay(server: Server, took: list[float]) -> int:
        line = Line(server.url, {}, most_connections=2)
        assert (await line.create("slow")).status_code == 200
        payment = asyncio.create_task(line.card("slow", "card-slow"))
        await asyncio.to_thread(until, lambda: calls_under_way(server.data) == 1)
        begun = monotonic()
        assert await asyncio.to_thread(server.stop) == 0
        took.append(monotonic() - begun)
        answer = await payment
        await line.close()
        assert answer.headers["retry-after"]
        assert "refusal-reason" not in answer.headers
        return answer.status_code

    took: list[float] = []
    with Server(tmp_path, sandbox_rail_delay_milliseconds=30_000, **QUICK) as server:
        assert asyncio.run(pay(server, took)) == 503
    assert took[0] < MOST_SECONDS
    assert calls_under_way(server.data) == 1
    with Server(tmp_path, **QUICK) as server:
        until(lambda: calls_under_way(server.data) == 0)
        books = read_books(server.data)
    assert complaints(books, []) == []
    assert unsettled(books) == []
