"""The verbs of ``Transfers``: portable SQLAlchemy Core, one short transaction each."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, RowMapping, Select, insert, select, update

from opentill.domain.order import OrderStatus, Sender
from opentill.store import schema
from opentill.store.databases.database import Database
from opentill.store.databases.dialect import dialect_of
from opentill.store.databases.times import certain_time
from opentill.store.errors import StoreError
from opentill.store.transfers.contract import Advice, TransferAccount, TransferNotice

_accounts, _advices, _orders = schema.transfer_accounts, schema.advices, schema.orders
_former = schema.former_reservations

_MINUTE_MILLISECONDS: Final = 60_000


class TransferVerbs:
    """Account numbers of orders, and advices of banks."""

    def __init__(self, database: Database):
        self._database = database

    def reserve_account(
        self,
        account_id: str,
        order_id: str,
        *,
        bank_code: str,
        candidates: Sequence[str],
        now: int,
        rest_milliseconds: int | None,
    ) -> TransferAccount | None:
        """Try to insert each of the candidates, then to take over each that has rested."""

        def work(connection: Connection) -> TransferAccount | None:
            if known := _account_of(connection, account_id, order_id):
                return known
            offset = _clock_offset(connection)
            at, certain = now + offset, certain_time(connection, now) + offset
            wanted = [TransferAccount(each, bank_code, account_id, order_id, at) for each in candidates]
            for account in wanted:
                if _take_new(connection, account):
                    return account
            for account in wanted:
                if rest_milliseconds is not None and _take_over(
                    connection, account, certain - rest_milliseconds
                ):
                    return account
            return None

        try:
            reserved = self._database.write(work)
        except StoreError:
            reserved = self.transfer_account(account_id, order_id)
            if reserved is None:
                raise
        return reserved or self.transfer_account(account_id, order_id)  # by another process meanwhile

    def transfer_account(self, account_id: str, order_id: str) -> TransferAccount | None:
        """Find an order's number by the order."""
        return self._database.read(lambda c: _account_of(c, account_id, order_id))

    def record_advice(self, notice: TransferNotice, credit_id: str, now: int, route_by: int) -> Advice:
        """Insert the advice unless its session has one, then read the one that stands."""

        def work(connection: Connection) -> Advice:
            if known := _padded(connection, notice):
                return known
            new = {
                **_notice_values(notice),
                "credit_id": credit_id,
                "arrived_at": now + _clock_offset(connection),
                **_target_values(connection, notice),
                "attached": 0,
                "route_by": route_by,
            }
            connection.execute(_insert_new(connection, _advices, new))
            same = (_advices.c.rail == notice.rail) & (_advices.c.session_id == notice.session_id)
            return _advice(connection.execute(select(_advices).where(same)).mappings().one())

        return self._database.write(work)

    def advice_of_credit(self, credit_id: str) -> Advice | None:
        """Find an advice by the credit's id."""
        wanted = select(_advices).where(_advices.c.credit_id == credit_id)
        found = self._database.read(lambda c: c.execute(wanted).mappings().first())
        return _advice(found) if found else None

    def note_routed(self, advice: Advice) -> None:
        """End the routing of an advice that still has the target it was routed to."""
        same_target = (
            (_advices.c.credit_id == advice.credit_id)
            & _advices.c.order_id.is_not_distinct_from(advice.order_id)
            & (_advices.c.attached == int(advice.attached))
        )
        self._change_advice(same_target, route_by=None)

    def unrouted_advices(self, now: int, limit: int) -> list[Advice]:
        """List what an index of advices under way says is overdue."""
        overdue = select(_advices).where(_advices.c.route_by <= now)
        wanted = overdue.order_by(_advices.c.route_by).limit(limit)
        return [_advice(row) for row in self._database.read(lambda c: c.execute(wanted).mappings().all())]

    def attach_advice(self, credit_id: str, account_id: str, order_id: str, route_by: int) -> bool:
        """Attach an advice by an update that is guarded by its being the house's and booked."""
        of_the_house = _advices.c.account_id.is_(None) & _advices.c.route_by.is_(None)
        return self._change_advice(
            (_advices.c.credit_id == credit_id) & of_the_house,
            account_id=account_id,
            order_id=order_id,
            attached=1,
            route_by=route_by,
        )

    def detach_advice(self, credit_id: str) -> None:
        """Give an attached advice back to the house, booked as it is."""
        self._change_advice(
            (_advices.c.credit_id == credit_id) & (_advices.c.attached == 1),
            account_id=None,
            order_id=None,
            attached=0,
            route_by=None,
        )

    def _change_advice(self, which: ColumnElement[bool], **values: Any) -> bool:
        changed = update(_advices).where(which).values(**values)
        return self._database.write(lambda c: c.execute(changed).rowcount == 1)


def _padded(connection: Connection, notice: TransferNotice) -> Advice | None:
    """Find what an earlier version wrote of this session, with blanks behind its id: it is this transfer."""
    session_id = notice.session_id
    near = (_advices.c.session_id > session_id) & (_advices.c.session_id < f"{session_id}!")
    found = connection.execute(select(_advices).where(_advices.c.rail == notice.rail, near)).mappings()
    return next((_advice(row) for row in found if row["session_id"].rstrip() == session_id), None)


def _clock_offset(connection: Connection) -> int:
    return int(connection.execute(select(schema.installation.c.clock_offset)).scalar_one())


def _insert_new(connection: Connection, table: Any, values: dict[str, Any]) -> Any:
    return dialect_of(connection).insert(table).values(**values).on_conflict_do_nothing()


def _account_of(connection: Connection, account_id: str, order_id: str) -> TransferAccount | None:
    same = (_accounts.c.account_id == account_id) & (_accounts.c.order_id == order_id)
    found = connection.execute(select(_accounts).where(same)).mappings().first()
    return TransferAccount(**found) if found else None


def _take_new(connection: Connection, account: TransferAccount) -> bool:
    """Take this number if nobody ever had it; False otherwise."""
    taken = _insert_new(connection, _accounts, asdict(account)).returning(_accounts.c.account_number)
    return connection.execute(taken).first() is not None  # of an INSERT the drivers count rows differently


def _take_over(connection: Connection, account: TransferAccount, free_before: int) -> bool:
    """Take this number if its order ended long enough ago, and note whose it was; False otherwise."""
    of_number = _accounts.c.account_number == account.account_number
    rested = select(_accounts).where(of_number, _ended_before(free_before).exists()).with_for_update()
    before = connection.execute(rested).mappings().first()
    if before is None:
        return False
    if before["reserved_at"] < account.reserved_at:
        former = {each.name: before[each.name] for each in _former.c if each.name in before}
        connection.execute(insert(_former).values(**former, ended_at=account.reserved_at))
    connection.execute(update(_accounts).where(of_number).values(**asdict(account)))
    return True


def _target_values(connection: Connection, notice: TransferNotice) -> dict[str, Any]:
    """Return whose the money is, by the bank's time where somebody had the account number then."""
    of_number = _accounts.c.account_number == notice.account_number
    holder = connection.execute(select(_accounts).where(of_number)).mappings().first()
    at, counts = notice.transferred_at, True
    if holder and at is not None and at < holder["reserved_at"]:
        last = at + _MINUTE_MILLISECONDS - 1 if at % _MINUTE_MILLISECONDS == 0 else at
        former = None if last >= holder["reserved_at"] else _former_holder(connection, notice, last)
        holder, counts = former or holder, former is not None
    return {
        "account_id": holder["account_id"] if holder else None,
        "order_id": holder["order_id"] if holder else None,
        "time_counts": int(counts),
    }


def _former_holder(connection: Connection, notice: TransferNotice, at: int) -> RowMapping | None:
    had_it = select(_former).where(
        _former.c.account_number == notice.account_number,
        _former.c.reserved_at <= at,
        _former.c.ended_at > at,
    )
    return connection.execute(had_it).mappings().first()


def _ended_before(moment: int) -> Select[tuple[Any]]:
    """Select the order that has the number, if nothing has happened to it since it ended that long ago."""
    return select(_orders.c.order_id).where(
        _orders.c.account_id == _accounts.c.account_id,
        _orders.c.order_id == _accounts.c.order_id,
        _orders.c.status != OrderStatus.PENDING.value,
        _orders.c.updated_at <= moment,
    )


def _notice_values(notice: TransferNotice) -> dict[str, Any]:
    return {
        "rail": notice.rail,
        "session_id": notice.session_id,
        "account_number": notice.account_number,
        "amount": notice.amount,
        "currency": notice.currency,
        "sender_name": notice.sender.name,
        "sender_account_number": notice.sender.account_number,
        "sender_bank_code": notice.sender.bank_code,
        "transferred_at": notice.transferred_at,
        "narration": notice.narration,
        "unusable_time": notice.unusable_time,
    }


def _advice(row: RowMapping) -> Advice:
    sender = Sender(row["sender_name"], row["sender_account_number"], row["sender_bank_code"])
    notice = TransferNotice(
        rail=row["rail"],
        session_id=row["session_id"],
        account_number=row["account_number"],
        amount=row["amount"],
        currency=row["currency"],
        sender=sender,
        transferred_at=row["transferred_at"],
        narration=row["narration"],
        unusable_time=row["unusable_time"],
    )
    return Advice(
        notice=notice,
        credit_id=row["credit_id"],
        arrived_at=row["arrived_at"],
        account_id=row["account_id"],
        order_id=row["order_id"],
        attached=bool(row["attached"]),
        route_by=row["route_by"],
        time_counts=bool(row["time_counts"]),
    )
