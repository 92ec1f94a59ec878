"""The sandbox's bank for transfers: it sends money to any account, and remembers what it sent.

As the card rail it behaves like a computer of another company: its journal outlives crashes, an id is paid
once however often it is asked for, and it can be told to misbehave (contract 10).
"""

import asyncio
from typing import Final

from opentill.domain.commands import RefundOutcome
from opentill.rails.rail import BankAccount, PayoutAnswer
from opentill.rails.sandbox.journal import RailJournal, RailPayout
from opentill.rails.sandbox.switches import SwitchedCalls

_SENT: Final = PayoutAnswer(RefundOutcome.DONE, "00", "The transfer was sent")
_REFUSED: Final = PayoutAnswer(RefundOutcome.REFUSED, "91", "The account's bank refused the transfer")
_NO_ACCOUNT: Final = PayoutAnswer(RefundOutcome.REFUSED, "07", "There is no account to send it to")


class SandboxTransferRail:
    """The sandbox's bank for transfers; ``delay_milliseconds`` is how long it lets us wait for its answer."""

    def __init__(self, journal: RailJournal, delay_milliseconds: int):
        self._journal = journal
        self._carry_out = SwitchedCalls(journal, delay_milliseconds).carry_out

    async def refund(
        self, refund_id: str, transaction_id: str, amount: int, currency: str, to: BankAccount | None
    ) -> PayoutAnswer:
        """Send paid money back; refused where there is no account to send it to."""
        return await self._send("refund", refund_id, transaction_id, amount, currency, to)

    async def return_credit(
        self, return_id: str, transaction_id: str, amount: int, currency: str, to: BankAccount | None
    ) -> PayoutAnswer:
        """Send unwanted money back; refused where there is no account to send it to."""
        return await self._send("return", return_id, transaction_id, amount, currency, to)

    async def look_up_payout(self, payout_id: str) -> PayoutAnswer | None:
        """Return what the journal knows of the payout."""
        known = await asyncio.to_thread(self._journal.payout, payout_id)
        return _answer_of(known) if known else None

    async def _send(
        self,
        operation: str,
        payout_id: str,
        transaction_id: str,
        amount: int,
        currency: str,
        to: BankAccount | None,
    ) -> PayoutAnswer:
        def remember(answer: PayoutAnswer) -> PayoutAnswer:
            payout = RailPayout(
                payout_id,
                transaction_id,
                answer.outcome.value,
                amount,
                currency,
                answer.response_code,
                answer.message,
            )
            return _answer_of(self._journal.pay_out_unless_paid(payout))

        natural = _SENT if to is not None else _NO_ACCOUNT
        return await self._carry_out(operation, natural, remember, _SENT, _REFUSED)


def _answer_of(known: RailPayout) -> PayoutAnswer:
    return PayoutAnswer(RefundOutcome(known.state), known.response_code, known.message)
