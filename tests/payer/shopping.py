"""Orders brought into every state that a payer's link can be in, over HTTP as merchants and payers do it."""

import itertools
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import httpx2

from opentill.rails.sandbox.card import CHALLENGE_CARD, DECLINED_CARD, OTP_CARD

SHOP_URL: Final = "/health/live?basket=7#paid"
"""Path of a page at the till itself that stands for the shop, so that a browser asks nobody else."""

_numbers = itertools.count(1)
_tokens: dict[str, str] = {}


@dataclass(frozen=True)
class Shopping:
    """A merchant's program, and the payer's bank, at one till."""

    http: httpx2.Client

    def post(self, path: str, body: object) -> dict[str, Any]:
        """``data`` of a success."""
        answer = self.http.post(path, json=body)
        assert answer.status_code == 200, answer.text
        data: dict[str, Any] = answer.json()["data"]
        return data

    def order(self, amount: str = "10000.00", **more: object) -> "Bought":
        """A new order; further members of it by their names on the wire."""
        reference = f"INV-2041-{next(_numbers):04}"
        asked = {
            "orderReference": reference,
            "amount": amount,
            "currency": "NGN",
            "customerEmail": "ada@example.com",
            "callbackUrl": f"{str(self.http.base_url).rstrip('/')}{SHOP_URL}",
        }
        made = self.post("/v1/checkout/order", {"order": asked | more})
        return Bought(self, made["orderReference"], made["orderId"], made["checkoutLink"])

    def rail(self, operation: str, outcome: str) -> None:
        """Make the sandbox's rail behave so at its next call."""
        self.post("/sandbox/rail", {"operation": operation, "outcome": outcome, "count": 1})


@dataclass(frozen=True)
class Bought:
    """One order: what its merchant and its payer can do with it."""

    shopping: Shopping
    reference: str
    order_id: str
    link: str

    def status(self) -> str:
        """Return the status as the API tells it."""
        path = f"/v1/checkout/order/{self.reference}"
        return str(self.shopping.http.get(path).json()["data"]["order"]["status"])

    def cancel(self) -> None:
        """Cancel it as its merchant."""
        self.shopping.post("/v1/checkout/order/cancel", {"orderReference": self.reference})

    def charge(self, number: str = OTP_CARD) -> dict[str, Any]:
        """Over the API, as from another device."""
        details = f'{{"cardNumber":"{number}","cardExpiryMonth":"10","cardExpiryYear":"30"}}'
        body = {"cardDetails": details, "key": "", "orderReference": self.reference}
        return self.shopping.post("/v1/checkout/checkout-card-detail", body)

    def confirm(self, transaction_id: str, otp: str = "9999") -> dict[str, Any]:
        """Confirm it like ``charge``."""
        body = {"otp": otp, "orderReference": self.reference, "transactionId": transaction_id}
        return self.shopping.post("/v1/checkout/checkout-card-otp", body)

    def pay(self) -> str:
        """Pay it over the API; the transaction id."""
        transaction = str(self.charge()["transactionId"])
        assert self.confirm(transaction)["status"]
        return transaction

    def ask_for_account(self) -> None:
        """Ask for its account as its payer, on the page."""
        self._send("account")

    def let_arrive(self, arrival: str) -> None:
        """A made-up transfer to its account, as the sandbox's page does it."""
        self._send("arrive", arrival=arrival)

    def _send(self, word: str, **fields: str) -> None:
        sent = self.shopping.http.post(f"{self.link}/{word}", data=fields | {"form": self.form_token()})
        assert sent.status_code == 303, sent.text

    def form_token(self) -> str:
        """Return what every form of its page carries; an ended page has none, so it is asked for before."""
        if self.link not in _tokens:
            found = re.search(r'name="form" value="([^"]+)"', self.shopping.http.get(self.link).text)
            assert found is not None
            _tokens[self.link] = found.group(1)
        return _tokens[self.link]

    def refund(self, transaction_id: str, amount: str) -> None:
        """Refund it as its merchant."""
        self.shopping.post("/v1/checkout/refund", {"transactionId": transaction_id, "amount": amount})


# --- states of a link -------------------------------------------------------------------------------


def pending(shopping: Shopping) -> Bought:
    """Nothing has happened yet."""
    return shopping.order()


def pending_with_time(shopping: Shopping) -> Bought:
    """Open an order like ``pending``, with a time until which it can be paid."""
    return shopping.order(expiresInSeconds=1740)


def otp(shopping: Shopping) -> Bought:
    """A card waits for its one-time password."""
    order = shopping.order()
    order.charge()
    return order


def otp_wrong(shopping: Shopping) -> Bought:
    """Open an order like ``otp`` whose payer has sent a wrong password."""
    order = shopping.order()
    order.confirm(order.charge()["transactionId"], "5464")
    return order


def challenge(shopping: Shopping) -> Bought:
    """A card waits for its bank's challenge."""
    order = shopping.order()
    order.charge(CHALLENGE_CARD)
    return order


def declined(shopping: Shopping) -> Bought:
    """The last card was declined."""
    order = shopping.order()
    order.charge(DECLINED_CARD)
    return order


def checking(shopping: Shopping) -> Bought:
    """Nobody knows whether the card was charged."""
    order = shopping.order()
    transaction = order.charge()["transactionId"]
    shopping.rail("confirm", "unknown")
    order.confirm(transaction)
    return order


def paid(shopping: Shopping) -> Bought:
    """Paid by card."""
    order = shopping.order()
    order.pay()
    return order


def partly_refunded(shopping: Shopping) -> Bought:
    """Paid, and a part of it given back."""
    order = shopping.order()
    order.refund(order.pay(), "2500.00")
    return order


def refunded(shopping: Shopping) -> Bought:
    """Paid, and all of it given back."""
    order = shopping.order()
    order.refund(order.pay(), "10000.00")
    return order


def cancelled(shopping: Shopping) -> Bought:
    """Cancelled before anything was paid."""
    order = shopping.order()
    order.cancel()
    return order


def cancelled_while_checking(shopping: Shopping) -> Bought:
    """Cancelled while nobody knew whether the card was charged."""
    order = checking(shopping)
    order.cancel()
    return order


def transfer(shopping: Shopping) -> Bought:
    """The payer has asked for an account number."""
    order = shopping.order()
    order.ask_for_account()
    return order


def partly_paid(shopping: Shopping) -> Bought:
    """A part of it has arrived by transfer."""
    order = transfer(shopping)
    order.let_arrive("short")
    return order


def paid_too_much(shopping: Shopping) -> Bought:
    """Paid by transfer, and what was too much goes back."""
    order = transfer(shopping)
    order.let_arrive("over")
    return order


def cancelled_then_paid(shopping: Shopping) -> Bought:
    """A transfer arrived after the cancel."""
    order = transfer(shopping)
    order.cancel()
    order.let_arrive("exact")
    return order


def expired(shopping: Shopping) -> Bought:
    """Its time is over; whether a worker has come by yet does not matter."""
    return shopping.order(expiresInSeconds=1)


STATES: Final[tuple[Callable[[Shopping], Bought], ...]] = (
    pending,
    pending_with_time,
    otp,
    otp_wrong,
    challenge,
    declined,
    checking,
    paid,
    partly_refunded,
    refunded,
    cancelled,
    cancelled_while_checking,
    transfer,
    partly_paid,
    paid_too_much,
    cancelled_then_paid,
    expired,
)
