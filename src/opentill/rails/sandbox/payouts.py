"""The sandbox's money on its way out: back to cards, or from its bank to any account (contract 10).

As the card rail it behaves like a computer of another company: its journal outlives crashes, an id is paid
once however often it is asked for and never after it was closed, and it can be told to misbehave.
"""

import asyncio
from dataclasses import dataclass
from typing import Final

from opentill.domain.commands import RefundOutcome
from opentill.rails.rail import Payout, PayoutAnswer
from opentill.rails.sandbox.journal import RailJournal, RailPayout
from opentill.rails.sandbox.switches import SwitchedCalls

_DONE, _REFUSED = RefundOutcome.DONE, RefundOutcome.REFUSED
_CLOSED: Final = PayoutAnswer(_REFUSED, "12", "It was closed: nothing is sent under this id")


@dataclass(frozen=True, slots=True)
class _Words:
    """The answers of one of the sandbox's rails."""

    sent: PayoutAnswer
    refused: PayoutAnswer
    without_account: PayoutAnswer


_OF_CARDS: Final = _Words(
    sent=PayoutAnswer(_DONE, "00", "Refund processed successfully"),
    refused=PayoutAnswer(_REFUSED, "05", "The bank refused to take the money back"),
    without_account=PayoutAnswer(_DONE, "00", "Refund processed successfully"),
)
_OF_THE_BANK: Final = _Words(
    sent=PayoutAnswer(_DONE, "00", "The transfer was sent"),
    refused=PayoutAnswer(_REFUSED, "91", "The account's bank refused the transfer"),
    without_account=PayoutAnswer(_REFUSED, "07", "There is no account to send it to"),
)


class _SandboxPayouts:
    """A rail of the sandbox for money out; ``delay_milliseconds`` is how long we wait for its answer."""

    _words: _Words

    def __init__(self, journal: RailJournal, delay_milliseconds: int):
        self._journal = journal
        self._carry_out = SwitchedCalls(journal, delay_milliseconds).carry_out

    async def pay(self, payout: Payout) -> PayoutAnswer:
        """Send the money once; a closed id is refused for ever, whatever a switch says."""

        def remember(answer: PayoutAnswer) -> PayoutAnswer:
            known = self._journal.pay_out(
                RailPayout(
                    payout.payout_id,
                    payout.transaction_id,
                    answer.outcome.value,
                    payout.amount,
                    payout.currency,
                    answer.response_code,
                    answer.message,
                )
            )
            return _CLOSED if known.state == RefundOutcome.CLOSED else _answer_of(known)

        words = self._words
        natural = words.sent if payout.to is not None else words.without_account
        return await self._carry_out(payout.kind.value, natural, remember, words.sent, words.refused)

    async def look_up(self, payout_id: str) -> PayoutAnswer | None:
        """Return what the journal knows of the payout."""
        known = await asyncio.to_thread(self._journal.payout, payout_id)
        return _answer_of(known) if known else None

    async def close(self, payout_id: str) -> PayoutAnswer:
        """Close the id in the journal, unless it was paid."""
        return _answer_of(await asyncio.to_thread(self._journal.close_payout, payout_id))


class SandboxCardPayouts(_SandboxPayouts):
    """The sandbox's card processor, where it gives money back: to the card that paid or to any account."""

    _words = _OF_CARDS


class SandboxTransferPayouts(_SandboxPayouts):
    """The sandbox's bank for transfers; it refuses where there is no account to send to."""

    _words = _OF_THE_BANK


def _answer_of(known: RailPayout) -> PayoutAnswer:
    return PayoutAnswer(RefundOutcome(known.state), known.response_code, known.message)
