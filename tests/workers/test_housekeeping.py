"""Deleting what nobody needs any more, over a real store."""

from pathlib import Path

from engine.builders import claim
from engine.harness import ask
from opentill.workers.housekeeping import PURGE
from store_factories import ACCOUNT, NOW, OTHER, TOKEN, add_token
from workers.shift import Shift, at_work

DAY = 86_400_000


def test_a_purge_goes_on_until_all_is_gone(tmp_path: Path) -> None:
    """More ended keys and tokens than one step deletes go in one round; what may be needed stays."""

    async def work(shift: Shift) -> None:
        store = shift.till.store
        with store.batch() as batch:
            batch.claim_keys([claim(f"k{i}") for i in range(PURGE + 5)], NOW, NOW + DAY)
            batch.claim_keys([claim("kept", account_id=OTHER)], NOW, NOW + DAY + 1)
            batch.commit()
        add_token(store)
        assert await shift.housekeeping.purge() == 0
        shift.till.clock.time = NOW + DAY
        assert await shift.housekeeping.purge() == PURGE + 6
        assert ask(store, "SELECT account_id, key FROM idempotency_keys") == [(OTHER, "kept")]
        assert ask(store, "SELECT count(*) FROM tokens WHERE account_id = ?", ACCOUNT) == [(0,)]

    at_work(tmp_path, work)


def test_a_token_that_is_good_is_not_purged(tmp_path: Path) -> None:
    """A refresh token is kept to the last moment at which it can be used."""

    async def work(shift: Shift) -> None:
        add_token(shift.till.store)
        shift.till.clock.time = NOW + DAY - 1
        assert await shift.housekeeping.purge() == 0
        with shift.till.store.snapshot() as snapshot:
            assert snapshot.facts([TOKEN]).dead_tokens == frozenset()

    at_work(tmp_path, work)
