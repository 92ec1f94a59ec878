"""``opentill trigger``: make something really happen that merchants are told of.

Nothing here is made up for the occasion: a new order goes through a running sandbox over HTTP, as a
merchant's program and its payer would take it, and the event is the one that comes of it.
"""

import time
from collections.abc import Callable, Mapping
from typing import Any, Final, Literal, TypeAlias
from urllib.parse import quote

from opentill.cli.credentials_block import served_url
from opentill.cli.orders.card import DECLINED, PASSWORD, PAYS, submit_card, submit_password
from opentill.cli.preflight import OperatorError, Where, operator_errors
from opentill.cli.printing import AsJson, say, say_json
from opentill.cli.server import RunningServer
from opentill.webhooks.payload import TYPE_OF

_SENDER: Final = {
    "senderName": "Ada Obi",
    "senderAccountNumber": "0123456789",
    "senderBankCode": "058",
    "narration": "opentill trigger",
}
HAPPENS_SECONDS: Final = 30.0
"""How long an event may take that is finished by a worker, as when the rail was told to be slow."""
LOOK_SECONDS: Final = 0.2

Wanted: TypeAlias = Literal["payment_success", "payment_failed", "order_cancelled", "payment_reversal"]
Method: TypeAlias = Literal["card", "transfer"]


def trigger(
    event: Wanted,
    /,
    *,
    method: Method = "card",
    amount: str = "100.00",
    currency: str = "NGN",
    url: str | None = None,
    as_json: AsJson = False,
    where: Where | None = None,
) -> None:
    """Open an order in a running sandbox and pay it, have its card declined, cancel it or give money back.

    Args:
        event: What is to happen.
        method: How it is paid; a transfer that is to be given back comes after the order was cancelled.
        amount: Amount of the order, in major units.
        currency: Its currency.
        url: Where the server is; that of the data folder when left out.
        as_json: Print one line of JSON when it has happened, instead of each step.
        where: Which data folder.
    """
    with operator_errors():
        steps = _steps(event, method)
        server = RunningServer(url or served_url((where or Where()).settings()))
        order = _TriggeredOrder(server, (lambda _: None) if as_json else say)
        order.open_order(amount, currency)
        for step in steps:
            step(order)
        told = order.wait_for(event)
    if as_json:
        say_json(_summary(event, told))
    else:
        say(f"{event} {told['id']}: order {told['orderReference']} is {told['after']}.")


def _summary(event: Wanted, told: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "type": event,
        "eventId": told["id"],
        "orderReference": told["orderReference"],
        "transactionId": told["data"].get("transactionId"),
        "orderStatus": told["after"],
        "sequence": told["sequence"],
        "at": told["at"],
    }


class _TriggeredOrder:
    """One order and what is done to it, step by step; each step raises OperatorError if it goes wrong."""

    def __init__(self, server: RunningServer, say: Callable[[str], None]):
        self._server = server
        self._say = say
        self._reference = ""
        self._transaction = ""
        self._account = ""
        self._money: dict[str, str] = {}

    def open_order(self, amount: str, currency: str) -> None:
        self._money = {"amount": amount, "currency": currency}
        order = self._money | {"customerEmail": "payer@example.com"}
        self._reference = self._post("/v1/checkout/order", {"order": order})["orderReference"]
        self._say(f"Order {self._reference} of {amount} {currency} was opened.")

    def pay(self) -> None:
        submitted = submit_card(self._server, self._reference, PAYS)
        _expect(submitted["responseCode"] == "T0", "the bank did not ask for a password", submitted)
        self._transaction = submitted["transactionId"]
        paid = submit_password(self._server, self._reference, self._transaction, PASSWORD)
        _expect(paid["status"], "the payment did not go through", paid)
        self._say(f"It was paid by the test card and its password: {self._transaction}.")

    def ask_for_account(self) -> None:
        self._account = self._get("/v1/checkout/get-checkout-kta")["accountNumber"]
        self._say(f"It can be paid by a transfer to {self._account}.")

    def transfer(self) -> None:
        arrived = self._post("/sandbox/transfers", {"accountNumber": self._account} | self._money | _SENDER)
        self._say(f"The transfer arrived: {arrived['disposition']}, credit {arrived['creditId']}.")

    def be_declined(self) -> None:
        submitted = submit_card(self._server, self._reference, DECLINED)
        _expect(not submitted["status"], "the card was not declined", submitted)
        self._say(f"The test card was declined: {submitted['message']}.")

    def cancel(self) -> None:
        self._post("/v1/checkout/order/cancel", {"orderReference": self._reference})
        self._say("It was cancelled.")

    def refund(self) -> None:
        refunded = self._post("/v1/checkout/refund", {"transactionId": self._transaction})
        _expect(refunded["success"], "the refund did not go through", refunded)
        self._say(f"All of it was refunded: {refunded['message']}.")

    def wait_for(self, event: Wanted) -> Mapping[str, Any]:
        """Wait until the order's timeline tells of the event; return what it says."""
        deadline = time.monotonic() + HAPPENS_SECONDS
        while time.monotonic() < deadline:
            for each in self._get("/v1/opentill/orders")["timeline"]:
                if TYPE_OF.get(each["type"]) == event:
                    return {"orderReference": self._reference, **each}
            time.sleep(LOOK_SECONDS)
        raise OperatorError(
            f"order {self._reference} had no {event} within {HAPPENS_SECONDS:g} seconds; "
            "was the sandbox's rail told to misbehave?"
        )

    def _get(self, path: str) -> dict[str, Any]:
        return self._server.ask("GET", f"{path}/{quote(self._reference, safe='')}")

    def _post(self, path: str, body: Mapping[str, object]) -> dict[str, Any]:
        return self._server.ask("POST", path, body)


_STEPS: Final[Mapping[Wanted, tuple[Callable[[_TriggeredOrder], None], ...]]] = {
    "payment_success": (_TriggeredOrder.pay,),
    "payment_failed": (_TriggeredOrder.be_declined,),
    "order_cancelled": (_TriggeredOrder.cancel,),
    "payment_reversal": (_TriggeredOrder.pay, _TriggeredOrder.refund),
}
"""What is done to a new order so that it happens."""

_BY_TRANSFER: Final[Mapping[Wanted, tuple[Callable[[_TriggeredOrder], None], ...]]] = {
    "payment_success": (_TriggeredOrder.ask_for_account, _TriggeredOrder.transfer),
    "payment_reversal": (_TriggeredOrder.ask_for_account, _TriggeredOrder.cancel, _TriggeredOrder.transfer),
}
"""The same where money comes by transfer, which no bank declines."""


def _steps(event: Wanted, method: Method) -> tuple[Callable[[_TriggeredOrder], None], ...]:
    steps = (_STEPS if method == "card" else _BY_TRANSFER).get(event)
    if steps is None:
        raise OperatorError(f"no {event} comes of a transfer; leave --method out.")
    return steps


def _expect(came: object, otherwise: str, answer: Mapping[str, Any]) -> None:
    if not came:
        raise OperatorError(f"{otherwise}: {answer['message']}.")
