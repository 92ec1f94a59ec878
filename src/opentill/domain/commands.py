"""Commands: all that can be asked of an order. One says what is wanted and by whom, never how it ends."""

from enum import StrEnum
from typing import TypeAlias

from msgspec import Struct

from opentill.domain.order import Challenge, DueAction, KeptCard, LateMoney, Sender, Split, Terms


class ActorKind(StrEnum):
    """The kinds of who is behind a command."""

    API_KEY = "api_key"
    OPEN_SANDBOX = "open_sandbox"
    PAYER = "payer"
    RAIL = "rail"
    WORKER = "worker"
    OPERATOR = "operator"


class Actor(Struct, frozen=True):
    """The one behind a command; ``id`` is the client id where there is one."""

    kind: ActorKind
    id: str = ""


class _Asked(Struct, frozen=True, kw_only=True):
    """The part that all commands share: on whose account, under which id, by whom.

    ``command_id`` is a UUID, fixed before the first try; it also fixes the ids of the events.
    """

    account_id: str
    command_id: str
    actor: Actor


class CreateOrder(_Asked, frozen=True, kw_only=True):
    """Open a new order under a reference that this merchant has never used."""

    order_id: str
    reference: str
    amount: int
    currency: str
    terms: Terms
    sub_account_id: str | None = None
    due_at: int | None = None
    due_action: DueAction = DueAction.EXPIRE
    late_money: LateMoney = LateMoney.RETURN
    tokenize_card: bool = False
    split: Split | None = None


class ChargeSavedCard(CreateOrder, frozen=True, kw_only=True):
    """Open a new order and, in the same change, record the intention to charge a saved card for it."""

    transaction_id: str
    saved_card: str | None
    """The payment that left the card; None where the merchant has no such card, so that this is refused."""
    card_masked: str
    card_brand: str
    call_until: int
    reply_key: str | None = None


class _OfOrder(_Asked, frozen=True, kw_only=True):
    """A command on an order that exists; ``name`` is its reference or its order id (ruling 7)."""

    name: str


class _OfTransaction(_Asked, frozen=True, kw_only=True):
    """A command on the order that this transaction tried to pay."""

    transaction_id: str


class CancelOrder(_OfOrder, frozen=True, kw_only=True):
    """End an order that has not been paid."""

    reason: str | None = None
    note: str | None = None
    metadata: tuple[tuple[str, str], ...] = ()
    """What the merchant wants to find with the event of the cancel."""
    if_version: int | None = None
    """The version that the order must still have; None for any."""


class EnsureCancelled(CancelOrder, frozen=True, kw_only=True):
    """End an order that has not been paid; one that is cancelled is left as it is."""


class CancelOrRefund(CancelOrder, frozen=True, kw_only=True):
    """End an order as EnsureCancelled does; of one that is paid, give back what is left of it."""

    refund_id: str
    """Of the refund that this may begin; the rail is asked after that is committed."""
    call_until: int
    reply_key: str | None = None


class ExpireOrder(_OfOrder, frozen=True, kw_only=True):
    """Carry out what is due: expire the order, or cancel it where it asked for that."""


class BeginAttempt(_OfOrder, frozen=True, kw_only=True):
    """Record the intention to charge a card; the rail is called after this is committed."""

    transaction_id: str
    card_masked: str
    card_brand: str
    call_until: int
    max_attempts: int
    save_card: bool = False
    """Whether the payer wants the card kept for next time."""
    reply_key: str | None = None
    """The idempotency key whose reply is completed by the rail's answer."""


class SubmitOtp(_OfOrder, frozen=True, kw_only=True):
    """Record the intention to confirm an attempt with the payer's one-time password."""

    transaction_id: str
    call_until: int
    reply_key: str | None = None


class ResendOtp(_OfOrder, frozen=True, kw_only=True):
    """Note that the payer's one-time password is to be sent again; the rail sends it after the commit."""

    max_otp_sends: int


class ReturnFromChallenge(_OfTransaction, frozen=True, kw_only=True):
    """Record the intention to ask the rail how the payer's 3-D Secure challenge ended."""

    call_until: int


class CancelAttempt(_OfTransaction, frozen=True, kw_only=True):
    """End one attempt; the order stays payable, and an approval that still comes is voided."""


class RailOutcome(StrEnum):
    """The answers of a rail about an attempt, silence included."""

    APPROVED = "approved"
    DECLINED = "declined"
    OTP_REQUIRED = "otp_required"
    CHALLENGE_REQUIRED = "challenge_required"
    OTP_REJECTED = "otp_rejected"
    SILENT = "silent"
    NEVER_HAPPENED = "never_happened"
    """The rail took nothing and will refuse the call should it still arrive."""
    VOIDED = "voided"
    """The rail took the money and has given it back."""


class SettleAttempt(_OfOrder, frozen=True, kw_only=True):
    """Record what the rail answered; accepted in every state of the attempt and of the order."""

    transaction_id: str
    outcome: RailOutcome
    answers_try: int
    """Which call is answered: 0 for the charge, n for what followed the payer's n-th confirmation."""
    response_code: str
    message: str
    call_until: int
    """Until when a void that this answer makes necessary belongs to its caller."""
    max_otp_tries: int
    challenge: Challenge | None = None
    """Given with CHALLENGE_REQUIRED."""
    kept_card: KeptCard | None = None
    """Given with APPROVED where the rail was asked to keep the card."""


class BeginRefund(_OfTransaction, frozen=True, kw_only=True):
    """Record the intention to give paid money back; the rail is asked after this is committed."""

    refund_id: str
    amount: int | None
    """Minor units; None for all that is left."""
    account_number: str | None = None
    bank_code: str | None = None
    call_until: int
    reply_key: str | None = None


class RefundOutcome(StrEnum):
    """The answers of a rail about a refund or a return, silence included."""

    DONE = "done"
    REFUSED = "refused"
    SILENT = "silent"
    CLOSED = "closed"
    """Nothing was paid under the id, and the rail refuses it for ever: the answer to ``close``."""


class SettleRefund(_OfTransaction, frozen=True, kw_only=True):
    """Record what the rail answered about a refund."""

    refund_id: str
    outcome: RefundOutcome
    response_code: str
    message: str
    keeps_key: bool = False
    """With SILENT: that the refund's key is not answered by this, for whoever asked is gone."""


class TimeDoubt(StrEnum):
    """The reasons for which a bank's time counts as absent, as the event of the credit notes them."""

    NO_HOLDER = "nobody had the account number at the bank's time, so the arrival counts"
    BEFORE_ORDER = "the bank's time is before the order was made, so the arrival counts"
    AFTER_ARRIVAL = "the bank's time is after the arrival, so the arrival counts"


class ReceiveCredit(_OfOrder, frozen=True, kw_only=True):
    """Book a bank transfer that arrived; accepted in every state, and once for each transaction id.

    Refused only where its currency is not the order's: then it is money of the suspense account.
    """

    transaction_id: str
    rail: str
    session_id: str
    account_number: str
    amount: int
    currency: str
    sender: Sender
    transferred_at: int | None
    """The bank's time of the transfer; None where it did not say."""
    arrived_at: int
    """Business time at which the advice was written down."""
    narration: str = ""
    time_doubt: TimeDoubt | None = None
    """Why the bank's time counts as absent, where more than the order is needed to know it."""
    unusable_time: str = ""
    """The bank's time as it was written, where it can not be used; then ``transferred_at`` is None."""


class AcceptCredit(_OfTransaction, frozen=True, kw_only=True):
    """Let money that an EXPIRED order holds pay for it, by a person's decision; at least the whole amount."""


class ReturnCredit(_OfTransaction, frozen=True, kw_only=True):
    """Send money that an EXPIRED order holds back to where it came from, by a person's decision."""


class AttachCredit(_OfTransaction, frozen=True, kw_only=True):
    """Give money that an EXPIRED order holds to another order, which receives it; a person's decision."""

    attached_to: str
    """The other order as books show it: ``<account id>/<order id>``."""


class BeginReturn(_OfTransaction, frozen=True, kw_only=True):
    """Record the intention of one try to send a credit's money back; the rail is asked after the commit."""

    now: int
    """Real time: a return that somebody has until later is left to them."""
    call_until: int


class SettleReturn(_OfTransaction, frozen=True, kw_only=True):
    """Record what the rail answered to one try of a return."""

    outcome: RefundOutcome
    answers_until: int
    """``call_until`` of the try that is answered: that money is gone counts always, all else for this try."""
    response_code: str
    message: str
    try_again_at: int
    """Real time of the next try, should this one have been refused or have had no answer."""
    max_tries: int
    """After so many refused tries the return is left to a person."""


class RetryReturn(_OfTransaction, frozen=True, kw_only=True):
    """Have a parked return tried again, as often as a new one, by a person's decision."""


class SettleReturnByHand(_OfTransaction, frozen=True, kw_only=True):
    """Note that a person has sent the money back outside, after the rail has closed the return's id."""

    bank_reference: str


OrderCommand: TypeAlias = (
    CancelOrder
    | EnsureCancelled
    | CancelOrRefund
    | ExpireOrder
    | BeginAttempt
    | SubmitOtp
    | ResendOtp
    | SettleAttempt
    | ReceiveCredit
)
"""Every command on an order that exists, which it names by its reference or its order id."""

TransactionCommand: TypeAlias = (
    ReturnFromChallenge
    | CancelAttempt
    | BeginRefund
    | SettleRefund
    | AcceptCredit
    | ReturnCredit
    | AttachCredit
    | BeginReturn
    | SettleReturn
    | RetryReturn
    | SettleReturnByHand
)
"""Every command on the order of a transaction, which it names."""

Command: TypeAlias = CreateOrder | ChargeSavedCard | OrderCommand | TransactionCommand
"""Every command that there is: ``decide`` has a case for each, or does not pass the type checker."""
