"""The payer's page over plain HTTP: what it says, what its forms may do, and who may send them."""

import re
import sqlite3
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from functools import partial
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, Final

import httpx2
import pytest

from databases import NewDatabase
from opentill.clock import SystemClock
from opentill.keys.keyring import FORM_LIFE_MINUTES, open_keyring
from opentill.payer.forms import TEST_CARDS
from opentill.rails.sandbox.card import CHALLENGE_CARD, DECLINED_CARD, OTP_CARD
from opentill.settings import load_settings
from payer.shopping import Bought, Shopping, cancelled, challenge, declined, expired, paid, pending
from polling import until
from server import Server, client, new_merchant, operate, signed_in

CARD = {"number": OTP_CARD, "expiry": "10/30", "cvv": "123", "pin": "1234"}
HOSTILE = "\"'><script src=//evil.example></script><img src=x onerror=alert(1)>{{7*7}}"


@pytest.fixture(scope="module")
def server(new_database: NewDatabase, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder, url = tmp_path_factory.mktemp("page"), new_database()
    with Server(
        folder,
        workers=2,
        database_url=url,
        card_timeout_seconds=0.5,
        max_attempts=3,
        max_otp_tries=2,
        max_otp_sends=1,
    ) as running:
        yield running


@pytest.fixture(scope="module")
def shopping(server: Server) -> Iterator[Shopping]:
    with client(server) as http:
        yield Shopping(http)


class Forms(HTMLParser):
    """The forms of a page by the last word of their address: hidden fields and all."""

    def __init__(self, page: str):
        super().__init__()
        self.forms: dict[str, dict[str, str]] = {}
        self.tags: list[tuple[str, dict[str, str]]] = []
        self._here: dict[str, str] = {}
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.tags.append((tag, given))
        if tag == "form":
            self._here = self.forms[given["action"].rpartition("/")[2]] = {}
        elif tag == "input" and given.get("type") == "hidden":
            self._here[given["name"]] = given["value"]


@dataclass
class Payer:
    """A browser without JavaScript on one order's page."""

    http: httpx2.Client
    order: Bought

    def look(self) -> str:
        answer = self.http.get(self.order.link)
        assert answer.status_code == 200, answer.text
        return answer.text

    def send(self, word: str, **typed: str) -> httpx2.Response:
        """Send the page's own form, as it stands there now."""
        return self.post(word, Forms(self.look()).forms[word] | typed)

    def post(self, word: str, fields: dict[str, str], **headers: str) -> httpx2.Response:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.http.post(f"{self.order.link}/{word}", data=fields, headers=named, follow_redirects=True)


def said(page: str) -> str:
    """The page's words without its markup."""
    return unescape(" ".join(re.sub(r"<[^>]+>", " ", page).split()))


def new(shopping: Shopping, **more: Any) -> Payer:
    return Payer(shopping.http, shopping.order(**more))


# --- without JavaScript ---------------------------------------------------------------------------


def test_a_card_pays_by_forms_alone(shopping: Shopping) -> None:
    """Card, wrong password, right password: each form leads back to a page that says where things stand."""
    payer = new(shopping)
    asked = payer.send("card", **CARD)
    assert "one-time password that your bank sent you for the Mastercard ending in 2808" in said(asked.text)
    assert "Invalid OTP. Please try again." in said(payer.send("otp", otp="5464").text)
    done = payer.send("otp", otp="9999")
    assert "Payment successful You paid ₦10,000.00. Thank you." in said(done.text)
    assert "Mastercard ending in 2808" in said(done.text)
    assert payer.order.status() == "PAID"


def test_a_test_card_is_one_click_away(shopping: Shopping) -> None:
    """The button of a test card pays with it, and the cards are those that the sandbox's rail knows."""
    payer = new(shopping)
    assert "one-time password" in said(payer.send("card", test_card="otp").text)
    assert [card.number for card in TEST_CARDS] == [OTP_CARD, CHALLENGE_CARD, DECLINED_CARD]


def test_a_decline_stays_on_the_page_and_leaves_tries(shopping: Shopping) -> None:
    """The reason is told, nothing was charged, and the next card pays; after the last try no form is left."""
    payer = new(shopping, allowedPaymentMethods=["Card"])
    page = payer.send("card", **CARD | {"number": DECLINED_CARD}).text
    assert "Mastercard ending in 7651 did not pay" in said(page)
    assert "Do not honor. You have not been charged for this try." in said(page)
    payer.send("card", **CARD | {"number": DECLINED_CARD})
    last = payer.send("card", **CARD | {"number": DECLINED_CARD}).text
    assert "No way to pay is left here" in said(last)
    assert not Forms(last).forms


def test_passwords_are_limited_in_tries_and_in_sendings(shopping: Shopping) -> None:
    """After as many sendings as are allowed the button is gone, after as many tries the attempt is."""
    payer = new(shopping)
    payer.send("card", **CARD)
    assert "resend" not in Forms(payer.send("resend").text).forms
    assert "Invalid OTP" in said(payer.send("otp", otp="5464").text)
    assert "did not pay" in said(payer.send("otp", otp="5464").text)


def test_another_way_can_be_chosen_while_a_password_is_asked_for(shopping: Shopping) -> None:
    """Leaving the attempt brings the card form back; the attempt takes nothing any more."""
    payer = new(shopping)
    payer.send("card", **CARD)
    assert "card" in Forms(payer.send("leave").text).forms
    assert payer.order.status() == "PENDING"


@pytest.mark.parametrize(
    ("field", "typed"),
    [
        ("number", ""),
        ("number", "54346210742528O8"),
        ("number", "5" * 20),
        ("expiry", "13/30"),
        ("expiry", "1030000"),
        ("cvv", "12"),
        ("cvv", "12a"),
        ("pin", "12345"),
    ],
)
def test_what_can_not_be_a_card_is_asked_for_again(shopping: Shopping, field: str, typed: str) -> None:
    """The field is named, nothing that was typed comes back, and no try is used up."""
    payer = Payer(shopping.http, pending(shopping))
    answer = payer.send("card", **CARD | {field: typed})
    assert answer.status_code == 422
    wrong = [given for tag, given in Forms(answer.text).tags if given.get("aria-invalid")]
    assert [given["name"] for given in wrong] == [field]
    assert all(number not in answer.text for number in ('value="5434', 'value="123"', 'value="10/30"'))
    full = shopping.http.get(f"/v1/opentill/orders/{payer.order.order_id}").json()["data"]
    assert full["attempts"] == []


@pytest.mark.parametrize("written", ["5434 6210 7425 2808", "5434-6210-7425-2808", " 5434621074252808 "])
def test_numbers_may_be_grouped(shopping: Shopping, written: str) -> None:
    """Spaces and dashes are how people write numbers."""
    payer = Payer(shopping.http, pending(shopping))
    answer = payer.send("card", **CARD | {"number": written, "expiry": "10 / 2030", "pin": ""})
    assert "one-time password" in said(answer.text)


# --- who may send what ------------------------------------------------------------------------------


def test_a_form_without_its_token_does_nothing(shopping: Shopping, server: Server) -> None:
    """Neither no token, nor another order's, nor an old or future or shapeless one begins a payment."""
    payer, other = new(shopping), new(shopping)
    keyring = open_keyring(load_settings({}, {"data_dir": str(server.data)}))
    account = server.credentials["OPENTILL_ACCOUNT_ID"]
    fresh = Forms(payer.look()).forms["card"]["form"]
    minute = int(fresh.partition(".")[0], 16)
    old = keyring.form_token(account, payer.order.order_id, (minute - FORM_LIFE_MINUTES - 2) * 60_000)
    early = keyring.form_token(account, payer.order.order_id, (minute + 10) * 60_000)
    foreign = Forms(other.look()).forms["card"]["form"]
    for token in ("", "x", "é.1", f"{minute:x}.", fresh[:-1], fresh.upper(), foreign, old, early, "f" * 999):
        answer = payer.post("card", CARD | {"form": token})
        assert answer.status_code == 403, token
        assert "nothing was sent" in said(answer.text)
    assert "attempt" not in Forms(payer.look()).forms.get("otp", {})
    assert "one-time password" in said(payer.post("card", CARD | {"form": fresh}).text)


@pytest.mark.parametrize(
    ("headers", "taken"),
    [
        ({}, True),
        ({"Sec_Fetch_Site": "same-origin"}, True),
        ({"Sec_Fetch_Site": "cross-site"}, False),
        ({"Sec_Fetch_Site": "same-site"}, False),
        ({"Sec_Fetch_Site": "none"}, False),
        ({"Origin": "https://evil.example"}, False),
        ({"Origin": "null"}, False),
    ],
)
def test_a_form_from_another_site_does_nothing(
    shopping: Shopping, headers: dict[str, str], taken: bool
) -> None:
    """Even with the right token: a browser says where a form came from."""
    payer = Payer(shopping.http, pending(shopping))
    form = Forms(payer.look()).forms["card"] | CARD
    assert (payer.post("card", form, **headers).status_code == 200) is taken
    own = {"Origin": str(shopping.http.base_url).rstrip("/")}
    assert payer.post("card", form, **own).status_code == 200


def test_one_orders_page_can_not_act_on_another(shopping: Shopping) -> None:
    """Another order's attempt can be neither confirmed nor given up from here."""
    mine, other = new(shopping), new(shopping)
    mine.send("card", **CARD)
    theirs = other.order.charge()["transactionId"]
    form = Forms(mine.look()).forms["otp"]
    for word in ("otp", "leave"):
        mine.post(word, form | {"attempt": theirs, "otp": "9999"})
    assert (other.order.status(), mine.order.status()) == ("PENDING", "PENDING")
    assert other.order.confirm(theirs)["status"]


def test_a_changed_link_leads_nowhere(shopping: Shopping) -> None:
    """Every address below a link that we did not make says that the link is not valid."""
    link = pending(shopping).link
    for bad in (link[:-1], link[:-2] + "AA", link + "A", link.rpartition("/")[0] + "/x"):
        assert shopping.http.get(bad).status_code == 404
        assert "This payment link is not valid" in shopping.http.get(bad).text
        assert shopping.http.get(f"{bad}/live").status_code == 404
        for word in ("card", "otp", "resend", "leave"):
            assert shopping.http.post(f"{bad}/{word}", data=CARD).status_code == 404
    assert "not valid" in shopping.http.get(f"{link}/nothing/here").text


def test_looking_at_where_a_form_goes_leads_to_the_page(shopping: Shopping) -> None:
    """A payer who loads the address of a form again by hand finds the page, and nothing is done."""
    link = pending(shopping).link
    for word in ("card", "otp", "resend", "leave", "account", "arrive"):
        answer = shopping.http.get(f"{link}/{word}")
        assert (answer.status_code, link.endswith(answer.headers["location"])) == (303, True)
    assert shopping.http.head(f"{link}/live").status_code == 404


def test_shapeless_forms_do_nothing(shopping: Shopping) -> None:
    """Too long, no form, not ASCII, too many fields: the page comes again, and nothing is a fault."""
    link = pending(shopping).link
    for body in (b"a" * 100_000, b"{}", "é=é".encode(), b"&".join(b"a%d=1" % i for i in range(50)), b""):
        for word in ("card", "otp", "resend", "leave"):
            assert shopping.http.post(f"{link}/{word}", content=body).status_code == 403


# --- what is shown ----------------------------------------------------------------------------------


def test_nothing_that_is_stored_becomes_markup(shopping: Shopping) -> None:
    """Reference, metadata, customer and callback are shown as text or not at all."""
    order = shopping.order(
        orderReference=HOSTILE,
        orderMetaData={"note": HOSTILE},
        customerId=HOSTILE,
        callbackUrl="https://shop.example/?a=\"'><script>alert(1)</script>",
    )
    pages = [Payer(shopping.http, order).look()]
    order.charge(DECLINED_CARD)
    pages.append(Payer(shopping.http, order).look())
    for page in pages:
        tags = Forms(page).tags
        assert HOSTILE in said(page).replace("&#34;", '"') or "{{7*7}}" in page
        assert [given.get("src") for tag, given in tags if tag == "script"] == ["/checkout/static/page.js"]
        assert not any(name.startswith("on") for _, given in tags for name in given)
        assert not any(tag == "img" for tag, _ in tags)
        links = [given["href"] for tag, given in tags if tag == "a"]
        assert all(link.startswith("https://shop.example/") for link in links)


def test_the_first_view_is_small_and_asks_nobody_else(shopping: Shopping) -> None:
    """Page, style and scripts together stay under 60 KB, and none of them names another host."""
    page = Payer(shopping.http, pending(shopping)).look()
    static = Path(__file__).parents[2] / "src/opentill/payer/static"
    files = [file.read_text() for file in static.iterdir() if file.suffix in {".js", ".css"}]
    assert sum(len(text.encode()) for text in [page, *files]) < 60_000
    for text in files:
        assert "://" not in text
    hosts = set(re.findall(r"https?://([^/\"]+)", page))
    assert hosts == {shopping.http.base_url.netloc.decode()}


def test_what_pages_look_like_is_served_with_care(shopping: Shopping) -> None:
    """Style and scripts have their types, may be kept for a while, and are not guessed at."""
    for name, kind in (("payer.css", "text/css"), ("page.js", "text/javascript")):
        answer = shopping.http.get(f"/checkout/static/{name}")
        assert answer.headers["content-type"].startswith(kind)
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cache-control"] == "public, max-age=300"
    assert shopping.http.get("/checkout/static/../pages.py").status_code == 404


@pytest.mark.parametrize("methods", [["Transfer"], ["USSD"], ["Nomba QR", "Buy Now Pay Later"]])
def test_only_methods_that_the_order_allows_are_shown(shopping: Shopping, methods: list[str]) -> None:
    """An order that does not allow cards has no card form, and its page takes no card either."""
    payer = new(shopping, allowedPaymentMethods=methods)
    assert "card" not in Forms(payer.look()).forms


def test_ended_orders_lead_back_and_never_by_themselves(shopping: Shopping) -> None:
    """Cancelled and expired pages offer the way back to the shop, with the order's names, and wait."""
    for order in (cancelled(shopping), expired(shopping)):
        payer = Payer(shopping.http, order)
        until(partial(_has_ended, payer), "the page has ended")
        page = shopping.http.get(f"{order.link}?return=auto").text
        links = [given for tag, given in Forms(page).tags if tag == "a"]
        assert [link["href"].partition("basket=7")[2] for link in links] == [
            f"&orderId={order.order_id}&orderReference={order.reference}#paid"
        ]
        assert "data-returns" not in page
        assert "http-equiv" not in page


def _has_ended(payer: Payer) -> bool:
    return "card" not in Forms(payer.look()).forms


def test_only_a_payer_who_has_just_paid_is_taken_back(shopping: Shopping) -> None:
    """A paid page that is opened later shows its receipt and stays."""
    order = paid(shopping)
    assert "data-returns" in shopping.http.get(f"{order.link}?return=auto").text
    assert "data-returns" not in Payer(shopping.http, order).look()


SECRET: Final = "5e" * 32
TRANSFERS: Final = {
    "credit_advice_keys": "a key of a bank that has 32 characters",
    "transfer_bank_code": "058",
    "transfer_bank_name": "A Bank",
}


@contextmanager
def live_till(folder: Path, **more: Any) -> Iterator[tuple[Server, httpx2.Client, str]]:
    """A live server, and the link to an order there."""
    with Server(folder, mode="live", secret_key=SECRET, **more) as live, client(live) as http:
        env = new_merchant(live)
        asked = {"amount": "1", "currency": "NGN", "customerEmail": "a@b.c"}
        made = http.post("/v1/checkout/order", json={"order": asked}, headers=signed_in(live, env))
        yield live, http, made.json()["data"]["checkoutLink"]


def form_token(live: Server, link: str) -> str:
    keyring = open_keyring(load_settings({}, {"data_dir": str(live.data), "secret_key": SECRET}))
    name = keyring.open_link(link.rpartition("/")[2])
    assert name is not None
    return keyring.form_token(*name, SystemClock().now())


def test_live_mode_takes_no_card(tmp_path: Path) -> None:
    """Without a card rail there is no card form, no test card, no band, and none is taken."""
    with live_till(tmp_path, **TRANSFERS) as (live, http, link):
        page = http.get(link).text
        assert "SANDBOX" not in page
        assert list(Forms(page).forms) == ["account"]
        assert not {"number", "test_card"} & {given.get("name") for _, given in Forms(page).tags}

        form = CARD | {"form": form_token(live, link)}
        assert http.post(f"{link}/card", data=form).status_code == 303
        assert OTP_CARD not in live.log_file.read_text()


def test_no_account_is_given_out_that_nobody_watches(tmp_path: Path) -> None:
    """In live mode without a bank that tells of transfers, the page offers none and reserves no number."""
    with live_till(tmp_path) as (live, http, link):
        assert list(Forms(http.get(link).text).forms) == []
        assert http.post(f"{link}/account", data={"form": form_token(live, link)}).status_code == 303
        with closing(sqlite3.connect(live.data / "opentill.db")) as connection:
            assert connection.execute("SELECT count(*) FROM transfer_accounts").fetchone() == (0,)


def test_pages_may_be_framed_by_named_origins_alone(tmp_path: Path) -> None:
    """With origins configured the policy names them, and the header that knows no origins is not sent."""
    origins = "https://shop.example,http://localhost:3000"
    with Server(tmp_path, embedding_origins=origins) as framed, client(framed) as http:
        headers = http.get(pending(Shopping(http)).link).headers
    policy = headers["content-security-policy"]
    assert policy.endswith("frame-ancestors https://shop.example http://localhost:3000")
    assert "x-frame-options" not in headers


def test_a_logo_is_shown_without_asking_anybody_for_it(tmp_path: Path) -> None:
    """The image stands in the page itself; without one the merchant's initial does."""
    file = tmp_path / "logo.png"
    file.write_bytes(b"\x89PNG\r\n\x1a\n" + b"0" * 100)
    with Server(tmp_path) as server, client(server) as http:
        link = pending(Shopping(http)).link
        assert not [tag for tag, _ in Forms(http.get(link).text).tags if tag == "img"]
        operate(server, "merchants", "logo", str(file))
        (image,) = [given for tag, given in Forms(http.get(link).text).tags if tag == "img"]
        assert image["src"].startswith("data:image/png;base64,")


# --- live -------------------------------------------------------------------------------------------


def test_every_open_page_hears_of_a_change_whichever_process_made_it(server: Server) -> None:
    """Eight pages on connections of their own hear of eight cancels on others within a second, and once."""
    with client(server) as http:
        orders = [pending(Shopping(http)) for _ in range(8)]
    with ThreadPoolExecutor(8) as threads:
        heard = list(threads.map(lambda order: hear_cancel(server, order), orders))
    assert all(seconds < 1.5 for seconds in heard)  # a second, and what this machine is slow by


def hear_cancel(server: Server, order: Bought) -> float:
    """Seconds from the answer to the cancel until the page hears of it."""
    with client(server) as listener, client(server) as merchant:
        mark = re.search(r'data-mark="([^"]+)"', listener.get(order.link).text)
        assert mark is not None
        with listener.stream("GET", f"{order.link}/live?mark={mark.group(1)}") as stream:
            lines = stream.iter_lines()
            assert next(lines) == "retry: 1000"
            Shopping(merchant).post("/v1/checkout/order/cancel", {"orderReference": order.reference})
            began = time.monotonic()
            told = next(line for line in lines if line.startswith("data: "))
            assert told != f"data: {mark.group(1)}"
            return time.monotonic() - began


def test_a_page_that_missed_something_is_told_at_once(shopping: Shopping) -> None:
    """A stream opened with an old mark begins with the news; one with the present mark is silent."""
    order = declined(shopping)
    with shopping.http.stream("GET", f"{order.link}/live?mark=1.0") as stream:
        told = next(line for line in stream.iter_lines() if line.startswith("data: "))
    assert f'data-mark="{told.removeprefix("data: ")}"' in Payer(shopping.http, order).look()


def test_streams_of_one_order_are_limited(shopping: Shopping, tmp_path: Path) -> None:
    """Beyond the limit of the process a page is refused a stream, and is told when to come again."""
    with Server(tmp_path, max_open_pages=1) as small, client(small) as http:
        link = pending(Shopping(http)).link
        with http.stream("GET", f"{link}/live") as first:
            assert first.status_code == 200
            refused = http.get(f"{link}/live")
            assert (refused.status_code, refused.headers["retry-after"]) == (503, "5")
        until(lambda: _opens(http, link), "room for another page")


def _opens(http: httpx2.Client, link: str) -> bool:
    with http.stream("GET", f"{link}/live") as stream:
        return stream.status_code == 200


def test_open_pages_do_not_keep_the_server_from_stopping(tmp_path: Path) -> None:
    """With pages listening on both workers, SIGTERM ends the server in order within three seconds."""
    with Server(tmp_path, workers=2) as stopping, ExitStack() as pages:
        with client(stopping) as http:
            links = [pending(Shopping(http)).link for _ in range(4)]
        for link in links * 5:
            listener = pages.enter_context(client(stopping))
            stream = pages.enter_context(listener.stream("GET", f"{link}/live"))
            assert next(stream.iter_lines()) == "retry: 1000"
        began = time.monotonic()
        assert stopping.stop() == 0
        assert time.monotonic() - began < 3


def test_the_challenge_form_leads_to_the_bank(shopping: Shopping) -> None:
    """A card that needs 3-D Secure has the bank's form on the page, without any script."""
    page = Payer(shopping.http, challenge(shopping)).look()
    assert set(Forms(page).forms["3ds"]) == {"JWT", "MD"}
