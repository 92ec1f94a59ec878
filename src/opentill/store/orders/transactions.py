"""The list of a merchant's transactions: attempts by card and transfers, portable SQLAlchemy Core.

One statement for each of the two, built from the filter; both read one moment, and what they find is merged
by the key of the pages. A transfer whose money became part of another's payment is no transaction of its
own, so that what a payment brought is listed once; under its own id it is found all the same.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    FromClause,
    Select,
    and_,
    case,
    exists,
    not_,
    or_,
    select,
)

from opentill.domain.order import Attempt, Credit, Order, RefundStatus
from opentill.store.orders import rows
from opentill.store.orders.contract import TransactionFilter, TransactionView, TransferState
from opentill.store.schema import attempts, credits_, orders, refunds, returns


def select_transactions(connection: Connection, wanted: TransactionFilter) -> list[TransactionView]:
    """Select the transactions that match, newest first, each with its order."""
    found = [view for kind in _KINDS for view in kind.select(connection, wanted)]
    found.sort(key=lambda view: (view.began_at, view.transaction_id), reverse=True)
    return found[: wanted.limit]


_ORDER: Final = rows.ORDER_FACTS + rows.ORDER_STATE
_UNFINISHED_REFUND: Final = exists().where(
    refunds.c.account_id == orders.c.account_id,
    refunds.c.order_id == orders.c.order_id,
    refunds.c.status.in_([RefundStatus.RUNNING.value, RefundStatus.UNKNOWN.value]),
)


def _columns(table: FromClause, names: tuple[str, ...]) -> list[ColumnElement[Any]]:
    return [table.c[name] for name in names]


@dataclass(frozen=True, slots=True)
class _Kind:
    """Transactions of one table."""

    transaction_id: Column[Any]
    began_at: Column[Any]
    status: ColumnElement[Any]
    """Of the domain, or a ``TransferState``."""
    source: FromClause
    """The table joined with its orders."""
    own: tuple[ColumnElement[Any], ...]
    """What is read beside the order."""
    in_lists: ColumnElement[bool] | None
    """Which rows stand in lists; None for all."""
    read: Callable[[rows.Row, rows.Row], tuple[Attempt | Credit, Order]]
    """Makes the payment and its order of its own columns and the order's."""

    def select(self, connection: Connection, wanted: TransactionFilter) -> list[TransactionView]:
        """Select its part of the list."""
        newest_first = self._filtered(wanted).order_by(self.began_at.desc(), self.transaction_id.desc())
        return [self._view(tuple(row)) for row in connection.execute(newest_first.limit(wanted.limit))]

    def _view(self, row: rows.Row) -> TransactionView:
        order_at = len(self.own)
        terms_at = order_at + len(_ORDER)
        payment, order = self.read(row[:order_at], row[order_at:terms_at])
        return TransactionView(payment, order, rows.terms(row[terms_at:-1]), wholly_refunded=bool(row[-1]))

    def _filtered(self, wanted: TransactionFilter) -> Select[Any]:
        refunded = and_(
            orders.c.paid_by.is_not_distinct_from(self.transaction_id),
            orders.c.refunded == orders.c.applied,
            not_(_UNFINISHED_REFUND),
        )
        columns = (*self.own, *_columns(orders, _ORDER), *_columns(orders, rows.TERMS))
        return (
            select(*columns, refunded.label("wholly_refunded"))
            .select_from(self.source)
            .where(orders.c.account_id == wanted.account_id, *self._conditions(wanted, refunded))
        )

    def _conditions(
        self, wanted: TransactionFilter, refunded: ColumnElement[bool]
    ) -> list[ColumnElement[bool]]:
        found = [self.transaction_id == each for each in wanted.transaction_ids]
        found += [or_(orders.c.reference == name, orders.c.order_id == name) for name in wanted.order_names]
        if self.in_lists is not None and not wanted.transaction_ids:
            found.append(self.in_lists)
        if wanted.sub_account_id is not None:
            found.append(orders.c.sub_account_id == wanted.sub_account_id)
        if wanted.statuses is not None:
            by_status = and_(self.status.in_(sorted(wanted.statuses)), not_(refunded))
            found.append(or_(by_status, refunded) if wanted.wholly_refunded else by_status)
        if wanted.started_from is not None:
            found.append(self.began_at >= wanted.started_from)
        if wanted.started_before is not None:
            found.append(self.began_at < wanted.started_before)
        if wanted.before is not None:
            began_at, transaction_id = wanted.before
            same_moment = and_(self.began_at == began_at, self.transaction_id < transaction_id)
            found.append(or_(self.began_at < began_at, same_moment))
        return found


# --- attempts by card -----------------------------------------------------------------------------


def _card(own: rows.Row, order: rows.Row) -> tuple[Attempt, Order]:
    attempt = rows.attempt(own)
    return attempt, rows.order(order, (attempt,))


_CARD: Final = _Kind(
    transaction_id=attempts.c.transaction_id,
    began_at=attempts.c.started_at,
    status=attempts.c.status,
    source=attempts.join(
        orders, and_(attempts.c.account_id == orders.c.account_id, attempts.c.order_id == orders.c.order_id)
    ),
    own=tuple(_columns(attempts, rows.ATTEMPT)),
    in_lists=None,
    read=_card,
)


# --- transfers ------------------------------------------------------------------------------------

_RETURN_AT: Final = len(rows.CREDIT)
_PAID_BY_IT: Final = orders.c.paid_by.is_not_distinct_from(credits_.c.transaction_id)


def _transfer(own: rows.Row, order: rows.Row) -> tuple[Credit, Order]:
    credit, left = rows.credit(own[:_RETURN_AT]), own[_RETURN_AT:]
    returns_ = (rows.return_(left),) if left[0] is not None else ()
    return credit, rows.order(order, credits_=(credit,), returns=returns_)


_TRANSFER: Final = _Kind(
    transaction_id=credits_.c.transaction_id,
    began_at=credits_.c.arrived_at,
    status=case(
        (credits_.c.applied > 0, TransferState.PAID.value),
        (credits_.c.held > 0, TransferState.HELD.value),
        else_=TransferState.SENT_BACK.value,
    ),
    source=credits_.join(
        orders, and_(credits_.c.account_id == orders.c.account_id, credits_.c.order_id == orders.c.order_id)
    ).outerjoin(
        returns,
        and_(
            returns.c.account_id == credits_.c.account_id,
            returns.c.transaction_id == credits_.c.transaction_id,
        ),
    ),
    own=(*_columns(credits_, rows.CREDIT), *_columns(returns, rows.RETURN)),
    in_lists=or_(credits_.c.applied == 0, _PAID_BY_IT),
    read=_transfer,
)

_KINDS: Final = (_CARD, _TRANSFER)
