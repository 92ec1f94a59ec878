"""Every invariant of a whole database: it holds for what the engine writes, and finds what breaks it."""

import asyncio
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from given_store import OTHER
from opentill.domain.commands import Actor, ActorKind
from opentill.domain.events import Event, EventType
from opentill.domain.ledger import entries_for
from opentill.domain.order import AttemptStatus, OrderStatus, RefundStatus
from opentill.store import rows
from opentill.store.audit import Finding, audit, count_orders, open_read_only
from opentill.store.interface import StoreUnusable
from opentill.store.invariants import CHECKS
from store import scene

SHOWN = 3


class Books:
    """A database file that is about to be damaged, with the constraints that would forbid it turned off."""

    def __init__(self, connection: sqlite3.Connection, orders: dict[str, str]):
        self.orders = orders
        self._run = connection.execute

    def set(self, table: str, order: str, changes: str, where: str = "true") -> None:
        """Change the rows of one order."""
        done = self._run(
            f"UPDATE {table} SET {changes} WHERE order_id = ? AND {where}", (self.orders[order],)
        )
        assert done.rowcount > 0

    def drop(self, table: str, order: str) -> None:
        """Delete the rows of one order."""
        assert self._run(f"DELETE FROM {table} WHERE order_id = ?", (self.orders[order],)).rowcount > 0

    def add(self, table: str, row: dict[str, Any]) -> None:
        names = ", ".join(f'"{name}"' for name in row)
        self._run(f"INSERT INTO {table} ({names}) VALUES ({', '.join('?' * len(row))})", tuple(row.values()))

    def copy(self, table: str, order: str, **changes: Any) -> None:
        """Add a row like the first one of this order, except for what is changed."""
        self.add(table, self.row(table, order) | changes)

    def row(self, table: str, order: str, by: str = "rowid") -> dict[str, Any]:
        """The first row of this order."""
        cursor = self._run(f"SELECT * FROM {table} WHERE order_id = ? ORDER BY {by}", (self.orders[order],))
        return dict(zip([column[0] for column in cursor.description], cursor.fetchone(), strict=True))

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
    do: Callable[[Books], None]


def _more_than_was_applied(books: Books) -> None:
    applied = books.row("orders", "paid")["applied"]
    books.copy(
        "refunds",
        "refund running",
        order_id=books.orders["paid"],
        refund_id="F",
        transaction_id="T paid",
        amount=applied + 1,
    )
    books.happens("paid", EventType.REFUND_STARTED, applied + 1)
    books.set("orders", "paid", f"refunded = {applied + 1}, refund_count = 1")


def _returned_before_it_came(books: Books) -> None:
    books.happens("cancelled", EventType.PAYMENT_REVERSAL, 5)
    books.set("orders", "cancelled", '"returning" = -5, returned = 5')


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


def _without_a_call(table: str, order: str) -> Defect:
    changes = "call_kind = NULL, call_until = NULL"
    return Defect("calls-noted", order, lambda books: books.set(table, order, changes))


def _of_another_account(table: str, order: str) -> Defect:
    return Defect("of-one-account", order, lambda books: books.copy(table, order, account_id=OTHER))


def _surplus(books: Books, sequence: int) -> None:
    books.enter("paid", sequence, 5, "elsewhere", 5)
    books.enter("paid", sequence, 6, "elsewhere", -5)


DEFECTS = [
    Defect("money-accounted-for", "pending", lambda b: b.set("orders", "pending", "held = held + 1")),
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
    Defect("money-of-the-order", "paid", _for_a_stranger),
    Defect("money-of-the-order", "paid", _in_dollars),
    Defect("entries-follow-events", "paid", lambda b: b.set("ledger_entries", "paid", "at = at + 1")),
    Defect("entries-follow-events", "paid", lambda b: b.set("ledger_entries", "paid", "line = line + 2")),
    Defect("entries-follow-events", "paid", lambda b: _surplus(b, 1)),
    Defect("entries-follow-events", "paid", lambda b: b.enter("paid", 1, 0, "elsewhere", 5)),
    Defect("entries-have-events", "paid", lambda b: _surplus(b, 99)),
    Defect("ledger-agrees", "pending", lambda b: b.set("orders", "pending", "received = 1, held = 1")),
    Defect(
        "ledger-agrees", "voided", lambda b: b.set("orders", "voided", "returned = returned - 1, held = 1")
    ),
    Defect("ledger-agrees", "paid", _refunded_without_a_refund),
    Defect(
        "returns-due",
        "voiding",
        lambda b: b.set("orders", "voiding", '"returning" = "returning" - 1, held = 1'),
    ),
    Defect("refunds-due", "refund running", lambda b: b.set("refunds", "refund running", "status = 'DONE'")),
    Defect("refunds-due", "refund unknown", lambda b: b.set("refunds", "refund unknown", "status = 'DONE'")),
    Defect("refunds-summed", "refund done", lambda b: b.set("refunds", "refund done", "amount = amount + 1")),
    Defect("refunds-summed", "refund done", lambda b: b.set("refunds", "refund done", "status = 'REFUSED'")),
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
]


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    folder = tmp_path_factory.mktemp("scene")
    return folder / "opentill.db", asyncio.run(scene.play(folder))


@pytest.fixture
def file(played: tuple[Path, dict[str, str]], tmp_path: Path) -> Path:
    return Path(shutil.copy(played[0], tmp_path))


@contextmanager
def damaging(file: Path, orders: dict[str, str]) -> Iterator[Books]:
    with closing(sqlite3.connect(file, isolation_level=None)) as connection:
        connection.execute("PRAGMA ignore_check_constraints = ON")
        yield Books(connection, orders)


def found(file: Path) -> dict[str, Finding]:
    """The checks that found something, by name."""
    with open_read_only(f"sqlite:///{file}") as connection:
        return {each.check.name: each for each in audit(connection, SHOWN) if each.count}


def test_what_the_engine_wrote_breaks_nothing(file: Path) -> None:
    """Every check holds for a database in which each status of orders, attempts and refunds occurs."""
    with open_read_only(f"sqlite:///{file}") as connection:
        seen = {
            table: set(connection.execute(text(f"SELECT status FROM {table}")).scalars())
            for table in ("orders", "attempts", "refunds")
        }
        orders = count_orders(connection)
        findings = list(audit(connection, SHOWN))
    assert seen == {"orders": set(OrderStatus), "attempts": set(AttemptStatus), "refunds": set(RefundStatus)}
    assert [(each.check, each.count, each.first) for each in findings] == [(c, 0, ()) for c in CHECKS]
    assert orders == 23


def test_every_check_has_a_defect_that_it_must_find() -> None:
    """No check is left without a seeded defect below, and no two share a name."""
    assert {defect.check for defect in DEFECTS} == {check.name for check in CHECKS}
    assert len({check.name for check in CHECKS}) == len(CHECKS)


@pytest.mark.parametrize("defect", DEFECTS, ids=lambda d: f"{d.check}-{d.order}".replace(" ", "-"))
def test_a_defect_is_found_by_its_check_alone(
    defect: Defect, file: Path, played: tuple[Path, dict[str, str]]
) -> None:
    """One damaged order turns exactly its check red, which names that order and no other."""
    orders = played[1]
    with damaging(file, orders) as books:
        defect.do(books)
    red = found(file)
    assert set(red) == {defect.check}
    assert {offence.order_id for offence in red[defect.check].first} == {orders[defect.order]}
    assert all(offence.account_id and offence.what for offence in red[defect.check].first)


def test_offences_are_counted_to_the_last_and_told_in_part(
    file: Path, played: tuple[Path, dict[str, str]]
) -> None:
    """Of many offences only the first few are told, and all are counted."""
    with damaging(file, played[1]) as books:
        for order in played[1]:
            books.set("orders", order, "attempt_count = attempt_count + 1")
    red = found(file)
    assert (red["attempts-counted"].count, len(red["attempts-counted"].first)) == (23, SHOWN)


def test_the_connection_can_not_write(file: Path) -> None:
    """No statement changes the file, whatever it says, and a whole audit leaves every byte as it was."""
    before = file.read_bytes()
    with open_read_only(f"sqlite:///{file}") as connection:
        list(audit(connection, SHOWN))
        with pytest.raises(OperationalError, match="readonly"):
            connection.execute(text("UPDATE orders SET version = 9"))
    assert file.read_bytes() == before


def test_a_check_sees_what_a_writer_has_committed_and_does_not_wait_for_it(
    file: Path, played: tuple[Path, dict[str, str]]
) -> None:
    """Beside an open write transaction the audit reads the state before it."""
    with damaging(file, played[1]) as books:
        books._run("BEGIN IMMEDIATE")
        books.set("orders", "paid", "refund_count = 1")
        assert found(file) == {}
        books._run("COMMIT")
    assert set(found(file)) == {"refunds-counted"}


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        ("UPDATE alembic_version SET version_num = '0001'", "is at schema 0001"),
        ("DELETE FROM alembic_version", "is at schema None"),
        ("DROP TABLE alembic_version", "can not be read"),
    ],
)
def test_tables_of_another_version_are_not_judged(file: Path, damage: str, sentence: str) -> None:
    """A database that this version would have to migrate first is refused, and not migrated."""
    with closing(sqlite3.connect(file, isolation_level=None)) as connection:
        connection.execute(damage)
    before = file.read_bytes()
    with pytest.raises(StoreUnusable, match=sentence), open_read_only(f"sqlite:///{file}"):
        pass
    assert file.read_bytes() == before


def test_what_is_no_database_is_refused(tmp_path: Path) -> None:
    """A missing file is not made, and a file of something else is not taken for a database."""
    with pytest.raises(StoreUnusable, match="There is no database"), open_read_only(f"sqlite:///{tmp_path}/none.db"):
        pass
    assert list(tmp_path.iterdir()) == []
    other = tmp_path / "other.db"
    other.write_text("these are no tables, " * 100)
    with pytest.raises(StoreUnusable, match="can not be read"), open_read_only(f"sqlite:///{other}"):
        pass
