"""The verbs of the outbox that run all day, on any database: prepared statements that take whole sets.

What changes endpoints locks them first, then feeds, then deliveries. The sequencer has the feeds first and
then only sees to it that no endpoint is deleted, for which it never waits for whoever changes one.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from opentill.domain.commands import Actor, ActorKind
from opentill.domain.events import EventType
from opentill.store.databases.database import Database, Run
from opentill.store.orders import rows
from opentill.store.orders.batch import as_set
from opentill.store.outbox import rows as outbox_rows
from opentill.store.outbox.claiming import Claiming, Room
from opentill.store.outbox.contract import (
    DeliveryState,
    Endpoint,
    EndpointEventType,
    FeedEntry,
    OutboxHealth,
    Outgoing,
    Patience,
    Placed,
    RenderEvent,
    Tried,
)
from opentill.store.outbox.endpoints import EndpointVerbs
from opentill.store.outbox.sequencing import Sequencing
from opentill.store.outbox.statements import OutboxStatements

SPAN: Final = 1000
"""How many places of a feed are searched at once for events of some types."""
_SENDER: Final = Actor(ActorKind.WORKER)


class OutboxVerbs(EndpointVerbs):
    """Feed, endpoints and deliveries."""

    def __init__(self, database: Database, statements: OutboxStatements):
        super().__init__(database)
        self._statements = statements

    def hold_lease(self, name: str, holder: str, now: int, until: int) -> bool:
        """Take or keep a lease by one guarded upsert."""
        asked = (name, holder, until, now)
        return self._database.work(lambda run: run(self._statements.hold_lease, asked).fetchone()) is not None

    def place_events(self, render: RenderEvent, now: int, limit: int) -> int:
        """Place events and queue deliveries by ``Sequencing``."""
        return self._database.work(lambda run: Sequencing(run, self._statements).place(render, now, limit))

    def feed(self, account_id: str, after: int, types: Collection[str], limit: int) -> list[FeedEntry]:
        """Read both kinds of event and merge them by their places.

        Up to the place that was the last when the question began: there, both kinds of event are complete.
        """

        def question(run: Run) -> list[FeedEntry]:
            row = run(self._statements.last_places, (as_set([(account_id,)]),)).fetchone()
            part = _FeedRange(account_id, after, row[1] if row else 0, types, limit)
            found = [*self._of_orders(run, part), *self._of_endpoints(run, part)]
            return sorted(found, key=lambda each: each.place)[:limit]

        return self._database.ask(question)

    def _of_orders(self, run: Run, part: "_FeedRange") -> Iterator[FeedEntry]:
        """Read in spans: no plan can take a statement over more places than that."""
        wanted, left = part.types_among(EventType), part.limit
        span = SPAN if part.types else part.limit
        for behind in range(part.after, part.last if wanted else 0, span):
            asked = (as_set(wanted), part.account_id, behind, min(behind + span, part.last), left)
            found = run(self._statements.feed, asked).fetchall()
            yield from (Placed(row[0], rows.event(row[2:]), row[1]) for row in found)
            left -= len(found)
            if not left:
                break

    def _of_endpoints(self, run: Run, part: "_FeedRange") -> Iterator[FeedEntry]:
        wanted = part.types_among(EndpointEventType)
        asked = (as_set(wanted), part.account_id, part.after, part.last, part.limit)
        found = run(self._statements.endpoint_feed, asked).fetchall() if wanted else ()
        yield from map(outbox_rows.placed_endpoint_event, found)

    def last_places(self, account_ids: Collection[str]) -> Mapping[str, int]:
        """Read the last places by one statement."""
        asked = as_set([(account_id,) for account_id in account_ids])
        found = self._database.ask(lambda run: run(self._statements.last_places, (asked,)).fetchall())
        return dict.fromkeys(account_ids, 0) | {row[0]: row[1] for row in found}

    def change_endpoint(
        self,
        account_id: str,
        endpoint_id: str,
        change: Callable[[Endpoint], Endpoint],
        actor: Actor,
        now: int,
    ) -> Endpoint | None:
        """Lock the endpoint, ask ``change``, then write it, the feed and its deliveries."""

        def work(run: Run) -> Endpoint | None:
            row = run(self._statements.lock_endpoint, (account_id, endpoint_id)).fetchone()
            if row is None:
                return None
            before = outbox_rows.endpoint(row)
            after = change(before)
            run(self._statements.change_endpoint, outbox_rows.endpoint_row(after))
            if before.paused_at is not None and after.paused_at is None:
                Sequencing(run, self._statements).tell([after], EndpointEventType.RESUMED, actor, now)
            if after.paused_at is None and after.failing_since is None:
                run(self._statements.make_due, (account_id, endpoint_id))
            return after

        return self._database.work(work)

    def claim_deliveries(
        self, now: int, lease_until: int, limit: int, room: Mapping[str, int], room_of_others: int
    ) -> list[Outgoing]:
        """Claim due deliveries by ``Claiming``."""
        rooms = Room(room, room_of_others)
        return self._database.work(
            lambda run: Claiming(run, self._statements).claim(now, lease_until, limit, rooms)
        )

    def record_tries(self, tries: Sequence[Tried], patience: Patience) -> list[Endpoint]:
        """Write the endpoints' health first, then pause and tell, then end the claims."""
        health = as_set(sorted(_health(tries)))
        tried = as_set(sorted(outbox_rows.tried_row(t) for t in {t.delivery_id: t for t in tries}.values()))

        def work(run: Run) -> list[Endpoint]:
            run(self._statements.note_health, (health, patience.tries))
            found = run(self._statements.pause, (health, patience.milliseconds, patience.tries)).fetchall()
            paused = [outbox_rows.endpoint(row) for row in found]
            if paused:
                at = max(endpoint.paused_at or 0 for endpoint in paused)
                Sequencing(run, self._statements).tell(paused, EndpointEventType.PAUSED, _SENDER, at)
            run(self._statements.record_tries, (tried,))
            return paused

        return self._database.work(work) if tries else []

    def delivery_body(self, account_id: str, delivery_id: str) -> bytes | None:
        """Read one delivery's body by its key."""
        asked = (account_id, delivery_id)
        found = self._database.ask(lambda run: run(self._statements.body_of_delivery, asked).fetchone())
        return found[0].encode() if found else None

    def push_again(self, account_id: str, delivery_ids: Collection[str], now: int) -> int:
        """Make deliveries due by one statement."""
        wanted = as_set(sorted({(account_id, delivery_id) for delivery_id in delivery_ids}))
        return self._database.work(lambda run: run(self._statements.push_again, (wanted, now)).rowcount)

    def outbox_health(self) -> OutboxHealth:
        """Count by indexes of just what is counted."""
        return OutboxHealth(*self._database.ask(lambda run: run(self._statements.health, ()).fetchone()))

    def paused_endpoints(self) -> int:
        """Count by the index of paused endpoints."""
        return int(self._database.ask(lambda run: run(self._statements.paused_endpoints, ()).fetchone())[0])


@dataclass(frozen=True, slots=True)
class _FeedRange:
    """The part of a feed that is asked for: behind one place, up to another."""

    account_id: str
    after: int
    last: int
    types: Collection[str]
    limit: int

    def types_among(self, kind: type[StrEnum]) -> list[tuple[str]]:
        """List those of this kind that are wanted: all, unless some are named."""
        return [(each.value,) for each in kind if not self.types or each.value in self.types]


def _health(tries: Sequence[Tried]) -> Iterator[tuple[str, str, int, int | None, int | None, int]]:
    """Sum up each endpoint: has it succeeded, since when has it only failed, when last, how often.

    The last three are of the time after its last success among these tries.
    """
    by_endpoint: dict[tuple[str, str], list[Tried]] = {}
    for tried in sorted(tries, key=lambda t: t.at):
        by_endpoint.setdefault((tried.account_id, tried.endpoint_id), []).append(tried)
    for (account_id, endpoint_id), theirs in by_endpoint.items():
        succeeded = [place for place, t in enumerate(theirs) if t.state is DeliveryState.DELIVERED]
        failed = theirs[succeeded[-1] + 1 :] if succeeded else theirs
        first, last = (failed[0].at, failed[-1].at) if failed else (None, None)
        yield account_id, endpoint_id, int(bool(succeeded)), first, last, len(failed)
