"""A whole database held against the rail's own ledger: seeded defects on either side of it are found."""

import asyncio
from collections import Counter
from pathlib import Path

import pytest

from databases import reading, url_of
from opentill.store.audit.examination import open_read_only
from opentill.store.audit.rail import MoneyOut, held_against_rail
from store import seed_data

GAVE_OUT = """
    SELECT transaction_id, amount FROM attempts WHERE status = 'VOIDED'
     UNION ALL
    SELECT transaction_id, amount FROM refunds WHERE status = 'DONE' OR finer_status = 'DISPUTED'
     UNION ALL
    SELECT transaction_id, amount FROM returns
     WHERE (status = 'DONE' AND bank_reference = '') OR finer_status = 'DISPUTED'
"""


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    folder = tmp_path_factory.mktemp("seed")
    return folder, asyncio.run(seed_data.play(folder))


def _gave_out(place: Path) -> Counter[str]:
    """What a rail that did as it was told gave out, by what it gives back."""
    out: Counter[str] = Counter()
    with reading(place) as run:
        for row in run(GAVE_OUT):
            out[row["transaction_id"]] += row["amount"]
    return out


def _offenders(place: Path, before: Counter[str], after: Counter[str]) -> list[str]:
    with open_read_only(url_of(place)) as connection:
        found = held_against_rail(connection, MoneyOut(before, lambda: after), 9)
    assert found.count == len(found.first)
    return [offence.order_id for offence in found.first]


def test_a_rail_that_did_as_it_was_told_agrees(played: tuple[Path, dict[str, str]]) -> None:
    """Refunds, returns, voids and disputes of every status agree with the rail that carried them out."""
    out = _gave_out(played[0])
    assert (out["T refund done"], out["T refund disputed"], out["T voided"]) == (
        1_000_00,
        1_000_00,
        10_000_50,
    )
    assert out["C return disputed"] == 10_000_00
    assert _offenders(played[0], out, out) == []


@pytest.mark.parametrize(
    ("order", "transaction"),
    [
        ("refund running", "T refund running"),
        ("refund unknown", "T refund unknown"),
        ("refund closing", "T refund closing"),
        ("return running", "C return running"),
        ("return closing", "C return closing"),
        ("voiding", "T voiding"),
    ],
)
def test_what_is_on_its_way_may_have_arrived(
    played: tuple[Path, dict[str, str]], order: str, transaction: str
) -> None:
    """Money whose answer is still out may be gone or not, but no more than its amount."""
    place, orders = played
    out = _gave_out(place)
    amount = 1_000_00 if transaction.startswith("T refund") else 10_000_00
    gone = out + Counter({transaction: amount})
    assert _offenders(place, gone, gone) == []
    twice = gone + Counter({transaction: amount})
    assert _offenders(place, twice, twice) == [orders[order]]


@pytest.mark.parametrize(
    ("order", "transaction", "more"),
    [
        ("refund refused", "T refund refused", 1_000_00),
        ("return parked", "C return parked", 10_000_01),
        ("refund done", "T refund done", 1),
        ("refund done", "T refund done", -1),
        ("return done", "C return done", -10_000_00),
        ("return disputed", "C return disputed", 1),
        ("refund disputed", "T refund disputed", -1),
        ("paid", "T paid", 1),
    ],
)
def test_a_rail_that_gave_out_something_else_is_found(
    played: tuple[Path, dict[str, str]], order: str, transaction: str, more: int
) -> None:
    """Paid after its refusal, more than was booked, or less: the one order is named."""
    place, orders = played
    out = _gave_out(place)
    out[transaction] += more
    assert _offenders(place, out, out) == [orders[order]]


def test_what_goes_out_while_the_books_are_read_is_no_offence(played: tuple[Path, dict[str, str]]) -> None:
    """A payment that the rail made after its first reading, and of which the books tell already, agrees."""
    out = _gave_out(played[0])
    assert _offenders(played[0], out - Counter({"T refund done": 1_000_00}), out) == []
