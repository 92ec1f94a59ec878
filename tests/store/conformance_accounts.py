"""The law of a store, second part: clock, tokens, merchants, credentials. See ``conformance``."""

from dataclasses import replace

import pytest
from sqlalchemy import text

from opentill.clock import NOTED_MILLISECONDS
from opentill.domain.order import LateMoney, OrderStatus
from opentill.store.accounts.contract import (
    MOST_CLOCK_OFFSET_MILLISECONDS,
    Client,
    Merchant,
    Mode,
    SubAccount,
)
from opentill.store.errors import ClockOutOfRange, StoreUnusable
from opentill.store.interface import Store
from opentill.store.orders.contract import TokenId
from store.conformance import DAY, claim, law
from store.conformance_keys import LAW
from store_factories import ACCOUNT, NOW, OTHER, TOKEN, add_orders, add_token, cancelled, read

__all__ = ["LAW"]


@law
def facts_tell_dead_tokens_and_the_clock(store: Store) -> None:
    """Revoked and unknown tokens are dead in batch and snapshot alike, and both see the clock moved."""
    add_token(store)
    unknown, foreign = TokenId(ACCOUNT, "jti-9"), TokenId(OTHER, TOKEN.jti)
    assert store.accounts.advance_clock(1_500) == 1_500
    assert store.accounts.advance_clock(500) == 2_000
    with store.batch() as batch, store.snapshot() as snapshot:
        for facts in (batch.facts([TOKEN, unknown, foreign]), snapshot.facts([TOKEN, unknown, foreign])):
            assert facts.clock_offset == 2_000
            assert facts.dead_tokens == {unknown, foreign}
        assert batch.facts([]).clock_offset == 2_000
    assert store.accounts.revoke_token(ACCOUNT, TOKEN.jti, "client-1", NOW)
    with store.snapshot() as snapshot:
        assert snapshot.facts([TOKEN]).dead_tokens == {TOKEN}


@law
def the_clock_never_moves_back(store: Store) -> None:
    """A negative advance, and one beyond a hundred years, are refused and change nothing."""
    with pytest.raises(ClockOutOfRange, match="forward"):
        store.accounts.advance_clock(-1)
    assert store.accounts.advance_clock(MOST_CLOCK_OFFSET_MILLISECONDS) == MOST_CLOCK_OFFSET_MILLISECONDS
    with pytest.raises(ClockOutOfRange, match="hundred years"):
        store.accounts.advance_clock(1)
    assert store.accounts.advance_clock(0) == MOST_CLOCK_OFFSET_MILLISECONDS


@law
def the_last_seen_time_moves_on_by_minutes(store: Store) -> None:
    """It begins with the first that is noted, moves forward only, and no more often than once a minute."""
    accounts, minute = store.accounts, NOTED_MILLISECONDS
    assert accounts.seen_at() is None
    seen = []
    for at in (NOW, NOW + minute - 1, NOW + minute, NOW - DAY, NOW + 60 * DAY):
        accounts.note_time(at)
        seen.append(accounts.seen_at())
    assert seen == [NOW, NOW, NOW + minute, NOW + minute, NOW + 60 * DAY]
    accounts.confirm_time(NOW)
    assert accounts.seen_at() == NOW


@law
def a_live_clock_far_ahead_is_not_noted_nor_believed(store: Store) -> None:
    """Nothing is purged before a person has said that it is right."""
    make_live(store)
    accounts = store.accounts
    accounts.note_time(NOW)
    with store.batch() as batch:
        batch.claim_keys([claim("k")], NOW, NOW + DAY)
        batch.commit()
    add_token(store)
    far = NOW + 60 * DAY
    accounts.note_time(far)
    assert accounts.seen_at() == NOW
    with store.snapshot() as snapshot:
        facts = snapshot.facts([])
    assert [facts.certain(at) for at in (NOW + DAY, NOW + DAY + 1, far)] == [NOW + DAY, NOW, NOW]
    assert store.purge(far, 100) == 0
    accounts.confirm_time(far)
    assert store.purge(far, 100) == 2


def make_live(store: Store) -> None:
    store.write(lambda c: c.execute(text("UPDATE installation SET mode = 'live'")))  # type: ignore[attr-defined]


@law
def a_sandbox_believes_its_clock(store: Store) -> None:
    """However far ahead of the last seen time it is."""
    store.accounts.note_time(NOW)
    add_token(store)
    with store.snapshot() as snapshot:
        assert snapshot.facts([]).certain(NOW + 60 * DAY) == NOW + 60 * DAY
    assert store.purge(NOW + 60 * DAY, 100) == 1


@law
def a_merchant_has_the_logo_it_was_given_last(store: Store) -> None:
    """It changes nothing else of the merchant, and nothing of another one."""
    mine, other = (
        Merchant(account, "Shop", "", "", None, None, NOW, b"sealed") for account in (ACCOUNT, OTHER)
    )
    for each in (mine, other):
        store.accounts.add_merchant(each, default=False)
    assert store.accounts.set_logo(ACCOUNT, "data:a")
    assert store.accounts.set_logo(ACCOUNT, "data:b")
    assert not store.accounts.set_logo("nobody", "data:c")
    assert store.accounts.merchant(ACCOUNT) == replace(mine, logo_url="data:b")
    assert store.accounts.merchant(OTHER) == other


@law
def a_token_is_revoked_only_by_its_client(store: Store) -> None:
    """Another client's name on a revocation leaves the token alive."""
    add_token(store)
    assert not store.accounts.revoke_token(ACCOUNT, TOKEN.jti, "client-2", NOW)
    assert not store.accounts.revoke_token(OTHER, TOKEN.jti, "client-1", NOW)
    with store.snapshot() as snapshot:
        assert snapshot.facts([TOKEN]).dead_tokens == frozenset()


@law
def a_refresh_token_is_good_once_and_in_time(store: Store) -> None:
    """It is used up by its first use, and no good when expired, foreign, or revoked with its access token."""
    add_token(store)
    add_token(store, TokenId(ACCOUNT, "jti-2"), "refresh-2")
    add_token(store, TokenId(ACCOUNT, "jti-3"), "refresh-3")
    assert store.accounts.use_refresh_token(OTHER, "refresh-1", NOW) is None
    used = store.accounts.use_refresh_token(ACCOUNT, "refresh-1", NOW)
    assert used is not None
    assert used.jti == "jti-1"
    assert store.accounts.use_refresh_token(ACCOUNT, "refresh-1", NOW) is None
    assert store.accounts.use_refresh_token(ACCOUNT, "refresh-2", NOW + DAY) is None
    assert store.accounts.revoke_token(ACCOUNT, "jti-3", "client-1", NOW)
    assert store.accounts.use_refresh_token(ACCOUNT, "refresh-3", NOW) is None


@law
def a_disabled_client_loses_its_tokens(store: Store) -> None:
    """Disabling marks the client and kills all of its tokens, and no other client's."""
    for client_id in ("client-1", "client-2"):
        store.accounts.add_client(Client(ACCOUNT, client_id, "hash", b"sealed", NOW, None))
    add_token(store)
    assert store.accounts.disable_client(ACCOUNT, "client-1", NOW + 5)
    assert not store.accounts.disable_client(ACCOUNT, "client-9", NOW)
    assert [c.disabled_at for c in store.accounts.clients(ACCOUNT)] == [NOW + 5, None]
    with store.snapshot() as snapshot:
        assert snapshot.facts([TOKEN]).dead_tokens == {TOKEN}


@law
def a_client_is_rotated_in_place(store: Store) -> None:
    """Rotation changes the secret and nothing else."""
    client = Client(ACCOUNT, "client-1", "hash", None, NOW, None)
    store.accounts.add_client(client)
    assert store.accounts.rotate_client(ACCOUNT, "client-1", "hash-2", b"new")
    assert not store.accounts.rotate_client(OTHER, "client-1", "hash-3", None)
    assert store.accounts.client(ACCOUNT, "client-1") == replace(
        client, secret_hash="hash-2", secret_sealed=b"new"
    )
    assert store.accounts.client(OTHER, "client-1") is None


@law
def merchants_and_sub_accounts_come_back(store: Store) -> None:
    """What was added is read back whole, oldest first; the default merchant is the one that was named."""
    first = Merchant(ACCOUNT, "Shop", "a@b.c", "", 5, None, NOW, b"key")
    second = replace(first, account_id=OTHER, name="Ọjà", post_limit=None, created_at=NOW + 1)
    sub = SubAccount(ACCOUNT, "s", "till 1", NOW)
    assert store.accounts.default_account_id() is None
    store.accounts.add_merchant(second, default=True)
    store.accounts.add_merchant(first, default=False)
    store.accounts.add_sub_account(sub)
    assert store.accounts.merchants() == [first, second]
    assert store.accounts.merchant(OTHER) == second
    assert store.accounts.merchant("nobody") is None
    assert store.accounts.sub_accounts(ACCOUNT) == [sub]
    assert store.accounts.sub_accounts(OTHER) == []
    assert store.accounts.default_account_id() == OTHER


@law
def purge_takes_only_what_has_ended_and_not_too_much(store: Store) -> None:
    """Ended keys and tokens go, in bounded steps; what may still be needed stays."""
    claims = [claim(f"k{i}") for i in range(3)]
    with store.batch() as batch:
        batch.claim_keys(claims, NOW, NOW + DAY)
        batch.claim_keys([claim("later")], NOW, NOW + 2 * DAY)
        batch.commit()
    add_token(store)
    assert store.purge(NOW + DAY - 1, 10) == 0
    assert store.purge(NOW + DAY, 2) == 3
    assert store.purge(NOW + DAY, 2) == 1
    assert store.purge(NOW + DAY, 2) == 0
    with store.batch() as batch:
        assert list(batch.claim_keys([*claims, claim("later")], NOW, NOW)) == [(ACCOUNT, "later")]


@law
def mode_and_key_of_a_database_are_for_ever(store: Store) -> None:
    """Installing again with the same mode and key is harmless; another mode or key is refused."""
    store.accounts.install(Mode.SANDBOX, "key-fingerprint", NOW + 1)
    with pytest.raises(StoreUnusable, match="sandbox mode"):
        store.accounts.install(Mode.LIVE, "key-fingerprint", NOW)
    with pytest.raises(StoreUnusable, match="OPENTILL_SECRET_KEY"):
        store.accounts.install(Mode.SANDBOX, "another", NOW)


@law
def a_probe_is_a_real_write(store: Store) -> None:
    """Probing succeeds while writes work."""
    store.probe_write(NOW + 7)


@law
def a_checkpoint_loses_nothing_and_may_run_at_any_time(store: Store) -> None:
    """Beside an open batch and after its commit, it changes nothing of what is read."""
    (order,) = add_orders(store, "r1")
    with store.batch() as batch:
        batch.write([cancelled(order)])
        store.checkpoint()
        batch.commit()
    store.checkpoint()
    (seen,) = read(store, (ACCOUNT, "r1"))
    assert seen is not None
    assert seen.status is OrderStatus.CANCELLED


@law
def a_merchants_defaults_are_kept(store: Store) -> None:
    """They are none at first, are set and taken back together, and belong to one merchant alone."""
    for account_id in (ACCOUNT, OTHER):
        store.accounts.add_merchant(
            Merchant(account_id, "Shop", "", "", None, None, NOW, b"key"), default=False
        )
    assert store.accounts.set_defaults(ACCOUNT, 1800, LateMoney.HOLD)
    assert not store.accounts.set_defaults("33333333-3333-4333-8333-333333333333", 1, None)
    found = {
        each.account_id: (each.expires_in_seconds, each.late_money) for each in store.accounts.merchants()
    }
    assert found == {ACCOUNT: (1800, LateMoney.HOLD), OTHER: (None, None)}
    assert store.accounts.set_defaults(ACCOUNT, None, None)
    merchant = store.accounts.merchant(ACCOUNT)
    assert merchant is not None
    assert (merchant.expires_in_seconds, merchant.late_money) == (None, None)
