"""The one ASGI adapter: route, admit, decode, call, encode; whatever goes wrong is answered here.

The order of the checks is that of contract 1.2.
"""

import asyncio
import itertools
from collections.abc import Iterable
from functools import partial
from typing import Final

import structlog

from opentill.api.http import decode
from opentill.api.http.admission import Admission, idempotency_key
from opentill.api.http.call import Auth, Call, Operation, Route
from opentill.api.http.dependencies import ApiDeps
from opentill.api.http.metrics import PATH as METRICS_PATH
from opentill.api.http.routing import Router
from opentill.api.http.scope import (
    ANSWER,
    HANG_UP,
    Answer,
    ClientGone,
    Receive,
    Scope,
    Send,
    joined_headers,
    read_body,
    send_whole,
)
from opentill.api.http.streaming import Stream, send_stream
from opentill.api.wire import (
    CARD_ENTRY_NOT_PERMITTED,
    ROUTE_NOT_FOUND,
    SERVER_ERROR,
    UNAVAILABLE,
    Rejected,
    Reply,
    invalid,
)
from opentill.domain.refusals import Refusal
from opentill.engine.errors import CommandFailed, EngineError
from opentill.observe import request_id
from opentill.store.errors import StoreError

_log = structlog.get_logger("opentill.api")

_PAGES: Final = b"/checkout/"
_BANK_PAGES: Final = frozenset({b"/sandbox/3ds", b"/sandbox/3ds/answer"})
"""Where payers' pages live, the second in sandbox mode only; every other path is the API's, known or not."""

_JSON: Final = (b"content-type", b"application/json")
_REPLAYED: Final = (b"idempotency-replayed", b"true")
_NO_STORE: Final = (b"cache-control", b"no-store")
_STREAM: Final = (
    (b"content-type", b"text/event-stream"),
    _NO_STORE,
    (b"x-accel-buffering", b"no"),  # a proxy must not collect it
)
_AUTHENTICATE: Final = (b"www-authenticate", b"Bearer")
_SIGN: Final = (b"www-authenticate", b"X-Signature")
_TRY_SOON: Final = (b"retry-after", b"1")
_MOST_REQUEST_ID_CHARACTERS: Final = 64
_REQUEST_ID_CHARACTERS: Final = frozenset(
    b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_."
)


async def _no_such_route(_call: Call) -> Reply:
    return ROUTE_NOT_FOUND


_UNKNOWN: Final = Operation(
    method="",
    path="",
    name="unknown",
    summary="",
    handler=_no_such_route,
    data=None,
    auth=Auth.OPEN,
    rate_limited=False,
)


class ApiApp:
    """The JSON API as an ASGI 3 callable for ``http`` scopes; payers' pages go to ``deps.pages``."""

    def __init__(self, deps: ApiDeps, operations: Iterable[Operation]):
        settings = deps.settings
        self._deps = deps
        self._admission = Admission(deps)
        self._router = Router(
            operations,
            sandbox=deps.sandbox,
            refusal_http_status=settings.refusal_http_status,
            advised=bool(settings.credit_advice_keys),
        )
        self._unknown = Route(_UNKNOWN, (), settings.refusal_http_status)
        self._window = (b"x-rate-limit-window", b"%ds" % settings.rate_window_seconds)
        self._request_ids = map(f"{deps.ids.uuid()}-%d".__mod__, itertools.count(1))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        path: bytes = scope.get("raw_path") or scope["path"].encode()
        if path == METRICS_PATH and self._deps.metrics is not None:
            await self._deps.metrics(scope, receive, send)
            return
        found = self._router.find(scope["method"], path)
        if found is None and self._deps.pages is not None and self._is_page(path):
            await self._deps.pages(scope, receive, send)
            return
        route, parameters = found or (self._unknown, ())
        began = self._deps.clock.monotonic() if self._deps.settings.access_log else 0
        call = Call(self._deps, route, parameters, self._deps.clock.now())
        call.headers = joined_headers(scope["headers"])
        name = self._request_id(call)
        try:
            reply = await self._answer(call, scope, receive)
        except ClientGone:
            return
        if self._deps.settings.access_log:
            self._log_access(call, reply.status if isinstance(reply, Reply) else 200, began)
        if not isinstance(reply, Reply):
            headers = [*_STREAM, *self._every_answers_headers(call, name.encode())]
            await send_stream(reply, headers, receive, send, scope.get(HANG_UP))
            return
        answer: Answer = scope.get(ANSWER) or partial(send_whole, send)
        await answer(reply.status, self._reply_headers(call, reply, name.encode()), reply.body)

    def stopping(self) -> None:
        """End what would never end by itself, while the server still waits for open requests."""
        self._deps.streams.end()

    async def close(self) -> None:
        """Stop what runs beside requests."""
        await self._deps.streams.close()

    def _is_page(self, path: bytes) -> bool:
        return path.startswith(_PAGES) or (self._deps.sandbox and path in _BANK_PAGES)

    async def _answer(self, call: Call, scope: Scope, receive: Receive) -> Reply | Stream:
        """Return the reply to this call, whatever happens (no input gives a 5xx; a 5xx is our fault)."""
        try:
            try:
                return await self._carry_out(call, scope, receive)
            except Rejected as rejected:
                return await call.turn_down(rejected)
        except Refusal as refusal:
            return call.route.refusals[type(refusal)]
        except CommandFailed:
            return SERVER_ERROR
        except (EngineError, StoreError, asyncio.CancelledError):
            return UNAVAILABLE  # cancelled: the server stops, and what was begun is finished without us
        except ClientGone:
            raise
        except Exception:  # noqa: BLE001 - the last resort: whatever it is, the caller gets the envelope
            _log.exception("request_failed", operation=call.route.operation.name)
            return SERVER_ERROR

    async def _carry_out(self, call: Call, scope: Scope, receive: Receive) -> Reply | Stream:
        operation = call.route.operation
        client = scope.get("client")
        address = client[0] if client else ""
        if call.route is self._unknown:
            self._admission.count(call, address, None)
        await self._admission.admit(call, address)
        if operation.card_entry and not self._deps.sandbox:
            raise Rejected(CARD_ENTRY_NOT_PERMITTED)
        if call.route.decoder is not None:
            await self._read(call, receive)
        if operation.query is not None:
            call.query = decode.query(operation.query, scope["query_string"])
        if operation.mutating:
            call.key = idempotency_key(call.headers)
        return await operation.handler(call)

    async def _read(self, call: Call, receive: Receive) -> None:
        """Read and decode the body: content type, size, JSON, fields."""
        content_type = call.headers.get(b"content-type")
        is_json = content_type == b"application/json" or _is_json(content_type)
        most = max(self._deps.settings.max_body_bytes, call.route.operation.body_bytes)
        body = await read_body(receive, call.headers.get(b"content-length", b"0"), most)
        if call.route.operation.auth is Auth.SIGNED:
            self._admission.check_signature(call, body)
        if not body and call.route.operation.body_optional:
            return
        if not is_json:
            raise invalid("Content-Type must be application/json")
        decoder = call.route.decoder
        assert decoder is not None
        call.raw_body, call.body = body, decode.decode(decoder, body)

    def _request_id(self, call: Call) -> str:
        """Return the caller's request id if it is plain, else a new one; in every log line from here."""
        sent = call.headers.get(b"x-request-id", b"")
        plain = 0 < len(sent) <= _MOST_REQUEST_ID_CHARACTERS and _REQUEST_ID_CHARACTERS.issuperset(sent)
        name = sent.decode("ascii") if plain else next(self._request_ids)
        request_id.set(name)
        return name

    def _reply_headers(self, call: Call, reply: Reply, name: bytes) -> list[tuple[bytes, bytes]]:
        headers = [
            _JSON,
            (b"content-length", b"%d" % len(reply.body)),
            *self._every_answers_headers(call, name),
        ]
        if reply.reason:
            headers.append((b"refusal-reason", reply.reason.encode()))
        if call.replayed:
            headers.append(_REPLAYED)
        if call.route.operation.no_store:
            headers.append(_NO_STORE)
        if reply.status in {401, 429, 503}:
            headers.append(self._what_next(call, reply.status))
        return headers

    def _every_answers_headers(self, call: Call, name: bytes) -> Iterable[tuple[bytes, bytes]]:
        return (
            (b"x-request-id", name),
            (b"x-rate-limit-limit", b"%d" % call.limit),
            (b"x-rate-limit-remaining", b"%d" % call.remaining),
            self._window,
        )

    def _what_next(self, call: Call, status: int) -> tuple[bytes, bytes]:
        if status == 429:
            seconds = self._admission.limiter.retry_after_seconds(self._deps.clock.monotonic())
            return (b"retry-after", b"%d" % seconds)
        if status == 401:
            return _SIGN if call.route.operation.auth is Auth.SIGNED else _AUTHENTICATE
        return _TRY_SOON

    def _log_access(self, call: Call, status: int, began: int) -> None:
        _log.info(
            "request",
            operation=call.route.operation.name,
            status=status,
            account_id=call.account_id,
            milliseconds=self._deps.clock.monotonic() - began,
        )


def _is_json(content_type: bytes | None) -> bool:
    return content_type is not None and content_type.split(b";")[0].strip().lower() == _JSON[1]
