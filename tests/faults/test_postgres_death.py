"""Processes die or stop on PostgreSQL, ours and the database's own: nothing acknowledged is lost."""

import asyncio
import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from pathlib import Path
from time import monotonic
from typing import Any, Final

import httpx2
import pytest

from clusters import cluster
from faults.load import UNAVAILABLE, Diary, asked_again, shopping
from faults.postgres import MortalCluster, ask, calls_under_way, event_types, read_books
from faults.proxy import Proxy
from faults.test_foreign_lock import cancel, create
from faults.test_kill import QUICK
from races.books import ledger_check, until
from races.laws import complaints, unsettled
from races.lines import Line
from server import Server, client

SHARED: Final[dict[str, Any]] = QUICK | {"secret_key": "5f" * 32}
"""Servers in folders of their own on one database have one key."""


def _sound(server: Server, url: str, diary: Diary) -> None:
    """Stop the last server when its worker has done its work; then everything must be as it was told."""
    asyncio.run(asked_again(server, diary))
    until(lambda: calls_under_way(url) == 0)
    assert server.stop() == 0
    assert ledger_check(server) == ""
    books = read_books(url)
    assert complaints(books, diary.heard) == []
    assert unsettled(books) == []
    assert diary.strange == []


# --- a server dies --------------------------------------------------------------------------------------


def test_a_killed_server_leaves_the_others_at_work(tmp_path: Path) -> None:
    """SIGKILL of one server under load: another on its database goes on, the next finishes the rest."""
    url = cluster(18).fresh_database()
    diary = Diary()

    async def main(first: Server, second: Server) -> None:
        dead = asyncio.Event()

        async def kill_first() -> None:
            await diary.filled(80)
            first.kill()
            dead.set()

        async def kill_second() -> None:
            await dead.wait()
            await diary.filled(80)
            second.kill()

        await asyncio.gather(shopping(first, diary, kill_first), shopping(second, diary, kill_second))

    with (
        Server(tmp_path / "1", workers=2, database_url=url, **SHARED) as first,
        Server(tmp_path / "2", database_url=url, **SHARED) as second,
    ):
        asyncio.run(main(first, second))
    assert diary.silences, "nobody was being served when the servers were killed"
    assert complaints(read_books(url), diary.heard) == []
    with Server(tmp_path / "3", database_url=url, **SHARED) as third:
        _sound(third, url, diary)


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, Server, Proxy]]:
    """Two servers on one database, the first of them through a proxy."""
    folder = tmp_path_factory.mktemp("pair")
    with ExitStack() as opened:
        proxy = opened.enter_context(Proxy(cluster(18).fresh_database()))
        first = opened.enter_context(Server(folder / "1", database_url=proxy.url, **SHARED))
        second = opened.enter_context(Server(folder / "2", database_url=proxy.direct, **SHARED))
        yield first, second, proxy


def _when_it_writes(proxy: Proxy, reference: str, act: Callable[[], object]) -> threading.Event:
    """Act once, when a batch that holds this order is about to write it; set when it has."""
    [(order_id,)] = ask(proxy.direct, "SELECT order_id FROM orders WHERE reference = %s", reference)
    done = threading.Event()

    def look(message: bytes) -> None:
        if order_id.encode() in message and not done.is_set():
            act()
            done.set()

    proxy.before_each = look
    return done


@pytest.mark.alone
def test_a_stopped_server_gives_up_its_locks(pair: tuple[Server, Server, Proxy]) -> None:
    """A server that hangs in its batch keeps others from that order alone, and loses it after ten seconds."""
    first, second, proxy = pair
    with client(first) as hanging, client(second) as http, ThreadPoolExecutor(1) as beside:
        assert {create(http, reference).status_code for reference in ("held", "free")} == {200}
        stopped = _when_it_writes(proxy, "held", lambda: os.kill(first.pid, signal.SIGSTOP))
        waiting = beside.submit(cancel, hanging, "held")
        assert stopped.wait(10)
        begun = monotonic()
        assert cancel(http, "free").status_code == 200
        assert monotonic() - begun < 1.5
        turned_down = cancel(http, "held")
        assert (turned_down.status_code, turned_down.json()) == (503, UNAVAILABLE)
        assert monotonic() - begun < 9
        until(lambda: cancel(http, "held").status_code == 200)
        assert monotonic() - begun < 16
        os.kill(first.pid, signal.SIGCONT)
        late = waiting.result()
        assert (late.status_code, late.headers["refusal-reason"]) == (400, "order-already-cancelled")
    assert event_types(proxy.direct, "held") == ["order_created", "order_cancelled"]


@pytest.mark.alone
def test_the_locks_of_a_killed_server_are_gone(pair: tuple[Server, Server, Proxy]) -> None:
    """SIGKILL in the middle of a batch that holds an order: the next server is not kept waiting for it."""
    first, second, proxy = pair
    with client(first) as dying, client(second) as http:
        assert create(http, "torn").status_code == 200
        killed = _when_it_writes(proxy, "torn", first.kill)
        with pytest.raises(httpx2.TransportError):
            cancel(dying, "torn")
        assert killed.wait(5)
        begun = monotonic()
        assert cancel(http, "torn").status_code == 200
        assert monotonic() - begun < 1.5
    assert event_types(proxy.direct, "torn") == ["order_created", "order_cancelled"]


# --- the database dies ----------------------------------------------------------------------------------


async def _ready_again(line: Line) -> None:
    """A worker remembers for a second that it was not."""
    async with asyncio.timeout(5):
        while (await line.get("/health/ready")).status_code != 200:
            continue


def test_a_database_that_crashes_under_load_loses_nothing(tmp_path: Path) -> None:
    """An immediate stop under load: nothing is ready meanwhile, then the same server goes on by itself."""
    database = MortalCluster()
    diary = Diary()

    async def crash_and_recover(server: Server) -> None:
        line = Line(server.url, {})
        await diary.filled(80)
        await asyncio.to_thread(database.crash)
        assert (await line.get("/health/ready")).status_code == 503
        assert (await line.get("/health/live")).status_code == 200
        assert (await line.cancel("nobody")).status_code == 503
        assert (await line.get("/v1/checkout/order/nobody")).status_code == 503
        await asyncio.to_thread(database.start_again)
        await diary.filled(80)
        await _ready_again(line)
        await line.close()
        assert await asyncio.to_thread(server.stop) == 0

    with closing(database):
        url = database.fresh_database()
        with Server(tmp_path, workers=2, database_url=url, **SHARED) as server:
            asyncio.run(shopping(server, diary, lambda: crash_and_recover(server)))
        assert diary.unavailable, "nobody was being served while the database was away"
        assert complaints(read_books(url), diary.heard) == []
        with Server(tmp_path, database_url=url, **SHARED) as server:
            _sound(server, url, diary)
