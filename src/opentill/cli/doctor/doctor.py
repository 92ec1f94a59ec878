"""``opentill doctor``: what is wrong with this installation, and what to do about it."""

import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Final

from rich.console import Console
from rich.text import Text

from opentill.cli.doctor.database import database_checks
from opentill.cli.doctor.diagnosis import Diagnosis, State, failed, ok
from opentill.cli.doctor.machine import machine_checks
from opentill.cli.preflight import Where
from opentill.cli.printing import WIDE_COLUMNS, AsJson, say_json
from opentill.clock import SystemClock
from opentill.settings import InvalidSetting

UNWELL: Final = 1
"""Exit status when a check failed."""
_MARKS: Final = {
    State.OK: ("ok", "green"),
    State.WARNING: ("warning", "yellow"),
    State.FAILED: ("failed", "bold red"),
    State.SKIPPED: ("skipped", "dim"),
}


def doctor(*, as_json: AsJson = False, where: Where | None = None) -> None:
    """Look at settings, files, database, server, unfinished work and books; exit 1 if something is wrong.

    Changes nothing but the time of the last test write. Each finding that is not well has its fix.

    Args:
        as_json: Print one JSON object.
        where: Which installation.
    """
    findings = list(_findings(where or Where()))
    healthy = not any(each.state is State.FAILED for each in findings)
    (_say_json if as_json else _show)(findings, healthy=healthy)
    if not healthy:
        sys.exit(UNWELL)


def _findings(where: Where) -> Iterator[Diagnosis]:
    try:
        settings = where.settings()
    except InvalidSetting as error:
        yield failed("settings", str(error).rstrip("."), "change that setting; docs/settings.md has them all")
        return
    yield ok("settings", f"{settings.mode} mode, {settings.workers} server process(es)")
    yield from machine_checks(settings)
    yield from database_checks(settings, SystemClock())


def _say_json(findings: Sequence[Diagnosis], *, healthy: bool) -> None:
    shown = [{"check": f.check, "state": f.state.value, "said": f.said, "fix": f.fix} for f in findings]
    say_json({"healthy": healthy, "checks": shown})


def _show(findings: Sequence[Diagnosis], *, healthy: bool) -> None:
    """Print a line for each check, and below it what to do."""
    console = Console(width=None if sys.stdout.isatty() else WIDE_COLUMNS, highlight=False)
    for each in findings:
        word, style = _MARKS[each.state]
        console.print(
            Text.assemble((f"{word:8}", style), f"{each.check:13}", f"{each.said}."), soft_wrap=True
        )
        if each.fix:
            console.print(Text(f"{'':21}-> {each.fix}."), soft_wrap=True)
    counted = Counter(each.state for each in findings)
    sum_ = ", ".join(f"{counted[state]} {state.value}" for state in State if counted[state])
    console.print(Text(f"\n{'All is well' if healthy else 'Something is wrong'}: {sum_}."))
