"""Orders and money as the store keeps them: what a batch of the engine does, and what a snapshot reads.

They change only inside a ``Batch``. The engine opens it; ``api.http.idempotency`` opens batches too, for
idempotency keys alone.
"""

from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol, TypeAlias

from opentill.clock import certain
from opentill.domain.events import Event
from opentill.domain.order import Attempt, Credit, Order, SavedCard, Terms
from opentill.domain.transition import Change

# --- names and keys -------------------------------------------------------------------------------

Name: TypeAlias = tuple[str, str]
"""(account id, reference or order id)."""


@dataclass(frozen=True, slots=True)
class TokenId:
    """Identifies one access token: its parent account and its ``jti``."""

    account_id: str
    jti: str
    until: int | None = field(default=None, compare=False)
    """When it ends, in business time; None where that does not matter."""


@dataclass(frozen=True, slots=True)
class KeyClaim:
    """A request that wants to be the only one carried out under its idempotency key."""

    account_id: str
    key: str
    fingerprint: str
    """Keyed digest of method, path and body, in hex."""
    command_id: str


@dataclass(frozen=True, slots=True)
class StoredReply:
    """A reply as it is kept under an idempotency key, and given back byte for byte.

    What the three values mean is the business of whoever renders them.
    """

    status: int
    reason: str
    body: bytes
    """UTF-8."""


@dataclass(frozen=True, slots=True)
class KeyRecord:
    """A record under an idempotency key; no reply yet means that it is still running."""

    account_id: str
    key: str
    fingerprint: str
    command_id: str
    reply: StoredReply | None


@dataclass(frozen=True, slots=True)
class CommitMarker:
    """One thing a batch wrote, by which a later transaction can tell whether that batch committed."""

    account_id: str
    order_id: str | None
    sequence: int
    event_id: str
    key: str | None = None
    """Instead of an event: an idempotency key, answered by the command of this ``event_id``."""


@dataclass(frozen=True, slots=True)
class Facts:
    """The facts that one batch, or one group of reads, must know of the world at its own moment."""

    clock_offset: int
    """Milliseconds to add to real time for business time; 0 in live mode."""
    dead_tokens: frozenset[TokenId]
    """Those of the tokens asked about that are revoked or unknown."""
    seen_at: int | None = None
    """The last real time that servers have seen; None before the first, and in a sandbox."""

    def certain(self, now: int) -> int:
        """Return up to when time has certainly come, at real time ``now``; by it things end for good.

        A clock far ahead of all that was seen may be wrong (laws 7). Until a person has said that it is not,
        what was to end after the last seen time has not ended yet.
        """
        return certain(now, self.seen_at)

    def due_by(self, now: int) -> int:
        """Return the business time up to which what is due has fallen due, at real time ``now``."""
        return self.certain(now) + self.clock_offset

    def refuse(self, token: TokenId | None, now: int) -> bool:
        """Say whether a token that was asked about is dead, or over, in business time, at real time ``now``.

        The clock's offset is this transaction's own, so that a clock moved on any process counts at once.
        """
        if token is None:
            return False
        over = token.until is not None and token.until <= now + self.clock_offset
        return over or token in self.dead_tokens


# --- what is read ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class OrderView:
    """An order as it is shown: its state, its attempts and what was agreed."""

    order: Order
    terms: Terms
    has_saved_cards: bool = False
    """Whether its customer has confirmed cards at this merchant."""
    saved_card: SavedCard | None = None
    """What a payment left, where that is told."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderFilter:
    """A merchant's orders that are wanted; None means any. Times are UTC milliseconds."""

    account_id: str
    name: str | None = None
    """A reference or an order id."""
    statuses: frozenset[str] | None = None
    customer_email: str | None = None
    customer_id: str | None = None
    created_from: int | None = None
    """Inclusive."""
    created_before: int | None = None
    """Exclusive."""
    behind: tuple[int, str] | None = None
    """The (created_at, order id) at which the page before ended."""
    limit: int = 50


@dataclass(frozen=True, slots=True)
class OrderPage:
    """Orders without what belongs to them, newest first."""

    views: list[OrderView]
    end: tuple[int, str] | None
    """Behind which to go on; None when there is nothing more."""


class TransferState(StrEnum):
    """The state of a transfer's money, as far as lists of transactions go."""

    PAID = "paid"
    """It paid for the order, or for a part of it."""
    HELD = "held"
    """It waits: for the rest of the amount, or for a person."""
    SENT_BACK = "sent_back"
    """It is back with its sender, or on its way there."""

    @classmethod
    def of(cls, credit: Credit) -> "TransferState":
        """Return the state of this transfer."""
        if credit.applied:
            return cls.PAID
        return cls.HELD if credit.held else cls.SENT_BACK


@dataclass(frozen=True, slots=True)
class TransactionView:
    """One try to pay an order, by card or by transfer, together with that order.

    Of what belongs to the order only this payment, and the return of a transfer, is read.
    """

    payment: Attempt | Credit
    order: Order
    terms: Terms
    wholly_refunded: bool
    """Whether it paid the order and all of that is back; a refund that is still running is not back."""

    @property
    def transaction_id(self) -> str:
        """Return what merchants call it."""
        return self.payment.transaction_id

    @property
    def began_at(self) -> int:
        """Return when the attempt was started, or the transfer arrived; lists are in this order."""
        payment = self.payment
        return payment.started_at if isinstance(payment, Attempt) else payment.arrived_at


@dataclass(frozen=True, slots=True, kw_only=True)
class TransactionFilter:
    """A merchant's transactions that are wanted; None means any. Times are UTC milliseconds, inclusive."""

    account_id: str
    sub_account_id: str | None = None
    transaction_ids: tuple[str, ...] = ()
    """All must match: two different ids find nothing."""
    order_names: tuple[str, ...] = ()
    """References or order ids; all must match."""
    statuses: frozenset[str] | None = None
    """Attempt statuses of the domain and transfer states; a payment wholly refunded has none of them."""
    wholly_refunded: bool = False
    """With ``statuses``: whether payments that were wholly refunded are wanted too."""
    started_from: int | None = None
    started_before: int | None = None
    """Itself not included."""
    before: tuple[int, str] | None = None
    """The (began_at, transaction id) of the last one already shown."""
    limit: int = 50


@dataclass(frozen=True, slots=True)
class Balance:
    """The sums booked on one ledger account in one currency; minor units, both sides positive."""

    ledger_account: str
    currency: str
    debit: int
    credit: int


@dataclass(frozen=True, slots=True)
class Versions:
    """The versions of some orders, as of one moment."""

    clock_offset: int
    """As in ``Facts``."""
    of: Mapping[Name, int]
    """By (account id, order id); orders that do not exist are left out."""


# --- transactions ---------------------------------------------------------------------------------


class Batch(Protocol):
    """One write transaction of the engine. Leaving it without ``commit`` rolls everything back.

    The verbs are called in the order in which they stand here (laws 1); each is one statement per table,
    whatever the number of commands.
    """

    def facts(self, tokens: Collection[TokenId]) -> Facts:
        """Read the clock's offset and which of the tokens are dead, as of this transaction."""

    def orders_of_transactions(self, transactions: Collection[Name]) -> Mapping[Name, Name]:
        """Find the (account, order id) behind each (account, transaction id); unknown ones are left out.

        An immutable fact, so no lock is needed for it.
        """

    def lock_orders(self, names: Collection[Name]) -> Collection[Order]:
        """Lock and load the orders of these names with all that belongs to them; unknown ones are left out.

        A name is a reference or an order id (contract 3.2). An order comes once, and each child of it once,
        however many of the names are its own.
        """

    def saved_cards(self, payments: Collection[Name]) -> Collection[Name]:
        """Return those of these (account, transaction id) whose payments left a card that can be charged.

        Whoever deletes one of these cards waits until this transaction has ended.
        """

    def keys(self, names: Collection[Name], now: int) -> Mapping[Name, KeyRecord]:
        """Read what stands under these (account, key); a record past its expiry counts as absent.

        Asked for behind the locks: whoever carried out the same request has written its key by then, or waits
        for us.
        """

    def write(self, changes: Sequence[Change]) -> None:
        """Write orders, what belongs to them, saved cards, events and ledger entries; one change per order.

        Raises Transient when an order is no longer at the version that was judged, or a new order's
        reference was taken meanwhile: the batch must be decided again.
        """

    def write_keys(self, records: Collection[KeyRecord], now: int, expires_at: int) -> None:
        """Write idempotency keys with the replies of their commands; one without a reply is running.

        Raises Transient when somebody else wrote one of them meanwhile: the batch must be decided again.
        """

    def store_replies(self, replies: Mapping[Name, StoredReply]) -> None:
        """Complete running idempotency keys by (account, key); keys already completed stay as they are."""

    def claim_keys(self, claims: Sequence[KeyClaim], now: int, expires_at: int) -> Mapping[Name, KeyRecord]:
        """Claim idempotency keys; returns, by (account, key), the records that others hold already.

        A key that is not in the answer is claimed by us, running. A record past its expiry counts as absent.
        For work that is no command: the engine's keys are written with their replies.
        """

    def contains(self, marker: CommitMarker) -> bool:
        """Return whether what the marker names was committed earlier.

        True counts once this batch has been committed as well.
        """

    def commit(self) -> None:
        """Make it a fact. Raises CommitUnknown when the answer to COMMIT was lost."""


class Snapshot(Protocol):
    """One read transaction: every verb sees the same moment."""

    def facts(self, tokens: Collection[TokenId]) -> Facts:
        """Read what ``Batch.facts`` reads, as of this moment."""

    def orders(self, names: Collection[Name]) -> Mapping[Name, OrderView]:
        """Load the orders of these names with all that belongs to them; unknown names are left out."""

    def versions(self, orders: Collection[Name]) -> Versions:
        """Read how far the orders of these (account id, order id) have come; one statement for all."""

    def order_of_transaction(self, account_id: str, transaction_id: str) -> OrderView | None:
        """Load the order that this attempt or credit belongs to."""

    def order_of_session(self, account_id: str, session_id: str) -> OrderView | None:
        """Load the merchant's order that the transfer of this session id was booked on."""

    def held_credits(self, limit: int) -> list[OrderView]:
        """List expired orders of all merchants, and of the house, that hold money; longest held first."""

    def open_returns(self, limit: int) -> list[OrderView]:
        """List orders of all merchants, and of the house, with money on its way back; oldest first."""

    def transactions(self, wanted: TransactionFilter) -> list[TransactionView]:
        """List transactions, newest first, at most ``wanted.limit``."""

    def list_orders(self, wanted: OrderFilter) -> OrderPage:
        """List one page of the wanted orders, at most ``wanted.limit``.

        A page looks at a bounded number of orders; where few of them are wanted, it ends before it is full.
        """

    def overdue_calls(self, now: int, limit: int) -> list[OrderView]:
        """List orders with an attempt, refund or return whose rail call ran past its ``until``; real time."""

    def events(self, account_id: str, order_id: str) -> list[Event]:
        """List all that happened to this order, in its sequence; empty for an unknown one."""

    def trial_balance(self, account_id: str) -> list[Balance]:
        """Sum what was booked for this merchant, by ledger account and currency."""

    def due_orders(self, now: int, limit: int) -> list[Name]:
        """Name pending orders due at ``now`` (business time) by (account, reference), longest due first."""

    def first_due_at(self) -> int | None:
        """Say when the first of all pending orders falls due, or fell due; None where none ever does."""


class Orders(Protocol):
    """Open the two kinds of transaction on orders and money."""

    def batch(self) -> AbstractContextManager[Batch]:
        """Open the one write transaction of this process; raises Transient when the turn does not come."""

    def snapshot(self) -> AbstractContextManager[Snapshot]:
        """Open a read transaction."""
