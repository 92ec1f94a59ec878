"""How commands decide on money: through the engine, as every program does, in the name of a person."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, Protocol, TypeVar

from opentill.bootstrap import Bootstrap, prepare
from opentill.cli.preflight import OperatorError, Where, check_folder, operator_errors
from opentill.domain.commands import Actor, ActorKind, Command
from opentill.domain.money import major_units
from opentill.domain.names import transaction_id
from opentill.domain.order import Credit, Order
from opentill.domain.refusals import (
    CreditBelowAmount,
    CreditNotHeld,
    CurrencyMismatch,
    RecordNotFound,
    Refusal,
    ReturnCompleted,
    ReturnInProgress,
    ReturnParked,
)
from opentill.domain.suspense import SUSPENSE
from opentill.engine.engine import Outcome
from opentill.engine.errors import EngineError
from opentill.operating import Operating, operating
from opentill.store.orders.contract import Snapshot

OPERATOR: Final = Actor(ActorKind.OPERATOR, "cli")
T = TypeVar("T")

_SENTENCES: Final[dict[type[Refusal], str]] = {
    RecordNotFound: "there is no such credit or order; `opentill credits list` and "
    "`opentill returns list` show what there is.",
    CreditNotHeld: "no money of this credit waits for a person: it was applied or sent back, or "
    "waits for the rest of the amount.",
    CreditBelowAmount: "this credit alone does not pay for its order; the whole amount is needed.",
    CurrencyMismatch: "the credit is of another currency than the order.",
    ReturnInProgress: "the bank is being asked about this return, or will be by itself; look again later.",
    ReturnParked: "the bank refused this return as often as it was tried; retry or settle it.",
    ReturnCompleted: "the money of this return is back already.",
}
"""What each refusal of a decision on a credit means to the person who made it."""


@dataclass(frozen=True, slots=True)
class FoundCredit:
    """A credit and the order that has its money: a merchant's, or that of the suspense account."""

    order: Order
    credit: Credit

    @property
    def unmatched(self) -> bool:
        """Tell whether it is money of the suspense account."""
        return self.order.account_id == SUSPENSE

    def shown(self, minor: int) -> str:
        """Write an amount with its currency, as a person reads it."""
        return f"{major_units(minor, self.order.currency)} {self.order.currency}"

    @property
    def whose(self) -> str:
        """Name the order as a person reads it."""
        return "no order" if self.unmatched else f"order {self.order.reference}"


class MakeCommand(Protocol):
    """The class of a command about one transaction, with what else it needs filled in."""

    def __call__(self, *, account_id: str, command_id: str, actor: Actor, transaction_id: str) -> Command:
        """Make the command."""


def on_money(where: Where | None, act: Callable[[Operating], Awaitable[T]]) -> T:
    """Carry this out on the database; what is refused, or can not be, ends the command in one sentence."""
    with operator_errors():
        settings = (where or Where()).settings()
        check_folder(settings.data_dir)
        bootstrap = prepare(settings)
        try:
            return asyncio.run(_carried_out(bootstrap, act))
        except Refusal as refusal:
            raise OperatorError(_SENTENCES.get(type(refusal), f"{refusal.reason}.")) from None
        except EngineError:
            raise OperatorError(
                "the database did not answer in time; look what became of it, then try again."
            ) from None
        finally:
            bootstrap.store.close()


async def _carried_out(bootstrap: Bootstrap, act: Callable[[Operating], Awaitable[T]]) -> T:
    async with operating(bootstrap) as till:
        return await act(till)


async def submit(till: Operating, make: MakeCommand, found: FoundCredit) -> Order:
    """Put a command about this credit through the engine; return the order after it. Raises the Refusal."""
    command = make(
        account_id=found.order.account_id,
        command_id=till.ids.uuid(),
        actor=OPERATOR,
        transaction_id=found.credit.transaction_id,
    )
    return order_after((await till.engine.submit(command)).outcome)


def order_after(outcome: Outcome | None) -> Order:
    """Return the order after what was done to it. Raises the Refusal if it was refused."""
    if isinstance(outcome, Refusal):
        raise outcome
    assert outcome is not None
    return outcome.after


async def found(till: Operating, credit_id: str) -> FoundCredit:
    """Find the credit of this id, at its merchant, else in the suspense account. Raises RecordNotFound."""
    advice = await till.threads.read(till.threads.store.transfers.advice_of_credit, credit_id)
    accounts = [account for account in (advice and advice.account_id, SUSPENSE) if account]

    def ask(snapshot: Snapshot) -> FoundCredit | None:
        for account in accounts:
            named = transaction_id(account, credit_id)
            view = snapshot.order_of_transaction(account, named)
            credit = view.order.credit(named) if view else None
            if view and credit:
                return FoundCredit(view.order, credit)
        return None

    there = await till.reader.ask(ask, None)
    if there is None:
        raise RecordNotFound
    return there
