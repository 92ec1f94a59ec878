"""The keyring: what it hands out opens again, and nothing else does."""

import base64
import os
import stat
from pathlib import Path

import jwt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from opentill.keys import secret as module
from opentill.keys.access_tokens import AccessTokens, TokenClaims
from opentill.keys.keyring import (
    FORM_AHEAD_MINUTES,
    FORM_LIFE_MINUTES,
    Keyring,
    Unsealable,
    open_keyring,
)
from opentill.settings import InvalidSetting, Settings
from opentill.store.accounts.contract import Mode

ACCOUNT, CLIENT, JTI = (f"{digit * 8}-1111-4111-8111-111111111111" for digit in "123")
ISSUED, EXPIRES = 1_800_000_000_123, 1_800_001_800_123
KEYRING = Keyring(b"k" * 32)
OTHER = Keyring(b"o" * 32)
TOKEN = KEYRING.sign_token(ACCOUNT, CLIENT, JTI, ISSUED, EXPIRES)
uuids = st.uuids().map(str)


def test_a_token_says_what_was_signed() -> None:
    """A token of ours gives back its claims, the second time from memory just the same."""
    wanted = TokenClaims(ACCOUNT, CLIENT, JTI, ISSUED, EXPIRES)

    assert KEYRING.verify_token(TOKEN, ISSUED) == wanted
    assert KEYRING.verify_token(TOKEN, ISSUED) == wanted
    assert Keyring(b"k" * 32).verify_token(TOKEN, ISSUED) == wanted


def test_a_token_is_a_jwt_of_the_documented_form() -> None:
    """It is HS256, of 300 to 600 characters, with sub, iat, exp and jti as Nomba's have (contract 1.3)."""
    said = jwt.decode(TOKEN, options={"verify_signature": False})

    assert jwt.get_unverified_header(TOKEN)["alg"] == "HS256"
    assert 300 <= len(TOKEN) <= 600
    assert (said["sub"], said["jti"], said["iat"], said["exp"]) == (CLIENT, JTI, 1_800_000_000, 1_800_001_801)


def test_a_token_ends_to_the_millisecond_seen_before_or_not() -> None:
    """It is good until the moment before its expiry and no longer, unless expired ones are allowed."""
    for ring in (KEYRING, Keyring(b"k" * 32)):
        assert ring.verify_token(TOKEN, EXPIRES) is None
        assert ring.verify_token(TOKEN, EXPIRES - 1) is not None
        assert ring.verify_token(TOKEN, EXPIRES) is None
        assert ring.verify_token(TOKEN, EXPIRES, allow_expired=True) is not None


def test_a_token_of_another_key_is_nothing() -> None:
    """Signed under another secret, without a signature, or by another algorithm, a token is refused."""
    claims = jwt.decode(TOKEN, options={"verify_signature": False})
    unsigned = jwt.encode(claims, None, "none")  # type: ignore[arg-type]
    by_link_key = jwt.encode(claims, KEYRING._link_key, "HS256", jwt.get_unverified_header(TOKEN))

    assert OTHER.verify_token(TOKEN, ISSUED) is None
    assert KEYRING.verify_token(unsigned, ISSUED) is None
    assert KEYRING.verify_token(by_link_key, ISSUED) is None


@settings(deadline=None)
@given(at=st.integers(0, len(TOKEN) - 1), put=st.characters(codec="utf-8"))
def test_a_changed_token_is_refused(at: int, put: str) -> None:
    """Whatever character of a token is replaced, it is refused."""
    changed = TOKEN[:at] + put + TOKEN[at + 1 :]

    assert changed == TOKEN or KEYRING.verify_token(changed, ISSUED) is None or _same_bytes(changed)


def _same_bytes(changed: str) -> bool:
    """The last character of a base64 part has spare bits: another spelling of the same signature."""
    return changed[:-1] == TOKEN[:-1]


@settings(deadline=None)
@given(text=st.text() | st.text(max_size=40).map(lambda tail: TOKEN[: TOKEN.index(".") + 1] + tail))
def test_no_text_makes_verification_raise(text: str) -> None:
    """Any text at all, lone surrogates and deep nesting included, is answered with None."""
    nested = base64.urlsafe_b64encode(b"[" * 700).decode()

    assert KEYRING.verify_token(text, ISSUED) is None
    assert KEYRING.verify_token("\ud800" + text, ISSUED) is None
    assert KEYRING.verify_token(f"{nested}.{nested}.{nested}", ISSUED) is None
    assert KEYRING.verify_token(TOKEN * 100_000, ISSUED) is None


def test_the_memory_of_tokens_is_bounded() -> None:
    """However many tokens are seen, only so many are remembered, and forgotten ones still verify."""
    signer = AccessTokens(b"k" * 32, "id", remembered_max=5)
    claims = [TokenClaims(ACCOUNT, CLIENT, str(number), ISSUED, EXPIRES) for number in range(20)]
    tokens = [signer.sign(each) for each in claims]

    assert [signer.claims(token) for token in tokens + tokens] == claims + claims
    assert len(signer._verified) == 5


@settings(deadline=None)
@given(account=uuids, order=uuids)
def test_a_link_leads_back_to_its_order(account: str, order: str) -> None:
    """A link token is url-safe and names its account and order, only to the keyring that made it."""
    link = KEYRING.link_token(account, order)

    assert KEYRING.open_link(link) == (account, order)
    assert OTHER.open_link(link) is None
    assert len(link) == 64
    assert link.replace("-", "").replace("_", "").isalnum()


@settings(deadline=None)
@given(at=st.integers(0, 63), put=st.characters())
def test_a_changed_link_leads_nowhere(at: int, put: str) -> None:
    """Whatever character of a link token is replaced, it opens nothing."""
    link = KEYRING.link_token(ACCOUNT, CLIENT)
    changed = link[:at] + put + link[at + 1 :]

    assert changed == link or KEYRING.open_link(changed) is None


@settings(deadline=None)
@given(account=uuids, order=uuids, age=st.integers(0, FORM_LIFE_MINUTES - 1))
def test_a_form_token_is_good_for_its_order_for_a_day(account: str, order: str, age: int) -> None:
    """It is good until its time is over, for no other order, and only to the keyring that made it."""
    made, minute = 2**41, 60_000
    token = KEYRING.form_token(account, order, made)
    then = made + age * minute
    assert KEYRING.is_form_token(token, account, order, then)
    assert not OTHER.is_form_token(token, account, order, then)
    assert not KEYRING.is_form_token(token, order, account, then) or order == account
    assert not KEYRING.is_form_token(token, account, order, made + (FORM_LIFE_MINUTES + 1) * minute)
    assert not KEYRING.is_form_token(token, account, order, made - (FORM_AHEAD_MINUTES + 1) * minute)


def test_a_form_may_come_from_a_clock_that_is_ahead() -> None:
    """What another machine made at the full minute counts on one that is a millisecond behind it."""
    made = 2**41 // 60_000 * 60_000
    token = KEYRING.form_token(ACCOUNT, CLIENT, made)
    assert KEYRING.is_form_token(token, ACCOUNT, CLIENT, made - 1)


@settings(deadline=None)
@given(text=st.text())
def test_no_text_is_taken_for_a_form_token(text: str) -> None:
    """Any text is answered with no, and a changed minute does not make an old form young."""
    assert not KEYRING.is_form_token(text, ACCOUNT, CLIENT, 2**41)
    mac = KEYRING.form_token(ACCOUNT, CLIENT, 0).partition(".")[2]
    assert not KEYRING.is_form_token(f"{2**41 // 60_000:x}.{mac}", ACCOUNT, CLIENT, 2**41)


@settings(deadline=None)
@given(text=st.text())
def test_no_text_makes_opening_a_link_raise(text: str) -> None:
    """Any text is answered with None."""
    assert KEYRING.open_link(text) is None
    assert KEYRING.open_link("é" * 64) is None


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(st.text(max_size=4), st.text(max_size=4), st.binary(max_size=4)), min_size=2, max_size=2
    )
)
def test_requests_have_one_fingerprint_only_if_they_are_the_same(
    requests: list[tuple[str, str, bytes]],
) -> None:
    """No shifting of bytes between method, path and body gives two requests one fingerprint."""
    first, second = (KEYRING.fingerprint(*request) for request in requests)

    assert (first == second) == (requests[0] == requests[1])


def test_a_fingerprint_takes_paths_that_are_not_text() -> None:
    """Lone surrogates in a path neither raise nor look like anything else."""
    assert KEYRING.fingerprint("POST", "/\ud800", b"") != KEYRING.fingerprint("POST", "/?", b"")


@settings(deadline=None)
@given(plaintext=st.binary(max_size=200))
def test_what_is_sealed_opens_only_where_it_belongs(plaintext: bytes) -> None:
    """Sealed bytes open under the same key and place, twice sealed look different, and hide the plaintext."""
    sealed = KEYRING.seal(plaintext, "here")

    assert KEYRING.open(sealed, "here") == plaintext
    assert sealed != KEYRING.seal(plaintext, "here")
    for ring, text, place in (
        (KEYRING, sealed, "there"),
        (OTHER, sealed, "here"),
        (KEYRING, sealed[:-1], "here"),
    ):
        with pytest.raises(Unsealable):
            ring.open(text, place)


@pytest.mark.parametrize("length", [0, 1, 4, 10])
def test_what_is_too_short_to_be_sealed_is_unsealable(length: int) -> None:
    """Cut and empty values raise Unsealable, nothing else."""
    with pytest.raises(Unsealable):
        KEYRING.open(KEYRING.seal(b"", "here")[:length], "here")


def test_the_fingerprint_tells_secrets_apart_and_nothing_shows_them() -> None:
    """Each secret has its own fingerprint, and neither it nor the repr holds a byte string of the secret."""
    secret = os.urandom(32)
    ring = Keyring(secret)

    assert ring.fingerprint_of_key == Keyring(secret).fingerprint_of_key != OTHER.fingerprint_of_key
    assert secret.hex() not in repr(ring)
    assert repr(ring).startswith("Keyring(<withheld>")


def test_a_sandbox_makes_its_secret_once_for_its_owner_only(tmp_path: Path) -> None:
    """The first start writes secret.key readable by the owner alone; the next start reads the same secret."""
    first, second = (open_keyring(Settings(data_dir=tmp_path)) for _ in range(2))

    file = tmp_path / "secret.key"
    assert first.fingerprint_of_key == second.fingerprint_of_key
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [each.name for each in tmp_path.iterdir()] == ["secret.key"]


def test_of_two_that_start_at_once_both_take_the_key_that_was_there_first(tmp_path: Path) -> None:
    """A key file that appears between looking and writing is kept, not overwritten."""
    file = tmp_path / "secret.key"
    file.write_text("first")
    draft = tmp_path / "draft"
    draft.write_text("second")

    module._link_unless_there(draft, file)

    assert file.read_text() == "first"


def test_a_secret_may_be_hex_or_base64url() -> None:
    """The same bytes in either spelling are the same keyring."""
    raw = bytes(range(200, 232))
    spellings = raw.hex(), raw.hex().upper(), base64.urlsafe_b64encode(raw).decode().rstrip("=")
    rings = [open_keyring(Settings(mode=Mode.LIVE, secret_key=text)) for text in spellings]

    assert {ring.fingerprint_of_key for ring in rings} == {Keyring(raw).fingerprint_of_key}


@pytest.mark.parametrize("text", ["short", "ab" * 31, "é" * 64, "!" * 64, "x" * 41])
def test_a_secret_that_is_too_short_or_no_encoding_is_refused_without_showing_it(text: str) -> None:
    """The sentence names the variable and what it must hold, and does not repeat the value."""
    with pytest.raises(InvalidSetting, match=r"OPENTILL_SECRET_KEY must hold at least 32 bytes") as refused:
        open_keyring(Settings(secret_key=text))
    assert text not in str(refused.value)


def test_live_mode_makes_no_secret_of_its_own(tmp_path: Path) -> None:
    """Without OPENTILL_SECRET_KEY live mode is refused and no file is made."""
    with pytest.raises(InvalidSetting, match="live mode needs OPENTILL_SECRET_KEY"):
        open_keyring(Settings(mode=Mode.LIVE, data_dir=tmp_path))
    assert list(tmp_path.iterdir()) == []
