"""What every rail must do. A rail is another company's computer: slow, forgetful only in theory."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Protocol

from opentill.domain.commands import RailOutcome, RefundOutcome
from opentill.domain.order import Challenge, Credit

BANK_RAIL: Final = "bank"
"""The rail of every advice, the sandbox's too: session ids are the same at all banks of the scheme."""


@dataclass(frozen=True, slots=True, repr=False)
class Card:
    """Card details on their way to a rail. They are never stored, logged or shown (ruling 15)."""

    number: str
    cvv: str
    expiry_month: str
    expiry_year: str
    pin: str

    def __repr__(self) -> str:
        return "Card(<withheld>)"

    @property
    def masked(self) -> str:
        """Return the first six and last four digits, which is all that may be kept (contract 5.4)."""
        return f"{self.number[:6]}******{self.number[-4:]}" if len(self.number) >= 12 else "******"

    @property
    def brand(self) -> str:
        """Return the card scheme by the number's prefix, or ``N/A``."""
        prefix = self.number[:2]
        if prefix[:1] == "4":
            return "Visa"
        if prefix in {"51", "52", "53", "54", "55"} or "2221" <= self.number[:4] <= "2720":
            return "Mastercard"
        return "Verve" if self.number.startswith(("5060", "5061", "6500")) else "N/A"


@dataclass(frozen=True, slots=True)
class BankAccount:
    """The account to which money is paid by bank transfer."""

    account_number: str
    bank_code: str


@dataclass(frozen=True, slots=True, repr=False)
class RailCard:
    """A card that the rail keeps for us."""

    token: str
    """What it is charged by from now on; the rail takes it from nobody but us."""
    expiry: str
    """``MM/YY``."""

    def __repr__(self) -> str:
        return "RailCard(<withheld>)"


def sender_account(credit: Credit) -> BankAccount | None:
    """Return where a credit came from; None where the bank did not say."""
    sender = credit.sender
    return BankAccount(sender.account_number, sender.bank_code) if sender.account_number else None


@dataclass(frozen=True, slots=True)
class RailAnswer:
    """The rail's word on one attempt."""

    outcome: RailOutcome
    response_code: str
    """``00`` approved, ``T0`` OTP sent, ``S0`` challenge, otherwise the rail's code for why not."""
    message: str
    challenge: Challenge | None = None
    """Given with CHALLENGE_REQUIRED."""
    card: RailCard | None = None
    """Given with APPROVED where the charge asked for the card to be kept."""


@dataclass(frozen=True, slots=True)
class PasswordAnswer:
    """The rail's word on a shopper's one-time password."""

    accepted: bool
    message: str


@dataclass(frozen=True, slots=True)
class PayoutAnswer:
    """The rail's word on money that it was to send back."""

    outcome: RefundOutcome
    response_code: str
    message: str


class CardRail(Protocol):
    """A card processor. Every call carries our id and is idempotent by it.

    ``charge``, ``confirm`` and ``complete_challenge`` authorise and capture in one: approved means that
    the money is taken. A call may take for ever or raise: the payment service treats both as silence.
    Amounts are minor units.
    """

    async def charge(
        self,
        transaction_id: str,
        amount: int,
        currency: str,
        card: Card,
        return_url: str,
        *,
        keep: bool = False,
    ) -> RailAnswer:
        """Take the amount, or say what is missing; a 3-D Secure challenge ends at ``return_url``.

        With ``keep`` the approval, whenever it comes, tells by what the card can be charged again.
        """

    async def charge_again(
        self, transaction_id: str, amount: int, currency: str, card_token: str
    ) -> RailAnswer:
        """Take the amount from a card that is kept."""

    async def send_password(self, phone_number: str | None) -> None:
        """Send a shopper a one-time password, to this number or to the one that their bank knows."""

    async def check_password(self, otp: str) -> PasswordAnswer:
        """Return whether this is the password that the shopper was sent."""

    async def confirm(self, transaction_id: str, attempt_try: int, otp: str) -> RailAnswer:
        """Go on with the payer's one-time password; ``attempt_try`` counts from 1 and tells tries apart."""

    async def resend_otp(self, transaction_id: str) -> None:
        """Send the payer the one-time password again."""

    async def complete_challenge(self, transaction_id: str) -> RailAnswer:
        """Go on after the payer has come back from the 3-D Secure challenge."""

    async def void(self, transaction_id: str) -> RailAnswer:
        """Give everything of this id back: VOIDED if there was money, NEVER_HAPPENED if there was none.

        Either way it is over: an id never seen is remembered, and refused should it still arrive.
        """

    async def look_up(self, transaction_id: str) -> RailAnswer | None:
        """Return what became of this id; None when the rail has never seen it."""


class PayoutKind(StrEnum):
    """The reasons to send money out."""

    REFUND = "refund"
    """Of what paid for an order."""
    RETURN = "return"
    """Of a transfer that no order wanted."""


@dataclass(frozen=True, slots=True)
class Payout:
    """Money to be sent out; ``amount`` in minor units."""

    payout_id: str
    """The one id for life, sent on every try."""
    kind: PayoutKind
    transaction_id: str
    """The payment or the credit that it gives back."""
    amount: int
    currency: str
    to: BankAccount | None
    """None for the card that paid, and where nobody knows a sender's account."""


class PayoutRail(Protocol):
    """A card processor or bank that sends money out: refunds and returns, under one contract.

    An id is paid once at the most, however often it is asked for; a refused one may be asked for again, and
    may be paid then. A call may take for ever or raise: both are silence, after which the money may have gone
    or may still go. Only an answer to ``close`` ends that (laws 4).
    """

    async def pay(self, payout: Payout) -> PayoutAnswer:
        """Send the money, or refuse to."""

    async def look_up(self, payout_id: str) -> PayoutAnswer | None:
        """Return what became of this id so far; None when the rail has never seen it."""

    async def close(self, payout_id: str) -> PayoutAnswer:
        """Refuse this id from now on for ever: CLOSED, or DONE if it had been paid. Safe to repeat.

        An id never seen is remembered, and refused should it still arrive.
        """


class NoCardRail:
    """Stands where no card rail is connected: every call fails, which is taken for silence."""

    async def charge(
        self,
        transaction_id: str,
        amount: int,
        currency: str,
        card: Card,
        return_url: str,
        *,
        keep: bool = False,
    ) -> RailAnswer:
        """Raise ConnectionError."""
        raise ConnectionError

    async def charge_again(
        self, transaction_id: str, amount: int, currency: str, card_token: str
    ) -> RailAnswer:
        """Raise ConnectionError."""
        raise ConnectionError

    async def send_password(self, phone_number: str | None) -> None:
        """Raise ConnectionError."""
        raise ConnectionError

    async def check_password(self, otp: str) -> PasswordAnswer:
        """Raise ConnectionError."""
        raise ConnectionError

    async def confirm(self, transaction_id: str, attempt_try: int, otp: str) -> RailAnswer:
        """Raise ConnectionError."""
        raise ConnectionError

    async def resend_otp(self, transaction_id: str) -> None:
        """Raise ConnectionError."""
        raise ConnectionError

    async def complete_challenge(self, transaction_id: str) -> RailAnswer:
        """Raise ConnectionError."""
        raise ConnectionError

    async def void(self, transaction_id: str) -> RailAnswer:
        """Raise ConnectionError."""
        raise ConnectionError

    async def look_up(self, transaction_id: str) -> RailAnswer | None:
        """Raise ConnectionError."""
        raise ConnectionError


class NoCardPayouts:
    """Stands where no card rail is connected: every call fails, which is taken for silence."""

    async def pay(self, payout: Payout) -> PayoutAnswer:
        """Raise ConnectionError."""
        raise ConnectionError

    async def look_up(self, payout_id: str) -> PayoutAnswer | None:
        """Raise ConnectionError."""
        raise ConnectionError

    async def close(self, payout_id: str) -> PayoutAnswer:
        """Raise ConnectionError."""
        raise ConnectionError


_NO_BANK: Final = PayoutAnswer(RefundOutcome.REFUSED, "", "No bank is connected: send it by hand")
_NEVER_SENT: Final = PayoutAnswer(RefundOutcome.CLOSED, "", "No bank is connected")


class NoTransferPayouts:
    """Stands where no bank is connected that could send money: persons settle what is to go back.

    It refuses, since silence would keep them from it; and no id that it was asked for is ever paid.
    """

    async def pay(self, payout: Payout) -> PayoutAnswer:
        """Refuse."""
        return _NO_BANK

    async def look_up(self, payout_id: str) -> PayoutAnswer | None:
        """Return None: it has never seen any."""
        return None

    async def close(self, payout_id: str) -> PayoutAnswer:
        """Answer that nothing was or will be sent."""
        return _NEVER_SENT
