"""3-D Secure as a payer's browser goes through it, with forms and redirects alone."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from html import escape
from html.parser import HTMLParser
from typing import Any

import httpx2
import pytest

from databases import NewDatabase
from opentill.domain.decisions import create
from opentill.keys.keyring import Keyring, open_keyring
from opentill.payer.view import callback_location
from opentill.rails.sandbox.card import CHALLENGE_CARD, OTP_CARD
from opentill.settings import load_settings
from server import Server, client
from store_factories import NOW, new_order

SHOP = "https://shop.example/back?a=b%20c#top"
UNPAID = "You have not been charged for this try."


@pytest.fixture(scope="module")
def server(new_database: NewDatabase, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder, url = tmp_path_factory.mktemp("challenge"), new_database()
    with Server(folder, database_url=url, card_timeout_seconds=0.5) as running:
        yield running


@pytest.fixture
def http(server: Server) -> Iterator[httpx2.Client]:
    with client(server) as connection:
        yield connection


def post(http: httpx2.Client, path: str, body: dict[str, Any]) -> dict[str, Any]:
    answer = http.post(path, json=body)
    assert answer.status_code == 200, answer.text
    data: dict[str, Any] = answer.json()["data"]
    return data


def charge(http: httpx2.Client, reference: str, number: str = CHALLENGE_CARD) -> dict[str, Any]:
    details = f'{{"cardNumber":"{number}","cardExpiryMonth":"10","cardExpiryYear":"30"}}'
    return post(
        http,
        "/v1/checkout/checkout-card-detail",
        {"cardDetails": details, "key": "", "orderReference": reference},
    )


@dataclass
class Challenge:
    """A challenge that waits for its payer, and the payer's browser."""

    http: httpx2.Client
    reference: str
    order_id: str
    link: str
    transaction_id: str
    form: dict[str, str]
    bank: str
    back: str

    def answer(self, word: str) -> httpx2.Response:
        return self.http.post(f"{self.bank}/answer", data=self.form | {"answer": word})

    def come_back(self) -> httpx2.Response:
        """Back from the bank, and on to the order's page."""
        back = self.http.get(self.back)
        assert back.status_code == 303
        return self.http.get(back.headers["location"])

    def status(self) -> str:
        order = self.http.get(f"/v1/checkout/order/{self.reference}").json()["data"]["order"]
        return str(order["status"])


_numbers = iter(range(1, 1000))


def begin(http: httpx2.Client, callback: str | None = SHOP) -> Challenge:
    reference = f"order &{next(_numbers)}"
    asked = {"orderReference": reference, "amount": "10", "currency": "NGN", "customerEmail": "a@b.c"}
    order = post(http, "/v1/checkout/order", {"order": asked | {"callbackUrl": callback}})
    data = charge(http, reference)
    secure = data["secureAuthenticationData"]
    assert data["responseCode"] == "S0", data
    form = {"JWT": secure["jwt"], "MD": secure["md"]}
    return Challenge(
        http,
        reference,
        order["orderId"],
        order["checkoutLink"],
        data["transactionId"],
        form,
        secure["acsUrl"],
        secure["termUrl"],
    )


def sentence(answer: httpx2.Response) -> str:
    """Return what the page says of the order and of the last try, without its markup."""
    parts = re.findall(
        r'<(section|p)[^>]*data-part="(?:truth|decline)".*?>(.*?)</\1>', answer.text, re.DOTALL
    )
    return " ".join(re.sub(r"<[^>]+>", " ", " ".join(text for _, text in parts)).split())


class Form(HTMLParser):
    """The first form of a page: where it leads, its hidden fields and its buttons."""

    def __init__(self, page: str):
        super().__init__()
        self.action = ""
        self.fields: dict[str, str] = {}
        self.buttons: list[dict[str, str]] = []
        self.links: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag == "form":
            self.action = given["action"]
        elif tag == "input":
            self.fields[given["name"]] = given["value"]
        elif tag == "button":
            self.buttons.append({given["name"]: given["value"]})
        elif tag == "a":
            self.links.append(given["href"])


def test_an_approved_challenge_pays_and_leads_to_the_shop(http: httpx2.Client) -> None:
    """The bank's own form leads back to us, and a receipt on to the shop with the order's names appended."""
    challenge = begin(http)
    page = http.post(challenge.bank, data=challenge.form)
    form = Form(page.text)
    assert page.status_code == 200
    assert form.fields == challenge.form
    assert form.links == [challenge.back]

    answered = http.post(form.action, data=form.fields | form.buttons[0])
    assert (answered.status_code, answered.headers["location"]) == (303, challenge.back)
    back = challenge.come_back()
    names = f"orderId={challenge.order_id}&orderReference={challenge.reference.replace(' &', '%20%26')}"
    assert back.status_code == 200
    shop = f"https://shop.example/back?a=b%20c&{names}#top"
    assert f'http-equiv="refresh" content="8;url={escape(shop)}"' in back.text
    assert challenge.status() == "PAID"


def test_a_failed_challenge_takes_nothing(http: httpx2.Client) -> None:
    """The order stays payable, and its page says the truth."""
    challenge = begin(http)
    assert challenge.answer("fail").headers["location"] == challenge.back
    back = challenge.come_back()
    assert back.status_code == 200
    assert sentence(back).startswith("This order has not been paid yet. Visa ending in 2503 did not pay")
    assert UNPAID in sentence(back)
    assert challenge.status() == "PENDING"


def test_leaving_without_an_answer_is_no_payment(http: httpx2.Client) -> None:
    """Whoever comes back without having answered has not paid; a new attempt may follow."""
    challenge = begin(http)
    assert UNPAID in sentence(challenge.come_back())
    assert charge(http, challenge.reference, OTP_CARD)["responseCode"] == "T0"


def test_loading_any_page_again_changes_nothing(http: httpx2.Client) -> None:
    """Neither reloads, nor another answer after the first, nor a POST instead of a GET change the end."""
    paid, failed = begin(http), begin(http)
    for challenge, word in ((paid, "approve"), (failed, "fail")):
        challenge.answer(word)
        challenge.come_back()
    for challenge, status in ((paid, "PAID"), (failed, "PENDING")):
        for word in ("approve", "fail"):
            assert http.post(challenge.bank, data=challenge.form).status_code == 200
            assert challenge.answer(word).headers["location"] == challenge.back
            assert ("You paid" in sentence(challenge.come_back())) is (status == "PAID")
            assert http.post(challenge.back, data={"x": "y"}).status_code == 303
        assert challenge.status() == status


def test_without_a_shop_to_go_to_the_page_says_paid(http: httpx2.Client) -> None:
    """An order without callbackUrl ends on its own page."""
    challenge = begin(http, callback=None)
    challenge.answer("approve")
    back = challenge.come_back()
    assert "You paid ₦10.00. Thank you." in sentence(back)
    assert "Back to merchant" not in back.text


@pytest.mark.parametrize("of_order", [True, False])
def test_a_challenge_whose_order_or_attempt_was_cancelled_takes_nothing(
    http: httpx2.Client, of_order: bool
) -> None:
    """The bank may still approve, but nothing is asked of it any more."""
    challenge = begin(http)
    if of_order:
        post(http, "/v1/checkout/order/cancel", {"orderReference": challenge.reference})
    else:
        cancel = {"transactionId": challenge.transaction_id, "forceCancel": False}
        post(http, "/v1/checkout/transaction/cancel", cancel)
    challenge.answer("approve")
    said = "This order was cancelled. You have not been charged." if of_order else "not been paid yet."
    assert said in sentence(challenge.come_back())
    money = http.get(f"/v1/opentill/orders/{challenge.order_id}/money").json()["data"]
    assert (challenge.status(), money["received"]) == ("CANCELLED" if of_order else "PENDING", "0.00")


def test_a_silent_bank_is_told_as_being_checked(http: httpx2.Client) -> None:
    """The page says so and loads itself again, which asks nobody twice."""
    challenge = begin(http)
    challenge.answer("approve")
    post(http, "/sandbox/rail", {"operation": "confirm", "outcome": "unknown"})
    for back in (challenge.come_back(), challenge.come_back()):
        assert "still being checked" in sentence(back)
        assert 'http-equiv="refresh" content="3"' in back.text


def test_a_payment_that_was_not_wanted_is_told_to_be_going_back(http: httpx2.Client) -> None:
    """A payer whose approved money goes back is told so, and is not sent to the shop as if it were paid."""
    challenge = begin(http)
    challenge.answer("approve")
    post(http, "/sandbox/rail", {"operation": "confirm", "outcome": "unknown"})
    challenge.come_back()
    post(http, "/v1/checkout/order/cancel", {"orderReference": challenge.reference})
    back = challenge.come_back()
    assert "cancelled" in sentence(back)
    assert "You have not been charged" not in sentence(back)
    assert 'http-equiv="refresh"' not in back.text


def test_what_is_not_a_challenge_of_ours_is_refused(server: Server, http: httpx2.Client) -> None:
    """Foreign, expired, mismatched and shapeless forms get a page that says so, and answer nothing."""
    challenge = begin(http)
    ours = open_keyring(load_settings({}, {"data_dir": str(server.data)}))
    md = challenge.transaction_id
    wrong: list[dict[str, str]] = [
        {},
        {"JWT": challenge.form["JWT"]},
        challenge.form | {"MD": "another"},
        challenge.form | {"JWT": "x" * 10_000},
        challenge.form | {"JWT": "é"},
        {"JWT": Keyring(b"x" * 32).sign_challenge(md, challenge.back, 2**41), "MD": md},
        {"JWT": ours.sign_challenge(md, challenge.back, 1), "MD": md},
    ]
    for form in wrong:
        for path in (challenge.bank, f"{challenge.bank}/answer"):
            answer = http.post(path, data=form | {"answer": "approve"})
            assert (answer.status_code, "This step is not valid" in answer.text) == (400, True)
    assert challenge.answer("maybe").status_code == 400
    assert http.get(challenge.bank).status_code == 400
    assert http.post(challenge.bank, content=b"a" * 100_000).status_code == 400
    assert UNPAID in sentence(challenge.come_back())
    assert challenge.status() == "PENDING"


def test_a_return_link_that_is_not_ours_leads_nowhere(http: httpx2.Client) -> None:
    """Neither a changed link nor the link of another page finds a transaction."""
    challenge = begin(http)
    order_link = post(
        http,
        "/v1/checkout/order",
        {"order": {"amount": "1", "currency": "NGN", "customerEmail": "a@b.c"}},
    )["checkoutLink"].rpartition("/")[2]
    head, _, token = challenge.back.rpartition("/")
    for other in ("x", token[:-1], token[:-2] + "AA", order_link):
        assert http.get(f"{head}/{other}").status_code == 404


def test_pages_keep_to_themselves(http: httpx2.Client) -> None:
    """No foreign script, no frame, no cache; only the bank's form may lead anywhere but to ourselves."""
    challenge = begin(http)
    waiting = http.get(challenge.link)
    bank = http.post(challenge.bank, data=challenge.form)
    back = challenge.come_back()
    own = f"form-action 'self' {http.base_url.scheme}://{http.base_url.netloc.decode()};"
    for page, forms in (
        (waiting, own),
        (bank, "form-action 'self';"),
        (back, "form-action 'self';"),
    ):
        policy = page.headers["content-security-policy"]
        assert "default-src 'none'; script-src 'self';" in policy
        assert "frame-ancestors 'none'" in policy
        assert forms in policy
        assert page.headers["cache-control"] == "no-store"
        assert page.headers["referrer-policy"] == "same-origin"
        assert page.headers["x-frame-options"] == "DENY"


def test_live_mode_has_no_bank(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Ruling 23: the sandbox's bank is an unknown route of the API in live mode."""
    with (
        Server(tmp_path_factory.mktemp("live"), mode="live", secret_key="5e" * 32) as live,
        client(live) as http,
    ):
        for path in ("/sandbox/3ds", "/sandbox/3ds/answer", "/sandbox/rail"):
            answer = http.post(path, data={"JWT": "x"})
            assert (answer.status_code, answer.json()["code"]) == (404, "404")


@pytest.mark.parametrize(
    ("callback", "location"),
    [
        ("https://s.example", "https://s.example?{names}"),
        ("https://s.example/", "https://s.example/?{names}"),
        ("http://s.example:81/a?b=%2F&b=c", "http://s.example:81/a?b=%2F&b=c&{names}"),
        ("https://s.example/a#b?c", "https://s.example/a?{names}#b?c"),
        ("https://s.example/?#", "https://s.example/?{names}"),
    ],
)
def test_the_order_is_named_behind_the_query_and_before_the_fragment(callback: str, location: str) -> None:
    """An existing query is kept as it is, and what is appended is percent-encoded (contract 7)."""
    order = create(new_order("a b&c=d/ä"), NOW).after
    names = f"orderId={order.order_id}&orderReference=a%20b%26c%3Dd%2F%C3%A4"
    assert callback_location(callback, order) == location.format(names=names)
