"""What callers are told of challenges and refunds, and what an order says may be done with it."""

import json
from typing import Any

import pytest
from msgspec.structs import replace

from opentill.api.http.decode import no_amount, optional_amount
from opentill.api.http.routing import Router
from opentill.api.nomba.replies import late_reply, return_url
from opentill.api.operations import OPERATIONS
from opentill.api.own.allowed import CANCEL, PAY, REFUND, what_is_allowed
from opentill.api.wire import Rejected
from opentill.domain.commands import (
    Actor,
    ActorKind,
    BeginAttempt,
    BeginRefund,
    CancelAttempt,
    CancelOrder,
    Command,
    CreateOrder,
    RailOutcome,
    RefundOutcome,
    SettleAttempt,
    SettleRefund,
)
from opentill.domain.decisions import create, decide
from opentill.domain.money import MINOR_DIGITS
from opentill.domain.order import CallKind, Challenge, Order, Terms
from opentill.domain.refusals import AttemptAlreadyCompleted
from opentill.domain.transition import Change
from opentill.keys.keyring import Keyring

ACCOUNT = "69923a52-0000-4000-8000-000000000001"
UUID = "c7978f5c-e109-40ea-b9a7-72405b74557d"
TRANSACTION = f"WEB-ONLINE_C-69923-{UUID}"
WHO: dict[str, Any] = {"account_id": ACCOUNT, "command_id": UUID, "actor": Actor(ActorKind.API_KEY, "c")}
KEYRING = Keyring(b"a" * 32)

CREATE = CreateOrder(
    **WHO, order_id=ACCOUNT, reference="r", amount=500, currency="NGN", terms=Terms("a@b.c"), due_at=100
)
BEGIN = BeginAttempt(
    **WHO,
    name="r",
    transaction_id=TRANSACTION,
    card_masked="400000******2503",
    card_brand="Visa",
    call_until=9,
    max_attempts=2,
)
CANCELLED = CancelOrder(**WHO, name="r")
REFUNDED = BeginRefund(**WHO, transaction_id=TRANSACTION, refund_id="R", amount=None, call_until=9)
PARTED = replace(REFUNDED, amount=1)


def settled(outcome: RailOutcome, challenge: Challenge | None = None) -> SettleAttempt:
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
        challenge=challenge,
    )


PAID = (BEGIN, settled(RailOutcome.APPROVED))


def refund_settled(outcome: RefundOutcome, message: str = "") -> SettleRefund:
    return SettleRefund(
        **WHO,
        transaction_id=TRANSACTION,
        refund_id="R",
        outcome=outcome,
        response_code="",
        message=message,
    )


def after(*commands: Command) -> Change:
    change = create(CREATE, 1)
    for command in commands:
        change = decide(change.after, command, 2)
    return change


def reply_of(kind: CallKind, about: str, change: Change) -> dict[str, Any]:
    """``data`` of the reply that is kept for a call whose caller is gone."""
    answer = late_reply(400, lambda account, transaction: f"back/{account}/{transaction}")(kind, about)(
        change
    )
    assert answer is not None
    data: dict[str, Any] = json.loads(answer.body)["data"]
    assert answer.status == 200
    return data


# --- challenges -----------------------------------------------------------------------------------


def test_a_challenge_is_told_with_all_that_the_browser_needs() -> None:
    """S0 comes with jwt, md and acsUrl of the rail, and with our own termUrl, made anew."""
    challenge = Challenge("https://bank.example/acs", "the-jwt", TRANSACTION)
    data = reply_of(
        CallKind.CHARGE, TRANSACTION, after(BEGIN, settled(RailOutcome.CHALLENGE_REQUIRED, challenge))
    )
    assert (data["status"], data["responseCode"]) == (True, "S0")
    assert data["secureAuthenticationData"] == {
        "jwt": "the-jwt",
        "md": TRANSACTION,
        "acsUrl": "https://bank.example/acs",
        "termUrl": f"back/{ACCOUNT}/{TRANSACTION}",
    }


def test_an_ended_challenge_is_not_told_again() -> None:
    """Once the attempt is cancelled, nothing leads to the bank any more."""
    challenge = Challenge("https://bank.example/acs", "the-jwt", TRANSACTION)
    ended = CancelAttempt(**WHO, transaction_id=TRANSACTION)
    change = after(BEGIN, settled(RailOutcome.CHALLENGE_REQUIRED, challenge), ended)
    data = reply_of(CallKind.CHARGE, TRANSACTION, change)
    assert (data["status"], data["secureAuthenticationData"]) == (False, None)
    assert "cancelled or replaced" in data["message"]


def test_the_return_url_leads_back_to_its_transaction() -> None:
    """Its last part opens as account and transaction, and never as the link of an order's page."""
    url = return_url("https://pay.example", KEYRING, ACCOUNT, TRANSACTION)
    assert url.startswith("https://pay.example/checkout/challenge/")
    token = url.rpartition("/")[2]
    assert KEYRING.open_return(token) == (ACCOUNT, UUID)
    assert KEYRING.open_link(token) is None
    assert KEYRING.open_return(KEYRING.link_token(ACCOUNT, UUID)) is None
    assert KEYRING.open_return(token[:-1] + ("A" if token[-1] != "A" else "B")) is None


# --- refunds --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("commands", "success", "message"),
    [
        ((REFUNDED,), True, "Refund is being processed"),
        ((REFUNDED, refund_settled(RefundOutcome.SILENT)), True, "Refund is being processed"),
        ((REFUNDED, refund_settled(RefundOutcome.DONE, "paid out")), True, "Refund processed successfully"),
        ((REFUNDED, refund_settled(RefundOutcome.REFUSED, "No such account")), False, "No such account"),
        ((REFUNDED, refund_settled(RefundOutcome.REFUSED)), False, "The refund was refused"),
    ],
)
def test_what_became_of_a_refund_is_told_truly(
    commands: tuple[Command, ...], success: bool, message: str
) -> None:
    """Only money that is back is done; silence is running; a refusal is no success, in the rail's words."""
    data = reply_of(CallKind.REFUND, "R", after(*PAID, *commands))
    assert data == {"success": success, "message": message}


def test_every_currency_has_the_two_decimals_that_refunds_are_read_with() -> None:
    """The amount of a refund is read before its order, and so its currency, is known."""
    assert set(MINOR_DIGITS.values()) == {2}


def test_the_amount_of_a_refund_may_be_left_out() -> None:
    """Absent and null mean all that is left; anything else must be an amount."""
    raw = no_amount()
    assert optional_amount(raw, "amount") is None
    assert optional_amount(type(raw)(b"12.5"), "amount") == 1250
    assert optional_amount(type(raw)(b'"0.01"'), "amount") == 1
    for wrong in (b"0", b"-1", b"1.001", b'"x"', b"true", b"1e2", b"{}"):
        with pytest.raises(Rejected):
            optional_amount(type(raw)(wrong), "amount")


# --- attempts that are cancelled ------------------------------------------------------------------


def test_cancelling_a_completed_attempt_is_a_refusal_like_others() -> None:
    """Contract 3.9 wants 01 where a one-time password gets contract 3.8's 400 in a 200."""
    router = Router(OPERATIONS, sandbox=True, refusal_http_status=400)
    refused = {}
    for path in (b"/v1/checkout/transaction/cancel", b"/v1/checkout/checkout-card-otp"):
        found = router.find("POST", path)
        assert found is not None
        answer = found[0].refusals[AttemptAlreadyCompleted]
        refused[path] = (answer.status, json.loads(answer.body)["code"], answer.reason)
    assert list(refused.values()) == [
        (400, "01", "attempt-already-completed"),
        (200, "400", "attempt-already-completed"),
    ]


@pytest.mark.parametrize("path", [b"/sandbox/rail"])
def test_live_mode_has_no_switches(path: bytes) -> None:
    """Ruling 23: what controls the sandbox does not exist in live mode."""
    for sandbox in (True, False):
        router = Router(OPERATIONS, sandbox=sandbox, refusal_http_status=400)
        assert (router.find("POST", path) is not None) is sandbox


# --- what may be done -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("commands", "at", "cancel", "pay", "refund"),
    [
        ((), 2, None, None, ("order-not-paid", CANCEL)),
        ((BEGIN,), 2, None, ("attempt-in-progress", None), ("order-not-paid", CANCEL)),
        (PAID, 2, ("order-already-paid", REFUND), ("order-already-paid", None), None),
        ((*PAID, PARTED), 2, ("order-already-paid", REFUND), ("order-already-paid", None), None),
        (
            (*PAID, REFUNDED),
            2,
            ("order-already-paid", None),
            ("order-already-paid", None),
            ("refund-exceeds-paid", None),
        ),
        (
            (CANCELLED,),
            2,
            ("order-already-cancelled", None),
            ("order-already-cancelled", None),
            ("order-not-paid", None),
        ),
        ((), 100, None, ("order-expired", None), ("order-not-paid", CANCEL)),
    ],
    ids=["pending", "in flight", "paid", "refunded in part", "refunded", "cancelled", "due"],
)
def test_what_may_be_done_now(
    commands: tuple[Command, ...],
    at: int,
    cancel: tuple[str, str | None] | None,
    pay: tuple[str, str | None] | None,
    refund: tuple[str, str | None] | None,
) -> None:
    """Each action is allowed, or comes with its refusal and the action to take instead, if any."""
    order: Order = after(*commands).after
    found = {
        each.action: None if each.refusal is None else (each.refusal.reason, each.instead)
        for each in what_is_allowed(order, at, max_attempts=2)
    }
    assert found == {CANCEL: cancel, PAY: pay, REFUND: refund}
