"""The primary dies in the middle of contested cancels and payments; nothing that was answered is lost."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from ha.books import calls_under_way, read_books
from ha.cluster import Cluster, Node
from ha.contest import Minutes, Ring, Watch, contradicted, told_otherwise
from ha.processes import until
from races.books import ledger_check
from races.laws import Told, complaints, unsettled
from races.lines import Line, lines
from server import Server

SETTINGS: dict[str, Any] = {
    "sandbox_rail_delay_milliseconds": 15,
    "card_timeout_seconds": 1,
    "call_grace_seconds": 1,
}
RINGS = 8
"""Orders that are fought for at the same moment."""
ANSWERS_BEFORE = 500
ANSWERS_AFTER = 500
MOST_SECONDS = 30
"""How long writes may be away."""
HEARD = (Told.CREATED, Told.CANCELLED, Told.PAID)
LEAST = 20
"""How often each of these must be heard on either side of the failover."""
SETTLE_SECONDS = 30
RETURN_SECONDS = 60


@dataclass(frozen=True)
class Failover:
    """What was seen of it; moments are monotonic seconds."""

    minutes: Minutes
    watches: Sequence[Watch]
    killed: Node
    killed_at: float
    processes: set[str]
    """The server processes that answered before."""

    @property
    def recovered_at(self) -> float:
        """Return when the first write was sent that was accepted again."""
        return min(each.sent for each in self.minutes.after(self.killed_at) if each.heard)


async def contest(servers: Sequence[Server], cluster: Cluster) -> Failover:
    """Rings across all three processes, and the death of the primary in their midst."""
    minutes = Minutes()
    async with lines(servers, processes=3, each=RINGS + 1) as found:
        rings = [Ring(one, (two, three), minutes) for one, two, three in _mixed(found)]
        watches = [Watch(of_process[RINGS]) for of_process in found]
        async with asyncio.TaskGroup() as everybody:
            for each in rings:
                everybody.create_task(each.fight())
            for watch in watches:
                everybody.create_task(watch.look(minutes.over))
            await minutes.filled(ANSWERS_BEFORE)
            processes = minutes.processes
            killed, killed_at = await asyncio.to_thread(cluster.kill_primary)
            await minutes.filled(ANSWERS_AFTER)
            await asyncio.gather(*(watch.ready(minutes.over) for watch in watches))
            minutes.over.set()
    return Failover(minutes, watches, killed, killed_at, processes)


def _mixed(found: Sequence[Sequence[Line]]) -> list[tuple[Line, Line, Line]]:
    """Three lines for each ring, one to every process; the payer's process changes from ring to ring."""
    return [(found[i % 3][i], found[(i + 1) % 3][i], found[(i + 2) % 3][i]) for i in range(RINGS)]


async def ask_again(server: Server, minutes: Minutes) -> list[str]:
    """All answers against what is stored under their keys."""
    async with lines([server], processes=1, each=1) as ((line,),):
        return await told_otherwise(minutes.answers, line)


@pytest.mark.timeout(400)
def test_nothing_that_was_answered_is_lost_with_the_primary(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Writes are back in 30 s without a restart, all answers stand, one wins each order, the node returns."""
    with (
        Cluster() as cluster,
        Server(tmp_path, workers=2, database_url=cluster.url, **SETTINGS) as first,
        Server(tmp_path, database_url=cluster.url, **SETTINGS) as second,
    ):
        seen = asyncio.run(contest([first, second], cluster))
        until(lambda: calls_under_way(cluster.url) == 0, "the end of all payments", SETTLE_SECONDS)
        changed = asyncio.run(ask_again(second, seen.minutes))
        books = read_books(cluster.url)
        assert cluster.primary is not seen.killed
        assert [second.stop(), first.stop()] == [0, 0]
        assert ledger_check(first) == ""
        seen.killed.start()
        until(cluster.is_redundant, "the return of the old primary as a standby", RETURN_SECONDS)

    minutes = seen.minutes
    statuses = {reference: order["status"] for reference, order in books.by_reference.items()}
    assert changed == []
    assert complaints(books, minutes.heard) == []
    assert contradicted(minutes.answers, statuses) == []
    assert unsettled(books) == []

    seconds = seen.recovered_at - seen.killed_at
    assert seconds < MOST_SECONDS
    assert minutes.processes == seen.processes, "a server process was replaced"
    assert all(503 in watch.between(seen.killed_at, seen.recovered_at) for watch in seen.watches)
    assert minutes.unavailable, "nobody was being served when the primary died"
    before = Counter(each.heard for each in minutes.answers if each.sent < seen.killed_at)
    after = Counter(each.heard for each in minutes.after(seen.killed_at))
    for told in [*map(before.get, HEARD), *map(after.get, HEARD)]:
        assert (told or 0) >= LEAST, (before, after)
    with capsys.disabled():
        print(f"\nwrites were accepted again {seconds:.1f} s after the primary died")
