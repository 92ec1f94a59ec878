"""A payer and two cancels at every order, through a failover: each asks on until it has an answer.

Every request has an idempotency key and is sent again under it after 503 or silence, as a careful client
does. What was answered in the end is kept, to be compared with the database that survived.
"""

import asyncio
import random
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count
from time import monotonic
from typing import Final

import httpx2

from faults.load import Deed
from races.laws import Heard, Told
from races.lines import Line, paid, process_of

PATIENCE_SECONDS: Final = 90
TICK_SECONDS: Final = 0.1
"""The pause before a request is sent again, and between two looks at the readiness."""
FIRST_CALL_SECONDS: Final = 0.05
"""About how long a call of the payer's takes, until the first has been made."""
STATUS_OF: Final = {"order-already-paid": "PAID", "order-already-cancelled": "CANCELLED"}
"""What a refusal says of its order."""
ENDED: Final = "attempt-ended"
"""A refusal of the payer's password that leaves open how the order ended."""


@dataclass(frozen=True)
class Cancel(Deed):
    """One of several cancels of an order, each under a key of its own."""

    number: int = 0

    @property
    def key(self) -> str:
        """Its idempotency key."""
        return f"{self.verb}-{self.number}-{self.reference}"


@dataclass(frozen=True)
class Answer:
    """A request and what it was told in the end."""

    deed: Deed
    told: httpx2.Response
    sent: float
    """When the try that was answered began (monotonic)."""
    seconds: float
    """How long that try took."""

    @property
    def reason(self) -> str:
        """Return why it was refused; empty when it was not."""
        return str(self.told.headers.get("refusal-reason", ""))

    @property
    def heard(self) -> Told | None:
        """Return what it acknowledged, if it granted something that can be lost."""
        if self.told.status_code != 200:
            return None
        if self.deed.verb == "otp":
            return Told.PAID if paid(self.told) else None
        return {"create": Told.CREATED, "cancel": Told.CANCELLED}.get(self.deed.verb)


@dataclass
class Minutes:
    """Notes of what everybody was answered, and what went unanswered on the way."""

    answers: list[Answer] = field(default_factory=list)
    unavailable: int = 0
    silences: int = 0
    over: asyncio.Event = field(default_factory=asyncio.Event)
    """No more orders are begun; those that are being fought for are fought to their end."""
    references: Iterator[str] = field(default_factory=lambda: map("failover-{}".format, count()))
    _awaited: tuple[int, asyncio.Event] | None = None

    def write(self, answer: Answer) -> None:
        """Keep an answer."""
        self.answers.append(answer)
        if self._awaited is not None and len(self.answers) >= self._awaited[0]:
            self._awaited[1].set()

    async def filled(self, number: int) -> None:
        """Wait until so many more answers are written down; fails if they do not come."""
        reached = asyncio.Event()
        self._awaited = (len(self.answers) + number, reached)
        await asyncio.wait_for(reached.wait(), PATIENCE_SECONDS)

    @property
    def heard(self) -> list[Heard]:
        """All acknowledgements."""
        return [Heard(each.deed.reference, each.heard) for each in self.answers if each.heard]

    def after(self, moment: float) -> list[Answer]:
        """The answers to what was sent later."""
        return [each for each in self.answers if each.sent > moment]

    @property
    def processes(self) -> set[str]:
        """All server processes that gave an answer."""
        return {process_of(each.told) for each in self.answers}


class Ring:
    """One order after the other, fought for over a payer's line and two cancellers'."""

    def __init__(self, payer: Line, cancellers: Sequence[Line], minutes: Minutes):
        self._payer = payer
        self._cancellers = cancellers
        self._minutes = minutes
        self._call_seconds = FIRST_CALL_SECONDS

    async def fight(self) -> None:
        """Until the contest is over."""
        for reference in self._minutes.references:
            if self._minutes.over.is_set():
                return
            await self._fight_for(reference)

    async def _fight_for(self, reference: str) -> None:
        await self._do(Deed(reference, "create"), self._payer)
        cancels = [Cancel(reference, "cancel", number=number) for number, _ in enumerate(self._cancellers)]
        await asyncio.gather(self._pay(reference), *map(self._cancel, cancels, self._cancellers))

    async def _pay(self, reference: str) -> None:
        answer = await self._do(Deed(reference, "card"), self._payer)
        self._call_seconds = answer.seconds
        data = answer.told.json()["data"]
        if data is not None and data["status"]:
            await self._do(Deed(reference, "otp", data["transactionId"]), self._payer)

    async def _cancel(self, deed: Deed, line: Line) -> None:
        """Before, during or after either of the payer's two calls, going by how long the last call took."""
        moment = asyncio.Event()
        asyncio.get_running_loop().call_later(random.uniform(0, 4) * self._call_seconds, moment.set)
        await moment.wait()
        await self._do(deed, line)

    async def _do(self, deed: Deed, line: Line) -> Answer:
        """Ask until there is an answer."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while True:
                sent = monotonic()
                told = await self._try(deed, line)
                if told is not None:
                    answer = Answer(deed, told, sent, seconds=monotonic() - sent)
                    self._minutes.write(answer)
                    return answer
                await tick(self._minutes.over)

    async def _try(self, deed: Deed, line: Line) -> httpx2.Response | None:
        """None for silence, 503, and 409 while an earlier try is still being worked on."""
        try:
            answer = await deed.ask(line)
        except httpx2.TransportError:
            self._minutes.silences += 1
            return None
        if answer.status_code == 503:
            self._minutes.unavailable += 1
        return None if answer.status_code in {503, 409} else answer


class Watch:
    """Looks at the readiness of a server again and again, as a load balancer does."""

    def __init__(self, line: Line):
        self._line = line
        self.seen: list[tuple[float, int]] = []
        """When was it asked (monotonic), and what was answered."""

    async def look(self, over: asyncio.Event) -> None:
        """Until the contest is over."""
        while not over.is_set():
            at = monotonic()
            self.seen.append((at, (await self._line.get("/health/ready")).status_code))
            await tick(over)

    async def ready(self, over: asyncio.Event) -> None:
        """Wait until the last answer is 200; fails if it does not come."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while self.seen[-1][1] != 200:
                await tick(over)

    def between(self, begin: float, end: float) -> set[int]:
        """All that was answered in that time."""
        return {status for at, status in self.seen if begin < at < end}


async def tick(over: asyncio.Event) -> None:
    """A short pause, which the end of the contest cuts short."""
    with suppress(TimeoutError):
        await asyncio.wait_for(over.wait(), TICK_SECONDS)


def contradicted(answers: Sequence[Answer], statuses: Mapping[str, str]) -> list[str]:
    """Refusals that do not fit the order's ending in the database, and answers that no fault excuses."""
    found = []
    for each in answers:
        status = statuses.get(each.deed.reference)
        fits = each.told.status_code == 200 or STATUS_OF.get(each.reason) == status or each.reason == ENDED
        if not fits:
            found.append(f"{each.deed.reference} is {status}: {each.deed.verb} was told {each.told.text}")
    return found


async def told_otherwise(answers: Sequence[Answer], line: Line) -> list[str]:
    """Answers that are not given again, byte for byte, under their idempotency keys."""
    again = [await each.deed.ask(line) for each in answers]
    return [
        f"{each.deed}: {_said(each.told)}, and later {_said(now)}"
        for each, now in zip(answers, again, strict=True)
        if _said(each.told) != _said(now) or now.headers.get("idempotency-replayed") != "true"
    ]


def _said(answer: httpx2.Response) -> tuple[int, str | None, bytes]:
    return answer.status_code, answer.headers.get("refusal-reason"), answer.content
