"""Charging a card by its token key, and what a merchant may do with its saved cards (contract 3.7)."""

from typing import Annotated, Final

from msgspec import Meta

from opentill.api.http import decode
from opentill.api.http.call import Call
from opentill.api.http.decode import Text
from opentill.api.http.idempotency import answer_once
from opentill.api.http.times import beginning, ending
from opentill.api.nomba.creation import OrderRequest, order_members
from opentill.api.nomba.replies import tokenized_reply
from opentill.api.wire import (
    MAGIC_CUSTOMER,
    MAGIC_REFERENCE,
    RECORD_NOT_FOUND,
    REQUEST_FAILED,
    Rejected,
    Reply,
    SecretStruct,
    WireStruct,
)
from opentill.domain.commands import ChargeSavedCard
from opentill.domain.names import transaction_id
from opentill.store.cards.contract import CardFilter, CardView

PAGE_LENGTH: Final = 50
LAST_PAGE: Final = "0"
"""What ``nextPage`` says where there is none."""


class TokenizedChargeRequest(SecretStruct, rename="camel"):
    """An order to open, and the saved card that pays for it."""

    token_key: Text
    order: OrderRequest


class CardsQuery(WireStruct, kw_only=True):
    """The saved cards that are wanted; a date without a time means all of that day, in UTC."""

    customer_email: Text | None = None
    start_date: Text | None = None
    end_date: Text | None = None
    page: Annotated[int, Meta(ge=0, le=1_000_000)] = 0


class CardChange(SecretStruct, rename="camel"):
    """Whose card it is, and whose it is to be."""

    token_key: Text
    current_email_address: Text
    new_email_address: Text


class CardRemoval(SecretStruct, rename="camel"):
    """The saved card that is to be deleted."""

    token_key: Text


class CardShown(SecretStruct, rename="camel", kw_only=True):
    """A saved card."""

    token_key: str
    customer_email: str
    card_type: str
    card_pan: str
    token_expiration_date: str
    """``MM/YY``; the next member says the same, for clients that look for it there."""
    token_expiry_date: str


class CardList(SecretStruct, rename="camel"):
    """One page of saved cards, newest first."""

    next_page: str
    tokenized_card_data_list: list[CardShown]


class CardChanged(SecretStruct, rename="camel"):
    """The card as it is now."""

    status: bool
    message: str
    tokenized_card_data: CardShown


class CardRemoved(WireStruct):
    """It is deleted."""

    status: bool
    message: str


_REMOVED: Final = CardRemoved(status=True, message="Tokenized card deleted successfully")


async def charge_saved_card(call: Call) -> Reply:
    """Open an order and charge a saved card for it, in one call; its reference is used up either way."""
    body: TokenizedChargeRequest = call.body
    token_key = decode.filled(body.token_key, "tokenKey")
    members = await order_members(call, body.order)
    if call.deps.sandbox and members["reference"] == MAGIC_REFERENCE:
        raise Rejected(RECORD_NOT_FOUND)
    found = await _find(call, token_key)
    card = found.card if found else None
    transaction = transaction_id(call.account_id, call.deps.ids.uuid())
    command = ChargeSavedCard(
        **members,
        transaction_id=transaction,
        saved_card=card.transaction_id if card else None,
        card_masked=card.card_masked if card else "",
        card_brand=card.card_brand if card else "",
        call_until=call.deps.card_payments.call_until(),
        reply_key=call.key,
    )
    asking = call.asking(lambda change: tokenized_reply(change, transaction))
    return call.answer_of(await call.deps.card_payments.charge_again(command, card, asking))


async def list_cards(call: Call) -> Reply:
    """Return the saved cards of the merchant's customers."""
    query: CardsQuery = call.query
    if call.deps.sandbox and query.customer_email == MAGIC_CUSTOMER:
        raise Rejected(REQUEST_FAILED)
    wanted = CardFilter(
        account_id=call.account_id,
        customer_email=query.customer_email,
        created_from=beginning(query.start_date, "startDate") if query.start_date else None,
        created_before=ending(query.end_date, "endDate") if query.end_date else None,
        skip=query.page * PAGE_LENGTH,
        limit=PAGE_LENGTH + 1,
    )
    await call.check_token()
    found = await call.deps.threads.read(call.deps.threads.store.cards.saved_cards, wanted)
    next_page = str(query.page + 1) if len(found) > PAGE_LENGTH else LAST_PAGE
    return call.success(CardList(next_page, [card_view(call, each) for each in found[:PAGE_LENGTH]]))


async def change_card(call: Call) -> Reply:
    """Give a saved card to another customer."""
    body: CardChange = call.body
    token_key = decode.filled(body.token_key, "tokenKey")
    from_email = decode.filled(body.current_email_address, "currentEmailAddress")
    to_email = decode.filled(body.new_email_address, "newEmailAddress")
    threads = call.deps.threads

    async def act() -> Reply:
        asked = (call.account_id, _digest(call, token_key), from_email, to_email)
        given = await threads.write(threads.store.cards.give_card, *asked)
        found = await _find(call, token_key) if given else None
        if found is None:
            return RECORD_NOT_FOUND
        message = "Tokenized card updated successfully"
        return call.success(CardChanged(True, message, card_view(call, found)))  # noqa: FBT003 - as on the wire

    return await answer_once(call, act)


async def delete_card(call: Call) -> Reply:
    """Delete a saved card; nothing can be charged by its token key from now on."""
    body: CardRemoval = call.body
    token_key = decode.filled(body.token_key, "tokenKey")
    threads = call.deps.threads

    async def act() -> Reply:
        asked = (call.account_id, _digest(call, token_key))
        found = await threads.write(threads.store.cards.forget_card, *asked)
        return call.success(_REMOVED) if found else RECORD_NOT_FOUND

    return await answer_once(call, act)


def card_view(call: Call, view: CardView) -> CardShown:
    """Return a saved card with its token key, for its merchant."""
    card = view.card
    return CardShown(
        token_key=call.deps.vault.token_key(card),
        customer_email=view.customer_email,
        card_type=card.card_brand,
        card_pan=card.card_masked,
        token_expiration_date=card.kept.expiry,
        token_expiry_date=card.kept.expiry,
    )


async def _find(call: Call, token_key: str) -> CardView | None:
    """Return the merchant's card of this token key; another merchant's has another digest."""
    threads = call.deps.threads
    return await threads.read(threads.store.cards.saved_card, call.account_id, _digest(call, token_key))


def _digest(call: Call, token_key: str) -> str:
    return call.deps.vault.digest(call.account_id, token_key)
