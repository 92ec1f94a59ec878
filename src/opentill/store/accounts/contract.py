"""Accounts as the store keeps them: merchants, sub-accounts, credentials, tokens and this installation.

Each verb is one short transaction of its own; none touches an order or the ledger.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Protocol

from opentill.domain.order import LateMoney

MOST_CLOCK_OFFSET_MILLISECONDS: Final = 100 * 365 * 86_400_000
"""How far business time of a sandbox can be ahead of real time: every date stays one that can be written."""


class Mode(StrEnum):
    """Stamped into a database when it is made; it can never be opened in the other one (ruling 23)."""

    SANDBOX = "sandbox"
    LIVE = "live"


@dataclass(frozen=True, slots=True)
class Merchant:
    """A parent account."""

    account_id: str
    name: str
    email: str
    logo_url: str
    """An image as a ``data:`` URL; empty for none."""
    post_limit: int | None
    """Requests per window; None: the server's default."""
    other_limit: int | None
    created_at: int
    webhook_key_sealed: bytes
    expires_in_seconds: int | None = None
    """After how long an order falls due that does not say it; None: never."""
    late_money: LateMoney | None = None
    """What becomes of money that arrives late for an order that does not say it; None: it is returned."""


@dataclass(frozen=True, slots=True)
class SubAccount:
    """An account of a merchant that orders can credit."""

    account_id: str
    sub_account_id: str
    name: str
    created_at: int


@dataclass(frozen=True, slots=True)
class Client:
    """A pair of credentials of a merchant."""

    account_id: str
    client_id: str
    secret_hash: str
    """SHA-256 of the secret in hex: it is 32 random bytes, so a slow hash would add nothing."""
    secret_sealed: bytes | None
    """Sandbox mode only: the secret itself, encrypted, so that it can be shown again."""
    created_at: int
    disabled_at: int | None


@dataclass(frozen=True, slots=True)
class IssuedToken:
    """An access token and the refresh token that was handed out with it."""

    account_id: str
    jti: str
    client_id: str
    refresh_hash: str
    expires_at: int
    refresh_expires_at: int


class Accounts(Protocol):
    """The verbs of accounts, credentials, tokens and of the facts of this installation."""

    def install(self, mode: Mode, secret_fingerprint: str, now: int) -> None:
        """Stamp mode and secret key into a new database; raises StoreUnusable if an old one has others."""

    def seen_at(self) -> int | None:
        """Read the last real time that servers have seen; None before the first."""

    def note_time(self, now: int) -> None:
        """Move the last seen time on to ``now``, unless that is less than a minute further.

        In live mode a time more than a day further is not noted: it may be wrong (laws 7).
        """

    def confirm_time(self, now: int) -> None:
        """Make ``now`` the last seen time, whichever way: a person says that it is right.

        Where it was later, what waits for a later time (tries of deliveries, look-ups of calls, routing of
        advices) waits as much less: it was dated by a clock that was so far ahead.
        """

    def advance_clock(self, milliseconds: int) -> int:
        """Move business time forward; returns the whole offset from real time.

        Raises ClockOutOfRange backwards, beyond MOST_CLOCK_OFFSET_MILLISECONDS, and in live mode (ruling 23).
        """

    def default_account_id(self) -> str | None:
        """Name the merchant that unauthenticated sandbox calls act as; None in live mode."""

    def add_merchant(self, merchant: Merchant, *, default: bool) -> bool:
        """Add a merchant, and make it the default one when asked.

        False, and nothing is added, when it should be the default one and there is one already.
        """

    def merchant(self, account_id: str) -> Merchant | None:
        """Find the merchant of this parent account id."""

    def set_defaults(
        self, account_id: str, expires_in_seconds: int | None, late_money: LateMoney | None
    ) -> bool:
        """Set what a merchant's orders are that say nothing themselves; False for no such merchant."""

    def set_logo(self, account_id: str, logo_url: str) -> bool:
        """Give a merchant another logo, or none; False when there is no such merchant."""

    def merchants(self) -> list[Merchant]:
        """List all merchants, oldest first."""

    def add_sub_account(self, sub_account: SubAccount) -> None:
        """Add a sub-account to its merchant."""

    def sub_accounts(self, account_id: str) -> list[SubAccount]:
        """List the merchant's sub-accounts, oldest first."""

    def add_client(self, client: Client) -> None:
        """Add credentials to a merchant."""

    def client(self, account_id: str, client_id: str) -> Client | None:
        """Find these credentials, disabled or not."""

    def clients(self, account_id: str) -> list[Client]:
        """List the merchant's credentials, oldest first."""

    def disable_client(self, account_id: str, client_id: str, now: int) -> bool:
        """Disable credentials and revoke every token they got; False when there are none of this id."""

    def rotate_client(self, account_id: str, client_id: str, secret_hash: str, sealed: bytes | None) -> bool:
        """Give credentials a new secret; the tokens of the old one live on. False when there are none."""

    def add_token(self, token: IssuedToken) -> None:
        """Remember a token that is about to be handed out."""

    def use_refresh_token(self, account_id: str, refresh_hash: str, now: int) -> IssuedToken | None:
        """Use up a refresh token: None when unknown, used, expired or revoked (single use, laws 10)."""

    def revoke_token(self, account_id: str, jti: str, client_id: str, now: int) -> bool:
        """Revoke an access token of this client and its refresh token; False when it has none of this id."""
