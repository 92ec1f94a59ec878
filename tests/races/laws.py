"""The promise as a checker: what was told, what the books say and what the rail took must be one story.

Each law yields its complaints as sentences that begin with the order's reference. The laws are written
out here by hand and share nothing with the code that they judge.
"""

from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from enum import Enum

from races.books import Books, Row


class Told(Enum):
    """An acknowledgement; the value is what the order's status must be from then on."""

    CREATED = None
    CANCELLED = "CANCELLED"
    PAID = "PAID"
    EXPIRED = "EXPIRED"


@dataclass(frozen=True)
class Heard:
    """One acknowledgement that somebody got."""

    reference: str
    told: Told


_WINS = {"payment_success": "PAID", "order_cancelled": "CANCELLED"}


def complaints(books: Books, heard: Collection[Heard]) -> list[str]:
    """Everything that is wrong."""
    return [
        *two_winners(heard),
        *_told_otherwise(books, heard),
        *(sentence for order in books.orders.values() for sentence in _of_order(books, order)),
        *_of_ledger(books),
    ]


def two_winners(heard: Collection[Heard]) -> list[str]:
    """Orders whose ending was granted more than once: to a payment and a cancel, or to two of a kind."""
    granted = Counter(h.reference for h in heard if h.told is not Told.CREATED)
    return [f"{reference}: {count} winners" for reference, count in granted.items() if count > 1]


def unsettled(books: Books) -> list[str]:
    """Money at the rail that is not, or no longer, what the books say; for when nothing is under way."""
    found = []
    for order in books.orders.values():
        for attempt in books.attempts.get(order["order_id"], []):
            known = books.at_the_rail.get(attempt["transaction_id"])
            sentence = _against_the_rail(order, attempt, known)
            if sentence:
                found.append(f"{order['reference']}: {sentence}")
        for refund in books.refunds.get(order["order_id"], []):
            sentence = _against_the_payout(order, refund, books.paid_out.get(refund["refund_id"]))
            if sentence:
                found.append(f"{order['reference']}: {sentence}")
    ours = {a["transaction_id"] for attempts in books.attempts.values() for a in attempts}
    ours |= {r["refund_id"] for refunds in books.refunds.values() for r in refunds}
    strangers = (books.at_the_rail.keys() | books.paid_out.keys()) - ours
    return found + [
        f"{stranger}: the rail moved money of which the books do not know" for stranger in strangers
    ]


def _told_otherwise(books: Books, heard: Collection[Heard]) -> Iterator[str]:
    by_reference = books.by_reference
    for each in heard:
        order = by_reference.get(each.reference)
        if order is None:
            yield f"{each.reference}: acknowledged and lost"
        elif each.told.value not in {None, order["status"]}:
            yield f"{each.reference}: told {each.told.value}, is {order['status']}"


def _of_order(books: Books, order: Row) -> Iterator[str]:
    events = books.events.get(order["order_id"], [])
    sentences = (
        *_of_history(order, events),
        *_of_money(books, order),
        *_of_voids(books, order, events),
        *_of_refunds(books, order, events),
    )
    for sentence in sentences:
        yield f"{order['reference']}: {sentence}"


def _of_history(order: Row, events: list[Row]) -> Iterator[str]:
    """Events count 1, 2, 3 ... to the version, each begins where the last ended, one at most is a win."""
    if [e["sequence"] for e in events] != list(range(1, order["version"] + 1)):
        yield "its events have a gap or a double"
    if [e["before"] for e in events] != [None, *(e["after"] for e in events)][: len(events)]:
        yield "an event does not begin where the one before ended"
    wins = [_WINS[e["type"]] for e in events if e["type"] in _WINS]
    status = order["status"]
    if wins != ([status] if status in _WINS.values() else []):
        yield f"its events say {wins}, its status {status}"


def _of_money(books: Books, order: Row) -> Iterator[str]:
    """The totals balance, only what is paid keeps money, and the ledger says the same, booking by booking."""
    kept = order["amount"] if order["status"] == "PAID" else 0
    if order["received"] != kept + order["held"] + order["returning"] + order["returned"]:
        yield "its totals do not balance"
    given_back, running = _refunded(books, order)
    if (order["applied"], order["held"]) != (kept, 0):
        yield f"it is {order['status']} and keeps {order['applied']}"
    balances: Counter[str] = Counter()
    bookings: Counter[int] = Counter()
    for entry in books.entries.get(order["order_id"], []):
        balances[entry["ledger_account"]] += entry["amount"]
        bookings[entry["sequence"]] += entry["amount"]
    if any(bookings.values()):
        yield "a booking does not sum to zero"
    owed = {
        "card_rail": order["received"] - order["returned"] - given_back,
        f"merchant:{order['account_id']}": given_back + running + order["fee"] - order["applied"],
        "fees": -order["fee"],
        "returns_due": -order["returning"],
        "refunds_due": -running,
    }
    if {k: v for k, v in balances.items() if v} != {k: v for k, v in owed.items() if v}:
        yield f"its ledger says {dict(balances)}"


def _of_voids(books: Books, order: Row, events: list[Row]) -> Iterator[str]:
    """Money nobody wanted is booked when it is found and again when it is back."""
    booked = [(e["type"], e["transaction_id"]) for e in events]
    for attempt in books.attempts.get(order["order_id"], []):
        status, transaction = attempt["status"], attempt["transaction_id"]
        times = [booked.count((t, transaction)) for t in ("void_started", "payment_reversal")]
        if times != {"VOIDING": [1, 0], "VOIDED": [1, 1]}.get(status, [0, 0]):
            yield f"an attempt is {status} with {times[0]} voids and {times[1]} reversals booked"
        if (status == "APPROVED") != (transaction == order["paid_by"]):
            yield f"an attempt is {status}, the order was paid by {order['paid_by']}"


def _refunded(books: Books, order: Row) -> tuple[int, int]:
    """Return how much has been given back, and how much is about to be, going by the refunds themselves."""
    sums: Counter[str] = Counter()
    for refund in books.refunds.get(order["order_id"], []):
        sums[refund["status"]] += refund["amount"]
    return sums["DONE"], sums["RUNNING"] + sums["UNKNOWN"]


def _of_refunds(books: Books, order: Row, events: list[Row]) -> Iterator[str]:
    """Refunds stay within what was paid, are of what paid, and each is booked when it starts and ends."""
    asked = sum(_refunded(books, order))
    if asked > order["applied"]:
        yield f"its refunds sum to {asked} of {order['applied']}"
    if asked != order["refunded"]:
        yield f"its refunds sum to {asked}, it says {order['refunded']}"
    booked = Counter((e["type"], e["refund_id"], e["amount"]) for e in events if e["refund_id"])
    for refund in books.refunds.get(order["order_id"], []):
        status, about = refund["status"], (refund["refund_id"], refund["amount"])
        times = [booked[type_, *about] for type_ in ("refund_started", "payment_refunded", "refund_refused")]
        if times != [1, int(status == "DONE"), int(status == "REFUSED")]:
            yield f"a refund is {status} with {times} starts, payments and refusals booked"
        if refund["transaction_id"] != order["paid_by"]:
            yield "a refund is of a transaction that did not pay"


def _of_ledger(books: Books) -> Iterator[str]:
    sums: Counter[str] = Counter()
    for entries in books.entries.values():
        for entry in entries:
            sums[entry["currency"]] += entry["amount"]
    for currency, total in sums.items():
        if total:
            yield f"ledger: {currency} sums to {total}"


_CHALLENGED = ("challenge_required", "challenge_passed")
_AT_THE_RAIL = {
    "APPROVED": {"approved"},
    "VOIDED": {"voided"},
    "AWAITING_OTP": {"otp_required"},
    "CANCELLED": {"otp_required", "never_happened", *_CHALLENGED},
    "FAILED": {"never_happened"},
}
"""For each way an attempt may rest in these tests, what the rail may say of it."""


def _against_the_rail(order: Row, attempt: Row, known: Row | None) -> str:
    if attempt["call_until"] is not None:
        return f"an attempt is still {attempt['status']}"
    if known is None or known["state"] not in _AT_THE_RAIL.get(attempt["status"], ()):
        return f"an attempt is {attempt['status']}, the rail says {known and known['state']}"
    if known["state"] == "approved" and (order["status"], known["amount"]) != ("PAID", order["amount"]):
        return f"the rail keeps {known['amount']} of an order that is {order['status']}"
    return ""


_PAID_OUT = {"DONE": "done", "REFUSED": "refused"}


def _against_the_payout(order: Row, refund: Row, known: Row | None) -> str:
    if refund["call_until"] is not None:
        return f"a refund is still {refund['status']}"
    wanted = (_PAID_OUT.get(refund["status"]), refund["transaction_id"], refund["amount"], order["currency"])
    said = known and (known["state"], known["transaction_id"], known["amount"], known["currency"])
    return "" if said == wanted else f"a refund is {wanted}, the rail says {said}"
