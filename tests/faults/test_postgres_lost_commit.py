"""The connection breaks around a COMMIT: whoever asked gets the true answer, and it happens once."""

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import httpx2
import pytest

from clusters import cluster
from engine.builders import begin, claim, settle
from engine.harness import Renderer, ending, running
from faults.postgres import ask, event_types, installed, meanwhile, read_books, waiting_for_locks
from faults.proxy import Fate, Proxy
from opentill.domain.commands import Command, RailOutcome
from opentill.engine.engine import Engine, Result
from opentill.store.databases import postgres
from opentill.store.databases.postgres import open_postgres
from opentill.store.interface import Store
from races.books import ledger_check
from races.laws import Heard, Told, complaints, unsettled
from races.lines import CANCELLED_BODY, Line, paid
from server import Server, signed_in
from store_factories import ACCOUNT, add_orders, cancel, cancelled, new_order, read, write

CREATED, CANCELLED = "order_created", "order_cancelled"
CUTS = (Fate.CUT_BEFORE, Fate.CUT_AFTER)
MOST_POINTS = 60
Submit = Callable[[Engine, str], Coroutine[Any, Any, Result]]


def _reference(_store: Store, reference: str) -> str:
    return reference


def _order_id(store: Store, reference: str) -> str:
    [order] = read(store, (ACCOUNT, reference))
    assert order is not None
    return order.order_id


@dataclass(frozen=True)
class Deed:
    """A command whose COMMIT is going to get lost, and what must be true in the end."""

    submit: Submit
    answer: str = "done"
    events: tuple[str, ...] = (CREATED, CANCELLED)
    given: Callable[[Store, str], object] = add_orders
    called: Callable[[Store, str], str] = _reference
    """By what name the command calls the order of a reference."""


def _ended(store: Store, reference: str) -> None:
    [order] = add_orders(store, reference)
    write(store, [cancelled(order)])


def _nothing(store: Store, reference: str) -> None:
    """The order is still to be created."""


def _with_an_attempt(store: Store, reference: str) -> None:
    async def work() -> None:
        async with running(store) as engine:
            await engine.submit(begin(reference, f"T-{reference}"))

    add_orders(store, reference)
    asyncio.run(work())


def _keyed(command: Callable[[str], Any]) -> Submit:
    return lambda engine, r: engine.submit(command(r), render=Renderer(), claim=claim(f"key-{r}"))


DEEDS = {
    "create": Deed(lambda engine, r: engine.submit(new_order(r)), events=(CREATED,), given=_nothing),
    "create under a key": Deed(_keyed(new_order), events=(CREATED,), given=_nothing),
    "cancel": Deed(lambda engine, r: engine.submit(cancel(r))),
    "cancel under a key": Deed(_keyed(cancel)),
    "cancel by order id": Deed(lambda engine, id_: engine.submit(cancel(id_)), called=_order_id),
    "charge": Deed(lambda engine, r: engine.submit(begin(r, f"T-{r}")), events=(CREATED, "attempt_started")),
    "payment": Deed(
        lambda engine, r: engine.submit(settle(r, f"T-{r}", RailOutcome.APPROVED)),
        events=(CREATED, "attempt_started", "payment_success"),
        given=_with_an_attempt,
    ),
    "refusal": Deed(lambda engine, r: engine.submit(cancel(r)), answer="OrderAlreadyCancelled", given=_ended),
    "refusal under a key": Deed(_keyed(cancel), answer="OrderAlreadyCancelled", given=_ended),
}
deeds = pytest.mark.parametrize("deed", DEEDS.values(), ids=DEEDS.keys())


references = map("order-{}".format, count())


@pytest.fixture(scope="module", params=[15, 18])
def proxy(request: pytest.FixtureRequest) -> Iterator[Proxy]:
    """A proxy before a database in which no test uses another's references."""
    with Proxy(installed(request.param)) as proxy:
        yield proxy


@pytest.fixture
def store(proxy: Proxy) -> Iterator[Store]:
    """The store that works through the proxy."""
    with closing(open_postgres(proxy.url)) as store:
        yield store
        proxy.before_each = len


def _carried_out(store: Store, deed: Deed, name: str) -> str:
    """Return how the command about the order of this name ended."""

    async def work() -> str:
        async with running(store) as engine:
            [answer] = await asyncio.gather(deed.submit(engine, name), return_exceptions=True)
            return ending(answer)

    return asyncio.run(work())


@deeds
@pytest.mark.parametrize("fates", [*((cut,) for cut in CUTS), CUTS, (Fate.CUT_AFTER, Fate.CUT_AFTER)])
def test_a_commit_whose_answer_is_lost_is_answered_truly(
    proxy: Proxy, store: Store, deed: Deed, fates: tuple[Fate, ...]
) -> None:
    """Cut before or after it takes effect, once or twice over: the caller's own outcome, carried out once."""
    reference = next(references)
    deed.given(store, reference)
    name = deed.called(store, reference)
    met = len(proxy.met)
    proxy.doom(name, *fates)
    assert _carried_out(store, deed, name) == deed.answer
    assert proxy.met[met] is fates[0]
    assert tuple(event_types(proxy.direct, reference)) == deed.events


@deeds
def test_a_commit_that_arrives_late_is_answered_truly(proxy: Proxy, store: Store, deed: Deed) -> None:
    """Whatever the moment at which the given-up COMMIT takes effect after all, the answer is right."""
    for point in range(1, MOST_POINTS):
        reference = next(references)
        deed.given(store, reference)
        name = deed.called(store, reference)
        proxy.doom(name, Fate.HELD)
        with _released(proxy, point) as waited:
            answer = _carried_out(store, deed, name)
        assert (point, answer) == (point, deed.answer)
        assert tuple(event_types(proxy.direct, reference)) == deed.events
        if waited:
            return
    raise AssertionError("nobody ever waited for the lost commit")


@contextmanager
def _released(proxy: Proxy, point: int) -> Iterator[list[bool]]:
    """The held COMMIT goes on before so many messages more, or when somebody waits for its locks."""
    passed, waited = count(1), list[bool]()

    def pass_on(_message: bytes) -> None:
        if proxy.holding and next(passed) == point:
            proxy.release()

    def look() -> None:
        if proxy.holding and waiting_for_locks(proxy.direct):
            waited.append(True)
            proxy.release()

    proxy.before_each = pass_on
    with meanwhile(look):
        yield waited


@pytest.mark.parametrize("deed", [DEEDS["create"], DEEDS["cancel"]], ids=["create", "cancel"])
def test_what_can_not_be_found_out_in_time_stays_unknown(
    proxy: Proxy, deed: Deed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the lost COMMIT hangs, the answer is bounded and promises nothing; afterwards asking tells."""
    in_a_hurry = postgres._BEGIN_WRITING.replace("lock_timeout = '2s'", "lock_timeout = '100ms'")
    assert in_a_hurry != postgres._BEGIN_WRITING
    monkeypatch.setattr(postgres, "_BEGIN_WRITING", in_a_hurry)
    reference = next(references)
    with closing(open_postgres(proxy.url)) as store:
        deed.given(store, reference)
        proxy.doom(reference, Fate.HELD)
        assert _carried_out(store, deed, reference) == "OutcomeUnknown"
        proxy.release()
        assert tuple(event_types(proxy.direct, reference)) == deed.events
        assert _carried_out(store, deed, reference) in {"OrderReferenceUsed", "OrderAlreadyCancelled"}
    assert tuple(event_types(proxy.direct, reference)) == deed.events


@pytest.mark.parametrize("fate", CUTS)
def test_a_batch_of_many_is_answered_one_by_one(proxy: Proxy, store: Store, fate: Fate) -> None:
    """A lost commit of creates, cancels and refusals: each of its waiters hears what became of his own."""
    old, new, unknown = (next(references) for _ in range(3))
    add_orders(store, old)

    async def work() -> list[str]:
        async with running(store) as engine:
            commands: list[Command] = [new_order(new), cancel(old), cancel(old)]
            commands += [cancel(unknown), new_order(old)]
            asked = (engine.submit(command) for command in commands)
            return [ending(answer) for answer in await asyncio.gather(*asked, return_exceptions=True)]

    proxy.doom(unknown, fate)
    answers = asyncio.run(work())
    assert answers == ["done", "done", "OrderAlreadyCancelled", "RecordNotFound", "OrderReferenceUsed"]
    assert event_types(proxy.direct, old) == [CREATED, CANCELLED]
    assert event_types(proxy.direct, new) == [CREATED]


# --- over HTTP ------------------------------------------------------------------------------------------


async def _life(line: Line, proxy: Proxy, fate: Fate, name: str) -> list[Heard]:
    """Every kind of request, each with a COMMIT that gets lost."""
    reference = f"paid-{name}"
    proxy.doom(reference, fate)
    assert (await line.create(reference)).status_code == 200
    [(order_id,)] = ask(proxy.direct, "SELECT order_id FROM orders WHERE reference = %s", reference)
    proxy.doom(order_id, fate, fate)
    begun = await line.card(reference, f"card-{name}")
    assert begun.json()["data"]["status"], begun.text
    transaction = begun.json()["data"]["transactionId"]
    proxy.doom(order_id, fate, fate)
    assert paid(await line.otp(reference, transaction, f"otp-{name}"))
    proxy.doom(order_id, fate, fate)
    refunded = await line.refund(transaction, key=f"refund-{name}")
    assert refunded.status_code == 200, refunded.text
    proxy.doom(reference, fate)
    assert _reason(await line.cancel(reference)) == "order-already-paid"
    return [Heard(reference, Told.PAID), *await _cancels(line, proxy, fate, name)]


async def _cancels(line: Line, proxy: Proxy, fate: Fate, name: str) -> list[Heard]:
    """Cancels with and without a key, and asked again."""
    for reference, key in ((f"bare-{name}", ""), (f"keyed-{name}", f"key-{name}")):
        assert (await line.create(reference, key and f"create-{key}")).status_code == 200
        proxy.doom(reference, fate)
        answer = await line.cancel(reference, key)
        assert (answer.status_code, answer.content) == (200, CANCELLED_BODY)
        again = await line.cancel(reference, key)
        assert (again.status_code, _reason(again)) == ((200, "") if key else (400, "order-already-cancelled"))
    return [Heard(f"{kind}-{name}", Told.CANCELLED) for kind in ("bare", "keyed")]


def _reason(answer: httpx2.Response) -> str:
    return str(answer.headers.get("refusal-reason", ""))


def test_every_request_survives_the_loss_of_its_commit(tmp_path: Path) -> None:
    """Create, card, password, refund, cancel, refusal, with and without a key: each is answered truly."""

    async def main(server: Server, proxy: Proxy) -> list[Heard]:
        line = Line(server.url, await asyncio.to_thread(signed_in, server))
        heard = [each for fate in Fate for each in await _life(line, proxy, fate, fate.name)]
        await line.close()
        return heard

    with Proxy(cluster(18).fresh_database()) as proxy:
        with (
            Server(tmp_path, database_url=proxy.url) as server,
            meanwhile(lambda: _release_if_blocked(proxy)),
        ):
            heard = asyncio.run(main(server, proxy))
            assert set(proxy.met) == set(Fate)
            assert server.stop() == 0
            assert ledger_check(server) == ""
        books = read_books(proxy.direct)
    assert complaints(books, heard) == []
    assert unsettled(books) == []


def _release_if_blocked(proxy: Proxy) -> None:
    if proxy.holding and waiting_for_locks(proxy.direct):
        proxy.release()
