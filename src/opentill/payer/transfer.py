"""What a payer needs to pay by bank transfer, and what the sandbox can let arrive."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import segno
from markupsafe import Markup

from opentill.domain.money import major_units
from opentill.domain.order import Order
from opentill.payer import formatting
from opentill.payer.messages import PayerMoney
from opentill.store.transfers.contract import TransferAccount

COUNTDOWN_SECONDS: Final = 1800
"""What the page counts down from when it gives an account out; no wall (ruling 17)."""
_QR_SCALE: Final = 4


class Arrival(StrEnum):
    """The transfers that a sandbox's page lets arrive at one click."""

    EXACT = "exact"
    SHORT = "short"
    OVER = "over"
    TWICE = "twice"

    def amounts(self, rest: int) -> tuple[int, ...]:
        """Return what arrives while ``rest`` is due; minor units."""
        if self is Arrival.SHORT:
            return (max(rest * 2 // 5, 1),)
        if self is Arrival.OVER:
            return (rest + max(rest // 20, 1),)
        return (rest, rest) if self is Arrival.TWICE else (rest,)

    def label(self, rest: int, currency: str) -> str:
        """Return what the button says."""
        amount = formatting.amount(self.amounts(rest)[0], currency)
        return {
            Arrival.EXACT: f"Exactly {amount}",
            Arrival.SHORT: f"Too little: {amount}",
            Arrival.OVER: f"Too much: {amount}",
            Arrival.TWICE: f"Twice {amount}",
        }[self]


@dataclass(frozen=True, slots=True)
class Bank:
    """Whose account numbers are given out."""

    name: str
    account_name: str
    """Whose account a payer's bank says that it is."""
    sandbox_rail: str
    """What advices call the rail whose transfers a payer can make up; empty in live mode."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TransferPanel:
    """The order's own account, once the payer has asked for it."""

    rest: str
    """What is to be transferred, as people write it."""
    rest_plain: str
    """The same as an app takes it when it is pasted: ``10000.00``."""
    account_number: str = ""
    """Empty until the payer asks for an account."""
    bank_name: str = ""
    account_name: str = ""
    seconds_left: int | None = None
    """Of the page's countdown; None once it is over."""
    page_url: str = ""
    """What the QR code leads to: this page, for the phone with the bank's app."""
    arrivals: tuple[tuple[str, str], ...] = ()
    """Sandbox mode: the transfers that can be made to arrive, by name and label."""

    @property
    def qr(self) -> Markup:
        """Return the code as an SVG picture, without any style of its own."""
        drawn = segno.make(self.page_url, error="m").svg_inline(scale=_QR_SCALE, border=3)
        return Markup(drawn)  # noqa: S704 - drawn by us: numbers and fixed words only


def transfer_panel(
    order: Order, money: PayerMoney, account: TransferAccount | None, bank: Bank, page_url: str, at: int
) -> TransferPanel:
    """Return the panel at business time ``at``; without an account it offers to ask for one."""
    rest = formatting.amount(money.rest, order.currency)
    rest_plain = major_units(money.rest, order.currency)
    if account is None:
        return TransferPanel(rest=rest, rest_plain=rest_plain)
    left = (account.reserved_at - at) // 1000 + COUNTDOWN_SECONDS
    return TransferPanel(
        rest=rest,
        rest_plain=rest_plain,
        account_number=account.account_number,
        bank_name=bank.name,
        account_name=bank.account_name,
        seconds_left=left if left > 0 else None,
        page_url=page_url,
        arrivals=tuple((each.value, each.label(money.rest, order.currency)) for each in Arrival)
        if bank.sandbox_rail
        else (),
    )
