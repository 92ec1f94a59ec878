"""Previews: what a command would do now, decided as any command is, and thrown away."""

from typing import Final

from msgspec import Struct

from opentill.domain.commands import (
    Actor,
    ActorKind,
    BeginAttempt,
    BeginRefund,
    CancelOrder,
    CancelOrRefund,
    Command,
    EnsureCancelled,
    ExpireOrder,
)
from opentill.domain.decisions import decide
from opentill.domain.order import Order
from opentill.domain.refusals import Refusal
from opentill.domain.transition import Change

_NO_ID: Final = "00000000-0000-4000-8000-000000000000"
"""The id of all commands and refunds that are only thought of."""
_NOBODY: Final = Actor(ActorKind.WORKER)


class Preview(Struct, frozen=True):
    """An order at a moment of business time, and what ``decide`` says to each command; nothing is done."""

    order: Order
    at: int

    def as_due(self) -> Order:
        """Return the order as any command would find it: what is due counts as done."""
        order = self.order
        expire = ExpireOrder(
            account_id=order.account_id, command_id=_NO_ID, actor=_NOBODY, name=order.order_id
        )
        outcome = self._decided(expire)
        return order if isinstance(outcome, Refusal) else outcome.after

    def cancel(self) -> Change | Refusal:
        """Return what a cancel meets that is refused once the order has ended."""
        order = self.order
        return self._decided(
            CancelOrder(account_id=order.account_id, command_id=_NO_ID, actor=_NOBODY, name=order.order_id)
        )

    def ensure_cancelled(self) -> Change | Refusal:
        """Return what a cancel meets that may be repeated."""
        order = self.order
        return self._decided(
            EnsureCancelled(
                account_id=order.account_id, command_id=_NO_ID, actor=_NOBODY, name=order.order_id
            )
        )

    def cancel_or_refund(self) -> Change | Refusal:
        """Return what a cancel meets that refunds what is left of a payment."""
        order = self.order
        return self._decided(
            CancelOrRefund(
                account_id=order.account_id,
                command_id=_NO_ID,
                actor=_NOBODY,
                name=order.order_id,
                refund_id=_NO_ID,
                call_until=self.at,
            )
        )

    def charge(self, max_attempts: int) -> Change | Refusal:
        """Return what a new attempt by card meets, where an order may have so many."""
        order = self.order
        return self._decided(
            BeginAttempt(
                account_id=order.account_id,
                command_id=_NO_ID,
                actor=_NOBODY,
                name=order.order_id,
                transaction_id="",
                card_masked="",
                card_brand="",
                call_until=self.at,
                max_attempts=max_attempts,
            )
        )

    def refund(self) -> Change | Refusal:
        """Return what a refund meets of all that is left of the payment."""
        order = self.order
        return self._decided(
            BeginRefund(
                account_id=order.account_id,
                command_id=_NO_ID,
                actor=_NOBODY,
                transaction_id=order.paid_by or "",
                refund_id=_NO_ID,
                amount=None,
                call_until=self.at,
            )
        )

    def _decided(self, command: Command) -> Change | Refusal:
        try:
            return decide(self.order, command, self.at)
        except Refusal as refusal:
            return refusal.with_traceback(None)
