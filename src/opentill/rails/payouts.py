"""The calls of rails that send money out: whatever goes wrong on the way is silence (laws 4)."""

import asyncio
from collections.abc import Awaitable
from dataclasses import dataclass
from typing import Final, TypeVar

import structlog

from opentill.domain.commands import RefundOutcome
from opentill.domain.events import EventType
from opentill.domain.transition import Change
from opentill.engine.engine import Outcome
from opentill.rails.rail import Payout, PayoutAnswer, PayoutRail

NO_ANSWER: Final = PayoutAnswer(RefundOutcome.SILENT, "", "The transfer is being processed")
T = TypeVar("T")

_log = structlog.get_logger("opentill.payouts")


@dataclass(frozen=True, slots=True)
class PayoutRails:
    """The ways by which money goes out: as it came in."""

    cards: PayoutRail
    transfers: PayoutRail


class PayoutCalls:
    """Calls of one rail for money out, each given up after so many seconds."""

    def __init__(self, rail: PayoutRail, timeout_seconds: float):
        self._rail = rail
        self._timeout_seconds = timeout_seconds

    async def pay(self, payout: Payout) -> PayoutAnswer:
        """Send the money, unless an earlier try has sent it; an id that was closed is a refusal."""
        answer = await self._heard(self._sent(payout), payout.payout_id, NO_ANSWER)
        if answer.outcome is RefundOutcome.CLOSED:
            return PayoutAnswer(RefundOutcome.REFUSED, answer.response_code, answer.message)
        return answer

    async def look_up(self, payout_id: str) -> PayoutAnswer | None:
        """Return what became of this id so far; None when the rail says that it has never seen it."""
        return await self._heard(self._rail.look_up(payout_id), payout_id, NO_ANSWER)

    async def close(self, payout_id: str) -> PayoutAnswer:
        """Have the rail refuse this id from now on: CLOSED, or DONE if it had been paid, or silence."""
        answer = await self._heard(self._rail.close(payout_id), payout_id, NO_ANSWER)
        return answer if answer.outcome in _ENDS else NO_ANSWER

    async def _sent(self, payout: Payout) -> PayoutAnswer:
        known = await self._rail.look_up(payout.payout_id)
        if known is not None and known.outcome is RefundOutcome.DONE:
            return known
        return await self._rail.pay(payout)

    async def _heard(self, call: Awaitable[T], about: str, silence: T) -> T:
        try:
            async with asyncio.timeout(self._timeout_seconds):
                return await call
        except Exception as error:  # noqa: BLE001 - a rail may fail in any way; all of them are silence
            _log.warning("rail_silent", about=about, error=type(error).__name__)
            return silence


_ENDS: Final = frozenset({RefundOutcome.CLOSED, RefundOutcome.DONE})


def tell_disputed(outcome: Outcome | None) -> None:
    """Log at error level that a rail paid what had ended already: a person has to look into it."""
    if not isinstance(outcome, Change):
        return
    for event in outcome.events:
        if event.type is EventType.PAYOUT_DISPUTED:
            _log.error(
                "payout_disputed",
                account_id=event.account_id,
                order_id=event.order_id,
                transaction_id=event.transaction_id,
                refund_id=event.refund_id,
                amount_minor=event.amount,
                currency=event.currency,
            )
