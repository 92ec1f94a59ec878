"""Access tokens: issue, refresh, revoke (contract 1.3). Their answers are never stored or cached."""

import hmac
from typing import Annotated, Literal

from msgspec import Meta

from opentill.api.http.call import Call
from opentill.api.wire import (
    FORBIDDEN,
    INVALID_CREDENTIALS,
    UNAUTHORIZED,
    Rejected,
    Reply,
    SecretStruct,
    iso_time,
)
from opentill.store.accounts.contract import Client, IssuedToken

Credential = Annotated[str, Meta(max_length=255)]
AccessToken = Annotated[str, Meta(max_length=4096)]


class IssueRequest(SecretStruct):
    """Credentials; either grant type is answered with a new pair of tokens."""

    grant_type: Literal["client_credentials", "refresh_token"]
    client_id: Credential
    client_secret: Credential


class RefreshRequest(SecretStruct):
    """A refresh token, good for one use."""

    grant_type: Literal["refresh_token"]
    refresh_token: Credential


class RevokeRequest(SecretStruct):
    """An access token and the client that got it."""

    clientId: Credential  # noqa: N815 - the wire's own spelling, here only
    access_token: AccessToken


class TokenPair(SecretStruct):
    """The tokens that a client works with until they expire."""

    businessId: str  # noqa: N815 - the wire's own spelling
    access_token: str
    refresh_token: str
    expiresAt: str  # noqa: N815 - the wire's own spelling


async def issue_token(call: Call) -> Reply:
    """Exchange credentials for tokens; wrong ones are 401 ``01``."""
    body: IssueRequest = call.body
    account_id = call.headers[b"accountid"].decode("latin-1")
    threads = call.deps.threads
    client = await threads.read(threads.store.accounts.client, account_id, body.client_id)
    if client is None or not _proven(call, client, body.client_secret):
        raise Rejected(INVALID_CREDENTIALS)
    return await _hand_out(call, account_id, client.client_id)


def _proven(call: Call, client: Client, secret: str) -> bool:
    sent = call.deps.keyring.secret_hash(secret)
    return hmac.compare_digest(sent, client.secret_hash) and client.disabled_at is None


async def refresh_token(call: Call) -> Reply:
    """Exchange a refresh token for new tokens; the access token it came with may have expired."""
    body: RefreshRequest = call.body
    threads = call.deps.threads
    now = await call.deps.account_cache.exact_business_time()
    used = await threads.write(
        threads.store.accounts.use_refresh_token,
        call.account_id,
        call.deps.keyring.secret_hash(body.refresh_token),
        now,
    )
    if used is None or call.actor.id not in {"", used.client_id}:
        raise Rejected(UNAUTHORIZED)
    return await _hand_out(call, call.account_id, used.client_id)


async def _hand_out(call: Call, account_id: str, client_id: str) -> Reply:
    deps, settings = call.deps, call.deps.settings
    now = await deps.account_cache.exact_business_time()
    jti, refresh = deps.ids.uuid(), f"{deps.ids.uuid()}_{now}"
    expires_at = now + settings.token_life_seconds * 1000
    token = IssuedToken(
        account_id=account_id,
        jti=jti,
        client_id=client_id,
        refresh_hash=deps.keyring.secret_hash(refresh),
        expires_at=expires_at,
        refresh_expires_at=now + settings.refresh_life_seconds * 1000,
    )
    await deps.threads.write(deps.threads.store.accounts.add_token, token)
    access = deps.keyring.sign_token(account_id, client_id, jti, now, expires_at)
    return call.success(TokenPair(account_id, access, refresh, iso_time(expires_at)))


async def revoke_token(call: Call) -> Reply:
    """End an access token and its refresh token, at once and everywhere; ending one twice is no error."""
    body: RevokeRequest = call.body
    deps = call.deps
    claims = deps.keyring.verify_token(body.access_token, call.now, allow_expired=True)
    if claims is None or claims.client_id != body.clientId:
        raise Rejected(UNAUTHORIZED)
    sent = call.headers.get(b"accountid")
    if sent is not None and sent.decode("latin-1") != claims.account_id:
        raise Rejected(FORBIDDEN)
    now = await deps.account_cache.exact_business_time()
    revoke = deps.threads.store.accounts.revoke_token
    await deps.threads.write(revoke, claims.account_id, claims.jti, claims.client_id, now)
    return call.success(None)
