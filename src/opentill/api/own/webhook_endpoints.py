"""Where a merchant's webhooks go, and the keys that sign them (contract 10)."""

import uuid
from collections.abc import Callable
from dataclasses import replace
from typing import Annotated, Any, Final, Literal

from msgspec import UNSET, Meta, UnsetType

from opentill.api.http.call import Call
from opentill.api.http.idempotency import answer_once
from opentill.api.wire import (
    NO_ROTATION,
    RECORD_NOT_FOUND,
    TOO_MANY_ENDPOINTS,
    Rejected,
    Reply,
    SecretStruct,
    WireStruct,
    invalid,
    iso_time,
)
from opentill.keys.provisioning import new_secret, webhook_key
from opentill.store.outbox.contract import Endpoint
from opentill.webhooks import signature
from opentill.webhooks.guard import LONGEST_URL, Forbidden
from opentill.webhooks.payload import DEFAULT_EVENTS, SUBSCRIBABLE

_SHORTEST_KEY: Final = 16
_LONGEST_KEY: Final = 255
_PING: Final = b"{}"

WebhookUrl = Annotated[str, Meta(max_length=LONGEST_URL)]
EventNames = Annotated[
    list[Literal[SUBSCRIBABLE]],  # type: ignore[valid-type]
    Meta(min_length=1, max_length=50),
]
KeyText = Annotated[str, Meta(extra_json_schema={"minLength": _SHORTEST_KEY, "maxLength": _LONGEST_KEY})]
"""A signing key of the merchant's choice; ``_checked_key`` says what it must be."""


class NewEndpoint(SecretStruct, rename="camel", kw_only=True):
    """An endpoint to add."""

    url: WebhookUrl
    events: EventNames | None = None
    """Absent: what Nomba tells, which leaves out the ends of unpaid orders (ruling 13)."""
    signing_key: KeyText | None = None
    """Absent: the webhook key of the merchant."""
    enabled: bool | None = None


class EndpointChange(SecretStruct, rename="camel", kw_only=True):
    """The changes to an endpoint; an empty one resumes it if it is paused."""

    url: WebhookUrl | None = None
    events: EventNames | None = None
    enabled: bool | None = None
    signing_key: Any = None
    """Refused: what was signed by another key must stay verifiable, so a key is changed by a rotation."""


class KeyRotation(SecretStruct, rename="camel"):
    """The key that will sign from the end of the rotation on; absent: one that is made by chance."""

    signing_key: KeyText | None = None


class PingShown(WireStruct):
    """The endpoint's answer to its first delivery, whose body is an empty object."""

    delivered: bool
    status: int | None
    message: str


class EndpointShown(SecretStruct, rename="camel", kw_only=True):
    """An endpoint of the merchant."""

    id: str
    url: str
    events: list[str]
    signing_key: str | UnsetType = UNSET
    """Only in the answer to what set it."""
    enabled: bool
    state: Literal["active", "paused"]
    """Paused: every try has failed for too long; its deliveries wait until it is changed."""
    rotating: bool
    """Whether a rotation of its key is under way."""
    paused_at: str | None
    failing_since: str | None
    created_at: str
    ping: PingShown | UnsetType = UNSET
    """Only in the answer to what set the URL."""


class EndpointList(WireStruct):
    """All endpoints of the merchant, oldest first; there is no further page."""

    results: list[EndpointShown]
    cursor: str = ""


async def list_endpoints(call: Call) -> Reply:
    """Return all endpoints of the merchant."""
    await call.check_token()
    threads = call.deps.threads
    found = await threads.read(threads.store.outbox.endpoints, call.account_id)
    return call.success(EndpointList([_view(each) for each in found]))


async def add_endpoint(call: Call) -> Reply:
    """Add an endpoint and send it a first delivery; whether that arrives is told, and refuses nothing."""
    body: NewEndpoint = call.body
    endpoint_id = _new_id(call)
    endpoint = Endpoint(
        account_id=call.account_id,
        endpoint_id=endpoint_id,
        url=_checked_url(call, body.url),
        events=_each_once(DEFAULT_EVENTS if body.events is None else body.events),
        enabled=body.enabled is not False,
        key_sealed=await _first_key_sealed(call, endpoint_id, body.signing_key),
        next_key_sealed=None,
        paused_at=None,
        failing_since=None,
        created_at=call.now,
    )
    return await answer_once(call, lambda: _add(call, endpoint))


async def change_endpoint(call: Call) -> Reply:
    """Change an endpoint; a paused one is tried again from now on."""
    body: EndpointChange = call.body
    endpoint_id = call.path_text("id")
    if body.signing_key is not None:
        raise invalid("signingKey can only be changed by rotate-key")
    url = None if body.url is None else _checked_url(call, body.url)

    def changed(endpoint: Endpoint) -> Endpoint:
        return replace(
            endpoint,
            url=endpoint.url if url is None else url,
            events=endpoint.events if body.events is None else _each_once(body.events),
            enabled=endpoint.enabled if body.enabled is None else body.enabled,
            paused_at=None,
            failing_since=None,
            failed_tries=0,
        )

    async def act() -> Reply:
        endpoint = await _change(call, endpoint_id, changed)
        ping = UNSET if url is None else await _ping(call, endpoint)
        return call.success(_view(endpoint, ping=ping))

    return await answer_once(call, act)


async def delete_endpoint(call: Call) -> Reply:
    """Delete an endpoint and what waits for it."""
    endpoint_id, threads = call.path_text("id"), call.deps.threads

    async def act() -> Reply:
        found = await threads.write(threads.store.outbox.delete_endpoint, call.account_id, endpoint_id)
        return call.success(None) if found else RECORD_NOT_FOUND

    return await answer_once(call, act)


async def rotate_key(call: Call) -> Reply:
    """Begin to change the signing key: the old one signs until the rotation is finished, both verify."""
    body: KeyRotation = call.body or KeyRotation()
    endpoint_id = call.path_text("id")
    key = new_secret() if body.signing_key is None else _checked_key(body.signing_key)
    sealed = call.deps.endpoint_keys.seal(call.account_id, endpoint_id, key)

    async def act() -> Reply:
        endpoint = await _change(call, endpoint_id, lambda e: replace(e, next_key_sealed=sealed))
        return call.success(_view(endpoint, signing_key=key))

    return await answer_once(call, act)


async def finish_rotation(call: Call) -> Reply:
    """Let the new key sign from now on, alone."""
    endpoint_id = call.path_text("id")

    def finished(endpoint: Endpoint) -> Endpoint:
        if endpoint.next_key_sealed is None:
            raise Rejected(NO_ROTATION)
        return replace(endpoint, key_sealed=endpoint.next_key_sealed, next_key_sealed=None)

    async def act() -> Reply:
        return call.success(_view(await _change(call, endpoint_id, finished)))

    return await answer_once(call, act)


# --- what an endpoint must be ---------------------------------------------------------------------


def _checked_url(call: Call, url: str) -> str:
    try:
        call.deps.guard.check_url(url)
    except Forbidden as forbidden:
        raise invalid(f"url is not allowed: {forbidden}") from None
    return url


def _checked_key(key: str) -> str:
    if not (_SHORTEST_KEY <= len(key) <= _LONGEST_KEY and key.isprintable() and key == key.strip()):
        raise invalid(
            f"signingKey must have {_SHORTEST_KEY} to {_LONGEST_KEY} printable characters and no space around"
        )
    return key


def _each_once(events: Any) -> tuple[str, ...]:
    return tuple(dict.fromkeys(events))


async def _first_key_sealed(call: Call, endpoint_id: str, sent: str | None) -> bytes:
    """Seal the first key: the one sent, or that which the merchant was given with its credentials."""
    if sent is not None:
        key = _checked_key(sent)
    else:
        merchant = await call.deps.account_cache.merchant(call.account_id)
        if merchant is None:
            raise Rejected(RECORD_NOT_FOUND)
        key = webhook_key(merchant, call.deps.keyring)
    return call.deps.endpoint_keys.seal(call.account_id, endpoint_id, key)


def _new_id(call: Call) -> str:
    """Return an id: under one idempotency key always the same, so that nothing is added twice."""
    if call.key is None:
        return call.deps.ids.uuid()
    digest = call.deps.keyring.fingerprint(call.account_id, call.key, call.raw_body)
    return str(uuid.UUID(hex=digest[:32], version=4))


# --- carried out ----------------------------------------------------------------------------------


async def _add(call: Call, endpoint: Endpoint) -> Reply:
    threads, most = call.deps.threads, call.deps.settings.max_webhook_endpoints
    added = await threads.write(threads.store.outbox.add_endpoint, endpoint, most=most)
    if added is None:
        return TOO_MANY_ENDPOINTS
    key = call.deps.endpoint_keys.of(added).current
    return call.success(_view(added, signing_key=key, ping=await _ping(call, added)))


async def _change(call: Call, endpoint_id: str, change: Callable[[Endpoint], Endpoint]) -> Endpoint:
    """Change an endpoint; raises Rejected when there is none."""
    threads, now = call.deps.threads, call.deps.clock.now()
    changed = await threads.write(
        threads.store.outbox.change_endpoint, call.account_id, endpoint_id, change, call.actor, now
    )
    if changed is None:
        raise Rejected(RECORD_NOT_FOUND)
    return changed


async def _ping(call: Call, endpoint: Endpoint) -> PingShown:
    """Send a delivery without content, signed like all others."""
    deps = call.deps
    keys = deps.endpoint_keys.of(endpoint)
    headers = signature.headers(_PING, deps.ids.uuid(), keys, deps.clock.now())
    answer = await deps.poster.post(endpoint.url, _PING, headers)
    message = answer.text if answer.status is None else f"It answered with HTTP {answer.status}."
    return PingShown(answer.accepted, answer.status, message)


def _view(
    endpoint: Endpoint,
    *,
    signing_key: str | UnsetType = UNSET,
    ping: PingShown | UnsetType = UNSET,
) -> EndpointShown:
    return EndpointShown(
        id=endpoint.endpoint_id,
        url=endpoint.url,
        events=list(endpoint.events),
        signing_key=signing_key,
        enabled=endpoint.enabled,
        state="active" if endpoint.paused_at is None else "paused",
        rotating=endpoint.next_key_sealed is not None,
        paused_at=None if endpoint.paused_at is None else iso_time(endpoint.paused_at),
        failing_since=None if endpoint.failing_since is None else iso_time(endpoint.failing_since),
        created_at=iso_time(endpoint.created_at),
        ping=ping,
    )
