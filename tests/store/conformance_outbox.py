"""The law of a store, third part: the feed, webhook endpoints and deliveries. See ``conformance``."""

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import replace

from opentill.domain.commands import Actor, ActorKind, ExpireOrder
from opentill.domain.decisions import create, decide
from opentill.domain.events import TOLD_TO_MERCHANTS, Event, EventType
from opentill.domain.order import Order
from opentill.store.interface import OpenStore, Store
from opentill.store.orders.contract import OrderView
from opentill.store.outbox.contract import (
    LONGEST_CLAIM_MILLISECONDS,
    LONGEST_LEASE_MILLISECONDS,
    Delivery,
    DeliveryFilter,
    DeliveryState,
    Endpoint,
    OutboxHealth,
    Outgoing,
    Patience,
    Placed,
    Told,
    Tried,
)
from store.conformance import law, law_of_opening
from store.conformance_accounts import LAW
from store_factories import ACCOUNT, ACTOR, IDS, NOW, OTHER, add_orders, cancel, cancelled, new_order, write

__all__ = ["LAW"]

LATER = NOW + 60_000
LEASE = 30_000
HOUR = 3_600_000
PATIENCE = Patience(milliseconds=HOUR, tries=3)
MERCHANT = Actor(ActorKind.API_KEY, "client-1")
E1 = Endpoint(
    account_id=ACCOUNT,
    endpoint_id="endpoint-1",
    url="https://shop.example/hook",
    events=("order_cancelled", "order_expired"),
    enabled=True,
    key_sealed=b"\x00key",
    next_key_sealed=None,
    paused_at=None,
    failing_since=None,
    created_at=NOW,
)
E2 = replace(E1, endpoint_id="endpoint-2", url="https://shop.example/other", created_at=NOW + 1)


def said(event: Event, view: OrderView) -> Told | None:
    """A body from which a test sees which event and which order were rendered."""
    return Told(event.type.value, f'{{"said":"{event.event_id} of {view.order.reference} ₦"}}'.encode())


def place(store: Store, now: int = LATER) -> int:
    """Place all events there are, in several rounds."""
    placed = 0
    while some := store.outbox.place_events(said, now, 3):
        placed += some
    return placed


def add_cancelled(store: Store, *references: str, account_id: str = ACCOUNT) -> list[Order]:
    """Orders that were created and cancelled."""
    changes = [cancelled(order) for order in add_orders(store, *references, account_id=account_id)]
    write(store, changes)
    return [change.after for change in changes]


def add_expired_and_cancelled(store: Store, reference: str) -> Order:
    """An order with two events of which merchants are told."""
    made = create(new_order(reference, due_at=NOW + 1), NOW)
    expire = ExpireOrder(account_id=ACCOUNT, command_id=IDS.uuid(), actor=ACTOR, name=reference)
    expired = decide(made.after, expire, NOW + 1)
    ended = decide(expired.after, cancel(reference), NOW + 2)
    for change in (made, expired, ended):
        write(store, [change])
    return ended.after


def queue(store: Store, *references: str, endpoints: Sequence[Endpoint] = (E1,)) -> None:
    """One delivery due at ``LATER`` to each endpoint for each of these references."""
    for endpoint in endpoints:
        store.outbox.add_endpoint(endpoint)
    add_cancelled(store, *references)
    place(store)


def claim(
    store: Store, now: int = LATER, limit: int = 100, room: Mapping[str, int] | None = None, others: int = 100
) -> list[Outgoing]:
    return store.outbox.claim_deliveries(now, now + LEASE, limit, room or {}, others)


def feed(store: Store, account_id: str = ACCOUNT, after: int = 0, limit: int = 100) -> list[Placed]:
    """The feed of a merchant whose endpoints nothing has happened to."""
    found = store.outbox.feed(account_id, after, (), limit)
    placed = [each for each in found if isinstance(each, Placed)]
    assert len(placed) == len(found)
    return placed


def change(store: Store, endpoint: Endpoint) -> Endpoint | None:
    """Make the endpoint of this id like this."""
    ids = endpoint.account_id, endpoint.endpoint_id
    return store.outbox.change_endpoint(*ids, lambda _: endpoint, MERCHANT, LATER + 9)


def tried(
    delivery: Delivery, state: DeliveryState, next_try_at: int | None = None, at: int = LATER + 5
) -> Tried:
    d = delivery
    status = 200 if state is DeliveryState.DELIVERED else 500
    return Tried(
        d.account_id, d.delivery_id, d.endpoint_id, state, next_try_at, status, "said \0 the other", at
    )


def failed(delivery: Delivery, at: int = LATER + 5, again_in: int = 1_000) -> Tried:
    return tried(delivery, DeliveryState.PENDING, at + again_in, at)


def all_of(store: Store) -> list[Delivery]:
    return store.outbox.deliveries(DeliveryFilter(account_id=ACCOUNT))


def only(store: Store) -> Delivery:
    (delivery,) = all_of(store)
    return delivery


# --- the feed -------------------------------------------------------------------------------------


@law
def places_count_up_without_gaps_for_each_merchant(store: Store) -> None:
    """Each merchant's events have the places 1, 2, 3 ..., within an order in its sequence."""
    add_cancelled(store, "a", "b", "c")
    add_cancelled(store, "foreign", account_id=OTHER)
    assert store.outbox.last_places([ACCOUNT, OTHER]) == {ACCOUNT: 0, OTHER: 0}
    assert place(store) == 8
    assert place(store) == 0
    assert store.outbox.last_places([ACCOUNT, OTHER]) == {ACCOUNT: 6, OTHER: 2}
    for account_id, last in ((ACCOUNT, 6), (OTHER, 2)):
        placed = feed(store, account_id)
        assert [p.place for p in placed] == list(range(1, last + 1))
        assert {p.event.account_id for p in placed} == {account_id}
        seen: dict[str, list[int]] = {}
        for p in placed:
            seen.setdefault(p.reference, []).append(p.event.sequence)
        assert set(map(tuple, seen.values())) == {(1, 2)}


@law
def the_feed_goes_on_behind_a_place(store: Store) -> None:
    """Read in pages it is the same as read at once, and events come back as they were written."""
    add_cancelled(store, "a", "b", "c")
    place(store)
    whole = feed(store)
    after, paged = 0, []
    while page := feed(store, after=after, limit=4):
        paged += page
        after = page[-1].place
    assert paged == whole
    with store.snapshot() as snapshot:
        written = [e for p in whole for e in snapshot.events(ACCOUNT, p.event.order_id)]
    assert {p.event for p in whole} == set(written)


@law
def the_feed_can_be_asked_for_types(store: Store) -> None:
    """Only events of the types that are named, each still at its own place."""
    add_cancelled(store, "a", "b")
    place(store)
    only_cancels = store.outbox.feed(ACCOUNT, 0, ["order_cancelled"], 100)
    assert only_cancels == [p for p in feed(store) if p.event.type is EventType.ORDER_CANCELLED]
    assert len(only_cancels) == 2
    assert store.outbox.feed(ACCOUNT, 0, ["payment_success"], 100) == []


@law
def an_event_that_is_not_placed_is_not_in_the_feed(store: Store) -> None:
    """What was committed after the last placing is seen only once it has its place, behind the others."""
    add_cancelled(store, "a")
    place(store)
    before = feed(store)
    add_cancelled(store, "b")
    assert feed(store) == before
    place(store)
    assert feed(store)[: len(before)] == before


@law_of_opening
def two_sequencers_do_no_harm(open_store: OpenStore) -> None:
    """Two processes that place in turn give each event one place and queue each delivery once."""
    with closing(open_store()) as first, closing(open_store()) as second:
        first.outbox.add_endpoint(E1)
        add_cancelled(first, "a", "b", "c", "d")
        sequencers = [first, second] * 8
        assert sum(store.outbox.place_events(said, LATER, 1) for store in sequencers) == 8
        assert [p.place for p in feed(first)] == list(range(1, 9))
        assert len(all_of(first)) == 4


@law
def a_lease_has_one_holder(store: Store) -> None:
    """It is kept by its holder, refused to others until it has run out, and is nothing to other leases."""
    assert store.outbox.hold_lease("sequencer", "one", NOW, NOW + 5)
    assert not store.outbox.hold_lease("sequencer", "two", NOW + 4, NOW + 9)
    assert store.outbox.hold_lease("other", "two", NOW, NOW + 5)
    assert store.outbox.hold_lease("sequencer", "one", NOW + 4, NOW + 9)
    assert not store.outbox.hold_lease("sequencer", "two", NOW + 8, NOW + 13)
    assert store.outbox.hold_lease("sequencer", "two", NOW + 9, NOW + 14)
    assert not store.outbox.hold_lease("sequencer", "one", NOW + 10, NOW + 15)


@law
def a_lease_further_away_than_any_is_void(store: Store) -> None:
    """Whoever took it had another time: it is free, for nobody would hear of it before that time comes."""
    assert store.outbox.hold_lease("sequencer", "one", NOW, NOW + LONGEST_LEASE_MILLISECONDS)
    assert not store.outbox.hold_lease("sequencer", "two", NOW, NOW + 5)
    assert store.outbox.hold_lease("sequencer", "two", NOW - 1, NOW + 5)


# --- endpoints ------------------------------------------------------------------------------------


@law
def endpoints_come_back_as_they_were_written(store: Store) -> None:
    """In every field, oldest first, and only to their own merchant; so do changes."""
    other = replace(
        E2, next_key_sealed=b"next", enabled=False, paused_at=NOW, failing_since=NOW - 1, failed_tries=7
    )
    store.outbox.add_endpoint(other)
    store.outbox.add_endpoint(E1)
    assert store.outbox.endpoints(ACCOUNT) == [E1, other]
    assert store.outbox.endpoints(OTHER) == []
    changed = replace(E1, url="https://new.example/", events=("payment_success",), key_sealed=b"another")
    assert change(store, changed) == changed
    assert change(store, replace(changed, account_id=OTHER)) is None
    assert change(store, replace(changed, endpoint_id="unknown")) is None
    assert store.outbox.endpoints(ACCOUNT) == [changed, other]


@law
def deliveries_go_to_endpoints_that_listen_at_that_moment(store: Store) -> None:
    """Enabled and subscribed ones of this merchant, paused or not; a later endpoint hears of later events."""
    store.outbox.add_endpoint(E1)
    store.outbox.add_endpoint(replace(E2, paused_at=NOW))
    store.outbox.add_endpoint(replace(E1, endpoint_id="disabled", enabled=False))
    store.outbox.add_endpoint(replace(E1, endpoint_id="not subscribed", events=("payment_success",)))
    store.outbox.add_endpoint(replace(E1, endpoint_id="foreign", account_id=OTHER))
    (order,) = add_cancelled(store, "a")
    place(store)
    store.outbox.add_endpoint(replace(E1, endpoint_id="too late"))
    with store.snapshot() as snapshot:
        _, event = snapshot.events(ACCOUNT, order.order_id)
    assert {d.endpoint_id for d in all_of(store)} == {"endpoint-1", "endpoint-2"}
    for d in all_of(store):
        assert (d.event_id, d.order_id, d.sequence) == (event.event_id, order.order_id, 2)
        assert (d.type, d.state, d.tries) == ("order_cancelled", DeliveryState.PENDING, 0)
        assert (d.next_try_at, d.created_at, d.updated_at) == (LATER, LATER, LATER)
        assert (d.status, d.response) == (None, "")
        body = store.outbox.delivery_body(ACCOUNT, d.delivery_id)
        assert body == f'{{"said":"{event.event_id} of a ₦"}}'.encode()
        assert store.outbox.delivery_body(OTHER, d.delivery_id) is None


@law
def only_what_is_told_is_rendered(store: Store) -> None:
    """An event of an inner type is not rendered, and one that renders to nothing is placed and not queued."""
    store.outbox.add_endpoint(E1)
    add_cancelled(store, "a")
    rendered: list[Event] = []

    def silent(event: Event, view: OrderView) -> Told | None:
        rendered.append(event)
        return None

    assert store.outbox.place_events(silent, LATER, 100) == 2
    assert [event.type for event in rendered] == [EventType.ORDER_CANCELLED]
    assert {event.type for event in rendered} <= TOLD_TO_MERCHANTS
    assert all_of(store) == []


@law
def a_deleted_endpoint_takes_along_what_waits(store: Store) -> None:
    """What was delivered stays to be seen, but never goes out again; other endpoints keep theirs."""
    queue(store, "a", "b", endpoints=(E1, E2))
    (done,) = claim(store, room={"endpoint-2": 0}, others=1)
    store.outbox.record_tries([tried(done.delivery, DeliveryState.DELIVERED)], PATIENCE)
    assert not store.outbox.delete_endpoint(OTHER, "endpoint-1")
    assert store.outbox.delete_endpoint(ACCOUNT, "endpoint-1")
    assert not store.outbox.delete_endpoint(ACCOUNT, "endpoint-1")
    assert store.outbox.endpoints(ACCOUNT) == [E2]
    left = {(d.endpoint_id, d.state) for d in all_of(store)}
    assert left == {("endpoint-1", DeliveryState.DELIVERED), ("endpoint-2", DeliveryState.PENDING)}
    assert store.outbox.push_again(ACCOUNT, [done.delivery.delivery_id], LATER) == 0


# --- claims ---------------------------------------------------------------------------------------


@law
def a_clock_that_was_ahead_delays_no_try_once_it_is_set(store: Store) -> None:
    """A delivery that is due in a second stays so when a person has said that it is an hour earlier."""
    queue(store, "a")
    store.accounts.note_time(LATER - 1000)
    earlier = LATER - 3_600_000
    store.accounts.confirm_time(earlier - 1000)
    assert claim(store, earlier - 1) == []
    assert len(claim(store, earlier)) == 1


@law
def a_claim_further_away_than_any_is_void(store: Store) -> None:
    """A delivery that a sender with another time has claimed is tried; one that is claimed truly is not."""
    queue(store, "a")
    far = LATER + LONGEST_CLAIM_MILLISECONDS
    assert len(store.outbox.claim_deliveries(LATER, far, 100, {}, 100)) == 1
    assert claim(store) == []
    assert len(store.outbox.claim_deliveries(LATER + 1, far + 2, 100, {}, 100)) == 0
    store.outbox.push_again(ACCOUNT, [d.delivery_id for d in all_of(store)], LATER)
    assert len(store.outbox.claim_deliveries(LATER, far + 1, 100, {}, 100)) == 1
    assert len(claim(store)) == 1


@law
def a_claim_has_all_that_a_try_needs(store: Store) -> None:
    """The delivery, its endpoint and its body."""
    queue(store, "a")
    (outgoing,) = claim(store)
    assert outgoing.delivery == only(store)
    assert outgoing.endpoint == E1
    assert outgoing.body == store.outbox.delivery_body(ACCOUNT, outgoing.delivery.delivery_id)


@law_of_opening
def a_claimed_delivery_is_nobody_elses_until_its_lease_ends(open_store: OpenStore) -> None:
    """Neither this process nor another one gets it again before; then it is due again."""
    with closing(open_store()) as first, closing(open_store()) as second:
        queue(first, "a", "b")
        (one,) = claim(first, limit=1)
        (two,) = claim(second)
        assert one.delivery.delivery_id != two.delivery.delivery_id
        assert claim(first, now=LATER + LEASE - 1) == []
        assert claim(second, now=LATER + LEASE - 1) == []
        again = claim(second, now=LATER + LEASE)
        assert {o.delivery.delivery_id for o in again} == {one.delivery.delivery_id, two.delivery.delivery_id}


@law
def what_is_not_due_is_not_claimed(store: Store) -> None:
    """Neither before the time of the next try, nor at an endpoint that is paused or disabled."""
    queue(store, "a")
    assert claim(store, now=LATER - 1) == []
    change(store, replace(E1, enabled=False))
    assert claim(store) == []
    change(store, replace(E1, paused_at=LATER))
    assert claim(store) == []
    change(store, E1)
    assert len(claim(store)) == 1


@law
def the_longest_due_go_first(store: Store) -> None:
    """Within the limit, over all endpoints."""
    queue(store, "a", "b", endpoints=(E1, E2))
    add_cancelled(store, "c")
    place(store, now=LATER - 10)
    first = claim(store, limit=3)
    assert [o.delivery.next_try_at for o in first] == [LATER - 10, LATER - 10, LATER]
    assert len({o.delivery.order_id for o in first[:2]}) == 1


@law
def an_endpoint_gets_no_more_than_its_room(store: Store) -> None:
    """Its own where it is named, else that of the others; none at all where that is zero."""
    queue(store, "a", "b", "c", "d", endpoints=(E1, E2, replace(E2, endpoint_id="endpoint-3")))
    taken = [o.delivery.endpoint_id for o in claim(store, room={"endpoint-1": 3, "endpoint-2": 0}, others=2)]
    assert sorted(taken) == ["endpoint-1"] * 3 + ["endpoint-3"] * 2


@law
def a_dead_endpoint_does_not_hide_another(store: Store) -> None:
    """However much is longer due at an endpoint that has no room left, another one's is claimed."""
    queue(store, *(f"r{i}" for i in range(20)))
    store.outbox.add_endpoint(E2)
    add_cancelled(store, "new")
    place(store, now=LATER + 1)
    assert len(claim(store, limit=5, others=5)) == 5
    (outgoing,) = claim(store, now=LATER + 1, limit=5, room={"endpoint-1": 0}, others=5)
    assert outgoing.endpoint == E2


@law
def a_first_try_waits_for_those_before_it(store: Store) -> None:
    """Of one order and endpoint, the next event goes when the earlier one's first try has ended, however."""
    store.outbox.add_endpoint(E1)
    store.outbox.add_endpoint(E2)
    add_expired_and_cancelled(store, "a")
    place(store)
    expired = claim(store)
    assert [o.delivery.type for o in expired] == ["order_expired"] * 2
    assert claim(store) == []
    store.outbox.record_tries([failed(expired[0].delivery)], PATIENCE)
    (cancelled_,) = claim(store)
    assert cancelled_.delivery.type == "order_cancelled"
    assert cancelled_.delivery.endpoint_id == expired[0].delivery.endpoint_id
    (retry,) = claim(store, now=LATER + 2_000)
    assert retry.delivery.delivery_id == expired[0].delivery.delivery_id


@law
def a_dead_first_delivery_lets_the_next_one_go(store: Store) -> None:
    """Waiting ends with the first try, also when that was the last."""
    store.outbox.add_endpoint(E1)
    add_expired_and_cancelled(store, "a")
    place(store)
    (expired,) = claim(store)
    store.outbox.record_tries([tried(expired.delivery, DeliveryState.DEAD)], PATIENCE)
    assert [o.delivery.type for o in claim(store)] == ["order_cancelled"]


# --- what became of tries -------------------------------------------------------------------------


@law
def a_result_is_written_down(store: Store) -> None:
    """State, next try, answer and time are those of the try; tries are counted; NUL is left out."""
    queue(store, "a")
    (outgoing,) = claim(store)
    assert store.outbox.record_tries([failed(outgoing.delivery)], PATIENCE) == []
    d = only(store)
    assert (d.state, d.tries, d.next_try_at) == (DeliveryState.PENDING, 1, LATER + 1_005)
    assert (d.status, d.response, d.updated_at) == (500, "said  the other", LATER + 5)
    assert claim(store, now=LATER + 1_004) == []
    (outgoing,) = claim(store, now=LATER + 1_005)
    store.outbox.record_tries([tried(outgoing.delivery, DeliveryState.DELIVERED, at=LATER + 1_010)], PATIENCE)
    d = only(store)
    assert (d.state, d.tries, d.next_try_at) == (DeliveryState.DELIVERED, 2, None)
    assert (d.status, d.updated_at, d.created_at) == (200, LATER + 1_010, LATER)
    assert claim(store, now=LATER + HOUR) == []


@law
def a_result_that_comes_late_does_no_harm(store: Store) -> None:
    """After somebody pushed the delivery again, or another claim has answered for it, it changes nothing."""
    queue(store, "a")
    (outgoing,) = claim(store)
    assert store.outbox.push_again(ACCOUNT, [outgoing.delivery.delivery_id], LATER + 1) == 1
    store.outbox.record_tries([tried(outgoing.delivery, DeliveryState.DEAD)], PATIENCE)
    assert (only(store).state, only(store).tries) == (DeliveryState.PENDING, 0)
    (again,) = claim(store, now=LATER + 1)
    store.outbox.record_tries([tried(again.delivery, DeliveryState.DELIVERED)], PATIENCE)
    store.outbox.record_tries([failed(again.delivery)], PATIENCE)
    assert (only(store).state, only(store).tries) == (DeliveryState.DELIVERED, 1)


@law
def what_has_ended_can_be_pushed_again(store: Store) -> None:
    """Delivered or dead, it is due at once with its tries before it; unknown and foreign ids do not count."""
    queue(store, "a", "b")
    first, second = claim(store)
    store.outbox.record_tries(
        [tried(first.delivery, DeliveryState.DELIVERED), tried(second.delivery, DeliveryState.DEAD)], PATIENCE
    )
    ids = [first.delivery.delivery_id, second.delivery.delivery_id]
    assert store.outbox.push_again(OTHER, ids, LATER + 9) == 0
    assert store.outbox.push_again(ACCOUNT, [*ids, "unknown"], LATER + 9) == 2
    assert {o.delivery.delivery_id for o in claim(store, now=LATER + 9)} == set(ids)
    assert {(d.tries, d.next_try_at) for d in all_of(store)} == {(0, LATER + 9)}


# --- looking --------------------------------------------------------------------------------------


@law
def deliveries_are_listed_newest_first_and_by_what_is_asked(store: Store) -> None:
    """Each condition leaves out what does not match; together they are all to hold."""
    queue(store, "a", "b", endpoints=(E1, E2))
    add_expired_and_cancelled(store, "c")
    place(store, now=LATER + 10)
    done = claim(store, limit=1)[0].delivery
    store.outbox.record_tries([tried(done, DeliveryState.DELIVERED)], PATIENCE)
    every = all_of(store)
    assert [d.created_at for d in every] == [LATER + 10] * 4 + [LATER] * 4
    everything = DeliveryFilter(account_id=ACCOUNT)
    for changes, wanted in (
        ({"endpoint_id": "endpoint-2"}, [d for d in every if d.endpoint_id == "endpoint-2"]),
        ({"delivery_ids": (done.delivery_id, "x")}, [d for d in every if d.delivery_id == done.delivery_id]),
        ({"event_ids": (done.event_id,)}, [d for d in every if d.event_id == done.event_id]),
        ({"types": ("order_expired",)}, [d for d in every if d.type == "order_expired"]),
        ({"states": (DeliveryState.DELIVERED,)}, [d for d in every if d.state is DeliveryState.DELIVERED]),
        ({"created_from": LATER + 10}, every[:4]),
        ({"created_before": LATER + 10}, every[4:]),
        ({"limit": 3}, every[:3]),
        ({"created_from": LATER + 10, "types": ("payment_success",)}, []),
    ):
        assert store.outbox.deliveries(replace(everything, **changes)) == wanted
    assert store.outbox.deliveries(replace(everything, account_id=OTHER)) == []


@law
def health_tells_what_waits(store: Store) -> None:
    """Events without a place, deliveries that are pending, due or dead, and paused endpoints."""
    assert store.outbox.outbox_health() == OutboxHealth(0, None, 0, None, 0, 0)
    store.outbox.add_endpoint(E1)
    store.outbox.add_endpoint(replace(E2, paused_at=NOW))
    add_cancelled(store, "a", "b")
    assert store.outbox.outbox_health() == OutboxHealth(4, NOW, 0, None, 0, 1)
    assert store.outbox.paused_endpoints() == 1
    place(store)
    assert store.outbox.outbox_health() == OutboxHealth(0, None, 4, LATER, 0, 1)
    first, second = claim(store)
    store.outbox.record_tries([tried(first.delivery, DeliveryState.DEAD), failed(second.delivery)], PATIENCE)
    assert store.outbox.outbox_health() == OutboxHealth(0, None, 3, LATER + 1_005, 1, 1)
