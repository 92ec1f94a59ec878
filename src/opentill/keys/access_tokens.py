"""Access tokens: JWTs that say which client of which merchant asks, and until when (contract 1.3)."""

import hashlib
import threading
from dataclasses import dataclass
from typing import Final

import jwt

MAX_TOKEN_CHARACTERS: Final = 1024
"""Ours have about 400; anything longer is not looked at."""


@dataclass(frozen=True, slots=True)
class TokenClaims:
    """The claims of an access token of ours; times are UTC milliseconds of business time."""

    account_id: str
    client_id: str
    jti: str
    issued_at: int
    expires_at: int


class AccessTokens:
    """Signs and verifies access tokens, and remembers the claims of those that it verified."""

    def __init__(self, key: bytes, key_id: str, remembered_max: int = 10_000) -> None:
        self._key = key
        self._remembered_max = remembered_max
        self._headers = {"kid": key_id}
        self._prefix = jwt.encode({}, key, "HS256", self._headers).partition(".")[0] + "."
        self._verified: dict[bytes, TokenClaims] = {}
        self._room = threading.Lock()

    def sign(self, claims: TokenClaims) -> str:
        """Make the token (JWT, HS256) that says this; its ``exp`` is rounded up to seconds."""
        payload = {
            "sub": claims.client_id,
            "iat": claims.issued_at // 1000,
            "exp": -(
                -claims.expires_at // 1000
            ),  # seconds, rounded up; ours are judged by the milliseconds below
            "jti": claims.jti,
            "account": claims.account_id,
            "issued_ms": claims.issued_at,
            "expires_ms": claims.expires_at,
        }
        return jwt.encode(payload, self._key, "HS256", self._headers)

    def claims(self, text: str) -> TokenClaims | None:
        """Return the claims of a token of ours, expired or not; None for any other text.

        A token seen before costs one hash and no signature work.
        """
        # We issue one header only: with any other one nothing of the text is parsed.
        if len(text) > MAX_TOKEN_CHARACTERS or not text.startswith(self._prefix) or not text.isascii():
            return None
        name = hashlib.sha256(text.encode()).digest()
        known = self._verified.get(name)
        if known is not None:
            return known
        claims = self._verify(text)
        if claims is not None:
            self._remember(name, claims)
        return claims

    def _verify(self, text: str) -> TokenClaims | None:
        # Business time can be moved in the sandbox, so no time is compared with the machine's clock here.
        unchecked = {"verify_exp": False, "verify_iat": False, "verify_nbf": False}
        try:
            said = jwt.decode(text, self._key, ["HS256"], options=unchecked)  # type: ignore[arg-type]
        except jwt.PyJWTError:
            return None
        return TokenClaims(said["account"], said["sub"], said["jti"], said["issued_ms"], said["expires_ms"])

    def _remember(self, name: bytes, claims: TokenClaims) -> None:
        with self._room:
            if len(self._verified) >= self._remembered_max:
                del self._verified[next(iter(self._verified))]
            self._verified[name] = claims
