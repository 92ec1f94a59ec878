"""Operations and the way from a raw request path to one of them."""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any, Final, TypeAlias
from urllib.parse import unquote_to_bytes

import msgspec

from opentill.api.http.streaming import Stream
from opentill.api.wire import SUCCESS, SUCCESS_CODE, RefusalRow, Reply, Success, refusal_replies
from opentill.domain.refusals import Refusal

if TYPE_CHECKING:
    from opentill.api.http.call import Call


ANSWER: Final = "opentill.answer"
"""In the scope of a request where the server can send an answer in one piece: an ``Answer``."""
Headers: TypeAlias = Iterable[tuple[bytes, bytes]]
Answer: TypeAlias = Callable[[int, Headers, bytes], Awaitable[None]]
"""Takes status, headers and body. The headers say how long it is and can not end a line."""


Handler: TypeAlias = "Callable[[Call], Awaitable[Reply | Stream]]"

SANDBOX_ALIAS: Final = ("/v1/checkout/", "/sandbox/checkout/")
"""In sandbox mode what begins with the first answers under the second too (ruling 12)."""

_MOST_SEGMENTS: Final = 8


class Auth(Enum):
    """Whose word an operation takes for who is calling (rulings 5 and 6)."""

    OPEN = "no token"
    TOKEN = "an access token, or nobody's in the open sandbox"  # noqa: S105 - no secret, a rule
    SIGNED = "a signature over the body, by a key of the settings"
    OLD_TOKEN = "as TOKEN, and the token may have expired"  # noqa: S105 - no secret, a rule


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One row of the route table: all that routing, decoding, encoding and OpenAPI need to know."""

    method: str
    path: str
    """With ``{name}`` for a segment that is a parameter."""
    name: str
    """The operation's id in OpenAPI and in the access log."""
    summary: str
    handler: Handler
    data: type[msgspec.Struct] | None
    """The member ``data`` of a success; None where it is always null."""
    description: str = SUCCESS
    success_code: str = SUCCESS_CODE
    """What a success has in the envelope."""
    body: type[msgspec.Struct] | None = None
    body_optional: bool = False
    body_bytes: int = 0
    """How large its body may be where that is more than the setting ``max_body_bytes``."""
    query: type[msgspec.Struct] | None = None
    auth: Auth = Auth.TOKEN
    account_required: bool = False
    """Whether a token must come with the header ``accountId``."""
    mutating: bool = False
    """Whether it takes an idempotency key."""
    refusal_description: str | None = None
    """What is said of every refusal by state; None for each refusal's own sentence."""
    refusal_rows: Mapping[type[Refusal], RefusalRow] = field(default_factory=dict, hash=False)
    """How this operation tells refusals that it does not tell as all others do."""
    no_store: bool = False
    """Whether its answers hold secrets that no cache may keep."""
    card_entry: bool = False
    """Whether it takes card details, which live mode never does."""
    sandbox_only: bool = False
    """Whether live mode does not have it at all (ruling 23)."""
    rate_limited: bool = True
    enveloped: bool = True
    """Whether its success is in the envelope; only this description of the API and streams are not."""
    streams: bool = False
    """Whether its success is a ``Stream``."""


class Route:
    """An operation made ready for use: its decoder, its success and its refusals, made once."""

    __slots__ = ("decoder", "operation", "refusals", "segments", "success", "table")

    def __init__(self, operation: Operation, table: tuple[Operation, ...], refusal_http_status: int):
        self.operation = operation
        self.table = table
        self.segments = tuple(segment.encode() for segment in operation.path.split("/")[1:])
        self.decoder = msgspec.json.Decoder(operation.body) if operation.body else None
        self.success = Success(operation.description, operation.success_code)
        self.refusals: Mapping[type[Refusal], Reply] = refusal_replies(
            refusal_http_status, operation.refusal_description, operation.refusal_rows
        )

    def parameters(self, segments: list[bytes]) -> tuple[bytes, ...] | None:
        """The values of the path's parameters, or None when this is not the route of these segments."""
        if len(segments) != len(self.segments):
            return None
        values = []
        for wanted, given in zip(self.segments, segments, strict=True):
            if wanted[:1] == b"{" and given:
                values.append(given)
            elif wanted != given:
                return None
        return tuple(values)


class Router:
    """Finds routes by method and raw path, so that an encoded slash stays part of its segment."""

    def __init__(
        self,
        operations: Iterable[Operation],
        *,
        sandbox: bool,
        refusal_http_status: int,
        advised: bool = False,
    ):
        table = offered(operations, sandbox=sandbox, advised=advised)
        self._fixed: dict[tuple[str, bytes], Route] = {}
        self._of_method: dict[str, list[Route]] = {}
        for operation in table:
            route = Route(operation, table, refusal_http_status)
            self._of_method.setdefault(operation.method, []).append(route)
            if "{" not in operation.path:
                for path in _paths(operation, sandbox=sandbox):
                    self._fixed[operation.method, path] = route
        self._alias = SANDBOX_ALIAS[1].encode() if sandbox else None

    def find(self, method: str, raw_path: bytes) -> tuple[Route, tuple[bytes, ...]] | None:
        """The route and its parameters, each percent-decoded exactly once."""
        route = self._fixed.get((method, raw_path))
        return (route, ()) if route is not None else self._by_segments(method, raw_path)

    def _by_segments(self, method: str, raw_path: bytes) -> tuple[Route, tuple[bytes, ...]] | None:
        if self._alias is not None and raw_path.startswith(self._alias):
            raw_path = SANDBOX_ALIAS[0].encode() + raw_path[len(self._alias) :]
        if raw_path.count(b"/") > _MOST_SEGMENTS:
            return None
        segments = [unquote_to_bytes(segment) for segment in raw_path.split(b"/")[1:]]
        for route in self._of_method.get(method, ()):
            parameters = route.parameters(segments)
            if parameters is not None:
                return route, parameters
        return None


def offered(operations: Iterable[Operation], *, sandbox: bool, advised: bool) -> tuple[Operation, ...]:
    """Those of the operations that a server of this mode has; ``advised``: one with a key for advices."""
    return tuple(
        each
        for each in operations
        if (sandbox or not each.sandbox_only) and (advised or each.auth is not Auth.SIGNED)
    )


def _paths(operation: Operation, *, sandbox: bool) -> list[bytes]:
    paths = [operation.path.encode()]
    if sandbox and operation.path.startswith(SANDBOX_ALIAS[0]):
        paths.append(operation.path.replace(*SANDBOX_ALIAS, 1).encode())
    return paths


def parameter_names(operation: Operation) -> list[str]:
    """The names of the parameters in the operation's path, in their order."""
    return [segment[1:-1] for segment in operation.path.split("/") if segment.startswith("{")]


AsgiApp: TypeAlias = Callable[[Any, Any, Any], Awaitable[None]]
