"""The composition root: the only module that knows all the others and puts them together."""

import asyncio
import gc
from functools import partial
from typing import Any, Final

import structlog

from opentill.api.http.account_cache import AccountCache
from opentill.api.http.asgi import ApiApp
from opentill.api.http.dependencies import ApiDeps
from opentill.api.http.metrics import Metrics
from opentill.api.http.readiness import endpoints_paused, writes_work
from opentill.api.http.scope import STOPPING, AsgiApp
from opentill.api.nomba import replies
from opentill.api.operations import OPERATIONS
from opentill.api.own.feed import Feed
from opentill.api.own.streams import OpenEventStreams
from opentill.bootstrap import Bootstrap, prepare
from opentill.clock import Clock, Ids, RandomIds
from opentill.domain.order import Challenge
from opentill.engine.engine import Engine
from opentill.engine.reader import Reader
from opentill.engine.threads import StoreThreads
from opentill.keys.card_vault import CardVault
from opentill.keys.endpoint_keys import EndpointKeys
from opentill.keys.keyring import Keyring
from opentill.operating import engine_settings, transfer_settings
from opentill.payer.challenge import BANK_PATH, BankPages
from opentill.payer.live import OpenPages
from opentill.payer.pages import PayerDeps
from opentill.payer.rendering import Templates
from opentill.payer.site import payer_site
from opentill.payer.transfer import Bank
from opentill.payer.view import Offer, PayerLimits
from opentill.rails.card_payments import CardPaymentService, CardPaymentSettings, ReturnUrl
from opentill.rails.payouts import PayoutRails
from opentill.rails.rail import BANK_RAIL, NoCardPayouts, NoCardRail, NoTransferPayouts
from opentill.rails.sandbox.card import SandboxCardRail
from opentill.rails.sandbox.journal import RailJournal, RailSwitch, journal_of
from opentill.rails.sandbox.payouts import SandboxCardPayouts, SandboxTransferPayouts
from opentill.rails.transfer_payments import TransferPaymentService
from opentill.settings import Settings, load_settings
from opentill.store.accounts.contract import Mode
from opentill.store.outbox.contract import Outgoing, Patience
from opentill.webhooks import payload, signature, token_keys
from opentill.webhooks.guard import Guard
from opentill.webhooks.pacing import Schedule
from opentill.webhooks.poster import Poster
from opentill.webhooks.sender import DeliverySender, SenderSettings
from opentill.webhooks.sequencer import Sequencer
from opentill.workers.expiry import Expiry
from opentill.workers.housekeeping import CHECKPOINT_SECONDS, Housekeeping
from opentill.workers.loops import Workers
from opentill.workers.recovery import Recovery
from opentill.workers.timekeeping import LOOK_SECONDS, Timekeeping

CHALLENGE_SECONDS: Final = 900
"""How long the sandbox's bank waits for the payer's answer."""
_LAST_COMMITS_SECONDS: Final = 1.0
"""How long the last commits may take; one that waits for its standby would never end."""
_LAST_CALLS_SECONDS: Final = 0.1
"""How long rail calls may still take when open requests have had ``shutdown_seconds`` already."""

_log = structlog.get_logger("opentill")


def create_app(settings: Settings | None = None) -> "App":
    """Make the ASGI application of one server process, by default with settings from the environment."""
    return App(settings or load_settings())


class App:
    """One server process: opens everything at start-up, closes it in order at shutdown."""

    def __init__(self, settings: Settings):
        self._settings = settings
        self._api: ApiApp | None = None
        self._running: _Running | None = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer one ASGI scope: an HTTP request, or the life of the process."""
        if scope["type"] == "http":
            assert self._api is not None
            await self._api(scope, receive, send)
        elif scope["type"] == "lifespan":
            await self._live(scope.get("state", {}), receive, send)

    async def _live(self, state: Any, receive: Any, send: Any) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                try:
                    self._running = _Running(self._settings)
                except Exception as error:  # noqa: BLE001 - uvicorn is told, whatever it is
                    _log.exception("start_failed")
                    await send({"type": "lifespan.startup.failed", "message": str(error)})
                    return
                self._api = self._running.api
                state[STOPPING] = self._running.stopping
                self._running.start()
                await send({"type": "lifespan.startup.complete"})
            else:
                if self._running is not None:
                    await self._running.close()
                await send({"type": "lifespan.shutdown.complete"})
                return


class _Running:
    """The parts of one running process, wired together."""

    def __init__(self, settings: Settings):
        prepared, ids = prepare(settings), RandomIds()
        clock = prepared.clock
        self._settings = settings
        self._threads = StoreThreads(prepared.store)
        self._engine = Engine(self._threads, clock, engine_settings(settings))
        self._reader = Reader(self._threads, settings.queue_limit, clock)
        expiry = Expiry(engine=self._engine, reader=self._reader, clock=clock, ids=ids)
        sandbox = settings.mode is Mode.SANDBOX
        keyring = prepared.keyring
        self._bank = _SandboxBank(settings, keyring, clock) if sandbox else None
        self._telling = _Telling(settings, self._threads, keyring, clock, ids)
        payouts = self._bank.payouts if self._bank else PayoutRails(NoCardPayouts(), NoTransferPayouts())
        self._transfers = TransferPaymentService(
            engine=self._engine,
            reader=self._reader,
            threads=self._threads,
            rail=payouts.transfers,
            clock=clock,
            ids=ids,
            settings=transfer_settings(settings),
        )
        return_url = partial(replies.return_url, settings.public_url, keyring)
        vault = CardVault(keyring)
        self._desk = CardPaymentService(
            self._engine,
            self._bank.rail if self._bank else NoCardRail(),
            payouts,
            clock,
            ids,
            card_payment_settings(settings),
            vault,
            replies.late_reply(settings.refusal_http_status, return_url),
        )
        self._expiry = expiry
        self._recovery = Recovery(self._reader, (self._desk, self._transfers), clock)
        self._housekeeping = Housekeeping(self._threads, clock)
        self._timekeeping = Timekeeping(self._threads, clock, settings.mode)
        self._workers = Workers()
        self._open_pages = OpenPages(self._threads, keyring, settings.max_open_pages)
        pages = self._pages(keyring, clock, ids, return_url)
        deps = self._api_deps(prepared, expiry, vault, pages, clock, ids, return_url)
        self.api = ApiApp(deps, OPERATIONS)

    def _api_deps(
        self,
        prepared: Bootstrap,
        expiry: Expiry,
        vault: CardVault,
        pages: AsgiApp,
        clock: Clock,
        ids: Ids,
        return_url: ReturnUrl,
    ) -> ApiDeps:
        """Return what the API stands on; a live server has no rail to switch and no clock to move."""
        settings, threads, reader, bank = self._settings, self._threads, self._reader, self._bank
        return ApiDeps(
            settings=settings,
            engine=self._engine,
            reader=reader,
            threads=threads,
            card_payments=self._desk,
            transfers=self._transfers,
            keyring=prepared.keyring,
            clock=clock,
            ids=ids,
            default_account_id=prepared.store.accounts.default_account_id() if bank else None,
            card_key=prepared.card_key,
            switch_rail=bank.switch_rail if bank else None,
            expiry=expiry if bank else None,
            metrics=Metrics(self._engine, reader, threads, clock) if settings.metrics else None,
            pages=pages,
            guard=self._telling.guard,
            poster=self._telling.poster,
            endpoint_keys=self._telling.keys,
            vault=vault,
            account_cache=AccountCache(threads, reader, clock),
            can_write=writes_work(threads, clock),
            paused_endpoints=endpoints_paused(threads, clock),
            timekeeping=self._timekeeping,
            streams=OpenEventStreams(
                Feed(threads, reader), threads, reader, clock, settings.max_open_streams
            ),
            return_url=return_url,
        )

    def _pages(self, keyring: Keyring, clock: Clock, ids: Ids, return_url: ReturnUrl) -> AsgiApp:
        """Make everything that payers' browsers ask for."""
        settings, bank = self._settings, self._bank
        templates = Templates(sandbox=bank is not None, embedding_origins=settings.embedding_origins)
        deps = PayerDeps(
            engine=self._engine,
            reader=self._reader,
            threads=self._threads,
            card_payments=self._desk,
            transfers=self._transfers,
            keyring=keyring,
            clock=clock,
            ids=ids,
            templates=templates,
            offer=Offer(
                card_rail=bank is not None,
                transfers=bank is not None or bool(settings.credit_advice_keys),
                bank=Bank(
                    settings.transfer_bank_name,
                    settings.transfer_account_name,
                    sandbox_rail=BANK_RAIL if bank else "",
                ),
                limits=PayerLimits(max_attempts=settings.max_attempts, max_otp_sends=settings.max_otp_sends),
            ),
            return_url=return_url,
            public_url=settings.public_url,
        )
        bank_pages = BankPages(keyring, clock, bank.rail.answer_challenge, templates).routes() if bank else ()
        return payer_site(deps, self._open_pages, bank_pages)

    def start(self) -> None:
        _collect_garbage_seldom()
        self._engine.start()
        self._reader.start()
        self._telling.start()
        settings = self._settings
        self._workers.start(
            (self._expiry.expire, settings.sweep_interval_seconds),
            (self._recovery.finish_attempts, settings.sweep_interval_seconds),
            (self._housekeeping.purge, settings.purge_interval_seconds),
            (self._housekeeping.checkpoint, CHECKPOINT_SECONDS),
            (self._timekeeping.keep, LOOK_SECONDS),
            (self._telling.place, settings.sequencer_interval_seconds),
            (self._transfers.route_overdue, settings.sweep_interval_seconds),
        )

    def stopping(self) -> None:
        """End what would never end by itself, once the server begins to stop."""
        self.api.stopping()
        self._open_pages.end()

    async def close(self) -> None:
        """Stop what begins work before what carries it out, so that nothing accepted is lost."""
        loop, store = asyncio.get_running_loop(), self._threads.store
        hanging = loop.call_later(_LAST_COMMITS_SECONDS, store.interrupt)
        await self._workers.close()
        await self.api.close()
        await self._open_pages.close()
        await self._telling.close()
        await self._desk.close(_LAST_CALLS_SECONDS)
        await self._engine.close()
        await self._reader.close()
        await asyncio.to_thread(self._threads.close)
        hanging.cancel()
        store.close()
        if self._bank is not None:
            self._bank.close()


class _Telling:
    """The way of committed events to merchants' endpoints; to be made inside the running event loop."""

    def __init__(self, settings: Settings, threads: StoreThreads, keyring: Keyring, clock: Clock, ids: Ids):
        if settings.allow_loopback_webhooks and not settings.for_a_developer:
            _log.warning("WEBHOOKS_MAY_REACH_THIS_MACHINE", setting="OPENTILL_ALLOW_LOOPBACK_WEBHOOKS")
        self.guard = Guard(allow_loopback=settings.allow_loopback_webhooks)
        self.poster = Poster(self.guard, settings.webhook_timeout_seconds)
        self.keys = EndpointKeys(keyring)
        vault = CardVault(keyring)
        render = partial(payload.render, account_name=settings.transfer_account_name)
        self._sequencer = Sequencer(threads=threads, clock=clock, holder=ids.uuid(), render=render)
        self._sender = DeliverySender(
            threads=threads,
            poster=self.poster,
            signer=self._sign,
            opener=partial(token_keys.opened, open_token_key=vault.open_token_key),
            clock=clock,
            settings=SenderSettings(
                schedule=Schedule(settings.webhook_schedule_seconds),
                patience=Patience(
                    milliseconds=round(settings.webhook_pause_hours * 3_600_000),
                    tries=settings.webhook_pause_tries,
                ),
            ),
        )

    def _sign(self, outgoing: Outgoing, at: int) -> dict[str, str]:
        keys = self.keys.of(outgoing.endpoint)
        return signature.headers(outgoing.body, outgoing.delivery.event_id, keys, at)

    async def place(self) -> int:
        """Give committed events their places, and let what they say go out at once."""
        placed = await self._sequencer.place()
        if placed:
            self._sender.wake()
        return placed

    def start(self) -> None:
        """Begin to deliver."""
        self._sender.start()

    async def close(self) -> None:
        """Let tries under way end for a moment, write them down, and close all connections."""
        await self._sender.close(_LAST_CALLS_SECONDS)
        await self.poster.close()
        self.guard.close()


class _SandboxBank:
    """The rails of a sandbox, and how they are told what to do.

    Live mode has none, and takes no card itself: a live rail does that on its own page (ruling 15).
    """

    def __init__(self, settings: Settings, keyring: Keyring, clock: Clock):
        self._journal = RailJournal(journal_of(settings.database_url, settings.data_dir))
        self._url = f"{settings.public_url}{BANK_PATH}"
        self._keyring = keyring
        self._clock = clock
        delay = settings.sandbox_rail_delay_milliseconds
        self.rail = SandboxCardRail(self._journal, delay, self._challenge, keyring.sandbox_card_token)
        self.payouts = PayoutRails(
            SandboxCardPayouts(self._journal, delay), SandboxTransferPayouts(self._journal, delay)
        )

    def _challenge(self, transaction_id: str, return_url: str) -> Challenge:
        expires_at = self._clock.now() + CHALLENGE_SECONDS * 1000
        jwt = self._keyring.sign_challenge(transaction_id, return_url, expires_at)
        return Challenge(self._url, jwt, transaction_id)

    async def switch_rail(
        self, operation: str, outcome: str | None, delay_milliseconds: int, calls: int
    ) -> None:
        """Make the next calls behave so, on every process, as ``RailJournal.set_switch`` says."""
        switch = RailSwitch(operation, outcome, delay_milliseconds)
        await asyncio.to_thread(self._journal.set_switch, switch, calls)

    def close(self) -> None:
        """Give back the journal."""
        self._journal.close()


def _collect_garbage_seldom() -> None:
    """Leave what was loaded at start out of collections, and make them a hundred times rarer.

    What a request allocates dies by reference count; collecting cycles at Python's default pace costs a
    third of the processor time of a cancel and doubles its slowest answers (docs/decisions/0002).
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 50, 100)


def card_payment_settings(settings: Settings) -> CardPaymentSettings:
    """Pick the settings of the card payment service."""
    return CardPaymentSettings(
        timeout_seconds=settings.card_timeout_seconds,
        grace_seconds=settings.call_grace_seconds,
        refund_wait_seconds=settings.refund_wait_seconds,
        max_otp_tries=settings.max_otp_tries,
    )
