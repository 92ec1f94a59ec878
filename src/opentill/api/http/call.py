"""One request on its way through the API, and what the API needs from the rest of the house."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, TypeAlias

from opentill.api.http import decode
from opentill.api.http.account_cache import AccountCache
from opentill.api.http.rate_limit import UNLIMITED
from opentill.api.http.readiness import Remembered
from opentill.api.http.routing import AsgiApp, Route
from opentill.api.nomba.replies import return_url
from opentill.api.own.feed import Feed
from opentill.api.own.streams import Streams
from opentill.api.wire import Rejected, Reply, invalid
from opentill.clock import Clock, Ids
from opentill.domain.commands import Actor, ActorKind, Command
from opentill.domain.decisions import Change
from opentill.domain.refusals import Refusal
from opentill.engine.engine import Engine, Outcome, Render, Result
from opentill.engine.reader import Reader
from opentill.engine.threads import StoreThreads
from opentill.keys.card_vault import CardVault
from opentill.keys.endpoint_keys import EndpointKeys
from opentill.keys.keyring import CardKey, Keyring
from opentill.rails.card_payments import Asking, CardPaymentService
from opentill.rails.transfer_payments import TransferPaymentService
from opentill.settings import Settings
from opentill.store.accounts.contract import Mode
from opentill.store.orders.contract import KeyClaim, TokenId
from opentill.webhooks.guard import Guard
from opentill.webhooks.poster import Poster
from opentill.workers.expiry import Expiry

_NOBODY: Final = Actor(ActorKind.OPEN_SANDBOX)

SwitchRail: TypeAlias = Callable[[str, str | None, int, int], Awaitable[None]]
"""Takes an operation of the rail, how it ends, a delay in milliseconds, and for how many calls."""


@dataclass(frozen=True, kw_only=True)
class ApiDeps:
    """What the API stands on."""

    settings: Settings
    engine: Engine
    reader: Reader
    threads: StoreThreads
    desk: CardPaymentService
    transfers: TransferPaymentService
    keyring: Keyring
    clock: Clock
    ids: Ids
    default_account_id: str | None
    """Whom calls without a token act as; None, as always in live mode, for nobody."""
    card_key: CardKey | None = None
    """Where given, card details are taken only encrypted under it."""
    switch_rail: SwitchRail | None = None
    """Makes the sandbox's rail misbehave; None in live mode, which has none."""
    expiry: Expiry | None = None
    """Ends what falls due when the sandbox's clock is moved; None in live mode, whose time is real."""
    metrics: AsgiApp | None = None
    """Answers scrapes; None where the settings have no such path."""
    pages: AsgiApp | None = None
    """Answers the paths that are not the API's."""
    guard: Guard
    """Says which URLs may be called."""
    poster: Poster
    directory: AccountCache = field(init=False)
    can_write: Remembered[bool] = field(init=False)
    paused_endpoints: Remembered[int] = field(init=False)
    """Of all merchants; 0 too while that can not be found out."""
    feed: Feed = field(init=False)
    streams: Streams = field(init=False)
    endpoint_keys: EndpointKeys = field(init=False)
    vault: CardVault = field(init=False)

    def __post_init__(self) -> None:
        """Make the parts that only this API uses."""
        object.__setattr__(self, "directory", AccountCache(self.threads, self.reader, self.clock))
        object.__setattr__(self, "can_write", Remembered(self._write, self.clock, unknown=False))
        paused = partial(self.threads.read, self.threads.store.outbox.paused_endpoints)
        object.__setattr__(self, "paused_endpoints", Remembered(paused, self.clock, unknown=0))
        feed = Feed(self.threads, self.reader)
        most = self.settings.max_open_streams
        object.__setattr__(self, "feed", feed)
        object.__setattr__(self, "streams", Streams(feed, self.threads, self.reader, self.clock, most))
        object.__setattr__(self, "endpoint_keys", EndpointKeys(self.keyring))
        object.__setattr__(self, "vault", CardVault(self.keyring))

    async def _write(self) -> bool:
        await self.threads.write(self.threads.store.probe_write, self.clock.now())
        return True

    def return_url(self, account_id: str, transaction: str) -> str:
        """See ``told.return_url``."""
        return return_url(self.settings.public_url, self.keyring, account_id, transaction)

    @property
    def sandbox(self) -> bool:
        """Whether this server is a sandbox."""
        return self.settings.mode is Mode.SANDBOX

    @property
    def takes_transfers(self) -> bool:
        """Whether somebody would tell us of a bank transfer, so that payers may be asked for one."""
        return self.sandbox or bool(self.settings.credit_advice_keys)


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
        """The operation's success with this ``data``."""
        return self.route.success.reply(data)

    def reference(self, text: str, field_name: str) -> str:
        """A reference or order id as the merchant may send it; raises Rejected (ruling 4)."""
        return decode.reference(text, field_name, self.deps.settings.max_reference_characters)

    def path_text(self, field_name: str) -> str:
        """The path's first parameter, a reference or an id; raises Rejected when it can be neither."""
        try:
            text = self.parameters[0].decode()
        except UnicodeDecodeError:
            raise invalid(f"{field_name} is not valid UTF-8") from None
        return self.reference(text, field_name)

    def command(self) -> dict[str, Any]:
        """The part that all commands have."""
        return {"account_id": self.account_id, "command_id": self.command_id, "actor": self.actor}

    def claim(self) -> KeyClaim | None:
        """The claim on the idempotency key; "the same" means method, path and raw body (contract 1.2)."""
        if self.key is None:
            return None
        operation = self.route.operation
        path = b"/".join([operation.path.encode(), *self.parameters]).decode("utf-8", "surrogateescape")
        fingerprint = self.deps.keyring.fingerprint(operation.method, path, self.raw_body)
        return KeyClaim(self.account_id, self.key, fingerprint, self.command_id)

    def render(self, on_change: Callable[[Change], Reply]) -> Render:
        """The pure function from an outcome to the reply that is stored and sent."""
        refusals = self.route.refusals

        def render(outcome: Outcome) -> Reply:
            return refusals[type(outcome)] if isinstance(outcome, Refusal) else on_change(outcome)

        return render

    def asking(self, on_change: Callable[[Change], Reply]) -> Asking:
        """What surrounds a call to the desk on behalf of this request."""
        return Asking(self.render(on_change), self.claim(), self.token)

    async def submit(self, command: Command, on_change: Callable[[Change], Reply]) -> Reply:
        """Hand the command to the engine and return the reply that it committed."""
        return self.answer_of(
            await self.deps.engine.submit(
                command, render=self.render(on_change), claim=self.claim(), token=self.token
            )
        )

    def answer_of(self, result: Result) -> Reply:
        """The reply of a result; notes when it is an earlier one."""
        self.replayed = result.replayed
        assert result.reply is not None
        return Reply.of(result.reply)

    async def check_token(self) -> None:
        """Raise TokenRevoked if the token is dead by now; for calls that put no question of their own."""
        if self.token is not None:
            await self.deps.reader.check(self.token)

    async def turn_down(self, rejected: Rejected) -> Reply:
        """The answer of a request that goes no further; raises TokenRevoked if its token is dead by now."""
        await self.check_token()
        return rejected.answer
