"""Create, look up and cancel an order (contract 3.1 to 3.3)."""

from typing import Any, Final

from opentill.api.http.call import Call
from opentill.api.http.decode import ReferenceText
from opentill.api.nomba.creation import command_of
from opentill.api.nomba.views import OrderWithBusiness, order_with_business
from opentill.api.wire import MAGIC_REFERENCE, RECORD_NOT_FOUND, Rejected, Reply, WireStruct
from opentill.domain.commands import CancelOrder

_NOTE_CHARACTERS: Final = 255


class Created(WireStruct):
    """A new order and where its payer goes."""

    success: bool
    message: str
    checkout_link: str
    order_reference: str
    order_id: str


class OrderDetails(WireStruct):
    """An order as it stands."""

    order: OrderWithBusiness
    has_saved_cards: bool
    """Whether the customer keeps cards at this merchant (contract 3.3)."""
    base64_encoded_rsa_public_key: str = ""
    """Empty where card details are not to be encrypted by the client (setting ``card_encryption``)."""


class CancelRequest(WireStruct):
    """The order that is to be cancelled, and what to remember of why."""

    order_reference: ReferenceText
    reason: Any = None
    """Kept as a note when it is a string; anything else is ignored (ruling 21)."""


class Done(WireStruct):
    """It is done."""

    success: bool
    message: str


_CANCELLED: Final = Done(success=True, message="Order cancelled successfully")


async def create_order(call: Call) -> Reply:
    """Open an order; its reference is used up for ever (ruling 8)."""
    command = await command_of(call)
    if call.deps.sandbox and command.reference == MAGIC_REFERENCE:
        raise Rejected(RECORD_NOT_FOUND)
    link = call.deps.keyring.link_token(command.account_id, command.order_id)
    data = Created(
        success=True,
        message="success",
        checkout_link=f"{call.deps.settings.public_url}/checkout/{link}",
        order_reference=command.reference,
        order_id=command.order_id,
    )
    return await call.submit(command, lambda _: call.success(data))


async def get_order(call: Call) -> Reply:
    """Return the order of this reference or order id."""
    name = call.path_text("orderReference")
    view = await call.deps.reader.order(call.account_id, name, call.token)
    merchant = await call.deps.account_cache.merchant(call.account_id)
    if view is None or merchant is None:
        return RECORD_NOT_FOUND
    key = call.deps.card_key
    data = OrderDetails(
        order=order_with_business(view, merchant),
        has_saved_cards=view.has_saved_cards,
        base64_encoded_rsa_public_key=key.public_key if key else "",
    )
    return call.success(data)


async def cancel_order(call: Call) -> Reply:
    """End an order that has not been paid."""
    body: CancelRequest = call.body
    name = call.reference(body.order_reference, "orderReference")
    command = CancelOrder(**call.command(), name=name, note=_note(body.reason))
    return await call.submit(command, lambda _: call.success(_CANCELLED))


def _note(reason: Any) -> str | None:
    return reason[:_NOTE_CHARACTERS] if isinstance(reason, str) and reason else None
