"""The statements of the outbox, by name: as those of batches, each takes a whole set of rows at once."""

from functools import cached_property
from typing import Final

from opentill.store import schema
from opentill.store.orders.rows import EVENT, SAVED_CARD
from opentill.store.orders.statements import Statements, columns
from opentill.store.outbox.contract import (
    LONGEST_CLAIM_MILLISECONDS,
    LONGEST_LEASE_MILLISECONDS,
    DeliveryState,
)
from opentill.store.outbox.rows import BODY, DELIVERY, ENDPOINT, ENDPOINT_EVENT

_PENDING: Final = f"'{DeliveryState.PENDING.value}'"
_DEAD: Final = f"'{DeliveryState.DEAD.value}'"

_TURN_HAS_COME: Final = """
    AND (d.tries > 0 OR NOT EXISTS (
            SELECT 1 FROM webhook_deliveries AS x
             WHERE x.account_id = d.account_id AND x.order_id = d.order_id AND x.sequence < d.sequence
               AND x.endpoint_id = d.endpoint_id AND x.tries = 0 AND x.next_try_at IS NOT NULL))
"""
"""A first try waits for those of earlier events of its order (laws 9).

That one is pending is said by its next try: said by its state, the index of what is due would offer itself.
"""


class OutboxStatements(Statements):
    """Every statement of feed, endpoints and deliveries, in the words of one database."""

    # --- leases and feeds -------------------------------------------------------------------------

    @cached_property
    def hold_lease(self) -> str:
        """Take a lease that is free, is over, is ours or can be nobody's; return a row when it is ours."""
        p = self._p
        return f"""
            INSERT INTO leases (name, holder, held_until) VALUES ({p}1, {p}2, {p}3)
            ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, held_until = excluded.held_until
             WHERE leases.holder = excluded.holder OR leases.held_until <= {p}4
                OR leases.held_until - {LONGEST_LEASE_MILLISECONDS} > {p}4
            RETURNING name
        """

    @cached_property
    def oldest_unplaced(self) -> str:
        """Find the merchants of the oldest unplaced events, and until when each one's reach."""
        return f"""
            SELECT account_id, max(at)
              FROM (SELECT account_id, at FROM events WHERE place IS NULL ORDER BY at LIMIT {self._p}1) AS e
             GROUP BY account_id
        """

    @cached_property
    def open_feeds(self) -> str:
        """Make the feeds of these merchants that do not exist yet."""
        return f"""
            INSERT INTO feeds (account_id, place) SELECT w.value ->> 0, 0 FROM {self._set} WHERE true
            ON CONFLICT (account_id) DO NOTHING
        """

    @cached_property
    def lock_feeds(self) -> str:
        """Lock and read the last places of these merchants, in key order."""
        return f"{self.last_places} ORDER BY f.account_id {self._dialect.locked('FOR UPDATE OF f')}"

    @cached_property
    def last_places(self) -> str:
        """Read the last places of these merchants."""
        return f"""
            SELECT f.account_id, f.place
              FROM {self._set} {self._join} feeds AS f ON f.account_id = w.value ->> 0
        """

    @cached_property
    def place_events(self) -> str:
        """Give these merchants' unplaced events up to a time their places, the oldest events first.

        Without that time a plan that does not follow the index would sort all that wait. The merchant is
        asked for so that the key does not offer itself, where all that ever happened to a merchant is; what
        is written so that the index of those without a place does not, where all that wait are.
        """
        return f"""
            UPDATE events SET place = p.place
              FROM (SELECT o.account_id, o.order_id, o.sequence, f.place
                           + row_number() OVER (
                               PARTITION BY o.account_id ORDER BY o.at, o.order_id, o.sequence) AS place
                      FROM (SELECT account_id, order_id, sequence, at FROM events
                             WHERE place IS NULL AND at <= {self._p}2
                               AND COALESCE(account_id, '') IN (SELECT w.value ->> 0 FROM {self._set})
                             ORDER BY at, order_id, sequence LIMIT {self._p}3) AS o
                      {self._join} feeds AS f ON f.account_id = o.account_id) AS p
             WHERE events.account_id = p.account_id AND events.order_id = p.order_id
               AND events.sequence = p.sequence AND COALESCE(events.place, 0) = 0
        """

    @cached_property
    def move_feeds(self) -> str:
        """Write the last places of these merchants down, and return them."""
        return f"""
            UPDATE feeds
               SET place = COALESCE((SELECT e.place FROM events AS e
                                      WHERE e.account_id = feeds.account_id AND e.place > feeds.place
                                      ORDER BY e.place DESC LIMIT 1), place)
              FROM {self._set} WHERE feeds.account_id = w.value ->> 0
            RETURNING account_id, place
        """

    @cached_property
    def write_feeds(self) -> str:
        """Write down the last places of merchants at which something other than an event now stands."""
        return f"""
            UPDATE feeds SET place = (w.value ->> 1){self._int}
              FROM {self._set} WHERE feeds.account_id = w.value ->> 0
        """

    @cached_property
    def told(self) -> str:
        """Read events of these types that stand behind one place and up to another of a merchant's feed."""
        return f"""
            SELECT {columns(EVENT)} FROM events
             WHERE account_id = {self._p}2 AND place > {self._p}3 AND place <= {self._p}4
               AND type IN (SELECT w.value ->> 0 FROM {self._set})
             ORDER BY place
        """

    @cached_property
    def feed(self) -> str:
        """Read placed events of these types behind one place and up to another, with orders' references."""
        p = self._p
        return f"""
            SELECT e.place, o.reference, {columns(EVENT, "e.")}
              FROM (SELECT place, {columns(EVENT)}
                      FROM events
                     WHERE account_id = {p}2 AND place > {p}3 AND place <= {p}4
                       AND type IN (SELECT w.value ->> 0 FROM {self._set})
                     ORDER BY place LIMIT {p}5) AS e
              {self._join} orders AS o ON o.account_id = e.account_id AND o.order_id = e.order_id
             ORDER BY e.place
        """

    # --- endpoints --------------------------------------------------------------------------------

    @cached_property
    def insert_endpoint_events(self) -> str:
        """Insert what happened to endpoints, at its places."""
        return self._insert(schema.endpoint_events, ENDPOINT_EVENT)

    @cached_property
    def endpoint_feed(self) -> str:
        """Read what happened to a merchant's endpoints behind one place and up to another, of these types."""
        p = self._p
        return f"""
            SELECT {columns(ENDPOINT_EVENT)} FROM endpoint_events
             WHERE account_id = {p}2 AND place > {p}3 AND place <= {p}4
               AND type IN (SELECT w.value ->> 0 FROM {self._set})
             ORDER BY place LIMIT {p}5
        """

    @cached_property
    def lock_endpoint(self) -> str:
        """Lock and read one endpoint."""
        return f"""
            SELECT {columns(ENDPOINT)} FROM webhook_endpoints
             WHERE account_id = {self._p}1 AND endpoint_id = {self._p}2
             {self._dialect.locked("FOR NO KEY UPDATE")}
        """

    @cached_property
    def change_endpoint(self) -> str:
        """Write all of an endpoint but its key; its values come in the order of ``ENDPOINT``."""
        p = self._p
        numbered = list(enumerate(ENDPOINT, 1))
        values = ", ".join(f"{name} = {p}{number}" for number, name in numbered[2:])
        return f"UPDATE webhook_endpoints SET {values} WHERE account_id = {p}1 AND endpoint_id = {p}2"

    @cached_property
    def make_due(self) -> str:
        """Make due, as of its last try, what waits at an endpoint for a later one."""
        return f"""
            UPDATE webhook_deliveries SET next_try_at = updated_at
             WHERE account_id = {self._p}1 AND endpoint_id = {self._p}2 AND state = {_PENDING}
               AND next_try_at > updated_at
        """

    @cached_property
    def paused_endpoints(self) -> str:
        """Count the endpoints that are paused, by an index of just those."""
        return "SELECT count(*) FROM webhook_endpoints WHERE paused_at IS NOT NULL"

    # --- deliveries -------------------------------------------------------------------------------

    @cached_property
    def listening(self) -> str:
        """Read the enabled endpoints of these merchants; none is deleted before it is seen what is queued."""
        return f"""
            SELECT {columns(ENDPOINT, "e.")}
              FROM {self._set} {self._join} webhook_endpoints AS e ON e.account_id = w.value ->> 0
             WHERE e.enabled = 1
             {self._dialect.locked("FOR KEY SHARE OF e")}
        """

    @cached_property
    def cards_of_payments(self) -> str:
        """Read the cards that these payments left behind."""
        return f"""
            SELECT {columns(SAVED_CARD, "s.")}
              FROM {self._set}
              {self._join} saved_cards AS s
                ON s.account_id = w.value ->> 0 AND s.transaction_id = w.value ->> 1
        """

    @cached_property
    def insert_bodies(self) -> str:
        """Insert what events say, once for all endpoints."""
        return self._insert(schema.webhook_bodies, BODY)

    @cached_property
    def insert_deliveries(self) -> str:
        """Insert deliveries."""
        return self._insert(schema.webhook_deliveries, DELIVERY)

    @cached_property
    def bodies(self) -> str:
        """Read the bodies of these events."""
        return f"""
            SELECT {columns(BODY, "b.")}
              FROM {self._set}
              {self._join} webhook_bodies AS b
                ON b.account_id = w.value ->> 0 AND b.order_id = w.value ->> 1
               AND b.sequence = (w.value ->> 2){self._int}
        """

    @cached_property
    def body_of_delivery(self) -> str:
        """Read the body of one delivery."""
        return f"""
            SELECT b.body
              FROM webhook_deliveries AS d
              JOIN webhook_bodies AS b
                ON b.account_id = d.account_id AND b.order_id = d.order_id AND b.sequence = d.sequence
             WHERE d.account_id = {self._p}1 AND d.delivery_id = {self._p}2
        """

    @cached_property
    def endpoints_with_due(self) -> str:
        """Find endpoints that are not left alone and have something due, longest due first.

        One look into the index for each endpoint, however much waits there.
        """
        due = self._due(of="e.account_id", at="e.endpoint_id", now=1)
        return f"""
            SELECT * FROM (
                SELECT {columns(ENDPOINT, "e.")}, (SELECT d.next_try_at {due} LIMIT 1) AS due_at
                  FROM webhook_endpoints AS e
                 WHERE e.enabled = 1 AND e.paused_at IS NULL) AS e
             WHERE due_at IS NOT NULL
             ORDER BY due_at
        """

    @cached_property
    def lock_due(self) -> str:
        """Lock so many deliveries of each endpoint, longest due first, that nobody else is taking.

        Each database reads no further into an endpoint's queue than that, each in its own words.
        """
        due = (
            self._due(of="w.value ->> 0", at="w.value ->> 1", now=2, also=_TURN_HAS_COME)
            + f"LIMIT {self._p}3"
        )
        return f"""
            SELECT {columns(DELIVERY, "d.")}
              FROM {self._set}
              {self._dialect.first_of_each.format(table="webhook_deliveries", rows=due)}
        """

    @cached_property
    def claim(self) -> str:
        """Take deliveries until then."""
        return f"""
            UPDATE webhook_deliveries SET claimed_until = {self._p}2
              FROM {self._set}
             WHERE webhook_deliveries.account_id = w.value ->> 0
               AND webhook_deliveries.delivery_id = w.value ->> 1
        """

    @cached_property
    def record_tries(self) -> str:
        """End claims. One that was taken away meanwhile, or has been answered for, stays as it is."""
        return f"""
            UPDATE webhook_deliveries
               SET state = w.value ->> 2, next_try_at = (w.value ->> 3){self._int},
                   status = (w.value ->> 4){self._int}, response = w.value ->> 5,
                   updated_at = (w.value ->> 6){self._int}, tries = tries + 1, claimed_until = NULL
              FROM {self._set}
             WHERE webhook_deliveries.account_id = w.value ->> 0
               AND webhook_deliveries.delivery_id = w.value ->> 1
               AND webhook_deliveries.claimed_until IS NOT NULL
        """

    @cached_property
    def note_health(self) -> str:
        """Note since when and how often endpoints fail; write no row while nothing changes that matters."""
        succeeded, since, failures = (f"(w.value ->> {place}){self._int}" for place in (2, 3, 5))
        anew = f"({succeeded} = 1 OR webhook_endpoints.failing_since IS NULL)"
        return f"""
            UPDATE webhook_endpoints
               SET failing_since = CASE WHEN {anew} THEN {since} ELSE webhook_endpoints.failing_since END,
                   failed_tries = {failures}
                                + CASE WHEN {anew} THEN 0 ELSE webhook_endpoints.failed_tries END
              FROM {self._set}
             WHERE webhook_endpoints.account_id = w.value ->> 0
               AND webhook_endpoints.endpoint_id = w.value ->> 1
               AND (({failures} > 0 AND ({anew} OR webhook_endpoints.failed_tries < {self._p}2))
                    OR ({succeeded} = 1 AND webhook_endpoints.failing_since IS NOT NULL))
        """

    @cached_property
    def pause(self) -> str:
        """Pause endpoints that have only failed for too long and often enough, and return them."""
        last = f"(w.value ->> 4){self._int}"
        return f"""
            UPDATE webhook_endpoints SET paused_at = {last}
              FROM {self._set}
             WHERE webhook_endpoints.account_id = w.value ->> 0
               AND webhook_endpoints.endpoint_id = w.value ->> 1
               AND webhook_endpoints.paused_at IS NULL
               AND {last} - webhook_endpoints.failing_since >= {self._p}2
               AND webhook_endpoints.failed_tries >= {self._p}3
            RETURNING {columns(ENDPOINT, "webhook_endpoints.")}
        """

    @cached_property
    def push_again(self) -> str:
        """Make deliveries to endpoints that exist due, and take them away from whoever is trying them."""
        return f"""
            UPDATE webhook_deliveries
               SET state = {_PENDING}, tries = 0, next_try_at = {self._p}2, claimed_until = NULL,
                   updated_at = {self._p}2
              FROM {self._set}
             WHERE webhook_deliveries.account_id = w.value ->> 0
               AND webhook_deliveries.delivery_id = w.value ->> 1
               AND EXISTS (SELECT 1 FROM webhook_endpoints AS e
                            WHERE e.account_id = webhook_deliveries.account_id
                              AND e.endpoint_id = webhook_deliveries.endpoint_id)
        """

    @cached_property
    def health(self) -> str:
        """Count for ``OutboxHealth``, in its order; each number by an index of just those rows."""
        return f"""
            SELECT (SELECT count(*) FROM events WHERE place IS NULL),
                   (SELECT at FROM events WHERE place IS NULL ORDER BY at LIMIT 1),
                   (SELECT count(*) FROM webhook_deliveries WHERE state = {_PENDING}),
                   (SELECT min((SELECT d.next_try_at FROM webhook_deliveries AS d
                                 WHERE d.account_id = e.account_id AND d.endpoint_id = e.endpoint_id
                                   AND d.state = {_PENDING} ORDER BY d.next_try_at LIMIT 1))
                      FROM webhook_endpoints AS e WHERE e.enabled = 1 AND e.paused_at IS NULL),
                   (SELECT count(*) FROM webhook_deliveries WHERE state = {_DEAD}),
                   (SELECT count(*) FROM webhook_endpoints WHERE paused_at IS NOT NULL)
        """

    def _due(self, *, of: str, at: str, now: int, also: str = "") -> str:
        """Spell FROM and the rest for what is due at one endpoint; ``now`` is the number of a parameter."""
        return f"""
            FROM webhook_deliveries AS d
           WHERE d.account_id = {of} AND d.endpoint_id = {at} AND d.state = {_PENDING}
             AND d.next_try_at <= {self._p}{now}
             AND (d.claimed_until IS NULL OR d.claimed_until <= {self._p}{now}
                  OR d.claimed_until - {LONGEST_CLAIM_MILLISECONDS} > {self._p}{now}) {also}
           ORDER BY d.next_try_at
        """
