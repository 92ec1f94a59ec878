"""The house account: money that a bank tells of and no order of a merchant takes.

Each such credit is an order of the house's own, expired from the start, so that nothing about it needs a
second machine: what it holds waits for a person, who attaches it to an order or returns it, and what is
returned goes through the rail, the ledger and the books as every other return does.
"""

from typing import Final

from opentill.domain.commands import Actor, CreateOrder
from opentill.domain.names import transaction_id
from opentill.domain.order import LateMoney, Terms

HOUSE: Final = "house"
"""The account id of the house; no merchant has it, since theirs are UUIDs."""
_LONG_AGO: Final = 0
"""The due time of the house's orders: every credit finds them expired."""


def house_order(
    credit_id: str, amount: int, currency: str, late_money: LateMoney, command_id: str, actor: Actor
) -> CreateOrder:
    """Opens the order of one credit of the house; its id is the credit's, so that it is opened once."""
    return CreateOrder(
        account_id=HOUSE,
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


def house_transaction(credit_id: str) -> str:
    """The name of such a credit while it is the house's."""
    return transaction_id(HOUSE, credit_id)
