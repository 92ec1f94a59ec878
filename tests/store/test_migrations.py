"""Every migration leaves rows and older code unharmed, on both databases, and stands in nobody's way."""

import asyncio
import subprocess
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path
from time import monotonic
from typing import Any

import psycopg
import pytest
from psycopg import sql
from sqlalchemy import text

from cli.program import run
from opentill.domain.order import OrderStatus
from opentill.store.accounts.contract import Mode
from opentill.store.audit.examination import audit, open_read_only
from opentill.store.databases.migrate import HEAD
from opentill.store.databases.opening import open_store
from opentill.store.databases.urls import is_postgres
from opentill.store.errors import StoreUnusable
from server import Server, client, token
from store import seed_data
from store.migrating import (
    KINDS,
    NEXT,
    REVISIONS,
    Rows,
    all_rows,
    change,
    dumped,
    empty,
    execute,
    fill,
    migrate,
    part_of,
    upgrade,
)
from store_factories import ACCOUNT, NOW, add_orders, read

KEY = "7d" * 32
LOCK_TIMEOUT_SECONDS = 0.5
BEFORE_PLACES = "0003"
"""The migration before one that changes ``events``."""
SLACK_SECONDS = 1.5
"""What a busy machine may add."""


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def url(kind: str, tmp_path: Path) -> str:
    """An empty database of each kind."""
    return empty(kind, tmp_path)


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory) -> Rows:
    """The rows of a life before refunds, transfers and fees were known, in which all else has happened."""
    folder = tmp_path_factory.mktemp("seed")
    asyncio.run(seed_data.play(folder, shared=False))
    rows = all_rows(f"sqlite:///{folder / 'opentill.db'}")
    later = {row["order_id"] for table in ("refunds", "credits") for row in rows[table]}
    return {name: [row for row in of if row.get("order_id") not in later] for name, of in rows.items()}


def test_a_database_that_grew_with_the_program_equals_a_new_one(
    kind: str, url: str, lived: Rows, tmp_path: Path
) -> None:
    """Migrated step by step with rows in it, it has a new one's schema, the same rows, and books in order."""
    upgrade(url, REVISIONS[0])
    held = fill(url, lived)
    assert held.keys() >= {"installation", "orders", "attempts", "events", "ledger_entries"}
    for revision in REVISIONS[1:]:
        upgrade(url, revision)
    new = empty(kind, tmp_path, "new.db")
    open_store(new).close()
    assert dumped(url) == dumped(new)
    assert part_of(all_rows(url), held) == held
    with open_read_only(url) as connection:
        assert [each.check.name for each in audit(connection, 1) if each.count] == []


def test_returns_with_a_try_without_an_answer_are_known_after_0012(
    url: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Of returns that are open those count of which more tries began than were answered, none under way."""
    folder = tmp_path_factory.mktemp("returns")
    orders = asyncio.run(seed_data.play(folder))
    upgrade(url, "0011")
    rows = all_rows(f"sqlite:///{folder / 'opentill.db'}")
    fill(url, {name: of for name, of in rows.items() if name != "schema_support"})
    upgrade(url, HEAD)
    unsure = {row["order_id"] for row in all_rows(url)["returns"] if row["unanswered"]}
    assert unsure == {orders["return unknown"], orders["return closing"]}


@pytest.mark.parametrize(("before", "after"), list(pairwise(REVISIONS)))
def test_the_code_of_before_goes_on_working(url: str, before: str, after: str) -> None:
    """A migration takes nothing away, narrows nothing, and asks nothing new of old columns."""
    upgrade(url, before)
    old, found = change(url, lambda connection: migrate(connection, after))
    assert old.keys() > {"orders", "events", "alembic_version"}
    assert found == []


@pytest.fixture(scope="module")
def newest(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A PostgreSQL database at the newest schema, for changes that are taken back."""
    url = empty(KINDS[-1], tmp_path_factory.mktemp("newest"))
    upgrade(url, HEAD)
    return url


HARMFUL = {
    "DROP TABLE sub_accounts": "sub_accounts: is gone",
    "ALTER TABLE orders DROP COLUMN metadata": "orders: metadata is gone",
    "ALTER TABLE orders RENAME COLUMN metadata TO about": "orders: metadata is gone",
    "ALTER TABLE orders ALTER COLUMN reference TYPE varchar(51)": "orders: reference takes less than before",
    "ALTER TABLE orders ALTER COLUMN amount TYPE integer": "orders: amount takes less than before",
    "ALTER TABLE orders ALTER COLUMN due_at SET NOT NULL": "orders: due_at takes less than before",
    "ALTER TABLE orders ADD COLUMN later integer NOT NULL": "orders: later is new and must be given",
    "ALTER TABLE orders ADD CONSTRAINT c CHECK (amount < 100)": "check c amount < 100 is a new rule",
    "CREATE UNIQUE INDEX u ON orders (customer_email)": "unique u is a new rule",
    "ALTER TABLE events ADD CONSTRAINT f FOREIGN KEY (account_id, order_id) REFERENCES orders": "foreign f",
}


@pytest.mark.parametrize("statement", HARMFUL)
def test_a_harmful_migration_would_be_noticed(statement: str, newest: str) -> None:
    """Each kind of change that older code can not go on with is found, and named."""
    _, found = change(newest, lambda connection: connection.execute(text(statement)))
    assert any(HARMFUL[statement] in sentence for sentence in found), found


HARMLESS = [
    "CREATE TABLE later (id integer PRIMARY KEY, name text UNIQUE)",
    "ALTER TABLE orders ADD COLUMN note varchar(9) CHECK (length(note) > 1)",
    "ALTER TABLE orders ADD COLUMN many integer NOT NULL DEFAULT 0",
    "ALTER TABLE orders ALTER COLUMN reference TYPE varchar(300)",
    "CREATE INDEX orders_by_email ON orders (customer_email)",
]


@pytest.mark.parametrize("statement", HARMLESS)
def test_a_harmless_migration_is_let_pass(statement: str, newest: str) -> None:
    """A new table, a nullable or defaulted column, more room, an index, a rule for a new column are fine."""
    _, found = change(newest, lambda connection: connection.execute(text(statement)))
    assert found == []


# --- older code on a newer schema ---------------------------------------------------------------------


def make_newer(url: str, oldest_code: str) -> None:
    """The database as a later version leaves it, which names the oldest code that may go on working there."""
    open_store(url).close()
    execute(
        url,
        "ALTER TABLE orders ADD COLUMN later integer",
        f"UPDATE alembic_version SET version_num = '{NEXT}'",
        f"UPDATE schema_support SET oldest_code = '{oldest_code}'",
    )


def test_this_code_works_on_a_newer_schema_that_allows_it(url: str) -> None:
    """While processes are replaced one by one, an old one starts, writes and reads on the new tables."""
    make_newer(url, oldest_code=HEAD)
    for may_migrate in (True, False):
        store = open_store(url, migrate=may_migrate)
        store.accounts.install(Mode.SANDBOX, "key-fingerprint", NOW)
        reference = f"made by old code {may_migrate}"
        add_orders(store, reference)
        (order,) = read(store, (ACCOUNT, reference))
        assert order is not None
        assert order.status is OrderStatus.PENDING
        store.close()


@pytest.mark.parametrize("may_migrate", [True, False])
def test_this_code_refuses_a_newer_schema_that_it_would_harm(url: str, may_migrate: bool) -> None:
    """A database that says it needs newer code is not opened."""
    make_newer(url, oldest_code=NEXT)
    with pytest.raises(StoreUnusable, match=f"needs an opentill that knows {NEXT}"):
        open_store(url, migrate=may_migrate)


def test_every_command_says_what_may_be_done_on_a_newer_schema(tmp_path: Path) -> None:
    """Where older code may work there is nothing to migrate; where not, each command says so in a line."""
    url = empty(KINDS[1], tmp_path)
    make_newer(url, oldest_code=HEAD)
    for arguments in (["migrate"], ["migrate", "--check"]):
        done = run(*arguments, "--database", url)
        assert (done.returncode, done.stderr) == (0, "")
        assert f"is at schema {NEXT}" in done.stdout
    execute(url, f"UPDATE schema_support SET oldest_code = '{NEXT}'")
    for arguments in (["serve", "--port", "0"], ["migrate", "--check"]):
        refused(run(*arguments, "--data", str(tmp_path), "--database", url), f"an opentill that knows {NEXT}")


def refused(done: subprocess.CompletedProcess[str], sentence: str) -> None:
    """The program said this in one line, and that there is something for the operator to do."""
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("opentill: ")
    assert sentence in done.stderr
    assert done.stderr.count("\n") == 1


# --- the command --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "found"), [("sqlite", REVISIONS[0]), (KINDS[1], "none")])
def test_migrate_brings_a_database_up_to_date_and_check_says_whether_it_is(url: str, found: str) -> None:
    """--check exits with 1 and changes nothing while there is something to do, and with 0 once it is done."""
    if found != "none":
        upgrade(url, found)
    before, behind = dumped(url), run("migrate", "--check", "--database", url)
    assert (behind.returncode, behind.stderr) == (1, "")
    assert f"is at schema {found}; this opentill works with {HEAD}." in behind.stdout
    assert dumped(url) == before
    done = run("migrate", "--database", url)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith(f"is at schema {HEAD}.\n")
    checked = run("migrate", "--check", "--database", url)
    assert (checked.returncode, checked.stderr) == (0, "")
    assert f"is at schema {HEAD}; this opentill works with {HEAD}." in checked.stdout


def test_a_database_that_is_not_there_is_not_made_by_a_check(tmp_path: Path) -> None:
    """--check of a missing file or database exits with 2, says so, and leaves nothing behind."""
    refused(run("migrate", "--check", "--data", str(tmp_path)), "There is no database")
    assert list(tmp_path.iterdir()) == []
    missing = empty(KINDS[-1], tmp_path).replace("/test_", "/missing_")
    refused(run("migrate", "--check", "--database", missing), "does not exist")


@pytest.mark.parametrize(("kind", "found"), [("sqlite", REVISIONS[-2]), (KINDS[1], "none")])
def test_a_server_that_may_not_migrate_says_who_does(url: str, found: str, tmp_path: Path) -> None:
    """With migrate_on_start=false a server refuses an old or empty database, and opens it once migrated."""
    if found != "none":
        upgrade(url, found)
    serve = ["serve", "--port", "0", "--data", str(tmp_path), "--database", url]
    done = run(*serve, OPENTILL_MIGRATE_ON_START="false")
    refused(done, f"is at schema {found} and this opentill needs {HEAD}; run `opentill migrate`.")
    with pytest.raises(StoreUnusable, match="run `opentill migrate`"):
        open_store(url, migrate=False)
    open_store(url).close()
    open_store(url, migrate=False).close()


def test_a_database_of_another_encoding_is_refused_by_every_command(tmp_path: Path) -> None:
    """Made as SQL_ASCII it gets no tables and no server; each command says so in one line."""
    url = empty(KINDS[-1], tmp_path)
    name = f"{url.rpartition('/')[2]}_ascii"
    with psycopg.connect(url, autocommit=True) as connection:
        made = "CREATE DATABASE {} TEMPLATE template0 ENCODING 'SQL_ASCII' LOCALE_PROVIDER libc LOCALE 'C'"
        connection.execute(sql.SQL(made).format(sql.Identifier(name)))
    other = f"{url.rpartition('/')[0]}/{name}"
    for arguments in (["migrate"], ["migrate", "--check"], ["serve", "--port", "0"]):
        refused(run(*arguments, "--data", str(tmp_path), "--database", other), "keeps texts in SQL_ASCII")


# --- beside others ------------------------------------------------------------------------------------


def look_at_all(connection: psycopg.Connection[Any]) -> None:
    """What a reader holds: whichever table the newest migration changes, it is among them."""
    found = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall()
    for (table,) in found:
        connection.execute(sql.SQL("SELECT FROM {} LIMIT 1").format(sql.Identifier(table)))


def held_up(url: str, seconds: float) -> float:
    """Look at all tables again and again until one look took so long; returns the longest."""
    longest = 0.0
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("SET statement_timeout = '20s'")
        while longest < seconds:
            begun = monotonic()
            look_at_all(connection)
            longest = max(longest, monotonic() - begun)
    return longest


@pytest.mark.alone
@pytest.mark.parametrize("kind", KINDS[1:])
def test_a_migration_that_must_wait_holds_nobody_up_for_long(url: str) -> None:
    """While a reader's transaction stays open it gives up and asks again, so that others get their turn."""
    upgrade(url, BEFORE_PLACES)
    with ThreadPoolExecutor() as pool, psycopg.connect(url) as reader:
        look_at_all(reader)
        migration = pool.submit(open_store, url)
        longest = held_up(url, LOCK_TIMEOUT_SECONDS / 2)
        assert not migration.done()
        reader.rollback()
        migration.result(timeout=20).close()
    assert longest < LOCK_TIMEOUT_SECONDS + SLACK_SECONDS
    open_store(url, migrate=False).close()


class FirstStart(Server):
    """A server on whose folder no other has started."""

    makes_tables = True


@pytest.mark.parametrize("kind", KINDS[:2])
def test_two_servers_that_start_at_once_on_an_empty_database_both_come_up(url: str, tmp_path: Path) -> None:
    """One of them makes the tables and the default merchant, the other finds them; both serve."""
    folders = [tmp_path / "one", tmp_path / ("two" if is_postgres(url) else "one")]
    servers = [FirstStart(folder, database_url=url, secret_key=KEY) for folder in folders]
    with ExitStack() as running, ThreadPoolExecutor() as pool:
        for server in pool.map(running.enter_context, servers):
            with client(server) as http:
                assert http.get("/health/ready").status_code == 200
        one, two = (server.credentials for server in servers)
        assert one["OPENTILL_ACCOUNT_ID"] == two["OPENTILL_ACCOUNT_ID"]
        assert token(servers[0], two)
        assert token(servers[1], one)
