"""Databases for the tests of rails."""

from typing import Any

import pytest

from databases import POSTGRES, SQLITE


@pytest.fixture(scope="module", params=[SQLITE, POSTGRES], ids=str)
def database_kind(request: pytest.FixtureRequest) -> Any:
    """Return where a rail's memory is: a file of its own, or tables of its own beside the till's."""
    return request.param
