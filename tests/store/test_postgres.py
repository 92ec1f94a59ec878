"""The PostgreSQL store: the whole law on every version and layout, and what is its own business."""

import re
import socket
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Final

import psycopg
import pytest
from sqlalchemy import CheckConstraint, Connection, NullPool, create_engine, text

from clusters import Cluster, versions
from databases import (
    PARTITIONED,
    PARTITIONS,
    POSTGRES,
    Kind,
    NewDatabase,
    Place,
    contents,
    name_of,
    server_of,
    writing,
)
from opentill.rails.sandbox.journal import RailJournal
from opentill.store import schema
from opentill.store.databases import postgres
from opentill.store.databases.migrate import HEAD
from opentill.store.databases.opening import read_only
from opentill.store.databases.partitions import partition
from opentill.store.databases.postgres import PostgresStore, open_postgres
from opentill.store.errors import StoreUnusable, Transient
from opentill.store.interface import OpenStore
from polling import until
from store.conformance_transfers import LAW
from store_factories import ACCOUNT, OTHER, add_orders, cancelled, open_store, read, write

PASSWORD: Final = "hush-Pa55word"
EVERY: Final = [Kind(version, number) for version in versions() for number in (0, PARTITIONS)]


@pytest.fixture(scope="module", params=EVERY, ids=str)
def database_kind(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture
def url(new_database: NewDatabase) -> str:
    made = new_database()
    assert made is not None
    return made


@pytest.mark.parametrize("law", LAW, ids=lambda law: law.__name__)
def test_law(law: Callable[[OpenStore], None], place: Place) -> None:
    """The PostgreSQL store keeps every law of stores."""
    assert isinstance(place, str)
    law(lambda: open_store(place))


@pytest.fixture
def store(url: str) -> Iterator[PostgresStore]:
    store = open_store(url)
    assert isinstance(store, PostgresStore)
    yield store
    store.close()


def test_the_connection_that_reads_can_not_write(store: PostgresStore) -> None:
    """No statement of a snapshot changes anything, whatever it says, and the reader reads on afterwards."""
    with pytest.raises(Transient, match="read-only transaction"):
        store.read(lambda connection: connection.exec_driver_sql("UPDATE installation SET clock_offset = 5"))
    with store.snapshot() as snapshot:
        assert snapshot.facts([]).clock_offset == 0


def test_every_commit_is_durable(store: PostgresStore) -> None:
    """The session that writes waits for each of its commits, whatever is set by a careless client."""
    with store._writer.transaction("BEGIN"):
        assert store._writer.run("SHOW synchronous_commit", ()).fetchone() == ("on",)


def test_a_connection_that_was_cut_is_opened_again(store: PostgresStore, url: str) -> None:
    """Sessions that an administrator ends between two transactions cost nobody an error."""
    add_orders(store, "before")
    assert read(store, (ACCOUNT, "before")) != [None]
    with writing(url) as run:
        ended = run(
            "SELECT pg_terminate_backend(pid, 10000) AS done FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
    assert [row["done"] for row in ended] == [True, True]
    add_orders(store, "after")
    assert None not in read(store, (ACCOUNT, "before"), (ACCOUNT, "after"))


# --- room to update in place --------------------------------------------------------------------------


def in_place(store: PostgresStore, url: str) -> float:
    """The share of 200 cancels, one by one, that found room beside the old row and left indexes be."""
    orders = add_orders(store, *(f"r{number}" for number in range(200)))
    for order in orders:
        write(store, [cancelled(order)])
    store.close()  # a session that ends has told all it did
    until(lambda: _updates(url)["updated"] == len(orders), "200 updates to be counted")
    return float(_updates(url)["in_place"]) / len(orders)


def _updates(url: str) -> dict[str, Any]:
    with writing(url) as run:
        [row] = run(
            "SELECT sum(n_tup_upd) AS updated, sum(n_tup_hot_upd) AS in_place"
            "  FROM pg_stat_user_tables WHERE relname ~ '^orders(_[0-9]+)?$'"
        )
    return row


def test_a_cancel_rewrites_no_index(store: PostgresStore, url: str) -> None:
    """More than nine of ten cancels are updates in place (HOT)."""
    assert in_place(store, url) > 0.9


@pytest.mark.parametrize("database_kind", [POSTGRES], indirect=True, ids=str)
def test_an_index_on_the_status_would_be_noticed(store: PostgresStore, url: str) -> None:
    """The measure of the test above falls to nothing once the status is indexed."""
    with writing(url) as run:
        run("CREATE INDEX by_status ON orders (status)")
    assert in_place(store, url) < 0.1


# --- the schema ---------------------------------------------------------------------------------------

_OURS: Final = "NOT c.relispartition AND c.relnamespace = 'public'::regnamespace"
_SCHEMA: Final = {
    "columns": """
        SELECT c.relname, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull, o.collname,
               pg_get_expr(d.adbin, d.adrelid)
          FROM pg_class AS c JOIN pg_attribute AS a ON a.attrelid = c.oid
          LEFT JOIN pg_collation AS o ON o.oid = a.attcollation
          LEFT JOIN pg_attrdef AS d ON d.adrelid = c.oid AND d.adnum = a.attnum
         WHERE c.relkind IN ('r', 'p') AND a.attnum > 0 AND NOT a.attisdropped AND""",
    "constraints": """
        SELECT c.relname, k.conname, pg_get_constraintdef(k.oid)
          FROM pg_class AS c JOIN pg_constraint AS k ON k.conrelid = c.oid WHERE k.contype <> 'n' AND""",
    "indexes": """
        SELECT t.relname, c.relname, replace(pg_get_indexdef(c.oid), ' ON ONLY ', ' ON ')
          FROM pg_class AS c JOIN pg_index AS i ON i.indexrelid = c.oid
          JOIN pg_class AS t ON t.oid = i.indrelid
         WHERE""",
    "storage": "SELECT c.relname, c.reloptions FROM pg_class AS c WHERE c.relkind = 'r' AND",
}


def described(url: str, *parts: str) -> dict[str, list[tuple[Any, ...]]]:
    """These parts of the schema, by default all, as PostgreSQL's own catalogue has them."""
    with psycopg.connect(url) as connection:
        return {
            part: sorted(
                (
                    tuple(map(_without_casts, row))
                    for row in connection.execute(f"{_SCHEMA[part]} {_OURS}".encode())
                    if "alembic" not in row[0]
                ),
                key=repr,
            )
            for part in parts or _SCHEMA
        }


def _without_casts(told: object) -> object:
    """A rule without the casts between kinds of text, of which PostgreSQL adds more when a column changes."""
    if not isinstance(told, str) or "::" not in told:
        return told
    plain = re.sub(r"::(character varying|text)(\[\])?", "", told)
    while plain != (plain := re.sub(r"\(('\w+'|\w+|ARRAY\[[^][]*\])\)", r"\1", plain)):
        pass
    return plain


@pytest.fixture
def from_metadata(url: str) -> Iterator[str]:
    """A database made from ``schema`` alone, on the server of the other one."""
    server = server_of(url)
    made = server.fresh_database()
    engine = create_engine("postgresql+psycopg://", creator=lambda: psycopg.connect(made), poolclass=NullPool)
    schema.metadata.create_all(engine)
    yield made
    server.drop(made)


@pytest.mark.parametrize("database_kind", [Kind(version) for version in versions()], indirect=True, ids=str)
def test_the_migrations_make_the_schema(url: str, from_metadata: str) -> None:
    """What the migrations have made is what ``schema`` says, down to collations and fillfactors."""
    made = described(url)
    assert made == described(from_metadata)
    assert ("orders", ["fillfactor=80"]) in made["storage"]
    assert ("orders", "reference", "character varying(255)", True, "C", None) in made["columns"]
    wanted = sum(isinstance(c, CheckConstraint) for t in schema.metadata.sorted_tables for c in t.constraints)
    assert sum(definition.startswith("CHECK") for *_, definition in made["constraints"]) == wanted


@pytest.mark.parametrize(
    "database_kind", [Kind(version, PARTITIONS) for version in versions()], indirect=True, ids=str
)
def test_a_partitioned_database_has_the_same_schema(url: str, from_metadata: str) -> None:
    """Split tables have the columns, constraints and indexes of whole ones."""
    parts = ("columns", "constraints", "indexes")
    assert described(url, *parts) == described(from_metadata, *parts)


def test_a_database_at_the_newest_schema_is_stamped(url: str) -> None:
    """The revision that stands in the code as the newest is the one the migrations leave behind."""
    with writing(url) as run:
        assert run("SELECT version_num FROM alembic_version") == [{"version_num": HEAD}]


# --- partitions ---------------------------------------------------------------------------------------

_PARTITIONED: Final = """
    SELECT c.relname AS of_table, pg_get_partkeydef(c.oid) AS key,
           (SELECT count(*) FROM pg_inherits AS i WHERE i.inhparent = c.oid) AS partitions
      FROM pg_class AS c JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attname = 'account_id'
     WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relnamespace = 'public'::regnamespace
"""


@pytest.mark.parametrize("database_kind", [PARTITIONED], indirect=True, ids=str)
def test_every_table_of_merchants_is_partitioned(url: str) -> None:
    """Each table with an account id is split by it into eight, and its storage settings are theirs.

    The two directories of transfers are not: what a bank tells names no merchant.
    """
    with writing(url) as run:
        found = run(_PARTITIONED)
        filled = run("SELECT relname FROM pg_class WHERE 'fillfactor=80' = ANY (reloptions)")
    wanted = {table.name for table in schema.metadata.sorted_tables if "account_id" in table.c}
    assert {row["of_table"] for row in found} == wanted
    directories = {"transfer_accounts", "former_reservations", "advices"}
    split = {(row["key"], row["partitions"]) for row in found if row["of_table"] not in directories}
    assert split == {("HASH (account_id)", PARTITIONS)}
    assert {row["relname"] for row in filled} == {
        f"{table.name}_{number}"
        for table in schema.metadata.sorted_tables
        if table.dialect_options["postgresql"]["with"]
        for number in range(PARTITIONS)
    }


@pytest.mark.parametrize("database_kind", [PARTITIONED], indirect=True, ids=str)
def test_merchants_are_spread_over_the_partitions(store: PostgresStore, url: str) -> None:
    """The orders of a merchant stand in one partition, and those of others in others."""
    accounts = [ACCOUNT, OTHER, *(f"{number:08}-3333-4333-8333-333333333333" for number in range(30))]
    for account in accounts:
        add_orders(store, "r1", "r2", account_id=account)
    with writing(url) as run:
        rows = run("SELECT account_id, count(DISTINCT tableoid) AS places FROM orders GROUP BY account_id")
        [used] = run("SELECT count(DISTINCT tableoid) AS partitions FROM orders")
    assert {row["account_id"]: row["places"] for row in rows} == dict.fromkeys(accounts, 1)
    assert used["partitions"] == PARTITIONS


@pytest.mark.parametrize("database_kind", [POSTGRES], indirect=True, ids=str)
def test_a_database_in_use_is_not_partitioned(store: PostgresStore, url: str) -> None:
    """Whoever tries is told in one sentence, and every row and table is left as it was."""
    add_orders(store, "r")
    before = contents(url), described(url)
    with pytest.raises(StoreUnusable, match="is in use") as refused:
        partition(url, PARTITIONS)
    assert is_one_sentence(str(refused.value))
    assert (contents(url), described(url)) == before


# --- databases that can not be used -------------------------------------------------------------------


def _wrong_password(url: str, server: Cluster) -> str:
    """A role that the server wants a password of, and another one in the URL."""
    with writing(url) as run:
        run("DROP ROLE IF EXISTS guarded")
        run("CREATE ROLE guarded LOGIN PASSWORD 'another one'")
        rules = server.data / "pg_hba.conf"
        known = rules.read_text(encoding="utf-8")
        rules.write_text(f"host all guarded 127.0.0.1/32 scram-sha-256\n{known}", encoding="utf-8")
        run("SELECT pg_reload_conf()")
        until(
            lambda: run("SELECT 1 FROM pg_hba_file_rules WHERE 'guarded' = ANY (user_name)"), "the new rule"
        )
    return url.replace("postgres@", f"guarded:{PASSWORD}@")


def _unknown_database(url: str, _server: Cluster) -> str:
    return f"{_with_password(url)}_unknown"


def _nobody_listens(url: str, server: Cluster) -> str:
    with socket.socket() as taken:  # bound and not listening: whoever connects is refused
        taken.bind((server.host, 0))
        return _with_password(url).replace(f":{server.port}/", f":{taken.getsockname()[1]}/")


def _forgetful(url: str, _server: Cluster) -> str:
    with writing(url) as run:
        run(f"ALTER DATABASE {name_of(url)} SET synchronous_commit = off")
    return _with_password(url)


_LIBC: Final = "LOCALE_PROVIDER libc LOCALE 'C'"
"""The one locale that goes with every encoding."""


def _in_another_encoding(encoding: str, url: str, _server: Cluster) -> str:
    other = f"{name_of(url)}_{encoding.lower()}"
    with writing(url) as run:
        run(f"DROP DATABASE IF EXISTS {other}")
        run(f"CREATE DATABASE {other} TEMPLATE template0 ENCODING '{encoding}' {_LIBC}")
    return _with_password(url).replace(name_of(url), other)


def _without_rights(url: str, _server: Cluster) -> str:
    with writing(url) as run:
        run("DROP ROLE IF EXISTS stranger")
        run("CREATE ROLE stranger LOGIN")
        run("DROP TABLE alembic_version")
    return url.replace("postgres@", f"stranger:{PASSWORD}@")


def _with_password(url: str) -> str:
    return url.replace("postgres@", f"postgres:{PASSWORD}@")


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (_wrong_password, "password authentication failed"),
        (_unknown_database, "does not exist"),
        (_nobody_listens, "refused"),
        (_forgetful, "synchronous_commit is off"),
        (partial(_in_another_encoding, "SQL_ASCII"), "keeps texts in SQL_ASCII"),
        (partial(_in_another_encoding, "LATIN1"), "keeps texts in LATIN1"),
        (_without_rights, "may create tables"),
    ],
)
@pytest.mark.parametrize("database_kind", [Kind(version) for version in versions()], indirect=True, ids=str)
def test_what_can_not_be_used_is_refused(url: str, spoil: Callable[[str, Cluster], str], says: str) -> None:
    """Each obstacle is told in one sentence with the fix, and the password is not in it."""
    server = server_of(url)
    with pytest.raises(StoreUnusable, match=says) as refused:
        open_postgres(spoil(url, server))
    assert is_one_sentence(str(refused.value))
    assert PASSWORD not in str(refused.value)


@pytest.mark.parametrize("encoding", ["SQL_ASCII", "LATIN1", "EUC_JP"])
def test_every_way_into_a_database_of_another_encoding_refuses_it(url: str, encoding: str) -> None:
    """Who only looks, who splits tables and the sandbox's rail say the same sentence as a server."""
    other = _in_another_encoding(encoding, url, server_of(url))

    def look() -> None:
        with read_only(other):
            pass

    for enter in (look, lambda: partition(other, 2), lambda: RailJournal(other)):
        with pytest.raises(StoreUnusable, match=f"keeps texts in {encoding}") as refused:
            enter()
        assert is_one_sentence(str(refused.value))
        assert PASSWORD not in str(refused.value)


NAIRA: Final = "Ọja ₦"


def _by_environment(url: str, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("PGCLIENTENCODING", "LATIN1")
    return url


def _by_url(url: str, _monkeypatch: pytest.MonkeyPatch) -> str:
    return f"{url}?client_encoding=LATIN1"


def _by_options(url: str, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("PGOPTIONS", "-c client_encoding=LATIN1")
    return url


def _by_database(url: str, _monkeypatch: pytest.MonkeyPatch) -> str:
    with writing(url) as run:
        run(f"ALTER DATABASE {name_of(url)} SET client_encoding = 'LATIN1'")
    return url


@pytest.mark.parametrize("set_", [_by_environment, _by_url, _by_options, _by_database])
def test_every_connection_speaks_utf8(
    url: str, set_: Callable[[str, pytest.MonkeyPatch], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever else is set, naira signs go in and come out on every connection that the program opens."""
    spoilt = set_(url, monkeypatch)
    store, journal = open_postgres(spoilt), RailJournal(spoilt)
    orders = add_orders(store, NAIRA)
    assert read(store, (ACCOUNT, NAIRA)) == orders
    shown = text("SELECT :said || current_setting('client_encoding')")

    def asked(connection: Connection) -> str:
        return str(connection.execute(shown, {"said": NAIRA}).scalar_one())

    with read_only(spoilt) as looking, journal._engine.begin() as paying:
        answers = {store.read(asked), store.write(asked), asked(looking), asked(paying)}
    assert answers == {f"{NAIRA}UTF8"}
    journal.close()
    store.close()


def test_a_server_that_is_too_old_is_refused(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A version below the oldest one is told in one sentence, before any table is looked at."""
    monkeypatch.setattr(postgres, "OLDEST_SERVER", 990000)
    with writing(url) as run:
        run("DROP TABLE alembic_version")
    with pytest.raises(StoreUnusable, match="needs PostgreSQL 15 or later") as refused:
        open_postgres(_with_password(url))
    assert is_one_sentence(str(refused.value))
    with writing(url) as run:
        assert run("SELECT to_regclass('alembic_version') AS made") == [{"made": None}]


def is_one_sentence(text: str) -> bool:
    return "\n" not in text and text.endswith(".")
