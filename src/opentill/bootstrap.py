"""What every program needs that works on a database: settings, keys and store, checked and opened.

Apart from ``app.py``, so that a command that serves nobody does not load what serves.
"""

from dataclasses import dataclass

from opentill.clock import Clock, SystemClock
from opentill.keys.keyring import CARD_KEY_FILE, CardKey, Keyring, open_keyring
from opentill.settings import Settings
from opentill.store.databases.opening import open_store
from opentill.store.errors import StoreUnusable
from opentill.store.interface import Store


@dataclass(frozen=True, slots=True)
class Bootstrap:
    """A database's belongings, checked and opened."""

    settings: Settings
    store: Store
    keyring: Keyring
    card_key: CardKey | None
    """Given where card details must come encrypted."""


def prepare(settings: Settings, clock: Clock | None = None) -> Bootstrap:
    """Open the keyring and the store, made, migrated and checked against mode and key.

    Raises StoreUnusable or InvalidSetting: one sentence with the fix.
    """
    try:
        settings.data_dir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreUnusable(
            f"The data folder {settings.data_dir} can not be made ({error.strerror}); "
            "choose another one with --data."
        ) from error
    keyring = open_keyring(settings)
    card_key = keyring.card_key(settings.data_dir / CARD_KEY_FILE) if settings.card_encryption else None
    store = open_store(
        settings.database_url, migrate=settings.migrate_on_start, prepare=settings.prepared_statements
    )
    try:
        store.accounts.install(settings.mode, keyring.fingerprint_of_key, (clock or SystemClock()).now())
    except StoreUnusable:
        store.close()
        raise
    return Bootstrap(settings, store, keyring, card_key)
