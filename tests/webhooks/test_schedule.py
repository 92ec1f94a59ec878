"""When deliveries are tried again."""

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from opentill.webhooks.pacing import Schedule

NOW = 1_800_000_000_000


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
