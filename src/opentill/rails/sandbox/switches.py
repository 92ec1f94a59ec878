"""How a sandbox rail misbehaves on command: the switches of ``POST /sandbox/rail`` (contract 10)."""

import asyncio
from collections.abc import Callable
from typing import TypeVar

from opentill.rails.rail import PayoutAnswer, RailAnswer
from opentill.rails.sandbox.journal import RailJournal, RailSwitch

Answer = TypeVar("Answer", RailAnswer, PayoutAnswer)


class SwitchedCalls:
    """Carries out the calls of a rail; ``delay_milliseconds`` is how long it lets us wait for its answer."""

    def __init__(self, journal: RailJournal, delay_milliseconds: int):
        self._journal = journal
        self._delay_milliseconds = delay_milliseconds

    async def carry_out(
        self,
        operation: str,
        natural: Answer,
        remember: Callable[[Answer], Answer],
        approval: Answer,
        refusal: Answer,
    ) -> Answer:
        """Answer as is natural or as a switch says: remembered first, given later, or never given."""
        switch = await asyncio.to_thread(self._journal.take_switch, operation)
        outcome = switch.outcome if switch else None
        if outcome == "timeout":
            await _never()
        wanted = {"approve": approval, "decline": refusal, "refuse": refusal}.get(outcome or "", natural)
        if operation == "void" and wanted is refusal:
            return wanted
        answer = await asyncio.to_thread(remember, wanted)
        if outcome == "unknown":
            await _never()
        await asyncio.sleep(self._wait_seconds(switch))
        return answer

    def _wait_seconds(self, switch: RailSwitch | None) -> float:
        return (switch.delay_milliseconds if switch else self._delay_milliseconds) / 1000


async def _never() -> None:
    """Wait until the caller gives up."""
    await asyncio.Event().wait()
