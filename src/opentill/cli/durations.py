"""Lengths of time as people write them: 90s, 30m, 2h, 1d."""

import re
from typing import Final

from opentill.cli.preflight import OperatorError

_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_WRITTEN: Final = re.compile(r"([1-9]\d{0,8})([smhd])", re.ASCII)


def seconds_of(text: str) -> int:
    """How many seconds such a length has, at least one. Raises OperatorError for anything else."""
    written = _WRITTEN.fullmatch(text)
    if written is None:
        raise OperatorError(f"{text!r} is no length of time; write it like 90s, 30m, 2h or 1d.")
    return int(written[1]) * _SECONDS[written[2]]


def written(seconds: int) -> str:
    """The shortest way to write so many seconds, such as ``30m``."""
    unit = next(unit for unit in "dhms" if seconds % _SECONDS[unit] == 0)
    return f"{seconds // _SECONDS[unit]}{unit}"
