"""An endpoint for as long as somebody listens: how ``opentill listen`` has events delivered to a URL.

It is an endpoint like any other, so what arrives comes from the server itself, with its signatures, its
order, its schedule and its guard. Three things keep it from outliving its listener: leaving takes it away,
whatever waits for it included; its id is made from its URL, so that one left behind by a killed listener is
known for what it is; and a lease says whether its listener is alive, so that the next one clears it away.
"""

import time
import uuid
from contextlib import AbstractContextManager
from typing import Final, Self

from opentill.cli.preflight import OperatorError
from opentill.keys.endpoint_keys import EndpointKeys
from opentill.keys.provisioning import Registry, webhook_key
from opentill.store.outbox.contract import Endpoint
from opentill.webhooks.guard import Forbidden, Guard

LEASE_MILLISECONDS: Final = 3000
"""How long a listener counts as alive after it last said so."""
RENEW_MILLISECONDS: Final = LEASE_MILLISECONDS // 4
_PAUSE_SECONDS: Final = 0.1


class Forwarding(AbstractContextManager["Forwarding"]):
    """The endpoint of a merchant at a URL, from entering to leaving.

    Where the merchant has an enabled endpoint at this URL already, that one is used and left as it is.
    """

    endpoint: Endpoint
    """Where events go; once entered."""

    def __init__(self, registry: Registry, account_id: str, url: str, events: tuple[str, ...]):
        self._registry = registry
        self._store = registry.store
        self._account_id = account_id
        self._url = url
        self._events = events
        self._holder = registry.ids.uuid()
        self._renew_at = 0
        self.is_ours = False
        """Whether the endpoint was made for this listener, and goes with it."""

    def __enter__(self) -> Self:
        """Find or make the endpoint. Raises OperatorError when another listener has it or it gets nothing."""
        self._wait_for_lease()
        self._clear_away_left_behind()
        known = [each for each in self._store.outbox.endpoints(self._account_id) if each.url == self._url]
        if known:
            self.endpoint = next((each for each in known if each.enabled), known[0])
            self._check_usable(self.endpoint)
        else:
            self.endpoint, self.is_ours = self._made(), True
            self._store.outbox.add_endpoint(self.endpoint)
        return self

    def keep(self) -> None:
        """Say that the listener is alive; to be called more often than the lease runs out."""
        moment = self._registry.clock.monotonic()
        if moment >= self._renew_at:
            self._hold(self._url, LEASE_MILLISECONDS)
            self._renew_at = moment + RENEW_MILLISECONDS

    def __exit__(self, *_error: object) -> None:
        if self.is_ours:
            self._store.outbox.delete_endpoint(self._account_id, self.endpoint.endpoint_id)
        self._hold(self._url, 0)

    def _made(self) -> Endpoint:
        merchant = self._store.accounts.merchant(self._account_id)
        assert merchant is not None
        keyring, endpoint_id = self._registry.keyring, _id_of(self._account_id, self._url)
        key = webhook_key(merchant, keyring)
        return Endpoint(
            account_id=self._account_id,
            endpoint_id=endpoint_id,
            url=self._url,
            events=self._events,
            enabled=True,
            key_sealed=EndpointKeys(keyring).seal(self._account_id, endpoint_id, key),
            next_key_sealed=None,
            paused_at=None,
            failing_since=None,
            created_at=self._registry.clock.now(),
        )

    @staticmethod
    def _check_usable(endpoint: Endpoint) -> None:
        if not endpoint.enabled or endpoint.paused_at is not None:
            state = "paused" if endpoint.enabled else "disabled"
            raise OperatorError(
                f"{endpoint.url} is endpoint {endpoint.endpoint_id} already, which is {state}; "
                "change or delete that one."
            )

    def _wait_for_lease(self) -> None:
        """Wait for another listener's lease to end: a killed one's soon runs out, a living one's does not."""
        deadline = time.monotonic() + 1.5 * LEASE_MILLISECONDS / 1000
        while not self._hold(self._url, LEASE_MILLISECONDS):
            if time.monotonic() > deadline:
                raise OperatorError(f"another `opentill listen` forwards to {self._url} already.")
            time.sleep(_PAUSE_SECONDS)

    def _clear_away_left_behind(self) -> None:
        for each in self._store.outbox.endpoints(self._account_id):
            left_behind = each.endpoint_id == _id_of(self._account_id, each.url)
            if left_behind and self._hold(each.url, LEASE_MILLISECONDS if each.url == self._url else 0):
                self._store.outbox.delete_endpoint(self._account_id, each.endpoint_id)

    def _hold(self, url: str, milliseconds: int) -> bool:
        now = self._registry.clock.now()
        name = f"listen {_id_of(self._account_id, url)}"
        return self._store.outbox.hold_lease(name, self._holder, now, now + milliseconds)


def check_url(url: str, *, allow_loopback: bool) -> None:
    """Raise OperatorError for a URL that the server would never deliver to."""
    guard = Guard(allow_loopback=allow_loopback)
    try:
        guard.check_url(url)
    except Forbidden as forbidden:
        raise OperatorError(f"nothing is delivered to the URL of --forward-to. {forbidden}") from None
    finally:
        guard.close()


def _id_of(account_id: str, url: str) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"opentill listen {account_id} {url}"))
