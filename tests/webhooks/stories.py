"""Stories of one order of a shop, played through the core: each event, and the order right after it."""

from typing import Any

from msgspec.structs import replace

from domain import factories, transfer_factories
from opentill.domain.commands import (
    CancelOrder,
    Command,
    CreateOrder,
    ExpireOrder,
    RailOutcome,
    RefundOutcome,
)
from opentill.domain.decisions import create, decide
from opentill.domain.events import Event, EventType
from opentill.domain.order import Terms
from opentill.domain.sharing import FeeTerms
from opentill.store.orders.contract import OrderView

MERCHANT = "282aa572-0000-4000-8000-000000000002"
SUB_ACCOUNT = "5e0f4f4c-0000-4000-8000-000000000005"
ATTEMPT = "WEB-ONLINE_C-282aa-00000000-0000-4000-8000-000000000003"
REFUND = "7d5c0a3e-0000-4000-8000-000000000006"
FEE = FeeTerms(basis_points=140, cap=1_800_00)
AT = 1_770_351_786_123
"""2026-02-06T04:23:06Z and a bit."""

TERMS = Terms(
    customer_email="ada@example.com",
    customer_id="cust-1",
    callback_url="https://shop.example/back",
    metadata=(("cart", "A-7"), ("region", "NG")),
)
Told = tuple[Event, OrderView]


def asked(*, amount: int = 300_00, terms: Terms = TERMS, **more: Any) -> CreateOrder:
    """The order of all these stories."""
    command = factories.create_order(
        order_id="a5e72ee4-0000-4000-8000-000000000004",
        reference="ORD_1770351765072_449733810",
        amount=amount,
        terms=terms,
        **more,
    )
    return replace(command, account_id=MERCHANT)


def play(order: CreateOrder, *commands: Command) -> list[Told]:
    """Carry out the commands, a second apart, the first one at ``AT`` after an hour's wait for the payer."""
    change = create(order, AT - 3_600_000)
    told = [(event, OrderView(change.after, order.terms)) for event in change.events]
    for number, command in enumerate(commands):
        change = decide(change.after, command, AT + number * 1000, FEE)
        told += [(event, OrderView(change.after, order.terms)) for event in change.events]
    return told


def only(told: list[Told], type_: EventType) -> Told:
    """The one event of this type."""
    [wanted] = [each for each in told if each[0].type is type_]
    return wanted


def begin() -> Command:
    """The payer enters a card."""
    return factories.begin(number=1, transaction_id=ATTEMPT)


def settle(outcome: RailOutcome, number: int = 2) -> Command:
    """The rail answers about that card."""
    return factories.settle(outcome, number=number, transaction_id=ATTEMPT)


def paid(order: CreateOrder | None = None) -> list[Told]:
    """Paid by card."""
    return play(order or asked(), begin(), settle(RailOutcome.APPROVED))


def failed(order: CreateOrder | None = None) -> list[Told]:
    """The card is declined."""
    return play(order or asked(), begin(), settle(RailOutcome.DECLINED))


def cancelled(order: CreateOrder | None = None) -> list[Told]:
    """Cancelled before a card was entered."""
    cancel: CancelOrder = factories.cancel(number=1)
    return play(order or asked(), cancel)


def expired(order: CreateOrder | None = None) -> list[Told]:
    """Its time passed."""
    expire: ExpireOrder = factories.expire(number=1)
    return play(replace(order or asked(), due_at=AT), expire)


def voided() -> list[Told]:
    """Cancelled while the card was being charged: the approval is voided."""
    steps = (settle(RailOutcome.APPROVED, 3), settle(RailOutcome.VOIDED, 4))
    return play(asked(), begin(), factories.cancel(number=2), *steps)


def returned(outcome: RefundOutcome) -> list[Told]:
    """Cancelled, then 125.50 arrive by transfer, and the bank is asked once to send them back."""
    credit = transfer_factories.receive(125_50, number=2, transaction_id=ATTEMPT)
    tried = transfer_factories.try_return(ATTEMPT, number=3)
    until = tried.call_until
    settled = transfer_factories.settle_return(outcome, ATTEMPT, number=4, max_tries=1, answers_until=until)
    return play(asked(), factories.cancel(number=1), credit, tried, settled)


def refunded(outcome: RefundOutcome = RefundOutcome.DONE, order: CreateOrder | None = None) -> list[Told]:
    """Paid by card, and 125.50 of it given back, or not."""
    return play(
        order or asked(),
        begin(),
        settle(RailOutcome.APPROVED),
        factories.begin_refund(125_50, number=3, refund_id=REFUND, transaction_id=ATTEMPT),
        factories.settle_refund(outcome, number=4, refund_id=REFUND, transaction_id=ATTEMPT),
    )
