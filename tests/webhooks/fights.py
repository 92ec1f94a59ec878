"""Orders that a cancel and a payment fight for, on through every death of the server."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Iterable
from contextlib import AsyncExitStack
from typing import Final

import httpx2

from faults.load import Deed, Diary
from races.lines import Line

SHOPPERS: Final = 12
DECLINED_CARD: Final = "5484497218317651"
DECLINED_EVERY: Final = 20
"""One order in so many is first tried with a card that is declined."""
MOST_LOOKS: Final = 6
"""How often the one who cancels may look at the order before; it spreads cancels over the payment."""


class Crowd:
    """Shoppers who set a cancel and a payment upon one order after the other.

    A fight that the server's death tore is fought again from its beginning under the same idempotency
    keys: what had been answered must be answered alike.
    """

    def __init__(self) -> None:
        self.diary = Diary()
        self.torn = 0
        """How many fights a death has interrupted."""
        self._waiting: deque[int] = deque()

    async def fight(self, url: str, numbers: Iterable[int]) -> None:
        """Fight for what was torn and the orders of these numbers, until all is done or nobody answers."""
        self._waiting.extend(numbers)
        async with AsyncExitStack() as opened:
            lines = [Line(url, {}, most_connections=2) for _ in range(SHOPPERS)]
            for line in lines:
                opened.push_async_callback(line.close)
            await asyncio.gather(*(self._shop(line) for line in lines))

    async def _shop(self, line: Line) -> None:
        while self._waiting:
            number = self._waiting.popleft()
            try:
                await self._fight(line, number)
            except httpx2.TransportError:
                self._waiting.appendleft(number)
                self.torn += 1
                return

    async def _fight(self, line: Line, number: int) -> None:
        """Every third cancel meets the card, all others the one-time password."""
        reference = f"order-{number}"
        await self._do(line, Deed(reference, "create"))
        if number % DECLINED_EVERY == 0:
            await line.card(reference, f"declined-{reference}", DECLINED_CARD)
        cancel = self._cancel(line, reference, looks=number % MOST_LOOKS)
        if number % 3 == 0:
            await _both(self._pay(line, reference), cancel)
            return
        try:
            answer = await self._do(line, Deed(reference, "card"))
        except httpx2.TransportError:
            cancel.close()
            raise
        await _both(self._confirm(line, reference, answer), cancel)

    async def _cancel(self, line: Line, reference: str, looks: int) -> None:
        for _ in range(looks):
            await line.look_up(reference)
        await self._do(line, Deed(reference, "cancel"))

    async def _pay(self, line: Line, reference: str) -> None:
        await self._confirm(line, reference, await self._do(line, Deed(reference, "card")))

    async def _confirm(self, line: Line, reference: str, card: httpx2.Response) -> None:
        data = card.json()["data"]
        if data is not None and data["status"]:
            await self._do(line, Deed(reference, "otp", data["transactionId"]))

    async def _do(self, line: Line, deed: Deed) -> httpx2.Response:
        answer = await deed.ask(line)
        self.diary.write(deed, answer)
        return answer


async def _both(*acts: Awaitable[None]) -> None:
    """Both to their ends, also when one fails; then raises what failed."""
    for ended in await asyncio.gather(*acts, return_exceptions=True):
        if ended is not None:
            raise ended
