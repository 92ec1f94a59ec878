"""What all suites share: the databases they run on, and a time budget; a run that exceeds one fails."""

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from databases import KINDS, Kind, NewDatabase, Place, databases, emptied

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


# --- time -----------------------------------------------------------------------------------------

BUDGET_SECONDS: Final = {
    "api": 480,  # on three databases
    "cli": 300,
    "domain": 10,
    "engine": 180,
    "faults": 360,
    "operations": 120,
    "races": 480,
    "rails": 120,
    "store": 240,
    "tidy": 20,
    "webhooks": 300,
}
OTHER_BUDGET_SECONDS: Final = 90

_spent: defaultdict[str, float] = defaultdict(float)


def _suite(node_id: str) -> str:
    parts = node_id.split("::", maxsplit=1)[0].split("/")
    return parts[1] if len(parts) > 2 else "other"


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    _spent[_suite(report.nodeid)] += report.duration


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for suite, seconds in sorted(_spent.items()):
        budget = BUDGET_SECONDS.get(suite, OTHER_BUDGET_SECONDS)
        over = "  OVER BUDGET" if seconds > budget else ""
        terminalreporter.write_line(f"{suite:10} {seconds:7.1f} s of {budget} s{over}")


def pytest_sessionfinish(session: pytest.Session) -> None:
    over = [s for s, seconds in _spent.items() if seconds > BUDGET_SECONDS.get(s, OTHER_BUDGET_SECONDS)]
    if over and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
