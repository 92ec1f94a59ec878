"""The list of a merchant's attempts: one statement built from the filter, portable SQLAlchemy Core."""

from typing import Any

from sqlalchemy import Connection, Select, and_, exists, not_, or_, select

from opentill.domain.order import RefundStatus
from opentill.store import rows
from opentill.store.interface import TransactionFilter, TransactionView
from opentill.store.schema import attempts, orders, refunds


def select_transactions(connection: Connection, wanted: TransactionFilter) -> list[TransactionView]:
    """The attempts that match, newest first, each with its order."""
    statement = _filtered(wanted).order_by(attempts.c.started_at.desc(), attempts.c.transaction_id.desc())
    return [_view(tuple(row)) for row in connection.execute(statement.limit(wanted.limit))]


_COLUMNS = (
    *(attempts.c[name] for name in rows.ATTEMPT),
    *(orders.c[name] for name in rows.ORDER_FACTS + rows.ORDER_STATE + rows.TERMS),
)
_UNFINISHED_REFUND = exists().where(
    refunds.c.account_id == orders.c.account_id,
    refunds.c.order_id == orders.c.order_id,
    refunds.c.status.in_([RefundStatus.RUNNING.value, RefundStatus.UNKNOWN.value]),
)
_WHOLLY_REFUNDED = and_(
    orders.c.paid_by.is_not_distinct_from(attempts.c.transaction_id),
    orders.c.refunded == orders.c.applied,
    not_(_UNFINISHED_REFUND),
)
_ORDER_AT = len(rows.ATTEMPT)
_TERMS_AT = _ORDER_AT + len(rows.ORDER_FACTS + rows.ORDER_STATE)
_REFUNDED_AT = _TERMS_AT + len(rows.TERMS)


def _view(row: rows.Row) -> TransactionView:
    attempt = rows.attempt(row[:_ORDER_AT])
    order = rows.order(row[_ORDER_AT:_TERMS_AT], (attempt,))
    terms = rows.terms(row[_TERMS_AT:_REFUNDED_AT])
    return TransactionView(attempt, order, terms, wholly_refunded=bool(row[_REFUNDED_AT]))


def _filtered(wanted: TransactionFilter) -> Select[Any]:
    same_order = and_(attempts.c.account_id == orders.c.account_id, attempts.c.order_id == orders.c.order_id)
    statement = (
        select(*_COLUMNS, _WHOLLY_REFUNDED.label("wholly_refunded"))
        .select_from(attempts.join(orders, same_order))
        .where(attempts.c.account_id == wanted.account_id)
    )
    if wanted.sub_account_id is not None:
        statement = statement.where(orders.c.sub_account_id == wanted.sub_account_id)
    for transaction_id in wanted.transaction_ids:
        statement = statement.where(attempts.c.transaction_id == transaction_id)
    for name in wanted.order_names:
        statement = statement.where(or_(orders.c.reference == name, orders.c.order_id == name))
    if wanted.statuses is not None:
        by_status = and_(attempts.c.status.in_(sorted(wanted.statuses)), not_(_WHOLLY_REFUNDED))
        statement = statement.where(or_(by_status, _WHOLLY_REFUNDED) if wanted.wholly_refunded else by_status)
    if wanted.started_from is not None:
        statement = statement.where(attempts.c.started_at >= wanted.started_from)
    if wanted.started_to is not None:
        statement = statement.where(attempts.c.started_at <= wanted.started_to)
    if wanted.before is not None:
        started_at, transaction_id = wanted.before
        statement = statement.where(
            or_(
                attempts.c.started_at < started_at,
                and_(attempts.c.started_at == started_at, attempts.c.transaction_id < transaction_id),
            )
        )
    return statement
