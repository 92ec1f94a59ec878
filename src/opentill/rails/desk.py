"""The only caller of rails: intention (commit), call, answer (commit).

A rail is never called inside a transaction, and its answer is never thrown away: the call goes on
when the client has gone, and whatever a crash leaves between the two commits ``finish`` finds out by
asking the rail about that same attempt.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Final

import structlog

from opentill.clock import Clock, Ids
from opentill.domain.commands import Actor, ActorKind, BeginAttempt, RailOutcome, SettleAttempt, SubmitOtp
from opentill.domain.lifecycle import Change
from opentill.domain.order import Attempt, AttemptStatus, Call, CallKind, Order
from opentill.domain.refusals import Refusal
from opentill.engine.engine import Engine, Outcome, Render, Result
from opentill.engine.errors import EngineError, Overloaded
from opentill.rails.rail import Card, CardRail, RailAnswer
from opentill.store.interface import KeyClaim, Reply, TokenId

RAIL: Final = Actor(ActorKind.RAIL)
NO_ANSWER: Final = RailAnswer(RailOutcome.SILENT, "", "The payment is being checked")

_log = structlog.get_logger("opentill.desk")


@dataclass(frozen=True, slots=True)
class DeskSettings:
    """How long rails are waited for, and how often a payer may guess."""

    timeout_seconds: float = 20.0
    grace_seconds: float = 10.0
    """How much longer than the time-out a call belongs to its caller before a worker looks it up."""
    max_otp_tries: int = 5


class CardDesk:
    """Takes card payments from intention to answer."""

    def __init__(
        self,
        engine: Engine,
        rail: CardRail,
        clock: Clock,
        ids: Ids,
        settings: DeskSettings,
        render_late: Callable[[CallKind, str], Render],
    ):
        """``render_late`` gives the wire's reply to a call whose caller is gone, by kind and transaction."""
        self._engine = engine
        self._rail = rail
        self._clock = clock
        self._ids = ids
        self._settings = settings
        self._render_late = render_late
        self._running: set[asyncio.Task[Any]] = set()

    def call_until(self) -> int:
        """Until when a call that starts now belongs to its caller (real time, UTC milliseconds)."""
        seconds = self._settings.timeout_seconds + self._settings.grace_seconds
        return self._clock.now() + int(seconds * 1000)

    async def charge(
        self,
        command: BeginAttempt,
        card: Card,
        *,
        render: Render,
        claim: KeyClaim | None = None,
        token: TokenId | None = None,
    ) -> Result:
        """Charge a card. ``render`` gets the settled Change, or the Refusal if it never began.

        Raises what ``Engine.submit`` raises, and Overloaded when the server stops before the rail answers.
        """

        def call(order: Order) -> Awaitable[RailAnswer]:
            return self._rail.charge(command.transaction_id, order.amount, order.currency, card)

        return await self._finish_later(self._both_phases(command, call, render, claim, token))

    async def confirm(
        self,
        command: SubmitOtp,
        otp: str,
        *,
        render: Render,
        claim: KeyClaim | None = None,
        token: TokenId | None = None,
    ) -> Result:
        """Confirm an attempt with the payer's one-time password; as ``charge``."""

        def call(order: Order) -> Awaitable[RailAnswer]:
            attempt = order.attempt(command.transaction_id)
            assert attempt is not None
            return self._rail.confirm(attempt.transaction_id, attempt.otp_tries, otp)

        return await self._finish_later(self._both_phases(command, call, render, claim, token))

    async def finish(self, order: Order) -> None:
        """Settle every call of this order whose caller is taken for dead."""
        now = self._clock.now()
        for attempt in order.attempts:
            if attempt.call is not None and attempt.call.until <= now:
                await self._finish_call(order, attempt, attempt.call)

    async def close(self, seconds: float) -> None:
        """Wait so long for calls that are running, then leave them to the worker of the next start."""
        running = list(self._running)
        if running:
            _, late = await asyncio.wait(running, timeout=seconds)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    async def _finish_later(self, work: Coroutine[Any, Any, Result]) -> Result:
        """Run the work to its end even if whoever waits for it goes away."""
        task = self._in_background(work)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            if task.cancelled():
                raise Overloaded from None
            raise

    def _in_background(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        task = asyncio.create_task(work)
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return task

    async def _both_phases(
        self,
        command: BeginAttempt | SubmitOtp,
        call: Callable[[Order], Awaitable[RailAnswer]],
        render: Render,
        claim: KeyClaim | None,
        token: TokenId | None,
    ) -> Result:
        begun = await self._engine.submit(command, render=_refusals_only(render), claim=claim, token=token)
        if not isinstance(begun.outcome, Change):
            return begun
        order, transaction_id = begun.outcome.after, command.transaction_id
        answer = await self._answer(lambda: call(order), transaction_id)
        attempt = order.attempt(transaction_id)
        key = attempt.call.key if attempt and attempt.call else None
        result = await self._settle(order, transaction_id, answer, render=render, completes_key=key)
        if _is_voiding(result.outcome, transaction_id):
            self._in_background(self._void(order, transaction_id))
        return result

    async def _answer(self, call: Callable[[], Awaitable[RailAnswer]], transaction_id: str) -> RailAnswer:
        try:
            async with asyncio.timeout(self._settings.timeout_seconds):
                return await call()
        except Exception as error:  # noqa: BLE001 - a rail may fail in any way; all of them are silence
            _log.warning("rail_silent", transaction_id=transaction_id, error=type(error).__name__)
            return NO_ANSWER

    async def _settle(
        self,
        order: Order,
        transaction_id: str,
        answer: RailAnswer,
        *,
        render: Render | None = None,
        completes_key: str | None = None,
    ) -> Result:
        attempt = order.attempt(transaction_id)
        assert attempt is not None
        command = SettleAttempt(
            account_id=order.account_id,
            command_id=self._ids.uuid(),
            actor=RAIL,
            name=order.order_id,
            transaction_id=transaction_id,
            outcome=answer.outcome,
            answers_try=attempt.otp_tries,
            response_code=answer.response_code,
            message=answer.message,
            call_until=self.call_until(),
            max_otp_tries=self._settings.max_otp_tries,
        )
        return await self._engine.submit(command, render=render, completes_key=completes_key)

    async def _void(self, order: Order, transaction_id: str) -> None:
        answer = await self._answer(lambda: self._rail.void(transaction_id), transaction_id)
        if answer.outcome is RailOutcome.VOIDED:
            try:
                await self._settle(order, transaction_id, answer)
            except EngineError as error:
                _log.warning("void_unsettled", transaction_id=transaction_id, error=type(error).__name__)

    async def _finish_call(self, order: Order, attempt: Attempt, call: Call) -> None:
        transaction_id = attempt.transaction_id
        if call.kind is CallKind.VOID:
            await self._void(order, transaction_id)
            return
        answer = await self._found_out(transaction_id, call.kind)
        if answer is None:
            return
        render = self._render_late(call.kind, transaction_id)
        result = await self._settle(order, transaction_id, answer, render=render, completes_key=call.key)
        if _is_voiding(result.outcome, transaction_id):
            await self._void(order, transaction_id)

    async def _found_out(self, transaction_id: str, kind: CallKind) -> RailAnswer | None:
        """What became of a call nobody heard the answer of; None while the rail stays silent.

        "Never seen" is not "did not happen": the id is voided first, so that a late arrival is refused.
        So is a password that may still be on its way to the rail.
        """
        try:
            async with asyncio.timeout(self._settings.timeout_seconds):
                answer = await self._rail.look_up(transaction_id)
                undecided = kind is CallKind.CONFIRM and answer and answer.outcome is RailOutcome.OTP_REQUIRED
                if answer is None or undecided:
                    answer = await self._rail.void(transaction_id)
        except Exception as error:  # noqa: BLE001 - a rail may fail in any way; the worker comes again
            _log.warning("rail_silent", transaction_id=transaction_id, error=type(error).__name__)
            return None
        return answer


def _refusals_only(render: Render) -> Render:
    """The intention's commit answers only when it is refused; else the reply comes with the rail's answer."""

    def rendered(outcome: Outcome) -> Reply | None:
        return render(outcome) if isinstance(outcome, Refusal) else None

    return rendered


def _is_voiding(outcome: Outcome | None, transaction_id: str) -> bool:
    attempt = outcome.after.attempt(transaction_id) if isinstance(outcome, Change) else None
    return attempt is not None and attempt.status is AttemptStatus.VOIDING
