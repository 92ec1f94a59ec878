"""The sandbox rail's own memory: its own tables on its own connection, never read by the engine.

A real rail remembers what we forget in a crash; so must this one. Every answer is written here
before it is given.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from threading import Lock

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Integer,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
    create_engine,
    event,
    insert,
    select,
    update,
)
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.pool import ConnectionPoolEntry

from opentill.store.files import make_private

metadata = MetaData()

_payments = Table(
    "rail_payments",
    metadata,
    Column("transaction_id", String(64), primary_key=True),
    Column("state", String(16), nullable=False),
    Column("amount", BigInteger, nullable=False),
    Column("currency", String(3), nullable=False),
    Column("response_code", String(64), nullable=False),
    Column("message", Text, nullable=False),
)

_tries = Table(
    "rail_tries",
    metadata,
    Column("transaction_id", String(64), nullable=False),
    Column("try_number", Integer, nullable=False),
    Column("outcome", String(16), nullable=False),
    Column("response_code", String(64), nullable=False),
    Column("message", Text, nullable=False),
    PrimaryKeyConstraint("transaction_id", "try_number"),
)


@dataclass(frozen=True, slots=True)
class RailPayment:
    """What the sandbox rail knows of one transaction id."""

    transaction_id: str
    state: str
    """A ``RailOutcome`` word: otp_required, approved, declined, voided or never_happened."""
    amount: int
    currency: str
    response_code: str
    message: str


@dataclass(frozen=True, slots=True)
class RailTry:
    """What was answered to one confirmation, told apart by its number."""

    transaction_id: str
    try_number: int
    outcome: str
    response_code: str
    message: str


class RailJournal:
    """One transaction for each verb; safe to call from several threads and processes."""

    def __init__(self, path: Path):
        make_private(path)
        self._engine = create_engine(f"sqlite:///{path}", isolation_level="AUTOCOMMIT")
        event.listen(self._engine, "connect", _durable)
        self._lock = Lock()
        with self._engine.connect() as connection:
            connection.exec_driver_sql("BEGIN IMMEDIATE")
            metadata.create_all(connection)
            connection.exec_driver_sql("COMMIT")

    def payment(self, transaction_id: str) -> RailPayment | None:
        """What is known of this id."""
        with self._engine.connect() as connection:
            return _payment(connection, transaction_id)

    def begin(self, payment: RailPayment) -> RailPayment:
        """Remember the first answer to an id; returns what was remembered first, ours or an earlier one."""
        with self._lock, self._engine.connect() as connection:
            connection.exec_driver_sql("BEGIN IMMEDIATE")
            known = _payment(connection, payment.transaction_id)
            if known is None:
                connection.execute(insert(_payments).values(**_fields(payment)))
            connection.exec_driver_sql("COMMIT")
            return known or payment

    def confirm(self, answer: RailTry) -> RailTry:
        """Remember the answer to one try and move the payment along; an earlier same try keeps its answer.

        A payment that is not waiting for a password answers what it has become.
        """
        with self._lock, self._engine.connect() as connection:
            connection.exec_driver_sql("BEGIN IMMEDIATE")
            given = _confirm(connection, answer)
            connection.exec_driver_sql("COMMIT")
            return given

    def void(self, transaction_id: str) -> RailPayment:
        """End an id for ever and say how: voided if it had taken money, else never_happened.

        One never seen is remembered, so that it is refused should it still arrive.
        """
        with self._lock, self._engine.connect() as connection:
            connection.exec_driver_sql("BEGIN IMMEDIATE")
            known = _payment(connection, transaction_id)
            if known is None:
                known = RailPayment(transaction_id, "never_happened", 0, "", "", "")
                connection.execute(insert(_payments).values(**_fields(known)))
            elif known.state not in ("voided", "never_happened"):
                state = "voided" if known.state == "approved" else "never_happened"
                known = replace(known, state=state, response_code="", message="")
                _move(connection, known)
            connection.exec_driver_sql("COMMIT")
            return known

    def close(self) -> None:
        """Give back the connections."""
        self._engine.dispose()


def _durable(connection: DBAPIConnection, _entry: ConnectionPoolEntry) -> None:
    cursor = connection.cursor()
    for pragma in ("journal_mode = WAL", "synchronous = FULL", "busy_timeout = 5000"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _payment(connection: Connection, transaction_id: str) -> RailPayment | None:
    wanted = select(_payments).where(_payments.c.transaction_id == transaction_id)
    found = connection.execute(wanted).mappings().first()
    return RailPayment(**found) if found else None


def _confirm(connection: Connection, answer: RailTry) -> RailTry:
    same = (_tries.c.transaction_id == answer.transaction_id) & (_tries.c.try_number == answer.try_number)
    earlier = connection.execute(select(_tries).where(same)).mappings().first()
    if earlier:
        return RailTry(**earlier)
    payment = _payment(connection, answer.transaction_id)
    if payment is None or payment.state != "otp_required":
        told = payment or RailPayment(answer.transaction_id, "declined", 0, "", "", "unknown payment")
        return RailTry(answer.transaction_id, answer.try_number, told.state, told.response_code, told.message)
    connection.execute(insert(_tries).values(**_fields(answer)))
    if answer.outcome in ("approved", "declined"):
        moved = replace(
            payment, state=answer.outcome, response_code=answer.response_code, message=answer.message
        )
        _move(connection, moved)
    return answer


def _move(connection: Connection, payment: RailPayment) -> None:
    same = _payments.c.transaction_id == payment.transaction_id
    connection.execute(update(_payments).where(same).values(**_fields(payment)))


def _fields(record: RailPayment | RailTry) -> dict[str, object]:
    return {name: getattr(record, name) for name in record.__dataclass_fields__}
