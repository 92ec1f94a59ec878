"""One attempt, two processes: the payer goes on with it while shop and payer put an end to it."""

import asyncio
import itertools
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import httpx2

from races.books import Books, calls_under_way, ledger_check, read_books, until
from races.laws import Heard, Told, complaints, unsettled
from races.lines import CHALLENGE_CARD, Line, came_back_paid, lines, paid
from server import Server

ORDERS = 96
RINGS = 8
"""Orders that are attacked at the same moment."""
LEAST = 2
"""How often each ending must be seen of either way to pay; each is expected for about a quarter of 48."""
RAIL_DELAY_MILLISECONDS = 30
KINDS = list(itertools.product(("password", "challenge"), (("order",), ("attempt",), ("order", "attempt"))))
"""How the payer goes on with an attempt that waits, and what is cancelled meanwhile."""

Ask = Callable[[], Awaitable[httpx2.Response]]


@dataclass
class Fight:
    """What everybody was told about one order and its one attempt."""

    reference: str
    way: str
    ends: tuple[str, ...]
    payments: list[httpx2.Response] = field(default_factory=list)
    cancels: dict[str, httpx2.Response] = field(default_factory=dict)

    @property
    def told_paid(self) -> bool:
        """Tell whether the payer was told so, by the API or by the page that the payer came back to."""
        return any(map(paid if self.way == "password" else came_back_paid, self.payments))

    def granted(self, end: str) -> bool:
        """Tell whether this cancel was asked for and carried out."""
        return end in self.cancels and self.cancels[end].status_code == 200

    @property
    def heard(self) -> list[Heard]:
        told = [Told.PAID] * self.told_paid + [Told.CANCELLED] * self.granted("order")
        return [Heard(self.reference, each) for each in told]


class Ring:
    """Two lines to either process, around one order after the other."""

    def __init__(self, here: Sequence[Line], there: Sequence[Line]):
        self._payer, self._cancels_attempt = here
        self._other_window, self._cancels_order = there
        self._call_seconds = 1.5 * RAIL_DELAY_MILLISECONDS / 1000

    async def attack(self, fight: Fight) -> Fight:
        """One order from its creation until everybody has an answer."""
        assert (await self._payer.create(fight.reference)).status_code == 200
        transaction, going_on = await (
            self._password(fight) if fight.way == "password" else self._challenge(fight)
        )
        cancel: dict[str, Ask] = {
            "order": lambda: self._cancels_order.cancel(fight.reference),
            "attempt": lambda: self._cancels_attempt.cancel_transaction(transaction),
        }
        attackers = [*(self._pay(fight, ask) for ask in going_on)]
        attackers += [self._cancel(fight, end, cancel[end]) for end in fight.ends]
        random.shuffle(attackers)
        await asyncio.gather(*attackers)
        return fight

    async def _password(self, fight: Fight) -> tuple[str, list[Ask]]:
        data = (await self._payer.card(fight.reference)).json()["data"]
        transaction = data["transactionId"]
        return transaction, [lambda: self._payer.otp(fight.reference, transaction)]

    async def _challenge(self, fight: Fight) -> tuple[str, list[Ask]]:
        """The payer has proven who it is, and comes back in two windows, each at another process."""
        data = (await self._payer.card(fight.reference, number=CHALLENGE_CARD)).json()["data"]
        secure = data["secureAuthenticationData"]
        await self._payer.pass_challenge(secure)
        back = secure["termUrl"]
        return data["transactionId"], [
            lambda: self._payer.come_back(back),
            lambda: self._other_window.come_back(back, "POST"),
        ]

    async def _pay(self, fight: Fight, ask: Ask) -> None:
        await self._some_moment(2)
        loop = asyncio.get_running_loop()
        begun = loop.time()
        fight.payments.append(await ask())
        if fight.told_paid:
            self._call_seconds = loop.time() - begun

    async def _cancel(self, fight: Fight, end: str, ask: Ask) -> None:
        await self._some_moment(4)
        fight.cancels[end] = await ask()

    async def _some_moment(self, calls: float) -> None:
        """A moment within so many times what the last payment took."""
        moment = asyncio.Event()
        seconds = random.uniform(0, calls) * self._call_seconds
        asyncio.get_running_loop().call_later(seconds, moment.set)
        await moment.wait()


async def fought(server: Server) -> list[Fight]:
    """All orders attacked, a few at a time; every ring reaches across both processes."""
    kinds = itertools.islice(itertools.cycle(KINDS), ORDERS)
    fights = iter([Fight(f"attempt-{number}", *kind) for number, kind in enumerate(kinds)])
    async with lines([server], processes=2, each=2 * RINGS) as (here, there):

        async def keep_fighting(ring: Ring) -> list[Fight]:
            return [await ring.attack(fight) for fight in fights]

        halves = [(here[i : i + 2], there[i : i + 2]) for i in range(0, 2 * RINGS, 2)]
        rings = [Ring(*half) if number % 2 else Ring(*half[::-1]) for number, half in enumerate(halves)]
        return [fight for of_ring in await asyncio.gather(*map(keep_fighting, rings)) for fight in of_ring]


def misinformed(fight: Fight, status: str) -> list[str]:
    """Whatever one of the answers says that does not fit where the order ended."""
    found = []
    unpaid = "CANCELLED" if "order" in fight.ends else "PENDING"
    if status not in {"PAID", unpaid}:
        found.append("that is no ending of this fight")
    if fight.told_paid != (status == "PAID"):
        found.append(f"the payer was told {[(a.status_code, a.text) for a in fight.payments]}")
    if fight.granted("order") != (status == "CANCELLED"):
        found.append("the shop's cancel was answered the other way")
    if fight.granted("attempt") and status == "PAID":
        found.append("it was paid by the attempt whose cancel was granted")
    if fight.ends == ("attempt",) and not fight.granted("attempt") and status != "PAID":
        found.append("the attempt was neither cancelled nor paid")
    wanted = {"order-already-paid", "attempt-already-completed"} if status == "PAID" else {"attempt-ended"}
    reasons = {a.headers["refusal-reason"] for a in fight.cancels.values() if a.status_code != 200}
    if not reasons <= wanted:
        found.append(f"cancels were refused for {reasons}")
    return [f"{fight.reference} is {status}: {each}" for each in found]


def endings(fights: Sequence[Fight], books: Books, way: str) -> Counter[str]:
    """Return how the attempts ended of those who paid in this way; there is one for each order."""
    orders = [books.by_reference[fight.reference]["order_id"] for fight in fights if fight.way == way]
    return Counter(attempt["status"] for order_id in orders for attempt in books.attempts[order_id])


def test_a_payer_who_goes_on_and_those_who_cancel_meet_at_one_attempt(
    tmp_path: Path, database_url: str | None
) -> None:
    """Before, during and after the approval one of them wins and is told; money stays once or goes back."""
    delay = RAIL_DELAY_MILLISECONDS
    with Server(
        tmp_path, workers=2, database_url=database_url, sandbox_rail_delay_milliseconds=delay
    ) as server:
        fights = asyncio.run(fought(server))
        until(lambda: calls_under_way(server.place) == 0)
        books = read_books(server.place)
        assert server.stop() == 0
        assert ledger_check(server) == ""

    status = {fight.reference: books.by_reference[fight.reference]["status"] for fight in fights}
    assert [m for fight in fights for m in misinformed(fight, status[fight.reference])] == []
    assert complaints(books, [heard for fight in fights for heard in fight.heard]) == []
    assert unsettled(books) == []
    for way in ("password", "challenge"):
        ended = endings(fights, books, way)
        assert ended.keys() == {"APPROVED", "CANCELLED", "VOIDED"}
        assert min(ended.values()) >= LEAST
        assert sum(ended.values()) == ORDERS / 2
