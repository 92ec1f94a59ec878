"""Times and durations: every one that can be stored has a calendar, and each length of time one meaning."""

from datetime import datetime

import pytest
from hypothesis import example
from hypothesis import given as for_all
from hypothesis import strategies as st

from opentill.domain.times import (
    EARLIEST,
    LATEST,
    calendar,
    duration_seconds,
    duration_text,
    is_plausible,
)


@for_all(st.integers(-(2**63), 2**63 - 1))
@example(-62_135_600_400_000)  # 0001-01-01T00:00:00+01:00
@example(253_402_351_199_000)  # 9999-12-31T23:59:59-14:00
def test_every_stored_time_has_a_moment_of_the_calendar(at: int) -> None:
    """Whatever 64 bits say is a moment in UTC, and what a calendar has is exactly that moment."""
    found = calendar(at)
    assert found.utcoffset() is not None
    if -62_135_596_800_000 <= at <= 253_402_300_799_999:
        since = found - datetime.fromisoformat("1970-01-01T00:00:00+00:00")
        assert (since.days * 86_400 + since.seconds) * 1000 + since.microseconds // 1000 == at


def test_what_no_calendar_has_is_shown_as_its_nearest_moment() -> None:
    """Before the year 1 is its first millisecond, behind the year 9999 the last one of that."""
    assert calendar(-(2**63)).isoformat(timespec="milliseconds") == "0001-01-01T00:00:00.000+00:00"
    assert calendar(2**63 - 1).isoformat(timespec="milliseconds") == "9999-12-31T23:59:59.999+00:00"


def test_times_are_taken_from_2000_to_2200() -> None:
    """Both ends belong to the range, and a millisecond beyond either does not."""
    assert calendar(EARLIEST).isoformat() == "2000-01-01T00:00:00+00:00"
    assert calendar(LATEST).isoformat() == "2200-01-01T00:00:00+00:00"
    taken = [is_plausible(at) for at in (EARLIEST - 1, EARLIEST, LATEST, LATEST + 1)]
    assert taken == [False, True, True, False]


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("1800", 1800), ("90s", 90), ("30m", 1800), ("2h", 7200), ("1d", 86_400), ("0", 0), (" 5m ", 300)],
)
def test_a_duration_is_seconds_or_has_its_unit(text: str, seconds: int) -> None:
    """A bare number is seconds; s, m, h and d say what else it is."""
    assert duration_seconds(text) == seconds


@pytest.mark.parametrize("text", ["", "m", "-1", "+1", "1.5h", "1 h", "1w", "1H", "1h30m", "\u0661"])
def test_anything_else_is_no_duration(text: str) -> None:
    """Signs, fractions, other units, several units and other digits mean nothing, rather than a guess."""
    assert duration_seconds(text) is None


@for_all(st.integers(1, 10**8))
def test_a_written_duration_is_read_as_itself(seconds: int) -> None:
    """What is written in the shortest way is the same length when it is read."""
    assert duration_seconds(duration_text(seconds)) == seconds
