"""Is the process alive, and can it do its work? For load balancers and orchestrators."""

from opentill.api.call import Call
from opentill.api.wire import UNAVAILABLE, WireStruct
from opentill.store.interface import Reply


class Health(WireStruct):
    """The answer of both health routes."""

    status: str


async def live(call: Call) -> Reply:
    """The process answers."""
    return call.success(Health("live"))


async def ready(call: Call) -> Reply:
    """Writes work: a commit was made within the last second, or is made now."""
    return call.success(Health("ready")) if await call.deps.readiness.holds() else UNAVAILABLE
