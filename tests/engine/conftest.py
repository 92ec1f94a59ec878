"""Stores for the engine's tests."""

from collections.abc import Iterator
from typing import Any

import pytest

from databases import POSTGRES, SQLITE, Place
from engine.harness import FaultyStore, faulty_store


@pytest.fixture(scope="module", params=[SQLITE, POSTGRES], ids=str)
def database_kind(request: pytest.FixtureRequest) -> Any:
    """The kinds that an engine can tell apart; how tables are split is the store's business."""
    return request.param


@pytest.fixture
def store(place: Place) -> Iterator[FaultyStore]:
    """A fresh store that is sound until faults are planned."""
    store = faulty_store(place)
    yield store
    store.close()
