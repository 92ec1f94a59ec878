"""Each suite has a time budget of its own; a run that exceeds one fails and says which."""

from collections import defaultdict
from typing import Final

import pytest

BUDGET_SECONDS: Final = {
    "api": 120,
    "cli": 120,
    "domain": 10,
    "engine": 90,
    "faults": 120,
    "races": 150,
    "rails": 30,
    "store": 30,
    "tidy": 20,
}
OTHER_BUDGET_SECONDS: Final = 40

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
