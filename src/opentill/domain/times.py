"""Times: the range in which they are taken, a calendar for every one that can be stored, and durations."""

import re
from datetime import UTC, datetime, timedelta
from typing import Final

EARLIEST: Final = 946_684_800_000
"""2000-01-01 UTC: no time before it is taken from anybody."""
LATEST: Final = 7_258_118_400_000
"""2200-01-01 UTC: nor any behind it."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_FIRST_SHOWN: Final = -62_135_596_800_000
"""0001-01-01T00:00:00.000Z, before which no calendar of ours goes."""
_LAST_SHOWN: Final = 253_402_300_799_999
"""9999-12-31T23:59:59.999Z, behind which it does not go either."""

_UNIT_SECONDS: Final = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86_400}
_DURATION: Final = re.compile(r"([0-9]{1,9})([smhd]?)", re.ASCII)


def is_plausible(at: int) -> bool:
    """Tell whether UTC milliseconds lie in the range in which times are taken, both of its ends included."""
    return EARLIEST <= at <= LATEST


def calendar(at: int) -> datetime:
    """Return UTC milliseconds as a moment of the calendar, in UTC.

    It is total: a database keeps 64 bits, and what lies beyond the years 1 to 9999 is shown as the first or
    the last moment of them, so that no row can be unreadable.
    """
    return _EPOCH + timedelta(milliseconds=min(max(at, _FIRST_SHOWN), _LAST_SHOWN))


def duration_seconds(text: str) -> int | None:
    """Return the seconds of a duration such as ``1800``, ``90s``, ``30m``, ``2h`` or ``1d``, or None."""
    found = _DURATION.fullmatch(text.strip())
    return int(found[1]) * _UNIT_SECONDS[found[2]] if found else None


def duration_text(seconds: int) -> str:
    """Write seconds in the shortest way that ``duration_seconds`` reads, such as ``30m``."""
    unit = next(unit for unit in "dhms" if seconds % _UNIT_SECONDS[unit] == 0)
    return f"{seconds // _UNIT_SECONDS[unit]}{unit}"
