"""How the commands print: text to copy, lists for people, JSON for programs; and how lengths are written."""

import sys
from collections.abc import Iterable
from typing import Annotated, Any, Final

import msgspec
from cyclopts import Parameter
from rich.console import Console
from rich.table import Table

from opentill.cli.preflight import OperatorError
from opentill.domain.times import calendar, duration_seconds

WIDE_COLUMNS: Final = 400
"""Wider than any list of ours."""

AsJson = Annotated[bool, Parameter(name="--json", negative="")]
"""Whether a program reads the output."""


def say(text: str) -> None:
    """Print text that someone may copy, so without wrapping and colour."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def say_json(value: Any) -> None:
    """Print one value as one line of JSON."""
    say(msgspec.json.encode(value).decode())


def printable(text: str) -> str:
    """Escape in what somebody else wrote everything that could steer a terminal."""
    return "".join(each if each.isprintable() else repr(each)[1:-1] for each in text)


def shown_time(at: int) -> str:
    """Write UTC milliseconds, whichever they are, as a person reads them: ``2026-11-23 16:33:28Z``."""
    return f"{calendar(at).isoformat(' ')[:19]}Z"


def print_table(headings: Iterable[str], rows: Iterable[Iterable[str]]) -> None:
    """Print a list, never cutting a value: wide where no terminal sets a width, folded where one does."""
    table = Table(box=None, pad_edge=False)
    for heading in headings:
        table.add_column(heading, overflow="fold")
    for row in rows:
        table.add_row(*row)
    width = None if sys.stdout.isatty() else WIDE_COLUMNS
    Console(width=width, highlight=False, markup=False, emoji=False).print(table)


def seconds_of(text: str) -> int:
    """Read a length of time such as 1800, 90s, 30m, 2h or 1d, at least a second; return its seconds.

    Raises OperatorError for anything else.
    """
    seconds = duration_seconds(text)
    if not seconds:
        raise OperatorError(f"{text!r} is no length of time; write it like 1800, 90s, 30m, 2h or 1d.")
    return seconds
