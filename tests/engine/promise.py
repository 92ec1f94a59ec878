"""The promise as a small model: one of paid and cancelled wins, a reference is used once, no money is lost.

It knows neither the lifecycle tables nor the store, only what a merchant and a payer may rely on.
"""

from collections.abc import Callable, Iterable
from copy import deepcopy
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Final

from opentill.domain.commands import (
    AcceptCredit,
    AttachCredit,
    BeginAttempt,
    BeginRefund,
    BeginReturn,
    CancelAttempt,
    CancelOrder,
    CancelOrRefund,
    Command,
    CreateOrder,
    EnsureCancelled,
    ExpireOrder,
    OrderCommand,
    RailOutcome,
    ReceiveCredit,
    RefundOutcome,
    ResendOtp,
    RetryReturn,
    ReturnCredit,
    ReturnFromChallenge,
    SettleAttempt,
    SettleRefund,
    SettleReturn,
    SettleReturnByHand,
    SubmitOtp,
    TransactionCommand,
)
from opentill.domain.events import event_id
from opentill.domain.order import DueAction, LateMoney

DONE, REFUSED = "done", "refused"
OPEN: Final = ("due", "unsure", "closing")
"""States of a refund of which nobody knows yet how it ends."""


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
    """Due to the payer, done, or refused by the rail; unsure and closing: due, and a try has no answer."""
    credit: str = ""
    """Whose sender gets it; empty for a card."""


@dataclass
class Arrived:
    """Money that a bank transfer brought, and where it is."""

    amount: int
    held: int
    applied: int = 0
    back: int = 0
    """What of it goes, or went, back."""
    state: str = ""
    """DUE, RUNNING, UNKNOWN, CLOSING, PARKED, DONE or DISPUTED; empty: nothing goes back."""
    free_at: int = 0
    """When a worker may see to it again."""
    refusals: int = 0
    unsure: bool = False
    """Whether a try has no answer."""
    by_hand: bool = False

    def give_back(self) -> None:
        if self.held:
            self.back, self.held, self.state = self.held, 0, "DUE"


@dataclass
class Promised:
    """What is promised of one order."""

    order_id: str
    amount: int
    due_at: int | None
    due_cancels: bool
    late: LateMoney = LateMoney.RETURN
    won: str | None = None
    paid_by: str = ""
    expired: bool = False
    credits: dict[str, Arrived] = field(default_factory=dict)
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
        by_card = self.amount * sum(t.money == state for t in self.tries.values())
        return by_card + sum(_in_state(credit, state) for credit in self.credits.values())

    def fall_due(self, now: int) -> None:
        """What happens to an open order at its due time, whoever comes by first."""
        if self.won is None and not self.expired and self.due(now):
            self.won = "cancelled" if self.due_cancels else None
            self.expired = not self.due_cancels
            self.put_away()
            self.let_go()

    def let_go(self) -> None:
        """No money waits any more."""
        for credit in self.credits.values():
            credit.give_back()

    def pay(self, transaction_id: str, credits_: Iterable[Arrived] = ()) -> None:
        left = self.amount
        for credit in credits_:
            credit.applied = min(left, credit.held)
            credit.held -= credit.applied
            left -= credit.applied
        self.won, self.paid_by = "paid", transaction_id
        self.let_go()

    def left(self) -> int:
        """What may still be given back; what went out beyond its refusal is gone as well."""
        return max(self.amount - self.refunded("done", "disputed", *OPEN), 0)

    def disputed(self) -> int:
        """What the rail paid although it was over."""
        twice = sum(credit.back for credit in self.credits.values() if credit.state == "DISPUTED")
        return twice + self.refunded("disputed")

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
        return next((o for o in mine if transaction_id in {*o.tries, *o.credits}), None)

    def expect(self, command: Command, now: int) -> str:
        """Do the command to the model: ``done``, the refusal's name, or ``refused`` for one or another."""
        if isinstance(command, CreateOrder):
            return self._create(command)
        if isinstance(command, TransactionCommand):
            order = self.find_by_try(command.account_id, command.transaction_id)
        else:
            assert isinstance(command, OrderCommand)
            order = self.find(command.account_id, command.name)
        return _carried_out(order, command, now) if order else "RecordNotFound"

    def _create(self, command: CreateOrder) -> str:
        name = (command.account_id, command.reference)
        if name in self.orders:
            return "OrderReferenceUsed"
        cancels = command.due_action is DueAction.CANCEL
        self.orders[name] = Promised(
            command.order_id, command.amount, command.due_at, cancels, command.late_money
        )
        return DONE


def _in_state(credit: Arrived, state: str) -> int:
    gone = credit.state in {"DONE", "DISPUTED"}
    going, back = (0, credit.back) if gone else (credit.back, 0)
    return {"applied": credit.applied, "held": credit.held, "returning": going, "returned": back}[state]


def _carried_out(order: Promised, command: Command, now: int) -> str:
    """What is due comes first, unless the command is refused; money in time finds the order as it was."""
    before = deepcopy(order)
    expected = not order.expired
    if not (isinstance(command, ReceiveCredit) and not order.due_cancels and _in_time(order, command)):
        order.fall_due(now)
    if isinstance(command, ExpireOrder):
        return DONE if expected and (order.expired or order.won != before.won) else REFUSED
    ended = _EXPECT[type(command)](order, command, now)
    if ended != DONE:
        vars(order).update(vars(before))
    return ended


def _cancel(order: Promised, _command: CancelOrder, now: int) -> str:
    winner = order.winner(now)
    if winner is not None:
        return f"OrderAlready{winner.capitalize()}"
    order.won = "cancelled"
    order.put_away()
    order.let_go()
    return DONE


def _ensure_cancelled(order: Promised, command: EnsureCancelled | CancelOrRefund, now: int) -> str:
    """As a cancel, of which it is no failure that the order was cancelled before."""
    return DONE if order.winner(now) == "cancelled" else _cancel(order, command, now)


def _cancel_or_refund(order: Promised, command: CancelOrRefund, now: int) -> str:
    """Of a paid order all that is left goes back, which may be nothing."""
    if order.winner(now) != "paid":
        return _ensure_cancelled(order, command, now)
    if left := order.left():
        _repay(order, command.refund_id, order.paid_by, left)
    return DONE


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
    t = order.tries.get(command.transaction_id)
    if t is None or t.where is Where.OVER or (t.where is not Where.AT_RAIL and not order.open(now)):
        return REFUSED
    t.where = Where.OVER
    return DONE


def _settle(order: Promised, command: SettleAttempt, now: int) -> str:
    t = order.tries.get(command.transaction_id)
    if t is None:
        return "RecordNotFound"
    match command.outcome:
        case RailOutcome.APPROVED:
            _take_money(order, command.transaction_id, t, now)
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


def _take_money(order: Promised, transaction_id: str, t: Try, now: int) -> None:
    """Money is taken once per try; it pays an open order that still waits for the try, else it goes back."""
    if not t.money:
        pays = order.open(now) and t.where is not Where.OVER
        t.money = "applied" if pays else "returning"
        if pays:
            order.pay(transaction_id)
    t.where = Where.OVER


def _take_back(order: Promised, command: SettleAttempt) -> None:
    """The rail gave a payment back by itself: what is left of it counts as refunded."""
    left = order.amount - order.refunded("done", *OPEN)
    if left:
        order.refunds[command.command_id] = Repayment(command.transaction_id, left, "done")


# --- refunds --------------------------------------------------------------------------------------


def _refund(order: Promised, command: BeginRefund, _now: int) -> str:
    if order.paid_by != command.transaction_id:
        return "OrderNotPaid"
    left = order.left()
    amount = left if command.amount is None else command.amount
    if not 0 < amount <= left:
        return "RefundExceedsPaid"
    _repay(order, command.refund_id, command.transaction_id, amount)
    return DONE


def _repay(order: Promised, refund_id: str, transaction_id: str, amount: int) -> None:
    for number, (credit, part) in enumerate(_senders(order, amount)):
        order.refunds[event_id(refund_id, number)] = Repayment(transaction_id, part, credit=credit)


def _senders(order: Promised, amount: int) -> list[tuple[str, int]]:
    """A card gets it all; of transfers the newest sender first, each at most what it paid."""
    if order.paid_by in order.tries:
        return [("", amount)]
    parts = []
    for name, credit in reversed(order.credits.items()):
        counted = [r for r in order.refunds.values() if r.credit == name and r.state != "refused"]
        part = min(amount, credit.applied - sum(r.amount for r in counted))
        if part:
            parts.append((name, part))
            amount -= part
    return parts


def _settle_refund(order: Promised, command: SettleRefund, _now: int) -> str:
    """Money that is gone is gone; a refusal counts unless a silence came before, till the id is closed."""
    refund = order.refunds.get(command.refund_id)
    if refund is None:
        return "RecordNotFound"
    match command.outcome:
        case RefundOutcome.DONE:
            refund.state = "disputed" if refund.state in {"refused", "disputed"} else "done"
        case RefundOutcome.CLOSED if refund.state in OPEN:
            refund.state = "refused"
        case RefundOutcome.REFUSED if refund.state in {"due", "unsure"}:
            refund.state = "refused" if refund.state == "due" else "closing"
        case RefundOutcome.SILENT if refund.state == "due":
            refund.state = "unsure"
    return DONE


# --- transfers ------------------------------------------------------------------------------------


def _in_time(order: Promised, command: ReceiveCredit) -> bool:
    at = command.arrived_at if command.transferred_at is None else command.transferred_at
    return order.due_at is None or min(at, command.arrived_at) <= order.due_at


def _receive(order: Promised, command: ReceiveCredit, _now: int) -> str:
    """Money in time pays an open order or waits in it; else it goes back, or does what was agreed."""
    if command.transaction_id in order.credits:
        return DONE
    waiting = list(order.credits.values())
    credit = order.credits[command.transaction_id] = Arrived(command.amount, command.amount)
    if order.won is None and not order.expired:
        if sum(each.held for each in [*waiting, credit]) >= order.amount:
            order.pay(command.transaction_id, [*waiting, credit])
    elif order.won is None and credit.held >= order.amount and _is_welcome(order, command):
        order.pay(command.transaction_id, [credit])
    elif order.won is not None or order.late is not LateMoney.HOLD:
        credit.give_back()
    return DONE


def _is_welcome(order: Promised, command: ReceiveCredit) -> bool:
    return order.late is LateMoney.ACCEPT or _in_time(order, command)


def _decide(order: Promised, command: AcceptCredit | ReturnCredit | AttachCredit, _now: int) -> str:
    """A person decides on what an expired order holds."""
    credit = order.credits.get(command.transaction_id)
    if not order.expired or order.won is not None or credit is None or not credit.held:
        return REFUSED
    if isinstance(command, AcceptCredit):
        if credit.held < order.amount:
            return "CreditBelowAmount"
        order.pay(command.transaction_id, [credit])
        return DONE
    credit.give_back()
    credit.state = "DONE" if isinstance(command, AttachCredit) else "DUE"
    return DONE


def _try_return(order: Promised, command: BeginReturn, _now: int) -> str:
    credit = order.credits.get(command.transaction_id)
    if credit is None or credit.state not in {"DUE", "RUNNING", "UNKNOWN"} or credit.free_at > command.now:
        return REFUSED
    credit.unsure = credit.unsure or credit.state != "DUE"
    credit.state, credit.free_at = "RUNNING", command.call_until
    return DONE


def _hear_return(order: Promised, command: SettleReturn, _now: int) -> str:
    """Money that is gone is gone, whoever says so first; a refusal counts while its try is under way."""
    credit = order.credits.get(command.transaction_id)
    if credit is None or not credit.state:
        return "RecordNotFound"
    under_way = credit.state == "RUNNING" and credit.free_at == command.answers_until
    match command.outcome:
        case RefundOutcome.DONE if credit.state != "DISPUTED":
            credit.state = "DISPUTED" if credit.by_hand else "DONE"
        case RefundOutcome.CLOSED if credit.state == "CLOSING":
            credit.state, credit.unsure = "PARKED", False
        case RefundOutcome.REFUSED if under_way:
            credit.refusals += 1
            last = "CLOSING" if credit.unsure else "PARKED"
            credit.state = last if credit.refusals >= command.max_tries else "DUE"
            credit.free_at = command.try_again_at
        case RefundOutcome.SILENT if under_way:
            credit.state, credit.free_at = "UNKNOWN", command.try_again_at
    return DONE


def _see_to_return(order: Promised, command: RetryReturn | SettleReturnByHand, _now: int) -> str:
    credit = order.credits.get(command.transaction_id)
    by_hand = isinstance(command, SettleReturnByHand)
    if credit is None or credit.state not in ({"DUE", "PARKED"} if by_hand else {"PARKED"}):
        return REFUSED
    credit.state, credit.free_at, credit.refusals = "DONE" if by_hand else "DUE", 0, 0
    credit.by_hand = by_hand
    return DONE


_EXPECT: Final[dict[type[Command], Callable[[Promised, Any, int], str]]] = {
    CancelOrder: _cancel,
    EnsureCancelled: _ensure_cancelled,
    CancelOrRefund: _cancel_or_refund,
    BeginAttempt: _begin,
    SubmitOtp: _go_on,
    ReturnFromChallenge: _go_on,
    ResendOtp: _resend,
    CancelAttempt: _cancel_try,
    SettleAttempt: _settle,
    BeginRefund: _refund,
    SettleRefund: _settle_refund,
    ReceiveCredit: _receive,
    AcceptCredit: _decide,
    ReturnCredit: _decide,
    AttachCredit: _decide,
    BeginReturn: _try_return,
    SettleReturn: _hear_return,
    RetryReturn: _see_to_return,
    SettleReturnByHand: _see_to_return,
}
