"""The two directories of transfers: which account number was given to which order, and what banks told us.

Neither is an order nor money: each verb is one short transaction of its own. What a bank tells is written
here before it is booked, so that no crash can lose it; what it does is decided by a command on an order.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from opentill.domain.order import Sender


@dataclass(frozen=True, slots=True)
class TransferAccount:
    """The virtual account of one order."""

    account_number: str
    bank_code: str
    account_id: str
    order_id: str
    reserved_at: int


@dataclass(frozen=True, slots=True)
class TransferNotice:
    """A bank's word of a transfer. Two with the same rail and session id speak of one transfer."""

    rail: str
    session_id: str
    account_number: str
    amount: int
    """Minor units of ``currency``."""
    currency: str
    sender: Sender
    transferred_at: int | None
    narration: str = ""
    unusable_time: str = ""
    """The bank's time as it was written, where it can not be used and ``transferred_at`` is None."""


@dataclass(frozen=True, slots=True)
class Advice:
    """A notice as it was written down, and where its money goes."""

    notice: TransferNotice
    credit_id: str
    arrived_at: int
    """Business time."""
    account_id: str | None
    order_id: str | None
    """The order that had the account number at the bank's time, or else at the arrival; None: money of
    the house."""
    attached: bool
    """Whether a person gave it to that order, after it had been money of the house."""
    route_by: int | None
    """Real time until which whoever wrote it books it; None: it is booked."""
    time_counts: bool
    """Whether the bank's time decides; not where nobody had the account number then."""

    def tells_the_same(self, notice: TransferNotice) -> bool:
        """Say whether a further notice of the same session repeats this one (contract 10: else a 409)."""
        ours = self.notice
        return (ours.amount, ours.currency, ours.account_number) == (
            notice.amount,
            notice.currency,
            notice.account_number,
        )


class Transfers(Protocol):
    """The verbs of the two directories."""

    def reserve_account(
        self,
        account_id: str,
        order_id: str,
        *,
        bank_code: str,
        candidates: Sequence[str],
        now: int,
        rest_milliseconds: int | None,
    ) -> TransferAccount | None:
        """Give an order its number: the one it has, or the first of the candidates that is free.

        A number is free that was never given away, or else one whose order ended (paid, cancelled or
        expired) at least ``rest_milliseconds`` of business time ago, None: only one that was never given
        away. Returns None where no candidate is free. Who had the number before stays known.
        """

    def transfer_account(self, account_id: str, order_id: str) -> TransferAccount | None:
        """Find the number that this order has; None also once it was given to a later one."""

    def record_advice(self, notice: TransferNotice, credit_id: str, now: int, route_by: int) -> Advice:
        """Write a notice down, with the order whose money it is; the first of a session counts.

        That is the order which had the account number at the bank's time of the transfer. Where none had
        it then, and for a time that is absent or after the arrival, it is the one that has it now. A time
        without seconds is one of the whole minute.

        ``credit_id`` is the UUID that the credit shall have. Returns what is written: ours or the earlier.
        """

    def advice_of_credit(self, credit_id: str) -> Advice | None:
        """Find the advice that a credit came from."""

    def note_routed(self, advice: Advice) -> None:
        """Note that its money is booked where it was to go; one attached elsewhere since is left alone."""

    def unrouted_advices(self, now: int, limit: int) -> list[Advice]:
        """List advices that should have been booked by ``now`` (real time), longest overdue first."""

    def attach_advice(self, credit_id: str, account_id: str, order_id: str, route_by: int) -> bool:
        """Give money of the house to an order; False if it is not (any more) booked as the house's.

        The advice is then to be routed again.
        """

    def detach_advice(self, credit_id: str) -> None:
        """Take an attachment back that came too late: the money is on its way to its sender."""
