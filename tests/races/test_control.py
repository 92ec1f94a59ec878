"""The race with its negative control: a store that breaks the law must be seen to fail."""

from collections.abc import Callable
from pathlib import Path

import pytest

from databases import NewDatabase, Place
from races.books import read_books
from races.contest import (
    FOR_THE_ENDING,
    FOR_THE_EXPIRY,
    FOR_THE_MONEY,
    FOR_THE_REST_OF_A_TRANSFER,
    FOR_WHAT_IS_DUE,
    ROUNDS,
    Contest,
    Report,
    held,
)
from races.laws import Told, complaints, two_winners
from races.stores import careless, doubling, let_anything_pass, real

MOST_CONTESTS = 5


@pytest.fixture
def new_place(new_database: NewDatabase, tmp_path: Path) -> Callable[[], Place]:
    """A place of its own for each contest."""
    numbers = iter(range(MOST_CONTESTS))

    def new() -> Place:
        folder = tmp_path / f"contest-{next(numbers)}"
        folder.mkdir()
        return new_database() or folder

    return new


def test_the_real_store_grants_one_ending(place: Place) -> None:
    """Processes that judge under the lock never judge together, and one of them wins."""
    report = held(FOR_THE_ENDING, real, place)
    assert report.together == set()
    assert len(report.won) == ROUNDS
    assert complaints(read_books(place), report.won) == []


def test_a_store_that_reads_early_and_writes_unguarded_is_found_out(new_place: Callable[[], Place]) -> None:
    """With orders read outside the transaction and no version guard, the checker reports two winners."""
    report, place = carelessly_held(FOR_THE_ENDING, new_place)
    found = two_winners(report.won)
    assert {sentence.split(":")[0] for sentence in found} >= report.together
    assert set(found) < set(complaints(read_books(place), report.won))


def test_the_real_store_grants_one_refund(place: Place) -> None:
    """Of two processes that want 60 % of the same payment back one gets it, and the books hold."""
    report = held(FOR_THE_MONEY, real, place)
    assert report.together == set()
    assert len(report.won) == ROUNDS
    books = read_books(place)
    assert complaints(books, report.won) == []
    assert [len(refunds) for refunds in books.refunds.values()] == [1] * ROUNDS


def test_a_store_that_lets_both_refunds_pass_is_found_out(new_place: Callable[[], Place]) -> None:
    """Read outside the transaction, without guard and CHECK, 120 % go back, and the checker reports it."""
    report, place = carelessly_held(FOR_THE_MONEY, new_place)
    found = complaints(read_books(place), report.won)
    for name in report.together:
        assert f"{name}: 2 winners" in found
        assert f"{name}: its refunds sum to 1200060 of 1000050" in found


def test_the_real_store_gives_the_rest_of_a_transfer_back_whole(place: Place) -> None:
    """Beside a cancel, which is refused, each refund of the other 60 % gives 60 % back."""
    report = held(FOR_THE_REST_OF_A_TRANSFER, real, place)
    assert sorted(heard.reference for heard in report.won) == sorted({h.reference for h in report.won})
    assert {heard.told for heard in report.won} == {Told.PAID}
    assert len(report.won) == ROUNDS
    assert {order["refunded"] for order in read_books(place).orders.values()} == {10_000_50}


def test_a_store_that_doubles_what_belongs_to_an_order_is_found_out(place: Place) -> None:
    """Where children come twice no refund is granted that would give back too little, and none is booked."""
    report = held(FOR_THE_REST_OF_A_TRANSFER, doubling, place)
    assert report.won == []
    assert {order["refunded"] for order in read_books(place).orders.values()} == {4_000_20}


def test_the_real_store_lets_what_is_due_expire_once(place: Place) -> None:
    """Two sweeps and an approval, which finds the order due as well: one of them ends it, none pays it."""
    report = held(FOR_THE_EXPIRY, real, place)
    assert report.together == set()
    assert {heard.told for heard in report.won} == {Told.EXPIRED}
    books = read_books(place)
    assert complaints(books, report.won) == []
    types = [[event["type"] for event in events] for events in books.events.values()]
    assert [each.count("order_expired") for each in types] == [1] * ROUNDS
    assert [a["status"] for attempts in books.attempts.values() for a in attempts] == ["VOIDING"] * ROUNDS


def test_a_store_that_lets_an_order_expire_twice_is_found_out(new_place: Callable[[], Place]) -> None:
    """With orders read outside the transaction and no version guard, the checker reports two winners."""
    report, place = carelessly_held(FOR_THE_EXPIRY, new_place)
    found = two_winners(report.won)
    assert {sentence.split(":")[0] for sentence in found} >= report.together
    assert set(found) < set(complaints(read_books(place), report.won))


def test_a_cancel_of_what_is_due_is_granted_once_beside_a_sweep(place: Place) -> None:
    """Whoever comes first, one of two cancels gets the order, which expires no more than once before it."""
    report = held(FOR_WHAT_IS_DUE, real, place)
    assert report.together == set()
    books, cancelled = read_books(place), [heard for heard in report.won if heard.told is Told.CANCELLED]
    assert len(cancelled) == ROUNDS
    assert complaints(books, cancelled) == []
    for events in books.events.values():
        types = [event["type"] for event in events]
        assert types[-2:] == ["order_expired", "order_cancelled"]
        assert types.count("order_expired") == 1


def carelessly_held(contest: Contest, new_place: Callable[[], Place]) -> tuple[Report, Place]:
    """A contest of careless stores in which they did judge together, and its place."""
    for _ in range(MOST_CONTESTS):
        place = new_place()
        let_anything_pass(place)
        report = held(contest, careless, place)
        if report.together:
            return report, place
    raise AssertionError("they never judged together")
