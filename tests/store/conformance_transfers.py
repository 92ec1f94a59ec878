"""The law of a store, fourth part: credits, returns, account numbers and advices. See ``conformance``."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from threading import Barrier

from engine.builders import answer, begin, begin_refund, received, transfer
from opentill.domain.commands import AcceptCredit, BeginReturn, Command, RailOutcome
from opentill.domain.decisions import create, decide
from opentill.domain.order import AttemptStatus, LateMoney, Order, Sender
from opentill.store.interface import OpenStore, Store
from opentill.store.orders.contract import TransactionFilter, TransferState
from opentill.store.transfers.contract import Advice, TransferNotice
from store.conformance import DAY, law, law_of_opening
from store.conformance_accounts import make_live
from store.conformance_cards import LAW
from store_factories import ACCOUNT, NOW, OTHER, add_orders, cancel, cancelled, new_order, read, write

__all__ = ["LAW"]

NOTICE = TransferNotice(
    "bank", "S1", "9000000017", 500_00, "NGN", Sender("Ọja Ltd", "0123456789", "058"), NOW - 5, "for Ọja"
)
CREDIT_ID = "c0000000-0000-4000-8000-000000000001"


def _done(store: Store, order: Order, *commands: Command) -> Order:
    """The order after these commands, each written by itself."""
    for command in commands:
        change = decide(order, command, NOW)
        write(store, [change])
        order = change.after
    return order


@law
def credits_and_returns_are_read_as_they_were_written(store: Store) -> None:
    """Every field of credits, returns and events survives, with the order and behind its transactions."""
    (order,) = add_orders(store, "r1")
    sender = Sender("Adé", "0000000001", "044")
    order = _done(
        store,
        order,
        received("r1", "C1", 400_00, narration="rent ₦", sender=sender),
        received("r1", "C2", 300_00, transferred_at=NOW - 9),
        cancel("r1"),
        transfer(BeginReturn, "C1", now=NOW, call_until=NOW + 1),
    )
    assert read(store, (ACCOUNT, "r1")) == [order]
    assert (len(order.credits), len(order.returns), order.credit_count) == (2, 2, 2)
    with store.batch() as batch:
        assert batch.orders_of_transactions([(ACCOUNT, "C2"), (OTHER, "C2")]) == {
            (ACCOUNT, "C2"): (ACCOUNT, order.order_id)
        }
        assert list(batch.lock_orders([(ACCOUNT, "r1")])) == [order]
    with store.snapshot() as snapshot:
        assert [e.method for e in snapshot.events(ACCOUNT, order.order_id)][1:3] == ["transfer", "transfer"]
        found = snapshot.order_of_transaction(ACCOUNT, "C1")
        assert found is not None
        assert found.order == order


@law
def an_order_comes_once_by_all_of_its_names(store: Store) -> None:
    """Asked for by reference and by order id together it is one order, with each of its children once."""
    (order,) = add_orders(store, "r1")
    order = _done(
        store,
        order,
        begin("r1", "T1"),
        received("r1", "C1", order.amount),
        received("r1", "C2", 1),
        begin_refund("C1", 300_00, refund_id="F1"),
    )
    children = (order.attempts, order.refunds, order.credits, order.returns)
    assert list(map(len, children)) == [1, 1, 2, 1]
    names = [(ACCOUNT, "r1"), (ACCOUNT, order.order_id)]
    with store.batch() as batch:
        assert list(batch.lock_orders(names)) == [order]
    with store.snapshot() as snapshot:
        found = snapshot.orders(names)
    assert {name: view.order for name, view in found.items()} == dict.fromkeys(names, order)


@law
def transfers_stand_in_lists_beside_cards(store: Store) -> None:
    """Both are listed newest first under one key of pages; what became part of a payment is not repeated."""
    paid, open_ = add_orders(store, "r1", "r2")
    tried = _done(store, paid, begin("r1", "T1"), answer("r1", "T1", RailOutcome.DECLINED))
    arrive = {"C1": 400_00, "C2": paid.amount - 400_00, "C3": 5_00}
    arrivals = (received("r1", name, money, arrived_at=NOW) for name, money in arrive.items())
    _done(store, tried, *arrivals)
    _done(store, open_, received("r2", "C4", 1_00, arrived_at=NOW - 1))
    every = TransactionFilter(account_id=ACCOUNT)

    def listed(**changes: object) -> list[str]:
        wanted = replace(every, **changes)  # type: ignore[arg-type]
        with store.snapshot() as snapshot:
            return [view.transaction_id for view in snapshot.transactions(wanted)]

    assert listed() == ["T1", "C3", "C2", "C4"]
    pages = [listed(limit=1)]
    for began_at in (NOW, NOW, NOW, NOW - 1):
        pages.append(listed(limit=1, before=(began_at, pages[-1][0])))
    assert pages == [["T1"], ["C3"], ["C2"], ["C4"], []]
    assert listed(transaction_ids=("C1",)) == ["C1"]
    assert listed(statuses=frozenset({TransferState.PAID})) == ["C2"]
    assert listed(statuses=frozenset({TransferState.HELD})) == ["C4"]
    assert listed(statuses=frozenset({TransferState.SENT_BACK, AttemptStatus.DECLINED})) == ["T1", "C3"]
    assert listed(order_names=("r2",)) == ["C4"]
    assert listed(started_from=NOW) == ["T1", "C3", "C2"]
    assert listed(started_before=NOW) == ["C4"]
    assert listed(account_id=OTHER) == []
    with store.snapshot() as snapshot:
        (back,) = snapshot.transactions(replace(every, transaction_ids=("C3",)))
    assert [each.amount for each in back.order.returns] == [5_00]
    assert not back.wholly_refunded


@law
def a_transfer_is_found_by_its_session(store: Store) -> None:
    """Requery knows a merchant's own sessions, and no other merchant's."""
    (order,) = add_orders(store, "r1")
    _done(store, order, received("r1", "C1", 400_00))
    with store.snapshot() as snapshot:
        found = snapshot.order_of_session(ACCOUNT, "S C1")
        assert found is not None
        assert found.order.order_id == order.order_id
        assert snapshot.order_of_session(OTHER, "S C1") is None
        assert snapshot.order_of_session(ACCOUNT, "S C2") is None


@law
def money_that_waits_for_a_person_is_listed(store: Store) -> None:
    """Held money of expired orders is listed oldest first; partial money of an open one is not."""
    changes = [
        create(new_order(name, due_at=NOW - 1, late_money=LateMoney.HOLD), NOW - 2)
        for name in ("late", "later")
    ]
    changes.append(create(new_order("open"), NOW))
    write(store, changes)
    late, later, still_open = (change.after for change in changes)
    _done(store, later, received("later", "C1", 10_000_50, arrived_at=NOW + 5))
    late = _done(store, late, received("late", "C2", 10_000_50))
    _done(store, still_open, received("open", "C3", 400_00))
    with store.snapshot() as snapshot:
        assert [v.order.reference for v in snapshot.held_credits(10)] == ["late", "later"]
        assert [v.order.reference for v in snapshot.held_credits(1)] == ["late"]
    _done(store, late, transfer(AcceptCredit, "C2"))
    with store.snapshot() as snapshot:
        assert [v.order.reference for v in snapshot.held_credits(10)] == ["later"]


@law
def returns_are_listed_until_they_are_done_and_swept_when_they_are_due(store: Store) -> None:
    """A new return is overdue at once; one that somebody has is not, and stays listed."""
    (order,) = add_orders(store, "r1")
    order = _done(store, order, received("r1", "C1", 400_00), cancel("r1"))
    with store.snapshot() as snapshot:
        assert [v.order for v in snapshot.overdue_calls(NOW, 5)] == [order]
    order = _done(store, order, transfer(BeginReturn, "C1", now=NOW, call_until=NOW + 10))
    with store.snapshot() as snapshot:
        assert snapshot.overdue_calls(NOW + 9, 5) == []
        assert [v.order for v in snapshot.overdue_calls(NOW + 10, 5)] == [order]
        assert [v.order for v in snapshot.open_returns(5)] == [order]


# --- account numbers ------------------------------------------------------------------------------


def _reserve(store: Store, order: Order, *candidates: str, now: int = NOW) -> str | None:
    return _reserve_rested(store, order, *candidates, now=now, rest_milliseconds=30 * DAY)


def _reserve_rested(
    store: Store, order: Order, *candidates: str, now: int = NOW, rest_milliseconds: int | None
) -> str | None:
    account = store.transfers.reserve_account(
        order.account_id,
        order.order_id,
        bank_code="999",
        candidates=candidates,
        now=now,
        rest_milliseconds=rest_milliseconds,
    )
    return account.account_number if account else None


@law
def an_order_keeps_its_account_number(store: Store) -> None:
    """Asked again it is the same number, whatever is offered; a number that is taken is passed over."""
    one, two = add_orders(store, "r1", "r2")
    assert _reserve(store, one, "9000000017") == "9000000017"
    assert _reserve(store, one, "9000000024") == "9000000017"
    assert _reserve(store, two, "9000000017", "9000000024") == "9000000024"
    account = store.transfers.transfer_account(ACCOUNT, one.order_id)
    assert account is not None
    assert (account.account_number, account.bank_code, account.reserved_at) == ("9000000017", "999", NOW)
    assert store.transfers.transfer_account(OTHER, one.order_id) is None


@law
def a_number_rests_before_another_order_gets_it(store: Store) -> None:
    """Nobody gets the number of an open order, nor of an ended one before its rest is over."""
    one, two = add_orders(store, "r1", "r2")
    _reserve(store, one, "9000000017")
    assert _reserve(store, two, "9000000017", now=NOW + 90 * DAY) is None
    write(store, [cancelled(one)])
    ended = NOW + 1
    assert _reserve(store, two, "9000000017", now=ended + 30 * DAY - 1) is None
    assert _reserve(store, two, "9000000017", now=ended + 30 * DAY) == "9000000017"
    assert store.transfers.transfer_account(ACCOUNT, one.order_id) is None


@law
def rest_is_business_time(store: Store) -> None:
    """When the sandbox's clock is moved the numbers have rested as well."""
    one, two = add_orders(store, "r1", "r2")
    _reserve(store, one, "9000000017")
    write(store, [cancelled(one)])
    store.accounts.advance_clock(30 * DAY)
    assert _reserve(store, two, "9000000017", now=NOW + 1) == "9000000017"


@law
def a_number_that_nobody_had_is_preferred(store: Store) -> None:
    """Of the candidates a new number is taken before one that has rested, and where asked for, only such."""
    one, two, three = add_orders(store, "r1", "r2", "r3")
    _reserve(store, one, "9000000017")
    write(store, [cancelled(one)])
    later = NOW + 31 * DAY
    assert _reserve(store, two, "9000000017", "9000000024", now=later) == "9000000024"
    assert _reserve_rested(store, three, "9000000017", now=later, rest_milliseconds=None) is None
    assert _reserve(store, three, "9000000017", now=later) == "9000000017"


@law_of_opening
def two_processes_give_one_order_one_number(open_store: OpenStore) -> None:
    """Each with another number that has rested, asked at one moment, they answer the same one."""
    with closing(open_store()) as first, closing(open_store()) as second, ThreadPoolExecutor(2) as threads:
        for turn in range(5):
            numbers = [f"90000{turn:02}{number:03}" for number in range(2)]
            rested = add_orders(first, f"a{turn}", f"b{turn}")
            for order, number in zip(rested, numbers, strict=True):
                assert _reserve(first, order, number) == number
            write(first, [cancelled(order) for order in rested])
            (wanted,) = add_orders(first, f"c{turn}")
            together = Barrier(2)

            def ask(
                store: Store, number: str, order: Order = wanted, start: Barrier = together
            ) -> str | None:
                start.wait(20)
                return _reserve(store, order, number, now=NOW + 31 * DAY)

            one, two = threads.map(ask, (first, second), numbers)
            assert one == two
            assert one in numbers


# --- advices --------------------------------------------------------------------------------------


def _advise(store: Store, notice: TransferNotice = NOTICE, credit_id: str = CREDIT_ID) -> Advice:
    return store.transfers.record_advice(notice, credit_id, NOW, NOW + 10)


@law
def the_first_notice_of_a_session_counts(store: Store) -> None:
    """A second one, whatever it says, gets the first back; the session of another bank is another one."""
    first = _advise(store)
    assert (first.notice, first.credit_id, first.arrived_at) == (NOTICE, CREDIT_ID, NOW)
    assert (first.account_id, first.order_id, first.attached, first.route_by) == (None, None, False, NOW + 10)
    other = CREDIT_ID.replace("1", "2")
    again = _advise(store, replace(NOTICE, amount=1), other)
    assert again == first
    assert not again.tells_the_same(replace(NOTICE, amount=1))
    assert again.tells_the_same(replace(NOTICE, narration="", sender=Sender()))
    assert _advise(store, replace(NOTICE, rail="other"), other).credit_id == other
    assert store.transfers.advice_of_credit(CREDIT_ID) == first
    assert store.transfers.advice_of_credit("none") is None


@law
def a_session_that_was_written_with_blanks_is_the_same_session(store: Store) -> None:
    """An advice that stands with blanks behind its session id is found by the id without them."""
    padded = store.transfers.record_advice(replace(NOTICE, session_id="S1  "), CREDIT_ID, NOW, NOW + 9)
    other = store.transfers.record_advice(
        replace(NOTICE, session_id="S1 b"), f"{CREDIT_ID[:-1]}2", NOW, NOW + 9
    )
    assert store.transfers.record_advice(NOTICE, f"{CREDIT_ID[:-1]}3", NOW, NOW + 9) == padded
    assert other.credit_id != padded.credit_id


@law
def what_a_bank_said_of_the_time_is_kept(store: Store) -> None:
    """A time that can not be used stands in the advice as it was written, for whoever books it later."""
    notice = replace(NOTICE, transferred_at=None, unusable_time="yesterday, ₦")
    store.transfers.record_advice(notice, CREDIT_ID, NOW, NOW + 9)
    found = store.transfers.advice_of_credit(CREDIT_ID)
    assert found is not None
    assert found.notice == notice


@law
def an_advice_goes_to_the_order_that_has_the_number_then(store: Store) -> None:
    """Where the money goes is fixed when the advice is written, also if the number is given away later."""
    one, two = add_orders(store, "r1", "r2")
    _reserve(store, one, NOTICE.account_number)
    store.accounts.advance_clock(7)
    advice = _advise(store)
    assert (advice.account_id, advice.order_id, advice.arrived_at) == (ACCOUNT, one.order_id, NOW + 7)
    write(store, [cancelled(one)])
    assert _reserve(store, two, NOTICE.account_number, now=NOW + 31 * DAY) is not None
    assert _advise(store).order_id == one.order_id
    assert _advise(store, replace(NOTICE, session_id="S2"), "c2").order_id == two.order_id


def _given_twice(store: Store) -> tuple[Order, Order, int]:
    """One order had the number of ``NOTICE`` from NOW until, at the time returned, the other got it."""
    one, two = add_orders(store, "r1", "r2")
    _reserve(store, one, NOTICE.account_number)
    write(store, [cancelled(one)])
    given = NOW + 31 * DAY + 30_000
    assert _reserve(store, two, NOTICE.account_number, now=given) == NOTICE.account_number
    store.accounts.advance_clock(32 * DAY)
    return one, two, given


@law
def an_advice_goes_to_the_order_that_had_the_number_at_the_banks_time(store: Store) -> None:
    """Money of a transfer that was made while one order had the number is not a later order's."""
    one, two, given = _given_twice(store)
    whose = {
        NOW: (one.order_id, True),
        given - 30_001: (one.order_id, True),
        given - 1: (one.order_id, True),
        given: (two.order_id, True),
        None: (two.order_id, True),
        NOW + 400 * DAY: (two.order_id, True),  # after its arrival: the order's own concern
    }
    for number, (at, (order_id, counts)) in enumerate(whose.items()):
        notice = replace(NOTICE, session_id=f"S{number}", transferred_at=at)
        advice = _advise(store, notice, f"c{number}")
        assert (advice.order_id, advice.time_counts) == (order_id, counts), at
        assert store.transfers.advice_of_credit(f"c{number}") == advice


@law
def a_time_at_which_nobody_had_the_number_counts_as_absent(store: Store) -> None:
    """A clock behind, a time of which only the minute is told, or an impossible year: the arrival decides."""
    _, two, given = _given_twice(store)
    minute = given - given % 60_000
    assert minute < given
    for number, at in enumerate([NOW - 1, 0, -(10**15), minute]):
        advice = _advise(store, replace(NOTICE, session_id=f"S{number}", transferred_at=at), f"c{number}")
        assert (advice.order_id, advice.time_counts) == (two.order_id, False), at


@law
def a_number_remembers_all_who_had_it(store: Store) -> None:
    """Given to a third order, a number still knows what times the first and the second had it."""
    one, two, given = _given_twice(store)
    (three,) = add_orders(store, "r3")
    write(store, [cancelled(two)])
    later = given + 62 * DAY
    assert _reserve(store, three, NOTICE.account_number, now=later) is not None
    store.accounts.advance_clock(62 * DAY)
    for number, (at, order) in enumerate([(NOW + 1, one), (given + 1, two), (later + 32 * DAY, three)]):
        advice = _advise(store, replace(NOTICE, session_id=f"S{number}", transferred_at=at), f"c{number}")
        assert (advice.order_id, advice.time_counts) == (order.order_id, True)


@law
def an_advice_is_overdue_until_it_is_booked(store: Store) -> None:
    """What a crash left between the two commits is found again, longest overdue first, and only then."""
    first = _advise(store)
    second = store.transfers.record_advice(replace(NOTICE, session_id="S2"), "c2", NOW, NOW + 5)
    assert store.transfers.unrouted_advices(NOW + 4, 9) == []
    assert store.transfers.unrouted_advices(NOW + 10, 9) == [second, first]
    assert store.transfers.unrouted_advices(NOW + 10, 1) == [second]
    store.transfers.note_routed(second)
    assert store.transfers.unrouted_advices(NOW + 10, 9) == [first]


@law
def only_money_of_the_house_can_be_attached(store: Store) -> None:
    """An advice that is booked on an order, or not booked at all yet, is not given to another one."""
    (order,) = add_orders(store, "r1")
    advice = _advise(store)
    attach = (CREDIT_ID, ACCOUNT, order.order_id, NOW + 20)
    assert not store.transfers.attach_advice(*attach)
    store.transfers.note_routed(advice)
    assert store.transfers.attach_advice(*attach)
    store.transfers.note_routed(advice)  # by somebody slow, who still has it for money of the house
    attached = store.transfers.advice_of_credit(CREDIT_ID)
    assert attached is not None
    assert (attached.order_id, attached.attached, attached.route_by) == (order.order_id, True, NOW + 20)
    assert not store.transfers.attach_advice(CREDIT_ID, OTHER, "O", NOW)
    store.transfers.detach_advice(CREDIT_ID)
    detached = store.transfers.advice_of_credit(CREDIT_ID)
    assert detached is not None
    assert (detached.order_id, detached.attached, detached.route_by) == (None, False, None)


@law
def a_number_does_not_come_free_by_a_clock_far_ahead(store: Store) -> None:
    """In live mode it rests until a person has said that so much time has gone by."""
    one, two = add_orders(store, "r1", "r2")
    _reserve(store, one, "9000000017")
    write(store, [cancelled(one)])
    make_live(store)
    store.accounts.note_time(NOW)
    assert _reserve(store, two, "9000000017", now=NOW + 90 * DAY) is None
    store.accounts.confirm_time(NOW + 90 * DAY)
    assert _reserve(store, two, "9000000017", now=NOW + 90 * DAY) == "9000000017"
