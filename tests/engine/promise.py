"""The promise as a small model: one of paid and cancelled wins, a reference is used once, no money is lost.

It knows neither the lifecycle tables nor the store, only what a merchant and a payer may rely on.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Final

from opentill.domain.commands import (
    BeginAttempt,
    BeginRefund,
    CancelAttempt,
    CancelOrder,
    CancelOrRefund,
    Command,
    CreateOrder,
    EnsureCancelled,
    ExpireOrder,
    OrderCommand,
    RailOutcome,
    RefundOutcome,
    ResendOtp,
    ReturnFromChallenge,
    SettleAttempt,
    SettleRefund,
    SubmitOtp,
    TransactionCommand,
)
from opentill.domain.order import DueAction

DONE, REFUSED, EITHER = "done", "refused", "either"


class Where(Enum):
    """Where a payer's try is: at the rail, with the payer, or nowhere any more."""

    AT_RAIL = "at the rail"
    HAS_PASSWORD = "the payer is to send the password"
    AT_BANK = "the payer is to come back from the bank"
    OVER = "over"


_ASKS_PAYER = {
    RailOutcome.OTP_REQUIRED: Where.HAS_PASSWORD,
    RailOutcome.OTP_REJECTED: Where.HAS_PASSWORD,
    RailOutcome.CHALLENGE_REQUIRED: Where.AT_BANK,
}


@dataclass
class Try:
    where: Where = Where.AT_RAIL
    steps: int = 0
    """How often the payer has gone on with it: passwords sent, and challenges returned from."""
    passwords_again: int = 0
    money: str = ""
    """What became of the money that the rail took: applied, returning or returned; empty: it took none."""


@dataclass
class Repayment:
    """Paid money that the merchant gives back."""

    transaction_id: str
    amount: int
    state: str = "due"
    """Due to the payer, done, or refused by the rail."""


@dataclass
class Promised:
    """What is promised of one order."""

    order_id: str
    amount: int
    due_at: int | None
    due_cancels: bool
    won: str | None = None
    tries: dict[str, Try] = field(default_factory=dict)
    refunds: dict[str, Repayment] = field(default_factory=dict)

    def due(self, now: int) -> bool:
        return self.due_at is not None and self.due_at <= now

    def winner(self, now: int) -> str | None:
        """Paid, cancelled or nobody yet; an order may have asked to be cancelled when it is due."""
        return self.won or ("cancelled" if self.due_cancels and self.due(now) else None)

    def open(self, now: int) -> bool:
        """Whether it can be paid by card."""
        return self.won is None and not self.due(now)

    def money(self, state: str) -> int:
        return self.amount * sum(t.money == state for t in self.tries.values())

    def refunded(self, *states: str) -> int:
        return sum(r.amount for r in self.refunds.values() if r.state in states)

    def put_away(self) -> None:
        """No try waits for the payer any more."""
        for t in self.tries.values():
            if t.where is not Where.AT_RAIL:
                t.where = Where.OVER


class Promise:
    """Takes the commands that the engine takes and says how each must end."""

    def __init__(self) -> None:
        self.orders: dict[tuple[str, str], Promised] = {}

    def find(self, account_id: str, name: str) -> Promised | None:
        by_id = (o for (owner, _), o in self.orders.items() if owner == account_id and o.order_id == name)
        return self.orders.get((account_id, name)) or next(by_id, None)

    def find_by_try(self, account_id: str, transaction_id: str) -> Promised | None:
        mine = (o for (owner, _), o in self.orders.items() if owner == account_id)
        return next((o for o in mine if transaction_id in o.tries), None)

    def expect(self, command: Command, now: int) -> str:
        """Do the command to the model: ``done``, the refusal's name, or ``refused`` for one or another."""
        if isinstance(command, CreateOrder):
            return self._create(command)
        if isinstance(command, TransactionCommand):
            order = self.find_by_try(command.account_id, command.transaction_id)
        else:
            assert isinstance(command, OrderCommand)
            order = self.find(command.account_id, command.name)
        return _EXPECT[type(command)](order, command, now) if order else "RecordNotFound"

    def _create(self, command: CreateOrder) -> str:
        name = (command.account_id, command.reference)
        if name in self.orders:
            return "OrderReferenceUsed"
        cancels = command.due_action is DueAction.CANCEL
        self.orders[name] = Promised(command.order_id, command.amount, command.due_at, cancels)
        return DONE


def _cancel(order: Promised, _command: CancelOrder, now: int) -> str:
    winner = order.winner(now)
    if winner is not None:
        return f"OrderAlready{winner.capitalize()}"
    order.won = "cancelled"
    order.put_away()
    return DONE


def _ensure_cancelled(order: Promised, _command: EnsureCancelled | CancelOrRefund, now: int) -> str:
    """As a cancel, of which it is no failure that the order was cancelled before."""
    if order.winner(now) == "paid":
        return "OrderAlreadyPaid"
    if order.won is None:
        order.won = "cancelled"
        order.put_away()
    return DONE


def _cancel_or_refund(order: Promised, command: CancelOrRefund, now: int) -> str:
    """Of a paid order all that is left goes back, which may be nothing."""
    if order.winner(now) != "paid":
        return _ensure_cancelled(order, command, now)
    left = order.amount - order.refunded("due", "done")
    if left:
        paid_by = next(name for name, t in order.tries.items() if t.money == "applied")
        order.refunds[command.refund_id] = Repayment(paid_by, left)
    return DONE


def _expire(order: Promised, _command: ExpireOrder, now: int) -> str:
    return EITHER if order.due(now) and order.won is None else REFUSED


# --- tries ----------------------------------------------------------------------------------------


def _begin(order: Promised, command: BeginAttempt, now: int) -> str:
    busy = any(t.where is Where.AT_RAIL for t in order.tries.values())
    if busy or not order.open(now) or len(order.tries) >= command.max_attempts:
        return REFUSED
    order.put_away()
    order.tries[command.transaction_id] = Try()
    return DONE


def _go_on(order: Promised, command: SubmitOtp | ReturnFromChallenge, now: int) -> str:
    t = order.tries.get(command.transaction_id)
    waited = Where.HAS_PASSWORD if isinstance(command, SubmitOtp) else Where.AT_BANK
    if t is None or t.where is not waited or not order.open(now):
        return REFUSED
    t.where, t.steps = Where.AT_RAIL, t.steps + 1
    return DONE


def _resend(order: Promised, command: ResendOtp, now: int) -> str:
    waiting = [t for t in order.tries.values() if t.where is Where.HAS_PASSWORD]
    if not order.open(now) or not waiting or waiting[0].passwords_again >= command.max_otp_sends:
        return REFUSED
    waiting[0].passwords_again += 1
    return DONE


def _cancel_try(order: Promised, command: CancelAttempt, now: int) -> str:
    """A try at the rail can be ended whatever became of its order; one that waits dies with it."""
    t = order.tries[command.transaction_id]
    if t.where is Where.OVER or (t.where is not Where.AT_RAIL and not order.open(now)):
        return REFUSED
    t.where = Where.OVER
    return DONE


def _settle(order: Promised, command: SettleAttempt, now: int) -> str:
    t = order.tries.get(command.transaction_id)
    if t is None:
        return "RecordNotFound"
    match command.outcome:
        case RailOutcome.APPROVED:
            _take_money(order, t, now)
        case RailOutcome.VOIDED if t.money == "applied":
            _take_back(order, command)
        case RailOutcome.VOIDED:
            t.money, t.where = "returned", Where.OVER
        case _ if command.answers_try != t.steps:
            pass  # an answer to an earlier call tells nothing of the one that runs
        case RailOutcome.DECLINED:
            t.where = Where.OVER
        case RailOutcome.OTP_REJECTED if t.steps >= command.max_otp_tries:
            t.where = Where.OVER
        case RailOutcome.NEVER_HAPPENED if t.where is Where.AT_RAIL:
            t.where = Where.OVER
        case outcome if outcome in _ASKS_PAYER and t.where is Where.AT_RAIL:
            t.where = _ASKS_PAYER[outcome] if order.open(now) else Where.OVER
    return DONE


def _take_money(order: Promised, t: Try, now: int) -> None:
    """Money is taken once per try; it pays an open order that still waits for the try, else it goes back."""
    if not t.money:
        pays = order.open(now) and t.where is not Where.OVER
        t.money = "applied" if pays else "returning"
        order.won = "paid" if pays else order.won
    t.where = Where.OVER


def _take_back(order: Promised, command: SettleAttempt) -> None:
    """The rail gave a payment back by itself: what is left of it counts as refunded."""
    left = order.amount - order.refunded("due", "done")
    if left:
        order.refunds[command.command_id] = Repayment(command.transaction_id, left, "done")


# --- refunds --------------------------------------------------------------------------------------


def _refund(order: Promised, command: BeginRefund, _now: int) -> str:
    if order.tries[command.transaction_id].money != "applied":
        return "OrderNotPaid"
    left = order.amount - order.refunded("due", "done")
    amount = left if command.amount is None else command.amount
    if not 0 < amount <= left:
        return "RefundExceedsPaid"
    order.refunds[command.refund_id] = Repayment(command.transaction_id, amount)
    return DONE


def _settle_refund(order: Promised, command: SettleRefund, _now: int) -> str:
    """The rail's first word on a refund counts; silence is no word."""
    refund = order.refunds.get(command.refund_id)
    if refund is None:
        return "RecordNotFound"
    if refund.state == "due" and command.outcome is not RefundOutcome.SILENT:
        refund.state = command.outcome.value
    return DONE


_EXPECT: Final[dict[type[Command], Callable[[Promised, Any, int], str]]] = {
    CancelOrder: _cancel,
    EnsureCancelled: _ensure_cancelled,
    CancelOrRefund: _cancel_or_refund,
    ExpireOrder: _expire,
    BeginAttempt: _begin,
    SubmitOtp: _go_on,
    ReturnFromChallenge: _go_on,
    ResendOtp: _resend,
    CancelAttempt: _cancel_try,
    SettleAttempt: _settle,
    BeginRefund: _refund,
    SettleRefund: _settle_refund,
}
