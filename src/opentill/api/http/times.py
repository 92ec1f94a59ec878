"""The one parser of times on the wire: generous in form, strict in meaning (contract 1.5).

ISO 8601 as people and programs write it: with dashes and colons or without, any number of decimals, seconds
or none, an offset in any of its spellings. In a query a plus that was not escaped arrives as a blank, and is
taken for what it was. Nothing is guessed beyond that: where a moment decides about money it needs its offset.
"""

import re
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Annotated, Final

from msgspec import Meta

from opentill.api.wire import Rejected, invalid
from opentill.domain.times import is_plausible

TimeText = Annotated[str, Meta(extra_json_schema={"format": "date-time"})]
"""A time in a body; ``instant`` or ``told_time`` reads it, and not the decoder."""

_DAY_MILLISECONDS: Final = 86_400_000
_EPOCH_DAY: Final = date(1970, 1, 1).toordinal()
_TIME: Final = re.compile(
    r"""(?P<date> \d{4}-\d\d-\d\d | \d{8} | \d{4}-W\d\d-\d | \d{4}W\d{3} | (?P<year>\d{4})-?(?P<day>\d{3}) )
        (?: [Tt\ ]
            (?P<hour>\d\d) (?: :?(?P<minute>\d\d) (?: :?(?P<second>\d\d) (?: [.,](?P<decimals>\d+) )? )? )?
            (?P<offset> [Zz] | (?P<sign>[+\- ])(?P<hours>\d\d)(?: :?(?P<minutes>\d\d) )? )?
        )?""",
    re.ASCII | re.VERBOSE,
)


@dataclass(frozen=True, slots=True)
class ReadTime:
    """The meaning of a text that is a date or a time."""

    at: int
    """UTC milliseconds, taken as UTC where no offset is given; of a date, its beginning."""
    is_date: bool
    has_offset: bool


def read_time(text: str) -> ReadTime | None:
    """Read a date or a time; None where it is neither. It may lie anywhere, also outside of our range."""
    found = _TIME.fullmatch(text.strip())
    if found is None:
        return None
    parts = {name: int(found[name] or 0) for name in ("hour", "minute", "second", "hours", "minutes")}
    is_leap = (parts["minute"], parts["second"]) == (59, 60)  # as in Unix time, the second after it
    if parts["minute"] > 59 or (parts["second"] > 59 and not is_leap):
        return None
    if parts["hours"] > 23 or parts["minutes"] > 59:
        return None
    milliseconds = int((found["decimals"] or "").ljust(3, "0")[:3])
    of_day = ((parts["hour"] * 60 + parts["minute"]) * 60 + parts["second"]) * 1000 + milliseconds
    day = _day(found)
    if day is None or (parts["hour"] > 23 and of_day != _DAY_MILLISECONDS):
        return None
    ahead = (parts["hours"] * 60 + parts["minutes"]) * (-60_000 if found["sign"] == "-" else 60_000)
    at = (day - _EPOCH_DAY) * _DAY_MILLISECONDS + of_day - ahead
    return ReadTime(at, is_date=found["hour"] is None, has_offset=found["offset"] is not None)


def _day(found: re.Match[str]) -> int | None:
    """Return the number of the day, counted as ``date.toordinal`` does; None where there is no such day."""
    try:
        if found["day"] is None:
            return date.fromisoformat(found["date"]).toordinal()
        first, days = date(int(found["year"]), 1, 1), int(found["day"])
        day = first + timedelta(days=days - 1)
        return day.toordinal() if day.year == first.year else None
    except (ValueError, OverflowError):
        return None


# --- where a caller asks for something --------------------------------------------------------------


def instant(text: str, field: str) -> int:
    """Return a time with an offset in UTC milliseconds; raises Rejected for any other text (``02``)."""
    found = read_time(text)
    if found is None or found.is_date or not found.has_offset:
        raise invalid(f"{field} must be an ISO-8601 time with an offset")
    return _plausible(found.at, field)


def beginning(text: str, field: str) -> int:
    """Return where a list begins, itself included, or where what is before a time ends, itself not included.

    A date stands for its first moment, and a time without an offset is UTC. Raises as ``instant``.
    """
    return _plausible(_date_or_time(text, field).at, field)


def ending(text: str, field: str) -> int:
    """Return the first moment that a list does not have: a date stands for all of its day, a time for itself.

    A time without an offset is UTC. Raises as ``instant``.
    """
    found = _date_or_time(text, field)
    return _plausible(found.at, field) + (_DAY_MILLISECONDS if found.is_date else 0)


def _date_or_time(text: str, field: str) -> ReadTime:
    found = read_time(text)
    if found is None:
        raise invalid(f"{field} must be an ISO-8601 date or time")
    return found


def _plausible(at: int, field: str) -> int:
    if not is_plausible(at):
        raise _implausible(field)
    return at


def _implausible(field: str) -> Rejected:
    return invalid(f"{field} must lie between 2000-01-01 and 2200-01-01")


# --- where money is told ----------------------------------------------------------------------------


def told_time(text: str) -> int | None:
    """Return the time of money that has come, in UTC milliseconds; None where the text can not be used.

    A date stands for its end. None for what is no time, has no offset or lies outside of our range: money
    that came is never refused for its time, which then counts as not told.
    """
    found = read_time(text)
    if found is None or not (found.is_date or found.has_offset) or not is_plausible(found.at):
        return None
    return found.at + (_DAY_MILLISECONDS - 1 if found.is_date else 0)
