"""The sandbox rail's journal, in a file and in PostgreSQL: what was answered first stays, for all."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from threading import Barrier

import pytest

from databases import Place, rail_of
from opentill.rails.sandbox.journal import RailJournal, RailPayment, RailTry

PAYMENT = RailPayment("T", "otp_required", 100_00, "NGN", "T0", "Kindly enter the OTP")


def _try(number: int, outcome: str = "otp_rejected") -> RailTry:
    return RailTry("T", number, outcome, "T1", f"answer {number}")


@pytest.fixture
def journal(place: Place) -> Iterator[RailJournal]:
    journal = RailJournal(rail_of(place))
    yield journal
    journal.close()


def test_the_journal_keeps_the_first_answer(journal: RailJournal) -> None:
    """The first payment under an id and the first answer to a try stay; later ones get them back."""
    assert journal.payment("T") is None
    assert journal.begin(PAYMENT) == PAYMENT
    assert journal.begin(RailPayment("T", "declined", 1, "NGN", "05", "no")) == PAYMENT
    assert journal.confirm(_try(1)) == _try(1)
    assert journal.confirm(_try(1, "approved")) == _try(1)
    assert journal.payment("T") == PAYMENT


def test_the_journal_moves_a_payment_along_once(journal: RailJournal) -> None:
    """An approved payment answers later tries with what it has become."""
    journal.begin(PAYMENT)
    journal.confirm(_try(1, "approved"))
    assert journal.confirm(_try(2, "declined")).outcome == "approved"
    payment = journal.payment("T")
    assert payment is not None
    assert (payment.state, payment.amount, payment.message) == ("approved", 100_00, "answer 1")


def test_the_journal_survives_reopening(place: Place, journal: RailJournal) -> None:
    """What one process has answered another one knows, at once and after the first has gone."""
    other = RailJournal(rail_of(place))
    journal.begin(PAYMENT)
    assert other.payment("T") == PAYMENT
    assert other.void("T").state == "never_happened"
    journal.close()
    assert other.begin(PAYMENT).state == "never_happened"
    other.close()


def test_of_journals_that_are_made_at_once_all_work(place: Place) -> None:
    """Processes that start together make the tables once, and of their first answers to an id one stays."""
    together = Barrier(4)

    def answer(number: int) -> RailPayment:
        together.wait(10)
        with closing(RailJournal(rail_of(place))) as journal:
            together.wait(10)
            return journal.begin(RailPayment("T", "approved", number, "NGN", "00", "ok"))

    with ThreadPoolExecutor(4) as threads:
        assert len(set(threads.map(answer, range(4)))) == 1


def test_of_confirmations_at_once_one_pays(place: Place, journal: RailJournal) -> None:
    """Two processes that confirm the same payment at one moment get the outcome of one of them."""
    journal.begin(PAYMENT)
    together = Barrier(2)

    def confirm(number: int) -> str:
        with closing(RailJournal(rail_of(place))) as own:
            together.wait(10)
            return own.confirm(_try(number, ("approved", "declined")[number])).outcome

    with ThreadPoolExecutor(2) as threads:
        first, second = threads.map(confirm, range(2))
    payment = journal.payment("T")
    assert payment is not None
    assert first == second == payment.state
