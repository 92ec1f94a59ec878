"""Control of the sandbox itself, which live mode does not have (contract 10)."""

from typing import Annotated, Literal

from msgspec import Meta

from opentill.api.call import Call
from opentill.api.wire import ROUTE_NOT_FOUND, Rejected, WireStruct
from opentill.store.interface import Reply


class RailSwitch(WireStruct, kw_only=True):
    """How the next calls of one operation of the sandbox's rail end, on every process."""

    operation: Literal["charge", "confirm", "void", "refund", "return"]
    """``confirm`` is what follows a one-time password or a 3-D Secure challenge."""
    outcome: Literal["approve", "decline", "timeout", "unknown", "refuse"] | None = None
    """``timeout``: the call is lost on its way; ``unknown``: its answer is. None: as without a switch."""
    delay_milliseconds: Annotated[int, Meta(ge=0, le=600_000)] = 0
    count: Annotated[int, Meta(ge=0, le=1_000_000)] = 1
    """0 takes back what was set."""


async def switch_rail(call: Call) -> Reply:
    """Set a switch in place of an earlier one of the same operation; answers once it is stored."""
    wanted: RailSwitch = call.body
    if call.deps.switch_rail is None:
        raise Rejected(ROUTE_NOT_FOUND)
    await call.check_token()
    await call.deps.switch_rail(wanted.operation, wanted.outcome, wanted.delay_milliseconds, wanted.count)
    return call.success(wanted)
