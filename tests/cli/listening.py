"""``opentill listen`` as a developer leaves it running: a process whose lines are read as they come."""

import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cli.program import SECONDS, Serving, _clean
from opentill.webhooks.signature import verify
from polling import until
from webhooks.receiver import Post


class Listener:
    """One running ``opentill listen``, and what it has printed so far."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self.process = process
        self.lines: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line)

    @property
    def key(self) -> str:
        """The signing key, as it was printed."""
        text: str = json.loads(self.lines[0])["signingKey"]
        return text

    def told(self, came: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
        """The first line of JSON of which this is true, as soon as there is one."""
        until(lambda: any(came(each) for each in self._events()), f"{self.lines}", SECONDS)
        return next(each for each in self._events() if came(each))

    def _events(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.lines[1:]]

    def said(self, text: str) -> None:
        """Wait for a line with this text."""
        until(lambda: any(text in line for line in self.lines), f"{text!r} in {self.lines}", SECONDS)

    def end(self, signal: int) -> int:
        """The exit status after this signal."""
        self.process.send_signal(signal)
        return self.process.wait(SECONDS)

    def close(self) -> None:
        """Give back the pipe, once all was read from it."""
        self._reader.join(SECONDS)
        assert self.process.stdout is not None
        self.process.stdout.close()


@contextmanager
def listening(data: Path, *arguments: str) -> Iterator[Listener]:
    """A listener from its first line to its end."""
    process = subprocess.Popen(
        [sys.executable, "-m", "opentill", "listen", "--data", str(data), *arguments],
        env=_clean({}),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    listener = Listener(process)
    try:
        until(lambda: listener.lines or process.poll() is not None, "the listener's first line", SECONDS)
        yield listener
    finally:
        process.terminate()
        process.wait(SECONDS)
        listener.close()


def cancelled_order(server: Serving) -> str:
    """The reference of an order that was just opened and cancelled."""
    terms = {"amount": "100.00", "currency": "NGN", "customerEmail": "payer@example.com"}
    made = server.ask("POST", "/v1/checkout/order", {"order": terms})
    reference: str = made.json()["data"]["orderReference"]
    ended = server.ask("POST", "/v1/checkout/order/cancel", {"orderReference": reference})
    assert ended.status_code == 200, ended.text
    return reference


@contextmanager
def endpoint(server: Serving, url: str, **chosen: object) -> Iterator[str]:
    """The id of an endpoint of the default merchant, from its registration ping until it is deleted."""
    path = "/v1/opentill/webhook-endpoints"
    made = server.ask("POST", path, {"url": url, **chosen})
    assert made.status_code == 200, made.text
    endpoint_id: str = made.json()["data"]["id"]
    try:
        yield endpoint_id
    finally:
        server.ask("DELETE", f"{path}/{endpoint_id}")


def endpoint_urls(server: Serving) -> set[str]:
    """Where the default merchant has endpoints."""
    known = server.ask("GET", "/v1/opentill/webhook-endpoints").json()["data"]["results"]
    return {each["url"] for each in known}


def is_signed_by(key: str, post: Post) -> bool:
    """Whether all three signatures came, and are this key's."""
    findings = verify(post.body, post.headers, key)
    return len(findings) == 3 and not any(finding.fault for finding in findings)
