"""Sharing: what of a payment is its beneficiary's, and what is not (contract 8, ruling 19).

A payment is booked with its parts when it is captured. A refund takes the shares back pro rata, and the rest
from the beneficiary; the fee is kept.
"""

from typing import Final

from msgspec import Struct

from opentill.domain.order import Order, Parts, Shares, Split, SplitKind

HUNDRED_PERCENT: Final = 10_000
"""In hundredths of a percent, as all percentages here."""


class FeeTerms(Struct, frozen=True):
    """The price of a payment for its merchant: a share of it, up to a cap."""

    basis_points: int
    """Hundredths of a percent of the amount."""
    cap: int
    """Minor units, whatever the currency."""

    def of(self, amount: int) -> int:
        """Return the fee on an amount; both in minor units, half a unit rounded up, at most the amount."""
        return min((amount * self.basis_points + HUNDRED_PERCENT // 2) // HUNDRED_PERCENT, self.cap, amount)


NO_FEE: Final = FeeTerms(basis_points=0, cap=0)


def parts_of_payment(order: Order, fee: FeeTerms) -> Parts:
    """Return the parts of this order's payment that are not its beneficiary's."""
    shares = shares_of(order.split, order.amount, order.beneficiary) if order.split else ()
    return Parts(fee.of(order.amount), shares)


def shares_of(split: Split, amount: int, beneficiary: str) -> Shares:
    """Share a payment, each share rounded down; what the beneficiary gets is part of the rest.

    A share that rounds down to nothing is left out.
    """
    shares = ((account, _share(split, value, amount)) for account, value in split.shares)
    return tuple((account, share) for account, share in shares if share and account != beneficiary)


def _share(split: Split, value: int, amount: int) -> int:
    return amount * value // HUNDRED_PERCENT if split.kind is SplitKind.PERCENTAGE else value


def shares_back(order: Order, refunded: int) -> Shares:
    """Return what the shares give back as ``totals.refunded`` grows to this; get back, where it falls again.

    Told as amounts without a sign. What they have given back by then depends on ``refunded`` alone, and on no
    order of events, so that parts of a refund and refused ones leave no kobo behind.
    """
    before, applied = order.totals.refunded, order.totals.applied
    moved = (
        (account, abs(given_back(share, refunded, applied) - given_back(share, before, applied)))
        for account, share in order.parts.shares
    )
    return tuple((account, amount) for account, amount in moved if amount)


def given_back(share: int, refunded: int, applied: int) -> int:
    """Return what a share has given back of a payment of which so much is refunded, rounded down."""
    return share * refunded // applied
