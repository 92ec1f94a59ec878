"""``opentill ledger export --beancount``, judged by beancount itself."""

import asyncio
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from beancount import loader
from beancount.core.data import Transaction

from cli.program import run
from databases import NewDatabase, Place, url_of
from opentill.cli.money.beancount import journal
from opentill.domain.ledger import Entry
from opentill.store.audit.bookings import Booking
from store import seed_data
from store_factories import ACCOUNT, OTHER


@pytest.fixture(scope="module")
def place(new_database: NewDatabase, tmp_path_factory: pytest.TempPathFactory) -> Place:
    """A database of each kind in which everything has happened."""
    made = new_database() or tmp_path_factory.mktemp("seed")
    asyncio.run(seed_data.play(made))
    return made


def exported(place: Place, *more: str) -> str:
    answer = run("ledger", "export", "--beancount", "--database", url_of(place), *more)
    assert (answer.returncode, answer.stderr) == (0, "")
    return answer.stdout


def complaints(text: str) -> list[str]:
    """What beancount has to say against a journal."""
    _, errors, _ = loader.load_string(text)
    return [error.message for error in errors]


def transactions(text: str) -> list[Transaction]:
    entries, _, _ = loader.load_string(text)
    return [entry for entry in entries if isinstance(entry, Transaction)]


def test_beancount_accepts_the_books(place: Place) -> None:
    """Every booking of the database is a transaction of the journal, and nothing is wrong with any."""
    text = exported(place)
    assert complaints(text) == []
    told = {(entry.payee, entry.narration) for entry in transactions(text)}
    assert ("payment_success", "paid") in told
    assert ("payment_refunded", "refund done") in told
    assert ("payment_reversal", "voided") in told


ALTERED: dict[str, Callable[[str], str]] = {
    "an amount": lambda text: text.replace("  10000.50 NGN", "  10000.51 NGN", 1),
    "an account": lambda text: text.replace(
        "  Assets:CardRail  10000.50", "  Liabilities:ReturnsDue  10000.50", 1
    ),
    "a currency": lambda text: text.replace("10000.50 NGN", "10000.50 USD", 1),
    "a line gone": lambda text: re.sub(r"  Assets:CardRail  10000.50 NGN\n", "", text, count=1),
    "a transaction gone": lambda text: re.sub(r"\n[\d-]+ \* [^\n]*(\n  [^\n]*)+", "", text, count=1),
    "a transaction twice": lambda text: text + re.search(r"\n[\d-]+ \* [^\n]*(\n  [^\n]*)+\n", text)[0],  # type: ignore[index]
    "both sides by one kobo": lambda text: text.replace("10000.50 NGN", "10000.51 NGN", 2),
}


@pytest.mark.parametrize("what", ALTERED)
def test_beancount_rejects_books_in_which_one_entry_was_altered(place: Place, what: str) -> None:
    """An altered amount, account or currency, a line or transaction too few or too many is refused."""
    text = exported(place)
    altered = ALTERED[what](text)
    assert altered != text
    assert complaints(altered) != []


def test_one_merchant_is_exported_alone(place: Place) -> None:
    """With --account the journal has that merchant's bookings only, and is complete in itself."""
    own, foreign = exported(place, "--account", ACCOUNT), exported(place, "--account", OTHER)
    assert complaints(own) == complaints(foreign) == []
    assert {entry.meta["merchant"] for entry in transactions(own)} == {ACCOUNT}
    assert {entry.meta["merchant"] for entry in transactions(foreign)} == {OTHER}


def test_a_reference_can_not_become_an_entry() -> None:
    """Quotes and backslashes of a merchant stay text."""
    nasty = 'x" #tag\\" "\\'
    entries = (Entry("card_rail", "NGN", 100), Entry("merchant:ab-1", "NGN", -100))
    text = "".join(journal([Booking("a", "o", 2, 1_800_000_000_000, "payment_success", nasty, entries)]))
    assert complaints(text) == []
    (entry,) = transactions(text)
    assert entry.narration == nasty
    assert not entry.tags


def test_a_format_must_be_named(tmp_path: Path) -> None:
    """Without one the command says which there is and makes nothing."""
    answer = run("ledger", "export", "--data", str(tmp_path / "data"))
    assert (answer.returncode, answer.stdout) == (2, "")
    assert "--beancount" in answer.stderr
    assert list(tmp_path.iterdir()) == []
