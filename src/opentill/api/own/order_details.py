"""What an order has been through, and where a merchant's money stands (contract 10): opentill's own calls."""

from collections import defaultdict
from typing import Final

from opentill.api.http.call import Call
from opentill.api.own.allowed import what_is_allowed
from opentill.api.own.order_views import full_order_view, money_view
from opentill.api.wire import RECORD_NOT_FOUND, Reply, WireStruct
from opentill.domain.events import Event
from opentill.domain.money import major_units
from opentill.store.orders.contract import Balance, OrderView, Snapshot

_TWO_DECIMALS: Final = "NGN"
"""Any of the currencies, all of which are printed alike."""


class BalanceShown(WireStruct):
    """All that was booked on one ledger account in one currency."""

    account: str
    currency: str
    debit: str
    credit: str


class TrialBalance(WireStruct):
    """The sums of a merchant's ledger; the ``difference`` of debits and credits is 0 in every currency."""

    balances: list[BalanceShown]
    difference: str


async def order_in_full(call: Call) -> Reply:
    """Return the order of this reference or order id, with its history and its possibilities."""
    name = call.account_id, call.path_text("orderReference")

    def ask(snapshot: Snapshot) -> tuple[OrderView, list[Event], int] | None:
        view = snapshot.orders([name]).get(name)
        if view is None:
            return None
        events = snapshot.events(view.order.account_id, view.order.order_id)
        return view, events, snapshot.facts(()).due_by(call.now)

    found = await call.deps.reader.ask(ask, call.token)
    if found is None:
        return RECORD_NOT_FOUND
    view, events, due_by = found
    allowed = what_is_allowed(view.order, due_by, call.deps.settings.max_attempts)
    return call.success(full_order_view(view, events, allowed))


async def money_of_order(call: Call) -> Reply:
    """Answer where the money of an order stands."""
    view = await call.deps.reader.order(call.account_id, call.path_text("orderReference"), call.token)
    return RECORD_NOT_FOUND if view is None else call.success(money_view(view.order))


async def trial_balance(call: Call) -> Reply:
    """Return the merchant's ledger, summed."""
    balances = await call.deps.reader.ask(lambda s: s.trial_balance(call.account_id), call.token)
    return call.success(TrialBalance([_balance(each) for each in balances], _difference(balances)))


def _balance(balance: Balance) -> BalanceShown:
    return BalanceShown(
        account=balance.ledger_account,
        currency=balance.currency,
        debit=major_units(balance.debit, balance.currency),
        credit=major_units(balance.credit, balance.currency),
    )


def _difference(balances: list[Balance]) -> str:
    """Return what is wrong, summed over currencies without signs, so that none can hide another."""
    by_currency: defaultdict[str, int] = defaultdict(int)
    for each in balances:
        by_currency[each.currency] += each.debit - each.credit
    return major_units(sum(map(abs, by_currency.values())), _TWO_DECIMALS)
