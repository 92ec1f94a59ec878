"""The server dies between the two commits around a call to the rail; the next one's worker finishes."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import httpx2
import pytest

from faults.between import OPERATIONS, Death, Point, call_of, died_at, done_by_rail
from races.laws import Heard, Told, complaints, unsettled
from races.lines import AMOUNT, CANCELLED_BODY, came_back_paid, paid


@pytest.fixture(scope="module", params=Point, ids=lambda point: point.name.lower().replace("_", " "))
def death(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Death:
    return died_at(request.param, tmp_path_factory.mktemp("till"))


@dataclass(frozen=True)
class Ending:
    """What an order must have come to."""

    status: str
    attempt: str
    moved: tuple[str, ...]
    """The events that say what became of the money."""
    totals: tuple[str, ...] = ()
    """Where the amount must stand; nothing stands anywhere else."""


NOT_TAKEN: Final = Ending("PENDING", "FAILED", ("payment_failed",))
TAKEN: Final = Ending("PAID", "APPROVED", ("payment_success",), ("received", "applied"))
GIVEN_BACK: Final = Ending(
    "CANCELLED", "VOIDED", ("void_started", "payment_reversal"), ("received", "returned")
)
REFUNDED: Final = Ending(
    "PAID",
    "APPROVED",
    ("payment_success", "refund_started", "payment_refunded"),
    ("received", "applied", "refunded"),
)
INTENTION: Final = {
    "charge": "attempt_started",
    "confirm": "attempt_resumed",
    "challenge": "attempt_resumed",
    "void": "void_started",
    "refund": "refund_started",
}
"""The event of each operation's first commit."""
ABOUT_MONEY: Final = {e for ending in (NOT_TAKEN, TAKEN, GIVEN_BACK, REFUNDED) for e in ending.moved}
TOTALS: Final = ("received", "applied", "held", "returning", "returned", "refunded")


def ending_of(operation: str, point: Point) -> Ending:
    """A payment that never reached the rail is not taken any more; money that must go back goes back."""
    if operation == "void":
        return GIVEN_BACK
    if operation == "refund":
        return REFUNDED
    return NOT_TAKEN if point is Point.BEFORE_THE_RAIL else TAKEN


@pytest.mark.parametrize("operation", OPERATIONS)
def test_every_point_of_every_operation_is_visited(death: Death, operation: str) -> None:
    """The dead server left the intention without its answer; the rail had acted if the point says so."""
    assert call_of(death.left, operation) == operation
    order_id = death.left.by_reference[operation]["order_id"]
    assert death.left.events[order_id][-1]["type"] == INTENTION[operation]
    assert done_by_rail(death.left, operation) is (death.point is not Point.BEFORE_THE_RAIL)


@pytest.mark.parametrize("operation", OPERATIONS)
def test_money_is_applied_once_or_back_once_and_the_lookups_say_which(death: Death, operation: str) -> None:
    """Order, attempt, totals and history tell one story, and it is the one that the rail remembers."""
    shown, ending = death.shown[operation], ending_of(operation, death.point)
    assert (shown["status"], shown["attempts"][0]["status"]) == (ending.status, ending.attempt)
    assert [e["type"] for e in shown["timeline"] if e["type"] in ABOUT_MONEY] == list(ending.moved)
    assert [refund["status"] for refund in shown["refunds"]] == ["DONE"] * (ending is REFUNDED)
    totals = {name: AMOUNT if name in ending.totals else "0.00" for name in TOTALS}
    assert death.money[operation] == shown["money"] == totals | {"currency": "NGN"}


def _told_paid(answer: httpx2.Response) -> bool:
    data: dict[str, Any] = answer.json()["data"]
    return (data["status"], data["responseCode"]) == (True, "00")


TOLD_DONE: Final[dict[str, Callable[[httpx2.Response], bool]]] = {
    "charge": _told_paid,
    "confirm": paid,
    "challenge": came_back_paid,
    "void": lambda answer: answer.content == CANCELLED_BODY,
    "refund": lambda answer: answer.json()["data"]["message"] == "Refund processed successfully",
}


@pytest.mark.parametrize("operation", OPERATIONS)
def test_whoever_asks_again_hears_what_became_of_it(death: Death, operation: str) -> None:
    """The same request gets the answer that the worker completed, or was stored, and does nothing twice."""
    answer = death.again[operation]
    assert TOLD_DONE[operation](answer) is (ending_of(operation, death.point) is not NOT_TAKEN)
    if operation != "challenge":
        assert answer.headers["idempotency-replayed"] == "true"


def test_the_books_hold_and_fit_the_rail(death: Death) -> None:
    """Books, rail and the program's own check agree when all is finished, and nothing is under way."""
    heard = [Heard("void", Told.CANCELLED)]
    heard += [Heard(each, Told.PAID) for each in OPERATIONS if ending_of(each, death.point).status == "PAID"]
    assert complaints(death.finished, heard) == []
    assert unsettled(death.finished) == []
    assert death.ledger_check == ""
