"""The law of a store about idempotency keys; see ``conformance``."""

import pytest

from opentill.store.errors import Transient
from opentill.store.interface import Store
from opentill.store.orders.contract import CommitMarker, KeyRecord, StoredReply
from store.conformance import DAY, LAW, claim, law
from store_factories import ACCOUNT, IDS, NOW, OTHER

__all__ = ["LAW"]


@law
def a_key_is_claimed_once_per_merchant(store: Store) -> None:
    """The first claim gets the key, the second the first one's record; another merchant has its own."""
    first, second = claim("k"), claim("k", "other")
    with store.batch() as batch:
        assert batch.claim_keys([first, claim("k2")], NOW, NOW + DAY) == {}
        batch.commit()
    with store.batch() as batch:
        held = batch.claim_keys([second, claim("k", account_id=OTHER)], NOW, NOW + DAY)
    assert list(held) == [(ACCOUNT, "k")]
    record = held[ACCOUNT, "k"]
    assert (record.fingerprint, record.command_id, record.reply) == ("f", first.command_id, None)


@law
def a_reply_is_stored_once_and_byte_for_byte(store: Store) -> None:
    """The first reply stays, in every byte; the key is recognised by the command that claimed it."""
    first = claim("k")
    reply = StoredReply(400, "order-already-paid", '{"a":"Ọ \\u0000"}'.encode())
    with store.batch() as batch:
        batch.claim_keys([first], NOW, NOW + DAY)
        batch.store_replies({(ACCOUNT, "k"): reply})
        batch.store_replies({(ACCOUNT, "k"): StoredReply(200, "", b"{}")})
        batch.commit()
    with store.batch() as batch:
        assert batch.claim_keys([claim("k")], NOW, NOW + DAY)[ACCOUNT, "k"].reply == reply
        assert batch.contains(CommitMarker(ACCOUNT, None, 0, first.command_id, "k"))
        assert not batch.contains(CommitMarker(ACCOUNT, None, 0, IDS.uuid(), "k"))


@law
def a_key_is_written_once_with_its_reply(store: Store) -> None:
    """What was written first stays, in every byte; whoever comes later is told to look again."""
    reply = StoredReply(400, "order-already-paid", '{"a":"Ọ \\u0000"}'.encode())
    first = KeyRecord(ACCOUNT, "k", "f", IDS.uuid(), reply)
    running = KeyRecord(ACCOUNT, "r", "f", IDS.uuid(), None)
    with store.batch() as batch:
        assert batch.keys([(ACCOUNT, "k"), (ACCOUNT, "r")], NOW) == {}
        batch.write_keys([running, first], NOW, NOW + DAY)
        batch.commit()
    later = [KeyRecord(ACCOUNT, key, "g", IDS.uuid(), StoredReply(200, "", b"{}")) for key in ("a", "k")]
    with pytest.raises(Transient), store.batch() as batch:
        batch.write_keys(later, NOW + 1, NOW + 2 * DAY)
    with store.batch() as batch:
        held = batch.keys([(ACCOUNT, "k"), (ACCOUNT, "r"), (ACCOUNT, "a"), (OTHER, "k")], NOW + DAY - 1)
        assert held == {(ACCOUNT, "k"): first, (ACCOUNT, "r"): running}
        assert batch.contains(CommitMarker(ACCOUNT, None, 0, first.command_id, "k"))
        assert not batch.contains(CommitMarker(ACCOUNT, None, 0, later[1].command_id, "k"))


@law
def a_key_can_be_written_again_after_its_time(store: Store) -> None:
    """A record past its expiry counts as absent before anybody has purged it, also its reply."""
    with store.batch() as batch:
        batch.write_keys(
            [KeyRecord(ACCOUNT, "k", "f", IDS.uuid(), StoredReply(200, "", b"{}"))], NOW, NOW + DAY
        )
        batch.commit()
    again = KeyRecord(ACCOUNT, "k", "new", IDS.uuid(), None)
    with store.batch() as batch:
        assert batch.keys([(ACCOUNT, "k")], NOW + DAY) == {}
        batch.write_keys([again], NOW + DAY, NOW + 2 * DAY)
        batch.commit()
    with store.batch() as batch:
        assert batch.keys([(ACCOUNT, "k")], NOW + DAY) == {(ACCOUNT, "k"): again}


@law
def a_key_is_free_again_after_its_time(store: Store) -> None:
    """A record past its expiry counts as absent before anybody has purged it, also its reply."""
    with store.batch() as batch:
        batch.claim_keys([claim("k")], NOW, NOW + DAY)
        batch.store_replies({(ACCOUNT, "k"): StoredReply(200, "", b"{}")})
        batch.commit()
    with store.batch() as batch:
        assert batch.claim_keys([claim("k", "new")], NOW + DAY - 1, NOW + 2 * DAY)
    with store.batch() as batch:
        assert batch.claim_keys([claim("k", "new")], NOW + DAY, NOW + 2 * DAY) == {}
        batch.commit()
    with store.batch() as batch:
        record = batch.claim_keys([claim("k")], NOW + DAY, NOW + 2 * DAY)[ACCOUNT, "k"]
    assert (record.fingerprint, record.reply) == ("new", None)
