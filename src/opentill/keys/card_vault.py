"""Where tokens of saved cards are sealed and opened: bound to their merchant, and found by a digest."""

import base64
import binascii
from typing import Final

from opentill.domain.order import KeptCard, SavedCard
from opentill.keys.keyring import Keyring, Unsealable

_MERCHANTS: Final = "token key of a merchant"
_RAILS: Final = "token of a rail"


class CardVault:
    """Seals the two tokens of a card; what was sealed for one merchant opens for no other.

    Everything sealed is AES-GCM with the key's id before it, as base64 text.
    """

    def __init__(self, keyring: Keyring):
        self._keyring = keyring

    def keep(self, account_id: str, rail_token: str, expiry: str) -> KeptCard:
        """Seal what is kept of a card, under a new token key that nobody knows before the card is saved."""
        token_key = self._keyring.new_token_key()
        return KeptCard(
            token_key_hash=self.digest(account_id, token_key),
            token_key_sealed=self._sealed(token_key, _MERCHANTS, account_id),
            rail_token_sealed=self._sealed(rail_token, _RAILS, account_id),
            expiry=expiry,
        )

    def digest(self, account_id: str, secret: str) -> str:
        """Digest a token key, to find its card at this merchant, or a phone number, to tell two apart."""
        return self._keyring.digest_for(account_id, secret)

    def token_key(self, card: SavedCard) -> str:
        """Open what the merchant charges this card by. Raises Unsealable where it was not sealed for it."""
        return self.open_token_key(card.account_id, card.kept.token_key_sealed)

    def open_token_key(self, account_id: str, sealed: str) -> str:
        """Open a token key that was sealed for this merchant. Raises Unsealable for anything else."""
        return self._opened(sealed, _MERCHANTS, account_id)

    def rail_token(self, card: SavedCard) -> str:
        """Open what the rail charges this card by. Raises as ``token_key`` does."""
        return self._opened(card.kept.rail_token_sealed, _RAILS, card.account_id)

    def _sealed(self, secret: str, what: str, account_id: str) -> str:
        return base64.b64encode(self._keyring.seal(secret.encode(), _bound_to(what, account_id))).decode()

    def _opened(self, sealed: str, what: str, account_id: str) -> str:
        try:
            raw = base64.b64decode(sealed, validate=True)
        except (binascii.Error, ValueError):
            raise Unsealable("this is no sealed text") from None
        return self._keyring.open(raw, _bound_to(what, account_id)).decode()


def _bound_to(what: str, account_id: str) -> str:
    return f"saved card {what} {account_id}"
