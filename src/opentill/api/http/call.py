"""An operation of the API, and one call of it: who sent it, what it says, and how it is carried out."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Final, TypeAlias

import msgspec

from opentill.api.http import decode
from opentill.api.http.dependencies import ApiDeps
from opentill.api.http.streaming import Stream
from opentill.api.wire import (
    SUCCESS,
    SUCCESS_CODE,
    RefusalRow,
    Rejected,
    Reply,
    Success,
    invalid,
    refusal_replies,
)
from opentill.domain.commands import Actor, ActorKind, Command
from opentill.domain.refusals import Refusal
from opentill.domain.transition import Change
from opentill.engine.engine import Outcome, Render, Result
from opentill.rails.card_payments import Asking
from opentill.store.orders.contract import KeyClaim, TokenId

UNLIMITED: Final = 2_147_483_647
"""What the headers say while the rate limit is off."""
_NOBODY: Final = Actor(ActorKind.OPEN_SANDBOX)

Handler: TypeAlias = "Callable[[Call], Awaitable[Reply | Stream]]"


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
        """Return the values of the path's parameters, or None where this is no route of these segments."""
        if len(segments) != len(self.segments):
            return None
        values = []
        for wanted, given in zip(self.segments, segments, strict=True):
            if wanted[:1] == b"{" and given:
                values.append(given)
            elif wanted != given:
                return None
        return tuple(values)


class Call:
    """One request: who sent it, what it says, and how to carry it out."""

    __slots__ = (
        "account_id",
        "actor",
        "body",
        "command_id",
        "deps",
        "headers",
        "key",
        "limit",
        "now",
        "parameters",
        "query",
        "raw_body",
        "remaining",
        "replayed",
        "route",
        "token",
        "token_until",
    )

    def __init__(self, deps: ApiDeps, route: Route, parameters: tuple[bytes, ...], now: int):
        self.deps = deps
        self.route = route
        self.parameters = parameters
        self.now = now
        """Real time of the request's arrival in UTC milliseconds."""
        self.account_id = ""
        self.actor = _NOBODY
        self.token: TokenId | None = None
        self.token_until: int | None = None
        """When the token ends, in business time; None without one."""
        self.headers: dict[bytes, bytes] = {}
        self.body: Any = None
        self.raw_body = b""
        self.query: Any = None
        self.key: str | None = None
        """The idempotency key, where one was sent and the operation takes one."""
        self.command_id = deps.ids.uuid() if route.operation.mutating else ""
        self.replayed = False
        self.limit = self.remaining = UNLIMITED

    def success(self, data: Any) -> Reply:
        """Return the operation's success with this ``data``."""
        return self.route.success.reply(data)

    def reference(self, text: str, field_name: str) -> str:
        """Return a reference or order id as the merchant may send it; raises Rejected (ruling 4)."""
        return decode.reference(text, field_name, self.deps.settings.max_reference_characters)

    def path_text(self, field_name: str) -> str:
        """Return the path's first parameter, a reference or an id; raises Rejected when it can be neither."""
        try:
            text = self.parameters[0].decode()
        except UnicodeDecodeError:
            raise invalid(f"{field_name} is not valid UTF-8") from None
        return self.reference(text, field_name)

    def command(self) -> dict[str, Any]:
        """Return the part that all commands have."""
        return {"account_id": self.account_id, "command_id": self.command_id, "actor": self.actor}

    def claim(self) -> KeyClaim | None:
        """Return the claim on the key; "the same" means method, path and raw body (contract 1.2)."""
        if self.key is None:
            return None
        operation = self.route.operation
        path = b"/".join([operation.path.encode(), *self.parameters]).decode("utf-8", "surrogateescape")
        fingerprint = self.deps.keyring.fingerprint(operation.method, path, self.raw_body)
        return KeyClaim(self.account_id, self.key, fingerprint, self.command_id)

    def render(self, on_change: Callable[[Change], Reply]) -> Render:
        """Return the pure function from an outcome to the reply that is stored and sent."""
        refusals = self.route.refusals

        def render(outcome: Outcome) -> Reply:
            return refusals[type(outcome)] if isinstance(outcome, Refusal) else on_change(outcome)

        return render

    def asking(self, on_change: Callable[[Change], Reply]) -> Asking:
        """Return what surrounds a call to a payment service on behalf of this request."""
        return Asking(self.render(on_change), self.claim(), self.token)

    async def submit(self, command: Command, on_change: Callable[[Change], Reply]) -> Reply:
        """Hand the command to the engine and return the reply that it committed."""
        return self.answer_of(
            await self.deps.engine.submit(
                command, render=self.render(on_change), claim=self.claim(), token=self.token
            )
        )

    def answer_of(self, result: Result) -> Reply:
        """Return the reply of a result; notes when it is an earlier one."""
        self.replayed = result.replayed
        assert result.reply is not None
        return Reply.of(result.reply)

    async def check_token(self) -> None:
        """Raise TokenRevoked if the token is dead by now; for calls that put no question of their own."""
        if self.token is not None:
            await self.deps.reader.check(self.token)

    async def turn_down(self, rejected: Rejected) -> Reply:
        """Return the answer of a request that ends here; raises TokenRevoked if its token is dead by now."""
        await self.check_token()
        return rejected.answer
