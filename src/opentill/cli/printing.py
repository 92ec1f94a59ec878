"""How the commands print: text to copy, lists for people, JSON for programs; and how lengths are written."""

import re
import sys
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Annotated, Any, Final

import msgspec
from cyclopts import Parameter
from rich.console import Console
from rich.table import Table

from opentill.cli.preflight import OperatorError

WIDE_COLUMNS: Final = 400
"""Wider than any list of ours."""

AsJson = Annotated[bool, Parameter(name="--json", negative="")]
"""Whether a program reads the output."""

_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_DURATION: Final = re.compile(r"([1-9]\d{0,8})([smhd])", re.ASCII)


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
    """Write UTC milliseconds as a person reads them, such as ``2026-11-23 16:33:28Z``."""
    return f"{datetime.fromtimestamp(at // 1000, UTC):%Y-%m-%d %H:%M:%SZ}"


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
    """Read a length of time such as 90s, 30m, 2h or 1d, at least a second; return its seconds.

    Raises OperatorError for anything else.
    """
    duration = _DURATION.fullmatch(text)
    if duration is None:
        raise OperatorError(f"{text!r} is no length of time; write it like 90s, 30m, 2h or 1d.")
    return int(duration[1]) * _SECONDS[duration[2]]


def shown_duration(seconds: int) -> str:
    """Write so many seconds in the shortest way that ``seconds_of`` reads, such as ``30m``."""
    unit = next(unit for unit in "dhms" if seconds % _SECONDS[unit] == 0)
    return f"{seconds // _SECONDS[unit]}{unit}"
