"""Time and chance, injected: everything that depends on them takes a Clock or Ids and can be tested."""

import os
import random
import time
from typing import Protocol


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
        """Return the milliseconds since some moment, never set."""
        return time.monotonic_ns() // 1_000_000

    def pause(self, milliseconds: int) -> None:
        """Let a store thread wait about so long (half to all of it, so that equals do not meet again)."""
        time.sleep(milliseconds * random.uniform(0.0005, 0.001))  # noqa: S311 - spreading, not secrecy


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
