"""Giving committed events their places in the feeds of their merchants, and queueing what they say.

What happens to an endpoint is written with its place at once: whoever has the feed locked until the commit
leaves no gap. Orders are neither locked nor changed: what a body says of an order was decided with its event.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Final

from opentill.domain.commands import Actor
from opentill.domain.events import TOLD_TO_MERCHANTS, Event, EventType
from opentill.domain.order import SavedCard
from opentill.store.databases.database import Run
from opentill.store.errors import Transient
from opentill.store.orders import rows
from opentill.store.orders.batch import as_set, views_by_id
from opentill.store.outbox import rows as outbox_rows
from opentill.store.outbox.contract import Endpoint, EndpointEventType, RenderEvent, Told
from opentill.store.outbox.statements import OutboxStatements

_TOLD: Final = as_set(sorted((type_,) for type_ in TOLD_TO_MERCHANTS))


def _accounts(account_ids: Collection[str]) -> str:
    return as_set(sorted((account_id,) for account_id in account_ids))


class Sequencing:
    """One transaction that places events. Whoever has a merchant's feed locked is the only one to use it."""

    def __init__(self, run: Run, statements: OutboxStatements):
        self._run = run
        self._statements = statements

    def place(self, render: RenderEvent, now: int, limit: int) -> int:
        """Place events and queue deliveries; an event that nobody listens to never leaves the database."""
        oldest = self._run(self._statements.oldest_unplaced, (limit,)).fetchall()
        if not oldest:
            return 0
        accounts = _accounts({account_id for account_id, _ in oldest})
        before = self._lock_feeds(accounts)
        until = max(at for _, at in oldest)
        placed = self._run(self._statements.place_events, (accounts, until, limit)).rowcount
        after = dict(self._run(self._statements.move_feeds, (accounts,)).fetchall())
        if sum(after.values()) - sum(before.values()) != placed:
            raise Transient("an event was placed by somebody who had not locked its feed")
        self._queue(accounts, before, after, render, now)
        return placed

    def tell(self, endpoints: Sequence[Endpoint], type_: EndpointEventType, actor: Actor, at: int) -> None:
        """Write what happened to these endpoints at the next places of their merchants' feeds."""
        last = self._lock_feeds(_accounts({endpoint.account_id for endpoint in endpoints}))
        told = []
        for endpoint in endpoints:
            last[endpoint.account_id] += 1
            place = last[endpoint.account_id]
            told.append(outbox_rows.endpoint_event_row(endpoint, type_, actor, at, place))
        self._run(self._statements.insert_endpoint_events, (as_set(told),))
        self._run(self._statements.write_feeds, (as_set(sorted(last.items())),))

    def _lock_feeds(self, accounts: str) -> dict[str, int]:
        """Lock and read the last places of these merchants: nobody else places events of theirs any more."""
        self._run(self._statements.open_feeds, (accounts,))
        return dict(self._run(self._statements.lock_feeds, (accounts,)).fetchall())

    def _queue(
        self,
        accounts: str,
        before: Mapping[str, int],
        after: Mapping[str, int],
        render: RenderEvent,
        now: int,
    ) -> None:
        listening = self._listening(accounts)
        told = [event for each in listening for event in self._told(each, before[each], after[each])]
        bodies, deliveries = [], []
        for event, words in self._said(told, render):
            wanted = [e for e in listening[event.account_id] if words.type in e.events]
            deliveries += [
                outbox_rows.new_delivery_row(event, e.endpoint_id, words.type, now) for e in wanted
            ]
            if wanted:
                bodies.append((event.account_id, event.order_id, event.sequence, words.body.decode()))
        if bodies:
            self._run(self._statements.insert_bodies, (as_set(bodies),))
            self._run(self._statements.insert_deliveries, (as_set(deliveries),))

    def _listening(self, accounts: str) -> dict[str, list[Endpoint]]:
        """Read the enabled endpoints of these merchants, paused ones too: theirs wait."""
        by_account: dict[str, list[Endpoint]] = {}
        for row in self._run(self._statements.listening, (accounts,)).fetchall():
            by_account.setdefault(row[0], []).append(outbox_rows.endpoint(row))
        return by_account

    def _told(self, account_id: str, before: int, after: int) -> list[Event]:
        """Read one merchant's events that have just been placed and are told to merchants."""
        asked = (_TOLD, account_id, before, after)
        return [rows.event(row) for row in self._run(self._statements.told, asked).fetchall()]

    def _said(self, events: Sequence[Event], render: RenderEvent) -> list[tuple[Event, Told]]:
        """Render those events that say something."""
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
        """Read saved cards by payment. Orders that asked for no token cost no read."""
        if not payments:
            return {}
        found = self._run(self._statements.cards_of_payments, (as_set(payments),)).fetchall()
        cards = map(rows.saved_card, found)
        return {(card.account_id, card.transaction_id): card for card in cards}
