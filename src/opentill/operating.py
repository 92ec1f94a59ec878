"""An engine for the length of one command, beside whatever servers run on the same database.

Apart from ``app.py``, so that a command that serves nobody does not load what serves.
"""

import asyncio
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final, TypeVar

from opentill.bootstrap import Bootstrap
from opentill.clock import Clock, Ids, RandomIds
from opentill.domain.commands import Actor, ActorKind, CreateOrder
from opentill.domain.order import OrderStatus, Terms
from opentill.domain.sharing import FeeTerms
from opentill.engine.engine import Engine, EngineSettings
from opentill.engine.reader import Reader
from opentill.engine.threads import StoreThreads
from opentill.keys.keyring import Keyring
from opentill.rails.rail import NoTransferPayouts
from opentill.rails.sandbox.journal import RailJournal, journal_of
from opentill.rails.sandbox.payouts import SandboxTransferPayouts
from opentill.rails.transfer_payments import TransferPaymentService, TransferSettings
from opentill.settings import Settings
from opentill.store.accounts.contract import Mode
from opentill.store.errors import StoreUnusable
from opentill.store.interface import Store
from opentill.workers.expiry import Expiry

DEMO_REFERENCE: Final = "opentill-demo"
DEMO_AMOUNT_MINOR: Final = 10_000_00

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Operating:
    """The parts by which a person at the keyboard decides on money, also beside running servers."""

    engine: Engine
    reader: Reader
    threads: StoreThreads
    transfers: TransferPaymentService
    ids: Ids


@asynccontextmanager
async def operating(bootstrap: Bootstrap) -> AsyncIterator[Operating]:
    """Run an engine for the length of one command. Rails are called only to close ids."""
    clock, ids, settings = bootstrap.clock, RandomIds(), bootstrap.settings
    threads = StoreThreads(bootstrap.store)
    engine = Engine(threads, clock, engine_settings(settings))
    reader = Reader(threads, settings.queue_limit, clock)
    journal = _journal(settings)
    transfers = TransferPaymentService(
        engine=engine,
        reader=reader,
        threads=threads,
        rail=SandboxTransferPayouts(journal, 0) if journal else NoTransferPayouts(),
        clock=clock,
        ids=ids,
        settings=transfer_settings(settings),
    )
    engine.start()
    reader.start()
    try:
        yield Operating(engine, reader, threads, transfers, ids)
    finally:
        await engine.close()
        await reader.close()
        threads.close()
        if journal:
            journal.close()


def _journal(settings: Settings) -> RailJournal | None:
    """Open the sandbox's rail, which a person's decision may have to ask; live mode has none."""
    if settings.mode is not Mode.SANDBOX:
        return None
    return RailJournal(journal_of(settings.database_url, settings.data_dir))


def carry_out_due(store: Store, clock: Clock, ids: Ids) -> int:
    """End every order that is due by now, beside whatever server works on the store; returns how many."""

    async def carry_out(threads: StoreThreads, engine: Engine) -> int:
        reader = Reader(threads, EngineSettings().queue_limit, clock)
        reader.start()
        try:
            return await Expiry(engine=engine, reader=reader, clock=clock, ids=ids).catch_up(math.inf)
        finally:
            await reader.close()

    return asyncio.run(_with_engine(store, clock, carry_out))


async def _with_engine(store: Store, clock: Clock, work: Callable[[StoreThreads, Engine], Awaitable[T]]) -> T:
    """Do something through an engine of its own, outside any server."""
    threads = StoreThreads(store)
    engine = Engine(threads, clock, EngineSettings())
    engine.start()
    try:
        return await work(threads, engine)
    finally:
        await engine.close()
        threads.close()


def demo_link(bootstrap: Bootstrap, clock: Clock, ids: Ids) -> str:
    """Return a payer link to an unpaid order of the default merchant; open one by the engine if need be."""
    account_id = bootstrap.store.accounts.default_account_id()
    if account_id is None:
        raise StoreUnusable("There is no default merchant to open a demo order for.")
    order_id = asyncio.run(_open_demo_order(bootstrap.store, account_id, clock, ids))
    return checkout_link(bootstrap.settings, bootstrap.keyring, account_id, order_id)


def checkout_link(settings: Settings, keyring: Keyring, account_id: str, order_id: str) -> str:
    """Return the payer's link to an order (contract 1.1)."""
    return f"{settings.public_url}/checkout/{keyring.link_token(account_id, order_id)}"


async def _open_demo_order(store: Store, account_id: str, clock: Clock, ids: Ids) -> str:
    """Return the id of the first demo order that can still be paid; open the next one if all have ended."""

    async def open_order(_threads: StoreThreads, engine: Engine) -> str:
        for reference in _demo_references():
            with store.snapshot() as snapshot:
                view = snapshot.orders([(account_id, reference)]).get((account_id, reference))
            if view is not None and view.order.status is OrderStatus.PENDING:
                return view.order.order_id
            if view is None:
                command = _demo_order(account_id, reference, ids)
                await engine.submit(command)
                return command.order_id
        raise StoreUnusable("Every demo order has ended; start with a fresh data folder.")

    return await _with_engine(store, clock, open_order)


def _demo_references() -> Iterator[str]:
    yield DEMO_REFERENCE
    yield from (f"{DEMO_REFERENCE}-{number}" for number in range(2, 10_000))


def _demo_order(account_id: str, reference: str, ids: Ids) -> CreateOrder:
    return CreateOrder(
        account_id=account_id,
        command_id=ids.uuid(),
        actor=Actor(ActorKind.OPERATOR, "serve"),
        order_id=ids.uuid(),
        reference=reference,
        amount=DEMO_AMOUNT_MINOR,
        currency="NGN",
        terms=Terms(customer_email="payer@example.com"),
    )


def transfer_settings(settings: Settings) -> TransferSettings:
    """Pick the settings of the transfer payment service."""
    return TransferSettings(
        bank_code=settings.transfer_bank_code,
        account_prefix=settings.transfer_account_prefix,
        rest_days=settings.transfer_account_rest_days,
        timeout_seconds=settings.transfer_timeout_seconds,
        grace_seconds=settings.call_grace_seconds,
        retry_seconds=settings.return_retry_seconds,
        max_tries=settings.return_max_tries,
    )


def engine_settings(settings: Settings) -> EngineSettings:
    """Pick the settings of the engine."""
    return EngineSettings(
        max_batch=settings.max_batch if settings.group_commit else 1,
        queue_limit=settings.queue_limit,
        key_seconds=settings.idempotency_hours * 3600,
        key_wait_seconds=settings.idempotency_wait_seconds,
        fee=FeeTerms(settings.fee_basis_points, settings.fee_cap_minor),
    )
