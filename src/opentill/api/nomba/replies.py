"""What became of a charge, a refund or a cancel, told from the change alone (contract 3.6, 3.8, 10)."""

from collections.abc import Callable
from typing import Final

from opentill.api.own.order_views import RefundShown, refund_view
from opentill.api.wire import (
    SUCCESS,
    TOKENIZED_CHARGE_FAILED,
    Reply,
    Success,
    WireStruct,
    refusal_replies,
    tokenized_charge_failed,
)
from opentill.domain.names import uuid_of
from opentill.domain.order import Attempt, AttemptStatus, CallKind, OrderStatus, RefundStatus
from opentill.domain.refunds import whole_refund
from opentill.domain.refusals import Refusal
from opentill.domain.transition import Change
from opentill.engine.engine import Outcome, Render
from opentill.keys.keyring import Keyring
from opentill.rails.card_payments import ReturnUrl


def return_url(public_url: str, keyring: Keyring, account_id: str, transaction: str) -> str:
    """Return the ``ReturnUrl`` of this server; its link can not be guessed from the transaction id."""
    return f"{public_url}/checkout/challenge/{keyring.return_token(account_id, uuid_of(transaction))}"


class SecureAuthentication(WireStruct):
    """The place where the browser goes for 3-D Secure, and what it takes along."""

    jwt: str
    md: str
    acs_url: str
    term_url: str


class CardAnswer(WireStruct):
    """The outcome of the charge so far."""

    status: bool
    message: str
    response_code: str
    transaction_id: str
    secure_authentication_data: SecureAuthentication | None = None


class OtpAnswer(WireStruct):
    """The outcome of the charge after the one-time password."""

    status: bool
    message: str


class TokenizedAnswer(WireStruct):
    """The outcome for an order that was opened and charged in one call."""

    status: bool
    message: str
    order_id: str
    order_reference: str


class RefundAnswer(WireStruct):
    """The outcome of a refund so far."""

    success: bool
    message: str


class CancelAnswer(WireStruct):
    """The outcome for an order that was to be cancelled, or refunded where it was paid."""

    status: str
    already_cancelled: bool
    """It was cancelled before, and this call changed nothing."""
    version: int
    refund: RefundShown | None
    """That which this call began, as far as it is known by now."""
    already_refunded: bool
    """It is paid, and of the payment nothing is left to give back."""


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
    OrderStatus.PENDING: "The attempt was cancelled or replaced by another one",
    OrderStatus.PAID: "The order was paid by another attempt",
    OrderStatus.CANCELLED: "The order was cancelled",
    OrderStatus.EXPIRED: "The order has expired",
}
_RAIL_SPEAKS: Final = frozenset({_A.APPROVED, _A.AWAITING_OTP, _A.AWAITING_3DS, _A.DECLINED})
"""Where the rail's own message is the better one; of money that goes back we know and it does not."""

_REFUND_ANSWER: Final[dict[RefundStatus, tuple[bool, str]]] = {
    RefundStatus.RUNNING: (True, "Refund is being processed"),
    RefundStatus.UNKNOWN: (True, "Refund is being processed"),
    RefundStatus.CLOSING: (True, "Refund is being processed"),
    RefundStatus.DONE: (True, "Refund processed successfully"),
    RefundStatus.REFUSED: (False, "The refund was refused"),
    RefundStatus.DISPUTED: (False, "The refund was refused"),
}

TOKENIZED_SUCCESS: Final = "SUCCESS"
_UNDECIDED: Final = frozenset({_A.CALLING, _A.UNKNOWN})
_DECLINES: Final = frozenset({_A.DECLINED, _A.FAILED})

_success: Final = Success(SUCCESS)
_tokenized_success: Final = Success(TOKENIZED_SUCCESS)


def card_reply(change: Change, transaction: str, return_url_of: ReturnUrl) -> Reply:
    """Return the answer to a charge."""
    attempt = _attempt(change, transaction)
    well, code, message = _answer_of(change, attempt)
    secure = None
    if attempt.challenge is not None:
        challenge, term_url = attempt.challenge, return_url_of(change.after.account_id, transaction)
        secure = SecureAuthentication(challenge.jwt, challenge.md, challenge.acs_url, term_url)
    return _success.reply(CardAnswer(well, message, code, transaction, secure))


def otp_reply(change: Change, transaction: str) -> Reply:
    """Return the answer to a password; a wrong one leaves the attempt waiting, so only paid is going well."""
    attempt = _attempt(change, transaction)
    _, _, message = _answer_of(change, attempt)
    return _success.reply(OtpAnswer(attempt.status is _A.APPROVED, message))


def tokenized_reply(change: Change, transaction: str) -> Reply:
    """Return the answer for a saved card: paid, being checked (ruling 22), or failed (contract 3.7)."""
    attempt, order = _attempt(change, transaction), change.after
    if attempt.status in _DECLINES:
        return TOKENIZED_CHARGE_FAILED
    well, _, message = _answer_of(change, attempt)
    if not well and attempt.status not in _UNDECIDED:
        return tokenized_charge_failed(message)
    return _tokenized_success.reply(TokenizedAnswer(well, message, order.order_id, order.reference))


def refund_reply(change: Change, refund_id: str) -> Reply:
    """Return the answer to a refund: done, running, or refused by the rail in its own words."""
    refund = whole_refund(change.after, refund_id)
    assert refund is not None
    well, text = _REFUND_ANSWER[refund.status]
    refused = refund.status is RefundStatus.REFUSED
    return _success.reply(RefundAnswer(well, (refused and refund.message) or text))


def cancel_reply(change: Change, refund_id: str = "") -> Reply:
    """Return the answer to a cancel; ``refund_id`` names the refund that it may have begun."""
    order = change.after
    refund = whole_refund(order, refund_id)
    answer = CancelAnswer(
        status=order.status.value,
        already_cancelled=change.met is OrderStatus.CANCELLED,
        version=order.version,
        refund=refund_view(order, refund) if refund else None,
        already_refunded=order.status is OrderStatus.PAID and refund is None,
    )
    return _success.reply(answer)


def _attempt(change: Change, transaction: str) -> Attempt:
    attempt = change.after.attempt(transaction)
    assert attempt is not None
    return attempt


def _answer_of(change: Change, attempt: Attempt) -> tuple[bool, str, str]:
    well, code, text = _ANSWER[attempt.status]
    message = attempt.message if attempt.status in _RAIL_SPEAKS else ""
    return well, code, message or text.format(ending=_ENDING[change.after.status])


def late_reply(refusal_http_status: int, return_url_of: ReturnUrl) -> Callable[[CallKind, str], Render]:
    """Return how a call whose caller is gone is answered, by kind and id, for its idempotency key."""
    refusals = refusal_replies(refusal_http_status)

    def reply_of(kind: CallKind, change: Change, about: str) -> Reply:
        if kind is CallKind.REFUND:
            return refund_reply(change, about)
        if kind is CallKind.CANCEL_OR_REFUND:
            return cancel_reply(change, about)
        if kind is CallKind.CONFIRM:
            return otp_reply(change, about)
        if _attempt(change, about).saved_card is not None:
            return tokenized_reply(change, about)
        return card_reply(change, about, return_url_of)

    def render_of(kind: CallKind, about: str) -> Render:
        def render(outcome: Outcome) -> Reply:
            return refusals[type(outcome)] if isinstance(outcome, Refusal) else reply_of(kind, outcome, about)

        return render

    return render_of
