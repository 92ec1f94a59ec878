"""Saved cards: what a paid card leaves behind so that it can be charged again (contract 3.7, 8)."""

from msgspec import Struct


class KeptCard(Struct, frozen=True):
    """The means to charge a card again, as the rail told them with its approval; both tokens sealed.

    Never the card's number: the rail has that, and its token is of use to nobody but us.
    """

    token_key_hash: str
    """Keyed digest, by which the merchant's token key is found again."""
    token_key_sealed: str
    """The token key that the merchant charges by."""
    rail_token_sealed: str
    """The token that the rail charges by."""
    expiry: str
    """The card's own expiry as ``MM/YY``."""


class SavedCard(Struct, frozen=True):
    """A card that paid for an order and was to be kept, by the wish of the merchant or of the payer."""

    account_id: str
    transaction_id: str
    """The payment that it comes of; a payment leaves at most one."""
    order_id: str
    kept: KeptCard
    card_masked: str
    card_brand: str
    tokenized: bool
    """True if the merchant asked for it when the order was created, and so may charge it at once.

    Otherwise the payer alone asked, and has to confirm it with a one-time password first.
    """
    created_at: int
