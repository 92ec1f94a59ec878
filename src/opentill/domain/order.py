"""Orders, as the core knows them: frozen values, replaced and never changed in place.

All times are milliseconds since 1970 UTC; all amounts are minor units of the order's currency.
"""

from enum import StrEnum
from typing import TypeAlias

from msgspec import Struct


class OrderStatus(StrEnum):
    """The states of an order; paid and cancelled exclude each other for ever."""

    PENDING = "PENDING"
    PAID = "PAID"
    CANCELLED = "CANCELLED"
    EXPIRED = "EXPIRED"


class AttemptStatus(StrEnum):
    """The states of an attempt: of one try of a payer to pay by card."""

    CALLING = "CALLING"
    """The rail has been, or is about to be, asked; nobody knows yet what it says."""
    AWAITING_OTP = "AWAITING_OTP"
    AWAITING_3DS = "AWAITING_3DS"
    UNKNOWN = "UNKNOWN"
    """The rail did not answer in time; the worker finds out."""
    APPROVED = "APPROVED"
    DECLINED = "DECLINED"
    CANCELLED = "CANCELLED"
    VOIDING = "VOIDING"
    """The rail took money that the order does not want; it is being given back."""
    VOIDED = "VOIDED"
    FAILED = "FAILED"
    """The rail never saw the call and will refuse it should it still arrive."""


class DueAction(StrEnum):
    """The ends that an unpaid order can have at its due time."""

    EXPIRE = "expire"
    CANCEL = "cancel"


class SplitKind(StrEnum):
    """The units of a split's values (contract 8)."""

    PERCENTAGE = "PERCENTAGE"
    """Hundredths of a percent of the order's amount."""
    AMOUNT = "AMOUNT"
    """Minor units."""


class LateMoney(StrEnum):
    """The agreements on money that arrives after an order expired (ruling 17)."""

    RETURN = "return"
    ACCEPT = "accept"
    HOLD = "hold"


class CallKind(StrEnum):
    """The calls to a rail that an attempt, a refund or a return can wait for."""

    CHARGE = "charge"
    CONFIRM = "confirm"
    CHALLENGE = "challenge"
    VOID = "void"
    REFUND = "refund"
    RETURN = "return"
    CANCEL_OR_REFUND = "cancel_or_refund"
    """A refund that a cancel began, whose reply is the cancel's."""


class Method(StrEnum):
    """The ways by which money comes in; it goes back by the same."""

    CARD = "card"
    TRANSFER = "transfer"


class Disposition(StrEnum):
    """The uses that a credit is put to at the moment it is booked."""

    APPLIED = "applied"
    """It made the order PAID; what was too much of it went back."""
    HELD = "held"
    """It waits: for the rest of the amount, or on an EXPIRED order for a person."""
    EXCESS = "excess"
    """The order was paid already."""
    LATE = "late"
    """The order had ended unpaid."""


class ReturnKind(StrEnum):
    """The reasons to send money of a credit away again."""

    LATE = "late"
    EXCESS = "excess"
    HELD = "held"
    """It waited for the rest of the amount, or for a person, and is not wanted any more."""
    ATTACHED = "attached"
    """A person attached the credit to another order: it leaves this one and goes to no bank."""


class ReturnStatus(StrEnum):
    """The states of a return. Its money counts as returning until it is DONE."""

    DUE = "DUE"
    """To be sent; nobody is sending it at this moment."""
    RUNNING = "RUNNING"
    """The rail has been, or is about to be, asked under the return's one id."""
    UNKNOWN = "UNKNOWN"
    """The rail did not answer in time; the worker asks about the same id until it does."""
    PARKED = "PARKED"
    """The rail refused it as often as it was to be tried; a person retries or settles it."""
    DONE = "DONE"
    CLOSING = "CLOSING"
    """The rail refused it for good beside a try that was never answered; it is asked to close the id."""
    DISPUTED = "DISPUTED"
    """A person had settled it by hand, and the rail paid it all the same: the money went out twice."""


class RefundStatus(StrEnum):
    """The states of a refund. All but refused ones count against what may be refunded."""

    RUNNING = "RUNNING"
    """The rail has been, or is about to be, asked under the refund's one id."""
    UNKNOWN = "UNKNOWN"
    """A try was not answered in time; the worker asks about the same id until it knows."""
    DONE = "DONE"
    REFUSED = "REFUSED"
    CLOSING = "CLOSING"
    """The rail refused it beside a try that was not answered; it is asked to close the id."""
    DISPUTED = "DISPUTED"
    """It had been refused for good, and the rail paid it all the same."""


class RailCall(Struct, frozen=True):
    """The intention of one call to the rail, committed before the call is made."""

    kind: CallKind
    until: int
    """Real time after which the caller is taken for dead and a worker may look the call up."""
    key: str | None = None
    """The idempotency key whose stored reply the answer of this call completes."""


class Challenge(Struct, frozen=True):
    """The place where the payer's browser proves to its bank who it is, and with what (contract 3.8)."""

    acs_url: str
    jwt: str
    md: str


class Attempt(Struct, frozen=True):
    """One try of a payer to pay an order by card."""

    transaction_id: str
    status: AttemptStatus
    amount: int
    card_masked: str
    """First six and last four digits; the whole number is never kept."""
    card_brand: str
    started_at: int
    updated_at: int
    call: RailCall | None = None
    confirmations: int = 0
    """How often the payer has gone on with it: passwords sent and challenges returned from."""
    otp_sends: int = 0
    """How often the payer asked for the password to be sent again."""
    save_card: bool = False
    """Whether the payer wants the card kept for next time."""
    saved_card: str | None = None
    """The payment whose saved card is charged; None where a card was entered."""
    challenge: Challenge | None = None
    """Given while the attempt waits for 3-D Secure."""
    response_code: str = ""
    """The rail's code for its last answer; empty while there is none."""
    message: str = ""


class Refund(Struct, frozen=True):
    """One order of the merchant to give paid money back; it has one id for life, sent on every try."""

    refund_id: str
    transaction_id: str
    """The payment that it gives back."""
    amount: int
    status: RefundStatus
    account_number: str | None
    """The bank account to pay to; None for the card that paid."""
    bank_code: str | None
    started_at: int
    updated_at: int
    whole_id: str
    """The id of the refund that the merchant asked for, of which this is a part or all: its first part's."""
    whole_amount: int | None
    """What that refund gives back in all its parts; None for one from before this was kept."""
    call: RailCall | None = None
    response_code: str = ""
    message: str = ""
    from_credit: str | None = None
    """The transactionId of the credit whose money goes back to its sender; None for one account or card."""


class Sender(Struct, frozen=True):
    """The sender of a transfer, as far as the bank said; empty for what it did not say."""

    name: str = ""
    account_number: str = ""
    bank_code: str = ""


class Credit(Struct, frozen=True):
    """Money that arrived by one bank transfer; ``amount = applied + held + what its return sends away``."""

    transaction_id: str
    """Its name for merchants; the payment's, if this credit made the order PAID (ruling 19)."""
    rail: str
    """Which bank told us; with ``session_id`` it names the transfer."""
    session_id: str
    account_number: str
    """The virtual account that it was paid to."""
    amount: int
    sender: Sender
    transferred_at: int
    """The bank's time of the transfer, at the latest ``arrived_at``."""
    arrived_at: int
    disposition: Disposition
    narration: str = ""
    applied: int = 0
    held: int = 0


class Return(Struct, frozen=True):
    """Money of one credit on its way out, never applied. A credit has one return at the most.

    Its id for life, sent on every try, is that of the credit (``names.return_id``).
    """

    transaction_id: str
    """The credit whose money it is."""
    kind: ReturnKind
    amount: int
    status: ReturnStatus
    started_at: int
    updated_at: int
    tries: int = 0
    """How often the rail has refused it, since a person last retried it."""
    call: RailCall | None = None
    """When a worker may next see to it (real time); None for one that is PARKED or DONE."""
    bank_reference: str = ""
    """Under which the money left, as a person told who settled it by hand."""
    unanswered: bool = False
    """Whether a try of its id was left unanswered, so that no refusal alone says that it will not be paid."""
    response_code: str = ""
    message: str = ""


class Totals(Struct, frozen=True):
    """The money of one order; ``received = applied + held + returning + returned`` at every moment."""

    received: int = 0
    applied: int = 0
    """What pays for the order."""
    held: int = 0
    """Partial money that waits for the rest."""
    returning: int = 0
    """On its way back, never applied."""
    returned: int = 0
    refunded: int = 0
    """Given back of what was applied, running refunds included; never more than applied."""

    def balanced(self) -> bool:
        """Tell if every received kobo is accounted for and no more was refunded than applied."""
        return (
            self.received == self.applied + self.held + self.returning + self.returned
            and 0 <= self.refunded <= self.applied
            and min(self.applied, self.held, self.returning, self.returned) >= 0
        )


NO_MONEY = Totals()
"""Nothing has come yet."""


class Split(Struct, frozen=True):
    """An agreement to share a payment between accounts of the merchant (contract 8)."""

    kind: SplitKind
    shares: tuple[tuple[str, int], ...]
    """Account id and value, in the order that the merchant gave."""


Shares: TypeAlias = tuple[tuple[str, int], ...]
"""Account ids and amounts in minor units, each above zero."""


class Parts(Struct, frozen=True):
    """The parts of an amount that are not its beneficiary's."""

    fee: int = 0
    """What the payment costs the merchant."""
    shares: Shares = ()


WHOLE = Parts()
"""All of it is the beneficiary's."""


class Order(Struct, frozen=True):
    """Everything about an order that a decision may need."""

    account_id: str
    order_id: str
    reference: str
    """The merchant's own name for the order, unique per merchant for ever."""
    status: OrderStatus
    version: int
    """How many events the order has; the last one's sequence."""
    amount: int
    currency: str
    sub_account_id: str | None
    created_at: int
    updated_at: int
    due_at: int | None = None
    due_action: DueAction = DueAction.EXPIRE
    late_money: LateMoney = LateMoney.RETURN
    tokenize_card: bool = False
    """Whether the merchant wants a token for the card that pays (contract 8)."""
    paid_at: int | None = None
    cancelled_at: int | None = None
    expired_at: int | None = None
    paid_by: str | None = None
    """The transactionId of the payment that made the order PAID."""
    attempt_count: int = 0
    refund_count: int = 0
    totals: Totals = NO_MONEY
    attempts: tuple[Attempt, ...] = ()
    refunds: tuple[Refund, ...] = ()
    credit_count: int = 0
    """How many credits there are; an order without any has no returns either."""
    credits: tuple[Credit, ...] = ()
    """In the order in which they arrived."""
    returns: tuple[Return, ...] = ()
    split: Split | None = None
    """As agreed; a payment of it has its shares in ``parts``."""
    parts: Parts = WHOLE
    """What was booked with the payment: the fee, and who shared in it."""

    @property
    def beneficiary(self) -> str:
        """Return the account, parent or sub-account, that is credited; it gets what is nobody else's part."""
        return self.sub_account_id or self.account_id

    @property
    def disputed(self) -> int:
        """Return what rails paid out beyond what was owed."""
        refunds = sum(r.amount for r in self.refunds if r.status is RefundStatus.DISPUTED)
        return refunds + sum(r.amount for r in self.returns if r.status is ReturnStatus.DISPUTED)

    def attempt(self, transaction_id: str) -> Attempt | None:
        """Return the attempt of this id, or None."""
        return next((a for a in self.attempts if a.transaction_id == transaction_id), None)

    def refund(self, refund_id: str) -> Refund | None:
        """Return the refund of this id, or None."""
        return next((r for r in self.refunds if r.refund_id == refund_id), None)

    def credit(self, transaction_id: str) -> Credit | None:
        """Return the credit of this id, or None."""
        return next((c for c in self.credits if c.transaction_id == transaction_id), None)

    def return_of(self, transaction_id: str) -> Return | None:
        """Return the return of this credit's money, or None."""
        return next((r for r in self.returns if r.transaction_id == transaction_id), None)


class Terms(Struct, frozen=True):
    """The terms agreed when the order was created; nothing of them ever changes or decides a state."""

    customer_email: str
    customer_id: str | None = None
    callback_url: str | None = None
    allowed_payment_methods: tuple[str, ...] = ()
    metadata: tuple[tuple[str, str], ...] = ()


# --- what a paid card leaves behind (contract 3.7, 8) ------------------------------------------------


class KeptCard(Struct, frozen=True):
    """The means to charge a card again, as the rail told them with its approval; both tokens sealed.

    Never the card's number: the rail has that, and its token is of use to nobody but us.
    """

    token_key_hash: str
    """Keyed digest, by which the merchant's token key is found again."""
    token_key_sealed: str
    """The token key that the merchant charges by."""
    rail_token_sealed: str
    """The token that the rail charges by."""
    expiry: str
    """The card's own expiry as ``MM/YY``."""


class SavedCard(Struct, frozen=True):
    """A card that paid for an order and was to be kept, by the wish of the merchant or of the payer."""

    account_id: str
    transaction_id: str
    """The payment that it comes of; a payment leaves at most one."""
    order_id: str
    kept: KeptCard
    card_masked: str
    card_brand: str
    tokenized: bool
    """True if the merchant asked for it when the order was created, and so may charge it at once.

    Otherwise the payer alone asked, and has to confirm it with a one-time password first.
    """
    created_at: int
