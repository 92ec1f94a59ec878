"""`make serve-postgres`: a database and a server that come and go together."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from cli.program import SECONDS, Serving, _block, _clean
from processes import await_end

SCRIPT = Path(__file__).parents[2] / "tools" / "serve_postgres.py"
ORDER = {"amount": "10.00", "currency": "NGN", "customerEmail": "payer@example.com"}


@pytest.fixture(scope="module")
def data() -> Iterator[Path]:
    """One data folder for all, in a home that is closed to others; of a short path, as sockets need."""
    home = Path(tempfile.mkdtemp(prefix="till-"))
    yield home / "data"
    shutil.rmtree(home)


@contextmanager
def serving_postgres(data: Path, *arguments: str) -> Iterator[Serving]:
    """Database and server from the printed block to their end."""
    process = subprocess.Popen(
        [sys.executable, str(SCRIPT), "--port", "0", "--data", str(data), *arguments],
        env=_clean({}),
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield Serving(process, _block(process))
    finally:
        process.terminate()
        process.communicate(timeout=SECONDS)


def database_pid(data: Path) -> int:
    """The process of the database that runs on this data."""
    return int((data / "postgres" / "postmaster.pid").read_text().split()[0])


@pytest.mark.parametrize(("workers", "how"), [("1", signal.SIGINT), ("2", signal.SIGTERM)])
def test_a_second_start_finds_the_same_data(data: Path, workers: str, how: signal.Signals) -> None:
    """Credentials and orders outlive a stop, which ends both in order and leaves nothing running."""
    name = f"kept-{workers}"
    with serving_postgres(data, "--workers", workers) as first:
        created = first.ask("POST", "/v1/checkout/order", {"order": {"orderReference": name, **ORDER}})
        assert created.status_code == 200
        database = database_pid(data)
        first.process.send_signal(how)
        assert first.process.wait(timeout=SECONDS) == 0
    assert not Path(f"/proc/{database}").exists()
    assert (data / "postgres.log").read_text().rstrip().endswith("database system is shut down")

    with serving_postgres(data, "--workers", workers) as second:
        cancelled = second.ask("POST", "/v1/checkout/order/cancel", {"orderReference": name})
    assert cancelled.status_code == 200
    assert {**first.env, "OPENTILL_URL": second.url} == second.env


def test_its_commits_are_durable_and_only_its_folder_lets_in(data: Path) -> None:
    """Every commit is flushed, no TCP port is open, and the socket lies in a folder closed to others."""
    with serving_postgres(data):
        socket = data / "postgres"
        with psycopg.connect(host=str(socket), user="opentill", dbname="opentill") as connection:
            names = ("fsync", "synchronous_commit", "full_page_writes", "listen_addresses")
            shown = [connection.execute(f"SHOW {name}".encode()).fetchone() for name in names]
        assert shown == [("on",), ("on",), ("on",), ("",)]
        assert socket.stat().st_mode & 0o077 == 0


def test_when_the_database_dies_the_server_ends_too(data: Path) -> None:
    """A server without its database is stopped, the exit status tells it, and they start again."""
    with serving_postgres(data) as server:
        os.kill(database_pid(data), signal.SIGKILL)
        assert server.process.wait(timeout=SECONDS) == 1
    with serving_postgres(data) as again:
        assert again.ask("GET", "/health/ready").status_code == 200


def test_neither_outlives_a_killed_launcher(data: Path) -> None:
    """SIGKILL of the launcher ends server and database, so that the next start finds both free."""
    with serving_postgres(data) as server:
        children = Path(f"/proc/{server.process.pid}/task/{server.process.pid}/children").read_text().split()
        assert len(children) == 2
        server.process.kill()
        await_end(*map(int, children))
    with serving_postgres(data) as again:
        assert again.ask("GET", "/health/ready").status_code == 200


def test_a_folder_in_use_is_refused_in_one_sentence(data: Path) -> None:
    """A second launcher on the same data exits with 2 and leaves the first one serving."""
    with serving_postgres(data) as server:
        second = subprocess.run(
            [sys.executable, str(SCRIPT), "--port", "0", "--data", str(data)],
            env=_clean({}),
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        assert (second.returncode, second.stderr.count("\n")) == (2, 1), second.stderr
        assert str(data / "postgres.log") in second.stderr
        assert server.ask("GET", "/health/ready").status_code == 200
