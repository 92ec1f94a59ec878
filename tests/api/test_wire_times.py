"""The one parser of times: which texts mean which moment, and which mean none."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given as for_all
from hypothesis import strategies as st

from opentill.api.http.times import beginning, ending, instant, read_time, told_time
from opentill.api.wire import Rejected, iso_time

DAY = 86_400_000
JULY = 1_782_864_000_000
"""2026-07-01, its first millisecond in UTC."""
TEN = JULY + 10 * 3_600_000


@pytest.mark.parametrize(
    "text",
    [
        "2026-07-01T10:00:00.000Z",
        "2026-07-01T10:00:00Z",
        "2026-07-01T10:00Z",
        "2026-07-01T10Z",
        "20260701T100000Z",
        "2026-07-01 10:00:00Z",
        "2026-07-01t10:00:00z",
        "2026-07-01T11:00:00+01:00",
        "2026-07-01T11:00:00+0100",
        "2026-07-01T11:00:00+01",
        "2026-07-01T11:00:00 01:00",  # a plus that a query turned into a blank
        "2026-07-01T08:30:00-01:30",
        "2026-07-01T10:00:00,0009999Z",
        "2026-W27-3T10:00Z",
        "2026-182T10:00Z",
        "  2026-07-01T10:00:00Z ",
    ],
)
def test_a_time_has_many_forms_and_one_meaning(text: str) -> None:
    """However ISO 8601 lets one write ten o'clock, it is that millisecond wherever a time is taken."""
    assert instant(text, "expiresAt") == TEN
    assert beginning(text, "dateFrom") == ending(text, "dateTo") == told_time(text) == TEN


@pytest.mark.parametrize("text", ["2026-07-01", "20260701", "2026-W27-3", "2026W273", "2026-182", "2026182"])
def test_a_date_is_all_of_its_day(text: str) -> None:
    """A list that begins with it has its first millisecond, one that ends with it the last, and no more."""
    assert (beginning(text, "dateFrom"), ending(text, "dateTo")) == (JULY, JULY + DAY)
    assert told_time(text) == JULY + DAY - 1


def test_the_end_of_a_day_is_the_beginning_of_the_next() -> None:
    """24:00 and a leap second are the moment after the last one of their day, as Unix time has it."""
    for text in ("2026-06-30T24:00:00Z", "2026-06-30T23:59:60Z", "2026-07-01T00:59:60+01:00"):
        assert instant(text, "expiresAt") == JULY


@pytest.mark.parametrize(
    "text",
    [
        "",
        "soon",
        "1782864000",
        "2026-13-01",
        "2026-02-30T10:00Z",
        "2026-366",
        "2026-W27",
        "2026-07",
        "0000-01-01",
        "2026-07-01X10:00Z",
        "2026-07-01T25:00Z",
        "2026-07-01T24:01Z",
        "2026-07-01T10:60Z",
        "2026-07-01T10:15:60Z",
        "2026-07-01T10:00:00+24:00",
        "2026-07-01T10:00:00+01:60",
        "2026-07-01T10:00:00.Z",
        "\u0662026-07-01",
    ],
)
def test_what_is_no_time_means_nothing(text: str) -> None:
    """A day, an hour or an offset that does not exist is none, and no list, due time or credit has it."""
    assert read_time(text) is None
    assert told_time(text) is None
    for read, sentence in (
        (instant, "it must be an ISO-8601 time with an offset"),
        (beginning, "it must be an ISO-8601 date or time"),
        (ending, "it must be an ISO-8601 date or time"),
    ):
        with pytest.raises(Rejected) as caught:
            read(text, "it")
        assert sentence.encode() in caught.value.answer.body


@pytest.mark.parametrize(
    "text",
    [
        "0001-01-01T00:00:00+01:00",
        "9999-12-31T23:59:59-14:00",
        "1999-12-31T23:59:59.999Z",
        "2200-01-01T00:00:00.001Z",
    ],
)
def test_a_time_outside_of_the_range_is_not_taken(text: str) -> None:
    """Whoever asks for it is told the range; whoever tells of money is not heard on it."""
    assert told_time(text) is None
    for read in (instant, beginning, ending):
        with pytest.raises(Rejected) as caught:
            read(text, "it")
        assert b"it must lie between 2000-01-01 and 2200-01-01" in caught.value.answer.body


@pytest.mark.parametrize("text", ["2026-07-01T10:00:00", "2026-07-01 10:00"])
def test_without_an_offset_a_time_is_utc_in_a_list_and_nothing_else(text: str) -> None:
    """Lists take it for UTC, as documented; a due time wants its offset, and of money it is not believed."""
    assert beginning(text, "dateFrom") == ending(text, "dateTo") == TEN
    assert told_time(text) is None
    with pytest.raises(Rejected):
        instant(text, "expiresAt")


@for_all(
    st.datetimes(datetime(2001, 1, 1), datetime(2199, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001
    st.integers(-1439, 1439),
)
def test_our_own_times_are_read_as_themselves(moment: datetime, ahead_minutes: int) -> None:
    """What an answer shows is taken back as the same millisecond, and Python agrees with us on offsets."""
    at = (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)
    assert instant(iso_time(at), "expiresAt") == beginning(iso_time(at), "dateFrom") == at
    sign, ahead = "-" if ahead_minutes < 0 else "+", abs(ahead_minutes)
    written = f"{moment.replace(tzinfo=None).isoformat()}{sign}{ahead // 60:02}:{ahead % 60:02}"
    theirs = datetime.fromisoformat(written) - datetime(1970, 1, 1, tzinfo=UTC)
    assert instant(written, "expiresAt") == theirs // timedelta(milliseconds=1)
