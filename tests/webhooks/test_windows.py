"""How many tries an endpoint may have in flight."""

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from given_store import NOW
from opentill.webhooks.pacing import FIRST_WINDOW, WINDOWS_KEPT, Window, Windows
from webhooks.told import endpoint


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
