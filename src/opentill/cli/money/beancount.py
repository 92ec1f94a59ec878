"""The ledger as a plain text journal for beancount, which proves the books by rules that are not ours.

Debits are positive and credits negative on both sides. Each event is a transaction, which beancount refuses
when it does not sum to zero; at the end every account is asserted to the last minor unit, so that a
transaction which is taken out or put in is noticed as well.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from datetime import date, timedelta
from typing import Final

from opentill.domain.ledger import FEES, Entry
from opentill.domain.money import major_units
from opentill.domain.times import calendar
from opentill.store.audit.bookings import Booking

_ASSETS, _LIABILITIES, _INCOME = "Assets", "Liabilities", "Income"
_OWED_TO_US: Final = "_rail"
"""How the names of those ledger accounts end whose owner owes us what payers gave it."""
_TOLERANCE: Final = "~ 0"
"""Beancount lets a balance be off by one minor unit unless it is told not to."""
_LAST_DAY: Final = date.max - timedelta(days=1)
"""The morning after it is the last that a calendar has."""


def journal(bookings: Iterable[Booking]) -> Iterator[str]:
    """Write the journal, piece by piece. Dates are UTC; the order of directives does not matter."""
    yield 'option "title" "opentill"\n'
    books = _Sums()
    for booking in bookings:
        books.add(booking)
        yield _transaction(booking)
    yield from books.opened()
    yield from books.asserted()


class _Sums:
    """The sums that the journal has said so far, by account and currency."""

    def __init__(self) -> None:
        self._sums: defaultdict[tuple[str, str], int] = defaultdict(int)
        self._opened_on: dict[str, date] = {}
        self._last = date.min

    def add(self, booking: Booking) -> None:
        day = _day(booking)
        self._last = max(self._last, day)
        for entry in booking.entries:
            account = _account(entry)
            self._sums[account, entry.currency] += entry.amount
            self._opened_on[account] = min(self._opened_on.get(account, day), day)

    def opened(self) -> Iterator[str]:
        for account, day in sorted(self._opened_on.items()):
            yield f"\n{day} open {account}"
        yield "\n"

    def asserted(self) -> Iterator[str]:
        for (account, currency), amount in sorted(self._sums.items()):
            morning_after = self._last + timedelta(days=1)  # a balance holds at the beginning of its day
            sum_ = f"{major_units(amount, currency)} {_TOLERANCE} {currency}"
            yield f"\n{morning_after} balance {account}  {sum_}"
        yield "\n"


def _transaction(booking: Booking) -> str:
    lines = "".join(
        f"  {_account(entry)}  {major_units(entry.amount, entry.currency)} {entry.currency}\n"
        for entry in booking.entries
    )
    return (
        f"\n{_day(booking)} * {_quoted(booking.event_type)} {_quoted(booking.reference)}\n"
        f"  merchant: {_quoted(booking.account_id)}\n"
        f"  order: {_quoted(booking.order_id)}\n"
        f"  event: {_quoted(str(booking.sequence))}\n{lines}"
    )


def _account(entry: Entry) -> str:
    """Name an account as beancount does.

    ``card_rail`` is Assets:CardRail, ``merchant:5b1f...`` Liabilities:Merchant:5B1F... .
    """
    name, _, owner = entry.account.partition(":")
    kind = _ASSETS if name.endswith(_OWED_TO_US) else _INCOME if name == FEES else _LIABILITIES
    words = "".join(word.capitalize() for word in name.split("_"))
    return ":".join(filter(None, (kind, words, _component(owner))))


def _component(owner: str) -> str:
    """Spell one part of a name: letters, digits and dashes, and neither a small letter nor a dash first."""
    return "".join(each if each.isascii() and each.isalnum() else "-" for each in owner.upper()).lstrip("-")


def _day(booking: Booking) -> date:
    return min(calendar(booking.at).date(), _LAST_DAY)


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
