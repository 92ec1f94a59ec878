"""Card payment over the API, for the sandbox alone, and the end of an attempt (contract 3.8, 3.9)."""

from typing import Annotated, Any, Final, Literal

from msgspec import Meta

from opentill.api.http import decode
from opentill.api.http.call import Call
from opentill.api.http.decode import ReferenceText, Text
from opentill.api.nomba.card_details import read_card
from opentill.api.nomba.checkout import Done
from opentill.api.nomba.replies import card_reply, otp_reply
from opentill.api.wire import Reply, SecretStruct, WireStruct
from opentill.domain.commands import BeginAttempt, CancelAttempt, ResendOtp, SubmitOtp
from opentill.domain.names import transaction_id

_OTP_SENT: Final = Done(success=True, message="OTP sent successfully")
_ATTEMPT_CANCELLED: Final = Done(success=True, message="Transaction cancelled successfully")


class CardRequest(SecretStruct, rename="camel", kw_only=True):
    """Card details as a string of JSON, encrypted where the order came with a key, and the order to pay."""

    card_details: Annotated[str, Meta(max_length=4096)]
    order_reference: ReferenceText
    key: Any = None
    save_card: Any = None
    """Completes only once the payer has confirmed it by a password (contract 3.7)."""
    device_information: Any = None


class OtpRequest(SecretStruct, rename="camel"):
    """The payer's one-time password for a transaction that waits for it."""

    otp: Annotated[str, Meta(max_length=32)]
    order_reference: ReferenceText
    transaction_id: Text


class ResendOtpRequest(WireStruct):
    """The order whose payer asks for the one-time password again."""

    order_reference: ReferenceText


class CancelTransactionRequest(WireStruct):
    """The attempt to pay that is to end."""

    transaction_id: Text
    force_cancel: bool | Literal["true", "false"]
    """Ignored: an attempt ends the same way with and without force."""


async def submit_card(call: Call) -> Reply:
    """Charge a card; the answer says paid, send the password, see the bank, declined, or being checked."""
    body: CardRequest = call.body
    name = call.reference(body.order_reference, "orderReference")
    card = read_card(body.card_details, call.deps.card_key)
    transaction = transaction_id(call.account_id, call.deps.ids.uuid())
    command = BeginAttempt(
        **call.command(),
        name=name,
        transaction_id=transaction,
        card_masked=card.masked,
        card_brand=card.brand,
        call_until=call.deps.card_payments.call_until(),
        max_attempts=call.deps.settings.max_attempts,
        save_card=body.save_card in (True, "true"),
        reply_key=call.key,
    )
    asking = call.asking(lambda change: card_reply(change, transaction, call.deps.return_url))
    return_url = call.deps.return_url(call.account_id, transaction)
    return call.answer_of(await call.deps.card_payments.charge(command, card, return_url, asking))


async def submit_otp(call: Call) -> Reply:
    """Go on with a charge that waits for the payer's one-time password."""
    body: OtpRequest = call.body
    transaction = decode.filled(body.transaction_id, "transactionId")
    command = SubmitOtp(
        **call.command(),
        name=call.reference(body.order_reference, "orderReference"),
        transaction_id=transaction,
        call_until=call.deps.card_payments.call_until(),
        reply_key=call.key,
    )
    otp = decode.filled(body.otp, "otp")
    asking = call.asking(lambda change: otp_reply(change, transaction))
    return call.answer_of(await call.deps.card_payments.confirm(command, otp, asking))


async def resend_otp(call: Call) -> Reply:
    """Send the one-time password again, to the payer of the order's attempt that waits for one."""
    body: ResendOtpRequest = call.body
    command = ResendOtp(
        **call.command(),
        name=call.reference(body.order_reference, "orderReference"),
        max_otp_sends=call.deps.settings.max_otp_sends,
    )
    asking = call.asking(lambda _: call.success(_OTP_SENT))
    return call.answer_of(await call.deps.card_payments.resend_otp(command, asking))


async def cancel_transaction(call: Call) -> Reply:
    """End one attempt; its order stays payable, and an approval that still comes is given back."""
    body: CancelTransactionRequest = call.body
    transaction = decode.filled(body.transaction_id, "transactionId")
    command = CancelAttempt(**call.command(), transaction_id=transaction)
    return await call.submit(command, lambda _: call.success(_ATTEMPT_CANCELLED))
