"""Provisioning on a real store: what is handed out works, and is kept only as it may be kept."""

import stat
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from opentill.clock import RandomIds
from opentill.keys.keyring import Keyring
from opentill.keys.provisioning import (
    Credentials,
    InvalidName,
    Registry,
    ensure_default_merchant,
    webhook_key,
    write_env_file,
)
from opentill.store.accounts.contract import Mode
from opentill.store.databases.sqlite import open_sqlite
from opentill.store.interface import Store
from store_factories import ToldClock

KEYRING = Keyring(b"k" * 32)
URL = "http://127.0.0.1:8480"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = open_sqlite(tmp_path / "till.db")
    opened.accounts.install(Mode.SANDBOX, KEYRING.fingerprint_of_key, 1)
    yield opened
    opened.close()


def registry(store: Store, mode: Mode = Mode.SANDBOX) -> Registry:
    return Registry(store, KEYRING, ToldClock(), RandomIds(), mode)


def default_of(store: Store) -> Credentials:
    return ensure_default_merchant(store, KEYRING, ToldClock(), RandomIds(), url=URL)


def test_a_new_merchant_has_everything_its_program_needs(store: Store) -> None:
    """Ids, secret and webhook key are of the documented forms and stand in the store."""
    made = registry(store).create_merchant("Shop", URL)

    merchant, client = (
        store.accounts.merchant(made.account_id),
        store.accounts.client(made.account_id, made.client_id),
    )
    assert merchant is not None
    assert client is not None
    assert [uuid.UUID(each).version for each in (made.account_id, made.sub_account_id, made.client_id)] == [
        4,
        4,
        4,
    ]
    assert (len(made.client_id), len(made.client_secret)) == (36, 44)
    assert client.secret_hash == KEYRING.secret_hash(made.client_secret)
    assert [each.sub_account_id for each in store.accounts.sub_accounts(made.account_id)] == [
        made.sub_account_id
    ]
    assert webhook_key(merchant, KEYRING) == made.webhook_key
    assert store.accounts.default_account_id() is None


def test_no_secret_stands_in_the_database_file(store: Store, tmp_path: Path) -> None:
    """Neither the client secret nor the webhook key can be read from the files of the store."""
    made = registry(store).create_merchant("Shop", URL)
    store.probe_write(2)

    kept = b"".join(file.read_bytes() for file in tmp_path.glob("till.db*"))
    assert made.client_id.encode() in kept
    assert made.client_secret.encode() not in kept
    assert made.webhook_key.encode() not in kept


def test_in_live_mode_a_secret_is_kept_only_as_its_hash(store: Store) -> None:
    """No sealed copy exists of what live mode hands out, at first or after rotation."""
    live = registry(store, Mode.LIVE)
    made = live.create_merchant("Shop", URL)
    live.rotate_client(made.account_id, made.client_id)
    live.add_client(made.account_id)

    assert [client.secret_sealed for client in store.accounts.clients(made.account_id)] == [None, None]


def test_the_default_merchant_is_made_once_and_shown_the_same_again(store: Store) -> None:
    """A second start gives the same credentials and adds nothing."""
    first, second = default_of(store), default_of(store)

    assert first == second
    assert store.accounts.default_account_id() == first.account_id
    assert len(store.accounts.merchants()) == len(store.accounts.clients(first.account_id)) == 1


def test_a_rotated_client_is_shown_with_its_new_secret(store: Store) -> None:
    """After rotation the sandbox shows the new secret, which is the one whose hash is stored."""
    first = default_of(store)
    rotated = registry(store).rotate_client(first.account_id, first.client_id)

    shown = default_of(store)
    client = store.accounts.client(first.account_id, first.client_id)
    assert rotated is not None
    assert client is not None
    assert shown.client_secret == rotated.client_secret != first.client_secret
    assert client.secret_hash == KEYRING.secret_hash(shown.client_secret)


def test_a_default_merchant_without_a_usable_client_gets_a_new_one(store: Store) -> None:
    """When its only client is disabled, the next start makes and shows another."""
    first = default_of(store)
    store.accounts.disable_client(first.account_id, first.client_id, 3)

    second = default_of(store)

    assert second.account_id == first.account_id
    assert second.client_id != first.client_id
    assert second.sub_account_id == first.sub_account_id


def test_rotating_a_client_that_does_not_exist_changes_nothing(store: Store) -> None:
    """It answers None, also for a client of another merchant."""
    first, other = default_of(store), registry(store).create_merchant("Other", URL)

    assert registry(store).rotate_client(other.account_id, first.client_id) is None
    assert default_of(store) == first


@pytest.mark.parametrize("name", ["", " ", " Shop", "Shop\n", "Sh\0op", "x" * 91])
def test_a_name_that_can_not_be_printed_is_refused(store: Store, name: str) -> None:
    """Empty, padded, overlong and unprintable names are refused and nothing is stored."""
    with pytest.raises(InvalidName, match="printable"):
        registry(store).create_merchant(name, URL)
    assert store.accounts.merchants() == []


def test_credentials_never_show_themselves(store: Store) -> None:
    """The repr of credentials holds neither the secret nor the webhook key."""
    made = registry(store).create_merchant("Shop", URL)
    added = registry(store).add_client(made.account_id)

    shown = repr(made) + repr(added)
    assert made.client_secret not in shown
    assert made.webhook_key not in shown
    assert added.client_secret not in shown


def test_the_env_file_is_for_its_owner_and_is_replaced_whole(store: Store, tmp_path: Path) -> None:
    """It has the six lines, mode 0600 even where a readable file stood before, and leaves no draft."""
    folder = tmp_path / "env"
    folder.mkdir()
    file = folder / "till.env"
    file.write_text("old")
    file.chmod(0o644)
    made = registry(store).create_merchant("Shop", URL)

    write_env_file(file, made)

    lines = dict(line.split("=", 1) for line in file.read_text().splitlines())
    assert lines == {
        "OPENTILL_URL": URL,
        "OPENTILL_ACCOUNT_ID": made.account_id,
        "OPENTILL_SUB_ACCOUNT_ID": made.sub_account_id,
        "OPENTILL_CLIENT_ID": made.client_id,
        "OPENTILL_CLIENT_SECRET": made.client_secret,
        "OPENTILL_WEBHOOK_KEY": made.webhook_key,
    }
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [each.name for each in folder.iterdir()] == ["till.env"]


def test_an_env_file_that_can_not_be_put_in_place_leaves_nothing_behind(store: Store, tmp_path: Path) -> None:
    """Where a folder has the file's name it fails, and the draft with the secrets is gone."""
    folder = tmp_path / "env"
    (folder / "till.env" / "full").mkdir(parents=True)

    with pytest.raises(OSError, match="directory"):
        write_env_file(folder / "till.env", registry(store).create_merchant("Shop", URL))
    assert [each.name for each in folder.iterdir()] == ["till.env"]
