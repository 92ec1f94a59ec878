"""Transfers against cancels, expiry, refunds and each other, in several processes; with negative controls."""

from collections.abc import Callable
from pathlib import Path

import pytest

from databases import NewDatabase, Place, reading, url_of
from opentill.store.audit.examination import audit, open_read_only
from races.contest import FOR_THE_DUE, FOR_THE_REST, FOR_THE_TRANSFERS, ROUNDS, Contest, held
from races.laws import two_winners
from races.stores import careless, let_anything_pass, real

MOST_CONTESTS = 5
PART, AMOUNT = 6_000_30, 10_000_50


def books_of(place: Place) -> dict[str, tuple[int, ...]]:
    """Received, applied, held, returning, refunded of each order, by its reference."""
    with reading(place) as run:
        rows = run("SELECT * FROM orders")
    return {
        row["reference"]: tuple(
            row[name] for name in ("received", "applied", "held", "returning", "refunded")
        )
        for row in rows
    }


def faults(place: Place) -> set[str]:
    """The invariants that the database breaks."""
    with open_read_only(url_of(place)) as connection:
        return {each.check.name for each in audit(connection, 1) if each.count}


def test_of_a_transfer_in_time_and_a_cancel_one_wins_whatever_the_worker_does(place: Place) -> None:
    """The order is paid or cancelled, never both; a transfer that lost is on its way back, whole."""
    report = held(FOR_THE_DUE, real, place)
    assert report.together == set()
    assert len(report.won) == ROUNDS
    assert two_winners(report.won) == []
    assert set(books_of(place).values()) <= {(AMOUNT, AMOUNT, 0, 0, 0), (AMOUNT, 0, 0, AMOUNT, 0)}
    assert faults(place) == set()


def test_two_transfers_pay_together_and_the_excess_goes_back(place: Place) -> None:
    """Whichever of two parts comes last completes the order, and its excess alone is returned."""
    report = held(FOR_THE_REST, real, place)
    assert report.together == set()
    assert len(report.won) == ROUNDS
    assert set(books_of(place).values()) == {(2 * PART, AMOUNT, 0, 2 * PART - AMOUNT, 0)}
    assert faults(place) == set()


def test_of_two_refunds_to_senders_one_wins_and_more_money_goes_back(place: Place) -> None:
    """60 % is refunded once however many ask, and a transfer to the paid order is returned beside it."""
    held(FOR_THE_TRANSFERS, real, place)
    received, excess = 2 * PART + AMOUNT, 2 * PART - AMOUNT
    assert set(books_of(place).values()) == {(received, AMOUNT, 0, excess + AMOUNT, PART)}
    assert faults(place) == set()


# --- negative controls ----------------------------------------------------------------------------


@pytest.fixture
def new_place(new_database: NewDatabase, tmp_path: Path) -> Callable[[], Place]:
    """A place of its own for each contest."""
    numbers = iter(range(MOST_CONTESTS))

    def new() -> Place:
        folder = tmp_path / f"contest-{next(numbers)}"
        folder.mkdir()
        return new_database() or folder

    return new


@pytest.mark.parametrize(
    ("contest", "broken"),
    [(FOR_THE_DUE, "version-counts-events"), (FOR_THE_REST, "credits-summed")],
    ids=["due", "rest"],
)
def test_a_store_that_reads_early_and_writes_unguarded_is_found_out(
    new_place: Callable[[], Place], contest: Contest, broken: str
) -> None:
    """Judged together and written over each other, money is lost, and the audit says so."""
    for _ in range(MOST_CONTESTS):
        place = new_place()
        let_anything_pass(place)
        if held(contest, careless, place).together:
            break
    assert broken in faults(place)
