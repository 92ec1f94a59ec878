"""A highly available PostgreSQL on loopback, from the files in ``deploy/patroni``.

    with Cluster() as cluster:
        cluster.url  # opentill's database, wherever it is writable
        cluster.kill_primary()

Three members of etcd, and two PostgreSQL nodes under Patroni that replicate synchronously.
"""

import json
import secrets
import shutil
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from pathlib import Path
from string import Template
from time import monotonic
from types import TracebackType
from typing import Any, Final, Self

from ha.processes import cut_off, end, free_ports, own, postmaster, start, until

DEPLOY: Final = Path(__file__).parents[1] / "deploy" / "patroni"
PATRONI: Final = Path(sys.prefix) / "patroni"
"""The virtual environment with the dependency group "ha", beside the packages of our own."""
HOST: Final = "127.0.0.1"
START_SECONDS: Final = 90
LOG_LINES: Final = 20


@dataclass
class Node:
    """One PostgreSQL with its Patroni."""

    name: str
    folder: Path
    port: int
    rest_port: int
    patroni: subprocess.Popen[bytes] | None = None

    @property
    def data(self) -> Path:
        """PostgreSQL's own folder."""
        return self.folder / "pgdata"

    def start(self) -> None:
        """Start Patroni, which starts PostgreSQL as what it has to be: primary or standby."""
        program = self.folder.parent / "patroni" / "bin" / "python"
        command = (program, "-m", "patroni", self.folder / "patroni.yml")
        self.patroni = start(command, self.folder, self.folder / "patroni.log")

    def kill(self) -> None:
        """SIGKILL to Patroni, PostgreSQL and its backends; nothing happens where none runs."""
        if self.patroni is not None:
            end(self.patroni)
            self.patroni = None
        cut_off(self.data)


class Cluster(AbstractContextManager["Cluster"]):
    """Runs from ``with`` to its end, which leaves no process and no file behind."""

    def __init__(self) -> None:
        self._running = ExitStack()
        self._passwords = {name: secrets.token_urlsafe() for name in ("superuser", "replication", "opentill")}
        self._programs = _postgresql_programs()

    def __enter__(self) -> Self:
        with ExitStack() as starting:
            self.folder = own(Path(tempfile.mkdtemp(prefix="opentill-ha-", dir="/tmp")))
            starting.callback(shutil.rmtree, self.folder)
            starting.push(self._explain)
            self.folder.chmod(0o755)
            shutil.copytree(PATRONI, self.folder / "patroni", symlinks=True)  # where its user can read it
            etcd_hosts = self._start_etcd(starting)
            self.nodes = [self._node(name, etcd_hosts) for name in ("one", "two")]
            for node in self.nodes:
                starting.callback(node.kill)
                node.start()
            until(self.is_redundant, "a primary with a synchronous standby", START_SECONDS)
            self._create_database()
            self._running = starting.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._running.__exit__(kind, error, trace)

    def _explain(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        """Whatever went wrong, the logs go with it; they are removed with the folder."""
        if error is not None:
            for log in sorted(self.folder.glob("*/*.log")):
                lines = log.read_text(errors="replace").splitlines()[-LOG_LINES:]
                error.add_note("\n".join([f"{log.relative_to(self.folder)}:", *lines]))

    def _start_etcd(self, starting: ExitStack) -> str:
        """Return where its members answer Patroni."""
        names = ("a", "b", "c")
        client_ports, peer_ports = free_ports(3), free_ports(6)[3:]
        members = ",".join(f"{n}=http://{HOST}:{p}" for n, p in zip(names, peer_ports, strict=True))
        for name, client_port, peer_port in zip(names, client_ports, peer_ports, strict=True):
            folder = self._folder(f"etcd-{name}")
            filled = self._fill(
                "etcd.yml",
                folder,
                NAME=name,
                DATA=folder / "data",
                CLIENT_PORT=client_port,
                PEER_PORT=peer_port,
                MEMBERS=members,
            )
            starting.callback(end, start(("etcd", "--config-file", filled), folder, folder / "etcd.log"))
        return ",".join(f"{HOST}:{port}" for port in client_ports)

    def _node(self, name: str, etcd_hosts: str) -> Node:
        port, rest_port = free_ports(2)
        node = Node(name, self._folder(f"node-{name}"), port, rest_port)
        self._fill(
            "patroni.yml",
            node.folder,
            NAME=name,
            DATA=node.folder,
            ETCD_HOSTS=etcd_hosts,
            PORT=port,
            REST_PORT=rest_port,
            BIN=self._programs,
            NETWORK=f"{HOST}/32",
            SUPERUSER_PASSWORD=self._passwords["superuser"],
            REPLICATION_PASSWORD=self._passwords["replication"],
        )
        return node

    def _folder(self, name: str) -> Path:
        folder = self.folder / name
        folder.mkdir(mode=0o700)
        return own(folder)

    def _fill(self, template: str, folder: Path, **values: object) -> Path:
        filled = folder / template
        filled.touch(mode=0o600)
        filled.write_text(Template((DEPLOY / template).read_text()).substitute(values, HOST=HOST))
        return own(filled)

    def _create_database(self) -> None:
        """Run a statement as an operator does, on the primary, wherever that is."""
        subprocess.run(
            [
                self._programs / "psql",
                self.url_as("postgres", "superuser"),
                "--no-psqlrc",
                "--quiet",
                "--set=ON_ERROR_STOP=1",
                f"--set=password={self._passwords['opentill']}",
                f"--file={DEPLOY / 'opentill.sql'}",
            ],
            check=True,
        )

    @property
    def url(self) -> str:
        """The database of opentill, on whichever node takes writes."""
        return self.url_as("opentill", "opentill")

    def url_as(self, user: str, password: str) -> str:
        """The database of the user's name on whichever node takes writes."""
        hosts = ",".join(f"{HOST}:{node.port}" for node in self.nodes)
        secret = self._passwords[password]
        return f"postgresql://{user}:{secret}@{hosts}/{user}?target_session_attrs=read-write"

    @property
    def primary(self) -> Node:
        """The node that Patroni takes for the primary."""
        return next(node for node in self.nodes if _role(self._members(), node) == "leader")

    def is_redundant(self) -> bool:
        """Tell whether each commit is awaited on a second node, which may take over."""
        roles = {_role(self._members(), node) for node in self.nodes}
        return roles == {"leader", "sync_standby"}

    def _members(self) -> Sequence[Mapping[str, Any]]:
        """Return what the first node that answers knows of all."""
        for node in self.nodes:
            try:
                with urllib.request.urlopen(f"http://{HOST}:{node.rest_port}/cluster", timeout=2) as answer:
                    members: Sequence[Mapping[str, Any]] = json.load(answer)["members"]
                    return members
            except OSError:
                continue
        return ()

    def kill_primary(self) -> tuple[Node, float]:
        """SIGKILL to the primary and its Patroni; returns the node and when it was gone (monotonic)."""
        node = self.primary
        assert postmaster(node.data) is not None
        node.kill()
        return node, monotonic()


def _role(members: Sequence[Mapping[str, Any]], node: Node) -> str | None:
    """A node's role while it is up."""
    up = {each["name"]: each["role"] for each in members if each["state"] in {"running", "streaming"}}
    return up.get(node.name)


def _postgresql_programs() -> Path:
    """Return where Debian keeps the newest PostgreSQL that is installed."""
    found = [path.parent for path in Path("/usr/lib/postgresql").glob("*/bin/initdb")]
    assert found, "no PostgreSQL of Debian's is installed"
    return max(found, key=lambda programs: int(programs.parent.name))
