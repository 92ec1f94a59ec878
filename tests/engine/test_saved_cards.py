"""What a charge of a saved card does when the card is deleted between the look at it and the commit."""

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Any, cast

import pytest
from msgspec.structs import asdict

from engine.harness import FaultyStore, event_types, submitted
from opentill.domain.commands import ChargeSavedCard
from opentill.store.interface import Store
from opentill.store.orders.contract import Batch, Name
from store.conformance_cards import pay
from store_factories import ACCOUNT, NOW, new_order


def charge_saved(reference: str, saved_card: str) -> ChargeSavedCard:
    """Charge the card that this payment left for a new order."""
    return ChargeSavedCard(
        **asdict(new_order(reference)),
        transaction_id=f"T-{reference}",
        saved_card=saved_card,
        card_masked="543462******2808",
        card_brand="Mastercard",
        call_until=NOW + 30_000,
    )


class _Careless:
    """A batch that takes the caller's look at the cards for the truth."""

    def __init__(self, batch: Batch):
        self._batch = batch

    def __getattr__(self, verb: str) -> Any:
        return getattr(self._batch, verb)

    def saved_cards(self, payments: Collection[Name]) -> Collection[Name]:
        return payments


class _CarelessStore:
    """The store of a place with careless batches."""

    def __init__(self, store: Store):
        self._store = store

    def __getattr__(self, verb: str) -> Any:
        return getattr(self._store, verb)

    @contextmanager
    def batch(self) -> Iterator[Batch]:
        with self._store.batch() as batch:
            yield cast("Batch", _Careless(batch))


@pytest.mark.parametrize(
    ("careless", "ends", "events"),
    [(False, "RecordNotFound", []), (True, "done", ["order_created", "attempt_started"])],
    ids=["careful", "control"],
)
def test_a_card_that_was_deleted_is_not_charged(
    store: FaultyStore, careless: bool, ends: str, events: list[str]
) -> None:
    """Deleted after the caller had found it, a card is as good as never saved; but for the control."""
    pay(store, "r", tokenize=True)
    command = charge_saved("again", "T-r")
    assert store.cards.forget_card(ACCOUNT, "hash-r")
    used = cast("Store", _CarelessStore(store)) if careless else store
    assert submitted(used, command) == [ends]
    assert event_types(store, "again") == events


def test_a_saved_card_is_charged_while_others_are_deleted(store: FaultyStore) -> None:
    """In one batch the charge of a card that is there is done, and that of a deleted one refused."""
    for name in ("r", "s"):
        pay(store, name, tokenize=True)
    assert store.cards.forget_card(ACCOUNT, "hash-s")
    commands = [charge_saved("first", "T-r"), charge_saved("second", "T-s"), charge_saved("third", "T-r")]
    assert submitted(store, *commands) == ["done", "RecordNotFound", "done"]
