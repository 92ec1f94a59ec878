"""Money by bank transfer: an order's account number, and advices of what arrived (contract 3.10, 10)."""

import re
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from opentill.api.http import decode
from opentill.api.http.call import Call
from opentill.api.http.decode import AccountNumber, AmountText, ReferenceText, Text, trimmed
from opentill.api.http.idempotency import answer_once
from opentill.api.http.times import TimeText, told_time
from opentill.api.own.allowed import why_not_payable
from opentill.api.wire import (
    RECORD_NOT_FOUND,
    SESSION_ID_REUSED,
    TRANSFERS_NOT_TAKEN,
    UNAVAILABLE,
    Rejected,
    Reply,
    WireStruct,
    invalid,
)
from opentill.domain.money import MINOR_DIGITS
from opentill.domain.order import Order, Sender
from opentill.rails.rail import BANK_RAIL
from opentill.rails.transfer_payments import AdviceContradicts, NoAccountFree
from opentill.store.transfers.contract import TransferAccount, TransferNotice

_DAY: Final = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
_NAIRA: Final = "NGN"
_ANY_NUMBER: Final = "0000000000"
"""Stands for the number of an order that is not looked up yet."""
_ONE_TARGET: Final = "one of accountNumber and orderReference must be given"

_MOST_SESSION: Final = 64
_MOST_ACCOUNT: Final = 34
"""As long as an IBAN; a sender need not have a Nigerian account."""
_MOST_BANK: Final = 16
_MOST_TOLD: Final = 64
"""How much is kept of a time that can not be used."""

SessionId = Annotated[str, Meta(extra_json_schema={"maxLength": _MOST_SESSION})]
SenderAccount = Annotated[str, Meta(extra_json_schema={"maxLength": _MOST_ACCOUNT})]
SenderBank = Annotated[str, Meta(extra_json_schema={"maxLength": _MOST_BANK})]
"""Names of banks; blanks around them do not count, so ``trimmed`` checks their length and not the decoder."""


class AccountShown(WireStruct):
    """The account to which a payer transfers the money of one order."""

    account_number: str
    account_name: str
    bank_name: str


class _Transfer(WireStruct, kw_only=True):
    """The money of a transfer, and what its bank may tell of where it came from."""

    amount: AmountText
    sender_name: Text | None = None
    sender_account_number: SenderAccount | None = None
    sender_bank_code: SenderBank | None = None
    transferred_at: TimeText | None = None
    """The bank's time of the transfer; without one that can be used, its arrival here counts."""
    narration: Text | None = None


class AdviceRequest(_Transfer, kw_only=True):
    """A bank transfer that arrived; the same session id is the same transfer, however often it is told."""

    session_id: SessionId
    account_number: AccountNumber
    currency: str


class SandboxTransfer(_Transfer, kw_only=True):
    """A transfer that is to arrive, to an account number or to that of an order."""

    account_number: AccountNumber | None = None
    order_reference: ReferenceText | None = None
    currency: str | None = None
    """Without it that of the named order, and naira where a number is named."""
    session_id: SessionId | None = None


class AdviceAnswer(WireStruct):
    """The outcome for a transfer: applied, held, excess, late, or unmatched."""

    credit_id: str
    disposition: str


async def transfer_account(call: Call) -> Reply:
    """Return the order's own account number, the same at every call; refused where the order has ended."""
    if not call.deps.takes_transfers:
        raise Rejected(TRANSFERS_NOT_TAKEN)
    order = await _order(call, call.path_text("orderReference"))
    account = await _account(call, order)
    settings = call.deps.settings
    account_view = AccountShown(
        account_number=account.account_number,
        account_name=settings.transfer_account_name,
        bank_name=settings.transfer_bank_name,
    )
    return call.success(account_view)


async def advise_credit(call: Call) -> Reply:
    """Take an adapter's advice of a transfer; answered once it is written down and booked."""
    body: AdviceRequest = call.body
    return await _advise(call, _notice(body, body.session_id, body.account_number, body.currency))


_SOMEBODY: Final = {"sender_account_number": "0123456789", "sender_bank_code": "058"}
"""Where a made-up transfer comes from that does not say: money that is not wanted must have a way back."""


async def make_transfer(call: Call) -> Reply:
    """Let a transfer arrive in the sandbox, as if its bank had told of it."""
    body: SandboxTransfer = call.body
    if body.sender_account_number is None:
        body = msgspec.structs.replace(body, **_SOMEBODY)
    return await answer_once(
        call, _by_number(call, body) if body.account_number else _by_reference(call, body)
    )


def _by_number(call: Call, body: SandboxTransfer) -> Callable[[], Awaitable[Reply]]:
    if body.order_reference is not None:
        raise invalid(_ONE_TARGET)
    notice = _notice(body, _session_id(call, body), body.account_number or "", body.currency or _NAIRA)
    return lambda: _advise(call, notice)


def _by_reference(call: Call, body: SandboxTransfer) -> Callable[[], Awaitable[Reply]]:
    """Return how it arrives; what is wrong with it is found before anything is done, whosever the order."""
    if body.order_reference is None or body.account_number is not None:
        raise invalid(_ONE_TARGET)
    name = call.reference(body.order_reference, "orderReference")
    notice = _notice(body, _session_id(call, body), _ANY_NUMBER, body.currency or _NAIRA)

    async def arrive() -> Reply:
        order = await _order(call, name)
        threads = call.deps.threads
        known = await threads.read(threads.store.transfers.transfer_account, order.account_id, order.order_id)
        number = (known or await _account(call, order)).account_number
        return await _advise(
            call, replace(notice, account_number=number, currency=body.currency or order.currency)
        )

    return arrive


def _session_id(call: Call, body: SandboxTransfer) -> str:
    """Return the transfer's own, or one that is the same again when the request comes again under its key."""
    if body.session_id is not None:
        return body.session_id
    return str(uuid.uuid5(uuid.UUID(call.account_id), call.key)) if call.key else call.deps.ids.uuid()


async def _order(call: Call, name: str) -> Order:
    view = await call.deps.reader.order(call.account_id, name, call.token)
    if view is None:
        raise Rejected(RECORD_NOT_FOUND)
    return view.order


async def _account(call: Call, order: Order) -> TransferAccount:
    """Return the order's number; raises the refusal of one that has ended, worker or not."""
    refusal = why_not_payable(order, await call.deps.account_cache.due_by(call.now))
    if refusal is not None:
        raise refusal
    try:
        return await call.deps.transfers.account(order)
    except NoAccountFree:
        raise Rejected(UNAVAILABLE) from None


async def _advise(call: Call, notice: TransferNotice) -> Reply:
    try:
        receipt = await call.deps.transfers.advise(notice)
    except AdviceContradicts:
        raise Rejected(SESSION_ID_REUSED) from None
    return call.success(AdviceAnswer(receipt.credit_id, receipt.disposition))


def _notice(body: _Transfer, session_id: str, number: str, currency: str) -> TransferNotice:
    """Return what was told, checked field by field, without blanks that fill a field up; raises Rejected."""
    currency = currency.strip()
    if currency not in MINOR_DIGITS:
        decode.filled(currency, "currency")
        raise invalid(f"currency must be one of {', '.join(MINOR_DIGITS)}")
    transferred_at = told_time(body.transferred_at or "")
    unusable = _line(body.transferred_at) if transferred_at is None else ""
    return TransferNotice(
        rail=BANK_RAIL,
        session_id=trimmed(session_id, "sessionId", _MOST_SESSION),
        account_number=decode.account_number(number.strip(), "accountNumber"),
        amount=decode.amount(body.amount, "amount", currency),
        currency=currency,
        sender=Sender(
            name=_line(body.sender_name),
            account_number=_text(body.sender_account_number, "senderAccountNumber", _MOST_ACCOUNT),
            bank_code=_text(body.sender_bank_code, "senderBankCode", _MOST_BANK),
        ),
        transferred_at=transferred_at,
        unusable_time=unusable[:_MOST_TOLD],
        narration=_line(body.narration),
    )


def _line(sent: str | None) -> str:
    """Return what people wrote in one line: a line break in a narration turns no money away."""
    return " ".join((sent or "").split())


def _text(sent: str | None, field: str, most_characters: int) -> str:
    """Return what a bank said, or nothing; a blank text says nothing, too."""
    return trimmed(sent, field, most_characters) if sent and sent.strip() else ""
