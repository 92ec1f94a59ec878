"""Control of the sandbox itself, which live mode does not have (contract 10)."""

from typing import Annotated, Final, Literal

from msgspec import Meta

from opentill.api.http.call import Call
from opentill.api.http.idempotency import answer_once
from opentill.api.wire import ROUTE_NOT_FOUND, Rejected, Reply, WireStruct, invalid, iso_time
from opentill.store.errors import ClockOutOfRange

CATCH_UP_SECONDS: Final = 5.0
"""How long moving the clock waits for what falls due; the workers end whatever is left then."""


class RailSwitchRequest(WireStruct, kw_only=True):
    """The end that the next calls of one operation of the sandbox's rail take, on every process."""

    operation: Literal["charge", "confirm", "void", "refund", "return"]
    """``confirm`` is what follows a one-time password or a 3-D Secure challenge."""
    outcome: Literal["approve", "decline", "timeout", "unknown", "refuse"] | None = None
    """``timeout``: the call is lost on its way; ``unknown``: its answer is. None: as without a switch."""
    delay_milliseconds: Annotated[int, Meta(ge=0, le=600_000)] = 0
    count: Annotated[int, Meta(ge=0, le=1_000_000)] = 1
    """0 takes back what was set."""


async def switch_rail(call: Call) -> Reply:
    """Set a switch in place of an earlier one of the same operation; answers once it is stored."""
    wanted: RailSwitchRequest = call.body
    if call.deps.switch_rail is None:
        raise Rejected(ROUTE_NOT_FOUND)
    await call.check_token()
    await call.deps.switch_rail(wanted.operation, wanted.outcome, wanted.delay_milliseconds, wanted.count)
    return call.success(wanted)


class ClockMove(WireStruct):
    """The step of business time, forward only (laws 7)."""

    advance_seconds: Annotated[int, Meta(ge=1, le=315_360_000)]


class ClockShown(WireStruct):
    """Business time, and how far it is ahead of real time."""

    now: str
    offset_seconds: int


async def show_clock(call: Call) -> Reply:
    """Return the sandbox's time, as of this moment on every process."""
    await call.check_token()
    return await _clock(call)


async def advance_clock(call: Call) -> Reply:
    """Move the sandbox's time; answers once that is stored and what fell due has happened."""
    move: ClockMove = call.body
    expiry, threads = call.deps.expiry, call.deps.threads
    if expiry is None:
        raise Rejected(ROUTE_NOT_FOUND)

    async def act() -> Reply:
        try:
            await threads.write(threads.store.accounts.advance_clock, move.advance_seconds * 1000)
        except ClockOutOfRange as error:
            raise invalid(f"the clock {error}") from None
        await expiry.catch_up(CATCH_UP_SECONDS)
        return await _clock(call)

    return await answer_once(call, act)


async def _clock(call: Call) -> Reply:
    now = await call.deps.account_cache.exact_business_time()
    offset = now - call.deps.clock.now()
    return call.success(ClockShown(iso_time(now), round(offset / 1000)))
