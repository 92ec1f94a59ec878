"""What all suites share: databases, the order in which they run, and a time budget; who exceeds it fails."""

import os
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

BUDGET_SECONDS: Final = {
    "api": 750,  # on three databases
    "cli": 540,  # programs and servers that start
    "domain": 10,
    "engine": 180,
    "faults": 360,
    "operations": 120,
    "payer": 300,  # pages on three databases, and a browser for 90 seconds of it
    "races": 480,
    "rails": 120,
    "store": 240,
    "tidy": 30,
    "webhooks": 300,
}
"""At least twice what a calm machine takes: neighbours make a run half as long again and must not fail it."""
OTHER_BUDGET_SECONDS: Final = 90

_spent: defaultdict[str, float] = defaultdict(float)


def _suite(node_id: str) -> str:
    parts = node_id.split("::", maxsplit=1)[0].split("/")
    return parts[1] if len(parts) > 2 else "other"


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    _spent[_suite(report.nodeid)] += report.duration


def _budget(suite: str, config: pytest.Config) -> float:
    """In seconds; more where tests run side by side and have to share a core."""
    processes = getattr(config.option, "numprocesses", None) or 1
    return BUDGET_SECONDS.get(suite, OTHER_BUDGET_SECONDS) * max(1.0, processes / (os.cpu_count() or 1))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    for suite, seconds in sorted(_spent.items()):
        budget = _budget(suite, config)
        over = "  OVER BUDGET" if seconds > budget else ""
        terminalreporter.write_line(f"{suite:10} {seconds:7.1f} s of {budget:.0f} s{over}")


def pytest_sessionfinish(session: pytest.Session) -> None:
    over = any(seconds > _budget(suite, session.config) for suite, seconds in _spent.items())
    if over and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
