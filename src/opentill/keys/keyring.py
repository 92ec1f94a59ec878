"""Every key of the program, derived from one secret: for tokens, links, fingerprints and sealing at rest."""

import base64
import hashlib
import hmac
import os
import re
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import jwt
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from opentill.keys.access_tokens import AccessTokens, TokenClaims
from opentill.keys.secret import SECRET_MIN_BYTES, read_or_make, read_secret
from opentill.settings import InvalidSetting, Settings

CARD_KEY_FILE: Final = "card-key.pem"
CARD_KEY_BITS: Final = 2048
MAX_CHALLENGE_CHARACTERS: Final = 8192
"""They hold a URL of ours; anything longer is not looked at."""

FORM_AHEAD_MINUTES: Final = 5
FORM_LIFE_MINUTES: Final = 24 * 60
"""How long a payer page that was left open can still be sent."""

_KEY_ID_BYTES = 4
_NONCE_BYTES = 12
_LINK_MAC_BYTES = 16
_TOKEN_KEY_BYTES = 32
_FORM_MINUTE = re.compile(r"[0-9a-f]{1,12}")


class Unsealable(Exception):
    """A sealed thing is damaged, belongs elsewhere, or was sealed under another secret key."""


@dataclass(frozen=True, slots=True)
class ChallengeClaims:
    """The claims of a 3-D Secure challenge of the sandbox."""

    transaction_id: str
    return_url: str
    """Where the payer's browser goes when the challenge is over."""


class Undecryptable(Exception):
    """The text was not encrypted for our card key; nothing more is ever told."""


class CardKey:
    """The RSA key under which clients may send card details to us (contract 3.8)."""

    public_key: str
    """For clients: the DER of its SubjectPublicKeyInfo in base64."""

    def __init__(self, private_key: rsa.RSAPrivateKey) -> None:
        self._private_key = private_key
        public = private_key.public_key().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        self.public_key = base64.b64encode(public).decode()

    def __repr__(self) -> str:
        return "CardKey(<withheld>)"

    def decrypt(self, text: str) -> bytes:
        """Decrypt a base64 text that was encrypted with RSA-OAEP (SHA-256, MGF1 with SHA-256).

        Raises Undecryptable, always the same, whatever is wrong with the text.
        """
        oaep = padding.OAEP(padding.MGF1(SHA256()), SHA256(), label=None)
        try:
            return self._private_key.decrypt(base64.b64decode(text, validate=True), oaep)
        except ValueError:
            raise Undecryptable from None


class Keyring:
    """Keys for each purpose, derived by HKDF-SHA256 so that none tells anything of another."""

    fingerprint_of_key: str
    """Identifies the secret in the database and reveals nothing of it; 32 hex digits."""

    def __init__(self, secret: bytes) -> None:
        if len(secret) < SECRET_MIN_BYTES:
            raise ValueError(f"the secret must have at least {SECRET_MIN_BYTES} bytes")
        self.fingerprint_of_key = _derive(secret, "fingerprint of the secret")[:16].hex()
        self._key_id = _derive(secret, "key id")[:_KEY_ID_BYTES]
        self._link_key = _derive(secret, "payer link")
        self._return_key = _derive(secret, "return from a challenge")
        self._form_key = _derive(secret, "form of a payer page")
        self._challenge_key = _derive(secret, "sandbox challenge")
        self._card_key_passphrase = _derive(secret, "card key at rest").hex().encode()
        self._request_key = _derive(secret, "request fingerprint")
        self._token_key_key = _derive(secret, "card token lookup")
        self._rail_token_key = _derive(secret, "sandbox card token")
        self._box = AESGCM(_derive(secret, "sealed at rest"))
        self._tokens = AccessTokens(_derive(secret, "access token"), self._key_id.hex())

    def __repr__(self) -> str:
        return f"Keyring(<withheld>, fingerprint_of_key={self.fingerprint_of_key!r})"

    def sign_token(self, account_id: str, client_id: str, jti: str, issued_at: int, expires_at: int) -> str:
        """Make an access token (JWT, HS256) for a client; times are UTC milliseconds (contract 1.3)."""
        return self._tokens.sign(TokenClaims(account_id, client_id, jti, issued_at, expires_at))

    def verify_token(self, text: str, now: int, *, allow_expired: bool = False) -> TokenClaims | None:
        """Return the claims of a token of ours; None for other texts and, unless allowed, from its expiry on.

        ``now`` is business time in UTC milliseconds. A token seen before costs one hash and no
        signature work. Whether it was revoked is not known here: the store is asked with each batch.
        """
        claims = self._tokens.claims(text)
        if claims is None or (now >= claims.expires_at and not allow_expired):
            return None
        return claims

    def link_token(self, account_id: str, order_id: str) -> str:
        """Make the url-safe name of an order's payment page (contract 1.1), of 64 characters.

        It holds two UUIDs and a MAC. Raises ValueError when one of the two is not a UUID.
        """
        return _link(self._link_key, account_id, order_id)

    def open_link(self, token: str) -> tuple[str, str] | None:
        """Return the (account id, order id) of a link token, or None when we did not make it."""
        return _opened(self._link_key, token)

    def return_token(self, account_id: str, transaction_uuid: str) -> str:
        """Make a name like ``link_token``'s for the page to which a payer comes back from 3-D Secure.

        Names the transaction by the UUID that its id ends with. No payer link opens as this, or the
        other way round.
        """
        return _link(self._return_key, account_id, transaction_uuid)

    def open_return(self, token: str) -> tuple[str, str] | None:
        """Return the (account id, transaction's UUID) of a return token, or None when we did not make it."""
        return _opened(self._return_key, token)

    def form_token(self, account_id: str, order_id: str, now: int) -> str:
        """Make what the forms of an order's page carry, so that only this page can act on this order.

        ``now`` is real time in UTC milliseconds, of which the minute is signed (decision 0020).
        """
        minute = now // 60_000
        return f"{minute:x}.{self._form_mac(account_id, order_id, minute)}"

    def is_form_token(self, token: str, account_id: str, order_id: str, now: int) -> bool:
        """Tell whether the token was made for this order's page, at most FORM_LIFE_MINUTES ago.

        Another machine made it, perhaps: its clock may be FORM_AHEAD_MINUTES ahead of ours.
        """
        made, _, _ = token.partition(".")
        if not _FORM_MINUTE.fullmatch(made) or not token.isascii():
            return False
        minute = int(made, 16)
        fresh = -FORM_AHEAD_MINUTES <= now // 60_000 - minute <= FORM_LIFE_MINUTES
        return fresh and hmac.compare_digest(f"{made}.{self._form_mac(account_id, order_id, minute)}", token)

    def _form_mac(self, account_id: str, order_id: str, minute: int) -> str:
        named = f"{account_id} {order_id} {minute}".encode()
        return hmac.digest(self._form_key, named, "sha256")[:_LINK_MAC_BYTES].hex()

    def sign_challenge(self, transaction_id: str, return_url: str, expires_at: int) -> str:
        """Make the sandbox bank's challenge for a transaction (JWT, HS256); ``expires_at`` is real UTC ms."""
        payload = {"md": transaction_id, "return_url": return_url, "exp": expires_at // 1000}
        return jwt.encode(payload, self._challenge_key, "HS256")

    def verify_challenge(self, text: str, now: int) -> ChallengeClaims | None:
        """Return what a challenge says, or None when it is not ours or its time (real, UTC ms) is over."""
        if len(text) > MAX_CHALLENGE_CHARACTERS:
            return None
        try:
            said = jwt.decode(text, self._challenge_key, ["HS256"], options={"verify_exp": False})
        except (jwt.PyJWTError, UnicodeError):
            return None
        over = now >= said["exp"] * 1000
        return None if over else ChallengeClaims(said["md"], said["return_url"])

    def card_key(self, file: Path) -> CardKey:
        """Open the card key in this file, made on first use and encrypted at rest.

        Raises InvalidSetting when the file holds anything else.
        """
        pem = read_or_make(file, self._new_card_key)
        try:
            key = serialization.load_pem_private_key(pem.encode(), self._card_key_passphrase)
        except (ValueError, TypeError):
            key = None
        if not isinstance(key, rsa.RSAPrivateKey):
            raise InvalidSetting(
                f"{file} is not a card key made under this secret key; remove it, and a new one is made."
            )
        return CardKey(key)

    def _new_card_key(self) -> str:
        key = rsa.generate_private_key(public_exponent=65537, key_size=CARD_KEY_BITS)
        sealing = serialization.BestAvailableEncryption(self._card_key_passphrase)
        form = serialization.PrivateFormat.PKCS8
        return key.private_bytes(serialization.Encoding.PEM, form, sealing).decode()

    def fingerprint(self, method: str, path: str, body: bytes) -> str:
        """Digest what makes two requests "the same" for idempotency (contract 1.2): keyed, in hex."""
        framed = b"".join(
            len(part).to_bytes(8, "big") + part
            for part in (method.encode(), path.encode("utf-8", "surrogatepass"), body)
        )
        return hmac.digest(self._request_key, framed, "sha256").hex()

    def secret_hash(self, secret: str) -> str:
        """Digest a client secret or a refresh token for storing in its stead: SHA-256 in hex.

        Both are random and long, so neither a salt nor a slow hash would add anything.
        """
        return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()

    def new_token_key(self) -> str:
        """Make a token key for a saved card, as merchants charge by it: 256 random bits, url-safe."""
        return base64.urlsafe_b64encode(os.urandom(_TOKEN_KEY_BYTES)).decode().rstrip("=")

    def digest_for(self, account_id: str, text: str) -> str:
        """Digest a secret text of this merchant, to find it again and tell nothing of it: keyed, in hex."""
        framed = account_id.encode() + b"\0" + text.encode("utf-8", "surrogatepass")
        return hmac.digest(self._token_key_key, framed, "sha256").hex()

    def sandbox_card_token(self, transaction_id: str) -> str:
        """Make the sandbox rail's own token for the card that this transaction charged; always the same."""
        return f"card_{hmac.digest(self._rail_token_key, transaction_id.encode(), 'sha256').hex()}"

    def seal(self, plaintext: bytes, bound_to: str) -> bytes:
        """Encrypt for keeping at rest (AES-GCM); opens only where ``bound_to`` is the same text again."""
        nonce = os.urandom(_NONCE_BYTES)
        return self._key_id + nonce + self._box.encrypt(nonce, plaintext, bound_to.encode())

    def open(self, sealed: bytes, bound_to: str) -> bytes:
        """Decrypt what was sealed. Raises Unsealable when it was not sealed by us for this ``bound_to``."""
        key_id, rest = sealed[:_KEY_ID_BYTES], sealed[_KEY_ID_BYTES:]
        if key_id != self._key_id:
            raise Unsealable("this was sealed under another secret key")
        try:
            return self._box.decrypt(rest[:_NONCE_BYTES], rest[_NONCE_BYTES:], bound_to.encode())
        except (InvalidTag, ValueError) as error:
            raise Unsealable("what was sealed is damaged or belongs elsewhere") from error


def open_keyring(settings: Settings) -> Keyring:
    """Open the keyring of this server; sandbox mode makes its secret on the first start (laws 10).

    Raises InvalidSetting when the secret is missing in live mode, too short, or not hex or base64url.
    """
    return Keyring(read_secret(settings))


def _derive(secret: bytes, purpose: str) -> bytes:
    return HKDF(SHA256(), length=32, salt=None, info=f"opentill 1 {purpose}".encode()).derive(secret)


def _link(key: bytes, account_id: str, other_id: str) -> str:
    names = uuid.UUID(account_id).bytes + uuid.UUID(other_id).bytes
    mac = hmac.digest(key, names, "sha256")[:_LINK_MAC_BYTES]
    return base64.urlsafe_b64encode(names + mac).decode()


def _opened(key: bytes, token: str) -> tuple[str, str] | None:
    try:
        raw = base64.b64decode(token, altchars=b"-_", validate=True)
        account_id, other_id = str(uuid.UUID(bytes=raw[:16])), str(uuid.UUID(bytes=raw[16:32]))
    except ValueError:
        return None
    return (account_id, other_id) if hmac.compare_digest(_link(key, account_id, other_id), token) else None
