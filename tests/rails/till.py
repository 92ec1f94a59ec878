"""A till that takes cards: engine, payment service and rail on a real database, and a line to hold up."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import TypeVar

from msgspec import structs

from databases import Place, rail_of
from engine.builders import begin, begin_refund, cancel_attempt, resend_otp, return_from_challenge, submit_otp
from engine.harness import FaultyStore, Renderer, ask, event_types, faulty_store, running, status
from opentill.domain.order import CallKind, Challenge, Order
from opentill.engine.batch import Outcome, Render
from opentill.engine.engine import Engine, Result
from opentill.keys.card_vault import CardVault
from opentill.keys.keyring import Keyring
from opentill.rails.card_payments import Asking, CardPaymentService, CardPaymentSettings
from opentill.rails.payouts import PayoutRails
from opentill.rails.rail import BankAccount, Card, PasswordAnswer, Payout, PayoutAnswer, RailAnswer
from opentill.rails.sandbox.card import CHALLENGE_CARD, OTP_CARD, SandboxCardRail
from opentill.rails.sandbox.journal import RailJournal, RailPayout, RailSwitch
from opentill.rails.sandbox.payouts import SandboxCardPayouts, SandboxTransferPayouts
from opentill.store.orders.contract import KeyClaim, StoredReply, TokenId
from store_factories import ACCOUNT, NOW, CountingIds, ToldClock

T = TypeVar("T")

CARD = Card(OTP_CARD, "123", "10", "30", "1234")
BANK_CARD = replace(CARD, number=CHALLENGE_CARD)
"""The card whose payer is sent to the bank (3-D Secure)."""
BAD_CARD = replace(CARD, number="4111111111111111")
SHORT = CardPaymentSettings(timeout_seconds=0.01, grace_seconds=29.99, max_otp_tries=3)
"""The rail is given up at once; like with LONG a worker may look its calls up 30 s later (told time)."""
LONG = CardPaymentSettings(timeout_seconds=20, grace_seconds=10, max_otp_tries=3)
CUT_SHORT = CardPaymentSettings(timeout_seconds=0.3, grace_seconds=29.7, max_otp_tries=3)
"""Long enough for the sandbox rail to answer, short enough to wait for one that never does."""
LATER = NOW + 30_001

PAID_BOOKINGS = [("card_rail", 1), (f"merchant:{ACCOUNT}", -1)]
REFUND_BOOKINGS = [
    *PAID_BOOKINGS,
    *[(f"merchant:{ACCOUNT}", 1), ("refunds_due", -1)],
    *[("refunds_due", 1), ("card_rail", -1)],
]
VOID_BOOKINGS = [("card_rail", 1), ("returns_due", -1), ("returns_due", 1), ("card_rail", -1)]

RETURN_URL = "https://till.example/back"


def make_challenge(transaction_id: str, return_url: str) -> Challenge:
    """An unsigned challenge: signatures are the keyring's business."""
    return Challenge("https://bank.example/3ds", f"jwt for {return_url}", transaction_id)


def make_token(transaction_id: str) -> str:
    """A token that says whose it is: what makes one unguessable is the keyring's business."""
    return f"token of {transaction_id}"


VAULT = CardVault(Keyring(b"k" * 32))
_ids = CountingIds(start=1 << 50)


class HeldRail:
    """The sandbox rail behind a line that can be held up, or cut, on the way there and on the way back."""

    def __init__(self, rail: SandboxCardRail):
        self._rail = rail
        self.way_there = asyncio.Event()
        self.way_back = asyncio.Event()
        self.held = asyncio.Event()
        self.loses_calls: set[str] = set()
        self.loses_answers: set[str] = set()
        self.never_held: set[str] = set()
        """Calls that pass a line that is held up."""
        self.paid_to: list[BankAccount | None] = []
        self.arrived: list[str] = []
        """The calls that reached the rail, in their order."""
        self.poisoned = ""
        """The transaction whose message is one that no database takes."""
        self.way_there.set()
        self.way_back.set()

    async def through(self, operation: str, call: Callable[[], Awaitable[T]]) -> T:
        held = operation not in self.never_held
        await self._pass(self.way_there, held=held, lost=operation in self.loses_calls)
        self.arrived.append(operation)
        answer = await call()
        await self._pass(self.way_back, held=held, lost=operation in self.loses_answers)
        return answer

    async def _pass(self, way: asyncio.Event, *, held: bool, lost: bool) -> None:
        if held and not way.is_set():
            self.held.set()
            await way.wait()
        if lost:
            raise ConnectionResetError

    async def charge(
        self,
        transaction_id: str,
        amount: int,
        currency: str,
        card: Card,
        return_url: str = RETURN_URL,
        *,
        keep: bool = False,
    ) -> RailAnswer:
        return await self.through(
            "charge", lambda: self._rail.charge(transaction_id, amount, currency, card, return_url, keep=keep)
        )

    async def charge_again(
        self, transaction_id: str, amount: int, currency: str, card_token: str
    ) -> RailAnswer:
        return await self.through(
            "charge", lambda: self._rail.charge_again(transaction_id, amount, currency, card_token)
        )

    async def send_password(self, phone_number: str | None) -> None:
        await self.through("send_password", lambda: self._rail.send_password(phone_number))

    async def check_password(self, otp: str) -> PasswordAnswer:
        return await self.through("check_password", lambda: self._rail.check_password(otp))

    async def resend_otp(self, transaction_id: str) -> None:
        await self.through("resend_otp", lambda: self._rail.resend_otp(transaction_id))

    async def complete_challenge(self, transaction_id: str) -> RailAnswer:
        return await self.through("challenge", lambda: self._rail.complete_challenge(transaction_id))

    async def confirm(self, transaction_id: str, attempt_try: int, otp: str) -> RailAnswer:
        return await self.through("confirm", lambda: self._rail.confirm(transaction_id, attempt_try, otp))

    async def void(self, transaction_id: str) -> RailAnswer:
        return await self.through("void", lambda: self._rail.void(transaction_id))

    async def look_up(self, transaction_id: str) -> RailAnswer | None:
        answer = await self.through("look_up", lambda: self._rail.look_up(transaction_id))
        if answer is not None and transaction_id == self.poisoned:
            return replace(answer, message="\ud800")
        return answer


class HeldPayouts:
    """The sandbox's way to give card payments back, behind the same line."""

    def __init__(self, payouts: SandboxCardPayouts, line: HeldRail):
        self._payouts = payouts
        self._line = line

    async def pay(self, payout: Payout) -> PayoutAnswer:
        self._line.paid_to.append(payout.to)
        return await self._line.through("refund", lambda: self._payouts.pay(payout))

    async def look_up(self, payout_id: str) -> PayoutAnswer | None:
        return await self._line.through("look_up_payout", lambda: self._payouts.look_up(payout_id))

    async def close(self, payout_id: str) -> PayoutAnswer:
        return await self._line.through("close", lambda: self._payouts.close(payout_id))


@dataclass
class Till:
    """All that a test of the payment services has at hand."""

    store: FaultyStore
    engine: Engine
    clock: ToldClock
    rail: HeldRail
    sandbox: SandboxCardRail
    payouts: SandboxCardPayouts
    journal: RailJournal
    card_payments: CardPaymentService
    render: Renderer

    async def charge(
        self,
        transaction_id: str = "T1",
        card: Card = CARD,
        *,
        key: KeyClaim | None = None,
        token: TokenId | None = None,
    ) -> Result:
        """A card is entered for the order ``r``."""
        command = begin("r", transaction_id, key=key.key if key else None)
        command = structs.replace(command, call_until=self.card_payments.call_until())
        return await self.card_payments.charge(command, card, RETURN_URL, Asking(self.render, key, token))

    async def confirm(self, otp: str, transaction_id: str = "T1", *, key: KeyClaim | None = None) -> Result:
        """The payer enters the one-time password."""
        command = submit_otp("r", transaction_id)
        command = structs.replace(
            command, call_until=self.card_payments.call_until(), reply_key=key.key if key else None
        )
        return await self.card_payments.confirm(command, otp, Asking(self.render, key))

    async def back_from_bank(self, transaction_id: str = "T1") -> Result:
        """The payer comes back from the bank's challenge page."""
        command = structs.replace(
            return_from_challenge(transaction_id), call_until=self.card_payments.call_until()
        )
        return await self.card_payments.return_from_challenge(command, Asking(self.render))

    async def at_bank(self, *, passed: bool) -> bool:
        """The payer answers on the bank's challenge page."""
        return await self.sandbox.answer_challenge("T1", passed=passed)

    async def resend(self, *, max_otp_sends: int = 2) -> Result:
        """The payer of the order ``r`` asks for the password again."""
        return await self.card_payments.resend_otp(
            resend_otp("r", max_otp_sends=max_otp_sends), Asking(self.render)
        )

    async def cancel_attempt(self, transaction_id: str = "T1") -> Result:
        """The merchant ends one attempt."""
        return await self.engine.submit(cancel_attempt(transaction_id), render=self.render)

    async def pay(self, transaction_id: str = "T1") -> None:
        """A card pays for the order ``r``."""
        await self.charge(transaction_id)
        await self.confirm("9999", transaction_id)

    async def refund(
        self,
        amount: int | None = None,
        refund_id: str = "F1",
        *,
        transaction_id: str = "T1",
        to: BankAccount | None = None,
        key: KeyClaim | None = None,
    ) -> Result:
        """The merchant gives back what was paid, or a part of it."""
        command = structs.replace(
            begin_refund(transaction_id, amount, refund_id=refund_id, key=key.key if key else None),
            call_until=self.card_payments.call_until(),
            account_number=to.account_number if to else None,
            bank_code=to.bank_code if to else None,
        )
        return await self.card_payments.refund(command, Asking(self.render, key))

    def switch(self, operation: str, outcome: str, calls: int = 1) -> None:
        """Make the rail's next calls of an operation behave so."""
        self.journal.set_switch(RailSwitch(operation, outcome, 0), calls)

    async def finish(self) -> None:
        """Settle, as the worker does, the calls whose callers are taken for dead."""
        for order in self.overdue():
            await self.card_payments.finish(order)

    def overdue(self) -> list[Order]:
        with self.store.snapshot() as snapshot:
            return [view.order for view in snapshot.overdue_calls(self.clock.now(), 10)]

    @property
    def attempts(self) -> list[str]:
        """The statuses of all attempts, oldest first."""
        rows = ask(self.store, "SELECT status FROM attempts ORDER BY started_at, transaction_id")
        return [str(row[0]) for row in rows]

    @property
    def refunds(self) -> list[str]:
        """The statuses of all refunds, oldest first."""
        rows = ask(self.store, "SELECT status FROM refunds ORDER BY started_at, refund_id")
        return [str(row[0]) for row in rows]

    @property
    def refunded(self) -> int:
        """Return what counts as given back, in minor units."""
        return int(ask(self.store, "SELECT refunded FROM orders")[0][0])

    def paid_out(self, refund_id: str = "F1") -> RailPayout | None:
        """Return what the rail itself knows of a refund."""
        return self.journal.payout(refund_id)

    @property
    def balances(self) -> dict[str, int]:
        """Return what stands on each ledger account, in minor units."""
        rows = ask(self.store, "SELECT ledger_account, sum(amount) FROM ledger_entries GROUP BY 1")
        return {account.split(":")[0]: amount for account, amount in rows if amount}

    @property
    def order(self) -> str:
        return status(self.store, "r")

    @property
    def events(self) -> list[str]:
        return event_types(self.store, "r")

    @property
    def totals(self) -> tuple[int, ...]:
        """Received, applied, returning, returned, in whole orders."""
        rows = ask(
            self.store,
            'SELECT received / amount, applied / amount, "returning" / amount, returned / amount FROM orders',
        )
        return rows[0]

    @property
    def bookings(self) -> list[tuple[str, int]]:
        """The ledger, line by line, in whole orders."""
        return ask(
            self.store,
            "SELECT l.ledger_account, l.amount / o.amount FROM ledger_entries AS l"
            " JOIN orders AS o USING (account_id, order_id) ORDER BY l.sequence, l.line",
        )


def render_late(kind: CallKind, transaction_id: str) -> Render:
    """The reply to a call whose caller is gone says so."""

    def rendered(_outcome: Outcome) -> StoredReply:
        return StoredReply(200, "", f'{{"late":"{kind} of {transaction_id}"}}'.encode())

    return rendered


def at_the_till(
    place: Place,
    work: Callable[[Till], Awaitable[T]],
    *,
    settings: CardPaymentSettings = LONG,
    now: int = NOW,
) -> T:
    """Return what ``work`` returns; then the process is gone, with whatever calls were still running.

    Called again with the same place it is the next process on the same database and rail.
    """

    async def main() -> T:
        store, journal, clock = faulty_store(place), RailJournal(rail_of(place)), ToldClock(now)
        try:
            async with running(store, clock) as engine:
                sandbox = SandboxCardRail(journal, 0, make_challenge, make_token)
                rail = HeldRail(sandbox)
                payouts = SandboxCardPayouts(journal, 0)
                rails = PayoutRails(HeldPayouts(payouts, rail), SandboxTransferPayouts(journal, 0))
                card_payments = CardPaymentService(
                    engine, rail, rails, clock, _ids, settings, VAULT, render_late
                )
                till = Till(store, engine, clock, rail, sandbox, payouts, journal, card_payments, Renderer())
                try:
                    return await work(till)
                finally:
                    await card_payments.close(seconds=0)
        finally:
            journal.close()
            store.close()

    return asyncio.run(main())
