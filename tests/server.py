"""A real server: its own process, a free port, a folder of its own, and settings chosen by the test.

    with Server(tmp_path, access_log=True) as server:
        answer = client(server).post("/v1/checkout/order/cancel", json={"orderReference": "a"})

The server is ready when it has printed its block, which a thread reads from its standard output. The same
folder given to a later ``Server`` is a restart on the same data.
"""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Final, Self

import httpx2

from databases import lay_tables

START_SECONDS: Final = 60
STOP_SECONDS: Final = 10
_NO_AUTHORITIES: Final = {"SSL_CERT_FILE": os.devnull, "SSL_CERT_DIR": os.devnull}
"""No test calls anybody by TLS from a server, and each start would read the certificates three times."""


class Server(AbstractContextManager["Server"]):
    """One ``opentill serve``, with one or several workers, from its printed block to its end.

    Settings are those of ``OPENTILL_*``, in lower case: ``post_limit=1``, ``mode="live"``. None is left out.
    """

    program: ClassVar[tuple[str, ...]] = (sys.executable, "-m", "opentill")
    """What is run; a subclass may run another program that takes the same arguments."""

    makes_tables: ClassVar[bool] = False
    """Whether a first start on SQLite finds nothing; else the tables are there, without a row."""

    def __init__(self, folder: Path, workers: int = 1, **settings: object) -> None:
        self.folder = folder
        self.data = folder / "data"
        self.place: Path | str = str(settings.get("database_url") or "") or self.data
        """Where its data is: the folder, or the URL of a PostgreSQL database."""
        self.log_file = folder / "stderr.log"
        self._environment = _environment(settings | {"workers": workers})
        self._output: list[str] = []
        self._announced = threading.Event()

    def __enter__(self) -> Self:
        self.folder.mkdir(parents=True, exist_ok=True)
        if self.place is self.data and not self.makes_tables:
            lay_tables(self.data)
        with self.log_file.open("ab") as log:
            self.process = subprocess.Popen(
                [*self.program, "serve", "--port", "0", "--data", str(self.data)],
                env=self._environment,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                start_new_session=True,
            )
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()
        if not self._announced.wait(START_SECONDS) or self.process.poll() is not None:
            self.kill()
            raise AssertionError(f"the server did not start:\n{self.output}{self.log_file.read_text()}")
        return self

    def _listen(self) -> None:
        """Keep all the server prints; a pipe nobody reads would stop it."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._output.append(line)
            if line.startswith(("A page for a payer:", "opentill live at ")):
                self._announced.set()
        self._announced.set()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()

    @property
    def output(self) -> str:
        """All it has printed so far."""
        return "".join(self._output)

    @property
    def url(self) -> str:
        """Return where it answers, as it printed it."""
        line = next(line for line in self._output if line.startswith("opentill "))
        return line.split()[3]

    @property
    def address(self) -> tuple[str, int]:
        """Host and port, for a bare socket."""
        host, port = self.url.removeprefix("http://").split(":")
        return host, int(port)

    @property
    def credentials(self) -> dict[str, str]:
        """The lines of ``sandbox.env``."""
        return read_env(self.data / "sandbox.env")

    @property
    def pid(self) -> int:
        """The process that was started; with several workers, their supervisor."""
        return self.process.pid

    def stop(self) -> int:
        """SIGTERM, and the exit code once it has ended."""
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(STOP_SECONDS)
        self._close()
        return code

    def kill(self) -> None:
        """SIGKILL to it and its workers at once; nothing happens if it has ended."""
        if self.process.poll() is None:
            os.killpg(self.pid, signal.SIGKILL)
            self.process.wait(STOP_SECONDS)
        self._close()

    def _close(self) -> None:
        self._listener.join(STOP_SECONDS)
        if self.process.stdout is not None:
            self.process.stdout.close()


def _environment(settings: Mapping[str, object]) -> dict[str, str]:
    """Our environment without any settings of whoever runs the tests."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("OPENTILL_")}
    chosen = {
        f"OPENTILL_{name.upper()}": _as_text(value) for name, value in settings.items() if value is not None
    }
    return own | _NO_AUTHORITIES | chosen


def _as_text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def read_env(file: Path) -> dict[str, str]:
    """An ``.env`` file of the program as a dict."""
    return dict(line.split("=", 1) for line in file.read_text(encoding="utf-8").splitlines())


def client(server: Server, **options: Any) -> httpx2.Client:
    """A connection pool to the server, without any credentials."""
    no_tls: dict[str, Any] = {"verify": False, "trust_env": False}  # reading certificates takes its time
    return httpx2.Client(base_url=server.url, timeout=20, **(no_tls | options))


def issue(server: Server, credentials: Mapping[str, str] | None = None) -> dict[str, str]:
    """``data`` of a token issued to the credentials, by default those of the default merchant."""
    env = credentials or server.credentials
    body = {
        "grant_type": "client_credentials",
        "client_id": env["OPENTILL_CLIENT_ID"],
        "client_secret": env["OPENTILL_CLIENT_SECRET"],
    }
    with client(server) as http:
        answer = http.post(
            "/v1/auth/token/issue", json=body, headers={"accountId": env["OPENTILL_ACCOUNT_ID"]}
        )
    assert answer.status_code == 200, answer.text
    data: dict[str, str] = answer.json()["data"]
    return data


def token(server: Server, credentials: Mapping[str, str] | None = None) -> str:
    """A fresh access token."""
    return issue(server, credentials)["access_token"]


def signed_in(server: Server, credentials: Mapping[str, str] | None = None) -> dict[str, str]:
    """The headers of a merchant's program: a fresh token and its parent account."""
    env = credentials or server.credentials
    return {"Authorization": f"Bearer {token(server, env)}", "accountId": env["OPENTILL_ACCOUNT_ID"]}


def operate(server: Server, *arguments: str) -> str:
    """Return what a command of the program prints, run on the server's own data."""
    done = subprocess.run(
        [*server.program, *arguments, "--data", str(server.data)],
        env=server._environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


def new_merchant(server: Server, name: str = "Another shop") -> dict[str, str]:
    """The credentials of one more merchant."""
    file = server.folder / f"{name.replace(' ', '-')}.env"
    operate(server, "merchants", "create", "--name", name, "--env", str(file))
    return read_env(file)
