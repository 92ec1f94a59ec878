"""The forms that payers' browsers send, the card in them, and the test cards that a sandbox offers."""

import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qsl

from starlette.requests import ClientDisconnect, Request

from opentill.rails.rail import Card

_MOST_FORM_BYTES: Final = 16_384
_MOST_FIELDS: Final = 20

_SPACES: Final = re.compile(r"[\s-]+")
_NUMBER: Final = re.compile(r"\d{12,19}", re.ASCII)
_EXPIRY: Final = re.compile(r"(0[1-9]|1[0-2])/?(?:20)?(\d{2})", re.ASCII)
_CVV: Final = re.compile(r"\d{3,4}", re.ASCII)
_PIN: Final = re.compile(r"(?:\d{4})?", re.ASCII)

Form = dict[str, str]


async def read_form(request: Request) -> Form:
    """Return the fields of a posted form; empty for one that is too long, broke off, or is no form at all."""
    body = b""
    try:
        async for chunk in request.stream():
            body += chunk
            if len(body) > _MOST_FORM_BYTES:
                return {}
        return dict(parse_qsl(body.decode("ascii"), max_num_fields=_MOST_FIELDS))
    except (ValueError, ClientDisconnect):
        return {}


def is_from_here(request: Request) -> bool:
    """Return whether a page of ours sent this, as far as the browser tells.

    Every browser of today tells one of the two; a program that tells neither acts for nobody but itself.
    """
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        return site == "same-origin"
    origin = request.headers.get("origin")
    return origin is None or origin.partition("://")[2] == request.headers.get("host")


@dataclass(frozen=True, slots=True)
class WrongFields:
    """The fields that have to be corrected: a sentence for each, by its name."""

    sentences: dict[str, str]


_ASKED: Final = {
    "number": (_NUMBER, "Enter the number on the front of your card."),
    "expiry": (_EXPIRY, "Enter the month and year, such as 10/30."),
    "cvv": (_CVV, "Enter the 3 or 4 digits from the back of your card."),
    "pin": (_PIN, "Enter the 4 digits of your card PIN, or leave it empty."),
}


def read_card(form: Form) -> Card | WrongFields:
    """Return the card in a form, or what is wrong with its fields."""
    sent = {name: _SPACES.sub("", form.get(name, "")) for name in _ASKED}
    wrong = {name: text for name, (wanted, text) in _ASKED.items() if not wanted.fullmatch(sent[name])}
    if wrong:
        return WrongFields(wrong)
    expiry = _EXPIRY.fullmatch(sent["expiry"])
    assert expiry is not None
    month, year = expiry.groups()
    return Card(number=sent["number"], cvv=sent["cvv"], expiry_month=month, expiry_year=year, pin=sent["pin"])


# --- the sandbox's cards and passwords (contract 6), offered at one click ----------------------------


@dataclass(frozen=True, slots=True)
class TestCard:
    """A card that the sandbox's rail knows, and what comes of it."""

    name: str
    outcome: str
    number: str
    expiry: str = "10/30"
    cvv: str = "123"
    pin: str = "1234"


TEST_CARDS: Final = (
    TestCard("otp", "One-time password, then approved", "5434621074252808"),
    TestCard("challenge", "3-D Secure at the sandbox bank", "4000000000002503"),
    TestCard("declined", "Declined: do not honor", "5484497218317651"),
)
TEST_PASSWORDS: Final = (
    ("9999", "approved"),
    ("5464", "wrong, try again"),
    ("1234", "too late, declined"),
)
