"""A running server, load on it by wrk, and what that came to; shared by all measurements over HTTP."""

import contextlib
import json
import os
import resource
import signal
import statistics
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeAlias

HERE: Final = Path(__file__).parent
CONNECTIONS: Final = 64
STOP_SECONDS: Final = 10
OPEN_FILES: Final = 4096
_TICKS: Final = os.sysconf("SC_CLK_TCK")


# --- a server ----------------------------------------------------------------------------------------


@dataclass(slots=True)
class Server:
    """A running server and what is needed to load it."""

    process: subprocess.Popen[str]
    url: str
    account_id: str
    token: str

    def anonymous_megabytes(self) -> float:
        """Memory that is the process's own and no file's."""
        rollup = Path(f"/proc/{self.process.pid}/smaps_rollup").read_text()
        line = next(line for line in rollup.splitlines() if line.startswith("Anonymous:"))
        return int(line.split()[1]) / 1024


@contextlib.contextmanager
def serving(folder: Path, **settings: str) -> Iterator[Server]:
    """A server on this folder, ended by its own process id.

    Args:
        folder: Its data folder.
        settings: Those of ``OPENTILL_*``, in lower case.
    """
    environment = os.environ | {f"OPENTILL_{name.upper()}": value for name, value in settings.items()}
    command = [sys.executable, "-m", "opentill", "serve", "--port", "0", "--data", str(folder)]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        if not any(line.startswith("A page for a payer") for line in process.stdout):
            raise SystemExit("the server did not start; no figure")
        lines = (folder / "sandbox.env").read_text().splitlines()
        values = dict(line.split("=", 1) for line in lines if line)
        yield Server(process, values["OPENTILL_URL"], values["OPENTILL_ACCOUNT_ID"], _token(values))
    finally:
        _end(process)


def _end(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()  # its workers, if any, end with it
        process.wait(STOP_SECONDS)
        raise SystemExit(f"the server did not stop within {STOP_SECONDS} s; no figure") from None


def _token(values: dict[str, str]) -> str:
    body = {
        "grant_type": "client_credentials",
        "client_id": values["OPENTILL_CLIENT_ID"],
        "client_secret": values["OPENTILL_CLIENT_SECRET"],
    }
    request = urllib.request.Request(
        f"{values['OPENTILL_URL']}/v1/auth/token/issue",
        json.dumps(body).encode(),
        {"Content-Type": "application/json", "accountId": values["OPENTILL_ACCOUNT_ID"]},
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        return str(json.load(answer)["data"]["access_token"])


def account_of(folder: Path, **settings: str) -> str:
    """The default merchant of this folder; a first start makes it."""
    with serving(folder, **settings) as server:
        return server.account_id


def cpu_microseconds(pid: int) -> float:
    """Processor time that a process and all below it have used so far, those included that have ended."""
    return sum(map(_ticks, _family(pid))) * 1e6 / _TICKS


def _family(pid: int | str) -> Iterator[int | str]:
    yield pid
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            for child in children.read_text().split():
                yield from _family(child)


def _ticks(pid: int | str) -> int:
    """Its own time and that of children it has buried; who ends meanwhile is counted by its parent."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return sum(map(int, fields[11:15]))


# --- load --------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Load:
    """The figures of one round of load."""

    per_second: float
    p50_ms: float
    p99_ms: float
    cpu_us: float
    """Of the server, for each request."""
    requests: float
    database_us: float = 0
    """Processor time of a database's processes for each request; 0 where there are none."""


PATIENCE_SECONDS: Final = 10
"""How late an answer may be before it counts as none."""
Figures: TypeAlias = Mapping[str, Load | float]


def load(
    server: Server,
    operation: str,
    seconds: int,
    *,
    at_rate: float = 0,
    database_pid: int | None = None,
    **names: object,
) -> Load:
    """Load a server for some seconds; every answer must be a success.

    Args:
        server: Which one.
        operation: ``cancel``, ``create``, ``get`` or ``pay``.
        seconds: For how long.
        at_rate: Requests a second; 0 for as many as it takes.
        database_pid: The process above all those of its database.
        names: What the Lua script reads as ``BENCH_*``, in lower case.
    """
    environment = os.environ | {
        "BENCH_OPERATION": operation,
        "BENCH_TOKEN": server.token,
        "BENCH_ACCOUNT": server.account_id,
        "BENCH_RATE": str(at_rate),
        **{f"BENCH_{name.upper()}": str(value) for name, value in names.items()},
    }
    script = str(HERE / ("pay.lua" if operation == "pay" else "load.lua"))
    command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", f"--timeout={PATIENCE_SECONDS}s"]
    command += ["-s", script, server.url]
    pids = [server.process.pid, *([database_pid] if database_pid else [])]
    before = [cpu_microseconds(pid) for pid in pids]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    used = [cpu_microseconds(pid) - earlier for pid, earlier in zip(pids, before, strict=True)]
    told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    if told["refused"] or told["broken"]:
        raise SystemExit(f"{operation}: {told['refused']} refused, {told['broken']} broken; no figure")
    requests = told["requests"]
    if not requests:
        raise SystemExit(f"{operation}: no answer within {seconds} s; no figure")
    each = [microseconds / requests for microseconds in used]
    return Load(requests / told["seconds"], told["p50_ms"], told["p99_ms"], each[0], requests, *each[1:])


def rescaled(told: Load, requests: float) -> Load:
    """The same load counted in something else than requests, of which there were so many."""
    share = requests / told.requests
    return Load(
        told.per_second * share,
        told.p50_ms,
        told.p99_ms,
        told.cpu_us / share,
        requests,
        told.database_us / share,
    )


def median(rounds: list[Load]) -> Load:
    """The middle of several rounds, figure by figure."""
    return Load(*(statistics.median(getattr(one, name) for one in rounds) for name in Load.__slots__))


def alternating(measures: Mapping[str, Callable[[], Load]], rounds: int) -> dict[str, Load]:
    """The median of each measure; every other round runs backwards, so that none is always first."""
    taken: dict[str, list[Load]] = {name: [] for name in measures}
    for number in range(rounds):
        names = list(measures) if number % 2 == 0 else list(measures)[::-1]
        for name in names:
            taken[name].append(measures[name]())
            print(f"  round {number + 1}: {name} {taken[name][-1].per_second:.0f}/s", file=sys.stderr)
    return {name: median(loads) for name, loads in taken.items()}


def fsync_milliseconds(folder: Path) -> float:
    """The median time of one small write and fdatasync on this disk."""
    taken = []
    with (folder / "fsync").open("wb", buffering=0) as file:
        for _ in range(200):
            began = time.perf_counter()
            file.write(b"x" * 4096)
            os.fdatasync(file.fileno())
            taken.append(time.perf_counter() - began)
    return statistics.median(taken) * 1000


def allow_many_files() -> None:
    """Let this process and its children hold a socket for each connection."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (OPEN_FILES, hard))


# --- what is printed ---------------------------------------------------------------------------------


def show(figures: Figures) -> None:
    """Print the table; a cell that was not measured stays empty."""
    print(f"{'':48} {'per s':>9} {'p50 ms':>8} {'p99 ms':>8} {'CPU us':>8} {'DB us':>8}")
    for name, figure in figures.items():
        if isinstance(figure, Load):
            times = f"{figure.p50_ms:8.2f} {figure.p99_ms:8.2f} {_cell(figure.cpu_us)} "
            print(f"{name:48} {figure.per_second:9.0f} {times}{_cell(figure.database_us)}".rstrip())
        else:
            print(f"{name:48} {figure:9.2f}")


def _cell(microseconds: float) -> str:
    return f"{microseconds:8.1f}" if microseconds else " " * 8


def as_json(figures: Mapping[str, Any]) -> str:
    """All figures as one line of JSON."""
    return json.dumps(figures, default=lambda one: {name: getattr(one, name) for name in Load.__slots__})
