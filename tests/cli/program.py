"""The program as an operator runs it: a process, its arguments, its environment and what it prints."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx2

SECONDS = 100


def run(*arguments: str, stdin: str | None = None, **environment: str) -> "subprocess.CompletedProcess[str]":
    """One command to its end."""
    return subprocess.run(
        [sys.executable, "-m", "opentill", *arguments],
        env=_clean(environment),
        input=stdin,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )


def _clean(environment: Mapping[str, str]) -> dict[str, str]:
    """Our environment without any settings of whoever runs the tests."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("OPENTILL_")}
    return {**own, **environment}


@dataclass
class Serving:
    """A server that has printed its block."""

    process: "subprocess.Popen[str]"
    block: str

    @property
    def env(self) -> dict[str, str]:
        """The credentials of the block."""
        lines = [line for line in self.block.splitlines() if line.startswith("OPENTILL_")]
        return dict(line.split("=", 1) for line in lines)

    @property
    def url(self) -> str:
        return self.env["OPENTILL_URL"]

    def ask(self, method: str, path: str, body: object = None, **headers: str) -> httpx2.Response:
        """One request on a connection of its own."""
        with httpx2.Client(base_url=self.url, timeout=SECONDS) as client:
            return client.request(method, path, json=body, headers=headers)

    def connect(self) -> socket.socket:
        """A bare connection; closing it is the caller's."""
        host, port = self.url.removeprefix("http://").split(":")
        return socket.create_connection((host, int(port)), timeout=SECONDS)


@contextmanager
def serving(data: Path, *arguments: str, **environment: str) -> Iterator[Serving]:
    """A sandbox on a free port from its printed block to its end."""
    process = subprocess.Popen(
        [sys.executable, "-m", "opentill", "serve", "--port", "0", "--data", str(data), *arguments],
        env=_clean(environment),
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield Serving(process, _block(process))
    finally:
        process.terminate()
        process.communicate(timeout=SECONDS)


def _block(process: "subprocess.Popen[str]") -> str:
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        lines.append(line)
        if line.startswith("A page for a payer:"):
            break
    return "".join(lines)
