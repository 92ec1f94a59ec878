"""Giving committed events their places in the feeds of their merchants, and queueing what they say.

What happens to an endpoint is written with its place at once: whoever has the feed locked until the commit
leaves no gap. Orders are neither locked nor changed: what a body says of an order was decided with its event.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from opentill.domain.cards import SavedCard
from opentill.domain.commands import Actor
from opentill.domain.events import TOLD_TO_MERCHANTS, Event, EventType
from opentill.store import outbox_rows, rows
from opentill.store.interface import Transient
from opentill.store.outbox import Endpoint, EndpointEventType, RenderEvent, Told
from opentill.store.outbox_statements import OutboxStatements
from opentill.store.sets import Run, as_set, views_by_id


class Sequencing:
    """One transaction that places events. Whoever has a merchant's feed locked is the only one to use it."""

    def __init__(self, run: Run, statements: OutboxStatements):
        self._run = run
        self._statements = statements

    def place(self, render: RenderEvent, now: int, limit: int) -> int:
        """See ``Outbox.place_events``."""
        oldest = self._run(self._statements.oldest_unplaced, (limit,)).fetchall()
        if not oldest:
            return 0
        feeds = self._lock_feeds({account_id for account_id, _ in oldest})
        events = [e for e in self._unplaced(oldest[-1][1], limit) if e.account_id in feeds]
        self._write_places(events, feeds)
        self._queue(events, render, now)
        return len(events)

    def tell(self, endpoints: Sequence[Endpoint], type_: EndpointEventType, actor: Actor, at: int) -> None:
        """Write what happened to these endpoints at the next places of their merchants' feeds."""
        last = self._lock_feeds({endpoint.account_id for endpoint in endpoints})
        told = []
        for endpoint in endpoints:
            last[endpoint.account_id] += 1
            place = last[endpoint.account_id]
            told.append(outbox_rows.endpoint_event_row(endpoint, type_, actor, at, place))
        self._run(self._statements.insert_endpoint_events, (as_set(told),))
        self._run(self._statements.move_feeds, (as_set(sorted(last.items())),))

    def _lock_feeds(self, account_ids: Collection[str]) -> dict[str, int]:
        """The last places of these merchants, locked."""
        accounts = as_set(sorted((account_id,) for account_id in account_ids))
        self._run(self._statements.open_feeds, (accounts,))
        return {row[0]: row[1] for row in self._run(self._statements.lock_feeds, (accounts,)).fetchall()}

    def _unplaced(self, until: int, limit: int) -> list[Event]:
        """Read after the lock: what another sequencer placed while we waited is no longer among them."""
        return [rows.event(row) for row in self._run(self._statements.unplaced, (until, limit)).fetchall()]

    def _write_places(self, events: Sequence[Event], feeds: Mapping[str, int]) -> None:
        last, placed = dict(feeds), []
        for event in events:
            last[event.account_id] += 1
            placed.append((event.account_id, event.order_id, event.sequence, last[event.account_id]))
        if self._run(self._statements.place_events, (as_set(sorted(placed)),)).rowcount != len(placed):
            raise Transient("an event was placed by somebody who had not locked its feed")
        self._run(self._statements.move_feeds, (as_set(sorted(last.items())),))

    def _queue(self, events: Sequence[Event], render: RenderEvent, now: int) -> None:
        told = [event for event in events if event.type in TOLD_TO_MERCHANTS]
        listening = self._listening(told)
        said = self._said([event for event in told if event.account_id in listening], render)
        bodies, deliveries = [], []
        for event, words in said:
            wanted = [e for e in listening[event.account_id] if words.type in e.events]
            deliveries += [
                outbox_rows.new_delivery_row(event, e.endpoint_id, words.type, now) for e in wanted
            ]
            if wanted:
                bodies.append((event.account_id, event.order_id, event.sequence, words.body.decode()))
        if bodies:
            self._run(self._statements.insert_bodies, (as_set(bodies),))
            self._run(self._statements.insert_deliveries, (as_set(deliveries),))

    def _listening(self, events: Sequence[Event]) -> dict[str, list[Endpoint]]:
        """The enabled endpoints of these events' merchants, paused ones too: theirs wait."""
        accounts = sorted({(event.account_id,) for event in events})
        by_account: dict[str, list[Endpoint]] = {}
        if accounts:
            for row in self._run(self._statements.listening, (as_set(accounts),)).fetchall():
                by_account.setdefault(row[0], []).append(outbox_rows.endpoint(row))
        return by_account

    def _said(self, events: Sequence[Event], render: RenderEvent) -> list[tuple[Event, Told]]:
        """What those events say that say something."""
        names = sorted({(event.account_id, event.order_id) for event in events})
        views = views_by_id(self._run, self._statements, names) if names else {}
        cards = self._cards_left_by(
            [
                (event.account_id, event.transaction_id)
                for event in events
                if event.type is EventType.PAYMENT_SUCCESS
                and views[event.account_id, event.order_id].order.tokenize_card
            ]
        )
        said = []
        for event in events:
            view = views[event.account_id, event.order_id]
            card = cards.get((event.account_id, event.transaction_id))
            words = render(event, replace(view, saved_card=card) if card else view)
            said += [(event, words)] if words is not None else []
        return said

    def _cards_left_by(
        self, payments: Sequence[tuple[str, str | None]]
    ) -> dict[tuple[str, str | None], SavedCard]:
        """By payment. Orders that asked for no token cost no read."""
        if not payments:
            return {}
        found = self._run(self._statements.cards_of_payments, (as_set(payments),)).fetchall()
        cards = map(rows.saved_card, found)
        return {(card.account_id, card.transaction_id): card for card in cards}
