"""Files that hold what merchants and payers trusted us with."""

import os
from pathlib import Path


def make_private(path: Path) -> None:
    """Make the file, readable by its owner only, unless it is there; SQLite's side files take its mode."""
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
