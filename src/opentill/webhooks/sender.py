"""The loop that delivers: claim what is due, post it, write down what became of it.

Every process runs one; a claim is a lease, so that no two try the same delivery at once. What a crash
interrupts is due again when its lease has run out: everything is delivered at least once.

One endpoint never waits for another's. Each has a window of tries in flight, which grows while it accepts
and shrinks while it fails, and those that are not known to accept share half of all places.
"""

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, TypeAlias
from zlib import crc32

import structlog

from opentill.clock import Clock
from opentill.engine.errors import EngineError
from opentill.engine.queue import Queue, QueueLimits
from opentill.engine.threads import StoreThreads
from opentill.store.errors import CommitUnknown, StoreError, Transient
from opentill.store.outbox.contract import Delivery, DeliveryState, Endpoint, Outgoing, Patience, Tried
from opentill.webhooks.pacing import Schedule, Window, Windows
from opentill.webhooks.poster import PostAnswer, Poster
from opentill.webhooks.token_keys import Opened

Signer: TypeAlias = Callable[[Outgoing, int], dict[str, str]]
"""The headers that sign a delivery at this moment of real time (UTC milliseconds)."""

Opener: TypeAlias = Callable[[Outgoing], Opened]
"""Opens what is kept sealed in a body."""

GRACE_SECONDS: Final = 20.0
"""How much longer than a try its lease lasts: for waiting to be recorded."""
CLAIM: Final = 128
"""The most that is claimed, and recorded, at once."""
RECORDED_AGAIN: Final = 2
"""How often a record is made again when the database says that this may help."""
PAUSE_MILLISECONDS: Final = 20
PATIENCE: Final = Patience(milliseconds=24 * 3_600_000, tries=5)

_log = structlog.get_logger("opentill.webhooks")


@dataclass(frozen=True, slots=True, kw_only=True)
class SenderSettings:
    """The sender's limits."""

    schedule: Schedule = field(default_factory=Schedule)
    most_in_flight: int = 512
    """Tries under way or waiting to be recorded, to all endpoints together."""
    most_per_endpoint: int = 32
    poll_seconds: float = 0.5
    """Pause between two looks for what is due while nobody says that there is something."""
    patience: Patience = PATIENCE
    """With endpoints that do nothing but fail, before they are left alone."""


@dataclass(slots=True)
class SenderCounts:
    """The doings of one sender since it was started."""

    delivered: int = 0
    failed: int = 0
    dead: int = 0
    paused: int = 0
    looks: int = 0
    """How often it has looked for what is due."""
    in_flight: int = 0
    """How many tries are under way or waiting to be recorded now."""


class DeliverySender:
    """Delivers what is due until it is closed."""

    def __init__(
        self,
        *,
        threads: StoreThreads,
        poster: Poster,
        signer: Signer,
        opener: Opener = Opened,
        clock: Clock,
        settings: SenderSettings,
    ):
        self.counts = SenderCounts()
        self._threads = threads
        self._poster = poster
        self._sign = signer
        self._open = opener
        self._clock = clock
        self._settings = settings
        self._windows = Windows(settings.most_per_endpoint, settings.most_in_flight // 2)
        self._lease_milliseconds = round((poster.timeout_seconds + GRACE_SECONDS) * 1000)
        self._records: Queue[Tried, None] = Queue(
            self._write_down, QueueLimits(CLAIM, 2 * settings.most_in_flight)
        )
        self._tries: set[asyncio.Task[None]] = set()
        self._wake = asyncio.Event()
        self._closing = False
        self._loop_task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to deliver; call once, inside the running event loop."""
        self._records.start()
        self._loop_task = asyncio.create_task(self._serve(), name="sender")

    def wake(self) -> None:
        """Say that something may be due now; without being told, the sender looks after ``poll_seconds``."""
        self._wake.set()

    async def close(self, seconds: float = 1.0) -> None:
        """Claim nothing more, give tries under way so long to end, and write down what became of them.

        Those that have not ended are left to their leases and tried again after them.
        """
        self._closing = True
        self._wake.set()
        if self._loop_task is not None:
            await self._loop_task
        if self._tries:
            await asyncio.wait(self._tries, timeout=seconds)
        for each in self._tries:
            each.cancel()
        await asyncio.gather(*self._tries, return_exceptions=True)
        await self._records.close()

    # --- claiming -----------------------------------------------------------------------------------

    async def _serve(self) -> None:
        while not self._closing:
            self._wake.clear()
            claimed = await self._claim()
            self.counts.looks += 1
            for outgoing in claimed:
                self._begin(outgoing)
            if not claimed or not self._free:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._wake.wait(), self._settings.poll_seconds)

    @property
    def _free(self) -> int:
        return self._settings.most_in_flight - len(self._tries)

    async def _claim(self) -> Sequence[Outgoing]:
        """Claim what is to be tried now; nothing when the store can not say."""
        now, limit = self._clock.now(), min(self._free, CLAIM)
        if limit <= 0:
            return ()
        room, room_of_others = self._windows.room()
        try:
            return await self._threads.write(
                self._threads.store.outbox.claim_deliveries,
                now,
                now + self._lease_milliseconds,
                limit,
                room,
                room_of_others,
            )
        except StoreError as error:
            _log.warning("claim_waits", error=type(error).__name__)
        except Exception:  # noqa: BLE001 - a bug in one round must not end the loop
            _log.exception("claim_failed")
        return ()

    def _begin(self, outgoing: Outgoing) -> None:
        window = self._windows.of(outgoing.endpoint)
        window.in_flight += 1
        task = asyncio.create_task(self._deliver(outgoing, window))
        self._tries.add(task)
        self.counts.in_flight = len(self._tries)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tries.discard(task)
        self.counts.in_flight = len(self._tries)
        self._wake.set()

    # --- one try ------------------------------------------------------------------------------------

    async def _deliver(self, outgoing: Outgoing, window: Window) -> None:
        try:
            answer = await self._post(outgoing)
            window.learn(accepted=answer.accepted)
        finally:
            window.in_flight -= 1
            self._wake.set()  # there is room at this endpoint before the record is written
        try:
            await self._records.submit(self._judge(outgoing.delivery, answer), outgoing.endpoint.account_id)
        except (EngineError, StoreError) as error:  # the lease will run out, and it is tried again
            _log.warning("try_not_recorded", error=type(error).__name__, **_names(outgoing.delivery))
        except Exception:  # noqa: BLE001 - as above, whatever it was
            _log.exception("try_not_recorded", **_names(outgoing.delivery))

    async def _post(self, outgoing: Outgoing) -> PostAnswer:
        """Post a delivery, signed anew for each try; the body is the same each time."""
        try:
            opened = self._open(outgoing)
            headers = self._sign(opened.outgoing, self._clock.now())
            answer = await self._poster.post(outgoing.endpoint.url, opened.outgoing.body, headers)
            return replace(answer, text=opened.without_secret(answer.text))
        except Exception:  # noqa: BLE001 - one delivery that can not be sent must not be claimed for ever
            _log.exception("try_failed", **_names(outgoing.delivery))
            return PostAnswer(None, "The delivery could not be made; the server's log says why.", 0)

    def _judge(self, delivery: Delivery, answer: PostAnswer) -> Tried:
        """Judge what becomes of the delivery after this answer."""
        now, next_try_at, state = self._clock.now(), None, DeliveryState.DELIVERED
        if not answer.accepted:
            tries = delivery.tries + 1
            next_try_at = self._settings.schedule.next_try_at(tries, now, _chance(delivery, tries))
            state = DeliveryState.DEAD if next_try_at is None else DeliveryState.PENDING
        self._count(delivery, state)
        return Tried(
            account_id=delivery.account_id,
            delivery_id=delivery.delivery_id,
            endpoint_id=delivery.endpoint_id,
            state=state,
            next_try_at=next_try_at,
            status=answer.status,
            response=answer.text,
            at=now,
        )

    def _count(self, delivery: Delivery, state: DeliveryState) -> None:
        if state is DeliveryState.DELIVERED:
            self.counts.delivered += 1
            return
        self.counts.failed += 1
        if state is DeliveryState.DEAD:
            self.counts.dead += 1
            _log.warning("delivery_dead", **_names(delivery))

    async def _write_down(self, tries: Sequence[Tried]) -> Sequence[None]:
        """Write down all tries that have ended meanwhile, in one transaction."""
        for endpoint in await self._threads.write(self._record, tries):
            self.counts.paused += 1
            _log.warning("endpoint_paused", account_id=endpoint.account_id, endpoint_id=endpoint.endpoint_id)
        return [None] * len(tries)

    def _record(self, tries: Sequence[Tried]) -> Sequence[Endpoint]:
        """Record tries on the writer thread, trying a few times: what is not recorded is delivered twice."""
        patience = self._settings.patience
        for _ in range(RECORDED_AGAIN):
            try:
                return self._threads.store.outbox.record_tries(tries, patience)
            except (Transient, CommitUnknown) as error:  # a claim is ended once, however often it is said
                _log.warning("record_runs_again", tries=len(tries), error=str(error))
                self._clock.pause(PAUSE_MILLISECONDS)
        return self._threads.store.outbox.record_tries(tries, patience)


def _names(delivery: Delivery) -> dict[str, str]:
    return {
        "account_id": delivery.account_id,
        "endpoint_id": delivery.endpoint_id,
        "delivery_id": delivery.delivery_id,
    }


def _chance(delivery: Delivery, tries: int) -> float:
    """Pick a number from 0 to 1, the same for the same try: delivery ids are random enough to spread them."""
    return crc32(f"{delivery.delivery_id}/{tries}".encode()) / 2**32
