import json
from typing import Any

import pytest

from opentill.api import wire
from opentill.api.http.admission import RateLimiter, bearer, idempotency_key
from opentill.api.http.call import UNLIMITED
from opentill.api.http.cursor import from_cursor, to_cursor
from opentill.api.http.routing import Router
from opentill.api.nomba.replies import late_reply
from opentill.api.nomba.views import FILTER_WORDS, TRANSACTION_STATUS, TRANSFER_STATUS, statuses_of
from opentill.api.operations import OPERATIONS
from opentill.api.wire import REFUSALS, Rejected, refusal_replies
from opentill.domain import refusals
from opentill.domain.commands import (
    Actor,
    ActorKind,
    BeginAttempt,
    CancelOrder,
    Command,
    CreateOrder,
    RailOutcome,
    SettleAttempt,
)
from opentill.domain.decisions import create, decide
from opentill.domain.names import merchant_tx_ref, transaction_id, transaction_of_tx_ref
from opentill.domain.order import AttemptStatus, CallKind, Order, Terms
from opentill.domain.refusals import Refusal
from opentill.domain.transition import Change
from opentill.store.orders.contract import TransferState

ACCOUNT = "69923a52-0000-4000-8000-000000000001"
TRANSACTION = f"WEB-ONLINE_C-69923-{ACCOUNT}"
WHO: dict[str, Any] = {"account_id": ACCOUNT, "command_id": ACCOUNT, "actor": Actor(ActorKind.API_KEY, "c")}


# --- refusals -------------------------------------------------------------------------------------


def test_every_refusal_has_a_row() -> None:
    """Each refusal that the core knows has exactly one answer on the wire."""
    known = {
        each
        for each in vars(refusals).values()
        if isinstance(each, type) and issubclass(each, Refusal) and each is not Refusal
    }
    assert set(REFUSALS) == known


@pytest.mark.parametrize("refusal", REFUSALS, ids=lambda each: each.__name__)
def test_a_refusal_is_an_envelope_with_its_reason(refusal: type[Refusal]) -> None:
    """A refusal has the three members, its class's reason beside the body, and is no 5xx and no success."""
    answer = refusal_replies(400)[refusal]
    body = json.loads(answer.body)
    assert list(body) == ["code", "description", "data"]
    assert body["code"] != "00"
    assert answer.status < 500
    assert answer.reason == refusal.reason
    if answer.status in {401, 404}:
        assert answer.reason == ""


def test_cancel_of_a_paid_order_is_the_seeds_error() -> None:
    """The body is the seed's, byte for byte; the status is the setting's; only the header tells why."""
    cancel = next(each for each in OPERATIONS if each.name == "cancelOrder")
    for status in (400, 200):
        told = refusal_replies(status, cancel.refusal_description)
        paid, cancelled = told[refusals.OrderAlreadyPaid], told[refusals.OrderAlreadyCancelled]
        assert paid.body == b'{"code":"01","description":"Error cancelling order","data":null}'
        assert cancelled.body == paid.body
        assert (paid.status, cancelled.status) == (status, status)
        assert (paid.reason, cancelled.reason) == ("order-already-paid", "order-already-cancelled")


def test_the_setting_moves_only_refusals_by_state() -> None:
    """With ``refusal_http_status`` 200, 401, 404, 409 and the used reference stay what they are."""
    moved = {
        each for each in REFUSALS if refusal_replies(200)[each].status != refusal_replies(400)[each].status
    }
    assert moved == {each for each, row in REFUSALS.items() if row.code == "01"}


def test_a_completed_attempt_is_told_as_clients_expect() -> None:
    """HTTP 200, body code 400 and a message with "already completed." (contract 3.8)."""
    answer = refusal_replies(400)[refusals.AttemptAlreadyCompleted]
    body = json.loads(answer.body)
    assert (answer.status, body["code"]) == (200, "400")
    assert "already completed." in body["data"]["message"]


# --- fixed answers --------------------------------------------------------------------------------


def test_success_is_spliced_into_a_valid_envelope() -> None:
    """The prefix made once and the data encoded per call are the same as an envelope encoded whole."""
    data = {"a": 'quote " and ä', "b": None}
    for description in ("success", 'with " quote'):
        answer = wire.Success(description).reply(data)
        assert answer.body == wire.envelope("00", description, data)
    assert wire.Success("x").reply(None).body == b'{"code":"00","description":"x","data":null}'


def test_times_have_milliseconds() -> None:
    """Times are ISO-8601 UTC with milliseconds, also those that no calendar has."""
    assert wire.iso_time(1_782_945_357_850) == "2026-07-01T22:35:57.850Z"
    assert wire.iso_time(-1) == "1969-12-31T23:59:59.999Z"
    assert wire.iso_time(-62_135_600_400_000) == wire.iso_time(-(2**63)) == "0001-01-01T00:00:00.000Z"
    assert wire.iso_time(253_402_351_199_000) == wire.iso_time(2**63 - 1) == "9999-12-31T23:59:59.999Z"


# --- headers --------------------------------------------------------------------------------------


@pytest.mark.parametrize("header", [b"Bearer abc", b"bearer abc", b"BEARER  abc", b"abc", b" abc "])
def test_a_token_may_stand_alone(header: bytes) -> None:
    """The scheme is optional and compared without case (ruling 5)."""
    assert bearer(header) == "abc"


def test_idempotency_keys_have_two_names() -> None:
    """Either header names the key, and both may when they agree."""
    assert idempotency_key({}) is None
    assert idempotency_key({b"x-idempotent-key": b"k"}) == "k"
    assert idempotency_key({b"idempotency-key": b"k"}) == "k"
    assert idempotency_key({b"x-idempotent-key": b"k", b"idempotency-key": b"k"}) == "k"


@pytest.mark.parametrize(
    "headers",
    [
        {b"x-idempotent-key": b"a", b"idempotency-key": b"b"},
        {b"x-idempotent-key": b""},
        {b"x-idempotent-key": b"a" * 256},
        {b"x-idempotent-key": b"a\tb"},
        {b"idempotency-key": "ä".encode()},
    ],
)
def test_wrong_idempotency_keys_are_refused(headers: dict[bytes, bytes]) -> None:
    """Two different keys, or one that is blank, over-long or not printable ASCII, is 400 02."""
    with pytest.raises(Rejected) as caught:
        idempotency_key(headers)
    assert json.loads(caught.value.answer.body)["code"] == "02"


# --- rate limit -----------------------------------------------------------------------------------


def test_a_window_is_fixed_and_each_caller_has_its_own() -> None:
    """The limit holds per caller and kind of request, and begins anew with the next window."""
    limiter = RateLimiter(10)
    assert [limiter.take("a", posts=True, limit=2, now=9_000) for _ in range(3)] == [1, 0, -1]
    assert limiter.take("a", posts=False, limit=2, now=9_000) == 1
    assert limiter.take("b", posts=True, limit=2, now=9_999) == 1
    assert limiter.take("a", posts=True, limit=2, now=10_000) == 1
    assert limiter.retry_after_seconds(9_000) == 1
    assert limiter.retry_after_seconds(10_000) == 10


def test_a_limit_of_zero_is_none() -> None:
    """With the limit off nobody runs out."""
    limiter = RateLimiter(1)
    assert {limiter.take("a", posts=True, limit=0, now=0) for _ in range(100)} == {UNLIMITED}


# --- routing --------------------------------------------------------------------------------------


def found(method: str, path: bytes, *, sandbox: bool = True) -> tuple[str, tuple[bytes, ...]] | None:
    match = Router(OPERATIONS, sandbox=sandbox, refusal_http_status=400).find(method, path)
    return match and (match[0].operation.name, match[1])


@pytest.mark.parametrize(
    ("method", "path", "expected"),
    [
        ("POST", b"/v1/checkout/order/cancel", ("cancelOrder", ())),
        ("GET", b"/v1/checkout/order/cancel", ("getOrder", (b"cancel",))),
        ("GET", b"/v1/checkout/order/a%2Fb%20%C3%A4+", ("getOrder", (b"a/b \xc3\xa4+",))),
        ("GET", b"/v1/checkout/order/a%252Fb", ("getOrder", (b"a%2Fb",))),
        ("GET", b"/v1/checkout%2Forder/a", None),
        ("GET", b"/v1/checkout/order/a/b", None),
        ("GET", b"/v1/checkout/order/", None),
        ("POST", b"/v1/checkout/order/", None),
        ("HEAD", b"/v1/checkout/order/a", None),
        ("PUT", b"/v1/checkout/order", None),
        ("GET", b"/v1/transactions/accounts/single", ("getTransaction", ())),
        ("GET", b"/v1/transactions/accounts/s/single", ("getSubAccountTransaction", (b"s",))),
        ("POST", b"/v1/transactions/accounts/single", ("filterSubAccountTransactions", (b"single",))),
        ("POST", b"/sandbox/checkout/order/cancel", ("cancelOrder", ())),
        ("GET", b"/sandbox/checkout/order/a", ("getOrder", (b"a",))),
        ("GET", b"/sandbox/transactions/accounts", None),
        ("GET", b"/" * 5000, None),
    ],
)
def test_routes_are_found_on_the_raw_path(
    method: str, path: bytes, expected: tuple[str, tuple[bytes, ...]] | None
) -> None:
    """Segments are split before they are percent-decoded, once; what is not in the table is not found."""
    assert found(method, path) == expected


def test_live_mode_has_no_sandbox_alias() -> None:
    """Ruling 23: in live mode nothing under /sandbox exists."""
    assert found("POST", b"/sandbox/checkout/order/cancel", sandbox=False) is None
    assert found("GET", b"/sandbox/checkout/order/a", sandbox=False) is None


def test_operations_are_named_and_routed_once() -> None:
    """No two rows of the table have the same name, or the same method and path."""
    assert len({each.name for each in OPERATIONS}) == len(OPERATIONS)
    assert len({(each.method, each.path) for each in OPERATIONS}) == len(OPERATIONS)


# --- transactions ---------------------------------------------------------------------------------


def test_every_attempt_status_has_a_word() -> None:
    """The wire has a word for each status of attempts and transfers, and each finds what it stands for."""
    assert set(TRANSACTION_STATUS) == set(AttemptStatus)
    assert set(TRANSFER_STATUS) == set(TransferState)
    for status, word in (TRANSACTION_STATUS | TRANSFER_STATUS).items():
        assert status.value in statuses_of(word)
    assert statuses_of("PAYMENT_SUCCESSFUL") == statuses_of("SUCCESS") == {"APPROVED", "paid"}
    assert statuses_of("NEW") == frozenset()
    assert {"NEW", "PENDING_PAYMENT", "PAYMENT_SUCCESSFUL", "PAYMENT_FAILED"} <= set(FILTER_WORDS)
    assert {"PENDING_BILLING", "SUCCESS", "REFUND"} <= set(FILTER_WORDS)


def test_a_merchant_tx_ref_leads_back_to_its_transaction() -> None:
    """The second name of a transaction is found without being stored; other texts name nothing."""
    transaction = transaction_id(ACCOUNT, "c7978f5c-e109-40ea-b9a7-72405b74557d")
    assert transaction_of_tx_ref(ACCOUNT, merchant_tx_ref(transaction)) == transaction
    assert transaction_of_tx_ref(ACCOUNT, "txref-1770351786") is None
    assert transaction_of_tx_ref(ACCOUNT, transaction[-36:]) is None


def test_a_cursor_is_read_as_it_was_made() -> None:
    """A cursor leads back to its place; any other text is refused."""
    cursor = to_cursor(1_770_351_786_000, TRANSACTION)
    assert from_cursor(cursor) == (1_770_351_786_000, TRANSACTION)
    foreign = [to_cursor(*place) for place in ((1, "a:b"), (2**63, "a"), (-1, "a"), (1, "\0"))]
    for other in ("x", cursor + "A", "äää", *foreign):
        with pytest.raises(Rejected):
            from_cursor(other)


# --- what became of a card ------------------------------------------------------------------------


def pending_order() -> Order:
    opened = CreateOrder(
        **WHO, order_id=ACCOUNT, reference="r", amount=500, currency="NGN", terms=Terms("a@b.c")
    )
    return create(opened, 1).after


def after(*commands: Command) -> Change:
    order, change = pending_order(), None
    for command in commands:
        change = decide(order, command, 2)
        order = change.after
    assert change is not None
    return change


BEGIN = BeginAttempt(
    **WHO,
    name="r",
    transaction_id=TRANSACTION,
    card_masked="543462******2808",
    card_brand="Mastercard",
    call_until=9,
    max_attempts=3,
)


def settle(outcome: RailOutcome) -> SettleAttempt:
    return SettleAttempt(
        **WHO,
        name="r",
        transaction_id=TRANSACTION,
        outcome=outcome,
        answers_try=0,
        response_code="",
        message="",
        call_until=9,
        max_otp_tries=3,
    )


CANCEL = CancelOrder(**WHO, name="r")
LATE = late_reply(400, lambda account, transaction: f"{account}/{transaction}")


@pytest.mark.parametrize(
    ("commands", "status", "code", "words"),
    [
        ((BEGIN, settle(RailOutcome.APPROVED)), True, "00", "Approved"),
        ((BEGIN, settle(RailOutcome.OTP_REQUIRED)), True, "T0", "OTP"),
        ((BEGIN, settle(RailOutcome.DECLINED)), False, "T1", "declined"),
        ((BEGIN, settle(RailOutcome.SILENT)), False, "500", "being checked"),
        ((BEGIN,), False, "500", "being checked"),
        ((BEGIN, settle(RailOutcome.NEVER_HAPPENED)), False, "T1", "nothing was taken"),
        (
            (BEGIN, CANCEL, settle(RailOutcome.APPROVED)),
            False,
            "T1",
            "cancelled; the money is being given back",
        ),
        ((BEGIN, CANCEL, settle(RailOutcome.OTP_REQUIRED)), False, "T1", "cancelled; nothing was taken"),
        ((BEGIN, CANCEL), False, "500", "being checked"),
    ],
)
def test_what_became_of_a_charge_is_told_truly(
    commands: tuple[Command, ...], status: bool, code: str, words: str
) -> None:
    """Only taken money is success; silence is "being checked"; a cancelled order's money is going back."""
    render = LATE(CallKind.CHARGE, TRANSACTION)
    answer = render(after(*commands))
    assert answer is not None
    data = json.loads(answer.body)["data"]
    assert (answer.status, data["status"], data["responseCode"]) == (200, status, code)
    assert words in data["message"]
    assert data["transactionId"] == TRANSACTION


def test_a_wrong_password_is_not_success() -> None:
    """After a confirmation, only an approved attempt has status true."""
    render = LATE(CallKind.CONFIRM, TRANSACTION)
    waiting = render(after(BEGIN, settle(RailOutcome.OTP_REQUIRED)))
    paid = render(after(BEGIN, settle(RailOutcome.APPROVED)))
    assert waiting is not None
    assert paid is not None
    assert json.loads(waiting.body)["data"]["status"] is False
    assert json.loads(paid.body)["data"]["status"] is True
