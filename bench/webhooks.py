"""How many webhooks a second go out, and whether one dead receiver holds up another's.

    PYTHONPATH=tests python bench/webhooks.py [--deliveries 20000] [--rounds 3]

One process sends: the real sender over a real SQLite file in which every commit is durable, the real
payload, both signatures, and a receiver in another process. The clients are measured by posts alone.
"""

import argparse
import asyncio
import gc
import socket
import ssl
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Final, TypeAlias

import httpx2
import uvloop

import receiver
from opentill.engine.threads import StoreThreads
from opentill.store.accounts.contract import Mode
from opentill.store.databases.sqlite import SqliteStore, open_sqlite
from opentill.store.outbox.contract import Endpoint, Outgoing
from opentill.webhooks.guard import Guard
from opentill.webhooks.payload import WebhookType, render
from opentill.webhooks.poster import Poster
from opentill.webhooks.sender import DeliverySender, SenderSettings
from opentill.webhooks.signature import SigningKeys, headers
from orders import CLOCK, IDS, OPERATOR, ended, pending

KEYS: Final = SigningKeys("HkatexKDZg7CLWy96q5sfrVHSvtoz92B")
POSTS: Final = 4000
IN_FLIGHT: Final = 32
BODY: Final = b'{"event_type":"payment_success","data":"' + b"x" * 1100 + b'"}'
Post: TypeAlias = Callable[[str, bytes, dict[str, str]], Awaitable[int | None]]
"""Posts once and gives the status."""


def _sign(outgoing: Outgoing, at: int) -> dict[str, str]:
    return headers(outgoing.body, outgoing.delivery.event_id, KEYS, at)


# --- the clients alone --------------------------------------------------------------------------------


async def _posts(post: Post, url: str) -> tuple[float, float]:
    """Posts a second, and microseconds of processor time each, of this process alone."""
    told = dict.fromkeys(("nomba-signature", "nomba-sig-value", "webhook-signature"), "a" * 44)
    left = iter(range(POSTS))

    async def keep_posting() -> None:
        for _ in left:
            assert await post(url, BODY, told) == 200

    began, worked = time.perf_counter(), time.process_time()
    await asyncio.gather(*(keep_posting() for _ in range(IN_FLIGHT)))
    return POSTS / (time.perf_counter() - began), (time.process_time() - worked) / POSTS * 1e6


async def _by_poster(url: str) -> tuple[float, float]:
    poster = Poster(Guard(allow_loopback=True))

    async def post(url: str, body: bytes, told: dict[str, str]) -> int | None:
        return (await poster.post(url, body, told)).status

    try:
        return await _posts(post, url)
    finally:
        await poster.close()


async def _by_httpx2(url: str) -> tuple[float, float]:
    limits = httpx2.Limits(max_connections=None, max_keepalive_connections=None)
    tls = ssl.create_default_context()
    async with httpx2.AsyncClient(limits=limits, trust_env=False, verify=tls) as client:

        async def post(url: str, body: bytes, told: dict[str, str]) -> int | None:
            async with asyncio.timeout(10):
                return (await client.post(url, content=body, headers=told, timeout=None)).status_code

        return await _posts(post, url)


def clients(rounds: int) -> None:
    """Print what a post costs by each client, in alternating rounds."""
    found: dict[str, list[tuple[float, float]]] = {"aiohttp, guarded": [], "httpx2": []}
    with receiver.running() as url:
        for _ in range(rounds):
            found["aiohttp, guarded"].append(uvloop.run(_by_poster(url)))
            found["httpx2"].append(uvloop.run(_by_httpx2(url)))
    print(f"\n{POSTS} posts of {len(BODY)} bytes, {IN_FLIGHT} at once; medians of {rounds} rounds")
    for name, figures in found.items():
        rates, costs = zip(*figures, strict=True)
        print(f"{name:24} {statistics.median(rates):7.0f} /s {statistics.median(costs):7.0f} us of CPU each")


# --- deliveries ---------------------------------------------------------------------------------------


def _endpoint(url: str) -> Endpoint:
    return Endpoint(
        account_id=IDS.uuid(),
        endpoint_id=IDS.uuid(),
        url=url,
        events=(WebhookType.ORDER_CANCELLED,),
        enabled=True,
        key_sealed=b"",
        next_key_sealed=None,
        paused_at=None,
        failing_since=None,
        created_at=CLOCK.now(),
    )


def _queue(store: SqliteStore, url: str, count: int) -> None:
    """So many cancelled orders of a new merchant whose endpoint this is."""
    endpoint = _endpoint(url)
    store.outbox.add_endpoint(endpoint)
    for start in range(0, count, 256):
        references = [f"bench-{number}" for number in range(start, min(start + 256, count))]
        changes = [ended(pending(endpoint.account_id, each, OPERATOR), OPERATOR) for each in references]
        with store.batch() as batch:
            batch.write(changes)
            batch.commit()
    while store.outbox.place_events(partial(render, account_name=""), CLOCK.now(), 256):
        pass


async def _drain(store: SqliteStore, wanted: int) -> tuple[float, float]:
    """Deliveries a second until ``wanted`` were made, and microseconds of processor time each."""
    threads, poster = StoreThreads(store), Poster(Guard(allow_loopback=True))
    sender = DeliverySender(
        threads=threads, poster=poster, signer=_sign, clock=CLOCK, settings=SenderSettings()
    )
    began, worked = time.perf_counter(), time.process_time()
    sender.start()
    while sender.counts.delivered < wanted:  # noqa: ASYNC110 - the sender tells nobody
        await asyncio.sleep(0.01)
    took, work = time.perf_counter() - began, time.process_time() - worked
    await sender.close()
    await poster.close()
    threads.close()
    return wanted / took, work / wanted * 1e6


def _round(merchants: int, deliveries: int, *, dead: int) -> tuple[float, float]:
    """One fresh file, its deliveries shared by so many merchants, beside so many dead receivers'."""
    silent = [socket.create_server(("127.0.0.1", 0), backlog=1000) for _ in range(dead)]
    with tempfile.TemporaryDirectory() as folder, receiver.running() as url:
        store = open_sqlite(Path(folder) / "opentill.db")
        store.accounts.install(Mode.SANDBOX, "bench", CLOCK.now())
        for each in silent:
            _queue(store, f"http://127.0.0.1:{each.getsockname()[1]}/", deliveries // 10)
        for _ in range(merchants):
            _queue(store, url, deliveries // merchants)
        figures = uvloop.run(_drain(store, deliveries // merchants * merchants))
        store.close()
    for each in silent:
        each.close()
    return figures


CASES: Final = {
    "one endpoint": (1, 0),
    "ten merchants": (10, 0),
    "ten, one more is dead": (10, 1),
    "ten, twenty more are dead": (10, 20),
}


def deliveries(count: int, rounds: int) -> None:
    """Print how fast what is queued goes out."""
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in CASES}
    for _ in range(rounds):
        for name, (merchants, dead) in CASES.items():
            found[name].append(_round(merchants, count, dead=dead))
    print(f"\n{count} deliveries; medians of {rounds} rounds")
    for name, figures in found.items():
        rates, costs = zip(*figures, strict=True)
        print(f"{name:26} {statistics.median(rates):7.0f} /s {statistics.median(costs):7.0f} us of CPU each")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--deliveries", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=3)
    chosen = parser.parse_args()
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 50, 100)  # as the server does (docs/decisions/0002)
    clients(chosen.rounds)
    deliveries(chosen.deliveries, chosen.rounds)
