"""What every program needs that works on a database: settings, keys, store and time, checked and opened.

Apart from ``app.py``, so that a command that serves nobody does not load what serves.
"""

from dataclasses import dataclass
from datetime import UTC, datetime

from opentill.clock import MOST_BACK_MILLISECONDS, Clock, DatabaseClock, SystemClock
from opentill.keys.keyring import CARD_KEY_FILE, CardKey, Keyring, open_keyring
from opentill.settings import Settings
from opentill.store.databases.opening import open_store
from opentill.store.errors import StoreError, StoreUnusable
from opentill.store.interface import Store


@dataclass(frozen=True, slots=True)
class Bootstrap:
    """A database's belongings, checked and opened."""

    settings: Settings
    store: Store
    keyring: Keyring
    card_key: CardKey | None
    """Given where card details must come encrypted."""
    clock: DatabaseClock
    """Goes by the database's; whoever stays longer than a moment looks at it again."""


def prepare(settings: Settings, machine: Clock | None = None, *, at_any_time: bool = False) -> Bootstrap:
    """Open the keyring and the store, made, migrated and checked against mode, key and time.

    ``at_any_time`` takes a clock that is behind what servers have seen. Raises StoreUnusable or
    InvalidSetting: one sentence with the fix.
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
        clock = DatabaseClock(machine or SystemClock(), store.time)
        clock.look()
        store.accounts.install(settings.mode, keyring.fingerprint_of_key, clock.now())
        if not at_any_time:
            _expect_time(clock.now(), store.accounts.seen_at())
    except (StoreUnusable, StoreError):
        store.close()
        raise
    return Bootstrap(settings, store, keyring, card_key, clock)


def _expect_time(now: int, seen_at: int | None) -> None:
    """Raise StoreUnusable for a clock behind the last seen time: what it dates would be out of all order."""
    if seen_at is not None and now < seen_at - MOST_BACK_MILLISECONDS:
        raise StoreUnusable(
            f"The clock says {_written(now)}, and servers on this database have seen {_written(seen_at)}; "
            "set the clock, or, if it is right now and was wrong then, run `opentill clock confirm`."
        )


def _written(milliseconds: int) -> str:
    return datetime.fromtimestamp(milliseconds // 1000, UTC).isoformat().replace("+00:00", "Z")
