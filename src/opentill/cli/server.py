"""A running server, asked over HTTP as any program asks it."""

import http.client
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self
from urllib.parse import SplitResult, urlsplit

import msgspec
from cyclopts import Parameter

from opentill.cli.credentials_block import SANDBOX_ENV_FILE, served_url
from opentill.cli.preflight import OperatorError, Where

TIMEOUT_SECONDS: Final = 60
"""Longer than the server ever waits for a rail."""


class _AnswerBody(msgspec.Struct):
    """The part that is read of every answer of the API."""

    description: str
    data: dict[str, Any] | None


class _Description(msgspec.Struct):
    """The part that is read of the server's description of itself."""

    paths: dict[str, Any]


@dataclass(frozen=True, slots=True)
class ServerAnswer:
    """An answer of the server."""

    status: int
    reason: str
    """The ``Refusal-Reason``; empty for none."""
    description: str
    data: dict[str, Any]


class Unreachable(OperatorError):
    """Nobody answers."""


@dataclass(frozen=True, slots=True)
class SignIn:
    """The credentials of a merchant's program."""

    url: str
    account_id: str
    client_id: str
    client_secret: str

    def __repr__(self) -> str:
        return f"SignIn({self.account_id!r}, <withheld>)"

    @classmethod
    def read(cls, file: Path) -> Self:
        """Read the credentials of an env file as the program writes it. Raises OperatorError."""
        try:
            lines = file.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError):
            raise OperatorError(f"{file} can not be read; name a file with credentials by --env.") from None
        found = dict(line.partition("=")[::2] for line in lines)
        try:
            return cls(*(found[f"OPENTILL_{name}"] for name in _IN_ENV_FILE))
        except KeyError as missing:
            raise OperatorError(f"{file} has no line {missing.args[0]}=...") from None


_IN_ENV_FILE: Final = ("URL", "ACCOUNT_ID", "CLIENT_ID", "CLIENT_SECRET")


class RunningServer:
    """The API at one URL, as it answers this merchant's program, or whoever brings no token."""

    def __init__(self, url: str, sign_in: SignIn | None = None):
        self.url = url.rstrip("/")
        self._parts = _checked(self.url)
        self._sign_in = sign_in
        self._token: Mapping[str, str] = {}

    def answers(self) -> bool:
        """Tell whether somebody listens there."""
        try:
            self._exchange("GET", "/health/live", None, {})
        except OperatorError:
            return False
        return True

    def paths(self) -> frozenset[str]:
        """Ask which routes the server has, as templates. Raises OperatorError where it is no opentill."""
        _, content = self._said("GET", "/openapi.json", None, {})
        try:
            return frozenset(msgspec.json.decode(content, type=_Description).paths)
        except msgspec.DecodeError:
            raise OperatorError(f"what answers at {self.url} is not opentill.") from None

    def ask(self, method: str, path: str, body: object = None) -> dict[str, Any]:
        """Send a request and return the ``data`` of a success; for anything else raise OperatorError.

        Its message is the server's own words.
        """
        answer = self.answer(method, path, body)
        if answer.status != 200:
            because = f" ({answer.reason})" if answer.reason else ""
            said = f"{answer.status}: {answer.description}{because}"
            raise OperatorError(f"{method} {path} was refused with HTTP {said}.")
        return answer.data

    def answer(self, method: str, path: str, body: object = None, **headers: str) -> ServerAnswer:
        """Send a request, under a fresh token if the old one has ended, and return any answer.

        Raises Unreachable.
        """
        answer = self._exchange(method, path, body, {**self._signed_in(), **headers})
        if answer.status == 401 and self._token:
            self._token = {}
            answer = self._exchange(method, path, body, {**self._signed_in(), **headers})
        return answer

    def _signed_in(self) -> Mapping[str, str]:
        if self._sign_in is not None and not self._token:
            account = {"accountId": self._sign_in.account_id}
            self._token = account | {"Authorization": f"Bearer {self._issued(self._sign_in, account)}"}
        return self._token

    def _issued(self, sign_in: SignIn, account: dict[str, str]) -> str:
        body = {
            "grant_type": "client_credentials",
            "client_id": sign_in.client_id,
            "client_secret": sign_in.client_secret,
        }
        answer = self._exchange("POST", "/v1/auth/token/issue", body, account)
        if answer.status != 200:
            raise OperatorError(
                f"the server at {self.url} does not take these credentials: {answer.description}."
            )
        return str(answer.data["access_token"])

    def _exchange(self, method: str, path: str, body: object, headers: Mapping[str, str]) -> ServerAnswer:
        answer, content = self._said(method, path, body, headers)
        try:
            decoded = msgspec.json.decode(content, type=_AnswerBody)
        except msgspec.DecodeError:
            raise OperatorError(f"what answers at {self.url} is not opentill.") from None
        reason = answer.headers.get("Refusal-Reason", "")
        return ServerAnswer(answer.status, reason, decoded.description, decoded.data or {})

    def _said(
        self, method: str, path: str, body: object, headers: Mapping[str, str]
    ) -> tuple[http.client.HTTPResponse, bytes]:
        content = None if body is None else msgspec.json.encode(body)
        kind = {} if body is None else {"Content-Type": "application/json"}
        try:
            with closing(self._connection()) as connection:
                connection.request(method, self._parts.path + path, content, {**kind, **headers})
                answer = connection.getresponse()
                return answer, answer.read()
        except (OSError, http.client.HTTPException):
            raise Unreachable(
                f"no server answers at {self.url}; start one with `opentill serve`, or name its data folder "
                "with --data or its URL with --url."
            ) from None

    def _connection(self) -> http.client.HTTPConnection:
        secure = self._parts.scheme == "https"
        kind = http.client.HTTPSConnection if secure else http.client.HTTPConnection
        return kind(self._parts.hostname or "", self._parts.port, timeout=TIMEOUT_SECONDS)


@Parameter(name="*")
@dataclass(frozen=True)
class AskedServer:
    """The server that a command asks, and the merchant as whom.

    Attributes:
        url: Where the server is; without --env it is asked as an open sandbox is, without credentials.
        env: File with a merchant's credentials; sandbox.env of the data folder when left out.
        data: Folder of everything that the server keeps itself.
    """

    url: str | None = None
    env: Path | None = None
    data: Path | None = None

    def server(self) -> RunningServer:
        """Choose the server. Credentials go only to the one that they are of, or that was named with them."""
        settings = Where(data=self.data).settings()
        file = self.env or settings.data_dir / SANDBOX_ENV_FILE
        if self.env is None and (self.url is not None or not file.exists()):
            return RunningServer(self.url or served_url(settings))
        sign_in = SignIn.read(file)
        return RunningServer(self.url or (sign_in.url if self.env else served_url(settings)), sign_in)


def _checked(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        if parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0 and "@" not in url:
            return parts
    except ValueError:
        pass
    raise OperatorError("the server's URL must be like http://127.0.0.1:8480.")
