"""What becomes of a batch that fails: poison commands, transient trouble, and a COMMIT without an answer."""

from typing import Any

import pytest
from structlog.testing import capture_logs

from engine.builders import claim
from engine.harness import (
    Fault,
    FaultyStore,
    Renderer,
    ask,
    ending,
    event_types,
    poison,
    served,
    status,
    submitted,
    together,
    traced,
)
from opentill.domain.commands import Command
from opentill.domain.order import Terms
from opentill.engine.engine import Engine, Result
from store_factories import NOW, ToldClock, add_orders, cancel, new_order

# --- poison -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "bad",
    [
        pytest.param(new_order("bad \ud800"), id="lone surrogate in the reference"),
        pytest.param(cancel("bad \udfff"), id="lone surrogate in the name"),
        pytest.param(new_order("bad", amount=0), id="refused by a CHECK"),
    ],
)
def test_a_poison_command_fails_alone(store: FaultyStore, bad: Command) -> None:
    """What no database takes gets CommandFailed; its neighbours, before and after it, are done."""
    add_orders(store, "r", "s")
    assert submitted(store, cancel("r"), bad, cancel("s")) == ["done", "CommandFailed", "done"]
    assert ask(store, "SELECT reference, status FROM orders ORDER BY 1") == [
        ("r", "CANCELLED"),
        ("s", "CANCELLED"),
    ]


def test_that_a_batch_was_run_one_by_one_is_told(store: FaultyStore) -> None:
    """One line of the log says why, in the database's words and without values; and it is counted."""
    add_orders(store, "r")
    bad = new_order("bad", amount=0, terms=Terms(customer_email="somebody@example.com"))

    async def work(engine: Engine) -> int:
        await together(engine.submit(cancel("r")), engine.submit(bad))
        return engine.metrics.run_alone

    with capture_logs() as logs:
        assert served(store, work) == 1
    (line,) = [each for each in logs if each["event"] == "batch_run_one_by_one"]
    assert (line["commands"], line["error"]) == (2, "StoreError")
    assert "constraint" in line["said"]
    assert "somebody" not in str(logs)


def test_a_failing_renderer_fails_alone(store: FaultyStore) -> None:
    """A command whose reply can not be rendered is not carried out; its neighbours are."""
    add_orders(store, "r", "s", "t")

    async def work(engine: Engine) -> list[Any]:
        return await together(
            engine.submit(cancel("r"), render=Renderer()),
            engine.submit(cancel("s"), render=poison),
            engine.submit(cancel("t"), render=Renderer()),
        )

    assert [ending(a) for a in served(store, work)] == ["done", "CommandFailed", "done"]
    assert [status(store, name) for name in "rst"] == ["CANCELLED", "PENDING", "CANCELLED"]


def test_what_a_poison_command_did_in_the_batch_is_not_seen(store: FaultyStore) -> None:
    """A cancel after a poison cancel of the same order succeeds: the poison one never happened."""
    add_orders(store, "r")

    async def work(engine: Engine) -> list[Any]:
        return await together(engine.submit(cancel("r"), render=poison), engine.submit(cancel("r")))

    assert [ending(a) for a in served(store, work)] == ["CommandFailed", "done"]
    assert event_types(store, "r") == ["order_created", "order_cancelled"]


# --- transient ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("faults", [[Fault.TRANSIENT], [Fault.CLOSED], [Fault.TRANSIENT, Fault.CLOSED]])
def test_a_transient_failure_runs_the_batch_again(store: FaultyStore, faults: list[Fault]) -> None:
    """A batch that fails up to twice for a passing reason is run again after a pause and succeeds."""
    add_orders(store, "r", "s")
    store.faults.extend(faults)
    clock = ToldClock()
    with traced(store) as statements:
        assert submitted(store, cancel("r"), cancel("s"), clock=clock) == ["done", "done"]
    assert statements.count("COMMIT") == 1
    assert event_types(store, "r") == ["order_created", "order_cancelled"]
    assert clock.time > NOW


@pytest.mark.parametrize("fault", [Fault.TRANSIENT, Fault.CLOSED])
def test_a_failure_that_does_not_pass_is_overload(store: FaultyStore, fault: Fault) -> None:
    """After three tries every command of the batch gets Overloaded, and nothing is written."""
    add_orders(store, "r", "s")
    store.faults.extend([fault] * 3)
    with traced(store) as statements:
        assert submitted(store, cancel("r"), cancel("s")) == ["Overloaded", "Overloaded"]
    assert "COMMIT" not in statements
    assert (status(store, "r"), status(store, "s")) == ("PENDING", "PENDING")
    assert submitted(store, cancel("r"), cancel("s")) == ["done", "done"]


# --- a COMMIT without an answer -------------------------------------------------------------------------


def _cancelled_twice(store: FaultyStore, *faults: Fault | None) -> list[str]:
    """How two cancels of one order end that wait together when these faults fall."""
    add_orders(store, "r")
    store.faults.extend(faults)
    return submitted(store, cancel("r"), cancel("r"))


def test_a_lost_commit_that_took_effect_keeps_its_outcomes(store: FaultyStore) -> None:
    """The first outcome is the answer: our own cancel is never refused as already cancelled."""
    assert _cancelled_twice(store, Fault.LOST_AFTER) == ["done", "OrderAlreadyCancelled"]
    assert event_types(store, "r") == ["order_created", "order_cancelled"]


def test_a_lost_commit_is_looked_for_more_than_once(store: FaultyStore) -> None:
    """While the database can not be asked, it is asked again, and the outcome is still the first one."""
    answers = _cancelled_twice(store, Fault.LOST_AFTER, Fault.CLOSED, Fault.CLOSED)
    assert answers == ["done", "OrderAlreadyCancelled"]


def test_a_lost_commit_that_took_no_effect_is_run_again(store: FaultyStore) -> None:
    """What is not found is decided and committed again, once."""
    with traced(store) as statements:
        assert _cancelled_twice(store, Fault.LOST_BEFORE) == ["done", "OrderAlreadyCancelled"]
    assert statements.count("COMMIT") == 2  # of the order, and of the second try
    assert event_types(store, "r") == ["order_created", "order_cancelled"]


def test_commits_that_never_take_effect_stay_unknown(store: FaultyStore) -> None:
    """After five commits without an answer nothing is promised, though nothing was found written."""
    faults = [Fault.LOST_BEFORE] * 5
    assert _cancelled_twice(store, *faults) == ["OutcomeUnknown", "OutcomeUnknown"]
    assert status(store, "r") == "PENDING"


@pytest.mark.parametrize(
    ("lost", "became", "asked_again"),
    [(Fault.LOST_AFTER, "CANCELLED", "OrderAlreadyCancelled"), (Fault.LOST_BEFORE, "PENDING", "done")],
)
def test_what_can_not_be_found_out_is_unknown(
    store: FaultyStore, lost: Fault, became: str, asked_again: str
) -> None:
    """Where the database stays out of reach the answer is OutcomeUnknown, and asking again tells."""
    answers = _cancelled_twice(store, lost, *[Fault.CLOSED] * 4)
    assert answers == ["OutcomeUnknown", "OutcomeUnknown"]
    assert status(store, "r") == became
    assert submitted(store, cancel("r")) == [asked_again]


@pytest.mark.parametrize(
    ("lost", "became", "asked_again"),
    [(Fault.LOST_AFTER, "CANCELLED", "OrderAlreadyCancelled"), (Fault.LOST_BEFORE, "PENDING", "done")],
)
@pytest.mark.parametrize("names", ["rs", "r"])
def test_after_a_lost_commit_no_exception_of_whatever_kind_has_commands_judged_alone(
    store: FaultyStore, names: str, lost: Fault, became: str, asked_again: str
) -> None:
    """An error in the next try that is none of the store's makes all of the batch unknown, too (laws 2)."""
    add_orders(store, "r", "s")
    store.faults.extend([lost, Fault.FOREIGN])
    assert set(submitted(store, *map(cancel, names))) == {"OutcomeUnknown"}
    assert {status(store, name) for name in names} == {became}
    assert {answer for name in names for answer in submitted(store, cancel(name))} == {asked_again}


def test_why_the_outcome_is_unknown_is_logged(store: FaultyStore) -> None:
    """The exception that ended the search for a lost commit stands in the log, with its traceback."""
    add_orders(store, "r")
    store.faults.extend([Fault.LOST_AFTER, Fault.FOREIGN])
    with capture_logs() as logs:
        assert submitted(store, cancel("r")) == ["OutcomeUnknown"]
    (line,) = [each for each in logs if each["event"] == "commit_not_found_out"]
    assert isinstance(line["exc_info"], RuntimeError)


def test_a_lost_create_is_recognised(store: FaultyStore) -> None:
    """A create whose COMMIT took effect unheard is not refused as a used reference."""
    store.faults.append(Fault.LOST_AFTER)
    assert submitted(store, new_order("r")) == ["done"]
    assert event_types(store, "r") == ["order_created"]


@pytest.mark.parametrize(("lost", "times_rendered"), [(Fault.LOST_AFTER, 1), (Fault.LOST_BEFORE, 2)])
def test_a_lost_commit_of_refusals_is_recognised_by_a_key(
    store: FaultyStore, lost: Fault, times_rendered: int
) -> None:
    """A batch that wrote only stored refusals is judged again just when its keys are not found."""
    render = Renderer()

    async def work(engine: Engine) -> list[Result]:
        store.faults.append(lost)
        return [await engine.submit(cancel("nobody"), render=render, claim=claim("k")) for _ in range(2)]

    first, again = served(store, work)
    assert (ending(first), ending(again)) == ("RecordNotFound", "replayed")
    assert render.rendered == times_rendered
    assert again.reply == first.reply
