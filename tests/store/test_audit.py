"""Every invariant of a whole database: it holds for what the engine writes, and finds what breaks it."""

import asyncio
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from clusters import WHEEL_VERSION, cluster
from databases import (
    FILE,
    POSTGRES,
    SQLITE,
    NewDatabase,
    Place,
    contents,
    copy_of,
    drop_constraints,
    url_of,
    writing,
)
from opentill.domain.order import AttemptStatus, OrderStatus, RefundStatus, ReturnStatus
from opentill.store.audit.examination import ALL_CHECKS, Finding, audit, count_orders, open_read_only
from opentill.store.errors import StoreUnusable
from store import seed_data
from store.defects import DEFECTS, Books, Defect

SHOWN = 3


@dataclass(frozen=True)
class Played:
    """A database in which everything has happened, and the order ids by the orders' references."""

    place: Place
    orders: dict[str, str]


@pytest.fixture(scope="module", params=[SQLITE, POSTGRES], ids=str)
def database_kind(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture(scope="module")
def played(new_database: NewDatabase, tmp_path_factory: pytest.TempPathFactory) -> Played:
    place = new_database() or tmp_path_factory.mktemp("seed")
    return Played(place, asyncio.run(seed_data.play(place)))


@pytest.fixture
def place(played: Played, tmp_path: Path) -> Iterator[Place]:
    """A copy of it, to be damaged."""
    if isinstance(played.place, Path):
        shutil.copy(played.place / FILE, tmp_path)
        yield tmp_path
    else:
        with copy_of(played.place) as url:
            yield url


@contextmanager
def damaging(place: Place, orders: dict[str, str]) -> Iterator[Books]:
    if isinstance(place, str):
        drop_constraints(place)
    with writing(place) as run:
        if isinstance(place, Path):
            run("PRAGMA ignore_check_constraints = ON")
        yield Books(run, orders, "rowid" if isinstance(place, Path) else "ctid")


def found(place: Place) -> dict[str, Finding]:
    """The checks that found something, by name."""
    with open_read_only(url_of(place)) as connection:
        return {each.check.name: each for each in audit(connection, SHOWN) if each.count}


_STATUS = {
    "orders": "status",
    "attempts": "status",
    "refunds": "coalesce(finer_status, status)",
    "returns": "coalesce(finer_status, status)",
}


def test_what_the_engine_wrote_breaks_nothing(place: Place) -> None:
    """Every check holds for a database in which each status of orders, attempts and refunds occurs."""
    with open_read_only(url_of(place)) as connection:
        seen = {
            table: set(connection.execute(text(f"SELECT {status} FROM {table}")).scalars())
            for table, status in _STATUS.items()
        }
        orders = count_orders(connection)
        findings = list(audit(connection, SHOWN))
    assert seen == {
        "orders": set(OrderStatus),
        "attempts": set(AttemptStatus),
        "refunds": set(RefundStatus),
        "returns": set(ReturnStatus),
    }
    assert [(each.check, each.count, each.first) for each in findings] == [(c, 0, ()) for c in ALL_CHECKS]
    assert orders == 38


def test_every_check_has_a_defect_that_it_must_find() -> None:
    """No check is left without a seeded defect below, and no two share a name."""
    assert {defect.check for defect in DEFECTS} == {check.name for check in ALL_CHECKS}
    assert len({check.name for check in ALL_CHECKS}) == len(ALL_CHECKS)


@pytest.mark.parametrize("defect", DEFECTS, ids=lambda d: f"{d.check}-{d.order}".replace(" ", "-"))
def test_a_defect_is_found_by_its_check_alone(defect: Defect, place: Place, played: Played) -> None:
    """One damaged order turns exactly its check red, which names that order and no other."""
    orders = played.orders
    with damaging(place, orders) as books:
        defect.do(books)
    red = found(place)
    assert set(red) == {defect.check}
    assert {offence.order_id for offence in red[defect.check].first} == {
        orders.get(defect.order, defect.order)
    }
    assert all(offence.account_id and offence.what for offence in red[defect.check].first)


def test_offences_are_counted_to_the_last_and_told_in_part(place: Place, played: Played) -> None:
    """Of many offences only the first few are told, and all are counted."""
    with damaging(place, played.orders) as books:
        for order in played.orders:
            books.set("orders", order, "attempt_count = attempt_count + 1")
    red = found(place)
    assert (red["attempts-counted"].count, len(red["attempts-counted"].first)) == (38, SHOWN)


def test_the_connection_can_not_write(place: Place) -> None:
    """No statement changes anything, whatever it says, and a whole audit leaves all as it was."""
    before = everything(place)
    with open_read_only(url_of(place)) as connection:
        list(audit(connection, SHOWN))
    with (
        open_read_only(url_of(place)) as connection,
        pytest.raises(DBAPIError, match=r"readonly|read-only"),
    ):
        connection.execute(text("UPDATE orders SET version = 9"))
    assert everything(place) == before


def test_a_check_sees_what_a_writer_has_committed_and_does_not_wait_for_it(
    place: Place, played: Played
) -> None:
    """Beside an open write transaction the audit reads the state before it."""
    with damaging(place, played.orders) as books:
        books._run("BEGIN")
        books.set("orders", "paid", "refund_count = 1")
        assert found(place) == {}
        books._run("COMMIT")
    assert set(found(place)) == {"refunds-counted"}


def everything(place: Place) -> object:
    """All that a database holds: of a file its bytes, else all tables and their rows."""
    return (place / FILE).read_bytes() if isinstance(place, Path) else contents(place)


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        ("UPDATE alembic_version SET version_num = '0001'", "is at schema 0001"),
        ("DELETE FROM alembic_version", "is at schema None"),
        ("DROP TABLE alembic_version", "is at schema None"),
    ],
)
def test_tables_of_another_version_are_not_judged(place: Place, damage: str, sentence: str) -> None:
    """A database that this version would have to migrate first is refused, and not migrated."""
    with writing(place) as run:
        run(damage)
    before = everything(place)
    with pytest.raises(StoreUnusable, match=sentence), open_read_only(url_of(place)):
        pass
    assert everything(place) == before


def test_what_is_no_database_is_refused(tmp_path: Path) -> None:
    """A missing file is not made, and a file of something else is not taken for a database."""
    missing, other = tmp_path / "none.db", tmp_path / "other.db"
    with (
        pytest.raises(StoreUnusable, match="There is no database"),
        open_read_only(f"sqlite:///{missing}"),
    ):
        pass
    assert list(tmp_path.iterdir()) == []
    other.write_text("these are no tables, " * 100)
    with pytest.raises(StoreUnusable, match="can not be read"), open_read_only(f"sqlite:///{other}"):
        pass


def test_a_database_that_the_server_does_not_have_is_refused() -> None:
    """Of PostgreSQL's reasons the auditor hears in one sentence."""
    with (
        pytest.raises(StoreUnusable, match="does not exist"),
        open_read_only(cluster(WHEEL_VERSION).url("nobody_made_this")),
    ):
        pass
