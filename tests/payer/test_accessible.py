"""Every state of the page, light and dark, held against axe's rules."""

from collections.abc import Callable, Iterator
from typing import Final, Literal

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page

from payer.shopping import STATES, Bought, Shopping

RULES = {
    "runOnly": {
        "type": "tag",
        "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"],
    }
}

SCHEMES: Final[tuple[Literal["light", "dark"], ...]] = ("light", "dark")


@pytest.fixture(scope="module")
def windows(browser: Browser) -> Iterator[list[Page]]:
    """A phone in each scheme of colours; axe is let past the page's policy by the browser's own protocol."""
    contexts = [
        browser.new_context(color_scheme=scheme, viewport={"width": 360, "height": 740}, bypass_csp=True)
        for scheme in SCHEMES
    ]
    yield [context.new_page() for context in contexts]
    for context in contexts:
        context.close()


@pytest.mark.parametrize("bring", STATES, ids=lambda bring: bring.__name__)
def test_no_state_of_the_page_shuts_anybody_out(
    windows: list[Page], shopping: Shopping, bring: Callable[[Shopping], Bought]
) -> None:
    """Axe finds no violation of WCAG 2.2 AA or of its best practices, in either scheme of colours."""
    link = bring(shopping).link
    for window in windows:
        look(window, link)


@pytest.mark.parametrize("path", ["/checkout/unknown", "/sandbox/3ds"])
def test_pages_without_an_order_shut_nobody_out(windows: list[Page], shopping: Shopping, path: str) -> None:
    """The same holds of links that are not valid and of the bank's page without a challenge."""
    for window in windows:
        look(window, f"{shopping.http.base_url}{path}")


def look(window: Page, link: str) -> None:
    """Open all that can be opened, then let axe look."""
    window.goto(link)
    window.evaluate(
        "for (const each of document.querySelectorAll('details')) { each.name = ''; each.open = true; }"
    )
    found = Axe().run(window, options=RULES)
    assert not found.response["violations"], found.generate_report()
