"""Once per idempotency key, for calls that are not one command (ruling 9, laws 8).

A command's key and reply stand in its own commit. These calls are many commands, or have verbs of their own,
each with its own transaction, so the key is claimed before and completed behind them. A call that broke off
in between leaves it claimed for a short time, after which the same request is carried out again; therefore
whatever is done under a key must do no harm when it is done twice.
"""

import asyncio
import base64
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final

from opentill.api.http.call import Call
from opentill.api.wire import Rejected, Reply
from opentill.domain.refusals import IdempotencyKeyInProgress, IdempotencyKeyReused, Refusal, TokenRevoked
from opentill.engine.errors import EngineError
from opentill.keys.keyring import Keyring
from opentill.store.errors import StoreError
from opentill.store.interface import Store
from opentill.store.orders.contract import KeyClaim, KeyRecord, StoredReply

GRACE_MILLISECONDS: Final = 10_000
"""How much longer than a call to an endpoint a key stays claimed when its request broke off."""
POLL_SECONDS: Final = 0.05


async def answer_once(call: Call, act: Callable[[], Awaitable[Reply]]) -> Reply:
    """Return the reply of ``act``, or, where it was given under the call's key before, that very reply.

    Replies are kept sealed, for some show a signing key. Raises TokenRevoked before anything is done, and
    IdempotencyKeyReused or IdempotencyKeyInProgress as a command would be refused.
    """
    await call.check_token()
    claim = call.claim()
    if claim is None:
        return await act()
    held, claimed_until = await _claim(call, claim)
    if held is not None:
        return _again(call, claim, held)
    try:
        reply = await _reply_of(call, act)
    except (TokenRevoked, IdempotencyKeyReused, IdempotencyKeyInProgress, EngineError, StoreError):
        await _free(call, claim, claimed_until)
        raise
    if reply.status >= 500:  # never kept (contract 1.2)
        await _free(call, claim, claimed_until)
        return reply
    threads, sealed = call.deps.threads, _sealed(call.deps.keyring, claim, reply)
    keep_until = call.deps.clock.now() + call.deps.settings.idempotency_hours * 3_600_000
    await threads.write(_complete, threads.store, claim, claimed_until, keep_until, sealed)
    return reply


async def _reply_of(call: Call, act: Callable[[], Awaitable[Reply]]) -> Reply:
    try:
        return await act()
    except Rejected as rejected:
        return rejected.answer
    except (TokenRevoked, IdempotencyKeyReused, IdempotencyKeyInProgress):
        raise
    except Refusal as refusal:
        return call.route.refusals[type(refusal)]


async def _free(call: Call, claim: KeyClaim, claimed_until: int) -> None:
    """Let the key be used again at once: what was done under it is carried out again."""
    threads = call.deps.threads
    with suppress(StoreError):  # else it is free when the claim has run out
        await threads.write(_give_up, threads.store, claim, claimed_until)


def _give_up(store: Store, claim: KeyClaim, claimed_until: int) -> None:
    """Renew our own claim, as of the moment at which it ends, as one that has ended already."""
    with store.batch() as batch:
        batch.claim_keys([claim], claimed_until, 0)
        batch.commit()


async def _claim(call: Call, claim: KeyClaim) -> tuple[KeyRecord | None, int]:
    """Claim the key, or wait for the reply of the request that holds it; and until when it is claimed."""
    deps, loop = call.deps, asyncio.get_running_loop()
    lease = round(deps.settings.webhook_timeout_seconds * 1000) + GRACE_MILLISECONDS
    deadline = loop.time() + deps.settings.idempotency_wait_seconds
    while True:
        now = deps.clock.now()
        held = await deps.threads.write(_claim_now, deps.threads.store, claim, now, now + lease)
        running = held is not None and held.reply is None and held.fingerprint == claim.fingerprint
        if not running or loop.time() >= deadline:
            return held, now + lease
        await asyncio.sleep(POLL_SECONDS)


def _claim_now(store: Store, claim: KeyClaim, now: int, until: int) -> KeyRecord | None:
    with store.batch() as batch:
        held = batch.claim_keys([claim], batch.facts(()).certain(now), until)
        batch.commit()
    return held.get((claim.account_id, claim.key))


def _complete(store: Store, claim: KeyClaim, claimed_until: int, until: int, reply: StoredReply) -> None:
    """Renew our own claim, as of the moment at which it ends, and write the reply beside it."""
    name = claim.account_id, claim.key
    with store.batch() as batch:
        if name not in batch.claim_keys([claim], claimed_until, until):
            batch.store_replies({name: reply})
        batch.commit()


def _again(call: Call, claim: KeyClaim, held: KeyRecord) -> Reply:
    if held.fingerprint != claim.fingerprint:
        raise IdempotencyKeyReused
    if held.reply is None:
        raise IdempotencyKeyInProgress
    call.replayed = True
    body = call.deps.keyring.open(base64.b64decode(held.reply.body), _place(claim))
    return Reply(held.reply.status, held.reply.reason, body)


def _sealed(keyring: Keyring, claim: KeyClaim, reply: Reply) -> StoredReply:
    body = base64.b64encode(keyring.seal(reply.body, _place(claim)))
    return StoredReply(reply.status, reply.reason, body)


def _place(claim: KeyClaim) -> str:
    return f"reply {claim.account_id} {claim.key}"
