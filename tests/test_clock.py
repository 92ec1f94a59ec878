"""Identifiers and time as the machine gives them."""

import uuid

from opentill.clock import RandomIds, SystemClock


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
    began = clock.now()
    clock.pause(10)
    assert clock.now() - began >= 4
