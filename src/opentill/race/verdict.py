"""Was the promise kept? Told from answers alone: what everybody heard, and what is shown afterwards."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from opentill.domain.money import major_units
from opentill.domain.order import OrderStatus
from opentill.race.contest import Fight, Won
from opentill.race.lines import CURRENCY

ENDINGS: Final = frozenset({Won.PAID, Won.CANCELLED})
_PARTS: Final = ("applied", "held", "returning", "returned")


@dataclass(frozen=True, slots=True)
class Contestants:
    """The fortunes of one kind of request."""

    by: str
    asked: int
    won: int
    refused: Mapping[str, int]
    """By reason; a failure without one by its HTTP status."""
    milliseconds: tuple[float, float, float]
    """The median, the 99th percentile and the longest."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """The outcome of a race."""

    orders: int
    statuses: Mapping[str, int]
    contestants: list[Contestants]
    money: Mapping[str, str]
    """Sums over all orders, in major units."""
    ledger_difference: str
    complaints: list[str]
    """Everything that breaks the promise: sentences that begin with the order's reference."""


def judged(
    fights: Sequence[Fight[Any]], shown: Mapping[str, Mapping[str, Any]], ledger_difference: str
) -> Verdict:
    """Judge these fights; ``shown`` is each order in full, by reference, once all has settled."""
    sums: Counter[str] = Counter()
    for order in shown.values():
        sums.update({part: _minor(order["money"], part) for part in ("received", *_PARTS, "refunded")})
    complaints = [sentence for fight in fights for sentence in _of_fight(fight, shown.get(fight.reference))]
    if _minor_of(ledger_difference):
        complaints.append(f"ledger: debits and credits differ by {ledger_difference}")
    return Verdict(
        orders=len(fights),
        statuses=Counter(order["status"] for order in shown.values()),
        contestants=list(_fared(fights)),
        money={part: major_units(minor, CURRENCY) for part, minor in sums.items()},
        ledger_difference=ledger_difference,
        complaints=complaints,
    )


def _of_fight(fight: Fight[Any], order: Mapping[str, Any] | None) -> Iterator[str]:
    name = fight.reference
    if order is None:
        if any(each.answer.status_code == 200 for each in fight.by("create")):
            yield f"{name}: acknowledged and lost"
        return
    endings = [each.won for each in fight.tries if each.won in ENDINGS]
    if len(endings) > 1:
        yield f"{name}: {len(endings)} winners ({', '.join(sorted(map(str, endings)))})"
    if endings and endings[0] != order["status"]:
        yield f"{name}: told {endings[0]}, is {order['status']}"
    if sum(each.won is Won.REFUNDED for each in fight.tries) > 1:
        yield f"{name}: all of it was given back more than once"
    yield from (f"{name}: {sentence}" for sentence in _of_money(order))


def _of_money(order: Mapping[str, Any]) -> Iterator[str]:
    money = order["money"]
    if _minor(money, "received") != sum(_minor(money, part) for part in _PARTS):
        yield "its money does not add up"
    kept = _minor_of(order["amount"]) if order["status"] == OrderStatus.PAID else 0
    if _minor(money, "applied") != kept:
        yield f"it is {order['status']} and keeps {money['applied']}"
    if _minor(money, "refunded") > _minor(money, "applied"):
        yield f"{money['refunded']} were refunded of {money['applied']}"
    if _minor(money, "returning"):
        yield f"{money['returning']} are still on their way back"


def _fared(fights: Sequence[Fight[Any]]) -> Iterator[Contestants]:
    kinds = dict.fromkeys(each.by for fight in fights for each in fight.tries)
    for kind in kinds:
        tries = [each for fight in fights for each in fight.by(kind)]
        refused = Counter(
            each.reason or f"HTTP {each.answer.status_code}"
            for each in tries
            if each.reason or each.answer.status_code != 200
        )
        won = sum(each.won is not None for each in tries)
        yield Contestants(kind, len(tries), won, refused, _milliseconds([each.seconds for each in tries]))


def _milliseconds(seconds: Iterable[float]) -> tuple[float, float, float]:
    ordered = sorted(1000 * each for each in seconds)
    return ordered[len(ordered) // 2], ordered[len(ordered) * 99 // 100], ordered[-1]


def _minor(money: Mapping[str, str], part: str) -> int:
    return _minor_of(money[part])


def _minor_of(amount: str) -> int:
    """Read an amount as hundredths: every amount of contract 10 has two decimals."""
    return int(amount.replace(".", ""))
