"""A commit that its standby has not got is no fact yet, and a standby itself can only be read."""

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from itertools import count
from pathlib import Path
from time import monotonic

import psycopg
import pytest

from engine.harness import submitted
from faults.load import UNAVAILABLE
from faults.postgres import MortalCluster, ask, event_types, install, meanwhile
from faults.test_foreign_lock import cancel as http_cancel
from faults.test_foreign_lock import create
from opentill.domain.commands import Command
from opentill.store.databases.postgres import open_postgres
from opentill.store.interface import Store
from races.books import until
from server import Server, client
from store_factories import add_orders, cancel, new_order

MOST_STOP_SECONDS = 6
CREATED, CANCELLED = "order_created", "order_cancelled"
references = map("order-{}".format, count())


@pytest.fixture(scope="module")
def database() -> Iterator[MortalCluster]:
    with closing(MortalCluster()) as database:
        yield database


@pytest.fixture(scope="module")
def url(database: MortalCluster) -> str:
    """A database in which no test uses another's references."""
    return install(database.fresh_database())


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    with closing(open_postgres(url)) as store:
        yield store


# --- synchronous replication ----------------------------------------------------------------------------


def _waiting_for_a_standby(url: str) -> list[tuple[int, str]]:
    """The sessions whose COMMIT waits, each with the moment at which its transaction began."""
    return [
        (pid, str(begun))
        for pid, begun in ask(
            url, "SELECT pid, xact_start FROM pg_stat_activity WHERE wait_event = 'SyncRep' ORDER BY pid"
        )
    ]


def _demand(url: str, names: str) -> None:
    ask(url, f"ALTER SYSTEM SET synchronous_standby_names = '{names}'")
    ask(url, "SELECT pg_reload_conf()")


@contextmanager
def _standby_is_away(url: str) -> Iterator[None]:
    """Each COMMIT waits for a standby that does not exist, until the end of the block."""
    _demand(url, "nowhere")
    try:
        until(lambda: _a_commit_waits(url))
        yield
    finally:
        _demand(url, "")
        until(lambda: not _waiting_for_a_standby(url))


def _a_commit_waits(url: str) -> bool:
    """Tell whether the demand is in force, found out by a commit; it is called off again."""
    with psycopg.connect(url, autocommit=True) as probe:
        probe.pgconn.send_query(b"SELECT pg_logical_emit_message(true, 'probe', '')")
        until(lambda: bool(_waiting_for_a_standby(url)) or _is_idle(url, probe.info.backend_pid))
        waits = bool(_waiting_for_a_standby(url))
        ask(url, "SELECT pg_cancel_backend(%s)", probe.info.backend_pid)
        while probe.pgconn.get_result():
            pass
    return waits


def _is_idle(url: str, pid: int) -> bool:
    return bool(ask(url, "SELECT 1 FROM pg_stat_activity WHERE pid = %s AND state = 'idle'", pid))


def _call_off(url: str, by: str) -> tuple[int, str]:
    """End the wait of the one COMMIT that waits; returns whose it was."""
    until(lambda: len(_waiting_for_a_standby(url)) == 1)
    [waiting] = _waiting_for_a_standby(url)
    ask(url, f"SELECT {by}(%s)", waiting[0])
    return waiting


@contextmanager
def _asked(store: Store, *commands: Command) -> Iterator[Future[list[str]]]:
    """The commands submitted together, on a thread beside the test."""
    with ThreadPoolExecutor(1) as beside:
        yield beside.submit(submitted, store, *commands)


@pytest.mark.parametrize("by", ["pg_cancel_backend", "pg_terminate_backend"])
def test_a_commit_whose_wait_was_called_off_is_not_acknowledged(url: str, store: Store, by: str) -> None:
    """COMMIT with a warning is unknown; what is found counts once the standby has it; it is done once."""
    old, new = next(references), next(references)
    add_orders(store, old)
    with _standby_is_away(url), _asked(store, cancel(old), cancel(old), new_order(new)) as answers:
        first = _call_off(url, by)
        until(lambda: event_types(url, old) == [CREATED, CANCELLED])  # it is committed here, and only here
        second = _call_off(url, by)
        until(lambda: _waiting_for_a_standby(url) not in ([], [first], [second]))
        assert not answers.done()
        _demand(url, "")
        assert answers.result(10) == ["done", "OrderAlreadyCancelled", "done"]
    assert event_types(url, old) == [CREATED, CANCELLED]
    assert event_types(url, new) == [CREATED]


def test_a_commit_whose_wait_is_called_off_again_and_again_stays_unknown(url: str, store: Store) -> None:
    """While no standby answers nothing is promised: OutcomeUnknown, though it is committed here."""
    reference = next(references)
    add_orders(store, reference)

    def call_off() -> None:
        for pid, _ in _waiting_for_a_standby(url):
            ask(url, "SELECT pg_cancel_backend(%s)", pid)

    with _standby_is_away(url), meanwhile(call_off):
        assert submitted(store, cancel(reference)) == ["OutcomeUnknown"]
    assert submitted(store, cancel(reference)) == ["OrderAlreadyCancelled"]
    assert event_types(url, reference) == [CREATED, CANCELLED]


def test_a_refusal_waits_for_the_standby_as_well(url: str, store: Store) -> None:
    """What a refusal speaks of may not have reached the standby: it is not told before it has."""
    reference = next(references)
    add_orders(store, reference)
    assert submitted(store, cancel(reference)) == ["done"]
    with _standby_is_away(url), _asked(store, cancel(reference), new_order(reference)) as answers:
        until(lambda: bool(_waiting_for_a_standby(url)))
        assert not answers.done()
        _demand(url, "")
        assert answers.result(10) == ["OrderAlreadyCancelled", "OrderReferenceUsed"]


def test_a_server_whose_standby_is_away_is_not_ready(tmp_path: Path, database: MortalCluster) -> None:
    """While commits wait nothing is ready and reads are answered; when the standby is back all goes on."""
    with Server(tmp_path, database_url=database.fresh_database()) as server, client(server) as http:
        url = database.url("postgres")
        assert create(http, "r").status_code == 200
        with _standby_is_away(url), ThreadPoolExecutor(1) as beside:
            waiting = beside.submit(http_cancel, http, "r")
            until(lambda: bool(_waiting_for_a_standby(url)))
            assert http.get("/health/ready").status_code == 503
            assert http.get("/v1/checkout/order/r").status_code == 200
            assert not waiting.done()
            _demand(url, "")
            assert waiting.result(10).status_code == 200
        until(lambda: http.get("/health/ready").status_code == 200)
        assert server.stop() == 0


@pytest.mark.alone
def test_a_server_whose_commit_hangs_still_stops(tmp_path: Path, database: MortalCluster) -> None:
    """SIGTERM ends it in time; the cancel that waited for the standby was not acknowledged."""
    with Server(tmp_path, database_url=database.fresh_database()) as server, client(server) as http:
        url = database.url("postgres")
        assert create(http, "r").status_code == 200
        with _standby_is_away(url), ThreadPoolExecutor(1) as beside:
            waiting = beside.submit(http_cancel, http, "r")
            until(lambda: bool(_waiting_for_a_standby(url)))
            begun = monotonic()
            assert server.stop() == 0
            assert monotonic() - begun < MOST_STOP_SECONDS
            unheard = waiting.exception(10)
            assert unheard is not None or waiting.result().status_code == 503


# --- a database that is read-only -----------------------------------------------------------------------


def test_a_primary_that_comes_back_as_a_standby_is_read_until_promoted(
    tmp_path: Path, database: MortalCluster
) -> None:
    """On a standby reads are answered and writes are 503; once it is promoted the server writes again."""
    with Server(tmp_path, database_url=database.fresh_database()) as server, client(server) as http:
        assert create(http, "r").status_code == 200
        database.crash()
        database.start_again(standby=True)
        assert http.get("/v1/checkout/order/r").status_code == 200
        turned_down = http_cancel(http, "r")
        assert (turned_down.status_code, turned_down.json()) == (503, UNAVAILABLE)
        assert http.get("/health/ready").status_code == 503
        ask(database.url("postgres"), "SELECT pg_promote()")
        assert http_cancel(http, "r").status_code == 200
        until(lambda: http.get("/health/ready").status_code == 200)
        assert server.stop() == 0
