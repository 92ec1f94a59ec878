"""The payer's page in a real browser, at a till with two workers."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Route, expect

from payer.shopping import Bought, Shopping, otp, pending
from server import Server

CANCELLED = "This order was cancelled. You have not been charged."
SOON_MILLISECONDS = 5000
"""Long for a slow machine; how soon a page hears of a change is measured in test_page."""

expect.set_options(timeout=SOON_MILLISECONDS)


@pytest.fixture
def context(browser: Browser, till: Server) -> Iterator[BrowserContext]:
    """A browser window that fails the test when a page complains, or asks anybody but the till."""
    opened = browser.new_context(viewport={"width": 360, "height": 740})
    complaints: list[str] = []
    opened.on("console", lambda said: complaints.append(said.text) if said.type == "error" else None)
    opened.on("weberror", lambda error: complaints.append(str(error.error)))
    opened.on("request", lambda asked: complaints.extend(_foreign(asked.url, till)))
    yield opened
    opened.close()
    assert [text for text in complaints if not _is_expected(text)] == []


def _foreign(url: str, till: Server) -> list[str]:
    return [] if url.startswith((till.url, "data:")) else [url]


def _is_expected(complaint: str) -> bool:
    """A stream that a test cuts, and a form that is answered with 422, are told to the console."""
    return "Failed to load resource" in complaint


def open_page(context: BrowserContext, order: Bought) -> Page:
    """The order's page, once it listens."""
    page = context.new_page()
    with page.expect_request("**/live?*"):
        page.goto(order.link)
    return page


def enter_card(page: Page, outcome: str) -> None:
    page.get_by_role("button", name=outcome).click()
    page.get_by_role("button", name="Pay ₦").click()


def confirm(page: Page, password: str) -> None:
    page.get_by_label("One-time password").fill(password)
    page.get_by_role("button", name="Confirm payment").click()


def at_shop(order: Bought) -> re.Pattern[str]:
    """The shop's address with the order's names before its fragment."""
    names = f"orderId={order.order_id}&orderReference={order.reference}"
    return re.compile(re.escape(f"/health/live?basket=7&{names}#paid") + "$")


# --- cards ----------------------------------------------------------------------------------------


def test_a_card_with_a_password_pays_and_leads_back_to_the_shop(
    context: BrowserContext, shopping: Shopping
) -> None:
    """Typed by hand: number grouped, brand known, wrong password asked again, receipt, then the shop."""
    order = pending(shopping)
    context.clock.install()
    page = open_page(context, order)
    page.get_by_label("Card number").press_sequentially("5434621074252808")
    expect(page.get_by_label("Card number")).to_have_value("5434 6210 7425 2808")
    expect(page.get_by_role("main").get_by_text("Mastercard", exact=True)).to_be_visible()
    page.get_by_label("Expires").press_sequentially("1030")
    expect(page.get_by_label("Expires")).to_have_value("10/30")
    page.get_by_label("CVV").fill("123")
    page.get_by_label("Card PIN").fill("1234")
    page.get_by_role("button", name="Pay ₦10,000.00").click()
    confirm(page, "5464")
    expect(page.get_by_role("main").get_by_text("Invalid OTP. Please try again.")).to_be_visible()
    page.get_by_label("One-time password").fill("99")
    page.get_by_role("button", name="Send it again").click()
    expect(page.locator("#announcer")).to_have_text("The password was sent again.")
    expect(page.get_by_label("One-time password")).to_have_value("99")
    confirm(page, "9999")
    expect(page.get_by_role("heading", name="Payment successful")).to_be_visible()
    expect(page.get_by_role("button", name="Print receipt")).to_be_visible()
    page.clock.fast_forward(8_000)
    page.wait_for_url(at_shop(order))
    assert order.status() == "PAID"


def test_3d_secure_goes_to_the_bank_and_comes_back(context: BrowserContext, shopping: Shopping) -> None:
    """The browser is taken to the bank without another click, and back to the receipt."""
    order = pending(shopping)
    page = open_page(context, order)
    enter_card(page, "3-D Secure")
    page.get_by_role("button", name="Approve").click()
    expect(page.get_by_role("main").get_by_text("You paid ₦10,000.00. Thank you.")).to_be_visible()
    page.get_by_role("button", name="Stay here").click()
    expect(page.get_by_role("main").get_by_text("in a few seconds")).to_have_count(0)
    assert order.status() == "PAID"


def test_a_declined_card_and_then_a_good_one(context: BrowserContext, shopping: Shopping) -> None:
    """The reason is shown beside an empty form, and the next card pays."""
    order = pending(shopping)
    page = open_page(context, order)
    enter_card(page, "Declined")
    expect(page.get_by_role("main").get_by_text("Your bank says: Do not honor.")).to_be_visible()
    expect(page.get_by_label("Card number")).to_have_value("")
    enter_card(page, "One-time password")
    page.get_by_role("button", name="9999").click()
    page.get_by_role("button", name="Confirm payment").click()
    expect(page.get_by_role("heading", name="Payment successful")).to_be_visible()


def test_a_field_that_is_wrong_is_pointed_at(context: BrowserContext, shopping: Shopping) -> None:
    """The server's complaint stands at its field, which has the focus."""
    page = open_page(context, pending(shopping))
    page.get_by_label("Card number").fill("1")
    page.get_by_label("Expires").fill("10/30")
    page.get_by_label("CVV").fill("123")
    page.get_by_role("button", name="Pay ₦").click()
    number = page.get_by_label("Card number")
    expect(number).to_be_focused()
    expect(number).to_have_accessible_description("Enter the number on the front of your card.")


# --- transfers ------------------------------------------------------------------------------------


def show_account(page: Page) -> None:
    """Until it stands there: what a test does next must not overtake the payer's request for it."""
    page.get_by_role("heading", name="Pay by bank transfer").click()
    page.get_by_role("button", name="Show account details").click()
    expect(page.locator(".big")).to_be_visible()


def test_an_exact_transfer_pays(context: BrowserContext, shopping: Shopping) -> None:
    """Account, copy button, code for the phone and countdown are there; the arrival turns the page."""
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    order = pending(shopping)
    page = open_page(context, order)
    show_account(page)
    number = page.locator(".big").inner_text()
    assert re.fullmatch(r"\d{10}", number)
    page.get_by_role("button", name="Copy the account number").click()
    assert page.evaluate("navigator.clipboard.readText()") == number
    expect(page.locator(".account .clock")).to_have_text(re.compile(r"^(30:00|29:\d\d)$"))
    page.get_by_text("Continue on your phone").click()
    expect(page.locator(".qr svg")).to_be_visible()
    page.get_by_role("button", name="I have sent it").click()
    expect(page.get_by_role("main").get_by_text("Waiting for your bank.")).to_be_visible()
    order.let_arrive("exact")
    expect(page.get_by_role("heading", name="Payment successful")).to_be_visible()
    expect(page.get_by_role("main").get_by_text("Bank transfer")).to_be_visible()


def test_a_short_transfer_and_then_the_rest(context: BrowserContext, shopping: Shopping) -> None:
    """The page says what has arrived and what is missing; the panel asks for the rest, which pays."""
    order = pending(shopping)
    page = open_page(context, order)
    show_account(page)
    page.get_by_role("button", name="Too little").click()
    expect(
        page.get_by_role("main").get_by_text("₦4,000.00 has arrived. ₦6,000.00 is still to be paid.")
    ).to_be_visible()
    page.get_by_role("button", name="Exactly ₦6,000.00").click()
    expect(page.get_by_role("main").get_by_text("You paid ₦10,000.00. Thank you.")).to_be_visible()
    assert order.status() == "PAID"


def test_too_much_and_twice_go_back(context: BrowserContext, shopping: Shopping) -> None:
    """Too much is told with its amount, and such a payer is not sent away before reading it."""
    for button, back in (("Too much", "₦500.00"), ("Twice", "₦10,000.00")):
        page = open_page(context, pending(shopping))
        show_account(page)
        page.get_by_role("button", name=button).click()
        expect(
            page.get_by_role("main").get_by_text(f"{back} arrived that was more than was due")
        ).to_be_visible()
        expect(page.get_by_role("main").get_by_text("in a few seconds")).to_have_count(0)


def test_money_that_arrives_after_the_cancel_is_told(context: BrowserContext, shopping: Shopping) -> None:
    """The open page first says that nothing was charged, then, when money comes, that it goes back."""
    order = pending(shopping)
    page = open_page(context, order)
    show_account(page)
    order.form_token()
    order.cancel()
    expect(page.get_by_role("main").get_by_text(CANCELLED)).to_be_visible()
    order.let_arrive("exact")
    expect(
        page.get_by_role("main").get_by_text(
            "Your payment of ₦10,000.00 arrived after the order was cancelled"
        )
    ).to_be_visible()
    expect(page.get_by_role("main").get_by_text("You have not been charged")).to_have_count(0)


# --- live -----------------------------------------------------------------------------------------


def test_a_cancel_reaches_every_open_page(context: BrowserContext, shopping: Shopping) -> None:
    """Two tabs, one of them typing: both lose their buttons and say the truth, and stay where they are."""
    order = pending(shopping)
    pages = [open_page(context, order), open_page(context, order)]
    pages[0].get_by_label("Card number").fill("5434")
    order.cancel()
    for page in pages:
        expect(page.get_by_role("main").get_by_text(CANCELLED)).to_be_visible()
        expect(page.get_by_role("button", name="Pay ₦")).to_have_count(0)
        back = page.get_by_role("link", name="Back to merchant").get_attribute("href")
        assert back is not None
        assert at_shop(order).search(back)
        assert page.url == order.link


def test_a_cancel_while_the_password_is_typed(context: BrowserContext, shopping: Shopping) -> None:
    """The form goes; a password sent at that very moment gets the truth and no error page."""
    order = otp(shopping)
    page = open_page(context, order)
    page.get_by_label("One-time password").fill("99")
    order.cancel()
    expect(page.get_by_role("main").get_by_text(CANCELLED)).to_be_visible()
    late = otp(shopping)
    page.route("**/live*", lambda route: route.abort())
    page.goto(late.link)
    page.get_by_label("One-time password").fill("9999")
    late.cancel()
    page.get_by_role("button", name="Confirm payment").or_(
        page.get_by_role("main").get_by_text(CANCELLED)
    ).first.click()
    expect(page.get_by_role("main").get_by_text(CANCELLED)).to_be_visible()
    assert late.status() == "CANCELLED"


def test_pay_at_the_moment_of_the_cancel(context: BrowserContext, shopping: Shopping) -> None:
    """The card is on its way when the order is cancelled: one of the two truths, no password."""
    order = pending(shopping)
    page = open_page(context, order)

    def cancel_first(route: Route) -> None:
        order.cancel()
        route.continue_()

    page.route("**/card", cancel_first)
    enter_card(page, "One-time password")
    expect(page.get_by_role("main").get_by_text(CANCELLED)).to_be_visible()


def test_typing_goes_on_while_something_else_changes(context: BrowserContext, shopping: Shopping) -> None:
    """Money arrives by transfer while a card number is typed: the sentence changes, the typing stays."""
    order = pending(shopping)
    order.ask_for_account()
    page = open_page(context, order)
    page.get_by_role("heading", name="Pay by card").click()
    number = page.get_by_label("Card number")
    number.press_sequentially("54346210")
    order.let_arrive("short")
    expect(page.get_by_role("main").get_by_text("is still to be paid.")).to_be_visible()
    expect(number).to_have_value("5434 6210")
    expect(number).to_be_focused()


def test_an_order_expires_on_the_open_page(context: BrowserContext, shopping: Shopping) -> None:
    """The countdown ends in the truth, without a reload."""
    order = shopping.order(expiresInSeconds=2)
    page = open_page(context, order)
    expect(page.locator(".order .clock")).to_have_text(re.compile(r"^00:0[012]$"))
    expect(
        page.get_by_role("main").get_by_text(
            "The time to pay this order has passed. You have not been charged."
        )
    ).to_be_visible()


def test_another_tab_pays(context: BrowserContext, shopping: Shopping) -> None:
    """The waiting tab shows the receipt and is taken to the shop as well."""
    order = pending(shopping)
    page = open_page(context, order)
    order.pay()
    expect(page.get_by_role("main").get_by_text("You paid ₦10,000.00. Thank you.")).to_be_visible()
    expect(page.get_by_role("main").get_by_text("in a few seconds")).to_be_visible()


def test_a_page_opened_after_the_payment_leads_nowhere_by_itself(
    context: BrowserContext, shopping: Shopping
) -> None:
    """Whoever looks at the receipt later stays on it, also when some of the payment is given back."""
    order = pending(shopping)
    transaction = order.pay()
    page = open_page(context, order)
    order.refund(transaction, "2500.00")
    expect(page.get_by_role("main").get_by_text("₦2,500.00")).to_be_visible()
    expect(page.get_by_role("main").get_by_text("in a few seconds")).to_have_count(0)


def test_a_payment_being_checked_ends_by_itself(context: BrowserContext, shopping: Shopping) -> None:
    """The rail's answer is lost: the page asks for patience and offers no second payment."""
    order = pending(shopping)
    page = open_page(context, order)
    enter_card(page, "One-time password")
    expect(page.get_by_label("One-time password")).to_be_visible()
    shopping.rail("confirm", "unknown")
    confirm(page, "9999")
    expect(
        page.get_by_role("main").get_by_text("still being checked. Please do not pay again")
    ).to_be_visible()
    expect(page.locator("main form")).to_have_count(0)


def test_a_cut_stream_is_told_and_polled_for(context: BrowserContext, shopping: Shopping) -> None:
    """Without a stream the page says so, and still learns of the cancel."""
    context.route("**/live*", lambda route: route.abort())
    order = pending(shopping)
    page = context.new_page()
    page.goto(order.link)
    expect(page.locator("#trouble").get_by_text("Live updates are interrupted.")).to_be_visible()
    order.cancel()
    expect(page.get_by_role("main").get_by_text(CANCELLED)).to_be_visible()


def test_a_server_that_is_away_is_told(context: BrowserContext, shopping: Shopping) -> None:
    """Pay does not reach the server: the page says so, keeps what was typed, and recovers by itself."""
    order = pending(shopping)
    page = open_page(context, order)
    with cut_off(context):
        enter_card(page, "One-time password")
        expect(page.locator("#trouble").get_by_text("We can not reach the server.")).to_be_visible()
        expect(page.get_by_label("Card number")).to_have_value("5434 6210 7425 2808")
    expect(page.locator("#trouble").get_by_text("We can not reach the server.")).to_be_hidden()


@contextmanager
def cut_off(context: BrowserContext) -> Iterator[None]:
    context.set_offline(True)
    yield
    context.set_offline(False)


# --- without JavaScript, and small -----------------------------------------------------------------


def test_a_card_pays_without_javascript(browser: Browser, shopping: Shopping) -> None:
    """Forms alone: test card, password, receipt, and the way back to the shop."""
    order = pending(shopping)
    plain = browser.new_context(java_script_enabled=False)
    page = plain.new_page()
    page.goto(order.link)
    page.get_by_role("button", name="One-time password, then approved").click()
    confirm(page, "9999")
    expect(page.get_by_role("heading", name="Payment successful")).to_be_visible()
    expect(page.get_by_role("link", name="Back to merchant")).to_be_visible()
    expect(page.get_by_role("button", name="Print receipt")).to_be_hidden()
    plain.close()


@pytest.mark.parametrize("width", [320, 360, 1280])
def test_nothing_is_cut_off_at_any_width(browser: Browser, shopping: Shopping, width: int) -> None:
    """No page scrolls sideways, whatever its order is called, and buttons are large enough for a thumb."""
    order = shopping.order("999999999.99", orderReference=f"{'W' * 120}-{width}")
    order.ask_for_account()
    window = browser.new_context(viewport={"width": width, "height": 700})
    page = window.new_page()
    page.goto(order.link)
    assert page.evaluate("document.documentElement.scrollWidth") == width
    heights = page.locator("button.primary").evaluate_all("all => all.map((b) => b.offsetHeight)")
    assert all(height >= 44 for height in heights if height)
    window.close()


def test_the_keyboard_is_enough(context: BrowserContext, shopping: Shopping) -> None:
    """Every control is reached by Tab and shows that it has the focus; Enter pays."""
    page = open_page(context, pending(shopping))
    page.get_by_label("Card number").focus()
    outline = "getComputedStyle(document.activeElement).outlineStyle"
    for _ in range(5):
        page.keyboard.press("Tab")
        assert page.evaluate(outline) == "solid"
    page.get_by_role("button", name="One-time password").focus()
    page.keyboard.press("Enter")
    page.keyboard.press("Enter")
    expect(page.get_by_label("One-time password")).to_be_focused()


def test_pages_stay_out_of_frames(browser: Browser, shopping: Shopping, till: Server) -> None:
    """A site that frames the page gets nothing to show."""
    order = pending(shopping)
    window = browser.new_context()
    page = window.new_page()
    page.route("https://evil.example/", lambda r: r.fulfill(body=f"<iframe src='{order.link}'></iframe>"))
    page.goto("https://evil.example/")
    frames = [frame for frame in page.frames if frame.parent_frame]
    assert all("Pay" not in frame.locator("body").inner_text() for frame in frames)
    window.close()


def test_a_form_from_another_site_pays_nothing(browser: Browser, shopping: Shopping) -> None:
    """Another site that knows the link and a fresh token sends the form: the browser tells on it."""
    order = pending(shopping)
    token = order.form_token()
    window = browser.new_context()
    page = window.new_page()
    body = (
        f"<form method=post action='{order.link}/card'><input name=form value='{token}'>"
        "<input name=test_card value=otp></form><script>document.forms[0].submit()</script>"
    )
    page.route("https://evil.example/", lambda route: route.fulfill(body=body, content_type="text/html"))
    page.goto("https://evil.example/")
    expect(
        page.get_by_role("main").get_by_text("This was not sent from the payment page itself")
    ).to_be_visible()
    full = shopping.http.get(f"/v1/opentill/orders/{order.order_id}").json()["data"]
    assert full["attempts"] == []
    window.close()
