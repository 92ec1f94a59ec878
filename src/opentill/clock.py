"""Time and chance, injected: everything that depends on them takes a Clock or Ids and can be tested."""

import os
import random
import time
from collections.abc import Callable
from typing import Final, Protocol

MOST_BACK_MILLISECONDS: Final = 60_000
"""How far behind the last seen time a database's clock may be and still be followed (laws 7)."""
MOST_AHEAD_MILLISECONDS: Final = 86_400_000
"""How far a live clock may be ahead of the last seen time before a person must say that it is right."""
NOTED_MILLISECONDS: Final = 60_000
"""How much further real time must be before it is noted as seen again."""
SLOW_LOOK_MILLISECONDS: Final = 1000
"""An answer that took longer does not tell the time well enough to set a clock by."""

_MONOTONIC: Final[int] = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


class Clock(Protocol):
    """The source of real time. Business time is real time plus the offset kept in the database."""

    def now(self) -> int:
        """Return the milliseconds since 1970 UTC: for a moment that is kept, or told to others."""

    def monotonic(self) -> int:
        """Return the milliseconds since some moment, never set: for a length of time within this process."""

    def pause(self, milliseconds: int) -> None:
        """Let a store thread wait about so long (half to all of it, so that equals do not meet again)."""


class SystemClock:
    """The machine's clock."""

    def now(self) -> int:
        """Return the milliseconds since 1970 UTC."""
        return time.time_ns() // 1_000_000

    def monotonic(self) -> int:
        """Return the milliseconds since some moment, never set; on Linux those of a suspended machine too."""
        return time.clock_gettime_ns(_MONOTONIC) // 1_000_000

    def pause(self, milliseconds: int) -> None:
        """Let a store thread wait about so long (half to all of it, so that equals do not meet again)."""
        time.sleep(milliseconds * random.uniform(0.0005, 0.001))  # noqa: S311 - spreading, not secrecy


class DatabaseClock:
    """The clock of the database, carried on by this machine's monotonic clock from one look to the next.

    So all processes on one database have one time, whatever the clocks of their machines say, and none feels
    a step of its machine's clock. Where the database is a file, this machine's clock is the database's.
    """

    def __init__(self, machine: Clock, ask: Callable[[], int | None]):
        """Take the machine's clock, and the question for the database's (UTC milliseconds; None: the same).

        Goes by the machine's clock until the first ``look``.
        """
        self._machine = machine
        self._ask = ask
        self._ahead = machine.now() - machine.monotonic()
        self._looked = False
        self.back_milliseconds = 0
        """How far the database's clock was set back, as of the last look; 0 while it is followed."""

    def now(self) -> int:
        """Return the milliseconds since 1970 UTC."""
        return self._machine.monotonic() + self._ahead

    def monotonic(self) -> int:
        """Return the milliseconds since some moment, never set."""
        return self._machine.monotonic()

    def pause(self, milliseconds: int) -> None:
        """Let a store thread wait about so long."""
        self._machine.pause(milliseconds)

    def look(self, seen_at: int | None = None) -> None:
        """Go by what the database says now; raises what the question raises.

        A clock that was set back behind the last time that servers have seen, by more than
        MOST_BACK_MILLISECONDS, is not followed: everything that waits would wait as much longer.
        """
        began = self._machine.monotonic()
        told = self._ask()
        ended = self._machine.monotonic()
        took = ended - began
        if self._looked and took > SLOW_LOOK_MILLISECONDS:
            return
        now = self._machine.now() if told is None else told + took // 2
        back = self.now() - now
        if seen_at is None or now >= seen_at - MOST_BACK_MILLISECONDS:
            self._looked, self._ahead, back = True, now - ended, 0
        self.back_milliseconds = max(back, 0)


def certain(now: int, seen_at: int | None) -> int:
    """Return ``now`` unless it is too far ahead of the last seen time of a live installation, else that."""
    return now if seen_at is None or now - seen_at <= MOST_AHEAD_MILLISECONDS else seen_at


class Ids(Protocol):
    """The source of new identifiers."""

    def uuid(self) -> str:
        """Make a random UUID (version 4) in its canonical text form."""


class RandomIds:
    """Identifiers from the operating system's randomness."""

    def uuid(self) -> str:
        """Make a random UUID (version 4) in its canonical text form.

        Put together by hand: ``uuid.UUID`` takes 2 microseconds, a twentieth of a whole cancel.
        """
        random_hex = os.urandom(16).hex()
        variant = "89ab"[int(random_hex[16], 16) & 3]
        return (
            f"{random_hex[:8]}-{random_hex[8:12]}-4{random_hex[13:16]}"
            f"-{variant}{random_hex[17:20]}-{random_hex[20:]}"
        )
