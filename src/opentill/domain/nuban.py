"""Nigerian bank account numbers (NUBAN): nine digits of a bank's own and a check digit over both."""

from typing import Final

SERIALS: Final = 10**9
"""The account numbers that one bank can have."""
_WEIGHTS: Final = (3, 7, 3)
_BANK_DIGITS: Final = 6


def account_number(bank_code: str, serial: int) -> str:
    """Return the 10-digit number of a bank's ``serial``-th account; a bank code has 3 to 6 digits.

    Raises ValueError for a code or serial that can not be.
    """
    if not (bank_code.isascii() and bank_code.isdigit() and 3 <= len(bank_code) <= _BANK_DIGITS):
        raise ValueError("a bank code is 3 to 6 digits")
    if not 0 <= serial < SERIALS:
        raise ValueError("a serial has 9 digits")
    digits = f"{serial:09d}"
    return digits + _check_digit(bank_code, digits)


def is_account_number(bank_code: str, number: str) -> bool:
    """Tell if the check digit fits: with one digit mistyped it never does."""
    if not (len(number) == 10 and number.isascii() and number.isdigit()):
        return False
    return _check_digit(bank_code, number[:9]) == number[9]


def _check_digit(bank_code: str, serial: str) -> str:
    """Compute it by the central bank's weights 3, 7, 3 over code, filled up with zeros, and serial."""
    digits = bank_code.zfill(_BANK_DIGITS) + serial
    total = sum(int(digit) * _WEIGHTS[place % 3] for place, digit in enumerate(digits))
    return str(-total % 10)
