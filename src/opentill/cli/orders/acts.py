"""``opentill orders open``, ``pay`` and ``refund``: what a merchant's program and its payer would do."""

from typing import Any
from urllib.parse import urlencode

from opentill.cli.orders.card import PASSWORD, PAYS, submit_card, submit_password
from opentill.cli.preflight import OperatorError, operator_errors
from opentill.cli.printing import AsJson, printable, say, say_json
from opentill.cli.server import AskedServer


def open_(
    reference: str | None = None,
    /,
    *,
    amount: str = "100.00",
    currency: str = "NGN",
    email: str = "payer@example.com",
    customer_id: str | None = None,
    expires_in: int | None = None,
    as_json: AsJson = False,
    asked: AskedServer | None = None,
) -> None:
    """Open an order and print the link for its payer.

    Args:
        reference: The merchant's own name for it; the server makes one when left out.
        amount: In major units.
        currency: Its currency.
        email: Address of the customer.
        customer_id: The merchant's own name for the customer.
        expires_in: Seconds after which it can not be paid any more; never when left out.
        as_json: Print one line of JSON.
        asked: Which server.
    """
    order = {
        "orderReference": reference,
        "amount": amount,
        "currency": currency,
        "customerEmail": email,
        "customerId": customer_id,
        "expiresInSeconds": expires_in,
    }
    with operator_errors():
        opened = (asked or AskedServer()).server().ask("POST", "/v1/checkout/order", {"order": order})
    if as_json:
        say_json(opened)
    else:
        say(f"Order {printable(opened['orderReference'])} ({opened['orderId']}) was opened.")
        say(opened["checkoutLink"])


def pay(
    name: str,
    /,
    *,
    card: str = PAYS,
    password: str = PASSWORD,
    as_json: AsJson = False,
    asked: AskedServer | None = None,
) -> None:
    """Pay an order of a sandbox by one of its test cards.

    Args:
        name: Its reference or order id.
        card: Number of the test card.
        password: The one-time password, where the card asks for one.
        as_json: Print one line of JSON.
        asked: Which server.
    """
    with operator_errors():
        server = (asked or AskedServer()).server()
        paid = submitted = submit_card(server, name, card)
        if submitted["responseCode"] == "T0":
            paid = submit_password(server, name, submitted["transactionId"], password)
        elif submitted["responseCode"] == "S0":
            raise OperatorError("this card wants its bank's page; open the order's link in a browser.")
        if not paid["status"]:
            raise OperatorError(f"it was not paid: {paid['message'].rstrip('.')}.")
    told = {"orderReference": name, "transactionId": submitted["transactionId"], "message": paid["message"]}
    if as_json:
        say_json(told)
    else:
        say(f"Order {printable(name)} is paid by {told['transactionId']}: {printable(told['message'])}.")


def refund(
    name: str,
    /,
    *,
    amount: str | None = None,
    account_number: str | None = None,
    bank_code: str | None = None,
    as_json: AsJson = False,
    asked: AskedServer | None = None,
) -> None:
    """Give back what was paid for an order, in whole or in part.

    Args:
        name: Its reference or order id.
        amount: In major units; all that is left when left out.
        account_number: Bank account to pay to; to whoever paid when left out.
        bank_code: Of that account.
        as_json: Print one line of JSON.
        asked: Which server.
    """
    with operator_errors():
        server = (asked or AskedServer()).server()
        query = urlencode({"orderReference": name})
        transaction = server.ask("GET", f"/v1/transactions/accounts/single?{query}")["id"]
        body: dict[str, Any] = {
            "transactionId": transaction,
            "amount": amount,
            "accountNumber": account_number,
            "bankCode": bank_code,
        }
        told = server.ask("POST", "/v1/checkout/refund", body)
        if not told["success"]:
            raise OperatorError(f"it was not refunded: {told['message'].rstrip('.')}.")
    if as_json:
        say_json({"orderReference": name, "transactionId": transaction, "message": told["message"]})
    else:
        say(f"Order {printable(name)}, {transaction}: {printable(told['message'])}.")
