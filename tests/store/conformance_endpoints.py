"""The law of a store, last part: endpoints that are paused, resumed and changed. See ``conformance``."""

import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import ExitStack, closing, suppress
from dataclasses import replace
from functools import partial
from itertools import islice
from threading import Barrier

from opentill.domain.commands import Actor, ActorKind
from opentill.store.accounts.contract import Merchant
from opentill.store.interface import OpenStore, Store
from opentill.store.outbox.contract import (
    DeliveryState,
    Endpoint,
    EndpointEventType,
    Patience,
    Placed,
    PlacedEndpointEvent,
)
from store.conformance import law, law_of_opening
from store.conformance_outbox import (
    E1,
    E2,
    HOUR,
    LATER,
    LAW,
    MERCHANT,
    PATIENCE,
    add_cancelled,
    all_of,
    change,
    claim,
    failed,
    place,
    queue,
    tried,
)
from store_factories import ACCOUNT, OTHER

__all__ = ["LAW"]

AT_ONCE = Patience(milliseconds=0, tries=1)


def failures(store: Store, *at: int) -> list[Endpoint]:
    """Let one delivery after the other fail, at these times; returns the endpoints that the last paused."""
    paused: list[Endpoint] = []
    for moment in at:
        outgoing, *_ = claim(store, now=moment, limit=1)
        paused = store.outbox.record_tries([failed(outgoing.delivery, at=moment, again_in=1)], PATIENCE)
    return paused


@law
def an_endpoint_that_only_fails_is_paused(store: Store) -> None:
    """Once it has for so long and so often, counted from its first failure; it is told of once."""
    queue(store, "a", "b")
    assert failures(store, LATER, LATER + HOUR - 1) == []
    assert store.outbox.endpoints(ACCOUNT) == [replace(E1, failing_since=LATER, failed_tries=2)]
    paused = replace(E1, failing_since=LATER, failed_tries=3, paused_at=LATER + HOUR)
    (third, *_) = claim(store, now=LATER + HOUR)
    assert store.outbox.record_tries([failed(third.delivery, at=LATER + HOUR)], PATIENCE) == [paused]
    assert store.outbox.endpoints(ACCOUNT) == [paused]
    assert store.outbox.record_tries([failed(third.delivery, at=LATER + HOUR + 1)], PATIENCE) == []
    assert store.outbox.endpoints(ACCOUNT) == [paused]
    assert claim(store, now=LATER + 2 * HOUR) == []
    add_cancelled(store, "c")
    place(store)
    assert len(all_of(store)) == 3


@law
def an_endpoint_is_not_paused_for_time_or_failures_alone(store: Store) -> None:
    """Neither two failures a day apart, nor a thousand within the hour; the two together."""
    queue(store, "a")
    assert failures(store, LATER, LATER + 24 * HOUR) == []
    change(store, E1)
    many = [LATER + 48 * HOUR + number * 1_000 for number in range(20)]
    assert failures(store, *many) == []
    assert len(failures(store, many[0] + HOUR)) == 1


@law
def failures_that_come_together_all_count(store: Store) -> None:
    """Three results in one record are three tries."""
    queue(store, "a", "b", "c")
    found = [outgoing.delivery for outgoing in claim(store)]
    results = [failed(d, at=LATER + number * HOUR // 2) for number, d in enumerate(found)]
    (paused,) = store.outbox.record_tries(results, PATIENCE)
    assert (paused.failing_since, paused.failed_tries, paused.paused_at) == (LATER, 3, LATER + HOUR)


@law
def a_success_ends_the_failing(store: Store) -> None:
    """Only failures after the last success count, also among the results that come together."""
    queue(store, "a", "b", "c")
    one, two, three = (o.delivery for o in claim(store))
    store.outbox.record_tries([failed(one, at=LATER)], PATIENCE)
    results = [failed(three, at=LATER + HOUR), tried(two, DeliveryState.DELIVERED, at=LATER + HOUR - 1)]
    assert store.outbox.record_tries(results, PATIENCE) == []
    assert store.outbox.endpoints(ACCOUNT) == [replace(E1, failing_since=LATER + HOUR, failed_tries=1)]
    (retry,) = claim(store, now=LATER + HOUR)
    store.outbox.record_tries([tried(retry.delivery, DeliveryState.DELIVERED, at=LATER + HOUR + 1)], PATIENCE)
    assert store.outbox.endpoints(ACCOUNT) == [E1]


@law
def a_resumed_endpoint_gets_what_waited_at_once(store: Store) -> None:
    """Deliveries that were to be tried much later are due when it is neither paused nor failing any more."""
    queue(store, "a")
    (outgoing,) = claim(store)
    (paused,) = store.outbox.record_tries([failed(outgoing.delivery, again_in=HOUR)], AT_ONCE)
    assert paused.paused_at == LATER + 5
    assert change(store, replace(paused, url="https://shop.example/new"))
    assert claim(store, now=LATER + 10) == []
    assert change(store, E1)
    assert len(claim(store, now=LATER + 10)) == 1


@law
def the_feed_tells_of_paused_and_resumed_endpoints(store: Store) -> None:
    """At the next places of their own merchant's feed, between the events of orders, once each."""
    queue(store, "a", endpoints=(E1, E2))
    queue(store, "foreign", endpoints=())
    both = [outgoing.delivery for outgoing in claim(store)]
    assert len(store.outbox.record_tries([failed(d) for d in both], AT_ONCE)) == 2
    add_cancelled(store, "b")
    place(store)
    change(store, E1)
    change(store, replace(E1, url="https://shop.example/new"))
    whole = store.outbox.feed(ACCOUNT, 0, (), 100)
    assert [each.place for each in whole] == list(range(1, len(whole) + 1))
    assert store.outbox.last_places([ACCOUNT]) == {ACCOUNT: len(whole)}
    told = [each for each in whole if isinstance(each, PlacedEndpointEvent)]
    assert {t.event.endpoint_id for t in told[:2]} == {"endpoint-1", "endpoint-2"}
    paused, resumed = EndpointEventType.PAUSED, EndpointEventType.RESUMED
    assert [(t.event.type, t.event.actor, t.event.at) for t in told] == [
        *[(paused, Actor(ActorKind.WORKER), LATER + 5)] * 2,
        (resumed, MERCHANT, LATER + 9),
    ]
    assert isinstance(whole[-2], Placed)
    assert [
        each for each in store.outbox.feed(OTHER, 0, (), 100) if isinstance(each, PlacedEndpointEvent)
    ] == []
    ids = [each.event.event_id for each in whole]
    assert len(set(ids)) == len(ids)


@law
def the_feed_with_endpoints_goes_on_behind_a_place_and_by_type(store: Store) -> None:
    """In pages of any size it is the same as at once, and so is what is asked of some types."""
    queue(store, "a")
    for number in range(3):
        (outgoing, *_) = claim(store, now=LATER + 10 * number)
        store.outbox.record_tries([failed(outgoing.delivery, at=LATER + 10 * number)], AT_ONCE)
        change(store, E1)
        add_cancelled(store, f"more {number}")
        place(store)
    whole = store.outbox.feed(ACCOUNT, 0, (), 100)
    for types in ((), ("endpoint_paused",), ("endpoint_resumed", "order_cancelled"), ("order_created",)):
        wanted = [each for each in whole if not types or each.event.type in types]
        assert len(wanted) >= 3
        for limit in (1, 2, 3, 100):
            after, paged = 0, []
            while page := store.outbox.feed(ACCOUNT, after, types, limit):
                assert len(page) <= limit
                paged += page
                after = page[-1].place
            assert paged == wanted


@law
def a_change_that_is_refused_changes_nothing(store: Store) -> None:
    """What ``change`` raises comes through, and the endpoint stays as it was."""

    def refuse(_endpoint: Endpoint) -> Endpoint:
        raise PermissionError

    store.outbox.add_endpoint(E1)
    with suppress(PermissionError):
        store.outbox.change_endpoint(ACCOUNT, E1.endpoint_id, refuse, MERCHANT, LATER)
        raise AssertionError("it was not raised")
    assert store.outbox.endpoints(ACCOUNT) == [E1]


@law_of_opening
def two_changes_at_once_both_count(open_store: OpenStore) -> None:
    """A change that comes while another one is being made sees what that one made of the endpoint."""
    with closing(open_store()) as first, closing(open_store()) as second, ThreadPoolExecutor(1) as other:
        first.outbox.add_endpoint(E1)
        later: list[Future[Endpoint | None]] = []

        def disable(endpoint: Endpoint) -> Endpoint:
            move = partial(replace, url="https://moved.example/")
            ids = ACCOUNT, E1.endpoint_id
            later.append(other.submit(second.outbox.change_endpoint, *ids, move, MERCHANT, LATER))
            assert wait(later, timeout=0.05).done == set()
            return replace(endpoint, enabled=False)

        first.outbox.change_endpoint(ACCOUNT, E1.endpoint_id, disable, MERCHANT, LATER)
        assert later[0].result(10) == replace(E1, enabled=False, url="https://moved.example/")
        assert first.outbox.endpoints(ACCOUNT) == [later[0].result()]


def _counts(open_store: OpenStore, add: Callable[[Store, Endpoint], object]) -> Iterator[int]:
    """Let four processes add two endpoints each at one moment; yields how many there are, round by round."""
    with ExitStack() as opened, ThreadPoolExecutor(4) as threads:
        stores = [opened.enter_context(closing(open_store())) for _ in range(4)]
        for turn in range(40):
            account = str(uuid.UUID(int=turn))
            merchant = Merchant(account, "Shop", "", "", None, None, LATER, b"sealed")
            stores[0].accounts.add_merchant(merchant, default=False)
            together = Barrier(len(stores))

            def work(number: int, account: str = account, together: Barrier = together) -> None:
                together.wait(20)
                for each in range(2):
                    new = replace(E1, account_id=account, endpoint_id=f"{number}-{each}")
                    add(stores[number], new)

            list(threads.map(work, range(len(stores))))
            yield len(stores[0].outbox.endpoints(account))


@law_of_opening
def a_merchant_has_so_many_endpoints_at_the_most(open_store: OpenStore) -> None:
    """However many processes add at one moment, the limit stands."""

    def add(store: Store, new: Endpoint) -> None:
        store.outbox.add_endpoint(new, most=3)

    assert set(islice(_counts(open_store, add), 8)) == {3}


@law_of_opening
def who_looks_before_adding_breaks_the_limit(open_store: OpenStore) -> None:
    """The negative control of the law before: counted in another transaction the limit does not stand."""

    def add(store: Store, new: Endpoint) -> None:
        if len(store.outbox.endpoints(new.account_id)) < 3:
            store.outbox.add_endpoint(new)

    assert any(count > 3 for count in _counts(open_store, add))


@law
def an_endpoint_is_added_once(store: Store) -> None:
    """Added again under its id it is the one that stands, also where there is no room for another one."""
    assert store.outbox.add_endpoint(E1, most=1) == E1
    assert store.outbox.add_endpoint(replace(E1, url="https://other.example/"), most=1) == E1
    assert store.outbox.add_endpoint(E2, most=1) is None
    assert store.outbox.add_endpoint(replace(E2, account_id=OTHER), most=1) is not None
    assert store.outbox.endpoints(ACCOUNT) == [E1]
