"""Card payment over the API, for the sandbox's simulator only (contract 3.8)."""

from collections.abc import Callable
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta

from opentill.api import decode
from opentill.api.call import Call
from opentill.api.decode import ReferenceText
from opentill.api.shown import transaction_id
from opentill.api.wire import SUCCESS, SecretStruct, Success, WireStruct, invalid, refusal_replies
from opentill.domain.commands import BeginAttempt, SubmitOtp
from opentill.domain.lifecycle import Change
from opentill.domain.order import AttemptStatus, CallKind, OrderStatus
from opentill.domain.refusals import Refusal
from opentill.engine.engine import Outcome, Render
from opentill.rails.rail import Card
from opentill.store.interface import Reply

_ShortText = Annotated[str, Meta(max_length=32)]
_MOST_CARD_DIGITS: Final = 19


class CardDetails(SecretStruct, rename="camel", kw_only=True):
    """What ``cardDetails`` holds once it is read."""

    card_number: _ShortText
    card_cvv: _ShortText | int | None = msgspec.field(name="cardCVV", default=None)
    card_expiry_month: _ShortText | int
    card_expiry_year: _ShortText | int
    card_pin: _ShortText | int | None = None


class CardRequest(SecretStruct, rename="camel", kw_only=True):
    """Card details as a string of JSON, and the order to pay."""

    card_details: Annotated[str, Meta(max_length=4096)]
    order_reference: ReferenceText
    key: Any = None
    save_card: Any = None
    device_information: Any = None


class OtpRequest(SecretStruct, rename="camel"):
    """The payer's one-time password for a transaction that waits for it."""

    otp: _ShortText
    order_reference: ReferenceText
    transaction_id: Annotated[str, Meta(max_length=255)]


class SecureAuthentication(WireStruct):
    """Where the browser goes for 3-D Secure, and with what."""

    jwt: str
    md: str
    acs_url: str
    term_url: str


class CardAnswer(WireStruct):
    """What became of the charge so far."""

    status: bool
    message: str
    response_code: str
    transaction_id: str
    secure_authentication_data: SecureAuthentication | None = None


class OtpAnswer(WireStruct):
    """What became of the charge after the one-time password."""

    status: bool
    message: str


async def submit_card(call: Call) -> Reply:
    """Charge a card; the answer says paid, send the one-time password, declined, or being checked."""
    body: CardRequest = call.body
    name = call.reference(body.order_reference, "orderReference")
    card = _card(body.card_details)
    claim = call.claim()
    command = BeginAttempt(
        **call.command(),
        name=name,
        transaction_id=transaction_id(call.account_id, call.deps.ids.uuid()),
        card_masked=card.masked,
        card_brand=card.brand,
        call_until=call.deps.desk.call_until(),
        max_attempts=call.deps.settings.max_attempts,
        reply_key=claim.key if claim else None,
    )
    render = call.render(lambda change: _card_reply(change, command.transaction_id))
    return call.answer_of(
        await call.deps.desk.charge(command, card, render=render, claim=claim, token=call.token)
    )


async def submit_otp(call: Call) -> Reply:
    """Go on with a charge that waits for the payer's one-time password."""
    body: OtpRequest = call.body
    claim = call.claim()
    command = SubmitOtp(
        **call.command(),
        name=call.reference(body.order_reference, "orderReference"),
        transaction_id=decode.filled(body.transaction_id, "transactionId"),
        call_until=call.deps.desk.call_until(),
        reply_key=claim.key if claim else None,
    )
    otp = decode.filled(body.otp, "otp")
    render = call.render(lambda change: _otp_reply(change, command.transaction_id))
    return call.answer_of(
        await call.deps.desk.confirm(command, otp, render=render, claim=claim, token=call.token)
    )


_details = msgspec.json.Decoder(CardDetails)


def _card(text: str) -> Card:
    details = decode.decode(_details, text.encode(), "cardDetails")
    number = details.card_number.replace(" ", "")
    if not (number.isascii() and number.isdigit() and len(number) <= _MOST_CARD_DIGITS):
        raise invalid("cardNumber must be a card number")
    return Card(
        number=number,
        cvv=str(details.card_cvv or ""),
        expiry_month=str(details.card_expiry_month),
        expiry_year=str(details.card_expiry_year),
        pin=str(details.card_pin or ""),
    )


_A = AttemptStatus

_ANSWER: Final[dict[AttemptStatus, tuple[bool, str, str]]] = {
    _A.APPROVED: (True, "00", "Approved by Financial Institution"),
    _A.AWAITING_OTP: (True, "T0", "Kindly enter the OTP sent to you"),
    _A.AWAITING_3DS: (True, "S0", "Kindly complete the payment with your bank"),
    _A.CALLING: (False, "500", "The payment is being checked; do not pay again"),
    _A.UNKNOWN: (False, "500", "The payment is being checked; do not pay again"),
    _A.DECLINED: (False, "T1", "The card was declined"),
    _A.FAILED: (False, "T1", "The payment did not reach the bank; nothing was taken"),
    _A.CANCELLED: (False, "T1", "{ending}; nothing was taken"),
    _A.VOIDING: (False, "T1", "{ending}; the money is being given back"),
    _A.VOIDED: (False, "T1", "{ending}; the money was given back"),
}
"""Whether it is going well, ``responseCode``, and what is said when the rail says nothing better."""

_ENDING: Final[dict[OrderStatus, str]] = {
    OrderStatus.PENDING: "The attempt was replaced by another one",
    OrderStatus.PAID: "The order was paid by another attempt",
    OrderStatus.CANCELLED: "The order was cancelled",
    OrderStatus.EXPIRED: "The order has expired",
}
_RAIL_SPEAKS: Final = frozenset({_A.APPROVED, _A.AWAITING_OTP, _A.DECLINED})
"""Where the rail's own message is the better one; of money that goes back we know and it does not."""


def _told(change: Change, transaction: str) -> tuple[AttemptStatus, bool, str, str]:
    attempt = change.after.attempt(transaction)
    assert attempt is not None
    well, code, text = _ANSWER[attempt.status]
    message = attempt.message if attempt.status in _RAIL_SPEAKS else ""
    return attempt.status, well, code, message or text.format(ending=_ENDING[change.after.status])


_success: Final = Success(SUCCESS)


def _card_reply(change: Change, transaction: str) -> Reply:
    _, well, code, message = _told(change, transaction)
    return _success.reply(CardAnswer(well, message, code, transaction))


def _otp_reply(change: Change, transaction: str) -> Reply:
    """A wrong password leaves the attempt waiting for another, so only paid is going well here."""
    status, _, _, message = _told(change, transaction)
    return _success.reply(OtpAnswer(status is _A.APPROVED, message))


def late_reply(refusal_http_status: int) -> Callable[[CallKind, str], Render]:
    """How the desk answers, for the idempotency key, a charge or confirmation whose caller is gone."""
    refusals = refusal_replies(refusal_http_status)

    def render_of(kind: CallKind, transaction: str) -> Render:
        told = _otp_reply if kind is CallKind.CONFIRM else _card_reply

        def render(outcome: Outcome) -> Reply:
            return refusals[type(outcome)] if isinstance(outcome, Refusal) else told(outcome, transaction)

        return render

    return render_of
