"""Identifiers and time as the machine gives them."""

import uuid

import pytest

from opentill.clock import (
    MOST_AHEAD_MILLISECONDS,
    MOST_BACK_MILLISECONDS,
    SLOW_LOOK_MILLISECONDS,
    DatabaseClock,
    RandomIds,
    SystemClock,
    certain,
)
from store_factories import NOW, ToldClock

HOUR = 3_600_000


def test_ids_are_canonical_random_uuids() -> None:
    """Every id is a version 4 UUID of the RFC's variant in canonical text, and none comes twice."""
    ids = [RandomIds().uuid() for _ in range(2000)]
    parsed = [uuid.UUID(one) for one in ids]
    assert [str(one) for one in parsed] == ids
    assert {(one.version, one.variant) for one in parsed} == {(4, uuid.RFC_4122)}
    assert len(set(ids)) == len(ids)


def test_every_free_bit_of_an_id_is_random() -> None:
    """All 122 bits that version and variant leave free take both values."""
    numbers = [uuid.UUID(RandomIds().uuid()).int for _ in range(200)]
    ever_set, ever_clear = 0, 0
    for number in numbers:
        ever_set |= number
        ever_clear |= ~number & (2**128 - 1)
    assert (ever_set & ever_clear).bit_count() == 122


def test_a_pause_ends() -> None:
    """A pause of a few milliseconds takes at least half of them on the machine's clock."""
    clock = SystemClock()
    began, moment = clock.now(), clock.monotonic()
    clock.pause(10)
    assert clock.now() - began >= 4
    assert clock.monotonic() - moment >= 4


def test_steps_of_the_machine_are_not_felt() -> None:
    """Between two looks time goes by as the monotonic clock does, however the machine's clock is set."""
    machine = ToldClock()
    clock = DatabaseClock(machine, lambda: NOW + 7)
    clock.look()
    for step in (-HOUR, HOUR, 0):
        machine.step = step
        assert clock.now() == NOW + 7
    machine.time += 1500
    assert (clock.now(), clock.monotonic()) == (NOW + 1507, NOW + 1500)


def test_two_machines_have_the_time_of_their_database() -> None:
    """Whatever their own clocks say, and however far apart they are."""
    for step in (-60 * HOUR, 3, 60 * HOUR):
        machine = ToldClock()
        machine.step = step
        clock = DatabaseClock(machine, lambda: NOW)
        clock.look()
        assert clock.now() == NOW


def test_an_answer_on_its_way_is_dated_by_half_of_it() -> None:
    """The time that a database told is taken for that of the middle between question and answer."""
    machine = ToldClock()

    def told() -> int:
        machine.time += 40
        return NOW

    clock = DatabaseClock(machine, told)
    clock.look()
    assert clock.now() == NOW + 20


def test_a_slow_answer_does_not_set_a_clock() -> None:
    """But the first one does, for there is no better."""
    machine, seconds = ToldClock(), [2 * SLOW_LOOK_MILLISECONDS]

    def told() -> int:
        machine.time += seconds[0]
        return NOW + HOUR

    clock = DatabaseClock(machine, told)
    clock.look()
    first = clock.now()
    clock.look(None)
    assert clock.now() == first + seconds[0]


@pytest.mark.parametrize(
    ("seconds_back", "followed"), [(0, True), (60, True), (61, False), (3600, False), (-3600, True)]
)
def test_a_clock_far_behind_what_was_seen_is_not_followed(seconds_back: int, followed: bool) -> None:
    """A minute behind the last seen time is followed, a second more is not; forward it always is."""
    machine = ToldClock()
    clock = DatabaseClock(machine, lambda: None)
    clock.look()
    machine.step = -seconds_back * 1000
    clock.look(NOW)
    assert clock.now() == (NOW - seconds_back * 1000 if followed else NOW)
    assert clock.back_milliseconds == (0 if followed else seconds_back * 1000)
    machine.step = 0
    clock.look(NOW)
    assert (clock.now(), clock.back_milliseconds) == (NOW, 0)


def test_time_is_certain_up_to_a_day_ahead_of_what_was_seen() -> None:
    """Beyond that what is certain is the last seen time; without one, or behind it, the clock is believed."""
    assert certain(NOW + MOST_AHEAD_MILLISECONDS, NOW) == NOW + MOST_AHEAD_MILLISECONDS
    assert certain(NOW + MOST_AHEAD_MILLISECONDS + 1, NOW) == NOW
    assert certain(NOW - MOST_BACK_MILLISECONDS, NOW) == NOW - MOST_BACK_MILLISECONDS
    assert certain(NOW, None) == NOW
