"""The lab: contested orders by the thousand on a running sandbox, and the verdict over them."""

import asyncio
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any, Final

from opentill.race.contest import Contestant, Fight, Ring, cancel, look, pay, refund, spread, transfer
from opentill.race.lines import HttpAnswer, HttpLine, Line
from opentill.race.verdict import Verdict, judged

ACTS: Final[Mapping[str, Sequence[Contestant]]] = {
    "cancel": (cancel, cancel),
    "pay": (pay,),
    "transfer": (transfer,),
    "refund": (refund, refund),
    "expire": (),
}
"""Who sets upon an order by each word; by the last, half of the orders expire while they are fought for."""
EXPIRES_SECONDS: Final = 1
EXPIRING_LASTS_SECONDS: Final = 2.0
"""Over how long an order is fought for that expires meanwhile."""
FIRST_CALL_SECONDS: Final = 0.02
SETTLES_SECONDS: Final = 60.0
"""How long money may take to go back, as when the rail was told to be slow."""
LOOK_SECONDS: Final = 0.2


@dataclass(frozen=True, slots=True)
class Plan:
    """A race to be held."""

    url: str
    headers: Mapping[str, str]
    prefix: str
    """Begins every reference; never used before."""
    orders: int
    acts: Sequence[str]
    rings: int
    """How many orders are fought for at once."""


async def raced(plan: Plan, ended: Callable[[int], None]) -> Verdict:
    """Hold a race; ``ended`` is called with the number of fights that have ended.

    Raises aiohttp.ClientError or TimeoutError when the server goes away.
    """
    async with AsyncExitStack() as stack:
        lines = _Connections(plan, stack)
        references = iter([f"{plan.prefix}-{number}" for number in range(plan.orders)])
        fights: list[Fight[HttpAnswer]] = []

        async def keep_fighting(ring: Ring[HttpAnswer], more: Mapping[str, object]) -> None:
            for reference in references:
                fights.append(await ring.attack(reference, more))
                ended(len(fights))

        await asyncio.gather(*(keep_fighting(ring, more) for ring, more in _rings(plan, lines)))
        looker = lines.new(most_connections=plan.rings)
        shown = await _settled(looker, [fight.reference for fight in fights])
        balance = (await looker.ask("GET", "/v1/opentill/ledger/trial-balance")).json()["data"]
        return judged(fights, shown, balance["difference"])


class _Connections:
    """Lines to one server, all closed with the stack."""

    def __init__(self, plan: Plan, stack: AsyncExitStack):
        self._plan = plan
        self._stack = stack

    def new(self, most_connections: int = 1) -> HttpLine:
        line = HttpLine(self._plan.url, self._plan.headers, most_connections)
        self._stack.push_async_callback(line.close)
        return line


def _rings(plan: Plan, lines: _Connections) -> Iterator[tuple[Ring[HttpAnswer], Mapping[str, object]]]:
    """Yield each ring with what its orders have besides; if wanted, every other one's orders expire."""
    chance = spread()
    for number in range(plan.rings):
        contestants = [(act, lines.new()) for word in plan.acts for act in ACTS[word]]
        opener = lines.new()
        if "expire" in plan.acts and number % 2 == 0:
            ring = Ring(opener, contestants, chance, FIRST_CALL_SECONDS, EXPIRING_LASTS_SECONDS)
            yield ring, {"expiresInSeconds": EXPIRES_SECONDS}
        else:
            yield Ring(opener, [*contestants, (look, lines.new())], chance, FIRST_CALL_SECONDS), {}


async def _settled(line: Line[HttpAnswer], references: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Ask for every order in full once no money of it is under way, or as it is when that takes too long."""
    deadline = time.monotonic() + SETTLES_SECONDS
    answers = await asyncio.gather(*(_settled_order(line, reference, deadline) for reference in references))
    return {order["orderReference"]: order for order in answers if order is not None}


async def _settled_order(line: Line[HttpAnswer], reference: str, deadline: float) -> dict[str, Any] | None:
    while True:
        order: dict[str, Any] | None = (await line.in_full(reference)).json()["data"]
        if order is None or not _under_way(order) or time.monotonic() > deadline:
            return order
        await asyncio.sleep(LOOK_SECONDS)


def _under_way(order: Mapping[str, Any]) -> bool:
    asked = [each for each in order["refunds"] if not each["message"]]
    return order["money"]["returning"] != "0.00" or bool(asked)
