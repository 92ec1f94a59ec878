"""Give paid money back, in whole or in part, to the payer or to a bank account (contract 3.6)."""

import msgspec

from opentill.api.http import decode
from opentill.api.http.call import Call
from opentill.api.http.decode import AccountNumber, BankCode, OptionalAmountText, Text, no_amount
from opentill.api.nomba.replies import refund_reply
from opentill.api.wire import MAGIC_TRANSACTION, REQUEST_FAILED, Rejected, Reply, WireStruct, invalid
from opentill.domain.commands import BeginRefund


class RefundRequest(WireStruct, kw_only=True):
    """The payment to give back; without an amount, all that is left of it."""

    transaction_id: Text
    amount: OptionalAmountText = msgspec.field(default_factory=no_amount)
    account_number: AccountNumber | None = None
    bank_code: BankCode | None = None


async def refund_payment(call: Call) -> Reply:
    """Refund a payment; done, or said to be running when the rail takes longer than we wait."""
    body: RefundRequest = call.body
    transaction = decode.filled(body.transaction_id, "transactionId")
    amount = decode.optional_amount(body.amount, "amount")
    _check_account(body)
    if call.deps.sandbox and transaction == MAGIC_TRANSACTION:
        raise Rejected(REQUEST_FAILED)
    command = BeginRefund(
        **call.command(),
        transaction_id=transaction,
        refund_id=call.deps.ids.uuid(),
        amount=amount,
        account_number=body.account_number,
        bank_code=body.bank_code,
        call_until=call.deps.card_payments.call_until(),
        reply_key=call.key,
    )
    asking = call.asking(lambda change: refund_reply(change, command.refund_id))
    return call.answer_of(await call.deps.card_payments.refund(command, asking))


def _check_account(body: RefundRequest) -> None:
    """Check that a bank account is named whole or not at all."""
    if body.account_number is not None:
        decode.account_number(body.account_number, "accountNumber")
    if body.bank_code is not None:
        decode.filled(body.bank_code, "bankCode")
    if body.account_number is not None and body.bank_code is None:
        raise invalid("bankCode can not be null")
    if body.bank_code is not None and body.account_number is None:
        raise invalid("accountNumber can not be null")
