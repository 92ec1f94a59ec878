"""``opentill credits``: transfers whose money waits for a person to say whose it is."""

from typing import Annotated, Any, Final

from cyclopts import Parameter
from cyclopts.validators import Number

from opentill.cli.database import account_of, open_registry
from opentill.cli.money.decisions import OPERATOR, FoundCredit, found, on_money, submit
from opentill.cli.preflight import OperatorError, Where
from opentill.cli.printing import AsJson, print_table, printable, say, say_json, shown_time
from opentill.domain.commands import AcceptCredit, ReturnCredit
from opentill.domain.money import major_units
from opentill.domain.names import uuid_of
from opentill.domain.order import Order
from opentill.operating import Operating
from opentill.store.orders.contract import OrderView
from opentill.webhooks.signature import rfc3339

MOST: Final = 1000


def list_(
    *,
    limit: Annotated[int, Parameter(validator=Number(gte=1, lte=MOST))] = 100,
    as_json: AsJson = False,
    where: Where | None = None,
) -> None:
    """List transfers that wait for a person: those of no order, and those that expired orders hold.

    Args:
        limit: Money of how many orders.
        as_json: Print one JSON object.
        where: Which database.
    """

    async def look(till: Operating) -> list[OrderView]:
        return await till.reader.ask(lambda snapshot: snapshot.held_credits(limit), None)

    views = on_money(where, look)
    waiting = [FoundCredit(each.order, c) for each in views for c in each.order.credits if c.held]
    if as_json:
        say_json({"credits": [_credit(each) for each in waiting]})
        return
    print_table(
        ("credit id", "arrived", "held", "order", "merchant", "paid to", "sender", "session id"),
        (_row(each) for each in waiting),
    )


def attach(
    credit_id: str,
    /,
    *,
    to: str,
    merchant: str | None = None,
    as_json: AsJson = False,
    where: Where | None = None,
) -> None:
    """Give a transfer of no order to an order, which receives it as if it had come there.

    Args:
        credit_id: Credit id, from `opentill credits list`.
        to: Reference or order id of the order.
        merchant: Account id of its merchant; the default merchant when left out.
        as_json: Print one JSON object.
        where: Which database.
    """
    with open_registry(where or Where()) as (registry, _):
        account_id = account_of(registry, merchant)

    async def act(till: Operating) -> str:
        return (await till.transfers.attach(credit_id, account_id, to, OPERATOR)).disposition

    disposition = on_money(where, act)
    if as_json:
        say_json({"creditId": credit_id, "disposition": disposition})
    else:
        say(f"Credit {credit_id} was attached to order {to}: {disposition}.")


def accept(credit_id: str, /, *, as_json: AsJson = False, where: Where | None = None) -> None:
    """Let a transfer that an expired order holds pay for it.

    Args:
        credit_id: Credit id, from `opentill credits list`.
        as_json: Print one JSON object.
        where: Which database.
    """

    async def act(till: Operating) -> FoundCredit:
        waiting = await found(till, credit_id)
        if waiting.unmatched:
            raise OperatorError("this credit is of no order; give it one with `opentill credits attach`.")
        return _after(waiting, await submit(till, AcceptCredit, waiting))

    _tell(on_money(where, act), "paid for", as_json=as_json)


def return_(credit_id: str, /, *, as_json: AsJson = False, where: Where | None = None) -> None:
    """Send a transfer that waits for a person back to where it came from.

    Args:
        credit_id: Credit id, from `opentill credits list`.
        as_json: Print one JSON object.
        where: Which database.
    """

    async def act(till: Operating) -> FoundCredit:
        waiting = await found(till, credit_id)
        return _after(waiting, await submit(till, ReturnCredit, waiting))

    _tell(on_money(where, act), "goes back from", as_json=as_json)


def _after(before: FoundCredit, order: Order) -> FoundCredit:
    credit = order.credit(before.credit.transaction_id)
    assert credit is not None
    return FoundCredit(order, credit)


def _tell(done: FoundCredit, verb: str, *, as_json: bool) -> None:
    if as_json:
        say_json(_credit(done))
        return
    credit_id = uuid_of(done.credit.transaction_id)
    say(f"Credit {credit_id} of {done.shown(done.credit.amount)} {verb} {done.whose}.")


# --- as it is printed -----------------------------------------------------------------------------


def _row(each: FoundCredit) -> tuple[str, ...]:
    order, credit = each.order, each.credit
    return (
        uuid_of(credit.transaction_id),
        shown_time(credit.arrived_at),
        each.shown(credit.held),
        "none" if each.unmatched else order.reference,
        "" if each.unmatched else order.account_id,
        credit.account_number,
        printable(f"{credit.sender.name} {credit.sender.account_number}".strip()),
        printable(credit.session_id),
    )


def _credit(each: FoundCredit) -> dict[str, Any]:
    order, credit = each.order, each.credit
    left = order.return_of(credit.transaction_id)
    return {
        "creditId": uuid_of(credit.transaction_id),
        "accountId": None if each.unmatched else order.account_id,
        "orderReference": None if each.unmatched else order.reference,
        "orderStatus": None if each.unmatched else order.status.value,
        "disposition": "unmatched" if each.unmatched else credit.disposition.value,
        "amount": major_units(credit.amount, order.currency),
        "applied": major_units(credit.applied, order.currency),
        "held": major_units(credit.held, order.currency),
        "returning": major_units(left.amount if left else 0, order.currency),
        "currency": order.currency,
        "accountNumber": credit.account_number,
        "sessionId": credit.session_id,
        "senderName": credit.sender.name,
        "senderAccountNumber": credit.sender.account_number,
        "senderBankCode": credit.sender.bank_code,
        "narration": credit.narration,
        "transferredAt": rfc3339(credit.transferred_at),
        "arrivedAt": rfc3339(credit.arrived_at),
    }
