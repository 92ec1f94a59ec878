"""Card details as they come in, plain or encrypted under the server's own key."""

import base64
import json
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.hashes import SHA1, SHA256, HashAlgorithm
from cryptography.hazmat.primitives.serialization import load_der_public_key

from opentill.api.nomba.card_details import read_card
from opentill.api.wire import Rejected
from opentill.keys.keyring import CardKey, Keyring
from opentill.rails.rail import Card
from opentill.settings import InvalidSetting, Settings
from opentill.store.accounts.contract import Mode

DETAILS = {
    "cardNumber": "5434 6210 7425 2808",
    "cardCVV": 123,
    "cardExpiryMonth": "10",
    "cardExpiryYear": "30",
    "cardPin": "1234",
}
CARD = Card("5434621074252808", "123", "10", "30", "1234")
KEYRING = Keyring(b"a" * 32)


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> CardKey:
    return KEYRING.card_key(tmp_path_factory.mktemp("key") / "card-key.pem")


def encrypted(key: CardKey, plain: bytes, digest: HashAlgorithm | None = None) -> str:
    """Encrypt as a client does, from nothing but the public key that an order comes with."""
    public = load_der_public_key(base64.b64decode(key.public_key))
    assert isinstance(public, rsa.RSAPublicKey)
    digest = digest or SHA256()
    return base64.b64encode(public.encrypt(plain, padding.OAEP(padding.MGF1(digest), digest, None))).decode()


def refusal(text: str, key: CardKey | None) -> str:
    with pytest.raises(Rejected) as caught:
        read_card(text, key)
    body = json.loads(caught.value.answer.body)
    assert (caught.value.answer.status, body["code"]) == (400, "02")
    return str(body["description"])


def test_without_a_key_details_are_plain_json() -> None:
    """Numbers and strings are taken alike, and the spaces that people write are left out of the number."""
    assert read_card(json.dumps(DETAILS), None) == CARD
    assert refusal("{", None) == "cardDetails is not valid JSON"
    assert refusal(json.dumps(DETAILS | {"cardNumber": "543x"}), None) == "cardNumber must be a card number"


def test_with_a_key_details_are_decrypted(key: CardKey) -> None:
    """Details encrypted under the public key are the same card as plain ones would be."""
    assert read_card(encrypted(key, json.dumps(DETAILS).encode()), key) == CARD


def test_whatever_can_not_be_decrypted_looks_the_same(key: CardKey, tmp_path: Path) -> None:
    """Plain details, another key, another padding, damage and noise are told in the same words."""
    plain = json.dumps(DETAILS).encode()
    good = encrypted(key, plain)
    other = KEYRING.card_key(tmp_path / "card-key.pem")
    wrong = [
        plain.decode(),
        encrypted(other, plain),
        encrypted(key, plain, SHA1()),
        good[:-8],
        "A" + good[1:] if good[0] != "A" else "B" + good[1:],
        "",
        "äöü",
        base64.b64encode(b"\0" * 256).decode(),
    ]
    assert {refusal(text, key) for text in wrong} == {"cardDetails can not be decrypted"}


def test_the_card_key_is_made_once_for_a_folder(tmp_path: Path) -> None:
    """It is the same after a restart, readable for its owner alone, and useless under another secret."""
    file = tmp_path / "card-key.pem"
    first = KEYRING.card_key(file)
    assert file.stat().st_mode & 0o777 == 0o600
    assert "ENCRYPTED" in file.read_text()
    assert Keyring(b"a" * 32).card_key(file).public_key == first.public_key
    with pytest.raises(InvalidSetting, match=r"card-key\.pem"):
        Keyring(b"b" * 32).card_key(file)
    assert "withheld" in repr(first)


def test_live_mode_has_no_card_encryption(tmp_path: Path) -> None:
    """Live mode takes no card details at all, so a setting about them is a mistake."""
    with pytest.raises(InvalidSetting, match="CARD_ENCRYPTION"):
        Settings(mode=Mode.LIVE, data_dir=tmp_path, card_encryption=True)
