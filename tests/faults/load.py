"""Shoppers who create, cancel and pay without pause, and write down every answer and every silence."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from itertools import count

import httpx2

from races.laws import Heard, Told
from races.lines import Line, paid
from server import Server, signed_in

SHOPPERS = 12
TOLD_TO_SHOPPERS = (Told.CREATED, Told.CANCELLED, Told.PAID)
PATIENCE_SECONDS = 30


@dataclass(frozen=True)
class Deed:
    """One request under an idempotency key of its own, so that it can be asked again after a silence."""

    reference: str
    verb: str
    transaction: str = ""

    @property
    def key(self) -> str:
        return f"{self.verb}-{self.reference}"

    async def ask(self, line: Line) -> httpx2.Response:
        if self.verb == "create":
            return await line.create(self.reference, self.key)
        if self.verb == "cancel":
            return await line.cancel(self.reference, self.key)
        if self.verb == "card":
            return await line.card(self.reference, self.key)
        return await line.otp(self.reference, self.transaction, self.key)


@dataclass
class Diary:
    """All that shoppers heard, and what they asked without getting an answer."""

    heard: list[Heard] = field(default_factory=list)
    silences: list[Deed] = field(default_factory=list)
    unavailable: int = 0
    """Answers 503."""
    strange: list[str] = field(default_factory=list)
    """Answers that no fault excuses."""
    references: Iterator[str] = field(default_factory=lambda: map("order-{}".format, count()))
    _awaited: tuple[int, asyncio.Event] | None = None

    async def filled(self, number: int) -> None:
        """Wait until so many more acknowledgements are written down; fails if they do not come."""
        reached = asyncio.Event()
        self._awaited = (len(self.heard) + number, reached)
        await asyncio.wait_for(reached.wait(), PATIENCE_SECONDS)

    def told(self, told: Told) -> int:
        """Count who heard this."""
        return sum(each.told is told for each in self.heard)

    def write(self, deed: Deed, answer: httpx2.Response) -> None:
        """Note what an answer acknowledges."""
        if answer.status_code == 503:
            self.unavailable += 1
            well_said = "retry-after" in answer.headers and "refusal-reason" not in answer.headers
            if not well_said or answer.json() != UNAVAILABLE:
                self.strange.append(f"{deed}: {answer.headers} {answer.text}")
        elif answer.status_code == 200:
            self._acknowledge(deed, answer)
        elif answer.headers.get("refusal-reason") not in REFUSED.get(deed.verb, ()):
            self.strange.append(f"{deed}: {answer.status_code} {answer.text}")

    def _acknowledge(self, deed: Deed, answer: httpx2.Response) -> None:
        told = {"create": Told.CREATED, "cancel": Told.CANCELLED}.get(deed.verb)
        if deed.verb == "otp" and paid(answer):
            told = Told.PAID
        if told is not None:
            self.heard.append(Heard(deed.reference, told))
        if self._awaited is not None and len(self.heard) >= self._awaited[0]:
            self._awaited[1].set()


UNAVAILABLE = {"code": "503", "description": "Service unavailable", "data": None}
REFUSED = {
    "cancel": {"order-already-paid"},
    "card": {"order-already-cancelled"},
    "otp": {"order-already-cancelled", "attempt-ended"},
}
"""The refusals that a shopper may hear: those of a cancel and a payment that met."""


class Shopper:
    """One customer after another; some cancel, some pay, some do both at once, some go away."""

    def __init__(self, line: Line, diary: Diary):
        self._line = line
        self._diary = diary

    async def shop(self) -> None:
        """Until the first silence."""
        for reference in self._diary.references:
            if not await self._serve(reference):
                return

    async def _serve(self, reference: str) -> bool:
        created = await self._do(Deed(reference, "create"))
        if created is None:
            return False
        if created.status_code != 200:
            return True
        wishes = random.choice([[self._cancel], [self._pay], [self._pay, self._cancel], []])
        return all(await asyncio.gather(*(wish(reference) for wish in wishes)))

    async def _cancel(self, reference: str) -> bool:
        return await self._do(Deed(reference, "cancel")) is not None

    async def _pay(self, reference: str) -> bool:
        answer = await self._do(Deed(reference, "card"))
        if answer is None:
            return False
        data = answer.json()["data"]
        if data is None or not data["status"]:
            return True
        return await self._do(Deed(reference, "otp", data["transactionId"])) is not None

    async def _do(self, deed: Deed) -> httpx2.Response | None:
        """The answer, written down; None when there was none."""
        try:
            answer = await deed.ask(self._line)
        except httpx2.TransportError:
            self._diary.silences.append(deed)
            return None
        self._diary.write(deed, answer)
        return answer


async def shopping(server: Server, diary: Diary, end: Callable[[], Awaitable[None]]) -> None:
    """Shoppers at this server while ``end`` runs, and on until none of them is served any more."""
    headers = await asyncio.to_thread(signed_in, server)
    async with AsyncExitStack() as opened:
        shoppers = []
        for _ in range(SHOPPERS):
            line = Line(server.url, headers, most_connections=2)
            opened.push_async_callback(line.close)
            shoppers.append(Shopper(line, diary).shop())
        await asyncio.gather(end(), *shoppers)


async def asked_again(server: Server, diary: Diary) -> None:
    """Every request that got no answer, once more under the same key."""
    headers = await asyncio.to_thread(signed_in, server)
    silences, diary.silences = diary.silences, []
    line = Line(server.url, headers, most_connections=SHOPPERS)
    answers = await asyncio.gather(*(deed.ask(line) for deed in silences))
    await line.close()
    for deed, answer in zip(silences, answers, strict=True):
        diary.write(deed, answer)
