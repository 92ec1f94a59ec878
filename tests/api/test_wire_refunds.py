"""Refunds and what surrounds them, over HTTP: receipt, lists, history, money and switches."""

import itertools
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest

from opentill.api.wire import MAGIC_TRANSACTION
from opentill.rails.sandbox.card import OTP_CARD
from server import Server, client, signed_in

DETAILS = f'{{"cardNumber":"{OTP_CARD}","cardExpiryMonth":"10","cardExpiryYear":"30"}}'
_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("refunds")
    with Server(folder, refund_wait_seconds=0.1, max_otp_sends=2, card_timeout_seconds=60) as running:
        yield running


@pytest.fixture
def http(server: Server) -> Iterator[httpx2.Client]:
    with client(server) as connection:
        yield connection


def post(http: httpx2.Client, path: str, body: dict[str, Any], **headers: str) -> httpx2.Response:
    answer = http.post(path, json=body, headers=headers)
    assert list(answer.json()) == ["code", "description", "data"]
    return answer


def created(http: httpx2.Client, amount: str = "100.00") -> str:
    reference = f"order-{next(_numbers)}"
    order = {"orderReference": reference, "amount": amount, "currency": "NGN", "customerEmail": "a@b.c"}
    assert post(http, "/v1/checkout/order", {"order": order}).status_code == 200
    return reference


def charged(http: httpx2.Client, reference: str) -> str:
    body = {"cardDetails": DETAILS, "key": "", "orderReference": reference}
    data = post(http, "/v1/checkout/checkout-card-detail", body).json()["data"]
    assert data["responseCode"] == "T0"
    return str(data["transactionId"])


def paid(http: httpx2.Client, reference: str) -> str:
    transaction = charged(http, reference)
    body = {"otp": "9999", "orderReference": reference, "transactionId": transaction}
    assert post(http, "/v1/checkout/checkout-card-otp", body).json()["data"]["status"] is True
    return transaction


def refund(http: httpx2.Client, transaction: str, key: str | None = None, **more: Any) -> httpx2.Response:
    headers = {"X-Idempotent-key": key} if key else {}
    return post(http, "/v1/checkout/refund", {"transactionId": transaction} | more, **headers)


def switch(http: httpx2.Client, **how: Any) -> None:
    assert post(http, "/sandbox/rail", how).status_code == 200


def shown(http: httpx2.Client, transaction: str) -> dict[str, Any]:
    query = {"transactionRef": transaction}
    data: dict[str, Any] = http.get("/v1/transactions/accounts/single", params=query).json()["data"]
    return data


def full_order(http: httpx2.Client, reference: str) -> dict[str, Any]:
    data: dict[str, Any] = http.get(f"/v1/opentill/orders/{reference}").json()["data"]
    return data


def refusal(answer: httpx2.Response) -> tuple[int, str, str | None]:
    return answer.status_code, answer.json()["code"], answer.headers.get("refusal-reason")


# --- refunds --------------------------------------------------------------------------------------


def test_a_payment_is_refunded_in_parts_up_to_what_was_paid(http: httpx2.Client) -> None:
    """Parts add up, the rest needs no amount, and not a kobo more than was paid goes back."""
    reference = created(http)
    transaction = paid(http, reference)
    done = {"success": True, "message": "Refund processed successfully"}

    assert refund(http, transaction, amount=60).json()["data"] == done
    assert refusal(refund(http, transaction, amount="40.01")) == (400, "01", "refund-exceeds-paid")
    assert shown(http, transaction)["status"] == "SUCCESS"
    assert refund(http, transaction, accountNumber="0123456789", bankCode="058").json()["data"] == done
    assert refusal(refund(http, transaction)) == (400, "01", "refund-exceeds-paid")

    order = http.get(f"/v1/checkout/order/{reference}").json()["data"]["order"]
    assert (order["status"], order["amountPaid"], order["amountRefunded"]) == ("PAID", "100.00", "100.00")
    assert shown(http, transaction)["status"] == "REFUND"
    cancel = post(http, "/v1/checkout/order/cancel", {"orderReference": reference})
    assert refusal(cancel) == (400, "01", "order-already-paid")


def test_an_unpaid_order_is_not_refunded(http: httpx2.Client) -> None:
    """The refusal points to cancel, which is the tool for it."""
    answer = refund(http, charged(http, created(http)))
    assert refusal(answer) == (400, "01", "order-not-paid")
    assert "is cancelled, not refunded" in answer.json()["description"]


@pytest.mark.parametrize(
    ("more", "description"),
    [
        ({"amount": 0}, "amount must be greater than zero"),
        ({"amount": "1.001"}, "amount can not have more than 2 decimal places"),
        ({"amount": []}, "amount must be a number"),
        ({"accountNumber": "123456789", "bankCode": "058"}, "accountNumber must be 10 digits"),
        ({"accountNumber": "١٢٣٤٥٦٧٨٩٠", "bankCode": "058"}, "accountNumber must be 10 digits"),
        ({"accountNumber": "0123456789"}, "bankCode can not be null"),
        ({"bankCode": "058"}, "accountNumber can not be null"),
        ({"accountNumber": "0123456789", "bankCode": " "}, "bankCode can not be blank"),
        ({"transactionId": None}, "transactionId can not be null"),
        ({"transactionId": " "}, "transactionId can not be blank"),
    ],
)
def test_a_refund_that_can_not_be_understood_says_why(
    http: httpx2.Client, more: dict[str, Any], description: str
) -> None:
    """Each wrong field is 400 02, with a sentence that names it."""
    answer = refund(http, "WEB-ONLINE_C-1", **more)
    assert (*refusal(answer)[:2], answer.json()["description"]) == (400, "02", description)


def test_unknown_and_magic_transactions_fail_as_documented(server: Server, http: httpx2.Client) -> None:
    """An unknown one is 404; the sandbox's magic one is 400 "Request failed."."""
    assert refusal(refund(http, "WEB-ONLINE_C-1")) == (404, "404", None)
    answer = refund(http, MAGIC_TRANSACTION)
    assert (*refusal(answer), answer.json()["description"]) == (400, "400", None, "Request failed.")


def test_a_refund_that_the_rail_refuses_may_be_asked_for_again(http: httpx2.Client) -> None:
    """It is told in the rail's words, drops out of the cap, and leaves the books balanced."""
    reference = created(http)
    transaction = paid(http, reference)
    switch(http, operation="refund", outcome="refuse")

    data = refund(http, transaction).json()["data"]
    assert data["success"] is False
    assert "refused" in data["message"]
    assert full_order(http, reference)["money"]["refunded"] == "0.00"
    assert refund(http, transaction).json()["data"]["success"] is True
    statuses = [each["status"] for each in full_order(http, reference)["refunds"]]
    assert statuses == ["REFUSED", "DONE"]


def test_a_slow_refund_is_answered_as_running(http: httpx2.Client) -> None:
    """It counts against the cap at once, but the payment is not all back while it runs."""
    reference = created(http)
    transaction = paid(http, reference)
    switch(http, operation="refund", delayMilliseconds=600_000)

    data = refund(http, transaction).json()["data"]
    assert data == {"success": True, "message": "Refund is being processed"}
    order = full_order(http, reference)
    assert [each["status"] for each in order["refunds"]] == ["UNKNOWN"]
    assert order["amountRefunded"] == "100.00"
    assert refusal(refund(http, transaction)) == (400, "01", "refund-exceeds-paid")
    assert shown(http, transaction)["status"] == "SUCCESS"


def test_a_refund_is_made_once_for_one_key(http: httpx2.Client) -> None:
    """The first answer comes again, byte for byte, and nothing more is paid back."""
    reference = created(http)
    transaction = paid(http, reference)
    first, second = (refund(http, transaction, key=f"once-{reference}", amount=1) for _ in range(2))
    assert first.content == second.content
    assert second.headers["idempotency-replayed"] == "true"
    assert full_order(http, reference)["amountRefunded"] == "1.00"


def test_lists_find_a_payment_by_the_status_that_they_show(http: httpx2.Client) -> None:
    """SUCCESS and REFUND divide the payments as their own status does, each found once."""
    kept, parted, gone = (paid(http, created(http)) for _ in range(3))
    refund(http, parted, amount=1)
    refund(http, gone)

    def found(word: str) -> set[str]:
        body = {"status": word}
        results = post(http, "/v1/transactions/accounts", body).json()["data"]["results"]
        assert {each["status"] for each in results} <= {"SUCCESS" if word != "REFUND" else "REFUND"}
        return {each["id"] for each in results} & {kept, parted, gone}

    assert found("SUCCESS") == found("PAYMENT_SUCCESSFUL") == {kept, parted}
    assert found("REFUND") == {gone}


# --- what surrounds a payment ---------------------------------------------------------------------


def test_the_password_is_sent_again_so_often(http: httpx2.Client) -> None:
    """It is sent as often as the setting says, and not where nothing waits for one."""
    reference = created(http)
    body = {"orderReference": reference}
    resend = "/v1/checkout/resend-otp"
    assert refusal(post(http, resend, body)) == (400, "01", "attempt-ended")
    charged(http, reference)
    for _ in range(2):
        assert post(http, resend, body).json()["data"]["success"] is True
    assert refusal(post(http, resend, body)) == (400, "01", "too-many-otps")
    assert refusal(post(http, resend, {"orderReference": "nobody"})) == (404, "404", None)


def test_a_transaction_is_cancelled_and_its_order_stays_payable(http: httpx2.Client) -> None:
    """The attempt ends, its password is refused, and another attempt may pay; a finished one is refused."""
    reference = created(http)
    first = charged(http, reference)
    cancel = "/v1/checkout/transaction/cancel"
    assert refusal(post(http, cancel, {"transactionId": first})) == (400, "02", None)
    assert (
        post(http, cancel, {"transactionId": first, "forceCancel": "true"}).json()["data"]["success"] is True
    )
    body = {"otp": "9999", "orderReference": reference, "transactionId": first}
    assert refusal(post(http, "/v1/checkout/checkout-card-otp", body))[2] == "attempt-ended"
    assert refusal(post(http, cancel, {"transactionId": first, "forceCancel": False}))[2] == "attempt-ended"

    second = paid(http, reference)
    done = post(http, cancel, {"transactionId": second, "forceCancel": True})
    assert refusal(done) == (400, "01", "attempt-already-completed")
    unknown = post(http, cancel, {"transactionId": "WEB-ONLINE_C-1", "forceCancel": True})
    assert refusal(unknown) == (404, "404", None)


def test_a_receipt_is_confirmed_only_when_paid(http: httpx2.Client) -> None:
    """It tells and changes nothing; an unknown order is 404."""
    reference = created(http)

    def receipt(name: str) -> httpx2.Response:
        return post(http, "/v1/checkout/confirm-transaction-receipt", {"orderReference": name})

    before = receipt(reference).json()["data"]
    assert (before["status"], before["message"]) == (False, "PENDING")
    paid(http, reference)
    after = receipt(reference).json()["data"]
    assert (after["status"], after["message"]) == (True, "PAYMENT SUCCESSFUL")
    assert (after["order"]["status"], after["order"]["businessName"]) == ("PAID", "Sandbox Merchant")
    assert refusal(receipt("nobody")) == (404, "404", None)


def test_no_session_id_names_a_payment(server: Server, http: httpx2.Client) -> None:
    """Requery misses as a single transaction does, for a known and for no caller alike."""
    for headers in ({}, signed_in(server)):
        answer = http.get("/v1/transactions/requery/000014", headers=headers)
        assert (answer.status_code, answer.json()["description"]) == (
            404,
            "Transaction matching query not found",
        )
    wrong = http.get("/v1/transactions/requery/000014", headers={"Authorization": "Bearer x"})
    assert wrong.status_code == 401


# --- opentill's own -------------------------------------------------------------------------------


def test_an_order_tells_all_that_happened_to_it(http: httpx2.Client) -> None:
    """Attempts, refunds, money, possibilities, and one event for each version, in their sequence."""
    reference = created(http)
    transaction = paid(http, reference)
    refund(http, transaction, amount=30)
    order = full_order(http, reference)

    assert (order["orderReference"], order["status"], order["amountRefunded"]) == (reference, "PAID", "30.00")
    assert [event["type"] for event in order["timeline"]] == [
        "order_created",
        "attempt_started",
        "attempt_waiting",
        "attempt_resumed",
        "payment_success",
        "refund_started",
        "payment_refunded",
    ]
    assert [event["sequence"] for event in order["timeline"]] == list(range(1, order["version"] + 1))
    assert order["endedAt"] == order["timeline"][4]["at"]
    refunded = order["timeline"][-1]
    about = {"transactionId": transaction, "refundId": order["refunds"][0]["id"]}
    assert refunded["data"] == about | {"amount": "30.00", "currency": "NGN"}
    assert [(each["transactionId"], each["status"]) for each in order["attempts"]] == [
        (transaction, "APPROVED")
    ]
    assert OTP_CARD not in str(order)
    assert [each["action"] for each in order["allowed"] if each["allowed"]] == ["refund"]
    assert (order["credits"], order["returns"]) == ([], [])


def test_the_money_of_an_order_is_told_by_either_name(http: httpx2.Client) -> None:
    """The same money under reference and order id; an unknown name is 404."""
    reference = created(http, "12.50")
    paid(http, reference)
    order = full_order(http, reference)
    for name in (reference, order["orderId"]):
        money = http.get(f"/v1/opentill/orders/{name}/money").json()["data"]
        assert money == order["money"]
    assert (money["received"], money["applied"], money["currency"]) == ("12.50", "12.50", "NGN")
    for path in ("/v1/opentill/orders/nobody", "/v1/opentill/orders/nobody/money"):
        assert http.get(path).status_code == 404


def test_the_trial_balance_comes_to_nothing(http: httpx2.Client) -> None:
    """Debits equal credits, and a payment of 7, its fee and a refund of 3 are in them."""

    def balances() -> dict[str, float]:
        data = http.get("/v1/opentill/ledger/trial-balance").json()["data"]
        assert data["difference"] == "0.00"
        return {
            each["account"].split(":")[0]: float(each["debit"]) - float(each["credit"])
            for each in data["balances"]
        }

    before = balances()
    refund(http, paid(http, created(http, "7.00")), amount="3.00")
    after = balances()
    moved = {name: round(after[name] - before.get(name, 0.0), 2) for name in after}
    assert {name: sum_ for name, sum_ in moved.items() if sum_} == {
        "card_rail": 4.0,
        "merchant": -3.9,
        "fees": -0.1,
    }


@pytest.mark.parametrize(
    "how",
    [
        {},
        {"operation": "look_up"},
        {"operation": "charge", "outcome": "perhaps"},
        {"operation": "charge", "delayMilliseconds": -1},
        {"operation": "charge", "count": 1.5},
    ],
)
def test_a_switch_that_does_not_exist_is_refused(http: httpx2.Client, how: dict[str, Any]) -> None:
    """A wrong operation, outcome, delay or count is 400 02 and sets nothing."""
    assert refusal(post(http, "/sandbox/rail", how)) == (400, "02", None)


def test_a_switch_holds_for_so_many_calls(http: httpx2.Client) -> None:
    """Two calls are declined, the third is as ever; a count of 0 takes a switch back."""
    reference = created(http)
    body = {"cardDetails": DETAILS, "key": "", "orderReference": reference}

    def code() -> str:
        data = post(http, "/v1/checkout/checkout-card-detail", body).json()["data"]
        return str(data["responseCode"])

    switch(http, operation="charge", outcome="decline", count=2)
    assert [code(), code(), code()] == ["T1", "T1", "T0"]
    switch(http, operation="charge", outcome="decline")
    switch(http, operation="charge", count=0)
    assert code() == "T0"
