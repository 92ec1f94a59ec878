"""One browser, and one till with two workers, for each module."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser

from payer.chromium import chromium
from payer.shopping import Shopping
from server import Server, client


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Not for longer: while Playwright runs, no test in this process can run an event loop of its own."""
    with chromium() as running:
        yield running


@pytest.fixture(scope="module")
def till(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Two workers on one SQLite file; its rail is taken for silent after half a second."""
    folder = tmp_path_factory.mktemp("till")
    with Server(folder, workers=2, card_timeout_seconds=0.5, sweep_interval_seconds=0.2) as running:
        yield running


@pytest.fixture(scope="module")
def shopping(till: Server) -> Iterator[Shopping]:
    with client(till) as http:
        yield Shopping(http)
