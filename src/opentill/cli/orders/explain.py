"""``opentill explain``: why an order is in the state that it is in, as sentences made from its timeline."""

from collections.abc import Mapping
from typing import Any, Final

from opentill.cli.orders.show import order_view
from opentill.cli.preflight import operator_errors
from opentill.cli.printing import AsJson, printable, say, say_json
from opentill.cli.server import AskedServer
from opentill.domain.commands import ActorKind
from opentill.domain.events import EventType
from opentill.domain.order import Method

_E: Final = EventType

SENTENCES: Final[Mapping[str, str]] = {
    _E.ORDER_CREATED: "{who} opened the order over {amount}",
    _E.ORDER_CANCELLED: "{who} cancelled the order",
    _E.ORDER_EXPIRED: "its due time had passed unpaid, so the order expired, as was noticed by {who}",
    _E.ATTEMPT_STARTED: "{who} began to pay by card, attempt {transaction}",
    _E.ATTEMPT_WAITING: "{who} asked the payer to prove who they are",
    _E.ATTEMPT_RESUMED: "{who} answered that, and the card processor was asked again",
    _E.ATTEMPT_UNKNOWN: "the card processor did not answer in time, so nobody knew whether money was taken",
    _E.ATTEMPT_CANCELLED: "{who} ended the attempt {transaction}; the order could still be paid",
    _E.ATTEMPT_CLOSED: "{who} said of the ended attempt {transaction} that nothing was taken",
    _E.OTP_RESENT: "{who} had the one-time password sent again",
    _E.PAYMENT_SUCCESS: "{who} took {amount} by {transaction}, which paid for the order",
    _E.PAYMENT_FAILED: "{who} took nothing for attempt {transaction}; the order could still be paid",
    _E.VOID_STARTED: "{who} had taken {amount} by {transaction} that the order did not want, to be sent back",
    _E.PAYMENT_REVERSAL: "{who} gave back the {amount} of {transaction}",
    _E.REFUND_STARTED: "{who} had {amount} of the payment given back",
    _E.REFUND_UNKNOWN: "the card processor did not answer in time about the refund, so it is asked again",
    _E.REFUND_CLOSING: "{who} refused the refund beside a try without an answer, so it is asked to close it",
    _E.REFUND_REFUSED: "{who} refused to give back {amount}, which is the merchant's again",
    _E.PAYMENT_REFUNDED: "{who} gave back {amount} of the payment",
    _E.CREDIT_RECEIVED: "a bank transfer of {amount} arrived, {transaction}",
    _E.RETURN_STARTED: "{amount} of {transaction} were not wanted, to be sent back to their sender",
    _E.RETURN_TRIED: "the bank was asked to send them back",
    _E.RETURN_UNKNOWN: "the bank did not answer in time, so it is asked again about the same return",
    _E.RETURN_REFUSED: "the bank refused to send them back, so it is asked again later",
    _E.RETURN_CLOSING: "the bank refused beside a try without an answer, so it is asked to close the return",
    _E.RETURN_PARKED: "the bank refused as often as it was to be asked, so a person must see to it",
    _E.RETURN_RETRIED: "{who} had the bank asked once more",
    _E.PAYOUT_DISPUTED: "{who} paid {amount} that it had refused or a person had sent already: look into it",
}
"""What each event means. An event of a newer server, that stands here no more, is told by its name."""

_WHO: Final = {
    "api_key": "the merchant's program {id}",
    "open_sandbox": "somebody without a token",
    "payer": "the payer",
    "rail": "the card processor",
    "bank": "the bank",
    "worker": "the server itself",
    "operator": "the operator {id}",
}


def explain(name: str, /, *, as_json: AsJson = False, asked: AskedServer | None = None) -> None:
    """Explain why an order is in the state that it is in: what happened, who did it, and what can be done.

    Args:
        name: Its reference or order id.
        as_json: Print one line of JSON.
        asked: Which server.
    """
    with operator_errors():
        order = order_view((asked or AskedServer()).server(), name)
    because = [
        {"at": event["at"], "event": event["type"], "sentence": sentence_of(event)}
        for event in order["timeline"]
    ]
    now = _now(order)
    if as_json:
        say_json({"orderReference": order["orderReference"], "now": now, "because": because})
        return
    say(f"{now}\n")
    for each in because:
        say(f"{each['at']}  {each['sentence']}")
    say("")
    for action in order["allowed"]:
        say(_possible(action))


def sentence_of(event: Mapping[str, Any]) -> str:
    """Write one event of a timeline as a sentence."""
    data = event["data"]
    template = SENTENCES.get(event["type"], f"{event['type'].replace('_', ' ')}, by {{who}}")
    told = template.format(
        who=_who(event["actor"], by_transfer=data.get("method") == Method.TRANSFER),
        amount=f"{data['amount']} {data['currency']}" if "amount" in data else "money",
        transaction=data.get("transactionId", "by card"),
    )
    return f"{told[0].upper()}{told[1:]}{_why(event)}{_became(event)}."


def _who(actor: Mapping[str, str], *, by_transfer: bool) -> str:
    kind = "bank" if by_transfer and actor["kind"] == ActorKind.RAIL else actor["kind"]
    template = _WHO.get(kind, kind)
    return template.format(id=printable(actor["id"])).strip()


def _why(event: Mapping[str, Any]) -> str:
    word = "code" if event["actor"]["kind"] == ActorKind.RAIL else "reason"
    known = event["reason"] in {None, *_IN_THE_SENTENCE}
    reason = "" if known else f" ({word} {printable(event['reason'])})"
    note = f', and noted "{printable(event["note"])}"' if event["note"] else ""
    return reason + note


_IN_THE_SENTENCE: Final = ("refund", "void")
"""Reasons that the sentence of their event tells already."""


def _became(event: Mapping[str, Any]) -> str:
    before, after = event["before"], event["after"]
    return "" if before == after else f": from then on it was {after}"


def _now(order: Mapping[str, Any]) -> str:
    """Say what the order is, since when, and where its money is."""
    since = order["endedAt"] or order["createdAt"]
    money, currency = order["money"], order["currency"]
    of_money = [f"{money[name]} {currency} {says}" for name, says in _OF_MONEY.items() if float(money[name])]
    told = f"; of its money {', '.join(of_money)}" if of_money else "; no money is with it"
    return f"Order {printable(order['orderReference'])} has been {order['status']} since {since}{told}."


_OF_MONEY: Final = {
    "applied": "paid for it",
    "held": "is held",
    "returning": "is on its way back",
    "returned": "went back",
    "refunded": "was refunded or is about to be",
}


def _possible(action: Mapping[str, Any]) -> str:
    if action["allowed"]:
        return f"It is possible now to {action['action']} it."
    instead = f"; {action['instead']} it instead" if action["instead"] else ""
    return f"It is not possible to {action['action']} it ({action['reason']}){instead}."
