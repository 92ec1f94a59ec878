"""The sandbox's card rail: the documented test cards and passwords, nothing else (contract, section 6).

It behaves like a computer of another company: it has a journal of its own, remembers every id across
crashes and processes, and answers the same id the same way.
"""

import asyncio
from typing import Final

from opentill.domain.commands import RailOutcome
from opentill.rails.rail import Card, RailAnswer
from opentill.store.journal import RailJournal, RailPayment, RailTry

OTP_CARD: Final = "5434621074252808"
DECLINED_CARD: Final = "5484497218317651"
DECLINED_EXPIRY: Final = ("12", "20")
MOST_MINOR: Final = 500_000_00
"""The most one payment may take, in minor units; above it the funds do not suffice."""

_APPROVED = RailAnswer(RailOutcome.APPROVED, "00", "Approved by Financial Institution")
_OTP_SENT = RailAnswer(RailOutcome.OTP_REQUIRED, "T0", "Kindly enter the OTP sent to ****2808")
_DO_NOT_HONOR = RailAnswer(RailOutcome.DECLINED, "05", "Do not honor")
_EXPIRED_CARD = RailAnswer(RailOutcome.DECLINED, "54", "Expired card")
_NO_FUNDS = RailAnswer(RailOutcome.DECLINED, "51", "Insufficient Funds")
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


class SandboxCardRail:
    """See ``CardRail``. ``delay_milliseconds`` is how long it lets us wait for its answer."""

    def __init__(self, journal: RailJournal, delay_milliseconds: int = 0):
        self._journal = journal
        self._delay_seconds = delay_milliseconds / 1000

    async def charge(self, transaction_id: str, amount: int, currency: str, card: Card) -> RailAnswer:
        """See ``CardRail.charge``."""
        answer = _answer_to_card(card, amount)
        payment = RailPayment(
            transaction_id, answer.outcome.value, amount, currency, answer.response_code, answer.message
        )
        known = await asyncio.to_thread(self._journal.begin, payment)
        await asyncio.sleep(self._delay_seconds)
        return _refused_if_over(_answer_of(known))

    async def confirm(self, transaction_id: str, attempt_try: int, otp: str) -> RailAnswer:
        """See ``CardRail.confirm``."""
        answer = _BY_OTP.get(otp, _WRONG_OTP)
        wanted = RailTry(
            transaction_id, attempt_try, answer.outcome.value, answer.response_code, answer.message
        )
        given = await asyncio.to_thread(self._journal.confirm, wanted)
        await asyncio.sleep(self._delay_seconds)
        return _refused_if_over(RailAnswer(RailOutcome(given.outcome), given.response_code, given.message))

    async def void(self, transaction_id: str) -> RailAnswer:
        """See ``CardRail.void``."""
        return _answer_of(await asyncio.to_thread(self._journal.void, transaction_id))

    async def look_up(self, transaction_id: str) -> RailAnswer | None:
        """See ``CardRail.look_up``."""
        known = await asyncio.to_thread(self._journal.payment, transaction_id)
        return _answer_of(known) if known else None


def _answer_to_card(card: Card, amount: int) -> RailAnswer:
    if card.number != OTP_CARD:
        return _DO_NOT_HONOR
    if (card.expiry_month, card.expiry_year[-2:]) == DECLINED_EXPIRY:
        return _EXPIRED_CARD
    return _NO_FUNDS if amount > MOST_MINOR else _OTP_SENT


def _refused_if_over(answer: RailAnswer) -> RailAnswer:
    """A call that arrives after its id was voided is declined."""
    over = answer.outcome in {RailOutcome.VOIDED, RailOutcome.NEVER_HAPPENED}
    return _DO_NOT_HONOR if over else answer


def _answer_of(known: RailPayment) -> RailAnswer:
    return RailAnswer(RailOutcome(known.state), known.response_code, known.message)
