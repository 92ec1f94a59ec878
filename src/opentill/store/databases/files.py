"""Files that hold what merchants and payers trusted us with."""

import contextlib
import os
from pathlib import Path


def make_private(path: Path) -> None:
    """Make the file, readable by its owner only, unless it is there; SQLite's side files take its mode.

    A file that is there is not even opened: closing any handle on it would drop every lock that this
    process holds on it (POSIX), and another program could then delete the log that SQLite writes to.
    """
    with contextlib.suppress(FileExistsError):
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
