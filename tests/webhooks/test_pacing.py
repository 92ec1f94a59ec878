"""How fast an endpoint is sent to: how many tries at once, and when again after a failed one."""

from dataclasses import replace
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from opentill.webhooks.pacing import FIRST_WINDOW, WINDOWS_KEPT, Schedule, Window, Windows
from store_factories import NOW
from webhooks.sending import endpoint


def test_the_documented_pauses_are_the_default() -> None:
    """Without jitter the pauses are those of the contract, and there is no seventh try."""
    schedule = Schedule()
    at, pauses = NOW, []
    for tries in range(1, 6):
        following = schedule.next_try_at(tries, at, chance=0)
        assert following is not None
        pauses.append((following - at) // 1000)
        at = following
    assert pauses == [120, 280, 640, 1440, 3200]
    assert sum(pauses) == 5680
    assert schedule.most_tries == 6
    assert schedule.next_try_at(6, at, chance=0) is None


@settings(deadline=None)
@given(tries=st.integers(1, 5), chance=st.floats(0, 1))
def test_jitter_only_lengthens_and_by_a_tenth_at_the_most(tries: int, chance: float) -> None:
    """A pause is never shorter than documented and never more than a tenth longer."""
    pause = Schedule().pauses_seconds[tries - 1] * 1000
    at = Schedule().next_try_at(tries, NOW, chance)
    assert at is not None
    assert pause <= at - NOW <= pause * 1.1


def test_jitter_follows_chance() -> None:
    """The same chance gives the same moment, and a larger one a later moment."""
    moments = [Schedule().next_try_at(1, NOW, chance / 10) for chance in range(11)]
    assert moments == [Schedule().next_try_at(1, NOW, chance / 10) for chance in range(11)]
    assert all(a is not None and b is not None and a < b for a, b in pairwise(moments))


def test_a_schedule_of_its_own() -> None:
    """The pauses are a setting; without any there is one try."""
    assert Schedule((7,)).next_try_at(1, NOW, chance=0) == NOW + 7000
    assert Schedule((7,)).next_try_at(2, NOW, chance=0) is None
    assert Schedule(()).next_try_at(1, NOW, chance=0) is None


def test_more_tries_than_the_schedule_has_are_the_last() -> None:
    """A delivery that was tried under a longer schedule is not tried again under a shorter one."""
    assert Schedule((7, 8)).next_try_at(40, NOW, chance=1) is None


@settings(deadline=None)
@given(st.lists(st.booleans()))
def test_a_window_stays_between_one_and_the_most(answers: list[bool]) -> None:
    """Whatever is answered, an endpoint may have at least one try in flight and never more than the most."""
    window = Window(FIRST_WINDOW, most=32)
    for accepted in answers:
        window.learn(accepted=accepted)
        assert 1 <= window.room <= 32


def test_a_window_grows_by_success_and_halves_by_failure() -> None:
    """One more after each success, half after a failure, one after several."""
    window = Window(4, most=32)
    rooms = []
    for accepted in (True, True, False, False, False, False, True):
        window.learn(accepted=accepted)
        rooms.append(window.room)
    assert rooms == [5, 6, 3, 1, 1, 1, 2]


def test_an_endpoint_that_was_failing_begins_with_one() -> None:
    """What another process, or one before a restart, has learnt of an endpoint counts."""
    windows = Windows(most=32, most_in_doubt=100)
    assert windows.of(replace(endpoint("http://a.example"), failing_since=NOW)).room == 1
    assert windows.of(endpoint("http://b.example")).room == FIRST_WINDOW


def test_those_in_doubt_leave_half_to_others() -> None:
    """Once tries to endpoints that do not accept fill their share, only those that accept get more."""
    windows = Windows(most=32, most_in_doubt=10)
    good, bad = endpoint("http://good.example"), endpoint("http://bad.example")
    windows.of(good).learn(accepted=True)
    windows.of(bad).in_flight = 9
    assert windows.room() == ({good.endpoint_id: 5, bad.endpoint_id: 0}, FIRST_WINDOW)
    doubtful = windows.of(endpoint("http://new.example"))
    doubtful.in_flight = 1
    room, others = windows.room()
    assert (room[good.endpoint_id], others, sum(room.values())) == (5, 0, 5)


def test_windows_of_idle_endpoints_are_forgotten() -> None:
    """However many endpoints there are, only so many are remembered; those in use always."""
    windows = Windows(most=32, most_in_doubt=10_000)
    used = endpoint("http://used.example")
    windows.of(used).in_flight = 1
    for _ in range(5000):
        windows.of(endpoint("http://idle.example"))
    room, _ = windows.room()
    assert used.endpoint_id in room
    assert len(room) <= WINDOWS_KEPT
