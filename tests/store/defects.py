"""Seeded defects: damage to one order of the seed data that exactly one check of the audit must find."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from databases import Run
from opentill.domain.commands import Actor, ActorKind
from opentill.domain.events import Event, EventType
from opentill.domain.ledger import entries_for
from opentill.domain.order import OrderStatus
from opentill.store.orders import rows
from store import seed_data
from store_factories import ACCOUNT, OTHER


class Books:
    """A database that is about to be damaged, with the constraints that would forbid it turned off."""

    def __init__(self, run: Run, orders: dict[str, str], first: str):
        self.orders = orders
        self._run = run
        self._first = first
        """What sorts rows by when they were written."""

    def set(self, table: str, order: str, changes: str, where: str = "true") -> None:
        """Change the rows of one order."""
        its = f"WHERE order_id = ? AND {where}"
        assert self._run(f"UPDATE {table} SET {changes} {its} RETURNING order_id", self.orders[order])

    def drop(self, table: str, order: str, where: str = "true") -> None:
        """Delete the rows of one order."""
        its = f"WHERE order_id = ? AND {where}"
        assert self._run(f"DELETE FROM {table} {its} RETURNING order_id", self.orders[order])

    def add(self, table: str, row: dict[str, Any]) -> None:
        names = ", ".join(f'"{name}"' for name in row)
        self._run(f"INSERT INTO {table} ({names}) VALUES ({', '.join('?' * len(row))})", *row.values())

    def copy(self, table: str, order: str, **changes: Any) -> None:
        """Add a row like the first one of this order, except for what is changed."""
        self.add(table, self.row(table, order) | changes)

    def row(self, table: str, order: str, by: str = "") -> dict[str, Any]:
        """The first row of this order."""
        its = f"WHERE order_id = ? ORDER BY {by or self._first}"
        return self._run(f"SELECT * FROM {table} {its}", self.orders[order])[0]

    def happens(self, order: str, type_: EventType, amount: int = 0) -> None:
        """Add an event of this type to an order, booked and counted as the engine would."""
        last = self.row("events", order, by="sequence DESC")
        status = OrderStatus(last["after"])
        event = Event(
            event_id="seeded",
            account_id=last["account_id"],
            order_id=last["order_id"],
            sequence=last["sequence"] + 1,
            type=type_,
            before=status,
            after=status,
            actor=Actor(ActorKind.OPERATOR),
            at=last["at"],
            amount=amount,
            currency=last["currency"],
            beneficiary=last["beneficiary"],
        )
        self.add("events", dict(zip(rows.EVENT, rows.event_row(event), strict=True)))
        for line, entry in enumerate(entries_for(event)):
            self.enter(order, event.sequence, line, entry.account, entry.amount)
        self.set("orders", order, "version = version + 1")

    def end_feed(self, by: int) -> int:
        """Move the end of the feed in which most orders are; returns the new one."""
        asked = "UPDATE feeds SET place = place + ? WHERE account_id = ? RETURNING place"
        return int(self._run(asked, by, ACCOUNT)[0]["place"])

    def copy_endpoint_event(self, *, places_on: int) -> None:
        """Add what happened to the endpoint once more, at another place."""
        known = self._run("SELECT * FROM endpoint_events")[0]
        self.add("endpoint_events", known | {"place": known["place"] + places_on})

    def enter(self, order: str, sequence: int, line: int, account: str, amount: int) -> None:
        """Add a ledger entry."""
        known = self.row("events", order)
        names = {"account_id", "order_id", "currency", "at"}
        self.add(
            "ledger_entries",
            {name: known[name] for name in names}
            | {"sequence": sequence, "line": line, "ledger_account": account, "amount": amount},
        )


@dataclass(frozen=True)
class Defect:
    """Damage to one order that one check must find."""

    check: str
    order: str
    do: Callable[[Books], object]


def _more_than_was_applied(books: Books) -> None:
    applied = books.row("orders", "paid")["applied"]
    books.copy(
        "refunds",
        "refund running",
        order_id=books.orders["paid"],
        refund_id="F",
        transaction_id="T paid",
        amount=applied + 1,
        whole_id="F",
        whole_amount=applied + 1,
    )
    books.happens("paid", EventType.REFUND_STARTED, applied + 1)
    books.set("orders", "paid", f"refunded = {applied + 1}, refund_count = 1")


def _returned_before_it_came(books: Books) -> None:
    books.happens("cancelled", EventType.PAYMENT_REVERSAL, 5)
    for state, amount in (("voided", 5), ("voiding", -5)):
        books.copy("attempts", state, order_id=books.orders["cancelled"], transaction_id=state, amount=amount)
    books.set("orders", "cancelled", "attempt_count = 2")
    books.set("orders", "cancelled", '"returning" = -5, returned = 5')


def _held_and_never_received(books: Books) -> None:
    its = {"order_id": books.orders["pending"], "transaction_id": "C new", "session_id": "S new"}
    books.copy("credits", "held", **its, amount=1, held=1)
    books.set("orders", "pending", "held = 1, credit_count = 1")


def _received_and_not_booked(books: Books) -> None:
    _held_and_never_received(books)
    books.set("orders", "pending", "received = 1")


def _less_than_was_voided(books: Books) -> None:
    books.set("orders", "voided", "received = received - 1, returned = returned - 1")
    books.set("attempts", "voided", "amount = amount - 1")


def _sent_back_and_not_booked(books: Books) -> None:
    its = {"order_id": books.orders["held by policy"], "transaction_id": "C by policy"}
    books.copy("returns", "late", **its, amount=1)
    books.set("credits", "held by policy", "held = held - 1")
    books.set("orders", "held by policy", 'held = held - 1, "returning" = "returning" + 1')


def _for_a_stranger(books: Books) -> None:
    books.set("events", "paid", "beneficiary = 'S'", "amount > 0")
    books.set("ledger_entries", "paid", "ledger_account = 'merchant:S'", "ledger_account LIKE 'merchant:%'")


def _in_dollars(books: Books) -> None:
    books.set("events", "paid", "currency = 'USD'", "amount > 0")
    books.set("ledger_entries", "paid", "currency = 'USD'")


def _paid_without_a_payment(books: Books) -> None:
    books.set("events", "pending", "\"after\" = 'PAID'")
    books.set("orders", "pending", "status = 'PAID', paid_at = 1, paid_by = 'T pending', attempt_count = 1")
    books.set("orders", "pending", "amount = 0")
    books.copy(
        "attempts", "paid", order_id=books.orders["pending"], transaction_id="T pending", status="APPROVED"
    )


def _refunded_without_a_refund(books: Books) -> None:
    books.happens("paid", EventType.REFUND_STARTED, 5)
    books.happens("paid", EventType.PAYMENT_REFUNDED, 5)


def _refunded_more_than_is_told(books: Books) -> None:
    books.set("refunds", "refund done", "amount = amount + 1, whole_amount = whole_amount + 1")


def _given_back_less_than_was_asked_for(books: Books) -> None:
    books.set("refunds", "refund to senders", "whole_amount = whole_amount + 1")


def _answered(books: Books, data: str) -> None:
    """A key whose stored answer tells of the refund that is done."""
    started = books.row("events", "refund done", by="CASE type WHEN 'refund_started' THEN 0 ELSE 1 END")
    books.add(
        "idempotency_keys",
        {
            "account_id": started["account_id"],
            "key": "K",
            "fingerprint": "f",
            "command_id": started["event_id"],
            "expires_at": 1,
            "status": 200,
            "reason": "",
            "body": f'{{"data":{data}}}'.replace("R1", started["refund_id"]),
        },
    )


def _without_a_call(table: str, order: str) -> Defect:
    changes = "call_kind = NULL, call_until = NULL"
    return Defect("calls-noted", order, lambda books: books.set(table, order, changes))


def _of_another_account(table: str, order: str) -> Defect:
    return Defect("of-one-account", order, lambda books: books.copy(table, order, account_id=OTHER))


def _left_out_one_place(books: Books) -> None:
    """The last event of the feed moves on by one, and the feed with it."""
    books.set("events", "cancelled when due", "place = place + 1", "sequence = 2")
    books.end_feed(+1)


def _told_in_disorder(books: Books) -> None:
    first = books.row("events", "paid", by="sequence")["place"]
    books.set("events", "paid", "place = NULL", "sequence = 1")
    books.set("events", "paid", f"place = {first}", "sequence = 2")
    books.set("events", "paid", f"place = {first + 1}", "sequence = 1")


def _told_without_its_beginning(books: Books) -> None:
    books.happens("pending", EventType.OTP_RESENT)
    books.set("events", "pending", f"place = {books.end_feed(+1)}", "sequence = 2")


def _credit_of_another_account(books: Books) -> None:
    books.copy("credits", "held", account_id=OTHER, session_id="another", transaction_id="another")


def _return_of_another_account(books: Books) -> None:
    credit, return_ = (books.row(table, "return done") for table in ("credits", "returns"))
    books.add("credits", credit | {"account_id": OTHER, "session_id": "another"})
    books.add("returns", return_ | {"account_id": OTHER})


def _held_by_nobody(books: Books) -> None:
    """One credit's money has become another's, which is of another order."""
    books.set("credits", "held by policy", "held = held - 1, applied = applied + 1")


def _half_paid(books: Books) -> None:
    books.set("credits", "paid by transfers", "applied = applied - 1, amount = amount - 1", "applied > 0")


def _back_and_not_told(books: Books) -> None:
    books.set("returns", "return running", "status = 'DONE'")


def _returned_another_order_s(books: Books) -> None:
    books.set("returns", "return running", "transaction_id = 'C nobody'")
    books.set("credits", "return running", "amount = 0")


def _all_from_one_sender(books: Books) -> None:
    books.set("refunds", "refund to senders", "from_credit = 'C1 refunded'")


def _booked_twice(books: Books) -> None:
    books.set("credits", "foreign", "session_id = 'S C held'")


def _shared_with_another(books: Books) -> None:
    its = "ledger_account = 'merchant:sub-2'"
    books.set("ledger_entries", "paid by sub-account", "ledger_account = 'merchant:sub-3'", its)


def _shares_not_given_back(books: Books) -> None:
    """The beneficiary alone gives a refund back, and so it is told and booked."""
    order = "refund running"
    books.set("events", order, "shares = NULL", "type = 'refund_started'")
    books.drop("ledger_entries", order, "ledger_account LIKE 'merchant:sub-%' AND amount > 0")
    books.set("ledger_entries", order, "amount = 100000", "ledger_account LIKE 'merchant:%' AND amount > 0")


def _surplus(books: Books, sequence: int) -> None:
    books.enter("paid", sequence, 5, "elsewhere", 5)
    books.enter("paid", sequence, 6, "elsewhere", -5)


DEFECTS = [
    Defect("money-accounted-for", "pending", _held_and_never_received),
    Defect("money-accounted-for", "cancelled", _returned_before_it_came),
    Defect("endings-dated", "cancelled", lambda b: b.set("orders", "cancelled", "cancelled_at = NULL")),
    Defect("endings-dated", "expired", lambda b: b.set("orders", "expired", "expired_at = NULL")),
    Defect("endings-dated", "pending", lambda b: b.set("orders", "pending", "paid_at = 1")),
    Defect("endings-dated", "calling", lambda b: b.set("orders", "calling", "cancelled_at = 1")),
    Defect(
        "names-unambiguous",
        "pending",
        lambda b: b.set("orders", "pending", f"reference = '{b.orders['paid']}'"),
    ),
    Defect("paid-in-full", "paid", lambda b: b.set("orders", "paid", "amount = amount + 1")),
    Defect("one-ending", "paid", lambda b: b.happens("paid", EventType.ORDER_CANCELLED)),
    Defect("one-ending", "paid", lambda b: b.happens("paid", EventType.PAYMENT_SUCCESS)),
    Defect("one-ending", "cancelled", lambda b: b.happens("cancelled", EventType.ORDER_CANCELLED)),
    Defect("one-ending", "pending", _paid_without_a_payment),
    Defect(
        "one-ending",
        "cancelled",
        lambda b: b.set("events", "cancelled", "type = 'order_expired'", "type = 'order_cancelled'"),
    ),
    Defect("version-counts-events", "pending", lambda b: b.set("orders", "pending", "version = 2")),
    Defect("version-counts-events", "pending", lambda b: b.drop("events", "pending")),
    Defect(
        "version-counts-events",
        "calling",
        lambda b: b.set("events", "calling", "sequence = 3", "sequence = 2"),
    ),
    Defect(
        "version-counts-events",
        "pending",
        lambda b: b.set("events", "pending", "sequence = 0", "sequence = 1"),
    ),
    Defect("statuses-follow", "pending", lambda b: b.set("events", "pending", "\"before\" = 'PENDING'")),
    Defect(
        "statuses-follow",
        "calling",
        lambda b: b.set("events", "calling", "\"before\" = 'EXPIRED'", "sequence = 2"),
    ),
    Defect(
        "status-is-the-last",
        "pending",
        lambda b: b.set("orders", "pending", "status = 'EXPIRED', expired_at = 1"),
    ),
    Defect("due-awaited", "pending", lambda b: b.set("orders", "pending", "due_at = 9, awaits_due = 0")),
    Defect("money-of-the-order", "paid", _for_a_stranger),
    Defect("money-of-the-order", "paid", _in_dollars),
    Defect("entries-follow-events", "paid", lambda b: b.set("ledger_entries", "paid", "at = at + 1")),
    Defect(
        "entries-follow-events",
        "paid",
        lambda b: b.set(
            "ledger_entries", "paid", "ledger_account = 'transfer_rail'", "ledger_account = 'card_rail'"
        ),
    ),
    Defect("entries-follow-events", "paid", lambda b: b.set("events", "paid", "fee = 0", "fee <> 0")),
    Defect("entries-follow-events", "pending", lambda b: b.set("events", "pending", "fee = 7")),
    Defect("entries-follow-events", "paid", lambda b: _surplus(b, 1)),
    Defect("entries-follow-events", "paid", lambda b: b.enter("paid", 1, 0, "elsewhere", 5)),
    Defect("entries-have-events", "paid", lambda b: _surplus(b, 99)),
    Defect("ledger-agrees", "pending", _received_and_not_booked),
    Defect("ledger-agrees", "voided", _less_than_was_voided),
    Defect("ledger-agrees", "paid", lambda b: b.set("orders", "paid", "fee = fee + 1")),
    Defect(
        "money-of-the-order", "refund running", lambda b: b.set("orders", "refund running", "shares = NULL")
    ),
    Defect(
        "shares-booked",
        "refund refused",
        lambda b: b.set("orders", "refund refused", "split = replace(split, '3333', '3334')"),
    ),
    Defect("shares-booked", "paid by sub-account", _shared_with_another),
    Defect("shares-booked", "refund running", _shares_not_given_back),
    Defect(
        "shares-booked",
        "refund running",
        lambda b: b.set("events", "refund running", "shares = replace(shares, '33329', '33330')"),
    ),
    Defect("ledger-agrees", "paid", _refunded_without_a_refund),
    Defect("returns-due", "held by policy", _sent_back_and_not_booked),
    Defect("refunds-due", "refund running", lambda b: b.set("refunds", "refund running", "status = 'DONE'")),
    Defect("refunds-due", "refund unknown", lambda b: b.set("refunds", "refund unknown", "status = 'DONE'")),
    Defect(
        "disputed-booked",
        "refund disputed",
        lambda b: b.set("refunds", "refund disputed", "finer_status = NULL"),
    ),
    Defect(
        "disputed-booked",
        "return disputed",
        lambda b: b.set("returns", "return disputed", "finer_status = NULL"),
    ),
    Defect("refunds-summed", "refund done", _refunded_more_than_is_told),
    Defect("refunds-summed", "refund done", lambda b: b.set("refunds", "refund done", "status = 'REFUSED'")),
    Defect("refunds-whole", "refund to senders", _given_back_less_than_was_asked_for),
    Defect(
        "refunds-answered",
        "refund done",
        lambda b: _answered(b, '{"refund":{"id":"R1","amount":"0.01"}}'),
    ),
    Defect("refunds-answered", "refund done", lambda b: _answered(b, '{"success":false}')),
    Defect("refunds-capped", "paid", _more_than_was_applied),
    Defect(
        "refunds-of-the-payment",
        "refund done",
        lambda b: b.set("refunds", "refund done", "transaction_id = 'T paid'"),
    ),
    Defect("attempts-counted", "paid", lambda b: b.set("orders", "paid", "attempt_count = 2")),
    Defect("attempts-counted", "pending", lambda b: b.set("orders", "pending", "attempt_count = 1")),
    Defect("refunds-counted", "paid", lambda b: b.set("orders", "paid", "refund_count = 1")),
    Defect("paid-by-its-attempt", "declined", lambda b: b.set("attempts", "declined", "status = 'APPROVED'")),
    Defect("paid-by-its-attempt", "paid", lambda b: b.set("attempts", "paid", "status = 'DECLINED'")),
    Defect("paid-by-its-attempt", "paid", lambda b: b.set("orders", "paid", "paid_by = 'T declined'")),
    Defect(
        "one-live-attempt",
        "second attempt",
        lambda b: b.set("attempts", "second attempt", "status = 'AWAITING_3DS'", "status = 'DECLINED'"),
    ),
    _without_a_call("attempts", "voiding"),
    _without_a_call("attempts", "calling"),
    _without_a_call("attempts", "unknown"),
    _without_a_call("refunds", "refund running"),
    _without_a_call("refunds", "refund unknown"),
    _of_another_account("events", "pending"),
    _of_another_account("attempts", "declined"),
    _of_another_account("refunds", "refund done"),
    Defect("of-one-account", "held", _credit_of_another_account),
    Defect("of-one-account", "return done", _return_of_another_account),
    Defect("calls-noted", "late", lambda b: b.set("returns", "late", "call_until = NULL")),
    Defect(
        "calls-noted",
        "return unknown",
        lambda b: b.set("returns", "return unknown", "call_until = NULL"),
    ),
    Defect("paid-by-its-attempt", "accepted", lambda b: b.set("orders", "accepted", "paid_by = 'C held'")),
    Defect("credits-accounted-for", "held", lambda b: b.set("credits", "held", "amount = amount + 1")),
    Defect("credits-summed", "held by policy", _held_by_nobody),
    Defect("credits-summed", "paid by transfers", _half_paid),
    Defect("credits-counted", "held", lambda b: b.set("orders", "held", "credit_count = 2")),
    Defect(
        "held-by-right",
        "held by policy",
        lambda b: b.set("orders", "held by policy", "late_money = 'return'"),
    ),
    Defect("returns-summed", "return running", _back_and_not_told),
    Defect("returns-of-credits", "return running", _returned_another_order_s),
    Defect("refunds-to-senders", "refund to senders", _all_from_one_sender),
    Defect(
        "refunds-to-senders",
        "refund to senders",
        lambda b: b.set("refunds", "refund to senders", "from_credit = 'C held'", "amount = 99950"),
    ),
    Defect("one-credit-for-a-transfer", "foreign" if OTHER > ACCOUNT else "held", _booked_twice),
    Defect("advices-booked", "of the house", lambda b: b.set("credits", "of the house", "session_id = 'S'")),
    Defect("feed-without-gaps", "cancelled when due", _left_out_one_place),
    Defect("feed-without-gaps", "cancelled when due", lambda b: b.end_feed(+1)),
    Defect("feed-without-gaps", "cancelled when due", lambda b: b.end_feed(-1)),
    Defect("feed-without-gaps", "pending", lambda b: b.set("events", "pending", "place = 999")),
    Defect(
        "feed-without-gaps", seed_data.ENDPOINT.endpoint_id, lambda b: b.copy_endpoint_event(places_on=-1)
    ),
    Defect(
        "feed-without-gaps", seed_data.ENDPOINT.endpoint_id, lambda b: b.copy_endpoint_event(places_on=999)
    ),
    Defect("feed-follows-orders", "paid", _told_in_disorder),
    Defect("feed-follows-orders", "pending", _told_without_its_beginning),
]
