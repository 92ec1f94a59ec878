"""The PostgreSQL servers that all other tests rest on."""

import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from clusters import WHEEL_VERSION, _copy, _owner, _programs, cluster, versions
from processes import await_end

CHILD = """
import signal, sys, threading
from clusters import cluster
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job is started deaf to it
here = cluster(int(sys.argv[1]))
here.fresh_database()
print(here.port, here._server.pid, here._keeper.pid, here.data.parent, flush=True)
threading.Event().wait()
"""


@pytest.mark.parametrize("version", versions())
def test_the_asked_version_answers(version: int) -> None:
    """A cluster is of the major version it was asked for, and there is one per process."""
    with psycopg.connect(cluster(version).fresh_database()) as connection:
        (number,) = connection.execute("SHOW server_version_num").fetchone() or ("",)
    assert int(number) // 10_000 == version
    assert cluster(version) is cluster(version)


def test_a_version_that_is_not_there_is_told() -> None:
    """Asking for a version that is not installed names the package that has it."""
    with pytest.raises(LookupError, match="postgresql-9"):
        cluster(9)


@pytest.mark.parametrize("version", versions())
def test_fresh_databases_are_separate(version: int) -> None:
    """What is written to one fresh database is not in the next, but in a copy of it."""
    first, second = (cluster(version).fresh_database() for _ in range(2))
    _run(first, "CREATE TABLE kept (id integer PRIMARY KEY)")
    copy = cluster(version).fresh_database(template=str(conninfo_to_dict(first)["dbname"]))
    assert [_has_table(url) for url in (first, second, copy)] == [True, False, True]


def test_a_dropped_database_is_gone_though_somebody_was_in_it() -> None:
    """Dropping a database cuts off who is connected to it."""
    url = cluster(WHEEL_VERSION).fresh_database()
    with psycopg.connect(url) as connection:
        cluster(WHEEL_VERSION).drop(url)
        with pytest.raises(psycopg.OperationalError):
            connection.execute("SELECT 1")
    with pytest.raises(psycopg.OperationalError, match="does not exist"):
        psycopg.connect(url)


@pytest.mark.parametrize(
    ("durable", "flushes"), [pytest.param(False, "off", id="hasty"), pytest.param(True, "on", id="durable")]
)
def test_only_a_durable_cluster_flushes(durable: bool, flushes: str) -> None:
    """Commits reach the disk only where that was asked for, and are awaited in both."""
    with psycopg.connect(cluster(WHEEL_VERSION, durable=durable).fresh_database()) as connection:
        names = ("fsync", "full_page_writes", "synchronous_commit")
        shown = [connection.execute(f"SHOW {name}").fetchone() for name in names]
    assert shown == [(flushes,), (flushes,), ("on",)]


@pytest.mark.parametrize("ending", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT], ids=lambda one: one.name)
@pytest.mark.parametrize("version", versions())
def test_nothing_outlives_the_process(version: int, ending: signal.Signals) -> None:
    """However a process ends that used a cluster, its server stops and its folder is removed."""
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(version)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        cwd=Path(__file__).parent,
    )
    with child:
        assert child.stdout is not None
        port, server, keeper, folder = child.stdout.readline().split()
        assert _listens(int(port))
        child.send_signal(ending)
    await_end(int(server), int(keeper))
    assert not _listens(int(port))
    assert not Path(folder).exists()


def test_programs_in_a_private_folder_are_copied_out_of_it() -> None:
    """A copy of the wheel's programs runs as whom servers are handed over to, far from where they were."""
    folder = Path(tempfile.mkdtemp(prefix="opentill-programs-"))
    folder.chmod(0o755)
    try:
        command = [str(_copy(_programs(WHEEL_VERSION), folder) / "postgres"), "--version"]
        shown = subprocess.run(command, capture_output=True, check=True, **_owner())
    finally:
        shutil.rmtree(folder)
    assert b" 18." in shown.stdout


def _run(url: str, statement: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(statement.encode())


def _has_table(url: str) -> bool:
    with psycopg.connect(url) as connection:
        return connection.execute("SELECT to_regclass('kept')").fetchone() != (None,)


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port)).close()
    except ConnectionRefusedError:
        return False
    return True
