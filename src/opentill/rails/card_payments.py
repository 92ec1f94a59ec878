"""The only caller of the card rail, and of refunds: intention (commit), call, answer (commit).

A rail is never called inside a transaction, and its answer is never thrown away: the call goes on
when the client has gone, and whatever a crash leaves between the two commits ``finish`` finds out by
asking the rail about that same attempt or refund.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Final, TypeAlias, TypeVar

import structlog
from msgspec.structs import replace

from opentill.clock import Clock, Ids
from opentill.domain.commands import (
    Actor,
    ActorKind,
    BeginAttempt,
    BeginRefund,
    CancelOrRefund,
    ChargeSavedCard,
    Command,
    RailOutcome,
    RefundOutcome,
    ResendOtp,
    ReturnFromChallenge,
    SettleAttempt,
    SettleRefund,
    SubmitOtp,
)
from opentill.domain.order import (
    Attempt,
    AttemptStatus,
    CallKind,
    KeptCard,
    Order,
    RailCall,
    Refund,
    RefundStatus,
    SavedCard,
)
from opentill.domain.refusals import Refusal
from opentill.domain.transition import Change
from opentill.engine.engine import Engine, Outcome, Render, Result
from opentill.engine.errors import EngineError, Overloaded
from opentill.keys.card_vault import CardVault
from opentill.rails.payouts import PayoutCalls, PayoutRails, tell_disputed
from opentill.rails.rail import (
    BankAccount,
    Card,
    CardRail,
    PasswordAnswer,
    Payout,
    PayoutAnswer,
    PayoutKind,
    RailAnswer,
    RailCard,
    sender_account,
)
from opentill.store.orders.contract import KeyClaim, StoredReply, TokenId

RAIL: Final = Actor(ActorKind.RAIL)
NO_ANSWER: Final = RailAnswer(RailOutcome.SILENT, "", "The payment is being checked")
NO_PASSWORD_ANSWER: Final = PasswordAnswer(accepted=False, message="The password could not be checked")
NO_PAYOUT_ANSWER: Final = PayoutAnswer(RefundOutcome.SILENT, "", "The refund is being processed")
T = TypeVar("T")

ReturnUrl: TypeAlias = Callable[[str, str], str]
"""Where the payer comes back from a 3-D Secure challenge, by account id and transaction id."""

_log = structlog.get_logger("opentill.card_payments")


@dataclass(frozen=True, slots=True)
class CardPaymentSettings:
    """The time that rails are given, and the number of guesses that a payer has."""

    timeout_seconds: float = 20.0
    grace_seconds: float = 10.0
    """How much longer than the time-out a call belongs to its caller before a worker looks it up."""
    refund_wait_seconds: float = 5.0
    """How long a refund is waited for before it is answered as running (laws 4)."""
    max_otp_tries: int = 5


@dataclass(frozen=True, slots=True)
class Asking:
    """The surroundings of a call: how its answer is rendered, its idempotency key, its token."""

    render: Render
    claim: KeyClaim | None = None
    token: TokenId | None = None


class CardPaymentService:
    """Takes card payments, and gives them back, from intention to answer.

    Every call that begins something raises what ``Engine.submit`` raises, and Overloaded when the server
    stops before the rail answers. Its ``render`` gets the settled Change, or the Refusal if it never began.
    """

    def __init__(
        self,
        engine: Engine,
        rail: CardRail,
        payouts: PayoutRails,
        clock: Clock,
        ids: Ids,
        settings: CardPaymentSettings,
        vault: CardVault,
        render_late: Callable[[CallKind, str], Render],
    ):
        """Take the rails; money goes out by ``payouts``.

        ``render_late`` gives the wire's reply to a call whose caller is gone, by kind and id.
        """
        self._engine = engine
        self._rail = rail
        self._by_card = PayoutCalls(payouts.cards, settings.timeout_seconds)
        self._by_transfer = PayoutCalls(payouts.transfers, settings.timeout_seconds)
        self._clock = clock
        self._ids = ids
        self._settings = settings
        self._vault = vault
        self._render_late = render_late
        self._running: set[asyncio.Task[Any]] = set()

    def call_until(self) -> int:
        """Return until when a call that starts now belongs to its caller (real time, UTC milliseconds)."""
        seconds = self._settings.timeout_seconds + self._settings.grace_seconds
        return self._clock.now() + int(seconds * 1000)

    async def charge(self, command: BeginAttempt, card: Card, return_url: str, asking: Asking) -> Result:
        """Charge a card; a 3-D Secure challenge would end at ``return_url``.

        The rail keeps it where the order's merchant or the payer wants that, whichever way it came here.
        """
        transaction_id = command.transaction_id

        def call(order: Order) -> Awaitable[RailAnswer]:
            keep = order.tokenize_card or command.save_card
            return self._rail.charge(
                transaction_id, order.amount, order.currency, card, return_url, keep=keep
            )

        return await self._finish_later(self._both_phases(command, call, asking))

    async def charge_again(self, command: ChargeSavedCard, card: SavedCard | None, asking: Asking) -> Result:
        """Open an order and charge a saved card of its merchant for it; without one it is refused.

        Raises Unsealable, before anything is done, for a card of another merchant.
        """
        token = self._vault.rail_token(card) if card else ""

        def call(order: Order) -> Awaitable[RailAnswer]:
            return self._rail.charge_again(command.transaction_id, order.amount, order.currency, token)

        return await self._finish_later(self._both_phases(command, call, asking))

    async def send_password(self, about: str, phone_number: str | None) -> None:
        """Send a shopper a one-time password; ``about`` names the order where that does not succeed."""
        self._in_background(self._heard(self._rail.send_password(phone_number), about, None))

    async def check_password(self, about: str, otp: str) -> PasswordAnswer:
        """Check the password that the shopper was sent; not accepted while the rail is silent."""
        return await self._heard(self._rail.check_password(otp), about, NO_PASSWORD_ANSWER)

    async def confirm(self, command: SubmitOtp, otp: str, asking: Asking) -> Result:
        """Confirm an attempt with the payer's one-time password."""

        def call(order: Order) -> Awaitable[RailAnswer]:
            tries = _attempt(order, command.transaction_id).confirmations
            return self._rail.confirm(command.transaction_id, tries, otp)

        return await self._finish_later(self._both_phases(command, call, asking))

    async def return_from_challenge(self, command: ReturnFromChallenge, asking: Asking) -> Result:
        """Find out how the payer's 3-D Secure challenge ended, and take the money if it was passed."""

        def call(_: Order) -> Awaitable[RailAnswer]:
            return self._rail.complete_challenge(command.transaction_id)

        return await self._finish_later(self._both_phases(command, call, asking))

    async def resend_otp(self, command: ResendOtp, asking: Asking) -> Result:
        """Send the payer the one-time password again, as often as that is allowed."""
        result = await self._submit(command, asking, asking.render)
        if isinstance(result.outcome, Change):
            transaction_id = result.outcome.events[-1].transaction_id or ""
            self._in_background(self._heard(self._rail.resend_otp(transaction_id), transaction_id, None))
        return result

    async def refund(self, command: BeginRefund | CancelOrRefund, asking: Asking) -> Result:
        """Give paid money back. Answers when the rail has, or after a few seconds as running.

        A cancel that begins no refund is answered by its own commit.
        """
        return await self._finish_later(self._refund(command, asking))

    async def _refund(self, command: BeginRefund | CancelOrRefund, asking: Asking) -> Result:
        begun = await self._submit(command, asking, _unless_begun(command.refund_id, asking.render))
        if not isinstance(begun.outcome, Change):
            return begun
        refund = begun.outcome.after.refund(command.refund_id)
        if refund is None:
            return begun
        work = self._in_background(self._pay_back_all(begun.outcome, refund, asking.render))
        done, _ = await asyncio.wait({work}, timeout=self._settings.refund_wait_seconds)
        if done and not work.cancelled():
            return work.result()
        return await self._settle_refund(begun.outcome.after, refund, NO_PAYOUT_ANSWER, asking.render)

    async def finish(self, order: Order) -> None:
        """Settle every call of this order whose caller is taken for dead."""
        now = self._clock.now()
        for attempt in order.attempts:
            if attempt.call is not None and attempt.call.until <= now:
                await self._finish_attempt(order, attempt, attempt.call)
        for refund in order.refunds:
            if refund.call is not None and refund.call.until <= now:
                render = self._render_late(refund.call.kind, refund.refund_id)
                await self._finish_refund(order, refund, render)

    async def close(self, seconds: float) -> None:
        """Wait so long for calls that are running, then leave them to the worker of the next start."""
        running = list(self._running)
        if running:
            _, late = await asyncio.wait(running, timeout=seconds)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    # --- attempts ---------------------------------------------------------------------------------

    async def _both_phases(
        self,
        command: BeginAttempt | ChargeSavedCard | SubmitOtp | ReturnFromChallenge,
        call: Callable[[Order], Awaitable[RailAnswer]],
        asking: Asking,
    ) -> Result:
        begun = await self._submit(command, asking, _refusals_only(asking.render))
        if not isinstance(begun.outcome, Change):
            return begun
        order, transaction_id = begun.outcome.after, command.transaction_id
        answer = await self._heard(call(order), transaction_id, NO_ANSWER)
        attempt = _attempt(order, transaction_id)
        result = await self._settle(order, attempt, answer, asking.render)
        if _is_voiding(result.outcome, transaction_id):
            self._in_background(self._void(order, attempt))
        return result

    async def _settle(
        self, order: Order, attempt: Attempt, answer: RailAnswer, render: Render | None = None
    ) -> Result:
        command = SettleAttempt(
            account_id=order.account_id,
            command_id=self._ids.uuid(),
            actor=RAIL,
            name=order.order_id,
            transaction_id=attempt.transaction_id,
            outcome=answer.outcome,
            answers_try=attempt.confirmations,
            response_code=answer.response_code,
            message=answer.message,
            call_until=self.call_until(),
            max_otp_tries=self._settings.max_otp_tries,
            challenge=answer.challenge,
            kept_card=self._kept(order, answer.card),
        )
        key = attempt.call.key if attempt.call and render else None
        return await self._engine.submit(command, render=render, completes_key=key)

    def _kept(self, order: Order, card: RailCard | None) -> KeptCard | None:
        return self._vault.keep(order.account_id, card.token, card.expiry) if card else None

    async def _void(self, order: Order, attempt: Attempt) -> None:
        transaction_id = attempt.transaction_id
        answer = await self._heard(self._rail.void(transaction_id), transaction_id, NO_ANSWER)
        if answer.outcome is RailOutcome.VOIDED:
            try:
                await self._settle(order, attempt, answer)
            except EngineError as error:
                _log.warning("void_unsettled", transaction_id=transaction_id, error=type(error).__name__)

    async def _finish_attempt(self, order: Order, attempt: Attempt, call: RailCall) -> None:
        if call.kind is CallKind.VOID:
            await self._void(order, attempt)
            return
        work = self._found_out(attempt.transaction_id, call.kind)
        answer = await self._heard(work, attempt.transaction_id, None)
        if answer is None:
            return
        render = self._render_late(call.kind, attempt.transaction_id)
        result = await self._settle(order, attempt, answer, render)
        if _is_voiding(result.outcome, attempt.transaction_id):
            await self._void(order, attempt)

    async def _found_out(self, transaction_id: str, kind: CallKind) -> RailAnswer | None:
        """Return what became of a call nobody heard the answer of; None while that can not be said.

        "Never seen" is not "did not happen": the id is voided first, so that a late arrival is refused.
        So is a confirmation that may still be on its way to the rail, and a challenge nobody knows of.
        """
        answer = await self._rail.look_up(transaction_id)
        lost = {RailOutcome.CHALLENGE_REQUIRED}
        if kind is not CallKind.CHARGE:
            lost.add(RailOutcome.OTP_REQUIRED)
        if answer is not None and answer.outcome not in lost:
            return answer
        ended = await self._rail.void(transaction_id)
        return ended if ended.outcome in {RailOutcome.VOIDED, RailOutcome.NEVER_HAPPENED} else None

    # --- refunds ----------------------------------------------------------------------------------

    async def _pay_back_all(self, begun: Change, first: Refund, render: Render) -> Result:
        """Pay back all that one command began, side by side; the first, whose reply tells of all, last."""
        order, further = begun.after, _further_parts(begun, first.refund_id)
        parts = [self._in_background(self._pay_back_part(order, part, render)) for part in further]
        answer = await self._payout_answer(order, first)
        if parts:
            await asyncio.wait(parts)
        return await self._settle_refund(order, first, answer, render)

    async def _pay_back(self, order: Order, refund: Refund, render: Render) -> Result:
        return await self._settle_refund(order, refund, await self._payout_answer(order, refund), render)

    async def _payout_answer(self, order: Order, refund: Refund) -> PayoutAnswer:
        """Ask the rail, always under the refund's one id; a try of unknown outcome is looked up first."""
        return await self._calls(order, refund).pay(_payout(order, refund))

    async def _pay_back_part(self, order: Order, refund: Refund, render: Render) -> None:
        """Pay back one of the senders of a payment made of several transfers."""
        try:
            await self._pay_back(order, refund, render)
        except EngineError as error:
            _log.warning("refund_unsettled", refund_id=refund.refund_id, error=type(error).__name__)

    async def _finish_refund(self, order: Order, refund: Refund, render: Render) -> None:
        """Find out about a refund whose caller is taken for dead, or who heard no answer.

        Before the rail is asked once more it is committed that the try before has no answer.
        """
        calls = self._calls(order, refund)
        if refund.status is RefundStatus.CLOSING:
            await self._close(order, refund, render)
            return
        known = await calls.look_up(refund.refund_id)
        if known is None or known.outcome is RefundOutcome.REFUSED:
            if not await self._give_up_try(order, refund):
                return
            known = known or await calls.pay(_payout(order, refund))
        await self._settle_refund(order, refund, known, render)

    async def _give_up_try(self, order: Order, refund: Refund) -> bool:
        """Commit that the first try has no answer; whoever asked is answered when the refund ends."""
        if refund.status is not RefundStatus.RUNNING:
            return True
        command = replace(self._settlement(order, refund, NO_PAYOUT_ANSWER), keeps_key=True)
        outcome = (await self._engine.submit(command)).outcome
        left = outcome.after.refund(refund.refund_id) if isinstance(outcome, Change) else None
        return left is not None and left.status is RefundStatus.UNKNOWN

    async def _settle_refund(
        self, order: Order, refund: Refund, answer: PayoutAnswer, render: Render
    ) -> Result:
        """Record the answer, or for now that there is none; the first reply under its key stays for ever.

        What was refused beside a try without an answer is closed at once.
        """
        key = refund.call.key if refund.call else None
        command = self._settlement(order, refund, answer)
        result = await self._engine.submit(command, render=render, completes_key=key)
        tell_disputed(result.outcome)
        left = result.outcome.after.refund(refund.refund_id) if isinstance(result.outcome, Change) else None
        if left is not None and left.status is RefundStatus.CLOSING:
            return await self._close(order, left, render) or result
        return result

    async def _close(self, order: Order, refund: Refund, render: Render) -> Result | None:
        """Have the rail close the refund's id, and record how it ended; None while the rail is silent."""
        answer = await self._calls(order, refund).close(refund.refund_id)
        if answer.outcome is RefundOutcome.SILENT:
            return None
        result = await self._engine.submit(self._settlement(order, refund, answer), render=render)
        tell_disputed(result.outcome)
        return result

    def _settlement(self, order: Order, refund: Refund, answer: PayoutAnswer) -> SettleRefund:
        return SettleRefund(
            account_id=order.account_id,
            command_id=self._ids.uuid(),
            actor=RAIL,
            transaction_id=refund.transaction_id,
            refund_id=refund.refund_id,
            outcome=answer.outcome,
            response_code=answer.response_code,
            message=answer.message,
        )

    def _calls(self, order: Order, refund: Refund) -> PayoutCalls:
        return self._by_transfer if order.credit(refund.transaction_id) else self._by_card

    # --- what all calls share -----------------------------------------------------------------------

    async def _submit(self, command: Command, asking: Asking, render: Render) -> Result:
        return await self._engine.submit(command, render=render, claim=asking.claim, token=asking.token)

    async def _heard(self, call: Awaitable[T], about: str, silence: T) -> T:
        """Return the rail's answer, or ``silence`` when it takes too long or fails in any way."""
        try:
            async with asyncio.timeout(self._settings.timeout_seconds):
                return await call
        except Exception as error:  # noqa: BLE001 - a rail may fail in any way; all of them are silence
            _log.warning("rail_silent", about=about, error=type(error).__name__)
            return silence

    async def _finish_later(self, work: Coroutine[Any, Any, Result]) -> Result:
        """Run the work to its end even if whoever waits for it goes away."""
        task = self._in_background(work)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            if task.cancelled():
                raise Overloaded from None
            raise

    def _in_background(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        task = asyncio.create_task(work)
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return task


def _attempt(order: Order, transaction_id: str) -> Attempt:
    attempt = order.attempt(transaction_id)
    assert attempt is not None
    return attempt


def _further_parts(begun: Change, refund_id: str) -> list[Refund]:
    """Return the refunds that a command began beside the one of its own id."""
    ids = {event.refund_id for event in begun.events} - {refund_id, None}
    return [refund for refund in begun.after.refunds if refund.refund_id in ids]


def _payout(order: Order, refund: Refund) -> Payout:
    return Payout(
        payout_id=refund.refund_id,
        kind=PayoutKind.REFUND,
        transaction_id=refund.transaction_id,
        amount=refund.amount,
        currency=order.currency,
        to=_paid_to(order, refund),
    )


def _paid_to(order: Order, refund: Refund) -> BankAccount | None:
    """Return the named account, or the sender of the credit given back; None for the card that paid."""
    if refund.account_number is not None and refund.bank_code is not None:
        return BankAccount(refund.account_number, refund.bank_code)
    credit = order.credit(refund.from_credit) if refund.from_credit else None
    return sender_account(credit) if credit else None


def _refusals_only(render: Render) -> Render:
    """Answer the intention's commit only where it is refused; else the reply comes with the rail's."""

    def rendered(outcome: Outcome) -> StoredReply | None:
        return render(outcome) if isinstance(outcome, Refusal) else None

    return rendered


def _unless_begun(refund_id: str, render: Render) -> Render:
    """Answer like ``_refusals_only``, for what may begin a refund."""

    def rendered(outcome: Outcome) -> StoredReply | None:
        begun = isinstance(outcome, Change) and outcome.after.refund(refund_id) is not None
        return None if begun else render(outcome)

    return rendered


def _is_voiding(outcome: Outcome | None, transaction_id: str) -> bool:
    attempt = outcome.after.attempt(transaction_id) if isinstance(outcome, Change) else None
    return attempt is not None and attempt.status is AttemptStatus.VOIDING
