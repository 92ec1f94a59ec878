"""A running server, asked over HTTP as any program asks it."""

import http.client
from contextlib import closing
from typing import Any, Final
from urllib.parse import SplitResult, urlsplit

import msgspec

from opentill.cli.preflight import OperatorError

TIMEOUT_SECONDS: Final = 60
"""Longer than the server ever waits for a rail."""


class _Answer(msgspec.Struct):
    """What is read of every answer of the API."""

    description: str
    data: dict[str, Any] | None


class _Description(msgspec.Struct):
    """What is read of the server's description of itself."""

    paths: dict[str, Any]


class RunningServer:
    """The API at one URL, as it answers whoever brings no token: a sandbox's default merchant."""

    def __init__(self, url: str):
        self.url = url.rstrip("/")
        self._parts = _checked(self.url)

    def answers(self) -> bool:
        """Whether somebody listens there."""
        try:
            self._exchange("GET", "/health/live", None)
        except OperatorError:
            return False
        return True

    def paths(self) -> frozenset[str]:
        """What the server says it has, as templates. Raises OperatorError where it is no opentill."""
        _, content = self._exchange("GET", "/openapi.json", None)
        try:
            return frozenset(msgspec.json.decode(content, type=_Description).paths)
        except msgspec.DecodeError:
            raise OperatorError(f"what answers at {self.url} is not opentill.") from None

    def ask(self, method: str, path: str, body: object = None) -> dict[str, Any]:
        """The ``data`` of a success. Raises OperatorError in the server's own words for anything else."""
        status, content = self._exchange(method, path, body)
        try:
            answer = msgspec.json.decode(content, type=_Answer)
        except msgspec.DecodeError:
            raise OperatorError(f"what answers at {self.url} is not opentill.") from None
        if status != 200:
            raise OperatorError(f"{method} {path} was refused with HTTP {status}: {answer.description}.")
        return answer.data or {}

    def _exchange(self, method: str, path: str, body: object) -> tuple[int, bytes]:
        headers = {} if body is None else {"Content-Type": "application/json"}
        content = None if body is None else msgspec.json.encode(body)
        try:
            with closing(self._connection()) as connection:
                connection.request(method, self._parts.path + path, content, headers)
                answer = connection.getresponse()
                return answer.status, answer.read()
        except (OSError, http.client.HTTPException):
            raise OperatorError(
                f"no server answers at {self.url}; start one with `opentill serve`, or name its data folder "
                "with --data or its URL with --url."
            ) from None

    def _connection(self) -> http.client.HTTPConnection:
        secure = self._parts.scheme == "https"
        kind = http.client.HTTPSConnection if secure else http.client.HTTPConnection
        return kind(self._parts.hostname or "", self._parts.port, timeout=TIMEOUT_SECONDS)


def _checked(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        if parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0 and "@" not in url:
            return parts
    except ValueError:
        pass
    raise OperatorError("the server's URL must be like http://127.0.0.1:8480.")
