"""The sandbox rail's own memory: its own tables on its own connections, never read by the engine.

A real rail remembers what we forget in a crash; so must this one. Every answer is written here
before it is given. The switches that make its next calls fail stand here too, for every process.
"""

from collections import defaultdict
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    Column,
    ColumnElement,
    Connection,
    Engine,
    Integer,
    MetaData,
    PrimaryKeyConstraint,
    QueuePool,
    String,
    Table,
    Text,
    create_engine,
    delete,
    event,
    insert,
    inspect,
    select,
    text,
    update,
)
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.pool import ConnectionPoolEntry

from opentill.clock import SystemClock
from opentill.store.databases.dialect import dialect_of
from opentill.store.databases.file_lock import OPENING_PATIENCE_MILLISECONDS, FileLock
from opentill.store.databases.opening import read_only
from opentill.store.databases.sqlite import make_private
from opentill.store.databases.urls import is_postgres

POSTGRES_CONNECTIONS: Final = 5

metadata = MetaData()

_payments = Table(
    "rail_payments",
    metadata,
    Column("transaction_id", String(64), primary_key=True),
    Column("state", String(32), nullable=False),
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
    Column("outcome", String(32), nullable=False),
    Column("response_code", String(64), nullable=False),
    Column("message", Text, nullable=False),
    PrimaryKeyConstraint("transaction_id", "try_number"),
)

_payouts = Table(
    "rail_payouts",
    metadata,
    Column("payout_id", String(64), primary_key=True),
    Column("transaction_id", String(64), nullable=False),
    Column("state", String(32), nullable=False),
    Column("amount", BigInteger, nullable=False),
    Column("currency", String(3), nullable=False),
    Column("response_code", String(64), nullable=False),
    Column("message", Text, nullable=False),
)

_cards = Table(
    "rail_cards",
    metadata,
    Column("transaction_id", String(64), primary_key=True),
    Column("token_hash", String(64), nullable=False, unique=True),
    Column("expiry", String(8), nullable=False),
)

_switches = Table(
    "rail_switches",
    metadata,
    Column("switch_id", Integer, primary_key=True),
    Column("operation", String(16), nullable=False),
    Column("outcome", String(16)),
    Column("delay_milliseconds", Integer, nullable=False),
    Column("calls_left", Integer, nullable=False),
)

JOURNAL_FILE: Final = "sandbox-rail.db"
"""Beside a SQLite database."""

OVER = ("voided", "never_happened")
"""States of a payment in which its id takes no money any more."""


@dataclass(frozen=True, slots=True)
class RailPayment:
    """All that the sandbox rail knows of one transaction id."""

    transaction_id: str
    state: str
    """otp_required, challenge_required, challenge_passed, challenge_failed, approved, declined, voided or
    never_happened."""
    amount: int
    currency: str
    response_code: str
    message: str


@dataclass(frozen=True, slots=True)
class RailTry:
    """The answer to one confirmation, told apart by its number."""

    transaction_id: str
    try_number: int
    outcome: str
    response_code: str
    message: str


@dataclass(frozen=True, slots=True)
class RailPayout:
    """Money that the rail sent back, or would not."""

    payout_id: str
    transaction_id: str
    """The payment that is refunded, or the credit that is returned."""
    state: str
    """done, refused, or closed: refused for ever."""
    amount: int
    currency: str
    response_code: str
    message: str


@dataclass(frozen=True, slots=True)
class RailCardKept:
    """A card that the rail was asked to keep; of no use before its payment is approved."""

    transaction_id: str
    token_hash: str
    """SHA-256 in hex of the token that it is charged by: the token itself is kept by whoever was told it."""
    expiry: str


@dataclass(frozen=True, slots=True)
class RailSwitch:
    """The behaviour of the next calls of one operation."""

    operation: str
    outcome: str | None
    """approve, decline, timeout, unknown or refuse; None leaves the outcome as it is."""
    delay_milliseconds: int


def journal_of(database_url: str, data_dir: Path) -> Path | str:
    """Return where the rail of the sandbox on this database keeps its journal."""
    return database_url if is_postgres(database_url) else data_dir / JOURNAL_FILE


def money_out(where: Path | str) -> dict[str, int] | None:
    """Read what the rail gave out, in minor units, by the payment or credit that it gives back.

    None where no sandbox has ever been; never makes or changes a journal. Raises StoreUnusable.
    """
    if isinstance(where, Path) and not where.exists():
        return None
    paid = select(_payouts.c.transaction_id, _payouts.c.amount).where(_payouts.c.state == "done")
    voided = select(_payments.c.transaction_id, _payments.c.amount).where(_payments.c.state == "voided")
    sums: defaultdict[str, int] = defaultdict(int)
    with read_only(f"sqlite:///{where}" if isinstance(where, Path) else where) as connection:
        if not inspect(connection).has_table(_payouts.name):
            return None
        for transaction_id, amount in connection.execute(paid.union_all(voided)):
            sums[transaction_id] += amount
    return dict(sums)


class RailJournal:
    """One transaction for each verb; safe to call from several threads and processes.

    ``where`` is the path of its SQLite file, or the URL of a PostgreSQL database.
    """

    def __init__(self, where: Path | str):
        self._engine = _sqlite(where) if isinstance(where, Path) else _postgres(where)
        with _made_by_turns(where), self._engine.begin() as connection:
            if turn := dialect_of(connection).take_turn.format(number=8481):
                connection.execute(text(turn))
            metadata.create_all(connection)

    def payment(self, transaction_id: str) -> RailPayment | None:
        """Read what is known of this id."""
        with self._engine.begin() as connection:
            return _payment(connection, transaction_id)

    def begin(self, payment: RailPayment, keep: RailCardKept | None = None) -> RailPayment:
        """Remember the first answer to an id; returns what was remembered first, ours or an earlier one."""
        with self._engine.begin() as connection:
            _insert_new(connection, _payments, payment)
            if keep is not None:
                _insert_new(connection, _cards, keep)
            return _payment(connection, payment.transaction_id) or payment

    def card_of_payment(self, transaction_id: str) -> RailCardKept | None:
        """Find the card that the rail was asked to keep with this payment."""
        return self._card(_cards.c.transaction_id == transaction_id)

    def card(self, token_hash: str) -> RailCardKept | None:
        """Find the card behind a token, by the digest of it; of an approved payment alone."""
        approved = select(_payments.c.transaction_id).where(_payments.c.state == "approved")
        return self._card((_cards.c.token_hash == token_hash) & _cards.c.transaction_id.in_(approved))

    def _card(self, which: ColumnElement[bool]) -> RailCardKept | None:
        with self._engine.begin() as connection:
            found = connection.execute(select(_cards).where(which)).mappings().first()
        return RailCardKept(**found) if found else None

    def confirm(self, answer: RailTry) -> RailTry:
        """Remember the answer to one try and move the payment along; an earlier same try keeps its answer.

        A payment that is not waiting for a password answers what it has become.
        """
        with self._engine.begin() as connection:
            return _confirm(connection, answer)

    def move(self, transaction_id: str, steps: dict[str, RailPayment]) -> RailPayment | None:
        """Move a payment on by its state, where ``steps`` has a next one for it; returns what it is then.

        Only state, code and message of a step count.
        """
        with self._engine.begin() as connection:
            known = _payment(connection, transaction_id)
            step = steps.get(known.state) if known else None
            if known is None or step is None:
                return known
            moved = replace(known, state=step.state, response_code=step.response_code, message=step.message)
            _keep(connection, moved)
            return moved

    def void(self, transaction_id: str) -> RailPayment:
        """End an id for ever and say how: voided if it had taken money, else never_happened.

        One never seen is remembered, so that it is refused should it still arrive.
        """
        unseen = RailPayment(transaction_id, "never_happened", 0, "", "", "")
        with self._engine.begin() as connection:
            _insert_new(connection, _payments, unseen)
            known = _payment(connection, transaction_id) or unseen
            if known.state not in OVER:
                state = "voided" if known.state == "approved" else "never_happened"
                known = replace(known, state=state, response_code="", message="")
                _keep(connection, known)
            return known

    def pay_out(self, payout: RailPayout) -> RailPayout:
        """Remember the answer to a payout's id, in the place of an earlier refusal; returns what counts.

        Paid stays paid and closed stays closed, each for ever.
        """
        refused = (_payouts.c.payout_id == payout.payout_id) & (_payouts.c.state == "refused")
        with self._engine.begin() as connection:
            _insert_new(connection, _payouts, payout)
            connection.execute(update(_payouts).where(refused).values(**_fields(payout)))
            return _payout(connection, payout.payout_id) or payout

    def close_payout(self, payout_id: str) -> RailPayout:
        """End a payout's id for ever, unless it was paid; one never seen is remembered."""
        unseen = RailPayout(payout_id, "", "closed", 0, "", "", "")
        refused = (_payouts.c.payout_id == payout_id) & (_payouts.c.state == "refused")
        with self._engine.begin() as connection:
            _insert_new(connection, _payouts, unseen)
            connection.execute(update(_payouts).where(refused).values(state="closed"))
            return _payout(connection, payout_id) or unseen

    def payout(self, payout_id: str) -> RailPayout | None:
        """Read what is known of this payout."""
        with self._engine.begin() as connection:
            return _payout(connection, payout_id)

    def set_switch(self, switch: RailSwitch, calls: int) -> None:
        """Make the next ``calls`` calls of an operation behave so; replaces what was set for it."""
        with self._engine.begin() as connection:
            connection.execute(delete(_switches).where(_switches.c.operation == switch.operation))
            if calls:
                connection.execute(insert(_switches).values(**_fields(switch), calls_left=calls))

    def take_switch(self, operation: str) -> RailSwitch | None:
        """Use up one call of what is set for an operation, if anything is."""
        used = (
            update(_switches)
            .where(_switches.c.operation == operation, _switches.c.calls_left > 0)
            .values(calls_left=_switches.c.calls_left - 1)
            .returning(_switches.c.operation, _switches.c.outcome, _switches.c.delay_milliseconds)
        )
        with self._engine.begin() as connection:
            found = connection.execute(used).mappings().first()
        return RailSwitch(**found) if found else None

    def close(self) -> None:
        """Give back the connections."""
        self._engine.dispose()


@contextmanager
def _made_by_turns(where: Path | str) -> Iterator[None]:
    """Take turns at making it: of two that make a file a WAL database at once SQLite turns one away."""
    if isinstance(where, str):
        yield
        return
    with (
        closing(FileLock(where, SystemClock(), OPENING_PATIENCE_MILLISECONDS)) as file_lock,
        file_lock.turn(),
    ):
        yield


def _sqlite(path: Path) -> Engine:
    """Make one connection, for which threads take turns; a transaction can write from its start on."""
    make_private(path)
    engine = create_engine(f"sqlite:///{path}", poolclass=QueuePool, pool_size=1, max_overflow=0)
    event.listen(engine, "connect", _set_up)
    event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN IMMEDIATE"))
    return engine


def _set_up(connection: DBAPIConnection, _entry: ConnectionPoolEntry) -> None:
    """Set a connection up: nothing is forgotten with the process; a power cut may take made-up money."""
    connection.isolation_level = None  # the transactions are ours to begin
    cursor = connection.cursor()
    for pragma in ("journal_mode = WAL", "synchronous = NORMAL", "busy_timeout = 5000"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _postgres(url: str) -> Engine:
    from opentill.store.databases.connecting import connect  # noqa: PLC0415 - it loads PostgreSQL's driver

    return create_engine(
        "postgresql+psycopg://",
        creator=lambda: connect(url, prepare_threshold=None),  # a pooler may be between
        pool_size=POSTGRES_CONNECTIONS,
        max_overflow=0,
        pool_pre_ping=True,
    )


def _insert_new(
    connection: Connection, table: Table, record: RailPayment | RailPayout | RailCardKept
) -> None:
    """Insert a record unless there is one of its id, whichever process wrote it."""
    connection.execute(
        dialect_of(connection).insert(table).values(**_fields(record)).on_conflict_do_nothing()
    )


def _payment(connection: Connection, transaction_id: str) -> RailPayment | None:
    """Read what is known of this id, which stays ours until the end of the transaction."""
    wanted = select(_payments).where(_payments.c.transaction_id == transaction_id).with_for_update()
    found = connection.execute(wanted).mappings().first()
    return RailPayment(**found) if found else None


def _payout(connection: Connection, payout_id: str) -> RailPayout | None:
    wanted = select(_payouts).where(_payouts.c.payout_id == payout_id)
    found = connection.execute(wanted).mappings().first()
    return RailPayout(**found) if found else None


def _confirm(connection: Connection, answer: RailTry) -> RailTry:
    same = (_tries.c.transaction_id == answer.transaction_id) & (_tries.c.try_number == answer.try_number)
    payment = _payment(connection, answer.transaction_id)
    earlier = connection.execute(select(_tries).where(same)).mappings().first()
    if earlier and payment and payment.state not in OVER:
        return RailTry(**earlier)
    if payment is None or payment.state != "otp_required":
        told = payment or RailPayment(answer.transaction_id, "declined", 0, "", "", "unknown payment")
        return RailTry(answer.transaction_id, answer.try_number, told.state, told.response_code, told.message)
    connection.execute(insert(_tries).values(**_fields(answer)))
    if answer.outcome in ("approved", "declined"):
        moved = replace(
            payment, state=answer.outcome, response_code=answer.response_code, message=answer.message
        )
        _keep(connection, moved)
    return answer


def _keep(connection: Connection, payment: RailPayment) -> None:
    same = _payments.c.transaction_id == payment.transaction_id
    connection.execute(update(_payments).where(same).values(**_fields(payment)))


def _fields(record: Any) -> dict[str, object]:
    return {name: getattr(record, name) for name in record.__dataclass_fields__}
