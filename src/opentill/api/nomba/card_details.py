"""Card details as clients send them: a text of JSON, encrypted where we ask for that (contract 3.8)."""

from typing import Annotated, Final

import msgspec
from msgspec import Meta

from opentill.api.http import decode
from opentill.api.wire import SecretStruct, invalid
from opentill.keys.keyring import CardKey, Undecryptable
from opentill.rails.rail import Card

_ShortText = Annotated[str, Meta(max_length=32)]
_MOST_CARD_DIGITS: Final = 19


class CardDetails(SecretStruct, rename="camel", kw_only=True):
    """The content of ``cardDetails`` once it is read."""

    card_number: _ShortText
    card_cvv: _ShortText | int | None = msgspec.field(name="cardCVV", default=None)
    card_expiry_month: _ShortText | int
    card_expiry_year: _ShortText | int
    card_pin: _ShortText | int | None = None


_details = msgspec.json.Decoder(CardDetails)


def read_card(text: str, key: CardKey | None) -> Card:
    """Return the card of a request; with a key the text must be encrypted under it. Raises Rejected.

    What can not be decrypted, plain details included, is always refused in the same words.
    """
    details = decode.decode(_details, _json(text, key), "cardDetails")
    number = details.card_number.replace(" ", "")
    if not (number.isascii() and number.isdigit() and len(number) <= _MOST_CARD_DIGITS):
        raise invalid("cardNumber must be a card number")
    return Card(
        number=number,
        cvv=str(details.card_cvv or ""),
        expiry_month=str(details.card_expiry_month),
        expiry_year=str(details.card_expiry_year),
        pin=str(details.card_pin or ""),
    )


def _json(text: str, key: CardKey | None) -> bytes:
    if key is None:
        return text.encode()
    try:
        return key.decrypt(text)
    except Undecryptable:
        raise invalid("cardDetails can not be decrypted") from None
