"""The race with its negative control: a store that breaks the law must be seen to fail."""

from pathlib import Path

from races.books import read_books
from races.contest import ROUNDS, held
from races.laws import complaints, two_winners
from races.stores import CarelessStore, RealStore

MOST_CONTESTS = 5


def test_the_real_store_grants_one_ending(tmp_path: Path) -> None:
    """Processes that judge inside the one write transaction never judge together, and one of them wins."""
    report = held(RealStore, tmp_path)
    assert report.together == set()
    assert len(report.won) == ROUNDS
    assert complaints(read_books(tmp_path), report.won) == []


def test_a_store_that_reads_early_and_writes_unguarded_is_found_out(tmp_path: Path) -> None:
    """With orders read outside the transaction and no version guard, the checker reports two winners."""
    for number in range(MOST_CONTESTS):
        folder = tmp_path / f"contest-{number}"
        folder.mkdir()
        report = held(CarelessStore, folder)
        if report.together:
            break
    assert report.together
    found = two_winners(report.won)
    assert {sentence.split(":")[0] for sentence in found} >= report.together
    assert set(found) < set(complaints(read_books(folder), report.won))
