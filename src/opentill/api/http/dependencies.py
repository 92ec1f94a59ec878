"""What the API stands on: made once by the composition root and handed in."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from opentill.api.http.account_cache import AccountCache
from opentill.api.http.readiness import Remembered
from opentill.api.http.scope import AsgiApp
from opentill.api.http.streaming import Stream
from opentill.clock import Clock, Ids
from opentill.engine.engine import Engine
from opentill.engine.reader import Reader
from opentill.engine.threads import StoreThreads
from opentill.keys.card_vault import CardVault
from opentill.keys.endpoint_keys import EndpointKeys
from opentill.keys.keyring import CardKey, Keyring
from opentill.rails.card_payments import CardPaymentService, ReturnUrl
from opentill.rails.transfer_payments import TransferPaymentService
from opentill.settings import Settings
from opentill.store.accounts.contract import Mode
from opentill.store.orders.contract import TokenId
from opentill.webhooks.guard import Guard
from opentill.webhooks.poster import Poster
from opentill.workers.expiry import Expiry
from opentill.workers.timekeeping import Timekeeping

SwitchRail: TypeAlias = Callable[[str, str | None, int, int], Awaitable[None]]
"""Takes an operation of the rail, how it ends, a delay in milliseconds, and for how many calls."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Whose events, and of which types; empty for all."""

    account_id: str
    token: TokenId | None
    types: frozenset[str] = frozenset()


class EventStreams(Protocol):
    """The open event streams of this process."""

    def open(self, wanted: Wanted, after: int, token_until: int | None) -> Stream:
        """Open a stream of the events behind a position; ``token_until`` is business time.

        Raises Overloaded when so many are open already, half of them for one merchant, or the server stops.
        """

    def end(self) -> None:
        """End all streams and open no other: the server stops."""

    async def close(self) -> None:
        """End all streams and stop watching over them."""


@dataclass(frozen=True, kw_only=True)
class ApiDeps:
    """The parts that the API stands on."""

    settings: Settings
    engine: Engine
    reader: Reader
    threads: StoreThreads
    card_payments: CardPaymentService
    transfers: TransferPaymentService
    keyring: Keyring
    clock: Clock
    ids: Ids
    default_account_id: str | None
    """Whom calls without a token act as; None, as always in live mode, for nobody."""
    card_key: CardKey | None = None
    """Where given, card details are taken only encrypted under it."""
    switch_rail: SwitchRail | None = None
    """Makes the sandbox's rail misbehave; None in live mode, which has none."""
    expiry: Expiry | None = None
    """Ends what falls due when the sandbox's clock is moved; None in live mode, whose time is real."""
    metrics: AsgiApp | None = None
    """Answers scrapes; None where the settings have no such path."""
    pages: AsgiApp | None = None
    """Answers the paths that are not the API's."""
    guard: Guard
    """Says which URLs may be called."""
    poster: Poster
    endpoint_keys: EndpointKeys
    vault: CardVault
    account_cache: AccountCache
    can_write: Remembered[bool]
    paused_endpoints: Remembered[int]
    """Of all merchants; 0 too while that can not be found out."""
    timekeeping: Timekeeping
    streams: EventStreams
    return_url: ReturnUrl

    @property
    def sandbox(self) -> bool:
        """Return whether this server is a sandbox."""
        return self.settings.mode is Mode.SANDBOX

    @property
    def takes_transfers(self) -> bool:
        """Return whether somebody would tell us of a bank transfer, so that payers may be asked for one."""
        return self.sandbox or bool(self.settings.credit_advice_keys)
