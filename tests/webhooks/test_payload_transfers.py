"""What merchants are told of transfers: the body of contract 5.4, "By transfer", byte for byte."""

from functools import partial

import pytest

from domain import factories, transfer_factories
from opentill.domain.commands import Command, RefundOutcome
from opentill.domain.events import EventType
from opentill.domain.names import transaction_id
from opentill.domain.order import LateMoney
from opentill.webhooks.payload import render
from webhooks import stories

told = partial(render, account_name="Shops of Lagos")

CREDIT_ID = "00000000-0000-4000-8000-000000000008"
CREDIT = transaction_id(stories.MERCHANT, CREDIT_ID)
HEAD = (
    b'"merchant":{"walletId":"N/A","walletBalance":0.00,"userId":"282aa572-0000-4000-8000-000000000002"},'
    b'"terminal":{},"tokenizedCardData":{"tokenKey":"N/A","cardType":"N/A","tokenExpiryYear":"N/A",'
    b'"tokenExpiryMonth":"N/A","cardPan":"N/A"},'
)
ALIAS = (
    b'"aliasAccountNumber":"9000000017","aliasAccountName":"Shops of Lagos",'
    b'"aliasAccountReference":"ORD_1770351765072_449733810","aliasAccountType":"VIRTUAL",'
    b'"sessionId":"session of WEB-ONLINE_C-282aa-00000000-0000-4000-8000-000000000008","narration":""},'
)
REST = (
    b'"customer":{"bankCode":"058","bankName":"N/A","senderName":"Ada Obi","accountNumber":"0123456789"},'
    b'"order":{"amount":300.00,"orderId":"a5e72ee4-0000-4000-8000-000000000004","cardType":"N/A",'
    b'"accountId":"282aa572-0000-4000-8000-000000000002","cardLast4Digits":"N/A","cardCurrency":"N/A",'
    b'"customerEmail":"ada@example.com","customerId":"cust-1","isTokenizedCardPayment":"false",'
    b'"orderReference":"ORD_1770351765072_449733810","paymentMethod":"bank_transfer",'
    b'"callbackUrl":"https://shop.example/back","currency":"NGN","orderMetaData":{"cart":"A-7","region":"NG"},'
)


def transaction(fee: bytes, code: bytes, amount: bytes, time: bytes, more: bytes = b"") -> bytes:
    return (
        b'"transaction":{"fee":' + fee + b',"type":"online_checkout",'
        b'"transactionId":"WEB-ONLINE_C-282aa-00000000-0000-4000-8000-000000000008","responseCode":"'
        + code
        + b'","originatingFrom":"web","merchantTxRef":"txref-00000000-0000-4000-8000-000000000008",'
        b'"transactionAmount":' + amount + b',"time":"' + time + b'",' + more
    )


def reversal(state: bytes) -> bytes:
    return (
        b'"reversal":{"kind":"excess","id":"00000000-0000-4000-8000-000000000008","state":"' + state + b'"}}}'
    )


def overpaid(outcome: RefundOutcome, tries: int = 1) -> list[stories.Told]:
    """A transfer of 350.00 pays an order of 300.00; the bank sends the rest back, or will not."""
    steps: list[Command] = [
        transfer_factories.receive(350_00, number=1, transaction_id=CREDIT, arrived_at=stories.AT)
    ]
    for turn in range(tries):
        number = 2 * turn + 2
        tried = transfer_factories.try_return(CREDIT, number=number, now=factories.NOW + 60_000)
        until = tried.call_until
        steps += [
            tried,
            transfer_factories.settle_return(outcome, CREDIT, number=number + 1, answers_until=until),
        ]
    return stories.play(stories.asked(), *steps)


DONE, REFUSED = overpaid(RefundOutcome.DONE), overpaid(RefundOutcome.REFUSED, transfer_factories.MAX_TRIES)


def body(story: list[stories.Told], type_: EventType) -> tuple[str, bytes]:
    rendered = told(*stories.only(story, type_))
    assert rendered is not None
    return rendered.type, rendered.body


def test_a_payment_by_transfer() -> None:
    """It says where the transfer came from and to which account, the amount of the order, and the fee."""
    assert body(DONE, EventType.PAYMENT_SUCCESS) == (
        "payment_success",
        b'{"event_type":"payment_success","requestId":"'
        + stories.only(DONE, EventType.PAYMENT_SUCCESS)[0].event_id.encode()
        + b'","data":{'
        + HEAD
        + transaction(b"4.20", b"", b"300.00", b"2026-02-06T04:23:06Z", ALIAS)
        + REST
        + b'"status":"PAID","sequence":3}}}',
    )


def test_money_that_is_back() -> None:
    """The reversal has the returned money, the kind of the return, and its id for life."""
    event, _ = stories.only(DONE, EventType.PAYMENT_REVERSAL)
    assert body(DONE, EventType.PAYMENT_REVERSAL) == (
        "payment_reversal",
        b'{"event_type":"payment_reversal","requestId":"'
        + event.event_id.encode()
        + b'","data":{'
        + HEAD
        + transaction(b"0.00", b"", b"50.00", b"2026-02-06T04:23:08Z", ALIAS)
        + REST
        + b'"status":"PAID","sequence":6},'
        + reversal(b"done"),
    )


def test_money_that_the_bank_will_not_send() -> None:
    """Parked, it is told as failed, with the amount that is not back and what the bank said."""
    event, view = stories.only(REFUSED, EventType.RETURN_PARKED)
    left = view.order.return_of(CREDIT)
    assert left is not None
    assert left.message
    words = b'"responseCodeMessage":"' + left.message.encode() + b'",'
    assert body(REFUSED, EventType.RETURN_PARKED) == (
        "payment_reversal",
        b'{"event_type":"payment_reversal","requestId":"'
        + event.event_id.encode()
        + b'","data":{'
        + HEAD
        + transaction(b"0.00", left.response_code.encode(), b"50.00", b"2026-02-06T04:23:10Z", words + ALIAS)
        + REST
        + b'"status":"PAID","sequence":8},'
        + reversal(b"failed"),
    )


@pytest.mark.parametrize(
    "type_", [EventType.CREDIT_RECEIVED, EventType.RETURN_STARTED, EventType.RETURN_TRIED]
)
def test_steps_on_the_way_are_told_to_nobody(type_: EventType) -> None:
    """That money arrived, or is being sent back, is in the feed and in no webhook (contract 5.1)."""
    assert told(*stories.only(DONE, type_)) is None


def test_a_credit_that_was_attached_elsewhere_is_told_to_nobody() -> None:
    """Money that left for another order went to no payer, so no reversal says that it did."""
    held = transfer_factories.receive(300_00, number=2, transaction_id=CREDIT, arrived_at=stories.AT + 1000)
    order = stories.asked(due_at=stories.AT, late_money=LateMoney.HOLD)
    story = stories.play(order, factories.expire(number=1), held, transfer_factories.attach(CREDIT, number=3))
    assert told(*stories.only(story, EventType.PAYMENT_REVERSAL)) is None
