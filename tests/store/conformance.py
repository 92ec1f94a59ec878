"""The law of a store as plain functions. Each takes how to open a store of one kind, installed.

``LAW`` lists them all; each kind of store runs every one of them (see the test modules beside this).
The first opening makes a fresh store; a later one opens the same store again.
"""

from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from functools import wraps
from typing import Final

import pytest

from given_store import (
    ACCOUNT,
    ACTOR,
    IDS,
    NOW,
    OTHER,
    TOKEN,
    add_orders,
    add_token,
    cancelled,
    new_order,
    read,
    write,
)
from opentill.domain.commands import BeginAttempt, RailOutcome, SettleAttempt
from opentill.domain.lifecycle import Change, create, decide
from opentill.domain.order import AttemptStatus, DueAction, LateMoney, Order, OrderStatus, Split, Terms
from opentill.store.interface import (
    Client,
    Facts,
    KeyClaim,
    Merchant,
    Mode,
    OpenStore,
    Reply,
    Store,
    StoreError,
    StoreUnusable,
    SubAccount,
    TokenId,
    TransactionFilter,
    Transient,
    Witness,
)

LAW: Final[list[Callable[[OpenStore], None]]] = []
DAY = 86_400_000


def law(function: Callable[[Store], None]) -> None:
    """A law about one open store."""

    @wraps(function)
    def opened(open_store: OpenStore) -> None:
        with closing(open_store()) as store:
            function(store)

    LAW.append(opened)


def law_of_opening(function: Callable[[OpenStore], None]) -> None:
    """A law about opening a store, maybe more than once."""
    LAW.append(function)


# --- opening --------------------------------------------------------------------------------------


@law_of_opening
def what_was_committed_outlives_its_process(open_store: OpenStore) -> None:
    """A store that is closed and opened again has every committed order, key and token, and its clock."""
    with closing(open_store()) as store:
        (order,) = add_orders(store, "r1")
        add_token(store)
        store.advance_clock(60_000)
        with store.batch() as batch:
            batch.claim_keys([_claim("k")], NOW, NOW + DAY)
            batch.commit()
    with closing(open_store()) as store:
        assert read(store, (ACCOUNT, "r1")) == [order]
        with store.batch() as batch:
            assert batch.facts([TOKEN]) == Facts(60_000, frozenset())
            assert list(batch.claim_keys([_claim("k")], NOW, NOW + DAY)) == [(ACCOUNT, "k")]


@law_of_opening
def two_that_are_open_see_each_other(open_store: OpenStore) -> None:
    """What one open store commits, another on the same database judges and shows at once."""
    with closing(open_store()) as first, closing(open_store()) as second:
        (order,) = add_orders(first, "r1")
        assert read(second, (ACCOUNT, "r1")) == [order]
        write(second, [cancelled(order)])
        with pytest.raises(Transient):
            write(first, [cancelled(order)])


# --- orders ---------------------------------------------------------------------------------------


@law
def an_order_comes_back_as_it_was_written(store: Store) -> None:
    """Every field of an order and of its terms survives the way into the database and back."""
    terms = Terms(
        customer_email="payer@example.com",
        customer_id="c-9",
        callback_url="https://shop.example/?a=b#c",
        allowed_payment_methods=("Card", "Nomba QR"),
        split=Split("PERCENTAGE", (("a", 1250), ("b", 50))),
        metadata=(("k", "v"), ("naïve", "☃")),
        tokenize_card=True,
    )
    command = new_order(
        "r'\"; --",
        terms=terms,
        sub_account_id="sub-1",
        due_at=NOW + 5,
        due_action=DueAction.CANCEL,
        late_money=LateMoney.HOLD,
    )
    change = create(command, NOW)
    write(store, [change])
    name = (ACCOUNT, command.reference)
    with store.snapshot() as snapshot:
        view = snapshot.orders([name])[name]
    assert view.order == change.after
    assert view.terms == terms


@law
def a_name_is_a_reference_or_an_order_id(store: Store) -> None:
    """An order is found by either of its names, and only among its own merchant's."""
    (order,) = add_orders(store, "r1")
    by_reference, by_id, foreign, unknown = read(
        store, (ACCOUNT, "r1"), (ACCOUNT, order.order_id), (OTHER, "r1"), (ACCOUNT, "R1")
    )
    assert by_reference == by_id == order
    assert foreign is None
    assert unknown is None
    with store.batch() as batch:
        locked = batch.lock_orders([(ACCOUNT, "r1"), (ACCOUNT, order.order_id), (OTHER, "r1")])
    assert locked == {(ACCOUNT, "r1"): order, (ACCOUNT, order.order_id): order}


@law
def a_reference_that_looks_like_an_order_id_is_tried_as_a_reference_first(store: Store) -> None:
    """Two merchants may cross reference and order id; each sees its own order."""
    (mine,) = add_orders(store, "plain")
    (theirs,) = add_orders(store, mine.order_id, account_id=OTHER)
    assert read(store, (ACCOUNT, mine.order_id), (OTHER, mine.order_id)) == [mine, theirs]


@law
def what_is_not_committed_did_not_happen(store: Store) -> None:
    """Leaving a batch without commit, or by an exception, leaves nothing behind."""
    change = create(new_order("r1"), NOW)
    with store.batch() as batch:
        batch.write([change])
    with pytest.raises(ZeroDivisionError), store.batch() as batch:  # noqa: PT012 - both lines are the point
        batch.write([change])
        raise ZeroDivisionError
    assert read(store, (ACCOUNT, "r1")) == [None]


@law
def an_order_that_changed_after_it_was_judged_is_not_written(store: Store) -> None:
    """Compare-and-set on the version: the second of two changes judged on one version fails whole."""
    first, second = add_orders(store, "r1", "r2")
    write(store, [cancelled(first)])
    with pytest.raises(Transient):
        write(store, [cancelled(second), cancelled(first)])
    assert read(store, (ACCOUNT, "r2")) == [second]


@law
def a_taken_reference_is_not_written_twice(store: Store) -> None:
    """A new order whose reference is taken, in whatever state its order is, fails the whole batch."""
    (order,) = add_orders(store, "r1")
    write(store, [cancelled(order)])
    with pytest.raises(Transient):
        write(store, [create(new_order("fresh"), NOW), create(new_order("r1"), NOW)])
    assert read(store, (ACCOUNT, "fresh")) == [None]


@law
def a_batch_of_many_orders_is_written_whole(store: Store) -> None:
    """256 orders are created, and then cancelled, by one batch each, with one event per change."""
    references = [f"r{i}" for i in range(256)]
    orders = add_orders(store, *references)
    changes = [cancelled(order) for order in orders]
    write(store, changes)
    statuses = {o.status for o in read(store, *((ACCOUNT, r) for r in references)) if o}
    assert statuses == {OrderStatus.CANCELLED}
    with store.batch() as batch:
        assert all(batch.contains(_witness_of(change)) for change in changes)


def _witness_of(change: Change) -> Witness:
    event = change.events[-1]
    return Witness(event.account_id, event.order_id, event.sequence, event.event_id)


@law
def constraints_refuse_what_the_lifecycle_would_never_write(store: Store) -> None:
    """A state without its time, money from nowhere and a refund beyond the payment are refused by CHECKs."""
    (order,) = add_orders(store, "r1")
    good = cancelled(order)
    totals = order.totals
    impossible = (
        replace(good.after, cancelled_at=None),
        replace(good.after, status=OrderStatus.PAID),
        replace(good.after, paid_at=NOW, paid_by="T"),
        replace(good.after, totals=replace(totals, received=5)),
        replace(good.after, totals=replace(totals, refunded=1)),
        replace(good.after, totals=replace(totals, received=-5, held=-5)),
        replace(good.after, updated_at=order.created_at - 1),
    )
    for after in impossible:
        with pytest.raises(StoreError):
            write(store, [replace(good, after=after)])
    assert read(store, (ACCOUNT, "r1")) == [order]


# --- attempts, events, entries ----------------------------------------------------------------------


def _begin(store: Store, order: Order, transaction_id: str, key: str | None = None) -> Order:
    command = BeginAttempt(
        account_id=ACCOUNT,
        command_id=IDS.uuid(),
        actor=ACTOR,
        name=order.order_id,
        transaction_id=transaction_id,
        card_masked="543462******2808",
        card_brand="Mastercard",
        call_until=NOW + 30_000,
        max_attempts=10,
        reply_key=key,
    )
    change = decide(order, command, NOW)
    write(store, [change])
    return change.after


def _settled(order: Order, transaction_id: str, outcome: RailOutcome) -> Change:
    command = SettleAttempt(
        account_id=ACCOUNT,
        command_id=IDS.uuid(),
        actor=ACTOR,
        name=order.order_id,
        transaction_id=transaction_id,
        outcome=outcome,
        answers_try=0,
        response_code="00",
        message="ok",
        call_until=NOW + 60_000,
        max_otp_tries=5,
    )
    return decide(order, command, NOW + 1)


@law
def attempts_are_loaded_with_their_order(store: Store) -> None:
    """An attempt, its call and its key come back with the order, also under the batch's lock."""
    (order,) = add_orders(store, "r1")
    tried = _begin(store, order, "T1", key="key-1")
    assert read(store, (ACCOUNT, "r1")) == [tried]
    with store.batch() as batch:
        assert batch.lock_orders([(ACCOUNT, "r1")]) == {(ACCOUNT, "r1"): tried}
    assert tried.attempts[0].call is not None
    assert tried.attempts[0].call.key == "key-1"


@law
def a_payment_is_found_by_its_transaction(store: Store) -> None:
    """An order is found by the transaction id of its attempt, only by its own merchant."""
    (order,) = add_orders(store, "r1")
    paid = _settled(_begin(store, order, "T1"), "T1", RailOutcome.APPROVED)
    write(store, [paid])
    with store.snapshot() as snapshot:
        view = snapshot.order_of_transaction(ACCOUNT, "T1")
        assert view is not None
        assert view.order == paid.after
        assert snapshot.order_of_transaction(OTHER, "T1") is None


@law
def committed_events_are_found_by_their_ids(store: Store) -> None:
    """A batch whose COMMIT got lost can be recognised by any one event it wrote, and by nothing else."""
    (order,) = add_orders(store, "r1")
    change = cancelled(order)
    witness = _witness_of(change)
    with store.batch() as batch:
        assert not batch.contains(witness)
    write(store, [change])
    with store.batch() as batch:
        assert batch.contains(witness)
        assert not batch.contains(replace(witness, event_id=IDS.uuid()))


@law
def overdue_calls_are_found_when_their_time_is_up(store: Store) -> None:
    """A call belongs to its caller until its time; afterwards its order is listed, until it is settled."""
    (order,) = add_orders(store, "r1")
    tried = _begin(store, order, "T1")
    with store.snapshot() as snapshot:
        assert snapshot.overdue_calls(NOW + 29_999, 10) == []
        assert [view.order for view in snapshot.overdue_calls(NOW + 30_000, 10)] == [tried]
    write(store, [_settled(tried, "T1", RailOutcome.APPROVED)])
    with store.snapshot() as snapshot:
        assert snapshot.overdue_calls(NOW + 30_000, 10) == []


@law
def due_orders_are_found_longest_due_first(store: Store) -> None:
    """Only pending orders whose time has come are due, the longest due first, at most as many as asked."""
    dues = {"late": NOW + 2, "early": NOW + 1, "future": NOW + 9, "gone": NOW + 1}
    changes = [create(new_order(r, due_at=due), NOW) for r, due in dues.items()]
    write(store, [*changes, create(new_order("never"), NOW)])
    write(store, [cancelled(changes[3].after)])
    with store.snapshot() as snapshot:
        assert [o.reference for o in snapshot.due_orders(NOW + 2, 10)] == ["early", "late"]
        assert [o.reference for o in snapshot.due_orders(NOW + 2, 1)] == ["early"]


@law
def transactions_are_listed_newest_first_and_filtered(store: Store) -> None:
    """Each filter narrows the list, all of them must hold, and the cursor goes on where it stopped."""
    orders = [create(new_order(f"r{i}", sub_account_id="s" if i == 1 else None), NOW + i) for i in range(3)]
    write(store, orders)
    for number, change in enumerate(orders):
        tried = _begin(store, change.after, f"T{number}")
        if number == 2:
            write(store, [_settled(tried, "T2", RailOutcome.DECLINED)])
    every = TransactionFilter(account_id=ACCOUNT)

    def listed(**changes: object) -> list[str]:
        wanted = replace(every, **changes)  # type: ignore[arg-type]
        with store.snapshot() as snapshot:
            return [view.attempt.transaction_id for view in snapshot.transactions(wanted)]

    assert listed() == ["T2", "T1", "T0"]
    assert listed(limit=2) == ["T2", "T1"]
    assert listed(before=(NOW + 1, "T1")) == ["T0"]
    assert listed(transaction_ids=("T1",)) == ["T1"]
    assert listed(transaction_ids=("T1", "T0")) == []
    assert listed(order_names=("r1", orders[1].after.order_id)) == ["T1"]
    assert listed(sub_account_id="s") == ["T1"]
    assert listed(statuses=frozenset({AttemptStatus.DECLINED.value})) == ["T2"]
    assert listed(started_from=NOW + 1, started_to=NOW + 1) == ["T1"]
    assert listed(account_id=OTHER) == []


# --- idempotency keys -------------------------------------------------------------------------------


def _claim(key: str, fingerprint: str = "f", account_id: str = ACCOUNT) -> KeyClaim:
    return KeyClaim(account_id, key, fingerprint, IDS.uuid())


@law
def a_key_is_claimed_once_per_merchant(store: Store) -> None:
    """The first claim gets the key, the second the first one's record; another merchant has its own."""
    first, second = _claim("k"), _claim("k", "other")
    with store.batch() as batch:
        assert batch.claim_keys([first, _claim("k2")], NOW, NOW + DAY) == {}
        batch.commit()
    with store.batch() as batch:
        held = batch.claim_keys([second, _claim("k", account_id=OTHER)], NOW, NOW + DAY)
    assert list(held) == [(ACCOUNT, "k")]
    record = held[ACCOUNT, "k"]
    assert (record.fingerprint, record.command_id, record.reply) == ("f", first.command_id, None)


@law
def a_reply_is_stored_once_and_byte_for_byte(store: Store) -> None:
    """The first reply stays, in every byte; the key is recognised by the command that claimed it."""
    claim = _claim("k")
    reply = Reply(400, "order-already-paid", '{"a":"Ọ \\u0000"}'.encode())
    with store.batch() as batch:
        batch.claim_keys([claim], NOW, NOW + DAY)
        batch.store_replies({(ACCOUNT, "k"): reply})
        batch.store_replies({(ACCOUNT, "k"): Reply(200, "", b"{}")})
        batch.commit()
    with store.batch() as batch:
        assert batch.claim_keys([_claim("k")], NOW, NOW + DAY)[ACCOUNT, "k"].reply == reply
        assert batch.contains(Witness(ACCOUNT, None, 0, claim.command_id, "k"))
        assert not batch.contains(Witness(ACCOUNT, None, 0, IDS.uuid(), "k"))


@law
def a_key_is_free_again_after_its_time(store: Store) -> None:
    """A record past its expiry counts as absent before anybody has purged it, also its reply."""
    with store.batch() as batch:
        batch.claim_keys([_claim("k")], NOW, NOW + DAY)
        batch.store_replies({(ACCOUNT, "k"): Reply(200, "", b"{}")})
        batch.commit()
    with store.batch() as batch:
        assert batch.claim_keys([_claim("k", "new")], NOW + DAY - 1, NOW + 2 * DAY)
    with store.batch() as batch:
        assert batch.claim_keys([_claim("k", "new")], NOW + DAY, NOW + 2 * DAY) == {}
        batch.commit()
    with store.batch() as batch:
        record = batch.claim_keys([_claim("k")], NOW + DAY, NOW + 2 * DAY)[ACCOUNT, "k"]
    assert (record.fingerprint, record.reply) == ("new", None)


# --- the clock, tokens and the directory ------------------------------------------------------------


@law
def facts_tell_dead_tokens_and_the_clock(store: Store) -> None:
    """Revoked and unknown tokens are dead in batch and snapshot alike, and both see the clock moved."""
    add_token(store)
    unknown, foreign = TokenId(ACCOUNT, "jti-9"), TokenId(OTHER, TOKEN.jti)
    assert store.advance_clock(1_500) == 1_500
    assert store.advance_clock(500) == 2_000
    with store.batch() as batch, store.snapshot() as snapshot:
        for facts in (batch.facts([TOKEN, unknown, foreign]), snapshot.facts([TOKEN, unknown, foreign])):
            assert facts.clock_offset == 2_000
            assert facts.dead_tokens == {unknown, foreign}
        assert batch.facts([]).clock_offset == 2_000
    assert store.revoke_token(ACCOUNT, TOKEN.jti, "client-1", NOW)
    with store.snapshot() as snapshot:
        assert snapshot.facts([TOKEN]).dead_tokens == {TOKEN}


@law
def the_clock_never_moves_back(store: Store) -> None:
    """A negative advance is refused and changes nothing."""
    with pytest.raises(ValueError, match="forward"):
        store.advance_clock(-1)
    assert store.advance_clock(0) == 0


@law
def a_token_is_revoked_only_by_its_client(store: Store) -> None:
    """Another client's name on a revocation leaves the token alive."""
    add_token(store)
    assert not store.revoke_token(ACCOUNT, TOKEN.jti, "client-2", NOW)
    assert not store.revoke_token(OTHER, TOKEN.jti, "client-1", NOW)
    with store.snapshot() as snapshot:
        assert snapshot.facts([TOKEN]).dead_tokens == frozenset()


@law
def a_refresh_token_is_good_once_and_in_time(store: Store) -> None:
    """It is used up by its first use, and no good when expired, foreign, or revoked with its access token."""
    add_token(store)
    add_token(store, TokenId(ACCOUNT, "jti-2"), "refresh-2")
    add_token(store, TokenId(ACCOUNT, "jti-3"), "refresh-3")
    assert store.use_refresh_token(OTHER, "refresh-1", NOW) is None
    used = store.use_refresh_token(ACCOUNT, "refresh-1", NOW)
    assert used is not None
    assert used.jti == "jti-1"
    assert store.use_refresh_token(ACCOUNT, "refresh-1", NOW) is None
    assert store.use_refresh_token(ACCOUNT, "refresh-2", NOW + DAY) is None
    assert store.revoke_token(ACCOUNT, "jti-3", "client-1", NOW)
    assert store.use_refresh_token(ACCOUNT, "refresh-3", NOW) is None


@law
def a_disabled_client_loses_its_tokens(store: Store) -> None:
    """Disabling marks the client and kills all of its tokens, and no other client's."""
    for client_id in ("client-1", "client-2"):
        store.add_client(Client(ACCOUNT, client_id, "hash", b"sealed", NOW, None))
    add_token(store)
    assert store.disable_client(ACCOUNT, "client-1", NOW + 5)
    assert not store.disable_client(ACCOUNT, "client-9", NOW)
    assert [c.disabled_at for c in store.clients(ACCOUNT)] == [NOW + 5, None]
    with store.snapshot() as snapshot:
        assert snapshot.facts([TOKEN]).dead_tokens == {TOKEN}


@law
def a_client_is_rotated_in_place(store: Store) -> None:
    """Rotation changes the secret and nothing else."""
    client = Client(ACCOUNT, "client-1", "hash", None, NOW, None)
    store.add_client(client)
    assert store.rotate_client(ACCOUNT, "client-1", "hash-2", b"new")
    assert not store.rotate_client(OTHER, "client-1", "hash-3", None)
    assert store.client(ACCOUNT, "client-1") == replace(client, secret_hash="hash-2", secret_sealed=b"new")
    assert store.client(OTHER, "client-1") is None


@law
def merchants_and_sub_accounts_come_back(store: Store) -> None:
    """What was added is read back whole, oldest first; the default merchant is the one that was named."""
    first = Merchant(ACCOUNT, "Shop", "a@b.c", "", 5, None, NOW, b"key")
    second = replace(first, account_id=OTHER, name="Ọjà", post_limit=None, created_at=NOW + 1)
    sub = SubAccount(ACCOUNT, "s", "till 1", NOW)
    assert store.default_account_id() is None
    store.add_merchant(second, default=True)
    store.add_merchant(first, default=False)
    store.add_sub_account(sub)
    assert store.merchants() == [first, second]
    assert store.merchant(OTHER) == second
    assert store.merchant("nobody") is None
    assert store.sub_accounts(ACCOUNT) == [sub]
    assert store.sub_accounts(OTHER) == []
    assert store.default_account_id() == OTHER


@law
def purge_takes_only_what_has_ended_and_not_too_much(store: Store) -> None:
    """Ended keys and tokens go, in bounded steps; what may still be needed stays."""
    claims = [_claim(f"k{i}") for i in range(3)]
    with store.batch() as batch:
        batch.claim_keys(claims, NOW, NOW + DAY)
        batch.claim_keys([_claim("later")], NOW, NOW + 2 * DAY)
        batch.commit()
    add_token(store)
    assert store.purge(NOW + DAY - 1, 10) == 0
    assert store.purge(NOW + DAY, 2) == 3
    assert store.purge(NOW + DAY, 2) == 1
    assert store.purge(NOW + DAY, 2) == 0
    with store.batch() as batch:
        assert list(batch.claim_keys([*claims, _claim("later")], NOW, NOW)) == [(ACCOUNT, "later")]


@law
def mode_and_key_of_a_database_are_for_ever(store: Store) -> None:
    """Installing again with the same mode and key is harmless; another mode or key is refused."""
    store.install(Mode.SANDBOX, "key-fingerprint", NOW + 1)
    with pytest.raises(StoreUnusable, match="sandbox mode"):
        store.install(Mode.LIVE, "key-fingerprint", NOW)
    with pytest.raises(StoreUnusable, match="OPENTILL_SECRET_KEY"):
        store.install(Mode.SANDBOX, "another", NOW)


@law
def a_probe_is_a_real_write(store: Store) -> None:
    """Probing succeeds while writes work."""
    store.probe_write(NOW + 7)


@law
def nul_and_lone_surrogates_poison_only_their_batch(store: Store) -> None:
    """A value that no database takes fails its batch and leaves the store usable."""
    add_orders(store, "before")
    with pytest.raises(Exception, match=r"surrogate|encode|NUL|null"):
        write(store, [create(new_order("bad\ud800"), NOW)])
    add_orders(store, "after")
    assert all(read(store, (ACCOUNT, "before"), (ACCOUNT, "after")))
