"""The law of a store, fourth part: saved cards and shoppers' passwords. See ``conformance``."""

from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import closing
from dataclasses import replace
from typing import Any

from opentill.domain.commands import BeginAttempt, RailOutcome, SettleAttempt
from opentill.domain.decisions import create, decide
from opentill.domain.order import KeptCard
from opentill.store.cards.contract import CardFilter, CardView, PasswordOf, PasswordUse
from opentill.store.interface import OpenStore, Store
from store.conformance import law, law_of_opening
from store.conformance_endpoints import LAW
from store_factories import ACCOUNT, ACTOR, IDS, NOW, OTHER, new_order, write

__all__ = ["LAW"]
DAY = 24 * 3_600_000
EMAIL = "payer@example.com"
PASSWORD = PasswordOf(ACCOUNT, "order-1", PasswordUse.SAVE, "phone-1")


def kept(name: str) -> KeptCard:
    return KeptCard(f"hash-{name}", f"token key of {name}", f"rail token of {name}", "10/30")


def pay(store: Store, name: str, *, tokenize: bool, at: int = NOW) -> None:
    """A card pays for a new order of this name, and is kept."""
    created = create(new_order(name, ACCOUNT, tokenize_card=tokenize), at)
    common: dict[str, Any] = {
        "account_id": ACCOUNT,
        "actor": ACTOR,
        "name": name,
        "transaction_id": f"T-{name}",
    }
    begin = BeginAttempt(
        **common,
        command_id=IDS.uuid(),
        card_masked="543462******2808",
        card_brand="Mastercard",
        call_until=at,
        max_attempts=1,
        save_card=True,
    )
    settle = SettleAttempt(
        **common,
        command_id=IDS.uuid(),
        outcome=RailOutcome.APPROVED,
        answers_try=0,
        response_code="00",
        message="",
        call_until=at,
        max_otp_tries=1,
        kept_card=kept(name),
    )
    write(store, [created])
    begun = decide(created.after, begin, at)
    write(store, [begun])
    write(store, [decide(begun.after, settle, at)])


def names(found: list[CardView]) -> list[str]:
    return [each.card.transaction_id.removeprefix("T-") for each in found]


@law
def a_card_is_saved_in_the_commit_of_its_payment(store: Store) -> None:
    """It comes back as it was written, is its order's customer's, and belongs to its merchant alone."""
    pay(store, "r", tokenize=True)
    found = store.cards.card_of_payment(ACCOUNT, "T-r")
    assert found is not None
    assert (found.card.kept, found.card.tokenized, found.card.created_at) == (kept("r"), True, NOW)
    assert (found.customer_email, found.confirmed_at) == (EMAIL, None)
    assert store.cards.saved_card(ACCOUNT, "hash-r") == found
    assert store.cards.saved_card(OTHER, "hash-r") is None
    assert store.cards.card_of_payment(OTHER, "T-r") is None
    assert store.cards.saved_cards(CardFilter(account_id=OTHER)) == []
    assert not store.cards.forget_card(OTHER, "hash-r")
    assert not store.cards.give_card(OTHER, "hash-r", EMAIL, "thief@example.com")


@law
def a_card_that_a_payer_wants_saved_is_of_no_use_before_it_is_confirmed(store: Store) -> None:
    """Until then its payment alone knows it; from then on its customer has saved cards."""
    pay(store, "r", tokenize=False)
    with store.snapshot() as snapshot:
        assert not snapshot.orders([(ACCOUNT, "r")])[ACCOUNT, "r"].has_saved_cards
    assert store.cards.saved_card(ACCOUNT, "hash-r") is None
    assert store.cards.saved_cards(CardFilter(account_id=ACCOUNT)) == []
    assert not store.cards.confirm_card(OTHER, "T-r", NOW)
    assert store.cards.confirm_card(ACCOUNT, "T-r", NOW + 5)
    assert names(store.cards.saved_cards(CardFilter(account_id=ACCOUNT, confirmed_only=True))) == ["r"]
    with store.snapshot() as snapshot:
        assert snapshot.orders([(ACCOUNT, "r")])[ACCOUNT, "r"].has_saved_cards


@law
def cards_are_found_by_customer_and_time_newest_first(store: Store) -> None:
    """Each filter holds, pages follow one another, and a card can change hands and be forgotten."""
    for number, name in enumerate("abc"):
        pay(store, name, tokenize=True, at=NOW + number)
    everything = CardFilter(account_id=ACCOUNT)
    assert names(store.cards.saved_cards(everything)) == ["c", "b", "a"]
    assert names(store.cards.saved_cards(replace(everything, skip=1, limit=1))) == ["b"]
    only_b = replace(everything, created_from=NOW + 1, created_before=NOW + 2)
    assert names(store.cards.saved_cards(only_b)) == ["b"]
    assert not store.cards.give_card(ACCOUNT, "hash-a", "not-hers@example.com", "new@example.com")
    assert store.cards.give_card(ACCOUNT, "hash-a", EMAIL, "new@example.com")
    assert names(store.cards.saved_cards(replace(everything, customer_email="new@example.com"))) == ["a"]
    assert store.cards.forget_card(ACCOUNT, "hash-b")
    assert names(store.cards.saved_cards(everything)) == ["c", "a"]


@law
def a_password_is_sent_and_tried_so_often_and_used_once(store: Store) -> None:
    """Wrong tries end it until it is sent again, which ends too; only the phone that got it may use it."""
    assert not store.cards.try_password(PASSWORD, NOW - 1, 2)
    assert store.cards.send_password(PASSWORD, NOW, 2)
    assert not store.cards.try_password(replace(PASSWORD, phone_hash="phone-2"), NOW - 1, 2)
    assert not store.cards.try_password(replace(PASSWORD, use=PasswordUse.LIST), NOW - 1, 2)
    assert not store.cards.try_password(PASSWORD, NOW, 2)
    assert [store.cards.try_password(PASSWORD, NOW - 1, 2) for _ in range(3)] == [True, True, False]
    assert store.cards.send_password(PASSWORD, NOW, 2)
    assert store.cards.try_password(PASSWORD, NOW - 1, 2)
    assert not store.cards.send_password(PASSWORD, NOW, 2)
    assert [store.cards.use_up_password(PASSWORD) for _ in range(2)] == [True, False]
    assert not store.cards.try_password(PASSWORD, NOW - 1, 2)


@law
def what_nobody_confirmed_is_purged_after_a_day(store: Store) -> None:
    """A card that can be charged stays."""
    for name, tokenize in (("asked", True), ("offered", False), ("confirmed", False)):
        pay(store, name, tokenize=tokenize)
    store.cards.confirm_card(ACCOUNT, "T-confirmed", NOW)
    store.cards.send_password(PASSWORD, NOW, 1)
    assert store.purge(NOW + DAY - 1, 10) == 0
    assert store.purge(NOW + DAY, 10) == 2
    assert store.cards.card_of_payment(ACCOUNT, "T-offered") is None
    assert sorted(names(store.cards.saved_cards(CardFilter(account_id=ACCOUNT)))) == ["asked", "confirmed"]
    assert store.cards.send_password(PASSWORD, NOW, 1)


@law_of_opening
def a_card_is_not_deleted_while_it_is_charged(open_store: OpenStore) -> None:
    """Whoever deletes a card waits for the batch that has found it, and the next batch does not find it."""
    with closing(open_store()) as first, closing(open_store()) as second, ThreadPoolExecutor(1) as other:
        pay(first, "r", tokenize=True)
        pay(first, "unconfirmed", tokenize=False)
        asked = [(ACCOUNT, "T-r"), (ACCOUNT, "T-unconfirmed"), (ACCOUNT, "T-none"), (OTHER, "T-r")]
        with first.batch() as batch:
            assert set(batch.saved_cards(asked)) == {(ACCOUNT, "T-r")}
            deleted = other.submit(second.cards.forget_card, ACCOUNT, "hash-r")
            assert wait([deleted], timeout=0.05).done == set()
            batch.commit()
        assert deleted.result(10)
        with first.batch() as batch:
            assert not batch.saved_cards(asked)
