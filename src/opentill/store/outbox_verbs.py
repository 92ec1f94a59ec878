"""The verbs of the outbox that run all day, on any database: prepared statements that take whole sets.

Every transaction that writes touches feeds first, then endpoints, then deliveries.
"""

from abc import abstractmethod
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import ClassVar, Final, TypeVar

from opentill.domain.events import EventType
from opentill.store import outbox_rows, rows
from opentill.store.card_verbs import SavedCards
from opentill.store.claiming import Claiming, Room
from opentill.store.endpoints import Endpoints
from opentill.store.outbox import (
    DeliveryState,
    Endpoint,
    OutboxHealth,
    Outgoing,
    Placed,
    RenderEvent,
    Tried,
)
from opentill.store.outbox_statements import OutboxStatements
from opentill.store.sequencing import Sequencing
from opentill.store.sets import Run, as_set

SPAN: Final = 1000
"""How many places of a feed are searched at once for events of some types."""

T = TypeVar("T")


class OutboxVerbs(Endpoints, SavedCards):
    """Feed, endpoints and deliveries beside the cold verbs. A store adds how its driver runs statements."""

    _outbox: ClassVar[OutboxStatements]

    @abstractmethod
    def _ask(self, question: Callable[[Run], T]) -> T:
        """Ask by statements of the driver in a read transaction."""

    @abstractmethod
    def _work(self, work: Callable[[Run], T]) -> T:
        """Work by statements of the driver in a write transaction that commits when the work returns."""

    def hold_lease(self, name: str, holder: str, now: int, until: int) -> bool:
        """See ``Outbox.hold_lease``."""
        asked = (name, holder, until, now)
        return self._work(lambda run: run(self._outbox.hold_lease, asked).fetchone()) is not None

    def place_events(self, render: RenderEvent, now: int, limit: int) -> int:
        """See ``Outbox.place_events``."""
        return self._work(lambda run: Sequencing(run, self._outbox).place(render, now, limit))

    def feed(self, account_id: str, after: int, types: Collection[str], limit: int) -> list[Placed]:
        """See ``Outbox.feed``. Read in spans: no plan can take a statement over more places than that."""
        wanted = as_set([(type_,) for type_ in types or EventType])
        span = SPAN if types else limit

        def question(run: Run) -> list[rows.Row]:
            last = run(self._outbox.last_places, (as_set([(account_id,)]),)).fetchone()
            found: list[rows.Row] = []
            for behind in range(after, last[1] if last else 0, span):
                asked = (wanted, account_id, behind, behind + span, limit - len(found))
                found += run(self._outbox.feed, asked).fetchall()
                if len(found) == limit:
                    break
            return found

        return [Placed(row[0], rows.event(row[2:]), row[1]) for row in self._ask(question)]

    def last_places(self, account_ids: Collection[str]) -> Mapping[str, int]:
        """See ``Outbox.last_places``."""
        asked = as_set([(account_id,) for account_id in account_ids])
        found = self._ask(lambda run: run(self._outbox.last_places, (asked,)).fetchall())
        return dict.fromkeys(account_ids, 0) | {row[0]: row[1] for row in found}

    def claim_deliveries(
        self, now: int, lease_until: int, limit: int, room: Mapping[str, int], room_of_others: int
    ) -> list[Outgoing]:
        """See ``Outbox.claim_deliveries``."""
        rooms = Room(room, room_of_others)
        return self._work(lambda run: Claiming(run, self._outbox).claim(now, lease_until, limit, rooms))

    def record_tries(self, tries: Sequence[Tried], pause_after: int) -> list[Endpoint]:
        """See ``Outbox.record_tries``."""
        health = as_set(sorted(_health(tries)))
        tried = as_set(sorted(outbox_rows.tried_row(t) for t in {t.delivery_id: t for t in tries}.values()))

        def work(run: Run) -> list[Endpoint]:
            run(self._outbox.note_health, (health,))
            paused = run(self._outbox.pause, (health, pause_after)).fetchall()
            run(self._outbox.record_tries, (tried,))
            return [outbox_rows.endpoint(row) for row in paused]

        return self._work(work) if tries else []

    def delivery_body(self, account_id: str, delivery_id: str) -> bytes | None:
        """See ``Outbox.delivery_body``."""
        asked = (account_id, delivery_id)
        found = self._ask(lambda run: run(self._outbox.body_of_delivery, asked).fetchone())
        return found[0].encode() if found else None

    def push_again(self, account_id: str, delivery_ids: Collection[str], now: int) -> int:
        """See ``Outbox.push_again``."""
        wanted = as_set(sorted({(account_id, delivery_id) for delivery_id in delivery_ids}))
        return self._work(lambda run: run(self._outbox.push_again, (wanted, now)).rowcount)

    def outbox_health(self) -> OutboxHealth:
        """See ``Outbox.outbox_health``."""
        return OutboxHealth(*self._ask(lambda run: run(self._outbox.health, ()).fetchone()))


def _health(tries: Sequence[Tried]) -> Iterator[tuple[str, str, int, int | None, int | None]]:
    """Of each endpoint: did it succeed, since when has it only failed, when did it fail last.

    The last two are of the time after its last success among these tries.
    """
    by_endpoint: dict[tuple[str, str], list[Tried]] = {}
    for tried in sorted(tries, key=lambda t: t.at):
        by_endpoint.setdefault((tried.account_id, tried.endpoint_id), []).append(tried)
    for (account_id, endpoint_id), theirs in by_endpoint.items():
        succeeded = [place for place, t in enumerate(theirs) if t.state is DeliveryState.DELIVERED]
        failed = theirs[succeeded[-1] + 1 :] if succeeded else theirs
        first, last = (failed[0].at, failed[-1].at) if failed else (None, None)
        yield account_id, endpoint_id, int(bool(succeeded)), first, last
