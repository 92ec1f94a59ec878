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
    account_number, bank_code = _account(body)
    if call.deps.sandbox and transaction == MAGIC_TRANSACTION:
        raise Rejected(REQUEST_FAILED)
    command = BeginRefund(
        **call.command(),
        transaction_id=transaction,
        refund_id=call.deps.ids.uuid(),
        amount=amount,
        account_number=account_number,
        bank_code=bank_code,
        call_until=call.deps.card_payments.call_until(),
        reply_key=call.key,
    )
    asking = call.asking(lambda change: refund_reply(change, command.refund_id))
    return call.answer_of(await call.deps.card_payments.refund(command, asking))


def _account(body: RefundRequest) -> tuple[str | None, str | None]:
    """Return number and bank of the account to pay to, which is named whole or not at all."""
    number, bank = body.account_number, body.bank_code
    if number is not None:
        number = decode.account_number(number, "accountNumber")
    if bank is not None:
        bank = decode.filled(bank, "bankCode").strip()
    if number is not None and bank is None:
        raise invalid("bankCode can not be null")
    if bank is not None and number is None:
        raise invalid("accountNumber can not be null")
    return number, bank
