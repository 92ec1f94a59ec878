"""The working set of one commit (pure): what was loaded, what has been decided, what must be written.

Commands are decided one after another in memory, and each sees the effect of those before it, by
reference, by order id and by idempotency key.
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import replace
from typing import TypeAlias

from msgspec import Struct, structs

from opentill.domain.commands import ChargeSavedCard, Command, CreateOrder, OrderCommand, TransactionCommand
from opentill.domain.decisions import create, decide
from opentill.domain.order import Order
from opentill.domain.refusals import (
    IdempotencyKeyInProgress,
    IdempotencyKeyReused,
    RecordNotFound,
    Refusal,
    TokenRevoked,
)
from opentill.domain.sharing import NO_FEE, FeeTerms
from opentill.domain.transition import Change
from opentill.store.orders.contract import (
    CommitMarker,
    Facts,
    KeyClaim,
    KeyRecord,
    Name,
    StoredReply,
    TokenId,
)

Outcome: TypeAlias = Change | Refusal
Render: TypeAlias = Callable[[Outcome], StoredReply | None]
"""Turns an outcome into the reply that is sent and stored; pure. None: a later command brings it."""


class Submission(Struct, frozen=True):
    """A command with what surrounds it: who sent it, under which key, and how its answer looks."""

    command: Command
    render: Render | None = None
    claim: KeyClaim | None = None
    token: TokenId | None = None
    completes_key: str | None = None
    """An idempotency key claimed by an earlier command, whose reply this command brings."""

    @property
    def name(self) -> Name | None:
        """Return the order that the command is about; None where it names a transaction instead."""
        command = self.command
        if isinstance(command, OrderCommand):
            return command.account_id, command.name
        return (command.account_id, command.reference) if isinstance(command, CreateOrder) else None

    @property
    def saved_card(self) -> Name | None:
        """Return the payment that left the saved card which the command charges; None where there is none."""
        command = self.command
        if isinstance(command, ChargeSavedCard) and command.saved_card is not None:
            return command.account_id, command.saved_card
        return None

    @property
    def transaction(self) -> Name | None:
        """Return the transaction whose order the command is about; None where it names none."""
        command = self.command
        if isinstance(command, TransactionCommand):
            return command.account_id, command.transaction_id
        return None


class Result(Struct, frozen=True):
    """The end of a submission. ``outcome`` is None when an earlier reply is given again."""

    outcome: Outcome | None
    reply: StoredReply | None = None
    replayed: bool = False


class WorkingSet:
    """The orders, transactions and keys that one commit touches, indexed by the names that commands use.

    ``real_time`` is UTC milliseconds; commands are judged by business time, which ``facts`` tells from it.
    """

    def __init__(
        self,
        facts: Facts,
        keys: Mapping[Name, KeyRecord],
        transactions: Mapping[Name, Name],
        orders: Iterable[Order],
        real_time: int,
        fee: FeeTerms = NO_FEE,
        saved_cards: Collection[Name] = (),
    ):
        self._facts = facts
        self._fee = fee
        self.real_time = real_time
        self._at = real_time + facts.clock_offset
        self._saved_cards = saved_cards
        self.certain_time = facts.certain(real_time)
        """Up to when real time has certainly come: idempotency keys are forgotten by it."""
        self._due_by = facts.due_by(real_time)
        self._keys = dict(keys)
        self._transactions = dict(transactions)
        self._orders: dict[Name, Order] = {}
        """By (account, order id): each order once, whatever the commands call it by."""
        self._references: dict[Name, Name] = {}
        for order in orders:
            self._index(order)
        self._changes: dict[Name, Change] = {}
        self.new_keys: dict[Name, KeyRecord] = {}
        """Idempotency keys that were used here first; one without a reply gets it from a later command."""
        self.replies: dict[Name, StoredReply] = {}
        """The replies of keys that earlier commits left running."""

    def _index(self, order: Order) -> Name:
        by_id = (order.account_id, order.order_id)
        self._orders[by_id] = order
        for attempt in order.attempts:
            self._transactions[order.account_id, attempt.transaction_id] = by_id
        for credit in order.credits:
            self._transactions[order.account_id, credit.transaction_id] = by_id
        self._references[order.account_id, order.reference] = by_id
        return by_id

    @property
    def changes(self) -> list[Change]:
        """Return one change per order: from what was loaded to what it has become."""
        return list(self._changes.values())

    def commit_marker(self) -> CommitMarker | None:
        """Return something this commit writes by which it can be found later; None if it writes nothing.

        An order that was there before is preferred: whoever looks for it waits until this commit has ended.
        """
        for change in sorted(self._changes.values(), key=lambda change: change.before is None):
            event = change.events[-1]
            return CommitMarker(event.account_id, event.order_id, event.sequence, event.event_id)
        for key in self.new_keys.values():
            return CommitMarker(key.account_id, None, 0, key.command_id, key.key)
        return None

    def decide(self, submission: Submission) -> Result:
        """Carry out one command in memory and render its reply; a refusal is an outcome too."""
        if self._facts.refuse(submission.token, self.real_time):
            return _refused(submission, TokenRevoked())
        claim = submission.claim
        if claim is not None and (record := self._keys.get((claim.account_id, claim.key))):
            return _repeated(submission, claim, record)
        outcome = self._outcome(submission)
        reply = submission.render(outcome) if submission.render else None
        if claim is not None:
            self._keep_key(claim, reply)
        elif reply is not None:
            self._keep_reply(submission, outcome, reply)
        return Result(outcome, reply)

    def _outcome(self, submission: Submission) -> Outcome:
        try:
            change = self._decide(submission)
        except Refusal as refusal:
            return refusal.with_traceback(None)
        if change.events:
            self._keep(change)
        return change

    def _decide(self, submission: Submission) -> Change:
        by_id = self._order_of(submission)
        command = submission.command
        if isinstance(command, CreateOrder):
            return create(self._with_card(submission), self._at, taken=by_id is not None)
        if by_id is None:
            raise RecordNotFound
        return decide(self._orders[by_id], command, self._at, self._fee, self._due_by)

    def _with_card(self, submission: Submission) -> CreateOrder:
        """Return the command, without the saved card where that was deleted since the caller looked."""
        command = submission.command
        assert isinstance(command, CreateOrder)
        if isinstance(command, ChargeSavedCard) and submission.saved_card not in self._saved_cards:
            return structs.replace(command, saved_card=None)
        return command

    def _order_of(self, submission: Submission) -> Name | None:
        """Return the order's key: a name is tried as a reference, then as an order id (contract 3.2)."""
        if submission.transaction is not None:
            return self._transactions.get(submission.transaction)
        name = submission.name
        return self._references.get(name, name if name in self._orders else None) if name else None

    def _keep(self, change: Change) -> None:
        by_id = self._index(change.after)
        earlier = self._changes.get(by_id)
        if earlier is not None:
            change = Change(
                before=earlier.before,
                after=change.after,
                events=earlier.events + change.events,
                terms=earlier.terms,
                saved_card=change.saved_card or earlier.saved_card,
            )
        self._changes[by_id] = change

    def _keep_key(self, claim: KeyClaim, reply: StoredReply | None) -> None:
        name = claim.account_id, claim.key
        record = KeyRecord(claim.account_id, claim.key, claim.fingerprint, claim.command_id, reply)
        self._keys[name] = self.new_keys[name] = record
        self.replies.pop(name, None)  # it would have completed a key of before, and there was none

    def _keep_reply(self, submission: Submission, outcome: Outcome, reply: StoredReply) -> None:
        if not (submission.completes_key and isinstance(outcome, Change) and outcome.events):
            return
        name = submission.command.account_id, submission.completes_key
        record = self._keys.get(name)
        if record is not None and record.reply is None:
            self._keys[name] = record = replace(record, reply=reply)
        if name in self.new_keys:
            self.new_keys[name] = self._keys[name]
        else:
            self.replies.setdefault(name, reply)


def _refused(submission: Submission, refusal: Refusal) -> Result:
    return Result(refusal, submission.render(refusal) if submission.render else None)


def _repeated(submission: Submission, claim: KeyClaim, record: KeyRecord) -> Result:
    """Return the first answer of a key that was used before, or a refusal that says why not."""
    if record.fingerprint != claim.fingerprint:
        return _refused(submission, IdempotencyKeyReused())
    if record.reply is None:
        return _refused(submission, IdempotencyKeyInProgress())
    return Result(None, record.reply, replayed=True)
