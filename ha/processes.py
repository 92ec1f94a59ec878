"""Processes of a cluster: started as a user without privileges, found again, and ended by their ids."""

import os
import pwd
import random
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from threading import Event
from time import monotonic
from typing import Any, Final

UNPRIVILEGED_USER: Final = "postgres"
"""Who runs etcd, Patroni and PostgreSQL when we are root, which PostgreSQL refuses to be."""
PORTS: Final = range(20_000, 32_000)
"""Below the ports that the kernel gives to outgoing connections, so that a dead node's port stays free."""
POLL_SECONDS: Final = 0.1
END_SECONDS: Final = 10


def until(condition: Callable[[], bool], what: str, seconds: float) -> None:
    """Wait for something that another process brings about; fails when it does not come."""
    pause, deadline = Event(), monotonic() + seconds
    while not condition():
        assert monotonic() < deadline, f"{what} did not come about within {seconds} s"
        pause.wait(POLL_SECONDS)


def free_ports(count: int) -> list[int]:
    """Ports of 127.0.0.1 on which nobody listens."""
    return [port for port, _ in zip(_free(), range(count), strict=False)]


def _free() -> Iterator[int]:
    for port in random.sample(PORTS, len(PORTS)):
        with socket.socket() as listener, suppress(OSError):
            listener.bind(("127.0.0.1", port))
            yield port


def own(path: Path) -> Path:
    """Give a file or folder to the user who runs the cluster."""
    if os.geteuid() == 0:
        user = pwd.getpwnam(UNPRIVILEGED_USER)
        os.chown(path, user.pw_uid, user.pw_gid)
    return path


def start(command: Sequence[str | Path], folder: Path, log: Path) -> subprocess.Popen[bytes]:
    """Start a program in ``folder`` without our environment; what it prints is added to ``log``."""
    environment = {"PATH": os.environ["PATH"], "LANG": "C.UTF-8", "HOME": str(folder)}
    with log.open("ab") as output:
        return subprocess.Popen(
            command,
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            **_as_user(),
        )


def _as_user() -> dict[str, Any]:
    if os.geteuid() != 0:
        return {}
    return {"user": UNPRIVILEGED_USER, "group": pwd.getpwnam(UNPRIVILEGED_USER).pw_gid, "extra_groups": []}


def end(process: subprocess.Popen[bytes]) -> None:
    """SIGKILL; returns when it is gone."""
    process.kill()
    process.wait(END_SECONDS)


def postmaster(data: Path) -> int | None:
    """The process id of the PostgreSQL that runs on this data folder, None where none does."""
    with suppress(OSError, ValueError, IndexError):
        process_id = int((data / "postmaster.pid").read_text().splitlines()[0])
        if Path(f"/proc/{process_id}/cwd").resolve(strict=True) == data.resolve():
            return process_id
    return None


def cut_off(data: Path) -> None:
    """End a PostgreSQL and all its backends at once, as a power cut does; nothing happens if none runs."""
    process_id = postmaster(data)
    if process_id is None:
        return
    os.kill(process_id, signal.SIGSTOP)  # from here it starts no more backends
    family = [*_children(process_id), process_id]
    for each in family:
        with suppress(ProcessLookupError):
            os.kill(each, signal.SIGKILL)
    until(lambda: not any(map(_runs, family)), "the end of PostgreSQL", END_SECONDS)


def _children(process_id: int) -> list[int]:
    everyone = [int(each.name) for each in Path("/proc").iterdir() if each.name.isdigit()]
    return [each for each in everyone if _state_and_parent(each)[1] == str(process_id)]


def _runs(process_id: int) -> bool:
    """Tell whether it is alive; one that has ended and that nobody has asked about yet is not."""
    return _state_and_parent(process_id)[0] not in {"", "Z"}


def _state_and_parent(process_id: int) -> tuple[str, str]:
    """Both empty where there is no such process."""
    with suppress(OSError):
        state, parent = Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()[:2]
        return state, parent
    return "", ""
