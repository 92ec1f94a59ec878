"""The suspense account: money that a bank tells of and no order of a merchant takes.

Each such credit is an order of this account's own, expired from the start, so that nothing about it needs a
second machine: what it holds waits for a person, who attaches it to an order or returns it, and what is
returned goes through the rail, the ledger and the books as every other return does.
"""

from typing import Final

from opentill.domain.commands import Actor, CreateOrder
from opentill.domain.names import transaction_id
from opentill.domain.order import LateMoney, Terms

SUSPENSE: Final = "house"
"""Its account id, as it is stored; no merchant has it, since theirs are UUIDs."""
_LONG_AGO: Final = 0
"""The due time of its orders: every credit finds them expired."""


def suspense_order(
    credit_id: str, amount: int, currency: str, late_money: LateMoney, command_id: str, actor: Actor
) -> CreateOrder:
    """Return the command that opens the order of one credit; its id is the credit's, so it is opened once."""
    return CreateOrder(
        account_id=SUSPENSE,
        command_id=command_id,
        actor=actor,
        order_id=credit_id,
        reference=f"credit-{credit_id}",
        amount=amount,
        currency=currency,
        terms=Terms(customer_email=""),
        due_at=_LONG_AGO,
        late_money=late_money,
    )


def suspense_transaction(credit_id: str) -> str:
    """Return the name of such a credit while it is the suspense account's."""
    return transaction_id(SUSPENSE, credit_id)
