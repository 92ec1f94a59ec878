"""What a hostile merchant, payer or browser may ask of payments: none of it moves money or changes a row."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx2
import pytest

from api.golden.state import create, given_orders, submit_card, unchanged
from databases import NewDatabase, rail_contents
from opentill.keys.keyring import Keyring
from server import Server, client, new_merchant, signed_in

JSON = {"Content-Type": "application/json"}
REFUND = "/v1/checkout/refund"
END_ATTEMPT = "/v1/checkout/transaction/cancel"
RESEND = "/v1/checkout/resend-otp"
RECEIPT = "/v1/checkout/confirm-transaction-receipt"
OTP = "/v1/checkout/checkout-card-otp"
RAIL = "/sandbox/rail"
BANK = "/sandbox/3ds"
IN_FULL = "/v1/opentill/orders"
CHALLENGE_CARD = "4000000000002503"


@dataclass(frozen=True)
class Payments:
    """One server with an order that is paid and one that waits for its payer's bank."""

    server: Server
    http: httpx2.Client
    waiting: str
    """The transaction of order ``waiting``, which waits for a one-time password."""
    paid: str
    """The transaction that paid order ``paid``."""
    challenged: str
    """The transaction of order ``challenged``."""
    form: dict[str, str]
    """What the browser posts to the bank of ``challenged``."""
    back: str
    """Where it comes back to."""

    @contextmanager
    def unmoved(self) -> Iterator[None]:
        """Neither our rows nor the sandbox rail's own change meanwhile, and every order stays as it was."""
        before, shown = rail_contents(self.server.place), self.shown()
        with unchanged(self.server):
            yield
        assert rail_contents(self.server.place) == before
        assert self.shown() == shown

    def shown(self) -> list[bytes]:
        """The three orders as their merchant sees them."""
        return [self.http.get(f"{IN_FULL}/{name}").content for name in ("waiting", "paid", "challenged")]


@pytest.fixture(scope="module")
def mallory(given: Payments) -> Iterator[httpx2.Client]:
    """Another merchant's program."""
    theirs = new_merchant(given.server, "Mallory")
    with client(given.server, headers=signed_in(given.server, theirs)) as connected:
        yield connected


@pytest.fixture(scope="module")
def given(new_database: NewDatabase, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Payments]:
    folder, url = tmp_path_factory.mktemp("cards"), new_database()
    with Server(folder, database_url=url) as server, client(server) as http:
        waiting = given_orders(server)
        paid = charged(http, "paid")["transactionId"]
        body = {"otp": "9999", "orderReference": "paid", "transactionId": paid}
        assert http.post(OTP, json=body).json()["data"]["status"] is True
        challenge = charged(http, "challenged", CHALLENGE_CARD)
        secure = challenge["secureAuthenticationData"]
        form = {"JWT": secure["jwt"], "MD": secure["md"]}
        yield Payments(server, http, waiting, paid, challenge["transactionId"], form, secure["termUrl"])


def charged(http: httpx2.Client, reference: str, *card: str, **terms: object) -> dict[str, Any]:
    """Return what is answered to a card for a new order."""
    assert create(http, reference, **terms).status_code == 200
    data: dict[str, Any] = submit_card(http, reference, *card).json()["data"]
    return data


def refused(answer: httpx2.Response, code: str) -> str:
    """The sentence of a refusal with this code; any other answer fails the test."""
    assert 400 <= answer.status_code < 500, answer.text
    body: dict[str, Any] = answer.json()
    assert (list(body), body["code"], body["data"]) == (["code", "description", "data"], code, None)
    return str(body["description"])


# --- refunds --------------------------------------------------------------------------------------

AMOUNTS = (
    *("-1", "-0.01", "0", "-0", "0.00", "0.001", "99.999", "1e2", "1E-2", "10000000000000.01"),
    *("9" * 31, "9" * 5000, "1e99999", "true", "false", "[]", "[1]", "{}", '{"amount":1}'),
)
AMOUNT_TEXTS = ("", " ", "-1", "+1", "0", "00", "1e2", "0x1", "1_0", "1,00", "\u0661", "\uff11", "1.", ".5")
ODD_TEXTS = ("NaN", "inf", "1\n", "1\u0000", "null", "\ud800", "1\udfff", "100.00 NGN")


@pytest.mark.parametrize(
    "amount", [*AMOUNTS, *map(json.dumps, AMOUNT_TEXTS + ODD_TEXTS)], ids=lambda text: text[:12]
)
def test_a_hostile_amount_refunds_nothing(given: Payments, amount: str) -> None:
    """Money that is not a plain, positive number of minor units is 400 02 and does not count as "all"."""
    body = f'{{"transactionId":"{given.paid}","amount":{amount}}}'
    with given.unmoved():
        refused(given.http.post(REFUND, content=body.encode(), headers=JSON), "02")


@pytest.mark.parametrize("amount", ["100.01", "9999999999999.99", 101, 100.01])
def test_more_than_was_paid_is_not_refunded(given: Payments, amount: object) -> None:
    """The cap holds for any amount that can be written, and says so."""
    with given.unmoved():
        answer = given.http.post(REFUND, json={"transactionId": given.paid, "amount": amount})
        refused(answer, "01")
        assert answer.headers["refusal-reason"] == "refund-exceeds-paid"


NUMBER, BANK_CODE = "0123456789", "058"
NUMBERS: tuple[object, ...] = (
    *(None, "", " ", NUMBER[1:], f"{NUMBER}0", f"{NUMBER}\n", f" {NUMBER}", "012345678a", "-123456789"),
    *("0x12345678", "012 345678", "1e10000000", "\u0660" * 10, "\uff10" * 10, "\u0000" * 10, "\ud800" * 10),
    *("0" * 10_000, 1234567890, 0.1, True, [NUMBER], {"number": NUMBER}),
)
BANK_CODES: tuple[object, ...] = (
    *(None, "", " ", "\u3000", "\u0085", "058\n", "0\u000058", "\udfff", "0" * 17, 58, True, [BANK_CODE]),
)
BANK_ACCOUNTS = [(each, BANK_CODE) for each in NUMBERS] + [(NUMBER, each) for each in BANK_CODES]


@pytest.mark.parametrize(("number", "code"), BANK_ACCOUNTS, ids=lambda value: ascii(value)[:16])
def test_a_hostile_bank_account_gets_nothing(given: Payments, number: object, code: object) -> None:
    """An account that is not ten plain digits at a named bank is 400 02, and is not left out instead."""
    body = {"transactionId": given.paid, "amount": "1.00", "accountNumber": number, "bankCode": code}
    with given.unmoved():
        answer = given.http.post(REFUND, content=json.dumps(body).encode(), headers=JSON)
        refused(answer, "02")


# --- bodies and names -----------------------------------------------------------------------------

POISONS = {
    "NaN": b"NaN",
    "Infinity": b"[-Infinity]",
    "lone surrogate": rb'"\ud800"',
    "lone surrogate in a key": rb'{"\udfff":1}',
    "NUL": rb'{"a":["\u0000"]}',
    "duplicate key": b'{"a":1,"a":2}',
    "invalid UTF-8": b'"\xff"',
    "deep lists": b"[" * 10_000 + b"]" * 10_000,
    "a megabyte": b'"' + b"v" * 1_048_576 + b'"',
    "half": b'{"a":',
}


@pytest.mark.parametrize("path", [REFUND, END_ATTEMPT, RESEND, RECEIPT, RAIL])
@pytest.mark.parametrize("poison", POISONS.values(), ids=POISONS.keys())
def test_a_poisoned_body_is_refused_whole(given: Payments, path: str, poison: bytes) -> None:
    """A body that would be carried out but for a member that nobody reads is 400 02, and is not."""
    body: dict[str, dict[str, object]] = {
        REFUND: {"transactionId": given.paid},
        END_ATTEMPT: {"transactionId": given.waiting, "forceCancel": True},
        RESEND: {"orderReference": "waiting"},
        RECEIPT: {"orderReference": "paid"},
        RAIL: {"operation": "charge", "outcome": "decline"},
    }
    content = json.dumps(body[path]).encode()[:-1] + b',"x":' + poison + b"}"
    with given.unmoved():
        refused(given.http.post(path, content=content, headers=JSON), "02")


NAMES: dict[str, tuple[object, str]] = {
    "null": (None, "02"),
    "a number": (1, "02"),
    "a list": (["paid"], "02"),
    "an object": ({"$ne": ""}, "02"),
    "nothing": ("", "02"),
    "blank": ("\u3000 \t", "02"),
    "NUL": ("paid\u0000", "02"),
    "control character": ("paid\u001b", "02"),
    "lone surrogate": ("\ud800", "02"),
    "over-long": ("v" * 256, "02"),
    "SQL": ("' OR 1=1 --", "404"),
    "wildcard": ("%", "404"),
    "a path": ("../paid", "404"),
    "other case": ("PAID", "404"),
    "trailing space": ("paid ", "404"),
    "other letters": ("pa\u0131d", "404"),
}


@pytest.mark.parametrize(("name", "code"), NAMES.values(), ids=NAMES.keys())
def test_a_hostile_name_finds_nothing(given: Payments, name: object, code: str) -> None:
    """No other text than its name finds an order or a transaction, and none makes a fault."""
    bodies: list[tuple[str, dict[str, object]]] = [
        (REFUND, {"transactionId": name}),
        (END_ATTEMPT, {"transactionId": name, "forceCancel": False}),
        (RESEND, {"orderReference": name}),
        (RECEIPT, {"orderReference": name}),
    ]
    with given.unmoved():
        for path, body in bodies:
            refused(given.http.post(path, content=json.dumps(body).encode(), headers=JSON), code)


@pytest.mark.parametrize(
    "path", [f"{IN_FULL}/paid/money/x", f"{IN_FULL}/paid/other", "/v1/transactions/requery"]
)
def test_a_path_that_is_cut_or_too_long_is_no_route(given: Payments, path: str) -> None:
    """Neither a missing nor a further segment reaches an order."""
    with given.unmoved():
        assert refused(given.http.get(path), "404") == "Resource not found"


@pytest.mark.parametrize("name", ["%00", "paid%00", "%ED%A0%80", "%FF", "%20", "v" * 5000])
def test_a_path_that_names_nothing_is_refused(given: Payments, name: str) -> None:
    """The reads of contract 10 and the requery are as strict with a path as the order's own."""
    with given.unmoved():
        for path in (f"{IN_FULL}/{name}", f"{IN_FULL}/{name}/money", f"/v1/transactions/requery/{name}"):
            refused(given.http.get(path), "02")


# --- other people's payments ----------------------------------------------------------------------


def test_another_merchant_reaches_no_payment(given: Payments, mallory: httpx2.Client) -> None:
    """By whatever name, a foreign order or transaction can neither be seen, refunded nor ended."""
    order_id = given.http.get(f"{IN_FULL}/paid").json()["data"]["orderId"]
    own = {"accountId": given.server.credentials["OPENTILL_ACCOUNT_ID"]}
    with given.unmoved():
        for transaction in (given.paid, given.waiting, given.challenged):
            refused(mallory.post(REFUND, json={"transactionId": transaction}), "404")
            refused(mallory.post(REFUND, json={"transactionId": transaction, "amount": 1000}), "404")
            body = {"transactionId": transaction, "forceCancel": True}
            refused(mallory.post(END_ATTEMPT, json=body), "404")
            refused(mallory.post(END_ATTEMPT, json=body, headers=own), "403")
        for name in ("waiting", "paid", order_id):
            refused(mallory.post(RESEND, json={"orderReference": name}), "404")
            refused(mallory.post(RECEIPT, json={"orderReference": name}), "404")
            refused(mallory.get(f"{IN_FULL}/{name}"), "404")
            refused(mallory.get(f"{IN_FULL}/{name}/money"), "404")
        ledger = mallory.get("/v1/opentill/ledger/trial-balance")
        assert ledger.json()["data"] == {"balances": [], "difference": "0.00"}
        refused(mallory.get("/v1/opentill/ledger/trial-balance", headers=own), "403")


def test_the_same_reference_of_two_merchants_is_two_orders(given: Payments, mallory: httpx2.Client) -> None:
    """A merchant with an order of our reference ends, pays and refunds that one, never ours."""
    before = given.shown()
    assert create(mallory, "paid").status_code == 200
    assert mallory.get(f"{IN_FULL}/paid/money").json()["data"]["received"] == "0.00"
    transaction = submit_card(mallory, "paid").json()["data"]["transactionId"]
    body = {"otp": "9999", "orderReference": "paid", "transactionId": given.paid}
    refused(mallory.post(OTP, json=body), "404")
    refused(given.http.post(REFUND, json={"transactionId": transaction}), "404")
    refused(given.http.post(END_ATTEMPT, json={"transactionId": transaction, "forceCancel": True}), "404")
    assert given.shown() == before


def test_a_transaction_is_not_taken_for_another_orders(given: Payments) -> None:
    """The right password with the transaction of another order of ours pays neither."""
    with given.unmoved():
        for reference in ("victim", "paid"):
            body = {"otp": "9999", "orderReference": reference, "transactionId": given.waiting}
            refused(given.http.post(OTP, json=body), "404")


# --- switches of the sandbox's rail ---------------------------------------------------------------

OPERATIONS = ('""', '"CHARGE"', '["charge"]', '"charge\\u0000"', '"\\ud800"', '"charge","operation":"void"')
MEMBERS = {
    "outcome": ('""', '"Approve"', "[]", "0", '"\\ud800"'),
    "count": ("-1", "1.5", "1e3", '"1"', "1000001", "9" * 400),
    "delayMilliseconds": ("-1", "0.5", "600001", "9" * 400, "NaN"),
}
SWITCHES = (
    *("null", "[]", '"charge"', "1", "{}"),
    *(f'{{"operation":{text}}}' for text in OPERATIONS),
    *(f'{{"operation":"charge","{name}":{text}}}' for name, texts in MEMBERS.items() for text in texts),
)


@pytest.mark.parametrize("body", SWITCHES, ids=lambda text: text[:40])
def test_a_hostile_switch_is_not_set(given: Payments, body: str) -> None:
    """A body that is not wholly a switch is 400 02, and the rail answers as it did."""
    with given.unmoved():
        refused(given.http.post(RAIL, content=body.encode(), headers=JSON), "02")


# --- the bank's page ------------------------------------------------------------------------------


def forms(given: Payments) -> dict[str, dict[str, str]]:
    """Return what a payer could post to the bank instead of what the shop's page was given."""
    head, claims, signature = given.form["JWT"].split(".")
    stranger = Keyring(b"x" * 32).sign_challenge(given.challenged, given.back, 2**41)
    other = charged(given.http, "another", CHALLENGE_CARD)
    jwt = {
        "no signature": f"{head}.{claims}.",
        "another signature": f"{head}.{claims}.{signature[::-1]}",
        "other claims": f"{head}.{claims[::-1]}.{signature}",
        "no algorithm": f"eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0.{claims}.",
        "two parts": f"{head}.{claims}",
        "a stranger's key": stranger,
        "lower case": given.form["JWT"].lower(),
        "twice": given.form["JWT"] * 2,
        "another's": other["secureAuthenticationData"]["jwt"],
        "no text": "\ufffd\u0000",
    }
    md = {
        "none": "",
        "another's": other["transactionId"],
        "an order's": "challenged",
        "odd": "\u0000' OR 1=1",
    }
    return {f"JWT: {name}": given.form | {"JWT": text} for name, text in jwt.items()} | {
        f"MD: {name}": given.form | {"MD": text} for name, text in md.items()
    }


def test_a_tampered_challenge_answers_none(given: Payments) -> None:
    """Whatever is changed about JWT or MD, the bank's page turns it down, and the right form still works."""
    wrong = forms(given)
    with given.unmoved():
        for name, form in wrong.items():
            for path in (BANK, f"{BANK}/answer"):
                answer = given.http.post(path, data=form | {"answer": "approve"})
                assert (answer.status_code, "is not valid" in answer.text) == (400, True), name
        assert given.http.post(BANK, data=given.form).status_code == 200


@pytest.mark.parametrize(
    ("content", "content_type"),
    [
        (b"", "application/x-www-form-urlencoded"),
        (b"\xff\xfe", "application/x-www-form-urlencoded"),
        (b"&" * 10_000, "application/x-www-form-urlencoded"),
        (b"JWT=%FF&MD=%00&answer=approve", "application/x-www-form-urlencoded"),
        (b"a=" + b"v" * 1_048_576, "application/x-www-form-urlencoded"),
        (b'{"JWT":"x","MD":"y","answer":"approve"}', "application/json"),
        (b"--b\r\n\r\n--b--", "multipart/form-data; boundary=b"),
    ],
    ids=["nothing", "no ASCII", "many", "no UTF-8", "a megabyte", "JSON", "multipart"],
)
def test_a_form_without_a_form_answers_none(given: Payments, content: bytes, content_type: str) -> None:
    """The bank turns down what is no form of its own, however long and in whatever encoding."""
    with given.unmoved():
        for path in (BANK, f"{BANK}/answer"):
            answer = given.http.post(path, content=content, headers={"Content-Type": content_type})
            assert answer.status_code == 400


@pytest.mark.parametrize("word", ["", "Approve", "approve ", "yes", "approve&answer=maybe", "\u0000"])
def test_only_the_two_words_answer_a_challenge(given: Payments, word: str) -> None:
    """With the right challenge, but neither "approve" nor "fail", nothing was answered."""
    with given.unmoved():
        assert given.http.post(f"{BANK}/answer", data=given.form | {"answer": word}).status_code == 400


# --- the page to which the payer comes back -------------------------------------------------------


def test_a_tampered_return_link_leads_nowhere(given: Payments) -> None:
    """No link but the one that was given ends a challenge; a link of another page is none of this one."""
    head, _, token = given.back.rpartition("/")
    payer = given.http.get(f"{IN_FULL}/challenged").json()["data"]["orderId"]
    changed = [token[:at] + ("A" if token[at] != "A" else "B") + token[at + 1 :] for at in range(len(token))]
    wrong = [
        *changed,
        token[:-1],
        f"{token}A",
        f"{token}=",
        token.swapcase(),
        token[::-1],
        payer,
        "%00",
        "%FF",
    ]
    with given.unmoved():
        for other in wrong:
            assert given.http.get(f"{head}/{other}").status_code == 404, other
        assert given.http.get(f"{head}/{token}/x").status_code == 404
        assert given.http.get(head.replace("/challenge", f"/{token}")).status_code == 404
        assert given.http.post(f"{head}/{changed[0]}", data=given.form).status_code == 404


def challenge_of(given: Payments, reference: str) -> tuple[dict[str, str], str]:
    """The bank's form and the way back of a new order that waits for its bank."""
    data = charged(given.http, reference, CHALLENGE_CARD, callbackUrl="https://shop.example/done")
    secure = data["secureAuthenticationData"]
    return {"JWT": secure["jwt"], "MD": secure["md"]}, secure["termUrl"]


@pytest.mark.parametrize(("word", "money"), [("approve", "100.00"), ("fail", "0.00")])
def test_a_return_page_that_is_loaded_again_moves_nothing(given: Payments, word: str, money: str) -> None:
    """Once a challenge has ended, reloads, further answers and a stray password change no row."""
    form, back = challenge_of(given, f"reload-{word}")
    given.http.post(f"{BANK}/answer", data=form | {"answer": word})
    first = given.http.get(back)
    with given.unmoved():
        assert given.http.head(back).status_code == 200
        for again in (given.http.get, given.http.post):
            answer = again(back)
            assert (answer.status_code, answer.headers["location"]) == (303, first.headers["location"])
        for other in ("approve", "fail"):
            assert given.http.post(f"{BANK}/answer", data=form | {"answer": other}).status_code == 303
            assert given.http.get(back).status_code == 303
        body = {"otp": "9999", "orderReference": f"reload-{word}", "transactionId": form["MD"]}
        assert given.http.post(OTP, json=body).json()["code"] == ("400" if money != "0.00" else "01")
    shown = given.http.get(f"{IN_FULL}/reload-{word}").json()["data"]
    assert (first.status_code, shown["money"]["received"]) == (303, money)


def test_a_return_page_that_is_loaded_many_times_at_once_pays_once(given: Payments) -> None:
    """Of eight browsers that come back at the same moment all end well, and the money is taken once."""
    form, back = challenge_of(given, "at-once")
    given.http.post(f"{BANK}/answer", data=form | {"answer": "approve"})
    with ThreadPoolExecutor(8) as browsers:
        answers = list(browsers.map(lambda _: given.http.get(back).status_code, range(8)))
    assert set(answers) <= {200, 303}
    shown = given.http.get(f"{IN_FULL}/at-once").json()["data"]
    assert (shown["status"], shown["money"]["received"], len(shown["attempts"])) == ("PAID", "100.00", 1)
    assert [event["type"] for event in shown["timeline"]].count("payment_success") == 1


def test_a_challenge_of_a_cancelled_order_moves_nothing(given: Payments) -> None:
    """After the order was cancelled, neither the bank's answer nor the way back changes a row of ours."""
    form, back = challenge_of(given, "challenge-cancelled")
    given.http.post("/v1/checkout/order/cancel", json={"orderReference": "challenge-cancelled"})
    given.http.post(f"{BANK}/answer", data=form | {"answer": "approve"})
    with given.unmoved():
        for _ in range(3):
            assert given.http.get(back).status_code == 303
    money = given.http.get(f"{IN_FULL}/challenge-cancelled/money").json()["data"]
    assert (money["received"], money["returned"]) == ("0.00", "0.00")


def test_no_page_shows_what_is_not_for_it(given: Payments) -> None:
    """Neither the bank's page nor ours shows a card number or what the payer typed."""
    form = given.form | {"JWT": "<script>alert(1)</script>", "MD": '"><img src=x>'}
    for answer in (given.http.post(BANK, data=form), given.http.post(BANK, data=given.form)):
        assert not any(word in answer.text for word in ("<script", "<img", CHALLENGE_CARD, "8391"))
    log = given.server.log_file.read_text()
    assert given.form["JWT"] not in log
    assert given.back.rpartition("/")[2] not in log


def test_looking_whether_the_return_page_is_there_decides_nothing(given: Payments) -> None:
    """A link checker's HEAD leaves an unanswered challenge as it is; the payer can still go on."""
    form, back = challenge_of(given, "only-looked-at")
    with given.unmoved():
        assert given.http.head(back).status_code == 200
    given.http.post(f"{BANK}/answer", data=form | {"answer": "approve"})
    assert given.http.get(back).status_code == 303
