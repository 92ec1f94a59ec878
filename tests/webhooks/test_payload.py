"""The body of each webhook, byte for byte as contract 5.4 has it."""

import json
from dataclasses import replace
from decimal import Decimal
from functools import partial
from typing import Any

import hypothesis
import pytest
from hypothesis import strategies as st
from msgspec import structs

from domain import factories
from opentill.domain.commands import RailOutcome, RefundOutcome
from opentill.domain.events import TOLD_TO_MERCHANTS, EventType
from opentill.domain.money import MAX_MINOR
from opentill.domain.order import Terms
from opentill.webhooks.payload import DEFAULT_EVENTS, SUBSCRIBABLE, TYPE_OF, render
from tidy.rules import ROOT
from webhooks import stories

told = partial(render, account_name="opentill Checkout")

WHO = (
    b'"merchant":{"walletId":"N/A","walletBalance":0.00,"userId":"282aa572-0000-4000-8000-000000000002"},'
    b'"terminal":{},'
    b'"tokenizedCardData":{"tokenKey":"N/A","cardType":"N/A","tokenExpiryYear":"N/A","tokenExpiryMonth":"N/A",'
    b'"cardPan":"N/A"},'
)
BY_CARD = (
    b'"customer":{"billerId":"543462******2808","productId":"543462"},'
    b'"order":{"amount":300.00,"orderId":"a5e72ee4-0000-4000-8000-000000000004","cardType":"Mastercard",'
    b'"accountId":"282aa572-0000-4000-8000-000000000002","cardLast4Digits":"2808","cardCurrency":"NGN",'
    b'"customerEmail":"ada@example.com","customerId":"cust-1","isTokenizedCardPayment":"false",'
    b'"orderReference":"ORD_1770351765072_449733810","paymentMethod":"card_payment",'
    b'"callbackUrl":"https://shop.example/back","currency":"NGN","orderMetaData":{"cart":"A-7","region":"NG"},'
)
BY_TRANSFER = (
    b'"customer":{"bankCode":"058","bankName":"N/A","senderName":"Ada Obi","accountNumber":"0123456789"},'
    b'"order":{"amount":300.00,"orderId":"a5e72ee4-0000-4000-8000-000000000004","cardType":"N/A",'
    b'"accountId":"282aa572-0000-4000-8000-000000000002","cardLast4Digits":"N/A","cardCurrency":"N/A",'
    b'"customerEmail":"ada@example.com","customerId":"cust-1","isTokenizedCardPayment":"false",'
    b'"orderReference":"ORD_1770351765072_449733810","paymentMethod":"bank_transfer",'
    b'"callbackUrl":"https://shop.example/back","currency":"NGN","orderMetaData":{"cart":"A-7","region":"NG"},'
)
UNPAID = (
    b'"customer":{"billerId":"N/A","productId":"N/A"},'
    b'"order":{"amount":300.00,"orderId":"a5e72ee4-0000-4000-8000-000000000004","cardType":"N/A",'
    b'"accountId":"282aa572-0000-4000-8000-000000000002","cardLast4Digits":"N/A","cardCurrency":"N/A",'
    b'"customerEmail":"ada@example.com","customerId":"cust-1","isTokenizedCardPayment":"false",'
    b'"orderReference":"ORD_1770351765072_449733810","paymentMethod":"N/A",'
    b'"callbackUrl":"https://shop.example/back","currency":"NGN","orderMetaData":{"cart":"A-7","region":"NG"},'
)

SUCCESS = (
    b'{"event_type":"payment_success","requestId":"00000000-0000-0002-0000-000000000000","data":{' + WHO +
    b'"transaction":{"fee":4.20,"type":"online_checkout",'
    b'"transactionId":"WEB-ONLINE_C-282aa-00000000-0000-4000-8000-000000000003","responseCode":"",'
    b'"originatingFrom":"web","merchantTxRef":"txref-00000000-0000-4000-8000-000000000003",'
    b'"transactionAmount":300.00,"time":"2026-02-06T04:23:07Z"},' + BY_CARD +
    b'"status":"PAID","sequence":3}}}'
)  # fmt: skip
FAILED = (
    b'{"event_type":"payment_failed","requestId":"00000000-0000-0002-0000-000000000000","data":{' + WHO +
    b'"transaction":{"fee":0.00,"type":"online_checkout",'
    b'"transactionId":"WEB-ONLINE_C-282aa-00000000-0000-4000-8000-000000000003","responseCode":"51",'
    b'"originatingFrom":"web","merchantTxRef":"txref-00000000-0000-4000-8000-000000000003",'
    b'"transactionAmount":300.00,"time":"2026-02-06T04:23:07Z","responseCodeMessage":"what the rail said"},'
    + BY_CARD + b'"status":"PENDING","sequence":3}}}'
)  # fmt: skip
VOIDED = (
    b'{"event_type":"payment_reversal","requestId":"00000000-0000-0004-0000-000000000000","data":{' + WHO +
    b'"transaction":{"fee":0.00,"type":"online_checkout",'
    b'"transactionId":"WEB-ONLINE_C-282aa-00000000-0000-4000-8000-000000000003","responseCode":"",'
    b'"originatingFrom":"web","merchantTxRef":"txref-00000000-0000-4000-8000-000000000003",'
    b'"transactionAmount":300.00,"time":"2026-02-06T04:23:09Z"},' + BY_CARD +
    b'"status":"CANCELLED","sequence":5},"reversal":{"kind":"void",'
    b'"id":"WEB-ONLINE_C-282aa-00000000-0000-4000-8000-000000000003","state":"done"}}}'
)  # fmt: skip
REFUNDED = (
    b'{"event_type":"payment_reversal","requestId":"00000000-0000-0004-0000-000000000000","data":{' + WHO +
    b'"transaction":{"fee":0.00,"type":"online_checkout",'
    b'"transactionId":"WEB-ONLINE_C-282aa-00000000-0000-4000-8000-000000000003","responseCode":"",'
    b'"originatingFrom":"web","merchantTxRef":"txref-00000000-0000-4000-8000-000000000003",'
    b'"transactionAmount":125.50,"time":"2026-02-06T04:23:09Z"},' + BY_CARD +
    b'"status":"PAID","sequence":5},"reversal":{"kind":"refund",'
    b'"id":"7d5c0a3e-0000-4000-8000-000000000006","state":"done"}}}'
)  # fmt: skip
NOT_REFUNDED = (
    b'{"event_type":"payment_reversal","requestId":"00000000-0000-0004-0000-000000000000","data":{' + WHO +
    b'"transaction":{"fee":0.00,"type":"online_checkout",'
    b'"transactionId":"WEB-ONLINE_C-282aa-00000000-0000-4000-8000-000000000003","responseCode":"61",'
    b'"originatingFrom":"web","merchantTxRef":"txref-00000000-0000-4000-8000-000000000003",'
    b'"transactionAmount":125.50,"time":"2026-02-06T04:23:09Z","responseCodeMessage":"what the rail said"},'
    + BY_CARD + b'"status":"PAID","sequence":5},"reversal":{"kind":"refund",'
    b'"id":"7d5c0a3e-0000-4000-8000-000000000006","state":"failed"}}}'
)  # fmt: skip
CANCELLED = (
    b'{"event_type":"order_cancelled","requestId":"00000000-0000-0001-0000-000000000000","data":{' + WHO +
    b'"transaction":{"fee":0.00,"type":"online_checkout","transactionId":"","responseCode":"",'
    b'"originatingFrom":"web","merchantTxRef":"","transactionAmount":0.00,"time":"2026-02-06T04:23:06Z"},'
    + UNPAID + b'"status":"CANCELLED","sequence":2}}}'
)  # fmt: skip
EXPIRED = (
    b'{"event_type":"order_expired","requestId":"00000000-0000-0001-0000-000000000000","data":{' + WHO +
    b'"transaction":{"fee":0.00,"type":"online_checkout","transactionId":"","responseCode":"",'
    b'"originatingFrom":"web","merchantTxRef":"","transactionAmount":0.00,"time":"2026-02-06T04:23:06Z"},'
    + UNPAID + b'"status":"EXPIRED","sequence":2}}}'
)  # fmt: skip
NOT_RETURNED = (
    b'{"event_type":"payment_reversal","requestId":"00000000-0000-0004-0000-000000000000","data":{' + WHO +
    b'"transaction":{"fee":0.00,"type":"online_checkout",'
    b'"transactionId":"WEB-ONLINE_C-282aa-00000000-0000-4000-8000-000000000003","responseCode":"91",'
    b'"originatingFrom":"web","merchantTxRef":"txref-00000000-0000-4000-8000-000000000003",'
    b'"transactionAmount":125.50,"time":"2026-02-06T04:23:09Z","responseCodeMessage":"what the bank said",'
    b'"aliasAccountNumber":"9000000017","aliasAccountName":"opentill Checkout",'
    b'"aliasAccountReference":"ORD_1770351765072_449733810","aliasAccountType":"VIRTUAL",'
    b'"sessionId":"session of WEB-ONLINE_C-282aa-00000000-0000-4000-8000-000000000003","narration":""},'
    + BY_TRANSFER + b'"status":"CANCELLED","sequence":6},"reversal":{"kind":"late",'
    b'"id":"00000000-0000-4000-8000-000000000003","state":"failed"}}}'
)  # fmt: skip

STORIES = {
    EventType.PAYMENT_SUCCESS: (stories.paid(), "payment_success", SUCCESS),
    EventType.PAYMENT_FAILED: (stories.failed(), "payment_failed", FAILED),
    EventType.PAYMENT_REVERSAL: (stories.voided(), "payment_reversal", VOIDED),
    EventType.PAYMENT_REFUNDED: (stories.refunded(), "payment_reversal", REFUNDED),
    EventType.REFUND_REFUSED: (stories.refunded(RefundOutcome.REFUSED), "payment_reversal", NOT_REFUNDED),
    EventType.RETURN_PARKED: (stories.returned(RefundOutcome.REFUSED), "payment_reversal", NOT_RETURNED),
    EventType.ORDER_CANCELLED: (stories.cancelled(), "order_cancelled", CANCELLED),
    EventType.ORDER_EXPIRED: (stories.expired(), "order_expired", EXPIRED),
}

NOMBA_S = """
{"event_type":"payment_success","requestId":"eaa0a4f8-0000-4000-8000-000000000001",
 "data":{"merchant":{"walletId":"N/A","walletBalance":"N/A","userId":"282aa572-0000-4000-8000-000000000002"},"terminal":{},
 "tokenizedCardData":{"tokenKey":"N/A","cardType":"N/A","tokenExpiryYear":"N/A","tokenExpiryMonth":"N/A","cardPan":"N/A"},
 "transaction":{"fee":0.28,"type":"online_checkout","transactionId":"WEB-ONLINE_C-282aa-00000000-0000-4000-8000-000000000003",
  "responseCode":"","originatingFrom":"web","merchantTxRef":"txref-1770351786","transactionAmount":300.00,"time":"2026-02-06T04:23:06Z"},
 "customer":{"billerId":"543462******2808","productId":"543462"},
 "order":{"amount":300.00,"orderId":"a5e72ee4-0000-4000-8000-000000000004","cardType":"N/A","accountId":"282aa572-0000-4000-8000-000000000002",
  "cardLast4Digits":"N/A","cardCurrency":"N/A","customerEmail":"<email>","customerId":"cust-1","isTokenizedCardPayment":"false",
  "orderReference":"ORD_1770351765072_449733810","paymentMethod":"card_payment","callbackUrl":"<callbackUrl>","currency":"NGN"}}}
"""
"""A body of Nomba's own (contract 5.4)."""


def body_of(type_: EventType, story: list[stories.Told]) -> dict[str, Any]:
    """What is told of the one event of this type, numbers exactly as printed."""
    rendered = told(*stories.only(story, type_))
    assert rendered is not None
    body: dict[str, Any] = json.loads(rendered.body, parse_float=Decimal)
    return body


@pytest.mark.parametrize("type_", STORIES)
def test_each_event_has_its_body(type_: EventType) -> None:
    """What an endpoint is told of this event is, byte for byte, what stands here."""
    story, type_name, expected = STORIES[type_]
    rendered = told(*stories.only(story, type_))
    assert rendered is not None
    assert (rendered.type, rendered.body) == (type_name, expected)


@pytest.mark.parametrize("type_", STORIES)
def test_nomba_s_members_come_first_in_nomba_s_order(type_: EventType) -> None:
    """In each object of each body the members of Nomba's own come first, in its order; ours follow."""

    def compare(theirs: dict[str, Any], ours: dict[str, Any]) -> None:
        assert list(ours)[: len(theirs)] == list(theirs)
        for name, value in theirs.items():
            if isinstance(value, dict):
                compare(value, ours[name])

    theirs, ours = json.loads(NOMBA_S), body_of(type_, STORIES[type_][0])
    if ours["data"]["order"]["paymentMethod"] == "bank_transfer":
        theirs["data"]["customer"] = dict.fromkeys(("bankCode", "bankName", "senderName", "accountNumber"))
    compare(theirs, ours)


def test_the_page_shows_a_body_of_ours() -> None:
    """The example in docs/webhooks.md is, but for its line breaks, the payment above."""
    page = (ROOT / "docs/webhooks.md").read_text(encoding="utf-8")
    example = page.partition("```json\n")[2].partition("```")[0]
    assert "".join(line.strip() for line in example.splitlines()).encode() == SUCCESS


def test_every_event_that_is_told_has_a_story_and_a_type() -> None:
    """The bodies above are of all the events that merchants are told of, and no others."""
    assert set(STORIES) == set(TYPE_OF) == TOLD_TO_MERCHANTS


def test_money_that_went_back_is_told_by_its_return() -> None:
    """A return that is done is a reversal of its kind under the credit's id; an attachment is none."""
    body = body_of(EventType.PAYMENT_REVERSAL, stories.returned(RefundOutcome.DONE))
    assert body["data"]["reversal"] == {
        "kind": "late",
        "id": "00000000-0000-4000-8000-000000000003",
        "state": "done",
    }
    event, view = stories.only(stories.returned(RefundOutcome.DONE), EventType.PAYMENT_REVERSAL)
    assert told(structs.replace(event, reason="attached"), view) is None


def test_other_events_are_told_to_nobody() -> None:
    """What happens between creation and payment makes no webhook."""
    quiet = [told(event, view) for event, view in stories.paid() if event.type not in TOLD_TO_MERCHANTS]
    assert quiet == [None, None]


def test_a_new_endpoint_hears_what_nomba_tells() -> None:
    """The endings without money are only for those who ask for them (ruling 13)."""
    assert SUBSCRIBABLE == (
        "payment_success",
        "payment_failed",
        "payment_reversal",
        "order_cancelled",
        "order_expired",
    )
    assert DEFAULT_EVENTS == ("payment_success", "payment_failed", "payment_reversal")


SECOND = "WEB-ONLINE_C-282aa-00000000-0000-4000-8000-000000000009"
LONG_STORIES = {
    "declined, paid, refunded": stories.play(
        stories.asked(),
        stories.begin(),
        stories.settle(RailOutcome.DECLINED),
        factories.begin(number=3, transaction_id=SECOND),
        factories.settle(RailOutcome.APPROVED, number=4, transaction_id=SECOND),
        factories.begin_refund(100_00, number=5, refund_id="F-1", transaction_id=SECOND),
        factories.settle_refund(RefundOutcome.REFUSED, number=6, refund_id="F-1", transaction_id=SECOND),
        factories.begin_refund(number=7, refund_id="F-2", transaction_id=SECOND),
        factories.settle_refund(RefundOutcome.DONE, number=8, refund_id="F-2", transaction_id=SECOND),
    ),
    "expired, cancelled": stories.play(
        stories.asked(due_at=stories.AT), factories.expire(number=1), factories.cancel(number=2)
    ),
    "cancelled, voided": stories.voided(),
}


@pytest.mark.parametrize("story", LONG_STORIES)
def test_what_happens_later_does_not_change_a_body(story: str) -> None:
    """An event says the same, whether it is rendered at once or when all that followed is known."""
    happened = LONG_STORIES[story]
    _, last = happened[-1]
    at_once = [told(event, view) for event, view in happened]
    assert [told(event, last) for event, _ in happened] == at_once
    assert any(at_once)


def test_words_of_a_later_answer_are_not_put_under_an_earlier_code() -> None:
    """Where the rail has spoken again meanwhile, the failure keeps its code and says nothing more."""
    event, view = stories.only(stories.failed(), EventType.PAYMENT_FAILED)
    [attempt] = view.order.attempts
    spoken = structs.replace(attempt, response_code="00", message="Approved after all")
    rendered = told(event, replace(view, order=structs.replace(view.order, attempts=(spoken,))))
    assert rendered is not None
    transaction = json.loads(rendered.body)["data"]["transaction"]
    assert (transaction["responseCode"], transaction["responseCodeMessage"]) == ("51", "")


def test_a_sub_account_that_is_credited_is_named() -> None:
    """The order names the account that it credits; the merchant stays the parent."""
    data = body_of(
        EventType.PAYMENT_SUCCESS, stories.paid(stories.asked(sub_account_id=stories.SUB_ACCOUNT))
    )["data"]
    assert (data["order"]["accountId"], data["merchant"]["userId"]) == (stories.SUB_ACCOUNT, stories.MERCHANT)


def test_what_the_merchant_left_out_is_said_to_be_missing() -> None:
    """Members that the contract types as strings stay strings, and metadata an empty map."""
    bare = stories.asked(terms=Terms(customer_email="ada@example.com"))
    order = body_of(EventType.ORDER_CANCELLED, stories.cancelled(bare))["data"]["order"]
    assert (order["customerId"], order["callbackUrl"], order["orderMetaData"]) == ("N/A", "N/A", {})


# --- money ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("amount", "printed", "fee"),
    [
        (1, b"0.01", b"0.00"),
        (10, b"0.10", b"0.00"),
        (36, b"0.36", b"0.01"),  # 0.504 kobo
        (300_00, b"300.00", b"4.20"),
        (202_80, b"202.80", b"2.84"),
        (128_571_42, b"128571.42", b"1800.00"),
        (128_571_00, b"128571.00", b"1799.99"),
        (MAX_MINOR, b"10000000000000.00", b"1800.00"),
    ],
)
def test_money_is_printed_with_two_decimals(amount: int, printed: bytes, fee: bytes) -> None:
    """Amounts and the fee are JSON numbers with both decimals, the fee rounded and capped."""
    rendered = told(*stories.only(stories.paid(stories.asked(amount=amount)), EventType.PAYMENT_SUCCESS))
    assert rendered is not None
    assert b'"fee":' + fee + b"," in rendered.body
    assert b'"transactionAmount":' + printed + b"," in rendered.body
    assert b'"order":{"amount":' + printed + b"," in rendered.body


@hypothesis.settings(deadline=None)
@hypothesis.given(st.integers(1, MAX_MINOR))
def test_no_kobo_is_lost_in_print(amount: int) -> None:
    """Whatever the amount, the number that is read back is exactly the one that was paid."""
    data = body_of(EventType.PAYMENT_SUCCESS, stories.paid(stories.asked(amount=amount)))["data"]
    for number in (data["transaction"]["transactionAmount"], data["order"]["amount"]):
        assert number.as_tuple().exponent == -2
        assert number * 100 == amount


# --- text -----------------------------------------------------------------------------------------

TERMS = st.builds(
    Terms,
    customer_email=st.text(),
    customer_id=st.text(min_size=1),
    callback_url=st.text(min_size=1),
    metadata=st.dictionaries(st.text(), st.text()).map(lambda map_: tuple(map_.items())),
)


@hypothesis.settings(deadline=None)
@hypothesis.given(TERMS, st.text())
def test_any_text_makes_valid_json(terms: Terms, message: str) -> None:
    """Quotes, control characters and any script come back as they were, on one line."""
    event, view = stories.only(stories.failed(stories.asked(terms=terms)), EventType.PAYMENT_FAILED)
    [attempt] = view.order.attempts
    order = structs.replace(
        view.order, attempts=(structs.replace(attempt, message=message),), reference=terms.customer_email
    )
    rendered = told(event, replace(view, order=order))
    assert rendered is not None
    assert min(rendered.body) >= 0x20
    data = json.loads(rendered.body)["data"]
    assert data["transaction"]["responseCodeMessage"] == message
    shown = data["order"]
    assert (shown["customerEmail"], shown["customerId"]) == (terms.customer_email, terms.customer_id)
    assert (shown["callbackUrl"], shown["orderMetaData"]) == (terms.callback_url, dict(terms.metadata))
    assert shown["orderReference"] == terms.customer_email
