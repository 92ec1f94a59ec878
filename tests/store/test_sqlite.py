"""The SQLite store: the whole law, and what is its own business."""

import shutil
import sqlite3
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest
from sqlalchemy import CheckConstraint, Engine, Table, create_engine, inspect

from doubling_store import doubled
from opentill.rails.sandbox.journal import RailJournal
from opentill.store import schema
from opentill.store.databases.migrate import HEAD
from opentill.store.databases.sqlite import SqliteStore, open_sqlite
from opentill.store.errors import StoreUnusable
from opentill.store.interface import OpenStore
from store.conformance_transfers import LAW
from store_factories import ACCOUNT, NOW, TOKEN, add_orders, cancelled, open_store, read, write


@pytest.mark.parametrize("law", LAW, ids=lambda law: law.__name__)
def test_law(law: Callable[[OpenStore], None], tmp_path: Path) -> None:
    """The SQLite store keeps every law of stores."""
    law(lambda: open_store(tmp_path))


def test_a_store_that_doubles_what_belongs_to_an_order_breaks_the_law(tmp_path: Path) -> None:
    """The negative control: with children doubled the law of names fails."""
    (law,) = (each for each in LAW if each.__name__ == "an_order_comes_once_by_all_of_its_names")
    with pytest.raises(AssertionError):
        law(lambda: doubled(open_store(tmp_path)))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteStore]:
    store = open_store(tmp_path)
    assert isinstance(store, SqliteStore)
    yield store
    store.close()


def test_every_commit_is_durable(store: SqliteStore) -> None:
    """The connection that writes does so to a WAL that is synced at every commit."""
    pragmas = {
        name: store._writer.execute(f"PRAGMA {name}").fetchone()[0]
        for name in ("journal_mode", "synchronous")
    }
    assert pragmas == {"journal_mode": "wal", "synchronous": 2}  # 2 is FULL


def test_no_cost_grows_with_what_is_kept(store: SqliteStore) -> None:
    """SQLite takes as many steps for an order and its places in the feed after 2,000 orders as after 50."""
    few = _steps_of_one(store, "few", kept=50)
    many = _steps_of_one(store, "many", kept=2_000)
    assert many < few * 1.3


def _steps_of_one(store: SqliteStore, name: str, kept: int) -> int:
    """In tens, for both connections, once so many orders of its merchant are kept, all ended and told."""
    orders = add_orders(store, *(f"{name}-{number}" for number in range(kept)))
    write(store, [cancelled(order) for order in orders])
    _place(store)
    steps = 0

    def count() -> None:
        nonlocal steps
        steps += 1

    for connection in (store._writer, store._reader):
        connection.set_progress_handler(count, 10)
    (order,) = add_orders(store, f"{name}-one")
    with store.batch() as batch:
        batch.facts({TOKEN})
        assert batch.keys({(ACCOUNT, f"{name}-key")}, NOW) == {}
        (found,) = batch.lock_orders({(ACCOUNT, order.reference)})
        (found,) = batch.lock_orders({(ACCOUNT, order.order_id)})
        batch.write([cancelled(found)])
        batch.commit()
    _place(store)
    with store.snapshot() as snapshot:
        snapshot.due_orders(NOW, 10)
        snapshot.overdue_calls(NOW, 10)
        snapshot.orders([(ACCOUNT, order.reference)])
        snapshot.versions([(ACCOUNT, order.order_id)])
    for connection in (store._writer, store._reader):
        connection.set_progress_handler(None, 0)
    return steps


def _place(store: SqliteStore) -> None:
    while store.outbox.place_events(lambda _event, _view: None, NOW, 512):
        pass


def test_the_connection_that_reads_can_not_write(store: SqliteStore) -> None:
    """No statement of a snapshot changes anything, whatever it says."""
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        store._reader.execute("UPDATE installation SET clock_offset = 5")


@pytest.mark.parametrize("opened", [open_sqlite, RailJournal], ids=["store", "journal"])
def test_of_those_who_open_a_new_file_at_once_all_may(
    opened: Callable[[Path], SqliteStore | RailJournal], tmp_path: Path
) -> None:
    """Whoever is first makes it; nobody is turned away, in twenty tries."""
    for number in range(20):
        path, together = tmp_path / f"{number}.db", Barrier(4)

        def open_and_close(path: Path = path, together: Barrier = together) -> None:
            together.wait(10)
            opened(path).close()

        with ThreadPoolExecutor(4) as threads:
            for each in [threads.submit(open_and_close) for _ in range(4)]:
                each.result()


def test_what_was_written_is_there_after_reopening(tmp_path: Path) -> None:
    """An order survives the end of the store that wrote it, and is read by another one at once."""
    first = open_store(tmp_path)
    (order,) = add_orders(first, "r")
    second = open_store(tmp_path)
    assert read(second, (ACCOUNT, "r")) == [order]
    first.close()
    second.close()
    third = open_store(tmp_path)
    assert read(third, (ACCOUNT, "r")) == [order]
    third.close()


# --- the schema ---------------------------------------------------------------------------------------


def _described(engine: Engine) -> dict[str, dict[str, Any]]:
    """Every table with its columns, keys, constraints and indexes, in an order of their own."""
    found = inspect(engine)
    return {
        table: {
            "columns": sorted(
                (c["name"], str(c["type"]), c["nullable"], str(c["default"]))
                for c in found.get_columns(table)
            ),
            "primary key": found.get_pk_constraint(table)["constrained_columns"],
            "unique": sorted(
                (str(u["name"]), u["column_names"]) for u in found.get_unique_constraints(table)
            ),
            "checks": sorted(
                (str(c["name"]), " ".join(c["sqltext"].split())) for c in found.get_check_constraints(table)
            ),
            "indexes": sorted(
                (str(i["name"]), i["column_names"], bool(i["unique"])) for i in found.get_indexes(table)
            ),
            "foreign keys": found.get_foreign_keys(table),
        }
        for table in found.get_table_names()
    }


def _checks_of(table: Table) -> int:
    return sum(isinstance(constraint, CheckConstraint) for constraint in table.constraints)


def test_the_migrations_make_the_schema(tmp_path: Path) -> None:
    """What the migrations have made is what ``schema`` says, to the last constraint and index."""
    open_store(tmp_path).close()
    migrated = create_engine(f"sqlite:///{tmp_path / 'opentill.db'}")
    described = create_engine(f"sqlite:///{tmp_path / 'described.db'}")
    try:
        schema.metadata.create_all(described)
        made = _described(migrated)
        assert made.pop("alembic_version")
        assert made == _described(described)
        assert len(made["orders"]["checks"]) == _checks_of(schema.orders)  # all of them were compared
    finally:
        migrated.dispose()
        described.dispose()


def test_a_database_at_the_newest_schema_is_stamped(store: SqliteStore) -> None:
    """The revision that stands in the code as the newest is the one the migrations leave behind."""
    assert store._reader.execute("SELECT version_num FROM alembic_version").fetchall() == [(HEAD,)]


# --- databases that can not be used -------------------------------------------------------------------


def _not_a_database(path: Path) -> None:
    path.write_bytes(b"Dear diary, " * 1000)


def _of_a_newer_version(path: Path) -> None:
    open_sqlite(path).close()
    connection = sqlite3.connect(path)
    connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.execute("UPDATE schema_support SET oldest_code = '9999'")
    connection.commit()
    connection.close()


def _a_folder(path: Path) -> None:
    path.mkdir()


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (_not_a_database, "is an opentill database"),
        (_of_a_newer_version, "needs an opentill that knows 9999"),
        (_a_folder, "can not be opened"),
    ],
)
def test_what_is_no_database_of_ours_is_refused(
    tmp_path: Path, spoil: Callable[[Path], None], says: str
) -> None:
    """A file that can not be used is refused in one sentence with the fix, and is left as it was."""
    path = tmp_path / "opentill.db"
    spoil(path)
    before = path.read_bytes() if path.is_file() else b""
    with pytest.raises(StoreUnusable, match=says) as refused:
        open_sqlite(path)
    assert _is_one_sentence(str(refused.value))
    assert (path.read_bytes() if path.is_file() else b"") == before


def test_a_folder_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    """A path into nowhere is refused in one sentence, and no folder is made."""
    with pytest.raises(StoreUnusable, match="folder exists") as refused:
        open_sqlite(tmp_path / "nowhere" / "opentill.db")
    assert _is_one_sentence(str(refused.value))
    assert not (tmp_path / "nowhere").exists()


def _is_one_sentence(text: str) -> bool:
    return "\n" not in text and text[0].isupper() and text.endswith(".")


# --- the journal of the sandbox rail ------------------------------------------------------------------


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[RailJournal]:
    journal = RailJournal(tmp_path / "rail.db")
    yield journal
    journal.close()


def test_the_journal_is_durable(journal: RailJournal) -> None:
    """The journal's answers are in a WAL before they are given: what a killed process said is remembered."""
    with journal._engine.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 1  # NORMAL


def test_a_checkpoint_moves_commits_into_the_file_itself(tmp_path: Path) -> None:
    """After it the database file alone, without its log, has what was committed."""
    store = open_store(tmp_path)
    add_orders(store, "r1")
    store.checkpoint()
    copy = tmp_path / "copy"
    copy.mkdir()
    shutil.copy(tmp_path / "opentill.db", copy / "opentill.db")
    store.close()
    copied = open_sqlite(copy / "opentill.db")
    try:
        assert read(copied, (ACCOUNT, "r1")) != [None]
    finally:
        copied.close()
