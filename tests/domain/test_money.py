"""Amounts: integers in minor units, read from and printed as decimal text (ruling 10)."""

import pytest
from hypothesis import given as for_all
from hypothesis import settings
from hypothesis import strategies as st

from opentill.domain.money import MAX_MINOR, MINOR_DIGITS, InvalidAmount, Money, major_units
from opentill.domain.order import Totals

CURRENCIES = ["NGN", "CDF", "USD", "EUR", "GBP"]


@for_all(st.integers(1, 10**15), st.sampled_from(CURRENCIES))
@settings(max_examples=100, deadline=None)
def test_what_is_printed_is_read_back(minor: int, currency: str) -> None:
    """Every valid amount survives printing and parsing to the last minor unit."""
    assert Money.parse(str(Money(minor, currency)), currency) == Money(minor, currency)


@for_all(st.text("0123456789.,-+eE _\n\u0663\uff11", max_size=36))
@settings(max_examples=150, deadline=None)
def test_any_text_is_an_amount_or_is_refused(text: str) -> None:
    """Whatever the text, the answer is an amount inside the limits or InvalidAmount, nothing else."""
    try:
        money = Money.parse(text, "NGN")
    except InvalidAmount:
        return
    assert 1 <= money.minor <= MAX_MINOR
    assert set(text) <= set("0123456789.")


READ = [
    ("10000.50", 1_000_050),
    ("10000.5", 1_000_050),
    ("10000", 1_000_000),
    ("0.01", 1),
    ("00012.30", 1230),
    ("202.8", 20_280),
    ("10000000000000.00", 10**15),
]


@pytest.mark.parametrize(("text", "minor"), READ)
def test_plain_decimals_are_read_exactly(text: str, minor: int) -> None:
    """Major units with none, one or two decimals are read as the minor units a customer expects."""
    assert Money.parse(text, "NGN").minor == minor


REFUSED = [
    *((t, "must be a plain decimal number") for t in ("", " ", "abc", "NaN", "Infinity", "0x10", "1,000.00")),
    *((t, "must be a plain decimal number") for t in ("-1", "+1", "-0.01", "1e3", "1E3", "1.0e1")),
    *(
        (t, "must be a plain decimal number")
        for t in (" 1", "1 ", "1\n", "1_000", ".5", "5.", "1.2.3", "1..2")
    ),
    *(
        (t, "must be a plain decimal number")
        for t in ("٣", "१२", "\uff11\uff12", "1.²", "1\u00a0000", "1\x00", "\ud800")
    ),
    ("0" * 32 + "1", "must be a plain decimal number"),
    *((t, "can not have more than 2 decimal places") for t in ("1.001", "1.000", "0.999999999")),
    *((t, "must be greater than zero") for t in ("0", "0.0", "0.00", "000")),
    *((t, "is too large") for t in ("10000000000000.01", "10000000000001", "9" * 32)),
]


@pytest.mark.parametrize(("text", "why"), REFUSED)
def test_anything_else_is_refused_with_its_reason(text: str, why: str) -> None:
    """Signs, exponents, spaces, foreign digits, too many decimals, zero and the excessive are refused."""
    with pytest.raises(InvalidAmount) as caught:
        Money.parse(text, "NGN")
    assert str(caught.value) == why


PRINTED = [
    (0, "0.00"),
    (1, "0.01"),
    (100, "1.00"),
    (1_000_050, "10000.50"),
    (-5, "-0.05"),
    (-12_345, "-123.45"),
]


@pytest.mark.parametrize(("minor", "text"), PRINTED)
def test_amounts_are_printed_with_all_their_decimals(minor: int, text: str) -> None:
    """Every amount is printed with two decimals, a negative one with a leading minus."""
    assert major_units(minor, "NGN") == text


def test_the_currencies_are_those_of_the_contract() -> None:
    """NGN, CDF and USD, and on request EUR and GBP, all with two digits (contract 3.2)."""
    assert dict.fromkeys(CURRENCIES, 2) == MINOR_DIGITS


ACCOUNTED = [
    (Totals(), True),
    (Totals(received=15, applied=1, held=2, returning=4, returned=8, refunded=1), True),
    (Totals(received=14, applied=1, held=2, returning=4, returned=8), False),
    (Totals(received=16, applied=1, held=2, returning=4, returned=8), False),
    (Totals(received=5, applied=5, refunded=6), False),
    (Totals(received=5, applied=5, refunded=-1), False),
    (Totals(received=0, applied=5, held=-5), False),
    (Totals(received=0, held=5, applied=-5), False),
    (Totals(received=0, returned=5, returning=-5), False),
    (Totals(received=0, returning=5, returned=-5), False),
]


@pytest.mark.parametrize(("totals", "balanced"), ACCOUNTED)
def test_totals_balance_only_when_all_money_is_accounted_for(totals: Totals, balanced: bool) -> None:
    """All that was received is applied, held, returning or returned; refunds stay within what was applied."""
    assert totals.balanced() is balanced
