"""What is told to merchants, as the store keeps it: the feed of events, endpoints, and deliveries to them.

The commit of an order writes its events and nothing else. Here they get their place in the feed of their
merchant, once committed, and from there they go out. None of these verbs changes an order or the ledger;
each is one short transaction.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Protocol, TypeAlias

from opentill.domain.commands import Actor
from opentill.domain.events import Event
from opentill.store.orders.contract import OrderView

LONGEST_LEASE_MILLISECONDS: Final = 15_000
"""No lease is taken for longer; one that ends later was written by another time, and is void (laws 7)."""
LONGEST_CLAIM_MILLISECONDS: Final = 120_000
"""So of claims of deliveries, whose tries may take a minute."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A merchant's webhook URL."""

    account_id: str
    endpoint_id: str
    url: str
    events: tuple[str, ...]
    """Webhook event types that go there (contract 5.1)."""
    enabled: bool
    """Set by the merchant; nothing that happens while it is off is ever told there."""
    key_sealed: bytes
    """The key that signs, encrypted."""
    next_key_sealed: bytes | None
    """During a rotation the key that will sign from its end on (laws 9)."""
    paused_at: int | None
    """Since when it has been left alone because every try failed; its deliveries wait (UTC milliseconds)."""
    failing_since: int | None
    """First failure since the last success; None when the last try succeeded."""
    created_at: int
    failed_tries: int = 0
    """How many tries have failed since ``failing_since``, counted no further than pausing asks for."""


class EndpointEventType(StrEnum):
    """The kinds of event that the feed of a merchant tells of its endpoints (docs/decisions/0014)."""

    PAUSED = "endpoint_paused"
    RESUMED = "endpoint_resumed"


@dataclass(frozen=True, slots=True)
class EndpointEvent:
    """One thing that happened to one endpoint."""

    event_id: str
    account_id: str
    endpoint_id: str
    type: EndpointEventType
    actor: Actor
    at: int
    """Real time, as all times of deliveries are."""


@dataclass(frozen=True, slots=True)
class Patience:
    """The patience with an endpoint, after which it is paused: both, without a success in between."""

    milliseconds: int
    """For so long it has done nothing but fail."""
    tries: int
    """So many tries have failed."""


class DeliveryState(StrEnum):
    """The state of one event on its way to one endpoint."""

    PENDING = "PENDING"
    """To be tried, now or later, for the first time or again."""
    DELIVERED = "DELIVERED"
    DEAD = "DEAD"
    """The last try failed; only a person or the merchant makes it go out again."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """One event on its way to one endpoint."""

    account_id: str
    delivery_id: str
    """The ``hookRequestId`` of contract 5.6."""
    endpoint_id: str
    event_id: str
    """The ``requestId`` of the body: one event has one, whatever endpoint it goes to and however often."""
    order_id: str
    sequence: int
    """The event's number within its order."""
    type: str
    """Webhook event type (contract 5.1)."""
    state: DeliveryState
    tries: int
    next_try_at: int | None
    """Real time; None unless PENDING."""
    status: int | None
    """HTTP status of the last answer; None when none was heard."""
    response: str
    """The beginning of the last answer, or why there was none."""
    created_at: int
    updated_at: int


@dataclass(frozen=True, slots=True)
class Placed:
    """An event at its place in the feed of its merchant."""

    place: int
    """1, 2, 3 ... within the merchant, without gaps."""
    event: Event
    reference: str
    """The merchant's name for the order."""


@dataclass(frozen=True, slots=True)
class PlacedEndpointEvent:
    """An endpoint's event at its place between the events of orders."""

    place: int
    event: EndpointEvent


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A claimed delivery with all that a try needs."""

    delivery: Delivery
    endpoint: Endpoint
    body: bytes


@dataclass(frozen=True, slots=True)
class Tried:
    """The outcome of one try of a claimed delivery."""

    account_id: str
    delivery_id: str
    endpoint_id: str
    state: DeliveryState
    next_try_at: int | None
    status: int | None
    response: str
    at: int


@dataclass(frozen=True, slots=True)
class Told:
    """The words of one event for endpoints: its webhook type and its body, rendered once."""

    type: str
    body: bytes


FeedEntry: TypeAlias = Placed | PlacedEndpointEvent
RenderEvent: TypeAlias = Callable[[Event, OrderView], Told | None]
"""Pure. None for an event that is not told by webhook."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryFilter:
    """A merchant's deliveries that are wanted, newest first; None and empty mean any. UTC milliseconds."""

    account_id: str
    endpoint_id: str | None = None
    delivery_ids: tuple[str, ...] = ()
    event_ids: tuple[str, ...] = ()
    types: tuple[str, ...] = ()
    states: tuple[DeliveryState, ...] = ()
    created_from: int | None = None
    created_before: int | None = None
    """Itself not included."""
    limit: int = 50


@dataclass(frozen=True, slots=True)
class OutboxHealth:
    """The health of the outbox, over all merchants."""

    unplaced: int
    oldest_unplaced_at: int | None
    pending: int
    oldest_due_at: int | None
    """When the delivery that waits longest should have been tried."""
    dead: int
    paused_endpoints: int


class Outbox(Protocol):
    """The verbs of telling; every store has them beside those of ``Store``."""

    def hold_lease(self, name: str, holder: str, now: int, until: int) -> bool:
        """Take or keep the lease of this name until then, unless another holder's has not run out.

        Real time. One that has longer to run than LONGEST_LEASE_MILLISECONDS is void. For doing work in one
        process at a time; nothing goes wrong when two do it.
        """

    def place_events(self, render: RenderEvent, now: int, limit: int) -> int:
        """Give up to ``limit`` committed events their places and queue their deliveries; returns how many.

        Places of a merchant have no gaps and, within an order, follow its sequence. A delivery is queued
        for each endpoint that is enabled and subscribed at this moment.
        """

    def feed(self, account_id: str, after: int, types: Collection[str], limit: int) -> list[FeedEntry]:
        """Read the merchant's events behind place ``after``, in their places; of these types, if named."""

    def last_places(self, account_ids: Collection[str]) -> Mapping[str, int]:
        """Read the last place given out in each of these merchants' feeds; 0 where there is none."""

    def add_endpoint(self, endpoint: Endpoint, *, most: int | None = None) -> Endpoint | None:
        """Add an endpoint to its merchant; returns it, or the one of its id that is there already.

        None: the merchant has ``most`` endpoints. Whoever adds to a merchant meanwhile waits, so that there
        are never more, from however many processes.
        """

    def endpoints(self, account_id: str) -> list[Endpoint]:
        """List the merchant's endpoints, oldest first."""

    def change_endpoint(
        self,
        account_id: str,
        endpoint_id: str,
        change: Callable[[Endpoint], Endpoint],
        actor: Actor,
        now: int,
    ) -> Endpoint | None:
        """Make of an endpoint what ``change`` says; returns it, or None when there is none of this id.

        ``change`` is asked while nobody else can change the endpoint, and what it raises leaves it as it was.
        Where ``paused_at`` and ``failing_since`` come out as None its waiting deliveries are due at once
        again; if it was paused, the feed says in the same transaction that it was resumed.
        """

    def delete_endpoint(self, account_id: str, endpoint_id: str) -> bool:
        """Delete an endpoint and what waits for it; False when there is none of this id."""

    def claim_deliveries(
        self, now: int, lease_until: int, limit: int, room: Mapping[str, int], room_of_others: int
    ) -> list[Outgoing]:
        """Take up to ``limit`` due deliveries, longest due first, so that nobody else tries them until then.

        Of one endpoint at most ``room[endpoint id]``, or ``room_of_others`` where that names none. Left out
        are paused and disabled endpoints, and the first try of an event while an earlier event of the same
        order has not ended its own first try at the same endpoint. A claim whose lease ran out is due again,
        and one that has longer to run than LONGEST_CLAIM_MILLISECONDS.
        """

    def record_tries(self, tries: Sequence[Tried], patience: Patience) -> list[Endpoint]:
        """Write down what became of claimed deliveries; returns the endpoints that this paused.

        An endpoint is paused when patience with it has ended; the feed says so in the same transaction.
        """

    def deliveries(self, wanted: DeliveryFilter) -> list[Delivery]:
        """List the deliveries that match, newest first."""

    def delivery_body(self, account_id: str, delivery_id: str) -> bytes | None:
        """Read the body of one delivery, as it goes out."""

    def push_again(self, account_id: str, delivery_ids: Collection[str], now: int) -> int:
        """Make deliveries due now, with all their tries before them; returns how many.

        Whatever their state, as long as their endpoint exists.
        """

    def outbox_health(self) -> OutboxHealth:
        """Count what waits, what is dead and what is paused."""

    def paused_endpoints(self) -> int:
        """Count the paused endpoints of all merchants; costs next to nothing."""
