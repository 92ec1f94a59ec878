"""The keys that sign what goes to an endpoint: a text to its merchant, sealed in the database.

Apart from the card vault, which rails use: they need to know nothing of webhooks.
"""

from opentill.keys.keyring import Keyring
from opentill.store.outbox.contract import Endpoint
from opentill.webhooks.signature import SigningKeys


class EndpointKeys:
    """Seals and opens signing keys; one that was sealed for an endpoint opens for no other."""

    def __init__(self, keyring: Keyring):
        self._keyring = keyring

    def seal(self, account_id: str, endpoint_id: str, key: str) -> bytes:
        """Seal a signing key of this endpoint, as it is kept."""
        return self._keyring.seal(key.encode(), _bound_to(account_id, endpoint_id))

    def of(self, endpoint: Endpoint) -> SigningKeys:
        """Open the endpoint's keys. Raises Unsealable when they were not sealed for it by this keyring."""
        following = endpoint.next_key_sealed
        return SigningKeys(
            self._opened(endpoint, endpoint.key_sealed),
            None if following is None else self._opened(endpoint, following),
        )

    def _opened(self, endpoint: Endpoint, sealed: bytes) -> str:
        return self._keyring.open(sealed, _bound_to(endpoint.account_id, endpoint.endpoint_id)).decode()


def _bound_to(account_id: str, endpoint_id: str) -> str:
    return f"endpoint key {account_id} {endpoint_id}"
