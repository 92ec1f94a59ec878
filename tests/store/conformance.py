"""The law of a store as plain functions. Each takes how to open a store of one kind, installed.

``LAW`` lists them all; each kind of store runs every one of them (see the test modules beside this).
The first opening makes a fresh store; a later one opens the same store again.
"""

from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from functools import wraps
from typing import Any, Final

import pytest
from msgspec import structs

from opentill.domain.commands import (
    BeginAttempt,
    BeginRefund,
    CancelOrder,
    RailOutcome,
    RefundOutcome,
    SettleAttempt,
    SettleRefund,
)
from opentill.domain.decisions import create, decide
from opentill.domain.events import EventType
from opentill.domain.ledger import CARD_RAIL, REFUNDS_DUE, merchant_balance
from opentill.domain.order import (
    AttemptStatus,
    DueAction,
    LateMoney,
    Order,
    OrderStatus,
    Split,
    SplitKind,
    Terms,
)
from opentill.domain.transition import Change
from opentill.store.errors import StoreError, Transient
from opentill.store.interface import OpenStore, Store
from opentill.store.orders.contract import (
    Balance,
    CommitMarker,
    Facts,
    KeyClaim,
    OrderFilter,
    TransactionFilter,
    Versions,
)
from store_factories import (
    ACCOUNT,
    ACTOR,
    IDS,
    NOW,
    OTHER,
    TOKEN,
    add_orders,
    add_token,
    cancelled,
    new_order,
    read,
    write,
)

LAW: Final[list[Callable[[OpenStore], None]]] = []
DAY = 86_400_000


def law(function: Callable[[Store], None]) -> None:
    """A law about one open store."""

    @wraps(function)
    def opened(open_store: OpenStore) -> None:
        with closing(open_store()) as store:
            function(store)

    LAW.append(opened)


def law_of_opening(function: Callable[[OpenStore], None]) -> None:
    """A law about opening a store, maybe more than once."""
    LAW.append(function)


def claim(key: str, fingerprint: str = "f", account_id: str = ACCOUNT) -> KeyClaim:
    return KeyClaim(account_id, key, fingerprint, IDS.uuid())


# --- opening --------------------------------------------------------------------------------------


@law_of_opening
def what_was_committed_outlives_its_process(open_store: OpenStore) -> None:
    """A store that is closed and opened again has every committed order, key and token, and its clock."""
    with closing(open_store()) as store:
        (order,) = add_orders(store, "r1")
        add_token(store)
        store.accounts.advance_clock(60_000)
        with store.batch() as batch:
            batch.claim_keys([claim("k")], NOW, NOW + DAY)
            batch.commit()
    with closing(open_store()) as store:
        assert read(store, (ACCOUNT, "r1")) == [order]
        with store.batch() as batch:
            assert batch.facts([TOKEN]) == Facts(60_000, frozenset())
            assert list(batch.claim_keys([claim("k")], NOW, NOW + DAY)) == [(ACCOUNT, "k")]


@law_of_opening
def two_that_are_open_see_each_other(open_store: OpenStore) -> None:
    """What one open store commits, another on the same database judges and shows at once."""
    with closing(open_store()) as first, closing(open_store()) as second:
        (order,) = add_orders(first, "r1")
        assert read(second, (ACCOUNT, "r1")) == [order]
        write(second, [cancelled(order)])
        with pytest.raises(Transient):
            write(first, [cancelled(order)])


# --- orders ---------------------------------------------------------------------------------------


@law
def an_order_comes_back_as_it_was_written(store: Store) -> None:
    """Every field of an order and of its terms survives the way into the database and back."""
    terms = Terms(
        customer_email="payer@example.com",
        customer_id="c-9",
        callback_url="https://shop.example/?a=b#c",
        allowed_payment_methods=("Card", "Nomba QR"),
        metadata=(("k", "v"), ("naïve", "☃")),
    )
    command = new_order(
        "r'\"; --",
        terms=terms,
        split=Split(SplitKind.PERCENTAGE, (("a", 1250), ("b", 50))),
        tokenize_card=True,
        sub_account_id="sub-1",
        due_at=NOW + 5,
        due_action=DueAction.CANCEL,
        late_money=LateMoney.HOLD,
    )
    change = create(command, NOW)
    write(store, [change])
    name = (ACCOUNT, command.reference)
    with store.snapshot() as snapshot:
        view = snapshot.orders([name])[name]
    assert view.order == change.after
    assert view.terms == terms


@law
def a_name_is_a_reference_or_an_order_id(store: Store) -> None:
    """An order is found by either of its names, and only among its own merchant's."""
    (order,) = add_orders(store, "r1")
    by_reference, by_id, foreign, unknown = read(
        store, (ACCOUNT, "r1"), (ACCOUNT, order.order_id), (OTHER, "r1"), (ACCOUNT, "R1")
    )
    assert by_reference == by_id == order
    assert foreign is None
    assert unknown is None
    with store.batch() as batch:
        locked = batch.lock_orders([(ACCOUNT, "r1"), (ACCOUNT, order.order_id), (OTHER, "r1")])
    assert list(locked) == [order]


@law
def a_reference_that_looks_like_an_order_id_is_tried_as_a_reference_first(store: Store) -> None:
    """Two merchants may cross reference and order id; each sees its own order."""
    (mine,) = add_orders(store, "plain")
    (theirs,) = add_orders(store, mine.order_id, account_id=OTHER)
    assert read(store, (ACCOUNT, mine.order_id), (OTHER, mine.order_id)) == [mine, theirs]


@law
def versions_are_told_by_order_id_with_the_clock(store: Store) -> None:
    """The committed version of each order of this merchant, and the clock also where there is none."""
    first, second = add_orders(store, "r1", "r2")
    write(store, [cancelled(second)])
    store.accounts.advance_clock(1_500)
    names = [(ACCOUNT, first.order_id), (ACCOUNT, second.order_id), (OTHER, first.order_id), (ACCOUNT, "r1")]
    with store.snapshot() as snapshot:
        assert snapshot.versions(names) == Versions(1_500, {names[0]: 1, names[1]: 2})
        assert snapshot.versions([]) == Versions(1_500, {})


@law
def what_is_not_committed_did_not_happen(store: Store) -> None:
    """Leaving a batch without commit, or by an exception, leaves nothing behind."""
    change = create(new_order("r1"), NOW)
    with store.batch() as batch:
        batch.write([change])
    with pytest.raises(ZeroDivisionError), store.batch() as batch:  # noqa: PT012 - both lines are the point
        batch.write([change])
        raise ZeroDivisionError
    assert read(store, (ACCOUNT, "r1")) == [None]


@law
def an_order_that_changed_after_it_was_judged_is_not_written(store: Store) -> None:
    """Compare-and-set on the version: the second of two changes judged on one version fails whole."""
    first, second = add_orders(store, "r1", "r2")
    write(store, [cancelled(first)])
    with pytest.raises(Transient):
        write(store, [cancelled(second), cancelled(first)])
    assert read(store, (ACCOUNT, "r2")) == [second]


@law
def a_taken_reference_is_not_written_twice(store: Store) -> None:
    """A new order whose reference is taken, in whatever state its order is, fails the whole batch."""
    (order,) = add_orders(store, "r1")
    write(store, [cancelled(order)])
    with pytest.raises(Transient):
        write(store, [create(new_order("fresh"), NOW), create(new_order("r1"), NOW)])
    assert read(store, (ACCOUNT, "fresh")) == [None]


@law
def a_batch_of_many_orders_is_written_whole(store: Store) -> None:
    """256 orders are created, and then cancelled, by one batch each, with one event per change."""
    references = [f"r{i}" for i in range(256)]
    orders = add_orders(store, *references)
    changes = [cancelled(order) for order in orders]
    write(store, changes)
    statuses = {o.status for o in read(store, *((ACCOUNT, r) for r in references)) if o}
    assert statuses == {OrderStatus.CANCELLED}
    with store.batch() as batch:
        assert all(batch.contains(_marker_of(change)) for change in changes)


def _marker_of(change: Change) -> CommitMarker:
    event = change.events[-1]
    return CommitMarker(event.account_id, event.order_id, event.sequence, event.event_id)


@law
def constraints_refuse_what_the_lifecycle_would_never_write(store: Store) -> None:
    """A state without its time, money from nowhere and a refund beyond the payment are refused by CHECKs."""
    (order,) = add_orders(store, "r1")
    good = cancelled(order)
    totals = order.totals
    impossible = (
        structs.replace(good.after, cancelled_at=None),
        structs.replace(good.after, status=OrderStatus.PAID),
        structs.replace(good.after, paid_at=NOW, paid_by="T"),
        structs.replace(good.after, totals=structs.replace(totals, received=5)),
        structs.replace(good.after, totals=structs.replace(totals, refunded=1)),
        structs.replace(good.after, totals=structs.replace(totals, received=-5, held=-5)),
        structs.replace(good.after, updated_at=order.created_at - 1),
    )
    for after in impossible:
        with pytest.raises(StoreError):
            write(store, [structs.replace(good, after=after)])
    assert read(store, (ACCOUNT, "r1")) == [order]


# --- attempts, events, entries ----------------------------------------------------------------------


def _who() -> dict[str, Any]:
    return {"account_id": ACCOUNT, "command_id": IDS.uuid(), "actor": ACTOR}


def _begin(store: Store, order: Order, transaction_id: str, key: str | None = None) -> Order:
    command = BeginAttempt(
        **_who(),
        name=order.order_id,
        transaction_id=transaction_id,
        card_masked="543462******2808",
        card_brand="Mastercard",
        call_until=NOW + 30_000,
        max_attempts=10,
        reply_key=key,
    )
    change = decide(order, command, NOW)
    write(store, [change])
    return change.after


def _settled(order: Order, transaction_id: str, outcome: RailOutcome) -> Change:
    command = SettleAttempt(
        **_who(),
        name=order.order_id,
        transaction_id=transaction_id,
        outcome=outcome,
        answers_try=0,
        response_code="00",
        message="ok",
        call_until=NOW + 60_000,
        max_otp_tries=5,
    )
    return decide(order, command, NOW + 1)


@law
def attempts_are_loaded_with_their_order(store: Store) -> None:
    """An attempt, its call and its key come back with the order, also under the batch's lock."""
    (order,) = add_orders(store, "r1")
    tried = _begin(store, order, "T1", key="key-1")
    assert read(store, (ACCOUNT, "r1")) == [tried]
    with store.batch() as batch:
        assert list(batch.lock_orders([(ACCOUNT, "r1")])) == [tried]
    assert tried.attempts[0].call is not None
    assert tried.attempts[0].call.key == "key-1"


@law
def a_payment_is_found_by_its_transaction(store: Store) -> None:
    """An order is found by the transaction id of its attempt, only by its own merchant."""
    (order,) = add_orders(store, "r1")
    paid = _settled(_begin(store, order, "T1"), "T1", RailOutcome.APPROVED)
    write(store, [paid])
    with store.snapshot() as snapshot:
        view = snapshot.order_of_transaction(ACCOUNT, "T1")
        assert view is not None
        assert view.order == paid.after
        assert snapshot.order_of_transaction(OTHER, "T1") is None


@law
def committed_events_are_found_by_their_ids(store: Store) -> None:
    """A batch whose COMMIT got lost can be recognised by any one event it wrote, and by nothing else."""
    (order,) = add_orders(store, "r1")
    change = cancelled(order)
    marker = _marker_of(change)
    with store.batch() as batch:
        assert not batch.contains(marker)
    write(store, [change])
    with store.batch() as batch:
        assert batch.contains(marker)
        assert not batch.contains(replace(marker, event_id=IDS.uuid()))


@law
def overdue_calls_are_found_when_their_time_is_up(store: Store) -> None:
    """A call belongs to its caller until its time; afterwards its order is listed, until it is settled."""
    (order,) = add_orders(store, "r1")
    tried = _begin(store, order, "T1")
    with store.snapshot() as snapshot:
        assert snapshot.overdue_calls(NOW + 29_999, 10) == []
        assert [view.order for view in snapshot.overdue_calls(NOW + 30_000, 10)] == [tried]
    write(store, [_settled(tried, "T1", RailOutcome.APPROVED)])
    with store.snapshot() as snapshot:
        assert snapshot.overdue_calls(NOW + 30_000, 10) == []


@law
def a_clock_that_was_ahead_delays_no_call_once_it_is_set(store: Store) -> None:
    """When a person has said that it is an hour earlier, a call is its caller's for as long as before."""
    (order,) = add_orders(store, "r1")
    _begin(store, order, "T1")
    store.accounts.note_time(NOW)
    earlier = NOW - 3_600_000
    store.accounts.confirm_time(earlier)
    with store.snapshot() as snapshot:
        assert snapshot.overdue_calls(earlier + 29_999, 10) == []
        assert len(snapshot.overdue_calls(earlier + 30_000, 10)) == 1


@law
def the_first_due_time_is_told(store: Store) -> None:
    """Of all pending orders the one that falls due first counts; ended ones do not."""
    with store.snapshot() as snapshot:
        assert snapshot.first_due_at() is None
    dues = {"never": None, "gone": NOW + 1, "soon": NOW + 2, "later": NOW + 3}
    made = [create(new_order(r, due_at=due), NOW) for r, due in dues.items()]
    write(store, made)
    write(store, [cancelled(change.after) for change in made if change.after.reference == "gone"])
    with store.snapshot() as snapshot:
        assert snapshot.first_due_at() == NOW + 2


@law
def due_orders_are_found_longest_due_first(store: Store) -> None:
    """Only pending orders whose time has come are due, the longest due first, at most as many as asked."""
    dues = {"late": NOW + 2, "early": NOW + 1, "future": NOW + 9, "gone": NOW + 1}
    changes = [create(new_order(r, due_at=due), NOW) for r, due in dues.items()]
    write(store, [*changes, create(new_order("never"), NOW)])
    write(store, [cancelled(changes[3].after)])
    with store.snapshot() as snapshot:
        assert snapshot.due_orders(NOW + 2, 10) == [(ACCOUNT, "early"), (ACCOUNT, "late")]
        assert snapshot.due_orders(NOW + 2, 1) == [(ACCOUNT, "early")]


@law
def transactions_are_listed_newest_first_and_filtered(store: Store) -> None:
    """Each filter narrows the list, all of them must hold, and the cursor goes on where it stopped."""
    orders = [create(new_order(f"r{i}", sub_account_id="s" if i == 1 else None), NOW + i) for i in range(3)]
    write(store, orders)
    for number, change in enumerate(orders):
        tried = _begin(store, change.after, f"T{number}")
        if number == 2:
            write(store, [_settled(tried, "T2", RailOutcome.DECLINED)])
    every = TransactionFilter(account_id=ACCOUNT)

    def listed(**changes: object) -> list[str]:
        wanted = replace(every, **changes)  # type: ignore[arg-type]
        with store.snapshot() as snapshot:
            return [view.transaction_id for view in snapshot.transactions(wanted)]

    assert listed() == ["T2", "T1", "T0"]
    assert listed(limit=2) == ["T2", "T1"]
    assert listed(before=(NOW + 1, "T1")) == ["T0"]
    assert listed(transaction_ids=("T1",)) == ["T1"]
    assert listed(transaction_ids=("T1", "T0")) == []
    assert listed(order_names=("r1", orders[1].after.order_id)) == ["T1"]
    assert listed(sub_account_id="s") == ["T1"]
    assert listed(statuses=frozenset({AttemptStatus.DECLINED.value})) == ["T2"]
    assert listed(started_from=NOW + 1, started_before=NOW + 2) == ["T1"]
    assert listed(account_id=OTHER) == []


@law
def orders_are_listed_newest_first_and_filtered(store: Store) -> None:
    """Each filter narrows the list, all of them must hold, and no other merchant's order is in it."""
    terms = [Terms(f"{i % 2}@shop.example", customer_id=f"c{i % 3}") for i in range(5)]
    orders = [create(new_order(f"r{i}", terms=terms[i]), NOW + i) for i in range(5)]
    write(store, [*orders, create(new_order("r9", OTHER), NOW)])
    write(store, [cancelled(orders[3].after)])

    def listed(**filters: Any) -> list[str]:
        with store.snapshot() as snapshot:
            page = snapshot.list_orders(OrderFilter(**({"account_id": ACCOUNT} | filters)))
        assert page.end is None
        return [view.order.reference for view in page.views]

    assert listed() == ["r4", "r3", "r2", "r1", "r0"]
    assert listed(statuses=frozenset({OrderStatus.CANCELLED.value})) == ["r3"]
    assert listed(customer_email="1@shop.example") == ["r3", "r1"]
    assert listed(customer_email="1@SHOP.example") == []
    assert listed(customer_id="c1") == ["r4", "r1"]
    assert listed(created_from=NOW + 1, created_before=NOW + 3) == ["r2", "r1"]
    assert listed(customer_id="c1", customer_email="0@shop.example", created_from=NOW + 2) == ["r4"]
    assert listed(name="r2") == listed(name=orders[2].after.order_id) == ["r2"]
    assert listed(name="r2", customer_id="c0") == listed(name="R2") == []
    assert listed(account_id=OTHER) == ["r9"]
    assert listed(account_id=OTHER, name="r2") == []


@law
def a_listed_order_is_as_it_was_written(store: Store) -> None:
    """State and terms are those of the order; what belongs to it is left out."""
    paid = _paid(store, "r1", "T1")
    with store.snapshot() as snapshot:
        (view,) = snapshot.list_orders(OrderFilter(account_id=ACCOUNT)).views
        assert view == replace(snapshot.orders([(ACCOUNT, "r1")])[ACCOUNT, "r1"], order=view.order)
    assert view.order == structs.replace(paid, attempts=())


@law
def a_list_of_orders_goes_on_where_it_stopped(store: Store) -> None:
    """Every order is on one page, also those of one moment, whatever is created between the pages."""
    orders = [create(new_order(f"r{i}"), NOW + i // 3) for i in range(7)]
    write(store, orders)
    expected = sorted(((c.after.created_at, c.after.order_id) for c in orders), reverse=True)
    found: list[tuple[int, str]] = []
    wanted = OrderFilter(account_id=ACCOUNT, limit=2)
    pages = 0
    while pages == 0 or wanted.behind is not None:
        with store.snapshot() as snapshot:
            page = snapshot.list_orders(wanted)
        found += [(view.order.created_at, view.order.order_id) for view in page.views]
        wanted = replace(wanted, behind=page.end)
        pages += 1
        write(store, [create(new_order(f"new {pages}"), NOW + 10)])
    assert found == expected
    assert pages == 4


@law
def a_page_tries_a_bounded_number_of_orders(store: Store) -> None:
    """Where few are wanted a page ends before it is full, and says where the next one goes on."""
    orders = [create(new_order(f"r{i}"), NOW + i) for i in range(9)]
    write(store, orders)
    write(store, [cancelled(orders[1].after), cancelled(orders[7].after)])
    wanted = OrderFilter(account_id=ACCOUNT, statuses=frozenset({OrderStatus.CANCELLED.value}))
    pages: list[list[str]] = []
    with pytest.MonkeyPatch.context() as patch, store.snapshot() as snapshot:
        patch.setattr("opentill.store.orders.lists.LOOKED_AT", 3)
        while not pages or wanted.behind is not None:
            page = snapshot.list_orders(wanted)
            pages.append([view.order.reference for view in page.views])
            wanted = replace(wanted, behind=page.end)
    assert pages == [["r7"], [], ["r1"], []]


@law
def nul_and_lone_surrogates_poison_only_their_batch(store: Store) -> None:
    """A value that no database takes fails its batch and leaves the store usable."""
    add_orders(store, "before")
    with pytest.raises(Exception, match=r"surrogate|encode|NUL|null"):
        write(store, [create(new_order("bad\ud800"), NOW)])
    add_orders(store, "after")
    assert all(read(store, (ACCOUNT, "before"), (ACCOUNT, "after")))


# --- refunds, history and sums ----------------------------------------------------------------------


def _paid(store: Store, reference: str, transaction_id: str) -> Order:
    (order,) = add_orders(store, reference)
    change = _settled(_begin(store, order, transaction_id), transaction_id, RailOutcome.APPROVED)
    write(store, [change])
    return change.after


def _refunding(store: Store, order: Order, transaction_id: str, amount: int | None) -> Order:
    who = _who() | {"transaction_id": transaction_id, "refund_id": IDS.uuid()}
    command = BeginRefund(**who, amount=amount, call_until=NOW + 30_000)
    change = decide(order, command, NOW + 2)
    write(store, [change])
    return change.after


def _refunded(store: Store, order: Order) -> Order:
    refund = order.refunds[-1]
    command = SettleRefund(
        **_who(),
        transaction_id=refund.transaction_id,
        refund_id=refund.refund_id,
        outcome=RefundOutcome.DONE,
        response_code="00",
        message="ok",
    )
    change = decide(order, command, NOW + 3)
    write(store, [change])
    return change.after


@law
def events_come_back_as_they_were_written(store: Store) -> None:
    """All events of one order, and of no other, in their sequence and in every field."""
    order, other = add_orders(store, "r1", "r2")
    said: dict[str, Any] = {"reason": "customer_request", "note": "Ọjà", "metadata": (("b", "☃"), ("a", ""))}
    change = decide(order, CancelOrder(**_who(), name="r1", **said), NOW + 1)
    write(store, [change, cancelled(other)])
    with store.snapshot() as snapshot:
        events = snapshot.events(ACCOUNT, order.order_id)
        assert snapshot.events(OTHER, order.order_id) == []
    assert [event.type for event in events] == [EventType.ORDER_CREATED, EventType.ORDER_CANCELLED]
    assert events[1:] == list(change.events)


@law
def the_trial_balance_sums_one_merchants_ledger(store: Store) -> None:
    """Debits and credits of each ledger account, by currency, are those of this merchant's bookings."""
    paid = _paid(store, "r1", "T1")
    _refunded(store, _refunding(store, paid, "T1", 100))
    add_orders(store, "unpaid", account_id=OTHER)
    booked = {CARD_RAIL: (paid.amount, 100), merchant_balance(ACCOUNT): (100, paid.amount)}
    booked[REFUNDS_DUE] = 100, 100
    with store.snapshot() as snapshot:
        assert snapshot.trial_balance(ACCOUNT) == [Balance(a, "NGN", *sums) for a, sums in booked.items()]
        assert snapshot.trial_balance(OTHER) == []


@law
def a_payment_is_wholly_refunded_once_all_of_it_is_back(store: Store) -> None:
    """Neither a part, nor a refund that is still running, makes it so; the list's filter agrees."""
    _paid(store, "kept", "T0")
    paid = _paid(store, "r1", "T1")
    parted = _refunded(store, _refunding(store, paid, "T1", 1))
    assert _wholly_refunded(store) == []
    running = _refunding(store, parted, "T1", None)
    assert _wholly_refunded(store) == []
    _refunded(store, running)
    assert _wholly_refunded(store) == ["T1"]


def _wholly_refunded(store: Store) -> list[str]:
    """The payments that are shown as wholly refunded; the filters must find just these, and the others."""
    everything = TransactionFilter(account_id=ACCOUNT)
    approved = replace(everything, statuses=frozenset({AttemptStatus.APPROVED.value}))
    refunded = replace(everything, statuses=frozenset(), wholly_refunded=True)
    with store.snapshot() as snapshot:
        every, kept, gone = (snapshot.transactions(each) for each in (everything, approved, refunded))
    assert gone == [view for view in every if view.wholly_refunded]
    assert kept == [view for view in every if not view.wholly_refunded]
    return [view.transaction_id for view in gone]
