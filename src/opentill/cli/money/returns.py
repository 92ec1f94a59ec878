"""``opentill returns``: money on its way back, and what to do where the bank will not send it."""

from collections.abc import Iterator
from typing import Annotated, Any, Final

from cyclopts import Parameter
from cyclopts.validators import Number

from opentill.cli.money.decisions import (
    OPERATOR,
    FoundCredit,
    MakeCommand,
    found,
    on_money,
    order_after,
    submit,
)
from opentill.cli.preflight import OperatorError, Where, operator_errors
from opentill.cli.printing import AsJson, print_table, printable, say, say_json, shown_time
from opentill.domain.commands import RetryReturn, SettleReturnByHand
from opentill.domain.money import major_units
from opentill.domain.names import return_id
from opentill.domain.order import Order, Return, ReturnStatus
from opentill.domain.refusals import RecordNotFound
from opentill.operating import Operating
from opentill.rails.transfer_payments import RailSilent
from opentill.store.orders.contract import OrderView
from opentill.webhooks.signature import rfc3339

MOST: Final = 1000
MOST_REFERENCE_CHARACTERS: Final = 255


def list_(
    *,
    parked: Annotated[bool, Parameter(negative="")] = False,
    limit: Annotated[int, Parameter(validator=Number(gte=1, lte=MOST))] = 100,
    as_json: AsJson = False,
    where: Where | None = None,
) -> None:
    """List money that is not back yet, longest under way first.

    Args:
        parked: Only what the bank refused for good, which waits for a person.
        limit: Money of how many orders.
        as_json: Print one JSON object.
        where: Which database.
    """

    async def look(till: Operating) -> list[OrderView]:
        return await till.reader.ask(lambda snapshot: snapshot.open_returns(limit), None)

    open_ = [each for view in on_money(where, look) for each in _open(view)]
    shown = [each for each in open_ if not parked or each[1].status is ReturnStatus.PARKED]
    if as_json:
        say_json({"returns": [_return(*each) for each in shown]})
        return
    print_table(
        ("return id", "since", "kind", "status", "amount", "to", "order", "refusals", "bank says"),
        (_row(*each) for each in shown),
    )


def _open(view: OrderView) -> Iterator[tuple[FoundCredit, Return]]:
    for each in view.order.returns:
        credit = view.order.credit(each.transaction_id)
        if credit and each.status not in {ReturnStatus.DONE, ReturnStatus.DISPUTED}:
            yield FoundCredit(view.order, credit), each


def retry(return_id: str, /, *, as_json: AsJson = False, where: Where | None = None) -> None:
    """Have a parked return tried again by the server, under its one id.

    Args:
        return_id: Return id, from `opentill returns list`.
        as_json: Print one JSON object.
        where: Which database.
    """
    _carry_out(return_id, RetryReturn, "is to be sent again", as_json=as_json, where=where)


def settle(
    return_id: str, /, *, bank_reference: str, as_json: AsJson = False, where: Where | None = None
) -> None:
    """Say that you have sent the money back yourself; from then on the server does not.

    The bank is first asked to refuse the return for ever; if it has sent the money already, that is booked.

    Args:
        return_id: Return id, from `opentill returns list`.
        bank_reference: Under what the bank has your transfer.
        as_json: Print one JSON object.
        where: Which database.
    """
    with operator_errors():
        told = _checked(bank_reference)

    async def act(till: Operating) -> tuple[FoundCredit, Return]:
        credit = await found(till, return_id)
        command = SettleReturnByHand(
            account_id=credit.order.account_id,
            command_id=till.ids.uuid(),
            actor=OPERATOR,
            transaction_id=credit.credit.transaction_id,
            bank_reference=told,
        )
        try:
            outcome = await till.transfers.settle_by_hand(credit.order, command)
        except RailSilent:
            raise OperatorError(_SILENT) from None
        return _left(order_after(outcome), credit)

    after, left = on_money(where, act)
    if as_json:
        say_json(_return(after, left))
    elif left.bank_reference:
        say(f"Return {return_id} of {after.shown(left.amount)} is settled.")
    else:
        say(
            f"The bank had sent return {return_id} of {after.shown(left.amount)} already, and that is booked."
        )
        say(f"If you have sent it under {printable(told)} as well, it went out twice: ask for yours back.")


_SILENT: Final = (
    "the bank did not say whether it has sent this return, so nothing is booked; try again when it answers."
)


def _checked(bank_reference: str) -> str:
    told = bank_reference.strip()
    if 0 < len(told) <= MOST_REFERENCE_CHARACTERS and told.isprintable():
        return told
    raise OperatorError(f"a bank reference has 1 to {MOST_REFERENCE_CHARACTERS} printable characters.")


def _carry_out(id_: str, make: MakeCommand, what: str, *, as_json: bool, where: Where | None) -> None:
    async def act(till: Operating) -> tuple[FoundCredit, Return]:
        credit = await found(till, id_)
        return _left(await submit(till, make, credit), credit)

    after, left = on_money(where, act)
    if as_json:
        say_json(_return(after, left))
    else:
        say(f"Return {id_} of {after.shown(left.amount)} {what}.")


def _left(order: Order, of: FoundCredit) -> tuple[FoundCredit, Return]:
    left = order.return_of(of.credit.transaction_id)
    if left is None:
        raise RecordNotFound
    return FoundCredit(order, of.credit), left


# --- as it is printed -----------------------------------------------------------------------------


def _row(each: FoundCredit, left: Return) -> tuple[str, ...]:
    sender = each.credit.sender
    return (
        return_id(left.transaction_id),
        shown_time(left.started_at),
        left.kind.value,
        left.status.value,
        each.shown(left.amount),
        printable(f"{sender.name} {sender.account_number} {sender.bank_code}".strip()),
        "none" if each.unmatched else each.order.reference,
        str(left.tries),
        printable(left.message),
    )


def _return(each: FoundCredit, left: Return) -> dict[str, Any]:
    order, sender = each.order, each.credit.sender
    return {
        "returnId": return_id(left.transaction_id),
        "accountId": None if each.unmatched else order.account_id,
        "orderReference": None if each.unmatched else order.reference,
        "kind": left.kind.value,
        "status": left.status.value,
        "amount": major_units(left.amount, order.currency),
        "currency": order.currency,
        "senderName": sender.name,
        "senderAccountNumber": sender.account_number,
        "senderBankCode": sender.bank_code,
        "tries": left.tries,
        "bankReference": left.bank_reference,
        "responseCode": left.response_code,
        "message": left.message,
        "startedAt": rfc3339(left.started_at),
        "updatedAt": rfc3339(left.updated_at),
    }
