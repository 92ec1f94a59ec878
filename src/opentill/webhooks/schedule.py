"""When a delivery is tried again (contract 5.5)."""

from dataclasses import dataclass
from typing import Final

PAUSES_SECONDS: Final = (120, 280, 640, 1440, 3200)
JITTER: Final = 0.1
"""By how much a pause grows at the most, so that what failed together is not tried again together."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """The tries of one delivery: the first at once, then one after each pause."""

    pauses_seconds: tuple[int, ...] = PAUSES_SECONDS

    @property
    def most_tries(self) -> int:
        """How often a delivery is tried before it is dead."""
        return 1 + len(self.pauses_seconds)

    def next_try_at(self, tries: int, now: int, chance: float) -> int | None:
        """When to try again after ``tries`` tries, all failed; None after the last.

        ``now`` and the answer are UTC milliseconds. ``chance``, from 0 to 1, picks the jitter: a pause is
        never shorter than it should be and up to a tenth longer.
        """
        if tries >= self.most_tries:
            return None
        pause = self.pauses_seconds[max(tries, 1) - 1] * 1000
        return now + pause + int(pause * JITTER * chance)
