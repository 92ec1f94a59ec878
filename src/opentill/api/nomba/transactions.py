"""Single transactions and lists of them (contract 3.4, 3.12)."""

from dataclasses import replace
from typing import Annotated, Final, Literal

from msgspec import Meta

from opentill.api.http.call import Call
from opentill.api.http.cursor import from_cursor, to_cursor
from opentill.api.http.decode import Text
from opentill.api.http.times import beginning, ending
from opentill.api.nomba.views import (
    FILTER_WORDS,
    REFUNDED,
    TransactionShown,
    statuses_of,
    transaction_view,
)
from opentill.api.wire import RECORD_NOT_FOUND, TRANSACTION_NOT_FOUND, Rejected, Reply, WireStruct, invalid
from opentill.domain.names import transaction_of_tx_ref
from opentill.domain.order import Order
from opentill.store.orders.contract import Snapshot, TransactionFilter, TransactionView

_MOST_LISTED: Final = 50
_NOTHING: Final[frozenset[str]] = frozenset()


# --- one transaction ------------------------------------------------------------------------------


class SingleQuery(WireStruct):
    """Names of one transaction; all that are given must match."""

    transaction_ref: Text | None = None
    merchant_tx_ref: Text | None = None
    order_reference: Text | None = None
    order_id: Text | None = None


async def single_transaction(call: Call) -> Reply:
    """Return one transaction of the merchant."""
    return await _single(call, None)


async def single_transaction_of_sub_account(call: Call) -> Reply:
    """Return one transaction of a sub-account; a foreign sub-account is an unknown record."""
    sub_account = call.path_text("subAccountId")
    if not await call.deps.account_cache.owns_sub_account(call.account_id, sub_account):
        raise Rejected(RECORD_NOT_FOUND)
    return await _single(call, sub_account)


async def _single(call: Call, sub_account: str | None) -> Reply:
    query: SingleQuery = call.query
    if not (query.transaction_ref or query.merchant_tx_ref or query.order_reference or query.order_id):
        raise invalid("one of transactionRef, merchantTxRef, orderReference and orderId must be given")
    wanted = _named(call, query, sub_account)
    if wanted is None:
        raise Rejected(TRANSACTION_NOT_FOUND)
    found = await call.deps.reader.ask(lambda snapshot: snapshot.transactions(wanted), call.token)
    if not found:
        return TRANSACTION_NOT_FOUND
    paying = (one for one in found if one.transaction_id == one.order.paid_by)
    return call.success(transaction_view(next(paying, found[0])))


async def requery(call: Call) -> Reply:
    """Return the transaction of a session id: the payment that its money became part of, or its own."""
    account_id, session_id = call.account_id, call.path_text("sessionId")

    def ask(snapshot: Snapshot) -> list[TransactionView]:
        view = snapshot.order_of_session(account_id, session_id)
        if view is None:
            return []
        named = _payment_of(view.order, session_id)
        return snapshot.transactions(TransactionFilter(account_id=account_id, transaction_ids=(named,)))

    found = await call.deps.reader.ask(ask, call.token)
    return call.success(transaction_view(found[0])) if found else TRANSACTION_NOT_FOUND


def _payment_of(order: Order, session_id: str) -> str:
    credit = next(each for each in reversed(order.credits) if each.session_id == session_id)
    return order.paid_by if credit.applied and order.paid_by else credit.transaction_id


def _named(
    call: Call, names: "SingleQuery | ListFilters", sub_account: str | None
) -> TransactionFilter | None:
    """Return a filter by names; None when they can not belong to any transaction of this merchant."""
    ids = [names.transaction_ref] if names.transaction_ref else []
    if names.merchant_tx_ref:
        named = transaction_of_tx_ref(call.account_id, names.merchant_tx_ref)
        if named is None:
            return None
        ids.append(named)
    return TransactionFilter(
        account_id=call.account_id,
        sub_account_id=sub_account,
        transaction_ids=tuple(ids),
        order_names=tuple(name for name in (names.order_reference, names.order_id) if name),
        limit=_MOST_LISTED,
    )


# --- lists ----------------------------------------------------------------------------------------


class ListQuery(WireStruct):
    """The page of a list, and the days that it is of."""

    limit: Annotated[int, Meta(ge=1, le=_MOST_LISTED)] = _MOST_LISTED
    cursor: Text | None = None
    date_from: Text | None = None
    date_to: Text | None = None


class ListFilters(WireStruct):
    """The filters of a list; all that are given must match."""

    transaction_ref: Text | None = None
    status: Literal[FILTER_WORDS] | None = None  # type: ignore[valid-type]
    source: Text | None = None
    type: Text | None = None
    terminal_id: Text | None = None
    rrn: Text | None = None
    merchant_tx_ref: Text | None = None
    order_reference: Text | None = None
    order_id: Text | None = None


class TransactionList(WireStruct):
    """A page of transactions, newest first; an empty cursor ends the list."""

    results: list[TransactionShown]
    cursor: str


async def list_transactions(call: Call) -> Reply:
    """Return the merchant's transactions, those of its sub-accounts included."""
    return await _list(call, None)


async def list_sub_account_transactions(call: Call) -> Reply:
    """Return the transactions of orders that credit one sub-account; a foreign one is an unknown record."""
    sub_account = call.path_text("subAccountId")
    if not await call.deps.account_cache.owns_sub_account(call.account_id, sub_account):
        raise Rejected(RECORD_NOT_FOUND)
    return await _list(call, sub_account)


async def _list(call: Call, sub_account: str | None) -> Reply:
    query: ListQuery = call.query
    wanted = _wanted(call, query, sub_account)
    if wanted is None:
        await call.check_token()
        return call.success(TransactionList([], ""))
    found = await call.deps.reader.ask(lambda snapshot: snapshot.transactions(wanted), call.token)
    page = found[: query.limit]
    cursor = ""
    if len(found) > query.limit:
        cursor = to_cursor(page[-1].began_at, page[-1].transaction_id)
    return call.success(TransactionList([transaction_view(one) for one in page], cursor))


def _wanted(call: Call, query: ListQuery, sub_account: str | None) -> TransactionFilter | None:
    """Return the filter of a list, with one more than the page holds; None when nothing can match it."""
    filters: ListFilters = call.body or ListFilters()
    before = None if query.cursor is None else from_cursor(query.cursor)
    started_from = None if query.date_from is None else beginning(query.date_from, "dateFrom")
    started_before = None if query.date_to is None else ending(query.date_to, "dateTo")
    named = _named(call, filters, sub_account)
    statuses = None if filters.status is None else statuses_of(filters.status)
    if named is None or statuses == _NOTHING or not _ours(filters):
        return None
    return replace(
        named,
        statuses=statuses,
        wholly_refunded=filters.status == REFUNDED,
        started_from=started_from,
        started_before=started_before,
        before=before,
        limit=query.limit + 1,
    )


def _ours(filters: ListFilters) -> bool:
    """Return whether a filter can fit: all here is online checkout from the web, and of no terminal."""
    return (
        filters.source in {None, "web"}
        and filters.type in {None, "online_checkout"}
        and filters.terminal_id is None
        and filters.rrn is None
    )
