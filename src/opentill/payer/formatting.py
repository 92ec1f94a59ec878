"""Amounts and moments as people write them in Nigeria, whatever language the server's machine speaks."""

from datetime import UTC
from decimal import Decimal
from typing import Final

from babel.dates import format_datetime
from babel.numbers import format_currency

from opentill.domain.money import major_units
from opentill.domain.times import calendar

_LOCALE: Final = "en_NG"


def amount(minor: int, currency: str) -> str:
    """Return minor units with the currency's sign, such as ``₦10,000.00``."""
    return format_currency(Decimal(major_units(minor, currency)), currency, locale=_LOCALE)


def moment(at: int) -> str:
    """Return a time in UTC milliseconds, whichever it is, such as ``5 January 2026, 09:30 UTC``."""
    return format_datetime(calendar(at), "d MMMM y, HH:mm 'UTC'", tzinfo=UTC, locale=_LOCALE)


def left(seconds: int) -> str:
    """Return how much time is left, rounded down to what a person would say: ``29 minutes``."""
    for unit, length in (("day", 86_400), ("hour", 3600), ("minute", 60)):
        if seconds >= length:
            number = seconds // length
            return f"{number} {unit}{'s' if number > 1 else ''}"
    return "less than a minute"
