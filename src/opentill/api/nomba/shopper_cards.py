"""Cards that shoppers keep for next time, each step by a one-time password (contract 3.7).

A card that the payer wanted saved is kept with the payment, and is of no use to anybody until the payer has
confirmed it here. Passwords are sent and checked by the rail; that one was sent, and how often it was tried,
stands in the store, so that guessing ends on every process.
"""

from typing import Annotated, Final

from msgspec import Meta

from opentill.api.http import decode
from opentill.api.http.call import Call
from opentill.api.http.decode import ReferenceText
from opentill.api.http.idempotency import answer_once
from opentill.api.nomba.checkout import Done
from opentill.api.nomba.saved_cards import CardShown, card_view
from opentill.api.wire import (
    NO_CARD_TO_SAVE,
    NO_PASSWORD_SENT,
    RECORD_NOT_FOUND,
    Rejected,
    Reply,
    SecretStruct,
    WireStruct,
    password_refused,
)
from opentill.domain.order import Order
from opentill.domain.refusals import TooManyOtps
from opentill.rails.rail import PasswordAnswer
from opentill.store.cards.contract import CardFilter, CardView, PasswordOf, PasswordUse
from opentill.store.orders.contract import OrderView

PASSWORD_MILLISECONDS: Final = 10 * 60_000
"""How long after it was sent a password is taken."""
MOST_LISTED: Final = 50

PhoneNumber = Annotated[str, Meta(max_length=32)]
Otp = Annotated[str, Meta(max_length=32)]

_SENT: Final = Done(success=True, message="OTP sent successfully")
_SAVED: Final = Done(success=True, message="Card saved successfully")


class SaveAuthRequest(SecretStruct, rename="camel"):
    """Whose password is to be sent, and to which number."""

    order_reference: ReferenceText
    phone_number: PhoneNumber


class SaveRequest(SaveAuthRequest, rename="camel"):
    """The password that came to this number."""

    otp: Otp


class ListAuthRequest(WireStruct):
    """Of which order's customer the cards are to be listed."""

    order_reference: ReferenceText


class PasswordQuery(SecretStruct):
    """The password that was sent."""

    otp: Otp


class ShopperCards(SecretStruct, rename="camel"):
    """The cards that a shopper keeps at this merchant, newest first."""

    tokenized_card_data: list[CardShown]


async def send_save_password(call: Call) -> Reply:
    """Send the payer, after a payment, the password by which the card is saved."""
    body: SaveAuthRequest = call.body
    phone = decode.filled(body.phone_number, "phoneNumber")
    name = call.reference(body.order_reference, "orderReference")

    async def act() -> Reply:
        order = (await _order(call, name)).order
        await _card(call, order)
        return await _send(call, _password(call, order, PasswordUse.SAVE, phone), phone)

    return await answer_once(call, act)


async def save_card(call: Call) -> Reply:
    """Confirm the password; from then on the card is the shopper's to pay with."""
    body: SaveRequest = call.body
    phone, otp = decode.filled(body.phone_number, "phoneNumber"), decode.filled(body.otp, "otp")
    name = call.reference(body.order_reference, "orderReference")
    threads = call.deps.threads

    async def act() -> Reply:
        order = (await _order(call, name)).order
        found = await _card(call, order)
        password = _password(call, order, PasswordUse.SAVE, phone)
        said = await _check(call, password, otp)
        if not said.accepted:
            return call.success(Done(success=False, message=said.message))
        card = found.card
        await threads.write(threads.store.cards.confirm_card, card.account_id, card.transaction_id, call.now)
        await threads.write(threads.store.cards.use_up_password, password)
        return call.success(_SAVED)

    return await answer_once(call, act)


async def send_list_password(call: Call) -> Reply:
    """Send the shopper the password by which the saved cards are listed."""
    body: ListAuthRequest = call.body
    name = call.reference(body.order_reference, "orderReference")

    async def act() -> Reply:
        order = (await _order(call, name)).order
        return await _send(call, _password(call, order, PasswordUse.LIST), None)

    return await answer_once(call, act)


async def list_shopper_cards(call: Call) -> Reply:
    """Return the cards that the order's customer keeps at this merchant; a password lists them once."""
    query: PasswordQuery = call.query
    view = await _order(call, call.path_text("orderReference"))
    password = _password(call, view.order, PasswordUse.LIST)
    said = await _check(call, password, decode.filled(query.otp, "otp"))
    if not said.accepted:
        return password_refused(said.message)
    threads = call.deps.threads
    if not await threads.write(threads.store.cards.use_up_password, password):
        raise Rejected(NO_PASSWORD_SENT)  # of two who show it at once, one may look
    wanted = CardFilter(
        account_id=call.account_id,
        customer_email=view.terms.customer_email,
        confirmed_only=True,
        limit=MOST_LISTED,
    )
    found = await threads.read(threads.store.cards.saved_cards, wanted)
    return call.success(ShopperCards([card_view(call, each) for each in found]))


async def _order(call: Call, name: str) -> OrderView:
    view = await call.deps.reader.order(call.account_id, name, call.token)
    if view is None:
        raise Rejected(RECORD_NOT_FOUND)
    return view


async def _card(call: Call, order: Order) -> CardView:
    """Return what the order's payment left; only a payer who wanted that, or a merchant, has one kept."""
    threads = call.deps.threads
    found = None
    if order.paid_by is not None:
        found = await threads.read(threads.store.cards.card_of_payment, order.account_id, order.paid_by)
    if found is None:
        raise Rejected(NO_CARD_TO_SAVE)
    return found


def _password(call: Call, order: Order, use: PasswordUse, phone: str | None = None) -> PasswordOf:
    phone_hash = "" if phone is None else call.deps.vault.digest(order.account_id, phone)
    return PasswordOf(order.account_id, order.order_id, use, phone_hash)


async def _send(call: Call, password: PasswordOf, phone: str | None) -> Reply:
    """Note a password, then send it. Raises TooManyOtps when it went out as often as it may."""
    threads, most = call.deps.threads, call.deps.settings.max_otp_sends
    if not await threads.write(threads.store.cards.send_password, password, call.now, 1 + most):
        raise TooManyOtps
    await call.deps.card_payments.send_password(password.order_id, phone)
    return call.success(_SENT)


async def _check(call: Call, password: PasswordOf, otp: str) -> PasswordAnswer:
    """Ask what the rail says of it, once the try is counted. Raises Rejected where none was sent."""
    threads, most = call.deps.threads, call.deps.settings.max_otp_tries
    sent_after = call.now - PASSWORD_MILLISECONDS
    if not await threads.write(threads.store.cards.try_password, password, sent_after, most):
        raise Rejected(NO_PASSWORD_SENT)
    return await call.deps.card_payments.check_password(password.order_id, otp)
