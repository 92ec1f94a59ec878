"""Writes a picture of every state of the payer's page to docs/screenshots: on a phone, in both schemes."""

import sys
import tempfile
from pathlib import Path
from typing import Final, Literal

from playwright.sync_api import Browser

from payer.chromium import chromium
from payer.shopping import STATES, Shopping
from server import Server, client

FOLDER: Final = Path(__file__).parents[1] / "docs" / "screenshots"
SCHEMES: Final[tuple[Literal["light", "dark"], ...]] = ("light", "dark")
WIDTH: Final = 390


def take(browser: Browser, link: str, scheme: Literal["light", "dark"], file: Path) -> None:
    """The whole page, once it listens."""
    page = browser.new_page(viewport={"width": WIDTH, "height": 640}, color_scheme=scheme)
    with page.expect_request("**/live?*"):
        page.goto(link)
    page.screenshot(path=file, full_page=True, animations="disabled")
    page.close()


def main() -> int:
    """Bring an order into each state, and take its pictures."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory() as folder,
        Server(Path(folder), card_timeout_seconds=0.5) as server,
        client(server) as http,
        chromium() as browser,
    ):
        for bring in STATES:
            for scheme in SCHEMES:
                file = FOLDER / f"{bring.__name__.replace('_', '-')}-{scheme}.png"
                take(browser, bring(Shopping(http)).link, scheme, file)
                sys.stdout.write(f"{file.relative_to(FOLDER.parents[1])}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
