"""What seldom changes, remembered for a few seconds: merchants, their sub-accounts, the clock's offset."""

import asyncio
import math
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar

from opentill.clock import Clock
from opentill.engine.reader import Reader
from opentill.engine.threads import StoreThreads
from opentill.store.accounts.contract import Merchant
from opentill.store.orders.contract import Facts

_KEEP_MILLISECONDS: Final = 5000
_KEEP_OFFSET_MILLISECONDS: Final = 1000
_MOST_REMEMBERED: Final = 50_000

T = TypeVar("T")


class AccountCache:
    """A cache in front of the store. Only what exists is remembered, so what is added is seen at once.

    What has to be asked again is asked once for all who want it at that moment: else every request that
    arrives meanwhile would ask as well, and all of them wait for the last answer.
    """

    def __init__(self, threads: StoreThreads, reader: Reader, clock: Clock):
        self._threads = threads
        self._reader = reader
        self._clock = clock
        self._merchants: dict[str, tuple[int, Merchant]] = {}
        """Each until when it is remembered, by the monotonic clock; as all times here are."""
        self._sub_accounts: dict[tuple[str, str], int] = {}
        self._facts = Facts(0, frozenset())
        self._offset_until: float = -math.inf
        self._asked: dict[str, asyncio.Future[Any]] = {}

    async def merchant(self, account_id: str) -> Merchant | None:
        """Return the merchant of this parent account."""
        known = self._merchants.get(account_id)
        if known is not None and self._clock.monotonic() < known[0]:
            return known[1]
        return await self._once(account_id, lambda: self._ask_for(account_id))

    async def _ask_for(self, account_id: str) -> Merchant | None:
        now = self._clock.monotonic()
        found = await self._threads.read(self._threads.store.accounts.merchant, account_id)
        if found is not None:
            _bound(self._merchants)
            self._merchants[account_id] = (now + _KEEP_MILLISECONDS, found)
        return found

    async def owns(self, account_id: str, candidate: str) -> bool:
        """Return whether ``candidate`` is the merchant's parent account or one of its sub-accounts."""
        return candidate == account_id or await self.owns_sub_account(account_id, candidate)

    async def owns_sub_account(self, account_id: str, candidate: str) -> bool:
        """Return whether ``candidate`` is one of the merchant's sub-accounts."""
        now = self._clock.monotonic()
        if now < self._sub_accounts.get((account_id, candidate), -math.inf):
            return True
        found = await self._threads.read(self._threads.store.accounts.sub_accounts, account_id)
        _bound(self._sub_accounts)
        until = now + _KEEP_MILLISECONDS
        self._sub_accounts.update({(account_id, sub.sub_account_id): until for sub in found})
        return any(sub.sub_account_id == candidate for sub in found)

    async def business_time(self, now: int) -> int:
        """Return business time at the real time ``now``, by an offset at most a second old."""
        if self._clock.monotonic() >= self._offset_until:
            await self._once("the clock's offset", self.exact_business_time)
        return now + self._facts.clock_offset

    async def due_by(self, now: int) -> int:
        """Return the business time by which what is due is judged, by facts at most a second old."""
        await self.business_time(now)
        return self._facts.due_by(now)

    async def exact_business_time(self) -> int:
        """Return business time by the offset that stands in the database now."""
        facts = await self._reader.ask(lambda snapshot: snapshot.facts(()), None)
        self._facts = facts
        self._offset_until = self._clock.monotonic() + _KEEP_OFFSET_MILLISECONDS
        return self._clock.now() + facts.clock_offset

    async def _once(self, about: str, ask: Callable[[], Awaitable[T]]) -> T:
        """Return the answer to a question that is under way already, or else to this one."""
        asked = self._asked.get(about)
        if asked is None:
            asked = self._asked[about] = asyncio.ensure_future(ask())
            asked.add_done_callback(lambda _: self._asked.pop(about))
        answer: T = await asyncio.shield(asked)
        return answer


def _bound(remembered: dict[Any, Any]) -> None:
    if len(remembered) >= _MOST_REMEMBERED:
        remembered.clear()
