"""How money goes back to its sender: every cell of the return table, written out by hand."""

import pytest
from msgspec.structs import replace

from domain import factories, transfer_factories
from domain.transfer_factories import with_return
from opentill.domain.commands import Command, RefundOutcome
from opentill.domain.decisions import decide
from opentill.domain.ledger import entries_for
from opentill.domain.order import OrderStatus, ReturnStatus, Totals
from opentill.domain.refusals import (
    RecordNotFound,
    Refusal,
    ReturnCompleted,
    ReturnInProgress,
    ReturnParked,
)

DUE, RUNNING, UNKNOWN, PARKED, DONE, CLOSING, DISPUTED = ReturnStatus
TRY, RETRY, BY_HAND = (
    transfer_factories.try_return(),
    transfer_factories.retry(),
    transfer_factories.by_hand(),
)
PAID, SILENT = (transfer_factories.settle_return(o) for o in (RefundOutcome.DONE, RefundOutcome.SILENT))
NO = transfer_factories.settle_return(RefundOutcome.REFUSED)
NO_AT_LAST = transfer_factories.settle_return(RefundOutcome.REFUSED, max_tries=1)
CLOSED = transfer_factories.settle_return(RefundOutcome.CLOSED, answers_until=0)

STEPS = [
    (DUE, TRY, RUNNING, "return_tried"),
    (DUE, PAID, DONE, "payment_reversal"),
    (DUE, BY_HAND, DONE, "payment_reversal"),
    (RUNNING, TRY, RUNNING, "return_tried"),
    (RUNNING, PAID, DONE, "payment_reversal"),
    (RUNNING, NO, DUE, "return_refused"),
    (RUNNING, NO_AT_LAST, PARKED, "return_parked"),
    (RUNNING, SILENT, UNKNOWN, "return_unknown"),
    (UNKNOWN, TRY, RUNNING, "return_tried"),
    (UNKNOWN, PAID, DONE, "payment_reversal"),
    (CLOSING, PAID, DONE, "payment_reversal"),
    (CLOSING, CLOSED, PARKED, "return_parked"),
    (PARKED, PAID, DONE, "payment_reversal"),
    (PARKED, RETRY, DUE, "return_retried"),
    (PARKED, BY_HAND, DONE, "payment_reversal"),
]
KNOWN = [
    (DUE, NO),
    (DUE, NO_AT_LAST),
    (DUE, SILENT),
    (UNKNOWN, NO),
    (UNKNOWN, NO_AT_LAST),
    (UNKNOWN, SILENT),
    (PARKED, NO),
    (PARKED, NO_AT_LAST),
    (PARKED, SILENT),
    *((CLOSING, answer) for answer in (NO, NO_AT_LAST, SILENT)),
    *((status, answer) for status in (DONE, DISPUTED) for answer in (PAID, NO, NO_AT_LAST, SILENT)),
    *((status, CLOSED) for status in (DUE, RUNNING, UNKNOWN, PARKED, DONE, DISPUTED)),
]
REFUSED = [
    (DUE, RETRY, ReturnInProgress),
    *((status, asked, ReturnInProgress) for status in (RUNNING, UNKNOWN) for asked in (RETRY, BY_HAND)),
    *((CLOSING, asked, ReturnInProgress) for asked in (TRY, RETRY, BY_HAND)),
    (PARKED, TRY, ReturnParked),
    *((status, asked, ReturnCompleted) for status in (DONE, DISPUTED) for asked in (TRY, RETRY, BY_HAND)),
]


@pytest.mark.parametrize(("status", "command", "to", "event"), STEPS)
def test_a_return_takes_the_step_of_its_table(
    status: ReturnStatus, command: Command, to: ReturnStatus, event: str
) -> None:
    """Each answer and each wish leads where the table says; the money is back only when it is done."""
    change = decide(with_return(status), command, factories.NOW)
    (after,) = change.after.returns
    assert after.status is to
    assert [(e.type.value, e.reason, e.transaction_id) for e in change.events] == [(event, "late", "C")]
    back = Totals(received=100, returned=100) if to is DONE else Totals(received=100, returning=100)
    assert change.after.totals == back
    assert (after.call is None) == (to in {PARKED, DONE})


@pytest.mark.parametrize(("status", "command"), KNOWN)
def test_an_answer_that_tells_nothing_new_changes_nothing(status: ReturnStatus, command: Command) -> None:
    """An answer is a fact and never refused; one that is known or comes too late has no effect."""
    assert decide(with_return(status), command, factories.NOW).events == ()


@pytest.mark.parametrize(("status", "command", "refusal"), REFUSED)
def test_what_may_not_be_done_with_a_return_is_refused(
    status: ReturnStatus, command: Command, refusal: type[Refusal]
) -> None:
    """Nobody settles a return while the outcome of a try is unknown, nor one that is back already."""
    with pytest.raises(refusal):
        decide(with_return(status), command, factories.NOW)


def test_every_cell_has_a_case() -> None:
    """The three lists above name each status with each input."""
    inputs = (TRY, RETRY, BY_HAND, PAID, SILENT, NO, NO_AT_LAST, CLOSED)
    named = [(status, id(command)) for status, command, *_ in [*STEPS, *KNOWN, *REFUSED]]
    assert sorted(named) == sorted((status, id(command)) for status in ReturnStatus for command in inputs)


def test_a_return_that_somebody_has_is_left_to_them() -> None:
    """A second worker who comes by while the first is asking the bank does not ask it as well."""
    with pytest.raises(ReturnInProgress):
        decide(with_return(RUNNING, until=factories.NOW + 1), TRY, factories.NOW)


def test_refusals_are_counted_until_a_person_retries() -> None:
    """The second refusal of two parks the return; a person gives it two more."""
    order = with_return(RUNNING)
    again = transfer_factories.try_return(now=factories.NOW + 60_000)
    steps: list[tuple[Command, ReturnStatus, int]] = [
        (NO, DUE, 1),
        (again, RUNNING, 1),
        (replace(NO, answers_until=again.call_until), PARKED, 2),
        (RETRY, DUE, 0),
    ]
    for command, status, tries in steps:
        order = decide(order, command, factories.NOW).after
        assert (order.returns[0].status, order.returns[0].tries) == (status, tries)


@pytest.mark.parametrize("late", [NO, NO_AT_LAST, SILENT])
def test_a_late_answer_of_an_earlier_try_says_nothing_of_a_newer_one(late: Command) -> None:
    """The newer one may be paying at this moment, so a person must not yet settle the return by hand."""
    order = decide(with_return(RUNNING), TRY, factories.NOW).after
    assert decide(order, late, factories.NOW).events == ()
    with pytest.raises(ReturnInProgress):
        decide(decide(order, late, factories.NOW).after, BY_HAND, factories.NOW)


@pytest.mark.parametrize("silence", [True, False])
def test_a_last_refusal_beside_a_try_without_an_answer_closes_the_id_first(*, silence: bool) -> None:
    """Told or not that a try had no answer: nobody settles the return before the rail has closed its id."""
    order = with_return(RUNNING)
    if silence:
        order = decide(order, SILENT, factories.NOW).after
    again = transfer_factories.try_return(now=factories.NOW + 60_000)
    order = decide(order, again, factories.NOW).after
    assert order.returns[0].unanswered
    change = decide(order, replace(NO_AT_LAST, answers_until=again.call_until), factories.NOW)
    (closing,) = change.after.returns
    assert [event.type.value for event in change.events] == ["return_closing"]
    assert (closing.status, closing.call and closing.call.until) == (CLOSING, 0)
    with pytest.raises(ReturnInProgress):
        decide(change.after, BY_HAND, factories.NOW)
    (parked,) = decide(change.after, CLOSED, factories.NOW).after.returns
    assert (parked.status, parked.call, parked.unanswered) == (PARKED, None, False)
    assert (parked.response_code, parked.message) == ("91", "what the bank said")


def test_a_return_paid_after_it_was_settled_by_hand_is_booked_in_the_open() -> None:
    """It went out twice: what the bank sent stands on an account of its own, once."""
    settled = decide(with_return(PARKED), BY_HAND, factories.NOW).after
    change = decide(settled, PAID, factories.NOW)
    (event,) = change.events
    assert (event.type.value, event.amount, event.note) == ("payout_disputed", 100, "REF 1")
    assert [(e.account, e.amount) for e in entries_for(event)] == [
        ("payouts_disputed", 100),
        ("transfer_rail", -100),
    ]
    assert (change.after.returns[0].status, change.after.totals) == (DISPUTED, settled.totals)
    assert decide(change.after, replace(PAID, command_id=BY_HAND.command_id), factories.NOW).events == ()


def test_what_was_settled_by_hand_names_the_banks_reference() -> None:
    """The event of a return that a person settled says under which reference the money left."""
    change = decide(with_return(PARKED), BY_HAND, factories.NOW)
    assert change.after.returns[0].bank_reference == "REF 1"
    assert change.events[0].note == "REF 1"


def test_a_credit_without_a_return_has_none_to_settle() -> None:
    """Commands about a return of a credit that was not sent back find nothing."""
    order = transfer_factories.with_held(factories.order(OrderStatus.PENDING), transfer_factories.credit(100))
    for command in (TRY, RETRY, BY_HAND, PAID):
        with pytest.raises(RecordNotFound):
            decide(order, command, factories.NOW)
