"""Provisioning: merchants, their sub-accounts and the credentials of their programs."""

import base64
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from opentill.clock import Clock, Ids
from opentill.keys.keyring import Keyring
from opentill.store.accounts.contract import Client, Merchant, Mode, SubAccount
from opentill.store.interface import Store

DEFAULT_NAME: Final = "Sandbox Merchant"
MOST_LOGO_BYTES: Final = 8192
"""It travels inside the payer's page, which has to be small."""
_LOGO_KINDS: Final = {b"\x89PNG\r\n\x1a\n": "png", b"\xff\xd8\xff": "jpeg", b"RIFF": "webp"}
"""By how such a file begins. No SVG: it could hold a script."""
_SECRET_BYTES = 32
_MAX_NAME_CHARACTERS = 90


class InvalidName(ValueError):
    """A merchant or sub-account can not be called that; the message is one sentence."""


class InvalidLogo(ValueError):
    """This can not be a merchant's logo; the message is one sentence."""


@dataclass(frozen=True, slots=True, repr=False)
class ClientCredentials:
    """The id and secret by which a merchant's program gets a token (contract 1.3)."""

    client_id: str
    client_secret: str

    def __repr__(self) -> str:
        return f"ClientCredentials({self.client_id!r}, <withheld>)"


@dataclass(frozen=True, slots=True, repr=False)
class Credentials:
    """Everything a merchant's program must know to work with this server."""

    url: str
    account_id: str
    sub_account_id: str
    client_id: str
    client_secret: str
    webhook_key: str

    def __repr__(self) -> str:
        return f"Credentials({self.account_id!r}, <withheld>)"

    def env_lines(self) -> str:
        """Write the same as lines for a shell or an ``.env`` file; no value needs quotes."""
        return (
            f"OPENTILL_URL={self.url}\n"
            f"OPENTILL_ACCOUNT_ID={self.account_id}\n"
            f"OPENTILL_SUB_ACCOUNT_ID={self.sub_account_id}\n"
            f"OPENTILL_CLIENT_ID={self.client_id}\n"
            f"OPENTILL_CLIENT_SECRET={self.client_secret}\n"
            f"OPENTILL_WEBHOOK_KEY={self.webhook_key}\n"
        )


@dataclass(frozen=True, slots=True)
class Registry:
    """Adds merchants and what belongs to them to a store, in the way of its mode.

    In sandbox mode client secrets are kept sealed beside their hash, so that they can be shown
    again; in live mode they are known only to who was given them (laws 10).
    """

    store: Store
    keyring: Keyring
    clock: Clock
    ids: Ids
    mode: Mode

    def create_merchant(self, name: str, url: str, *, default: bool = False) -> Credentials:
        """Add a merchant with one sub-account and one client. Raises InvalidName."""
        account_id = self.ids.uuid()
        merchant = Merchant(
            account_id=account_id,
            name=_checked(name),
            email="",
            logo_url="",
            post_limit=None,
            other_limit=None,
            created_at=self.clock.now(),
            webhook_key_sealed=self.keyring.seal(new_secret().encode(), _webhook_key_bound_to(account_id)),
        )
        if not self.store.accounts.add_merchant(merchant, default=default):
            return self.ensure_default_merchant(url)  # another process made it at this moment
        sub_account = self._first_sub_account(merchant)
        return self._credentials(merchant, sub_account, self.add_client(account_id), url)

    def set_logo(self, account_id: str, image: bytes) -> bool:
        """Give a merchant another logo; False when there is no such merchant. Raises InvalidLogo."""
        return self.store.accounts.set_logo(account_id, _data_url(image))

    def add_sub_account(self, account_id: str, name: str) -> SubAccount:
        """Add a sub-account to a merchant. Raises InvalidName."""
        added = SubAccount(account_id, self.ids.uuid(), _checked(name), self.clock.now())
        self.store.accounts.add_sub_account(added)
        return added

    def add_client(self, account_id: str) -> ClientCredentials:
        """Add credentials to a merchant; in live mode this is the only time their secret is seen."""
        client_id, secret = self.ids.uuid(), new_secret()
        client = Client(
            account_id=account_id,
            client_id=client_id,
            secret_hash=self.keyring.secret_hash(secret),
            secret_sealed=self._sealed(account_id, client_id, secret),
            created_at=self.clock.now(),
            disabled_at=None,
        )
        self.store.accounts.add_client(client)
        return ClientCredentials(client_id, secret)

    def rotate_client(self, account_id: str, client_id: str) -> ClientCredentials | None:
        """Give a client a new secret, at once in place of the old; None when there is no such client."""
        secret = new_secret()
        sealed = self._sealed(account_id, client_id, secret)
        known = self.store.accounts.rotate_client(
            account_id, client_id, self.keyring.secret_hash(secret), sealed
        )
        return ClientCredentials(client_id, secret) if known else None

    def ensure_default_merchant(self, url: str) -> Credentials:
        """Return the merchant as which unauthenticated sandbox calls act, made when there is none.

        What a crash or an operator took from it (sub-account, usable client) is made anew.
        """
        account_id = self.store.accounts.default_account_id()
        merchant = self.store.accounts.merchant(account_id) if account_id else None
        if merchant is None:
            return self.create_merchant(DEFAULT_NAME, url, default=True)
        sub_accounts = self.store.accounts.sub_accounts(merchant.account_id)
        sub_account = sub_accounts[0] if sub_accounts else self._first_sub_account(merchant)
        client = self._client_to_show(merchant.account_id) or self.add_client(merchant.account_id)
        return self._credentials(merchant, sub_account, client, url)

    def _first_sub_account(self, merchant: Merchant) -> SubAccount:
        return self.add_sub_account(merchant.account_id, f"{merchant.name} 1")

    def _client_to_show(self, account_id: str) -> ClientCredentials | None:
        for client in self.store.accounts.clients(account_id):
            if client.disabled_at is None and client.secret_sealed is not None:
                secret = self.keyring.open(
                    client.secret_sealed, _secret_bound_to(account_id, client.client_id)
                )
                return ClientCredentials(client.client_id, secret.decode())
        return None

    def _sealed(self, account_id: str, client_id: str, secret: str) -> bytes | None:
        if self.mode is Mode.LIVE:
            return None
        return self.keyring.seal(secret.encode(), _secret_bound_to(account_id, client_id))

    def _credentials(
        self, merchant: Merchant, sub_account: SubAccount, client: ClientCredentials, url: str
    ) -> Credentials:
        return Credentials(
            url=url,
            account_id=merchant.account_id,
            sub_account_id=sub_account.sub_account_id,
            client_id=client.client_id,
            client_secret=client.client_secret,
            webhook_key=webhook_key(merchant, self.keyring),
        )


def ensure_default_merchant(
    store: Store, keyring: Keyring, clock: Clock, ids: Ids, *, url: str
) -> Credentials:
    """Return the default merchant of a sandbox: the same credentials on every start."""
    return Registry(store, keyring, clock, ids, Mode.SANDBOX).ensure_default_merchant(url)


def webhook_key(merchant: Merchant, keyring: Keyring) -> str:
    """Open the key that signs what is sent to this merchant. Raises Unsealable under another secret key."""
    return keyring.open(merchant.webhook_key_sealed, _webhook_key_bound_to(merchant.account_id)).decode()


def write_env_file(file: Path, credentials: Credentials) -> None:
    """Write the credentials as env lines, readable by the owner only; whole or not at all.

    Raises OSError when the folder can not be written.
    """
    descriptor, unfinished = tempfile.mkstemp(
        dir=file.parent, prefix=f".{file.name}."
    )  # mkstemp makes it 0600
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as writer:
            writer.write(credentials.env_lines())
            writer.flush()
            os.fsync(writer.fileno())
        Path(unfinished).replace(file)
    except BaseException:
        Path(unfinished).unlink()
        raise


def new_secret() -> str:
    """Make a secret of 32 random bytes in base64: 44 characters, as Nomba's are documented."""
    return base64.b64encode(os.urandom(_SECRET_BYTES)).decode()


def _data_url(image: bytes) -> str:
    kind = next((kind for begin, kind in _LOGO_KINDS.items() if image.startswith(begin)), None)
    if kind is None:
        raise InvalidLogo("a logo is a PNG, JPEG or WebP image.")
    if len(image) > MOST_LOGO_BYTES:
        raise InvalidLogo(f"a logo has at most {MOST_LOGO_BYTES} bytes.")
    return f"data:image/{kind};base64,{base64.b64encode(image).decode()}"


def _checked(name: str) -> str:
    if not (0 < len(name) <= _MAX_NAME_CHARACTERS and name.isprintable() and name == name.strip()):
        raise InvalidName(
            f"a name has 1 to {_MAX_NAME_CHARACTERS} printable characters without spaces around them."
        )
    return name


def _secret_bound_to(account_id: str, client_id: str) -> str:
    return f"client secret {account_id} {client_id}"


def _webhook_key_bound_to(account_id: str) -> str:
    return f"webhook key {account_id}"
