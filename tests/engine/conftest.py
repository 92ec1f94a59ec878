"""Stores for the engine's tests."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.given import FaultyStore


@pytest.fixture
def store(tmp_path: Path) -> Iterator[FaultyStore]:
    """A fresh SQLite store that is sound until faults are planned."""
    store = FaultyStore(tmp_path)
    yield store
    store.close()
