"""A rail of ill will for money out, on the sandbox's own journal: what arrives, and when, a test says."""

import asyncio
from collections import deque
from dataclasses import dataclass, field

from opentill.domain.commands import RefundOutcome
from opentill.rails.rail import Payout, PayoutAnswer
from opentill.rails.sandbox.journal import RailJournal, RailPayout

SENT = PayoutAnswer(RefundOutcome.DONE, "00", "sent")
REFUSED = PayoutAnswer(RefundOutcome.REFUSED, "91", "refused")
HOWS = ("paid", "refused", "lost", "lost after doing", "held")
"""What can become of a call: ``lost`` and ``held`` ones arrive later, if at all."""


@dataclass
class Held:
    """A call that is still on its way while everybody else goes on."""

    payout: Payout
    arrives: asyncio.Future[str] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class Adversary:
    """A rail whose next calls go as they are told to, and then well."""

    def __init__(self, journal: RailJournal):
        self._journal = journal
        self.next: deque[str] = deque()
        self.unheard: list[Payout] = []
        """Messages of which nobody heard what became: each may still arrive, also again."""
        self.held: list[Held] = []

    async def pay(self, payout: Payout) -> PayoutAnswer:
        how = self._how()
        if how == "held":
            held = Held(payout)
            self.held.append(held)
            self.unheard.append(payout)
            how = await held.arrives
        return self._answered(payout, how)

    async def look_up(self, payout_id: str) -> PayoutAnswer | None:
        known = self._journal.payout(payout_id)
        return _told(known) if known else None

    async def close(self, payout_id: str) -> PayoutAnswer:
        how = self._how()
        if how == "lost":
            raise ConnectionResetError
        closed = _told(self._journal.close_payout(payout_id))
        if how in {"lost after doing", "held"}:
            raise ConnectionResetError
        return closed

    def release(self, which: int, how: str) -> None:
        """Let a held call arrive, and be answered."""
        held = self.held.pop(which)
        if not held.arrives.done():
            held.arrives.set_result(how)

    def arrive(self, which: int) -> None:
        """Let a message of which nobody heard arrive, late or once more: the rail is willing to pay."""
        self._do(self.unheard[which], SENT)

    def pay_after_all(self, payout: Payout) -> None:
        """Break the contract: pay an id that was closed."""
        with self._journal._engine.begin() as connection:
            connection.exec_driver_sql(
                f"UPDATE rail_payouts SET state = 'done', amount = {payout.amount},"
                f" transaction_id = '{payout.transaction_id}' WHERE payout_id = '{payout.payout_id}'"
            )

    def _how(self) -> str:
        return self.next.popleft() if self.next else "paid"

    def _answered(self, payout: Payout, how: str) -> PayoutAnswer:
        if how == "lost":
            self.unheard.append(payout)
            raise ConnectionResetError
        answer = self._do(payout, REFUSED if how == "refused" else SENT)
        if how == "lost after doing":
            self.unheard.append(payout)
            raise ConnectionResetError
        return answer

    def _do(self, payout: Payout, answer: PayoutAnswer) -> PayoutAnswer:
        return _told(
            self._journal.pay_out(
                RailPayout(
                    payout.payout_id,
                    payout.transaction_id,
                    answer.outcome.value,
                    payout.amount,
                    payout.currency,
                    answer.response_code,
                    answer.message,
                )
            ),
            asked=True,
        )


def _told(known: RailPayout, *, asked: bool = False) -> PayoutAnswer:
    """What the rail says; a closed id that it is asked to pay is refused."""
    outcome = RefundOutcome(known.state)
    if asked and outcome is RefundOutcome.CLOSED:
        outcome = RefundOutcome.REFUSED
    return PayoutAnswer(outcome, known.response_code, known.message)
