"""Saved cards as the store keeps them, and the passwords by which shoppers confirm them (contract 3.7).

A saved card is written in the commit of the payment that leaves it (``Batch.write``); the verbs here only
look at it and end it. None of them changes an order or the ledger; each is one short transaction.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from opentill.domain.order import SavedCard


@dataclass(frozen=True, slots=True)
class CardView:
    """A saved card, and whose it is by now."""

    card: SavedCard
    customer_email: str
    """Taken from its order, until the merchant gives it another one."""
    confirmed_at: int | None
    """When the shopper confirmed by a one-time password that it is to be kept; None: not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CardFilter:
    """A merchant's saved cards that are wanted, newest first; None means any. UTC milliseconds."""

    account_id: str
    customer_email: str | None = None
    confirmed_only: bool = False
    """Only those that shoppers confirmed; otherwise also those for which the merchant asked."""
    created_from: int | None = None
    created_before: int | None = None
    """Itself not included."""
    skip: int = 0
    limit: int = 50


class PasswordUse(StrEnum):
    """The use of a shopper's one-time password."""

    SAVE = "save"
    LIST = "list"


@dataclass(frozen=True, slots=True)
class PasswordOf:
    """Names the one-time password that was sent to a shopper: one for each order and use."""

    account_id: str
    order_id: str
    use: PasswordUse
    phone_hash: str
    """Keyed digest of the phone number that it went to; empty where none was named."""


class Cards(Protocol):
    """The verbs of saved cards; every store has them beside those of ``Store``.

    A card that neither the merchant asked for nor the shopper has confirmed is found by its payment alone.
    """

    def saved_cards(self, wanted: CardFilter) -> list[CardView]:
        """List the cards that match, newest first."""

    def saved_card(self, account_id: str, token_key_hash: str) -> CardView | None:
        """Find the merchant's card of this token key."""

    def card_of_payment(self, account_id: str, transaction_id: str) -> CardView | None:
        """Find the card that this payment left, confirmed or not."""

    def give_card(self, account_id: str, token_key_hash: str, from_email: str, to_email: str) -> bool:
        """Make a card another customer's; False when there is none of this token key and first customer."""

    def forget_card(self, account_id: str, token_key_hash: str) -> bool:
        """Delete a card; False when there is none of this token key."""

    def confirm_card(self, account_id: str, transaction_id: str, at: int) -> bool:
        """Confirm that the shopper wants the card of this payment kept; False when there is none."""

    def send_password(self, password: PasswordOf, at: int, most_sends: int) -> bool:
        """Note that a password goes out, and forgive wrong tries; False when it went out often enough."""

    def try_password(self, password: PasswordOf, sent_after: int, most_tries: int) -> bool:
        """Note one try; False when no password that was sent after that time waits for one more."""

    def use_up_password(self, password: PasswordOf) -> bool:
        """Use a password up, for good; False when somebody else has just used it."""
