"""The sandbox rail told to misbehave, on every process; and the money that it sends back."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest

from databases import Place, rail_of, reading_rail
from opentill.domain.commands import RailOutcome, RefundOutcome
from opentill.rails.rail import BankAccount, Payout, PayoutAnswer, PayoutKind
from opentill.rails.sandbox.card import OPERATIONS, SandboxCardRail
from opentill.rails.sandbox.journal import RailJournal, RailSwitch
from opentill.rails.sandbox.payouts import SandboxCardPayouts, SandboxTransferPayouts
from rails.till import (
    BAD_CARD,
    CARD,
    CUT_SHORT,
    LONG,
    RETURN_URL,
    Till,
    at_the_till,
    make_challenge,
    make_token,
)
from store_factories import add_orders

A, F = RailOutcome, RefundOutcome
OUTCOMES = ("approve", "decline", "refuse", "timeout", "unknown")
BANK = BankAccount("0123456789", "058")

Call = Callable[[SandboxCardRail, str], Awaitable[Any]]


async def _charge(rail: SandboxCardRail, id_: str) -> Any:
    return await rail.charge(id_, 100_00, "NGN", CARD, RETURN_URL)


def _cards(rail: SandboxCardRail) -> SandboxCardPayouts:
    """The same sandbox's way back to cards: all keep one journal."""
    return SandboxCardPayouts(rail._journal, 0)


async def _refund(rail: SandboxCardRail, id_: str, amount: int = 1) -> PayoutAnswer:
    return await _cards(rail).pay(Payout(id_, PayoutKind.REFUND, "T", amount, "NGN", None))


async def _return(rail: SandboxCardRail, id_: str) -> PayoutAnswer:
    bank = SandboxTransferPayouts(rail._journal, 0)
    return await bank.pay(Payout(id_, PayoutKind.RETURN, "T", 100_00, "NGN", BANK))


CALLS: dict[str, Call] = {
    "charge": _charge,
    "confirm": lambda rail, id_: rail.confirm(id_, 1, "9999"),
    "void": lambda rail, id_: rail.void(id_),
    "refund": lambda rail, id_: _refund(rail, id_, 100_00),
    "return": _return,
}
BEFORE: dict[str, tuple[str, ...]] = {"confirm": ("charge",), "void": ("charge", "confirm")}
"""What has to happen before an operation means anything."""

# What is answered, "-" for never, and what the rail knows afterwards.
ANSWERED = """
          approve    decline    refuse     timeout  unknown   no-switch
charge    approved   declined   declined   -        -         otp_required
confirm   approved   declined   declined   -        -         approved
void      voided     declined   declined   -        -         voided
refund    done       refused    refused    -        -         done
return    done       refused    refused    -        -         done
"""
KNOWN = """
          approve    decline    refuse     timeout       unknown
charge    approved   declined   declined   -             otp_required
confirm   approved   declined   declined   otp_required  approved
void      voided     approved   approved   approved      voided
refund    done       refused    refused    -             done
return    done       refused    refused    -             done
"""


def _table(text: str) -> dict[tuple[str, str], str]:
    columns, *rows = (line.split() for line in text.strip().splitlines())
    return {(row[0], column): cell for row in rows for column, cell in zip(columns, row[1:], strict=True)}


@pytest.fixture
def rails(place: Place) -> Iterator[tuple[SandboxCardRail, SandboxCardRail]]:
    """Two rails on one journal, as in two processes."""
    journals = [RailJournal(rail_of(place)) for _ in range(2)]
    first, second = (SandboxCardRail(journal, 0, make_challenge, make_token) for journal in journals)
    yield first, second
    for journal in journals:
        journal.close()


def _set(rail: SandboxCardRail, operation: str, outcome: str | None, calls: int = 1, delay: int = 0) -> None:
    rail._journal.set_switch(RailSwitch(operation, outcome, delay), calls)


async def _known(rail: SandboxCardRail, operation: str, id_: str) -> str:
    paid_out = operation in {"refund", "return"}
    known = await (_cards(rail).look_up(id_) if paid_out else rail.look_up(id_))
    return known.outcome.value if known else "-"


async def _prepared(rail: SandboxCardRail, operation: str, id_: str) -> Awaitable[Any]:
    for earlier in BEFORE.get(operation, ()):
        await CALLS[earlier](rail, id_)
    return CALLS[operation](rail, id_)


async def _never_answers(rail: SandboxCardRail, operation: str, id_: str, known: str) -> bool:
    """Return whether the rail comes to know this and still gives no answer."""
    asked = asyncio.ensure_future(await _prepared(rail, operation, id_))
    async with asyncio.timeout(10):
        while await _known(rail, operation, id_) != known:
            assert not asked.done()
    done, _ = await asyncio.wait({asked}, timeout=0.1)
    asked.cancel()
    return not done


def test_every_operation_can_be_switched() -> None:
    """The tables of this file name each operation of the rail and each outcome of a switch."""
    assert {operation for operation, _ in _table(KNOWN)} == set(OPERATIONS)
    assert set(_table(KNOWN)) == {(operation, outcome) for operation in OPERATIONS for outcome in OUTCOMES}


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("outcome", OUTCOMES)
def test_a_switch_set_here_works_there(
    rails: tuple[SandboxCardRail, SandboxCardRail], operation: str, outcome: str
) -> None:
    """Set by one process, it decides the next such call of another one, once, and the rail remembers it."""
    here, there = rails
    answered, known = _table(ANSWERED), _table(KNOWN)[operation, outcome]

    async def work() -> None:
        _set(here, operation, outcome)
        if answered[operation, outcome] == "-":
            assert await _never_answers(there, operation, "X1", known)
        else:
            answer = await (await _prepared(there, operation, "X1"))
            assert answer.outcome.value == answered[operation, outcome]
        assert await _known(here, operation, "X1") == known
        answer = await (await _prepared(here, operation, "X2"))
        assert answer.outcome.value == answered[operation, "no-switch"]

    asyncio.run(work())


def test_a_switch_is_used_up_exactly(rails: tuple[SandboxCardRail, SandboxCardRail]) -> None:
    """Of twenty refunds at once on two processes exactly the seven that were asked for are refused."""

    async def work() -> list[RefundOutcome]:
        _set(rails[0], "refund", "refuse", calls=7)
        calls = (_refund(rails[i % 2], f"F{i}") for i in range(20))
        return [answer.outcome for answer in await asyncio.gather(*calls)]

    outcomes = asyncio.run(work())
    assert (outcomes.count(F.REFUSED), outcomes.count(F.DONE)) == (7, 13)


def test_a_switch_belongs_to_its_operation(rails: tuple[SandboxCardRail, SandboxCardRail]) -> None:
    """A switch for refunds leaves charges and returns as they are, and stays for the next refund."""
    here, there = rails

    async def work() -> list[object]:
        _set(here, "refund", "refuse")
        answers = [await CALLS[operation](there, f"X-{operation}") for operation in ("charge", "return")]
        return [answer.outcome for answer in (*answers, await CALLS["refund"](there, "F"))]

    assert asyncio.run(work()) == [A.OTP_REQUIRED, F.DONE, F.REFUSED]


def test_the_last_switch_counts(rails: tuple[SandboxCardRail, SandboxCardRail]) -> None:
    """A new switch takes the place of the old one, and a count of none takes it back."""
    here, there = rails

    async def work() -> list[RefundOutcome]:
        _set(here, "refund", "refuse", calls=5)
        _set(there, "refund", "approve", calls=1)
        first = await _refund(here, "F1")
        _set(here, "refund", "refuse", calls=5)
        _set(there, "refund", None, calls=0)
        second = await _refund(here, "F2")
        return [first.outcome, second.outcome]

    assert asyncio.run(work()) == [F.DONE, F.DONE]


def test_a_switch_survives_the_process(place: Place) -> None:
    """Set by a process that is gone, it decides the call of the next one."""

    def at_a_new_rail(work: Callable[[RailJournal], Any]) -> Any:
        journal = RailJournal(rail_of(place))
        try:
            return work(journal)
        finally:
            journal.close()

    at_a_new_rail(lambda journal: journal.set_switch(RailSwitch("charge", "decline", 0), 1))
    answer = at_a_new_rail(
        lambda j: asyncio.run(_charge(SandboxCardRail(j, 0, make_challenge, make_token), "T"))
    )
    assert answer.outcome is A.DECLINED


def test_a_slow_call_is_remembered_before_it_is_answered(
    rails: tuple[SandboxCardRail, SandboxCardRail],
) -> None:
    """Made slow and nothing else, the call does what it would do, and others can look it up meanwhile."""
    here, there = rails
    _set(here, "refund", None, delay=600_000)
    assert asyncio.run(_never_answers(there, "refund", "F", "done"))


def test_a_switch_says_how_slow(place: Place) -> None:
    """A switched call takes the switch's time and not the rail's own."""
    journal = RailJournal(rail_of(place))
    payout = Payout("F", PayoutKind.REFUND, "T", 1, "NGN", None)
    journal.set_switch(RailSwitch("refund", "approve", 0), 1)

    async def work() -> RefundOutcome:
        async with asyncio.timeout(10):
            return (await SandboxCardPayouts(journal, 600_000).pay(payout)).outcome

    assert asyncio.run(work()) is F.DONE
    journal.close()


def test_a_switch_does_not_change_what_was_answered(rails: tuple[SandboxCardRail, SandboxCardRail]) -> None:
    """An id that has its answer keeps it, whatever is switched afterwards."""
    here, there = rails

    async def work() -> list[object]:
        first = await _refund(there, "F")
        _set(here, "refund", "refuse")
        return [first, await _refund(there, "F")]

    first, again = asyncio.run(work())
    assert first == again


# --- through the payment service ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("outcome", "order", "attempt"),
    [
        ("approve", "PAID", "APPROVED"),
        ("decline", "PENDING", "DECLINED"),
        ("refuse", "PENDING", "DECLINED"),
        ("timeout", "PENDING", "UNKNOWN"),
        ("unknown", "PENDING", "UNKNOWN"),
    ],
)
def test_a_switched_charge_of_an_order(place: Place, outcome: str, order: str, attempt: str) -> None:
    """Each outcome of a switch leaves order and attempt where such an answer leaves them."""

    async def work(till: Till) -> None:
        add_orders(till.store, "r")
        till.switch("charge", outcome)
        await till.charge()
        assert (till.order, till.attempts) == (order, [attempt])

    at_the_till(place, work, settings=CUT_SHORT if attempt == "UNKNOWN" else LONG)


def test_bad_cards_pay_when_told_to(place: Place) -> None:
    """A switch goes before the card's own answer."""

    async def work(till: Till) -> None:
        add_orders(till.store, "r")
        till.switch("charge", "approve")
        await till.charge(card=BAD_CARD)
        assert till.order == "PAID"

    at_the_till(place, work)


# --- money that the rail sends back -------------------------------------------------------------------


@pytest.mark.parametrize("operation", ["refund", "return"])
def test_a_paid_id_is_paid_once(
    rails: tuple[SandboxCardRail, SandboxCardRail], place: Place, operation: str
) -> None:
    """A paid id that is sent again by another process is answered the same and paid once."""
    here, there = rails

    async def work() -> list[Any]:
        answers = [await CALLS[operation](rail, "P") for rail in (here, there, here)]
        return [*answers, await _cards(there).look_up("P")]

    answers = asyncio.run(work())
    assert answers == answers[:1] * 4
    assert answers[0].outcome is F.DONE
    with reading_rail(place) as run:
        paid = run("SELECT payout_id, amount, currency FROM rail_payouts")
    assert paid == [{"payout_id": "P", "amount": 100_00, "currency": "NGN"}]


@pytest.mark.parametrize("operation", ["refund", "return"])
def test_a_refused_id_is_paid_when_it_is_asked_for_again(
    rails: tuple[SandboxCardRail, SandboxCardRail], place: Place, operation: str
) -> None:
    """A rail that refused to send money sends it under the same id later, and then never again."""
    here, there = rails

    async def work() -> list[Any]:
        _set(here, operation, "refuse")
        answers = [await CALLS[operation](rail, "P") for rail in (here, there)]
        _set(here, operation, "refuse")
        return [*answers, await CALLS[operation](here, "P")]

    assert [answer.outcome for answer in asyncio.run(work())] == [F.REFUSED, F.DONE, F.DONE]
    with reading_rail(place) as run:
        assert run("SELECT payout_id, state FROM rail_payouts") == [{"payout_id": "P", "state": "done"}]


@pytest.mark.parametrize("operation", ["refund", "return"])
@pytest.mark.parametrize("before", ["-", "refuse", "approve"])
def test_a_closed_id_is_refused_for_ever(
    rails: tuple[SandboxCardRail, SandboxCardRail], place: Place, operation: str, before: str
) -> None:
    """Never seen or refused, a closed id pays nothing, whatever a switch says; a paid one says so."""
    here, there = rails

    async def work() -> list[object]:
        if before != "-":
            _set(here, operation, before)
            await CALLS[operation](here, "P")
        closed = [(await _cards(rail).close("P")).outcome for rail in (here, there)]
        _set(here, operation, "approve")
        return [*closed, (await CALLS[operation](there, "P")).outcome]

    paid = before == "approve"
    assert asyncio.run(work()) == ([F.DONE] * 3 if paid else [F.CLOSED, F.CLOSED, F.REFUSED])
    with reading_rail(place) as run:
        assert run("SELECT state FROM rail_payouts") == [{"state": "done" if paid else "closed"}]


def test_an_unknown_payout_is_not_known(rails: tuple[SandboxCardRail, SandboxCardRail]) -> None:
    """Nothing is known of an id that was never sent, also not when a payment has that id."""
    here, _ = rails

    async def work() -> object:
        await CALLS["charge"](here, "P")
        return await _cards(here).look_up("P")

    assert asyncio.run(work()) is None
