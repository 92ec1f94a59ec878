"""The sandbox rail: the documented cards and passwords, one answer per id, and a memory of its own."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import TypeVar

import pytest

from databases import RAIL_FILE, Place, rail_contents, rail_of
from opentill.domain.commands import RailOutcome
from opentill.rails.rail import Card, RailAnswer
from opentill.rails.sandbox.card import SandboxCardRail
from opentill.rails.sandbox.journal import RailJournal
from rails.till import CARD, RETURN_URL, make_challenge, make_token

T = TypeVar("T")
APPROVED, DECLINED, OTP_REQUIRED = RailOutcome.APPROVED, RailOutcome.DECLINED, RailOutcome.OTP_REQUIRED
VOIDED, NEVER_HAPPENED = RailOutcome.VOIDED, RailOutcome.NEVER_HAPPENED


def _at_the_rail(place: Place, work: Callable[[SandboxCardRail], Awaitable[T]]) -> T:
    journal = RailJournal(rail_of(place))
    try:
        return asyncio.run(_awaited(work, SandboxCardRail(journal, 0, make_challenge, make_token)))
    finally:
        journal.close()


async def _awaited(work: Callable[[SandboxCardRail], Awaitable[T]], rail: SandboxCardRail) -> T:
    return await work(rail)


def _charge(place: Place, transaction_id: str = "T", amount: int = 100_00, card: Card = CARD) -> RailAnswer:
    return _at_the_rail(place, lambda rail: rail.charge(transaction_id, amount, "NGN", card, RETURN_URL))


def _confirm(place: Place, otp: str, number: int = 1, transaction_id: str = "T") -> RailAnswer:
    return _at_the_rail(place, lambda rail: rail.confirm(transaction_id, number, otp))


def _void(place: Place, transaction_id: str = "T") -> RailAnswer:
    return _at_the_rail(place, lambda rail: rail.void(transaction_id))


def _look_up(place: Place, transaction_id: str = "T") -> RailAnswer | None:
    return _at_the_rail(place, lambda rail: rail.look_up(transaction_id))


@pytest.mark.parametrize(
    ("change", "amount", "outcome", "code", "words"),
    [
        ({}, 100_00, OTP_REQUIRED, "T0", "OTP sent"),
        ({"cvv": "0", "pin": "", "expiry_month": "1", "expiry_year": "1999"}, 1, OTP_REQUIRED, "T0", "OTP"),
        ({"expiry_month": "12", "expiry_year": "21"}, 100_00, OTP_REQUIRED, "T0", "OTP"),
        ({}, 500_000_00, OTP_REQUIRED, "T0", "OTP"),
        ({}, 500_000_01, DECLINED, "51", "Insufficient Funds"),
        ({"expiry_month": "12", "expiry_year": "20"}, 100_00, DECLINED, "54", "Expired"),
        ({"expiry_month": "12", "expiry_year": "2020"}, 100_00, DECLINED, "54", "Expired"),
        ({"number": "5484497218317651"}, 100_00, DECLINED, "05", "Do not honor"),
        ({"number": "4111111111111111"}, 100_00, DECLINED, "05", "Do not honor"),
        ({"number": ""}, 100_00, DECLINED, "05", "Do not honor"),
    ],
)
def test_cards_answer_as_documented(
    place: Place, change: dict[str, str], amount: int, outcome: RailOutcome, code: str, words: str
) -> None:
    """The test card asks for an OTP; 12/20, more than 500 000 and every other number are declined."""
    answer = _charge(place, amount=amount, card=replace(CARD, **change))
    assert (answer.outcome, answer.response_code) == (outcome, code)
    assert words in answer.message


@pytest.mark.parametrize(
    ("otp", "outcome", "words"),
    [
        *((otp, APPROVED, "Approved") for otp in ("9999", "123456", "000000", "111111", "555555")),
        ("1234", DECLINED, "Your payment has exceeded the time required to pay"),
        ("5464", RailOutcome.OTP_REJECTED, "Invalid OTP"),
        ("7777", RailOutcome.OTP_REJECTED, "Token Authorization Not Successful. Incorrect Token Supplied"),
        ("", RailOutcome.OTP_REJECTED, "Token Authorization Not Successful"),
    ],
)
def test_passwords_answer_as_documented(place: Place, otp: str, outcome: RailOutcome, words: str) -> None:
    """The listed OTPs are approved with code 00, and each other one fails with its own words."""
    _charge(place)
    answer = _confirm(place, otp)
    assert answer.outcome is outcome
    assert answer.message.startswith(words)
    assert (answer.response_code == "00") == (outcome is APPROVED)


def test_one_id_has_one_answer_across_restarts(place: Place) -> None:
    """An id charged again, by another process and with another card, gets its first answer."""
    first = _charge(place)
    assert _charge(place, card=replace(CARD, number="4111111111111111")) == first
    declined = _charge(place, "T2", card=replace(CARD, number="4111111111111111"))
    assert _charge(place, "T2") == declined
    assert _look_up(place) == first
    assert _look_up(place, "T3") is None


def test_one_try_has_one_answer_across_restarts(place: Place) -> None:
    """A confirmation sent again with another OTP gets its first answer; the next try is a new one."""
    _charge(place)
    wrong = _confirm(place, "7777", number=1)
    assert _confirm(place, "9999", number=1) == wrong
    looked_up = _look_up(place)
    assert looked_up is not None
    assert looked_up.outcome is OTP_REQUIRED
    right = _confirm(place, "9999", number=2)
    assert right.outcome is APPROVED
    assert _confirm(place, "7777", number=2) == right
    assert _look_up(place) == right


def test_a_declined_payment_can_not_be_confirmed(place: Place) -> None:
    """Neither a declined card nor an id that the rail has never seen is approved by an OTP."""
    _charge(place, card=replace(CARD, number="4111111111111111"))
    assert _confirm(place, "9999").outcome is DECLINED
    assert _confirm(place, "9999", transaction_id="unseen").outcome is DECLINED


def test_money_that_was_taken_is_given_back(place: Place) -> None:
    """Voiding an approved payment answers VOIDED, each time, and the payment stays so."""
    _charge(place)
    _confirm(place, "9999")
    assert [_void(place).outcome for _ in range(2)] == [VOIDED, VOIDED]
    looked_up = _look_up(place)
    assert looked_up is not None
    assert looked_up.outcome is VOIDED
    assert _charge(place).outcome is DECLINED


def test_a_void_of_an_unseen_id_refuses_a_later_charge(place: Place) -> None:
    """Nothing was taken, nothing will be: the charge that arrives after its void is declined, for ever."""
    assert [_void(place).outcome for _ in range(2)] == [NEVER_HAPPENED, NEVER_HAPPENED]
    assert _charge(place).outcome is DECLINED
    assert _confirm(place, "9999").outcome is DECLINED


def test_a_void_while_the_payer_has_the_otp_refuses_the_otp(place: Place) -> None:
    """A payment that waited for its OTP has taken nothing; after the void its OTP is declined."""
    _charge(place)
    assert _void(place).outcome is NEVER_HAPPENED
    assert _confirm(place, "9999").outcome is DECLINED


@pytest.mark.parametrize("number", [CARD.number, "4111111111111111"])
def test_no_card_number_is_in_the_journal(place: Place, number: str) -> None:
    """Nothing that the journal keeps holds a card number, CVV or PIN, while it is open and after."""
    card = replace(CARD, number=number, cvv="918273", pin="645546")

    async def work(rail: SandboxCardRail) -> bytes:
        await rail.charge("T", 100_00, "NGN", card, RETURN_URL)
        await rail.confirm("T", 1, "918273")
        return _kept(place)

    written = _at_the_rail(place, work) + _kept(place)
    assert b"rail_payments" in written
    for secret in (number, number[4:12], "918273", "645546"):
        assert secret.encode() not in written


def _kept(place: Place) -> bytes:
    """All that the journal has written: the bytes of its files, or the rows of its tables."""
    if isinstance(place, str):
        return repr(rail_contents(place)).encode()
    files = sorted(place.glob(f"{RAIL_FILE}*"))
    assert files
    return b"".join(file.read_bytes() for file in files)
