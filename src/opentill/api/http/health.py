"""Is the process alive, and can it do its work? For load balancers and orchestrators."""

from msgspec import UNSET, UnsetType

from opentill.api.http.call import Call
from opentill.api.wire import UNAVAILABLE, Reply, WireStruct


class Live(WireStruct):
    """The process answers."""

    status: str = "live"


class Warnings(WireStruct):
    """Things that somebody should look at, though the server does its work."""

    paused_endpoints: int
    """Webhook endpoints, of all merchants together, that wait to be resumed."""
    clock: str | UnsetType = UNSET
    """Why the clock may be wrong, where that is so."""


class Ready(WireStruct):
    """The server can write."""

    status: str = "ready"
    warnings: Warnings | UnsetType = UNSET
    """Only where there is something to warn of."""


async def live(call: Call) -> Reply:
    """Answer that the process is alive."""
    return call.success(Live())


async def ready(call: Call) -> Reply:
    """Answer whether writes work, by a commit of the last second or of now. No warning changes that."""
    if not await call.deps.can_write.answer():
        return UNAVAILABLE
    paused, doubt = await call.deps.paused_endpoints.answer(), call.deps.timekeeping.doubt
    warnings = Warnings(paused, doubt.value if doubt else UNSET)
    return call.success(Ready(warnings=warnings if paused or doubt else UNSET))
