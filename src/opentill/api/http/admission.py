"""Who is calling, how often, and for which account: the checks before a body is looked at (contract 1.2).

An advice comes without a token, signed by an adapter (contract 10). A captured one can be
sent again for as long as it is fresh, and nothing comes of it: the transfer's session id is one credit
however often it is told.
"""

import hmac
import re
from base64 import b64encode
from collections.abc import Iterable, Mapping
from typing import Final

from opentill.api.http.call import UNLIMITED, Auth, Call
from opentill.api.http.dependencies import ApiDeps
from opentill.api.wire import FORBIDDEN, TOO_MANY_REQUESTS, UNAUTHORIZED, Rejected, invalid
from opentill.domain.commands import Actor, ActorKind
from opentill.store.accounts.contract import Merchant
from opentill.store.orders.contract import TokenId

_KEY_HEADERS: Final = (b"x-idempotent-key", b"idempotency-key")
_MOST_KEY_CHARACTERS: Final = 255
ADVICE_WINDOW_SECONDS: Final = 300
"""How far an adapter's clock may be from ours, and how old an advice may be."""

_UNIX_SECONDS: Final = re.compile(rb"[1-9][0-9]{0,11}")


class Admission:
    """Lets a call in and writes on it whose it is; raises Rejected in the order of contract 1.2."""

    def __init__(self, deps: ApiDeps):
        self._deps = deps
        self.limiter = RateLimiter(deps.settings.rate_window_seconds)

    async def admit(self, call: Call, address: str) -> None:
        """Check token (401), rate limit (429) and accountId (400 ``02``, 403), in this order."""
        operation = call.route.operation
        if not operation.rate_limited:
            return
        try:
            merchant = await self._identify(call)
        except Rejected:
            self.count(call, address, None)
            raise
        if self.count(call, address, merchant) < 0:
            raise Rejected(TOO_MANY_REQUESTS)
        self._check_account(call)

    def count(self, call: Call, address: str, merchant: Merchant | None) -> int:
        """Count the call against its merchant, or its address where it has none; returns what is left."""
        settings = self._deps.settings
        posts = call.route.operation.method == "POST"
        limit = settings.post_limit if posts else settings.other_limit
        if merchant is not None:
            own = merchant.post_limit if posts else merchant.other_limit
            limit = limit if own is None else own
        caller = merchant.account_id if merchant is not None else address
        left = self.limiter.take(caller, posts=posts, limit=limit, now=self._deps.clock.monotonic())
        call.limit, call.remaining = limit or UNLIMITED, max(left, 0)
        return left

    async def _identify(self, call: Call) -> Merchant | None:
        """Set the call's account, actor and token; the merchant only where a token says who it is."""
        auth = call.route.operation.auth
        if auth in {Auth.OPEN, Auth.SIGNED}:
            return None
        sent = call.headers.get(b"authorization")
        if sent is None:
            if self._deps.default_account_id is None:
                raise Rejected(UNAUTHORIZED)
            call.account_id = self._deps.default_account_id
            return None
        business_time = await self._deps.account_cache.business_time(call.now)
        claims = self._deps.keyring.verify_token(
            bearer(sent), business_time, allow_expired=auth is Auth.OLD_TOKEN
        )
        if claims is None:
            raise Rejected(UNAUTHORIZED)
        call.account_id = claims.account_id
        call.actor = Actor(ActorKind.API_KEY, claims.client_id)
        until = None if auth is Auth.OLD_TOKEN else claims.expires_at
        call.token = TokenId(claims.account_id, claims.jti, until)
        call.token_until = claims.expires_at
        return await self._deps.account_cache.merchant(claims.account_id)

    def check_signature(self, call: Call, body: bytes) -> None:
        """Check an adapter's word that this body is its own, and of now; raises Rejected (401)."""
        if not is_signed(self._deps.settings.credit_advice_keys, call.headers, body, call.now):
            raise Rejected(UNAUTHORIZED)

    @staticmethod
    def _check_account(call: Call) -> None:
        """Check that ``accountId`` names the parent account, where it is sent or must be (ruling 5)."""
        sent = call.headers.get(b"accountid")
        operation = call.route.operation
        if sent is None:
            if operation.account_required and (call.token is not None or operation.auth is Auth.OPEN):
                raise invalid("accountId can not be null")
        elif operation.auth is not Auth.OPEN and sent.decode("latin-1") != call.account_id:
            raise Rejected(FORBIDDEN)


def bearer(header: bytes) -> str:
    """Return the token of an ``Authorization`` header, with or without the scheme (ruling 5)."""
    text = header.decode("latin-1").strip()
    return text[7:].lstrip() if text[:7].lower() == "bearer " else text


def idempotency_key(headers: dict[bytes, bytes]) -> str | None:
    """Return the key under either of its names, or None; raises Rejected where it can be none (ruling 9)."""
    sent = {headers[name] for name in _KEY_HEADERS if name in headers}
    if not sent:
        return None
    if len(sent) > 1:
        raise invalid("X-Idempotent-key and Idempotency-Key are different")
    key = sent.pop().decode("latin-1")
    if not (0 < len(key) <= _MOST_KEY_CHARACTERS and key.isascii() and key.isprintable()):
        raise invalid(f"the idempotency key must be 1 to {_MOST_KEY_CHARACTERS} printable ASCII characters")
    return key


# --- how often --------------------------------------------------------------------------------------


class RateLimiter:
    """Counts requests in a window of time (contract 1.4), each process for itself, by its monotonic clock.

    The window is shared by all callers, so that forgetting them is emptying one dictionary.
    """

    __slots__ = ("_counts", "_milliseconds", "_window")

    def __init__(self, window_seconds: int):
        """Take how long a window is; all callers' windows begin at the same moment."""
        self._milliseconds = window_seconds * 1000
        self._window = 0
        self._counts: dict[tuple[str, bool], int] = {}

    def take(self, caller: str, *, posts: bool, limit: int, now: int) -> int:
        """Count a request and return how many are left; negative when this one was too many.

        POST and other requests are counted apart. A ``limit`` of 0 is none. ``now`` is in milliseconds
        by the monotonic clock.
        """
        if limit == 0:
            return UNLIMITED
        window = now // self._milliseconds
        if window != self._window:
            self._window = window
            self._counts.clear()
        key = (caller, posts)
        used = self._counts.get(key, 0) + 1
        self._counts[key] = used
        return limit - used

    def retry_after_seconds(self, now: int) -> int:
        """Return whole seconds until the next window begins, at least 1; ``now`` as in ``take``."""
        return max(1, -(-(self._milliseconds - now % self._milliseconds) // 1000))


# --- the signature of an adapter --------------------------------------------------------------------


def sign(key: str, timestamp: str, body: bytes) -> str:
    """Return what stands in ``X-Signature``: base64 of HMAC-SHA256 over timestamp, a dot and the raw body."""
    return b64encode(hmac.digest(key.encode(), timestamp.encode() + b"." + body, "sha256")).decode()


def is_signed(keys: Iterable[str], headers: Mapping[bytes, bytes], body: bytes, now: int) -> bool:
    """Return whether one of the keys signed this body, with a timestamp within the window around ``now``.

    ``X-Timestamp`` is Unix time in whole seconds. Every key is tried, each in constant time, so that no
    answer takes longer for being nearly right. ``now`` is real time in UTC milliseconds.
    """
    timestamp, signature = headers.get(b"x-timestamp", b""), headers.get(b"x-signature", b"")
    if not _UNIX_SECONDS.fullmatch(timestamp):
        return False
    expected = (sign(key, timestamp.decode(), body).encode() for key in keys)
    signed = any([hmac.compare_digest(each, signature) for each in expected])  # noqa: C419 - all of them
    return signed and abs(now - int(timestamp) * 1000) <= ADVICE_WINDOW_SECONDS * 1000
