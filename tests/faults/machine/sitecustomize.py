"""A machine whose clock somebody sets, for each process that starts with this folder in its path.

The file that ``MACHINE_CLOCK`` names says by how many milliseconds the clock is wrong; it may change at any
moment. The monotonic clock goes on as it is, as on a real machine.
"""

import os
import time
from pathlib import Path

_real, _file = time.time_ns, Path(os.environ.get("MACHINE_CLOCK", os.devnull))


def _set() -> int:
    return _real() + int(_file.read_text() or 0) * 1_000_000


time.time_ns = _set
