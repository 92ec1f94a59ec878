"""The race with its negative control: a store that breaks the law must be seen to fail."""

from pathlib import Path

from races.books import read_books
from races.contest import FOR_THE_ENDING, FOR_THE_MONEY, ROUNDS, Contest, Report, held
from races.laws import complaints, two_winners
from races.stores import CarelessStore, RealStore

MOST_CONTESTS = 5


def test_the_real_store_grants_one_ending(tmp_path: Path) -> None:
    """Processes that judge inside the one write transaction never judge together, and one of them wins."""
    report = held(FOR_THE_ENDING, RealStore, tmp_path)
    assert report.together == set()
    assert len(report.won) == ROUNDS
    assert complaints(read_books(tmp_path), report.won) == []


def test_a_store_that_reads_early_and_writes_unguarded_is_found_out(tmp_path: Path) -> None:
    """With orders read outside the transaction and no version guard, the checker reports two winners."""
    report, folder = carelessly_held(FOR_THE_ENDING, tmp_path)
    found = two_winners(report.won)
    assert {sentence.split(":")[0] for sentence in found} >= report.together
    assert set(found) < set(complaints(read_books(folder), report.won))


def test_the_real_store_grants_one_refund(tmp_path: Path) -> None:
    """Of two processes that want 60 % of the same payment back one gets it, and the books hold."""
    report = held(FOR_THE_MONEY, RealStore, tmp_path)
    assert report.together == set()
    assert len(report.won) == ROUNDS
    books = read_books(tmp_path)
    assert complaints(books, report.won) == []
    assert [len(refunds) for refunds in books.refunds.values()] == [1] * ROUNDS


def test_a_store_that_lets_both_refunds_pass_is_found_out(tmp_path: Path) -> None:
    """Read outside the transaction, without guard and CHECK, 120 % go back, and the checker reports it."""
    report, folder = carelessly_held(FOR_THE_MONEY, tmp_path)
    found = complaints(read_books(folder), report.won)
    for name in report.together:
        assert f"{name}: 2 winners" in found
        assert f"{name}: its refunds sum to 1200060 of 1000050" in found


def carelessly_held(contest: Contest, folder: Path) -> tuple[Report, Path]:
    """A contest of careless stores in which they did judge together, and its folder."""
    for number in range(MOST_CONTESTS):
        own = folder / f"contest-{number}"
        own.mkdir()
        report = held(contest, CarelessStore, own)
        if report.together:
            return report, own
    raise AssertionError("they never judged together")
