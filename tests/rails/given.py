"""A till that takes cards: engine, desk and sandbox rail on real files, and a rail that can be held up."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from engine.given import FaultyStore, Renderer, ask, begin, event_types, running, status, submit_otp
from given_store import ACCOUNT, NOW, CountingIds, ToldClock
from opentill.domain.order import CallKind, Order
from opentill.engine.batch import Outcome, Render
from opentill.engine.engine import Engine, Result
from opentill.rails.desk import CardDesk, DeskSettings
from opentill.rails.rail import Card, RailAnswer
from opentill.rails.sandbox_card import OTP_CARD, SandboxCardRail
from opentill.store.interface import KeyClaim, Reply, TokenId
from opentill.store.journal import RailJournal

T = TypeVar("T")

CARD = Card(OTP_CARD, "123", "10", "30", "1234")
SHORT = DeskSettings(timeout_seconds=0.01, grace_seconds=29.99, max_otp_tries=3)
"""The rail is given up at once; like with LONG a worker may look its calls up 30 s later (told time)."""
LONG = DeskSettings(timeout_seconds=20, grace_seconds=10, max_otp_tries=3)
LATER = NOW + 30_001

PAID_BOOKINGS = [("card_rail", 1), (f"merchant:{ACCOUNT}", -1)]
VOID_BOOKINGS = [("card_rail", 1), ("returns_due", -1), ("returns_due", 1), ("card_rail", -1)]

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
        self.poisoned = ""
        """The transaction whose message is one that no database takes."""
        self.way_there.set()
        self.way_back.set()

    async def _through(self, operation: str, call: Callable[[], Awaitable[T]]) -> T:
        await self._pass(self.way_there, lost=operation in self.loses_calls)
        answer = await call()
        await self._pass(self.way_back, lost=operation in self.loses_answers)
        return answer

    async def _pass(self, way: asyncio.Event, *, lost: bool) -> None:
        if not way.is_set():
            self.held.set()
        await way.wait()
        if lost:
            raise ConnectionResetError

    async def charge(self, transaction_id: str, amount: int, currency: str, card: Card) -> RailAnswer:
        return await self._through(
            "charge", lambda: self._rail.charge(transaction_id, amount, currency, card)
        )

    async def confirm(self, transaction_id: str, attempt_try: int, otp: str) -> RailAnswer:
        return await self._through("confirm", lambda: self._rail.confirm(transaction_id, attempt_try, otp))

    async def void(self, transaction_id: str) -> RailAnswer:
        return await self._through("void", lambda: self._rail.void(transaction_id))

    async def look_up(self, transaction_id: str) -> RailAnswer | None:
        answer = await self._through("look_up", lambda: self._rail.look_up(transaction_id))
        if answer is not None and transaction_id == self.poisoned:
            return replace(answer, message="\ud800")
        return answer


@dataclass
class Till:
    """What a test of the desk has at hand."""

    store: FaultyStore
    engine: Engine
    clock: ToldClock
    rail: HeldRail
    desk: CardDesk
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
        command = replace(command, call_until=self.desk.call_until())
        return await self.desk.charge(command, card, render=self.render, claim=key, token=token)

    async def confirm(self, otp: str, transaction_id: str = "T1", *, key: KeyClaim | None = None) -> Result:
        """The payer enters the one-time password."""
        command = submit_otp("r", transaction_id)
        command = replace(command, call_until=self.desk.call_until(), reply_key=key.key if key else None)
        return await self.desk.confirm(command, otp, render=self.render, claim=key)

    async def finish(self) -> None:
        """What the worker does: settle the calls whose callers are taken for dead."""
        for order in self.overdue():
            await self.desk.finish(order)

    def overdue(self) -> list[Order]:
        with self.store.snapshot() as snapshot:
            return [view.order for view in snapshot.overdue_calls(self.clock.now(), 10)]

    @property
    def attempts(self) -> list[str]:
        """The statuses of all attempts, oldest first."""
        rows = ask(self.store, "SELECT status FROM attempts ORDER BY started_at, transaction_id")
        return [str(row[0]) for row in rows]

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

    def rendered(_outcome: Outcome) -> Reply:
        return Reply(200, "", f'{{"late":"{kind} of {transaction_id}"}}'.encode())

    return rendered


def at_the_till(
    folder: Path,
    work: Callable[[Till], Awaitable[T]],
    *,
    settings: DeskSettings = LONG,
    now: int = NOW,
) -> T:
    """What ``work`` returns; afterwards the process is gone, with whatever calls were still running.

    Called again with the same folder it is the next process on the same database and rail.
    """

    async def main() -> T:
        store, journal, clock = FaultyStore(folder), RailJournal(folder / "rail.db"), ToldClock(now)
        try:
            async with running(store, clock) as engine:
                rail = HeldRail(SandboxCardRail(journal))
                desk = CardDesk(engine, rail, clock, _ids, settings, render_late)
                till = Till(store, engine, clock, rail, desk, Renderer())
                try:
                    return await work(till)
                finally:
                    await desk.close(seconds=0)
        finally:
            journal.close()
            store.close()

    return asyncio.run(main())
