"""What all suites share: databases, the order in which they run, and where their time goes."""

from collections import defaultdict
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Final

import pytest

from databases import KINDS, Kind, NewDatabase, Place, databases, emptied
from turns import turn

# --- databases ------------------------------------------------------------------------------------


@pytest.fixture(scope="module", params=KINDS, ids=str)
def database_kind(request: pytest.FixtureRequest) -> Kind:
    """One kind after the other; a suite or a test that is about some of them overrides it."""
    kind = request.param
    assert isinstance(kind, Kind)
    return kind


@pytest.fixture(scope="module")
def new_database(database_kind: Kind) -> Iterator[NewDatabase]:
    """Makes databases for servers of their own, and for tests that change tables."""
    with databases(database_kind) as new:
        yield new


@pytest.fixture
def database_url(database_kind: Kind) -> str | None:
    """A database without rows; None for a SQLite file in whatever folder the test uses."""
    return emptied(database_kind)


@pytest.fixture
def place(database_url: str | None, tmp_path: Path) -> Place:
    """A database without rows: its URL, or the folder for a SQLite file."""
    return database_url or tmp_path


# --- order ----------------------------------------------------------------------------------------

LONGEST_FIRST: Final = (
    "tests/webhooks/test_chaos.py",
    "tests/api/test_http_golden.py",
    "tests/cli/test_listen.py",
    "tests/api/test_http_cards.py",
    "tests/api/test_http_health.py",
    "tests/races/test_winner.py",
    "tests/api/test_http_tokens.py",
    "tests/store/test_postgres.py",
    "tests/races/test_refunds.py",
    "tests/store/test_migrations.py",
)
"""Files that take long: begun last, one of them would keep a process busy when all others have ended."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Only files change their places; within each the order stays."""
    places = {file: place for place, file in enumerate(LONGEST_FIRST)}
    items.sort(key=lambda item: places.get(item.nodeid.split("::", maxsplit=1)[0], len(places)))


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Waiting for its turn is outside of a test's own time."""
    with turn(item):
        return (yield)


# --- time -----------------------------------------------------------------------------------------

_spent: defaultdict[str, float] = defaultdict(float)


def _suite(node_id: str) -> str:
    parts = node_id.split("::", maxsplit=1)[0].split("/")
    return parts[1] if len(parts) > 2 else "other"


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    _spent[_suite(report.nodeid)] += report.duration


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print where the time went. It judges nothing: a slow machine fails no test."""
    for suite, seconds in sorted(_spent.items(), key=lambda spent: -spent[1]):
        terminalreporter.write_line(f"{suite:10} {seconds:7.1f} s")
