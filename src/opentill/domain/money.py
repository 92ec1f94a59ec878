"""Amounts of money as integers in minor units; parsed from and printed as decimal text, never as floats."""

import re
from typing import Final

from msgspec import Struct

MINOR_DIGITS: Final = {"NGN": 2, "CDF": 2, "USD": 2, "EUR": 2, "GBP": 2}
"""The digits that each currency we know has after the decimal point (ISO 4217)."""

MAX_MINOR: Final = 10**15
"""The largest amount of one order in minor units: exact in JSON numbers and far inside a 64-bit integer."""

_PLAIN_DECIMAL = re.compile(r"(\d+)(?:\.(\d+))?", re.ASCII)


class InvalidAmount(ValueError):
    """The text is not an amount of this currency; the message is the predicate of a sentence."""


class Money(Struct, frozen=True):
    """An amount in minor units (kobo, cents) of one currency."""

    minor: int
    currency: str

    @classmethod
    def parse(cls, text: str, currency: str) -> "Money":
        """Read major units, such as ``"10000.50"``, as a customer would be charged them.

        Raises InvalidAmount when the text is not a plain decimal number (no sign, exponent or
        spaces), has more digits after the point than the currency, is zero, or exceeds MAX_MINOR
        (ruling 10).
        """
        digits = MINOR_DIGITS[currency]
        match = _PLAIN_DECIMAL.fullmatch(text) if len(text) <= 32 else None
        if match is None:
            raise InvalidAmount("must be a plain decimal number")
        whole, fraction = match.group(1), match.group(2) or ""
        if len(fraction) > digits:
            raise InvalidAmount(f"can not have more than {digits} decimal places")
        minor = int(whole + fraction.ljust(digits, "0"))
        if minor == 0:
            raise InvalidAmount("must be greater than zero")
        if minor > MAX_MINOR:
            raise InvalidAmount("is too large")
        return cls(minor, currency)

    def __str__(self) -> str:
        """Return the amount in major units with all of its decimals, such as ``"10000.50"``."""
        return major_units(self.minor, self.currency)


def major_units(minor: int, currency: str) -> str:
    """Print minor units as a decimal number of major units, negative ones with a leading minus."""
    digits = MINOR_DIGITS[currency]
    whole, fraction = divmod(abs(minor), 10**digits)
    return f"{'-' if minor < 0 else ''}{whole}.{fraction:0{digits}d}"
