"""The verbs of ``Transfers``: portable SQLAlchemy Core, one short transaction each."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, RowMapping, Select, select, update

from opentill.domain.order import OrderStatus, Sender
from opentill.store import schema
from opentill.store.databases.database import Database
from opentill.store.databases.dialect import dialect_of
from opentill.store.databases.times import certain_time
from opentill.store.transfers.contract import Advice, TransferAccount, TransferNotice

_accounts, _advices, _orders = schema.transfer_accounts, schema.advices, schema.orders


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
        rest_milliseconds: int,
    ) -> TransferAccount | None:
        """Try the candidates one by one, each by an insert, then by a guarded update."""

        def work(connection: Connection) -> TransferAccount | None:
            if known := _account_of(connection, account_id, order_id):
                return known
            business = _clock_offset(connection)
            free_before = certain_time(connection, now) - rest_milliseconds
            for number in candidates:
                account = TransferAccount(number, bank_code, account_id, order_id, now + business)
                if _take(connection, account, free_before + business):
                    return account
            return _account_of(connection, account_id, order_id)  # another process may have reserved it

        return self._database.write(work)

    def transfer_account(self, account_id: str, order_id: str) -> TransferAccount | None:
        """Find an order's number by the order."""
        return self._database.read(lambda c: _account_of(c, account_id, order_id))

    def record_advice(self, notice: TransferNotice, credit_id: str, now: int, route_by: int) -> Advice:
        """Insert the advice unless its session has one, then read the one that stands."""

        def work(connection: Connection) -> Advice:
            holder = select(_accounts.c.account_id, _accounts.c.order_id).where(
                _accounts.c.account_number == notice.account_number
            )
            found = connection.execute(holder).mappings().first()
            new = {
                **_notice_values(notice),
                "credit_id": credit_id,
                "arrived_at": now + _clock_offset(connection),
                "account_id": found["account_id"] if found else None,
                "order_id": found["order_id"] if found else None,
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


def _clock_offset(connection: Connection) -> int:
    return int(connection.execute(select(schema.installation.c.clock_offset)).scalar_one())


def _insert_new(connection: Connection, table: Any, values: dict[str, Any]) -> Any:
    return dialect_of(connection).insert(table).values(**values).on_conflict_do_nothing()


def _account_of(connection: Connection, account_id: str, order_id: str) -> TransferAccount | None:
    same = (_accounts.c.account_id == account_id) & (_accounts.c.order_id == order_id)
    found = connection.execute(select(_accounts).where(same)).mappings().first()
    return TransferAccount(**found) if found else None


def _take(connection: Connection, account: TransferAccount, free_before: int) -> bool:
    """Take this number if nobody had it or its order ended long enough ago; False otherwise."""
    values = {name: getattr(account, name) for name in TransferAccount.__dataclass_fields__}
    if connection.execute(_insert_new(connection, _accounts, values)).rowcount == 1:
        return True
    freed = update(_accounts).where(
        _accounts.c.account_number == account.account_number, _ended_before(free_before).exists()
    )
    return connection.execute(freed.values(**values)).rowcount == 1


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
    )
    return Advice(
        notice=notice,
        credit_id=row["credit_id"],
        arrived_at=row["arrived_at"],
        account_id=row["account_id"],
        order_id=row["order_id"],
        attached=bool(row["attached"]),
        route_by=row["route_by"],
    )
