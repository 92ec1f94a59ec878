"""The documented test cards and passwords, which a sandbox offers at one click (contract 6)."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class TestCard:
    """A card that the sandbox's rail knows, and what comes of it."""

    name: str
    outcome: str
    number: str
    expiry: str = "10/30"
    cvv: str = "123"
    pin: str = "1234"


TEST_CARDS: Final = (
    TestCard("otp", "One-time password, then approved", "5434621074252808"),
    TestCard("challenge", "3-D Secure at the sandbox bank", "4000000000002503"),
    TestCard("declined", "Declined: do not honor", "5484497218317651"),
)
TEST_PASSWORDS: Final = (
    ("9999", "approved"),
    ("5464", "wrong, try again"),
    ("1234", "too late, declined"),
)
