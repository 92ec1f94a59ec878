"""The PostgreSQL store: the whole law, on every server version and on a partitioned schema."""

from collections.abc import Callable

import pytest

from clusters import cluster
from given_store import NOW
from opentill.store.interface import Mode, OpenStore, Store
from opentill.store.postgres import open_postgres
from store.conformance_directory import LAW


@pytest.mark.parametrize("version", [15, 18])
@pytest.mark.parametrize("law", LAW, ids=lambda law: law.__name__)
def test_law(law: Callable[[OpenStore], None], version: int) -> None:
    """The PostgreSQL store keeps every law of stores."""
    url = cluster(version).fresh_database()

    def opened() -> Store:
        store = open_postgres(url)
        store.install(Mode.SANDBOX, "key-fingerprint", NOW)
        return store

    law(opened)
