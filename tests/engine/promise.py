"""The promise as a small model: one of paid and cancelled wins, a reference is used once, no money is lost.

It knows neither the lifecycle tables nor the store, only what a merchant and a payer may rely on.
"""

from dataclasses import dataclass, field
from enum import Enum

from opentill.domain.commands import (
    BeginAttempt,
    CancelOrder,
    Command,
    CreateOrder,
    ExpireOrder,
    OrderCommand,
    RailOutcome,
    SettleAttempt,
    SubmitOtp,
)
from opentill.domain.order import DueAction

DONE, REFUSED, EITHER = "done", "refused", "either"


class Where(Enum):
    """Where a payer's try is: at the rail, with the payer, or nowhere any more."""

    AT_RAIL = "at the rail"
    WITH_PAYER = "with the payer"
    OVER = "over"


@dataclass
class Try:
    where: Where = Where.AT_RAIL
    passwords: int = 0
    money: str = ""
    """What became of the money that the rail took: applied, returning or returned; empty: it took none."""


@dataclass
class Promised:
    """What is promised of one order."""

    order_id: str
    amount: int
    due_at: int | None
    due_cancels: bool
    won: str | None = None
    tries: dict[str, Try] = field(default_factory=dict)

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

    def put_away(self) -> None:
        """No try waits for the payer any more."""
        for t in self.tries.values():
            if t.where is Where.WITH_PAYER:
                t.where = Where.OVER


class Promise:
    """Takes the commands that the engine takes and says how each must end."""

    def __init__(self) -> None:
        self.orders: dict[tuple[str, str], Promised] = {}

    def find(self, account_id: str, name: str) -> Promised | None:
        by_id = (o for (owner, _), o in self.orders.items() if owner == account_id and o.order_id == name)
        return self.orders.get((account_id, name)) or next(by_id, None)

    def expect(self, command: Command, now: int) -> str:
        """Do the command to the model: ``done``, the refusal's name, or ``refused`` for one or another."""
        if isinstance(command, CreateOrder):
            return self._create(command)
        assert isinstance(command, OrderCommand)
        order = self.find(command.account_id, command.name)
        if order is None:
            return "RecordNotFound"
        match command:
            case CancelOrder():
                return _cancel(order, now)
            case ExpireOrder():
                return EITHER if order.due(now) and order.won is None else REFUSED
            case BeginAttempt():
                return _begin(order, command, now)
            case SubmitOtp():
                return _submit_otp(order, command, now)
            case SettleAttempt():
                return _settle(order, command, now)
        raise AssertionError(command)

    def _create(self, command: CreateOrder) -> str:
        name = (command.account_id, command.reference)
        if name in self.orders:
            return "OrderReferenceUsed"
        cancels = command.due_action is DueAction.CANCEL
        self.orders[name] = Promised(command.order_id, command.amount, command.due_at, cancels)
        return DONE


def _cancel(order: Promised, now: int) -> str:
    winner = order.winner(now)
    if winner is not None:
        return f"OrderAlready{winner.capitalize()}"
    order.won = "cancelled"
    order.put_away()
    return DONE


def _begin(order: Promised, command: BeginAttempt, now: int) -> str:
    busy = any(t.where is Where.AT_RAIL for t in order.tries.values())
    if busy or not order.open(now) or len(order.tries) >= command.max_attempts:
        return REFUSED
    order.put_away()
    order.tries[command.transaction_id] = Try()
    return DONE


def _submit_otp(order: Promised, command: SubmitOtp, now: int) -> str:
    t = order.tries.get(command.transaction_id)
    if t is None or t.where is not Where.WITH_PAYER or not order.open(now):
        return REFUSED
    t.where, t.passwords = Where.AT_RAIL, t.passwords + 1
    return DONE


def _settle(order: Promised, command: SettleAttempt, now: int) -> str:
    t = order.tries.get(command.transaction_id)
    if t is None:
        return "RecordNotFound"
    match command.outcome:
        case RailOutcome.APPROVED:
            _take_money(order, t, now)
        case RailOutcome.VOIDED:
            t.money = t.money if t.money == "applied" else "returned"
            t.where = Where.OVER
        case _ if command.answers_try != t.passwords:
            pass  # an answer to an earlier call tells nothing of the one that runs
        case RailOutcome.DECLINED:
            t.where = Where.OVER
        case RailOutcome.OTP_REJECTED if t.passwords >= command.max_otp_tries:
            t.where = Where.OVER
        case RailOutcome.NEVER_HAPPENED if t.where is Where.AT_RAIL:
            t.where = Where.OVER
        case RailOutcome.OTP_REQUIRED | RailOutcome.OTP_REJECTED if t.where is Where.AT_RAIL:
            t.where = Where.WITH_PAYER if order.open(now) else Where.OVER
    return DONE


def _take_money(order: Promised, t: Try, now: int) -> None:
    """Money is taken once per try; it pays an open order that still waits for the try, else it goes back."""
    if not t.money:
        pays = order.open(now) and t.where is not Where.OVER
        t.money = "applied" if pays else "returning"
        order.won = "paid" if pays else order.won
    t.where = Where.OVER
