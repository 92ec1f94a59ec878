"""The sender over a real store and real receivers: everything is told, at least once, and nobody waits."""

import asyncio
import itertools
import json
import os
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from opentill.store.databases.sqlite import PATIENCE_MILLISECONDS, SqliteStore
from opentill.store.outbox.contract import Delivery, DeliveryState, Outgoing, Patience
from opentill.webhooks.pacing import FIRST_WINDOW
from opentill.webhooks.sender import DeliverySender
from polling import until
from store_factories import ACCOUNT, NOW, OTHER, ToldClock, open_store
from webhooks.receiver import OK, SILENT, Reaction, Receiver, always, answer, failing_at_random
from webhooks.sending import (
    LEASE_MILLISECONDS,
    QUICK,
    came,
    deliveries,
    endpoint,
    sending,
    sign,
    tell,
    tried,
    with_pauses,
)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteStore]:
    store = open_store(tmp_path)
    assert isinstance(store, SqliteStore)
    yield store
    store.close()


def states(store: SqliteStore, account_id: str = ACCOUNT) -> set[DeliveryState]:
    return {delivery.state for delivery in deliveries(store, account_id)}


def all_delivered(store: SqliteStore, account_id: str = ACCOUNT) -> bool:
    return states(store, account_id) == {DeliveryState.DELIVERED}


def test_what_is_due_is_delivered_once(store: SqliteStore) -> None:
    """Each delivery arrives once, signed, and its answer is written down."""

    async def scenario() -> None:
        with Receiver(always(answer(202, b"noted"))) as receiver:
            tell(store, endpoint(receiver.url), orders=3)
            async with sending(store, ToldClock()) as sender:
                await came(lambda: all_delivered(store), "three deliveries")
                assert (sender.counts.delivered, sender.counts.failed) == (3, 0)
        sent = {json.loads(post.body)["requestId"]: post.headers["x-signed"] for post in receiver.posts}
        assert len(receiver.posts) == 3
        assert sent == {d.event_id: f"{d.event_id} {NOW}" for d in deliveries(store)}

    asyncio.run(scenario())
    assert [(d.tries, d.status, d.response, d.next_try_at) for d in deliveries(store)] == [
        (1, 202, "noted", None)
    ] * 3


def test_a_failure_is_tried_again_by_the_schedule_until_it_is_dead(store: SqliteStore) -> None:
    """Six tries at the documented pauses, same body, fresh signature; then the delivery is dead."""
    clock = ToldClock()

    async def scenario() -> list[int]:
        with Receiver(always(answer(500, b"no"))) as receiver:
            tell(store, endpoint(receiver.url))
            at = []
            async with sending(store, clock) as sender:
                for tries in itertools.count(1):
                    delivery = await tried(store, tries)
                    at.append(clock.time)
                    if delivery.next_try_at is None:
                        break
                    clock.time = delivery.next_try_at - 1
                    await _nothing_is_claimed(sender, receiver)
                    clock.time += 1
                assert (sender.counts.failed, sender.counts.dead) == (6, 1)
            assert len({post.body for post in receiver.posts}) == 1
            assert [post.headers["x-signed"].split()[1] for post in receiver.posts] == list(map(str, at))
            return at

    at = asyncio.run(scenario())
    pauses = [(b - a) / 1000 for a, b in itertools.pairwise(at)]
    assert all(p <= q <= p * 1.1 for p, q in zip([120, 280, 640, 1440, 3200], pauses, strict=True))
    (delivery,) = deliveries(store)
    assert (delivery.state, delivery.status, delivery.response) == (DeliveryState.DEAD, 500, "no")


async def _nothing_is_claimed(sender: DeliverySender, receiver: Receiver) -> None:
    """Several looks of the sender find nothing to do."""
    before = len(receiver.posts)
    looks = sender.counts.looks + 3
    await came(lambda: sender.counts.looks > looks, "more looks")
    assert len(receiver.posts) == before


def test_a_redirect_is_a_failure(store: SqliteStore) -> None:
    """A 301 is tried again like any failure, and nobody is called where it points to."""

    async def scenario() -> Delivery:
        with Receiver() as elsewhere, Receiver(always(answer(301, Location=elsewhere.url))) as receiver:
            tell(store, endpoint(receiver.url))
            async with sending(store, ToldClock()):
                delivery = await tried(store, 1)
            assert elsewhere.connections == 0
            return delivery

    delivery = asyncio.run(scenario())
    assert (delivery.state, delivery.status) == (DeliveryState.PENDING, 301)


def test_everything_is_delivered_in_the_end(store: SqliteStore) -> None:
    """A receiver that fails, redirects, hangs up or is slow for a third of all requests hears everything."""
    clock = ToldClock()

    async def scenario() -> None:
        with Receiver(failing_at_random(0.3, seed=5)) as receiver:
            tell(store, endpoint(receiver.url), orders=60)
            async with sending(store, clock, with_pauses(*[60] * 12)):
                for _ in range(13):
                    await came(lambda: _none_due(store, clock), "an end of this round")
                    clock.time += 70_000
                assert all_delivered(store)
        heard = {json.loads(post.body)["requestId"] for post in receiver.posts}
        assert heard == {delivery.event_id for delivery in deliveries(store)}
        assert len(receiver.posts) > 60

    asyncio.run(scenario())


def _none_due(store: SqliteStore, clock: ToldClock) -> bool:
    waiting = [d.next_try_at for d in deliveries(store) if d.next_try_at is not None]
    return all(at > clock.time for at in waiting)


def test_a_dead_receiver_holds_up_nobody(store: SqliteStore) -> None:
    """While one receiver leaves every request unanswered, another one hears all of its own."""

    async def scenario() -> None:
        with Receiver(always(SILENT)) as dead, Receiver() as alive:
            tell(store, endpoint(dead.url), endpoint(alive.url, OTHER), orders=100)
            async with sending(store, ToldClock(), timeout_seconds=60) as sender:
                await came(lambda: all_delivered(store, OTHER), "the living one's deliveries")
                await came(lambda: sender.counts.in_flight == FIRST_WINDOW, "the dead one's window alone")
                await came(lambda: len(dead.posts) == FIRST_WINDOW, "the dead one's posts")
                assert states(store) == {DeliveryState.PENDING}
                async with asyncio.timeout(10):
                    await sender.close()

    asyncio.run(scenario())


def test_no_receiver_gets_more_at_once_than_allowed(store: SqliteStore) -> None:
    """The window of an endpoint grows while it accepts, up to the setting."""
    slow = always(answer(200, after_seconds=0.01))

    async def scenario() -> int:
        with Receiver(slow) as receiver:
            tell(store, endpoint(receiver.url), orders=120)
            async with sending(store, ToldClock(), replace(QUICK, most_per_endpoint=8)):
                await came(lambda: all_delivered(store), "all deliveries")
            return receiver.most_at_once

    assert FIRST_WINDOW < asyncio.run(scenario()) <= 8


def test_all_tries_together_are_bounded(store: SqliteStore) -> None:
    """However many endpoints there are, no more tries are under way than the setting allows."""

    async def scenario() -> None:
        with Receiver(always(SILENT)) as receiver:
            tell(store, *(endpoint(f"{receiver.url}/{n}") for n in range(10)), orders=3)
            async with sending(store, ToldClock(), replace(QUICK, most_in_flight=6), 60) as sender:
                await came(lambda: len(receiver.posts) == 6, "six tries")
                await _nothing_is_claimed(sender, receiver)

    asyncio.run(scenario())


def test_closing_leaves_what_is_under_way_to_its_lease(store: SqliteStore) -> None:
    """A try that is cancelled by the shutdown counts as none, and is made again once its lease ran out."""
    clock = ToldClock()

    async def interrupted(url: str) -> None:
        tell(store, endpoint(url))
        async with sending(store, clock, timeout_seconds=10) as sender:
            await came(lambda: sender.counts.in_flight == 1, "a try")
            async with asyncio.timeout(5):
                await sender.close(seconds=0.05)

    async def again() -> None:
        async with sending(store, clock):
            await came(lambda: all_delivered(store), "the delivery")

    with Receiver(lambda number: SILENT if number == 0 else OK) as receiver:
        asyncio.run(interrupted(receiver.url))
        (delivery,) = deliveries(store)
        assert (delivery.state, delivery.tries) == (DeliveryState.PENDING, 0)
        clock.time += LEASE_MILLISECONDS
        asyncio.run(again())
        assert len(receiver.posts) == 2


def test_closing_waits_for_a_quick_answer(store: SqliteStore) -> None:
    """A try whose answer comes soon after the shutdown began is written down."""

    async def scenario(url: str) -> None:
        tell(store, endpoint(url))
        async with sending(store, ToldClock()) as sender:
            await came(lambda: sender.counts.in_flight == 1, "a try")
            await sender.close(seconds=10)

    with Receiver(always(answer(200, after_seconds=0.2))) as receiver:
        asyncio.run(scenario(receiver.url))
    assert all_delivered(store)


def test_a_busy_database_makes_no_second_post(store: SqliteStore, tmp_path: Path) -> None:
    """What could not be written down because another program held the file is written down once it can be."""

    def seize(_number: int) -> Reaction:
        """Hold the file from before the answer until after the first record of it has failed."""
        foreign = sqlite3.connect(tmp_path / "opentill.db", isolation_level=None, check_same_thread=False)
        foreign.execute("BEGIN IMMEDIATE")
        threading.Timer(PATIENCE_MILLISECONDS / 1000 + 0.3, foreign.close).start()
        return OK

    async def scenario() -> None:
        with Receiver(seize) as receiver:
            tell(store, endpoint(receiver.url))
            async with sending(store, ToldClock()):
                await came(lambda: all_delivered(store), "the record")
            assert len(receiver.posts) == 1

    asyncio.run(scenario())


def test_an_unsignable_delivery_stops_no_other(store: SqliteStore) -> None:
    """A delivery for which no headers can be made is a failure without an answer; the rest goes out."""

    def forgetful(outgoing: Outgoing, at: int) -> dict[str, str]:
        if outgoing.endpoint.account_id == ACCOUNT:
            raise ValueError("no key")
        return sign(outgoing, at)

    async def scenario() -> None:
        with Receiver() as receiver:
            tell(store, endpoint(receiver.url), endpoint(receiver.url, OTHER), orders=5)
            async with sending(store, ToldClock(), signer=forgetful):
                await came(lambda: all_delivered(store, OTHER), "the other merchant's")
                await came(lambda: all(d.tries == 1 for d in deliveries(store)), "the failures")

    asyncio.run(scenario())
    assert {(d.state, d.status) for d in deliveries(store)} == {(DeliveryState.PENDING, None)}


def test_an_endpoint_that_only_fails_is_paused(store: SqliteStore) -> None:
    """After the set time of nothing but failures it is left alone, and its delivery waits."""
    clock, hour = ToldClock(), 3_600_000

    async def scenario() -> None:
        with Receiver(always(answer(500))) as receiver:
            tell(store, endpoint(receiver.url))
            settings = replace(with_pauses(*[3600] * 50), patience=Patience(milliseconds=10 * hour, tries=5))
            async with sending(store, clock, settings) as sender:
                for tries in range(1, 40):
                    delivery = await tried(store, tries)
                    if sender.counts.paused:
                        break
                    assert delivery.next_try_at is not None
                    clock.time = delivery.next_try_at
                clock.time += 100 * hour
                await _nothing_is_claimed(sender, receiver)
                assert sender.counts.paused == 1

    asyncio.run(scenario())
    assert store.outbox.endpoints(ACCOUNT)[0].paused_at is not None
    assert states(store) == {DeliveryState.PENDING}
    assert 10 <= deliveries(store)[0].tries <= 11


def test_after_sigkill_everything_is_delivered(store: SqliteStore, tmp_path: Path) -> None:
    """Senders that are killed in the middle lose nothing: every event arrives, each under one requestId."""
    with Receiver(always(answer(200, after_seconds=0.005))) as receiver:
        tell(store, endpoint(receiver.url), orders=150)
        for kill in range(1, 4):
            _run_and_kill(tmp_path, receiver, until_posts=kill * 30, now=NOW + kill * LEASE_MILLISECONDS)

        async def finish() -> None:
            async with sending(store, ToldClock(NOW + 10 * LEASE_MILLISECONDS)):
                await came(lambda: all_delivered(store), "the rest")

        asyncio.run(finish())
        bodies = [json.loads(post.body) for post in receiver.posts]
    ids = {body["requestId"] for body in bodies}
    assert ids == {delivery.event_id for delivery in deliveries(store)}
    assert len(ids) == len({body["order"] for body in bodies}) == 150


def _run_and_kill(folder: Path, receiver: Receiver, *, until_posts: int, now: int) -> None:
    """Another process sends from the same database until so many posts came, and is killed."""
    program = [sys.executable, "-m", "webhooks.sending_process", str(folder), str(now)]
    process = subprocess.Popen(program, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)})
    try:
        until(lambda: len(receiver.posts) >= until_posts, f"{until_posts} posts", seconds=30)
    finally:
        process.kill()
        process.wait(10)
