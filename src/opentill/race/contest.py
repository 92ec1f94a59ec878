"""One order after the other, set upon by everybody at once: the harness of every race over HTTP.

A contestant does one thing to one order, at its own moment of the payment, and notes what it was told. What
counts as having won stands with the contestant; who may win together is for ``verdict``.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final, Generic, TypeVar

from opentill.domain.order import OrderStatus
from opentill.race.lines import Answer, Line

CALLS_LONG: Final = 5.0
"""Over how many of the payer's calls the moments of the others are spread: before, during and after both."""
LOOKS: Final = 2

A = TypeVar("A", bound=Answer)


class Won(StrEnum):
    """A thing that an answer granted; of the endings an order has one."""

    PAID = OrderStatus.PAID.value
    CANCELLED = OrderStatus.CANCELLED.value
    REFUNDED = "refunded"


@dataclass(frozen=True, slots=True)
class Try(Generic[A]):
    """One request of a contestant and its answer."""

    by: str
    answer: A
    seconds: float
    won: Won | None = None

    @property
    def reason(self) -> str:
        """Tell why it was refused; empty when it was not, or when no reason was given."""
        return self.answer.headers.get("refusal-reason", "")


@dataclass(slots=True)
class Fight(Generic[A]):
    """One contested order, and everything that anybody was told about it."""

    reference: str
    tries: list[Try[A]] = field(default_factory=list)
    seen: list[str] = field(default_factory=list)
    """The statuses that lookups showed, in their order."""

    def by(self, contestant: str) -> list[Try[A]]:
        """List what this kind of contestant was told."""
        return [each for each in self.tries if each.by == contestant]


@dataclass(frozen=True, slots=True)
class Corner(Generic[A]):
    """The place of a contestant: its line, its order, and when its moment comes."""

    line: Line[A]
    fight: Fight[A]
    moment: Callable[[], Awaitable[None]]
    """Waits for some moment of the payment."""
    called: Callable[[float], None]
    """Takes how long a call of the payer's took, which says how long payments are."""
    waits: bool
    """Whether the payer too begins at a moment of its own."""

    async def ask(self, by: str, call: Awaitable[A], won: Callable[[A], Won | None] = lambda _: None) -> A:
        """Make a call and note what came of it."""
        begun = time.monotonic()
        answer = await call
        self.fight.tries.append(Try(by, answer, time.monotonic() - begun, won(answer)))
        return answer


Contestant = Callable[[Corner[Any]], Awaitable[None]]


async def pay(corner: Corner[Any]) -> None:
    """Pay by card and password."""
    if corner.waits:
        await corner.moment()
    reference, begun = corner.fight.reference, time.monotonic()
    data = (await corner.ask("card", corner.line.card(reference))).json()["data"]
    if data is None:
        return
    corner.called(time.monotonic() - begun)
    if data["status"]:
        await corner.ask("pay", corner.line.otp(reference, data["transactionId"]), _paid)


async def cancel(corner: Corner[Any]) -> None:
    """Cancel the order."""
    await corner.moment()
    await corner.ask("cancel", corner.line.cancel(corner.fight.reference), _cancelled)


async def transfer(corner: Corner[Any]) -> None:
    """Let the whole amount arrive by bank transfer."""
    await corner.moment()
    reference = corner.fight.reference
    await corner.ask("account", corner.line.transfer_account(reference))
    await corner.ask("transfer", corner.line.transfer(reference, corner.line.amount), _applied)


async def refund(corner: Corner[Any]) -> None:
    """Give all of a paid order back, at one moment; nothing happens if it is not paid by then."""
    await corner.moment()
    shown = (await corner.line.in_full(corner.fight.reference)).json()["data"]
    if shown is None:
        return
    paying = [
        step["data"]["transactionId"] for step in shown["timeline"] if step["type"] == "payment_success"
    ]
    for transaction in paying:
        await corner.ask("refund", corner.line.refund(transaction), _refunded)


async def look(corner: Corner[Any]) -> None:
    """Look at the order, now and then."""
    for _ in range(LOOKS):
        await corner.moment()
        await _see(corner.line, corner.fight)


class Ring(Generic[A]):
    """Lines around one order after the other; each contestant has a line of its own."""

    def __init__(
        self,
        opener: Line[A],
        contestants: Sequence[tuple[Contestant, Line[A]]],
        chance: Iterator[float],
        call_seconds: float,
        lasting_seconds: float | None = None,
    ):
        """``chance`` gives numbers from 0 to 1; ``call_seconds`` is how long a payer's call may take first.

        With ``lasting_seconds`` everybody's moments, the payer's too, are spread over that time instead.
        """
        self._opener = opener
        self._contestants = contestants
        self._chance = chance
        self._call_seconds = call_seconds
        self._lasting_seconds = lasting_seconds

    async def attack(self, reference: str, more: Mapping[str, object] | None = None) -> Fight[A]:
        """Set everybody upon one order, from its creation with ``more`` members until all have an answer."""
        fight: Fight[A] = Fight(reference)
        opened = await self._corner(self._opener, fight).ask(
            "create", self._opener.create(reference, more=more)
        )
        if opened.status_code == 200:
            await asyncio.gather(*(act(self._corner(line, fight)) for act, line in self._contestants))
            await _see(self._opener, fight)
        return fight

    def _corner(self, line: Line[A], fight: Fight[A]) -> Corner[A]:
        return Corner(line, fight, self._moment, self._called, waits=self._lasting_seconds is not None)

    def _called(self, seconds: float) -> None:
        self._call_seconds = seconds

    async def _moment(self) -> None:
        """Wait for a moment before, during or after either of the payer's calls, by how long one took."""
        moment = asyncio.Event()
        wait_seconds = next(self._chance) * (self._lasting_seconds or CALLS_LONG * self._call_seconds)
        asyncio.get_running_loop().call_later(wait_seconds, moment.set)
        await moment.wait()


def spread() -> Iterator[float]:
    """Yield numbers from 0 to 1 of which each stretch is as evenly spread as the whole."""
    at = 0.0
    while True:
        at = (at + 0.6180339887498949) % 1.0
        yield at


async def _see(line: Line[Any], fight: Fight[Any]) -> None:
    """Note the order's status, unless the server can not say it now."""
    shown = (await line.in_full(fight.reference)).json()["data"]
    if shown is not None:
        fight.seen.append(shown["status"])


def _paid(answer: Answer) -> Won | None:
    return Won.PAID if answer.status_code == 200 and answer.json()["data"]["status"] else None


def _cancelled(answer: Answer) -> Won | None:
    return Won.CANCELLED if answer.status_code == 200 else None


def _applied(answer: Answer) -> Won | None:
    is_applied = answer.status_code == 200 and answer.json()["data"]["disposition"] == "applied"
    return Won.PAID if is_applied else None


def _refunded(answer: Answer) -> Won | None:
    return Won.REFUNDED if answer.status_code == 200 and answer.json()["data"]["success"] else None
