"""The sandbox's card rail: the documented test cards and passwords, nothing else (contract 6).

It behaves like a computer of another company: it has a journal of its own, remembers every id across
crashes and processes, answers the same id the same way, and can be told to misbehave (contract 10).
"""

import asyncio
import hashlib
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from opentill.domain.commands import RailOutcome
from opentill.domain.order import Challenge
from opentill.rails.rail import Card, PasswordAnswer, RailAnswer, RailCard
from opentill.rails.sandbox.journal import OVER, RailCardKept, RailJournal, RailPayment, RailTry
from opentill.rails.sandbox.switches import SwitchedCalls

OTP_CARD: Final = "5434621074252808"
CHALLENGE_CARD: Final = "4000000000002503"
DECLINED_CARD: Final = "5484497218317651"
DECLINED_EXPIRY: Final = ("12", "20")
MOST_MINOR: Final = 500_000_00
"""The most one payment may take, in minor units; above it the funds do not suffice."""
OPERATIONS: Final = ("charge", "confirm", "void", "refund", "return")
"""What switches can be set for."""

_APPROVED = RailAnswer(RailOutcome.APPROVED, "00", "Approved by Financial Institution")
_OTP_SENT = RailAnswer(RailOutcome.OTP_REQUIRED, "T0", "Kindly enter the OTP sent to ****2808")
_CHALLENGE = RailAnswer(RailOutcome.CHALLENGE_REQUIRED, "S0", "Kindly complete the payment with your bank")
_DO_NOT_HONOR = RailAnswer(RailOutcome.DECLINED, "05", "Do not honor")
_EXPIRED_CARD = RailAnswer(RailOutcome.DECLINED, "54", "Expired card")
_NO_FUNDS = RailAnswer(RailOutcome.DECLINED, "51", "Insufficient Funds")
_NOT_PROVEN = RailAnswer(RailOutcome.DECLINED, "T1", "The bank could not make sure who is paying")
_TOO_LATE = RailAnswer(RailOutcome.DECLINED, "T1", "Your payment has exceeded the time required to pay")
_INVALID_OTP = RailAnswer(RailOutcome.OTP_REJECTED, "T1", "Invalid OTP")
_WRONG_OTP = RailAnswer(
    RailOutcome.OTP_REJECTED, "T1", "Token Authorization Not Successful. Incorrect Token Supplied"
)

_BY_OTP: Final = {
    "9999": _APPROVED,
    "123456": _APPROVED,
    "000000": _APPROVED,
    "111111": _APPROVED,
    "555555": _APPROVED,
    "1234": _TOO_LATE,
    "5464": _INVALID_OTP,
}
_OUTCOME_OF_STATE: Final = {
    "challenge_passed": RailOutcome.CHALLENGE_REQUIRED,
    "challenge_failed": RailOutcome.CHALLENGE_REQUIRED,
}
"""What a payment's state means to us where it is not an outcome's own word."""


class SandboxCardRail:
    """The sandbox's card processor; ``delay_milliseconds`` is how long it lets us wait for its answer."""

    def __init__(
        self,
        journal: RailJournal,
        delay_milliseconds: int,
        make_challenge: Callable[[str, str], Challenge],
        make_token: Callable[[str], str],
    ):
        """Take the journal; ``make_challenge`` signs one for a transaction id and the URL where it ends.

        ``make_token`` gives the token for the card of a transaction: always the same one, of use here alone.
        """
        self._journal = journal
        self._carry_out = SwitchedCalls(journal, delay_milliseconds).carry_out
        self._make_challenge = make_challenge
        self._make_token = make_token

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
        """Answer by the card's number, its expiry and the amount, for an id always the same way."""
        natural = _answer_to_card(card, amount)
        kept = self._kept(transaction_id, card) if keep else None

        def remember(answer: RailAnswer) -> RailAnswer:
            payment = _payment(transaction_id, amount, currency, answer)
            return self._with_card(transaction_id, _answer_of(self._journal.begin(payment, kept)))

        answer = await self._carry_out("charge", natural, remember, _APPROVED, _DO_NOT_HONOR)
        if answer.outcome is RailOutcome.CHALLENGE_REQUIRED:
            return replace(answer, challenge=self._make_challenge(transaction_id, return_url))
        return answer

    async def charge_again(
        self, transaction_id: str, amount: int, currency: str, card_token: str
    ) -> RailAnswer:
        """Charge a kept card without ever asking for a password; switches of charges count here too."""
        known = await asyncio.to_thread(self._journal.card, _digest(card_token))

        def remember(answer: RailAnswer) -> RailAnswer:
            payment = _payment(transaction_id, amount, currency, answer)
            return _refused_if_over(_answer_of(self._journal.begin(payment)))

        natural = _DO_NOT_HONOR if known is None else _answer_to_amount(amount)
        return await self._carry_out("charge", natural, remember, _APPROVED, _DO_NOT_HONOR)

    async def send_password(self, phone_number: str | None) -> None:
        """Send nothing: the sandbox's passwords are the documented ones, always."""

    async def check_password(self, otp: str) -> PasswordAnswer:
        """Accept the documented passwords, and say what the others would get."""
        said = _BY_OTP.get(otp, _WRONG_OTP)
        return PasswordAnswer(said is _APPROVED, said.message)

    def _kept(self, transaction_id: str, card: Card) -> RailCardKept:
        month, year = (part[-2:].rjust(2, "0") for part in (card.expiry_month, card.expiry_year))
        return RailCardKept(transaction_id, _digest(self._make_token(transaction_id)), f"{month}/{year}")

    def _with_card(self, transaction_id: str, answer: RailAnswer) -> RailAnswer:
        """Return the answer as it is given: an approval tells the token of a card that is kept."""
        if answer.outcome is not RailOutcome.APPROVED:
            return _refused_if_over(answer)
        kept = self._journal.card_of_payment(transaction_id)
        if kept is None:
            return answer
        return replace(answer, card=RailCard(self._make_token(transaction_id), kept.expiry))

    async def confirm(self, transaction_id: str, attempt_try: int, otp: str) -> RailAnswer:
        """Answer by the documented passwords, for one try always the same way."""

        def remember(answer: RailAnswer) -> RailAnswer:
            given = self._journal.confirm(
                RailTry(
                    transaction_id, attempt_try, answer.outcome.value, answer.response_code, answer.message
                )
            )
            outcome = RailOutcome(given.outcome)
            answer = RailAnswer(outcome, given.response_code, given.message)
            return self._with_card(transaction_id, answer)

        natural = _BY_OTP.get(otp, _WRONG_OTP)
        return await self._carry_out("confirm", natural, remember, _APPROVED, _DO_NOT_HONOR)

    async def resend_otp(self, transaction_id: str) -> None:
        """Send nothing: the sandbox's passwords are the documented ones, always."""

    async def complete_challenge(self, transaction_id: str) -> RailAnswer:
        """Take the money if the challenge was passed; whoever left it without an answer is declined."""

        def remember(answer: RailAnswer) -> RailAnswer:
            if_proven = _step(answer)
            steps = {
                "challenge_passed": if_proven,
                "challenge_failed": _step(_NOT_PROVEN),
                "challenge_required": _step(_NOT_PROVEN),
            }
            known = self._journal.move(transaction_id, steps)
            return self._with_card(transaction_id, _answer_of(known)) if known else _DO_NOT_HONOR

        return await self._carry_out("confirm", _APPROVED, remember, _APPROVED, _DO_NOT_HONOR)

    async def answer_challenge(self, transaction_id: str, *, passed: bool) -> bool:
        """Note what the payer did on the challenge page; False when no challenge waits for it."""
        state = "challenge_passed" if passed else "challenge_failed"
        step = replace(_step(_CHALLENGE), state=state)
        known = await asyncio.to_thread(self._journal.move, transaction_id, {"challenge_required": step})
        return known is not None and known.state == state

    async def void(self, transaction_id: str) -> RailAnswer:
        """Void the payment in the journal, which remembers an id that it has never seen as well."""

        def remember(_: RailAnswer) -> RailAnswer:
            return _answer_of(self._journal.void(transaction_id))

        return await self._carry_out("void", _APPROVED, remember, _APPROVED, _DO_NOT_HONOR)

    async def look_up(self, transaction_id: str) -> RailAnswer | None:
        """Return what the journal knows of the payment, with the token of a card that is kept."""
        return await asyncio.to_thread(self._known, transaction_id)

    def _known(self, transaction_id: str) -> RailAnswer | None:
        known = self._journal.payment(transaction_id)
        if known is None or known.state in OVER:
            return _answer_of(known) if known else None
        return self._with_card(transaction_id, _answer_of(known))


def _answer_to_card(card: Card, amount: int) -> RailAnswer:
    if card.number not in {OTP_CARD, CHALLENGE_CARD}:
        return _DO_NOT_HONOR
    if (card.expiry_month, card.expiry_year[-2:]) == DECLINED_EXPIRY:
        return _EXPIRED_CARD
    if amount > MOST_MINOR:
        return _NO_FUNDS
    return _OTP_SENT if card.number == OTP_CARD else _CHALLENGE


def _answer_to_amount(amount: int) -> RailAnswer:
    return _NO_FUNDS if amount > MOST_MINOR else _APPROVED


def _payment(transaction_id: str, amount: int, currency: str, answer: RailAnswer) -> RailPayment:
    return RailPayment(
        transaction_id, answer.outcome.value, amount, currency, answer.response_code, answer.message
    )


def _digest(card_token: str) -> str:
    return hashlib.sha256(card_token.encode()).hexdigest()


def _step(answer: RailAnswer) -> RailPayment:
    return RailPayment("", answer.outcome.value, 0, "", answer.response_code, answer.message)


def _refused_if_over(answer: RailAnswer) -> RailAnswer:
    """Return a decline for a call that arrives after its id was voided."""
    return _DO_NOT_HONOR if answer.outcome.value in OVER else answer


def _answer_of(known: RailPayment) -> RailAnswer:
    outcome = _OUTCOME_OF_STATE.get(known.state) or RailOutcome(known.state)
    return RailAnswer(outcome, known.response_code, known.message)
