"""The way from a raw request path to the operation that answers it."""

from collections.abc import Iterable
from typing import Final
from urllib.parse import unquote_to_bytes

from opentill.api.http.call import Auth, Operation, Route

SANDBOX_ALIAS: Final = ("/v1/checkout/", "/sandbox/checkout/")
"""In sandbox mode what begins with the first answers under the second too (ruling 12)."""

_MOST_SEGMENTS: Final = 8


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
        """Return the route and its parameters, each percent-decoded exactly once."""
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
    """Return the operations that a server of this mode has; ``advised``: one with a key for advices."""
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
    """Return the names of the parameters in the operation's path, in their order."""
    return [segment[1:-1] for segment in operation.path.split("/") if segment.startswith("{")]
