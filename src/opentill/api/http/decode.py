"""From bytes to structs: strict about JSON, types and lengths; every complaint names its field."""

import json
import re
import unicodedata
from collections.abc import Mapping
from functools import cache
from typing import Annotated, Any, Final, NoReturn, TypeVar
from urllib.parse import parse_qsl

import msgspec

from opentill.api.wire import invalid
from opentill.domain.money import MINOR_DIGITS, InvalidAmount, Money

T = TypeVar("T")
Q = TypeVar("Q", bound=msgspec.Struct)

Text = Annotated[str, msgspec.Meta(max_length=255)]
"""A string of the merchant's choice, bounded."""

ReferenceText = Annotated[str, msgspec.Meta(extra_json_schema={"minLength": 1, "maxLength": 255})]
"""An order reference; its length is a setting, so ``reference`` checks it and not the decoder."""

AmountText = Annotated[msgspec.Raw, msgspec.Meta(extra_json_schema={"type": ["number", "string"]})]
"""A number as it was written: money never passes through a float (ruling 10)."""


_ACCOUNT_NUMBER: Final = re.compile("[0-9]{10}")
AccountNumber = Annotated[str, msgspec.Meta(extra_json_schema={"pattern": f"^{_ACCOUNT_NUMBER.pattern}$"})]
"""The number of a Nigerian bank account; ``account_number`` checks it."""
BankCode = Annotated[str, msgspec.Meta(max_length=16)]

_ABSENT: Final = b"null"
OptionalAmountText = Annotated[
    msgspec.Raw, msgspec.Meta(extra_json_schema={"type": ["number", "string", "null"]})
]
"""As AmountText, where null or nothing may stand; its default is ``no_amount``."""


def no_amount() -> msgspec.Raw:
    """Return what an OptionalAmountText is that was not sent."""
    return msgspec.Raw(_ABSENT)


class _DuplicateKey(ValueError):
    """An object names one member twice."""


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise _DuplicateKey
    return members


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(name)


# The typed decoder silently lets the last of two equal keys win, and two readers of one document
# could then see two different orders; this second pass costs a microsecond and keeps numbers as text.
_strict = json.JSONDecoder(
    object_pairs_hook=_unique, parse_int=str, parse_float=str, parse_constant=_refuse_constant
).decode


def decode(decoder: "msgspec.json.Decoder[T]", body: bytes, what: str = "body") -> T:
    """Read one JSON document into a struct.

    Raises Rejected (400 ``02``) for malformed or deeply nested JSON, duplicate keys, NUL in any
    string, and members that are missing or of the wrong type or length.
    """
    try:
        tree = _strict(body.decode())
        decoded = decoder.decode(body)
    except _DuplicateKey:
        raise invalid(f"{what} has a duplicate key") from None
    except msgspec.ValidationError as error:
        raise invalid(complaint(str(error), what)) from None
    except (ValueError, RecursionError):
        raise invalid(f"{what} is not valid JSON") from None
    if b"\\u0000" in body:
        _refuse_nul(tree, what)
    return decoded


def _refuse_nul(tree: Any, field: str) -> None:
    """Refuse NUL, which databases can not keep; the tree is as deep as the strict pass allowed."""
    if isinstance(tree, str) and "\0" in tree:
        raise invalid(f"{field} can not contain control characters")
    if isinstance(tree, Mapping):
        for name, value in tree.items():
            _refuse_nul(name, field)
            _refuse_nul(value, name)
    elif isinstance(tree, list):
        for value in tree:
            _refuse_nul(value, field)


_MISSING: Final = re.compile(r"missing required field `(\w+)`")
_PATH: Final = re.compile(r"`(?:key` in `)?\$((?:\.\w+|\[[^\]]*\])*)`$")
_MEMBER: Final = re.compile(r"\.(\w+)")
_KINDS: Final = (
    ("of length >=", "can not be empty"),
    ("of length <=", "is too long"),
    ("`int` >=", "is too small"),
    ("`int` <=", "is too large"),
    ("enum value", "is not one of the allowed values"),
    ("got `null`", "can not be null"),
    ("Expected `array", "must be a list"),
    ("Expected `object", "must be an object"),
    ("Expected `bool", "must be true or false"),
    ("Expected `int", "must be a whole number"),
    ("Expected `str", "must be a string"),
)


def complaint(message: str, what: str) -> str:
    """Return the decoder's message as a sentence (contract 2.2), such as "amount can not be null"."""
    missing = _MISSING.search(message)
    if missing:
        return f"{missing.group(1)} can not be null"
    path = _PATH.search(message)
    members = _MEMBER.findall(path.group(1)) if path else []
    field = members[-1] if members else what
    if "`key` in" in message:
        field = f"a key of {field}"
    elif path and path.group(1).endswith("]"):
        field = f"a value of {field}"
    return f"{field} {next((text for mark, text in _KINDS if mark in message), 'is not valid')}"


def query(kind: type[Q], query_string: bytes) -> Q:
    """Read a query into a struct; a blank parameter counts as absent, an unknown one is ignored.

    Raises Rejected (400 ``02``) when it is not percent-encoded UTF-8, a parameter is repeated, or
    one is missing or of the wrong kind.
    """
    try:
        pairs = parse_qsl(query_string.decode("ascii"), errors="strict", max_num_fields=50)
    except ValueError:
        raise invalid("the query is not valid") from None
    members = dict(pairs)
    if len(members) != len(pairs):
        raise invalid("a query parameter is given twice")
    for name, value in members.items():
        if "\0" in value:
            raise invalid(f"{name} can not contain control characters")
        if value.lower() == "null" and name in _not_of_text(kind):
            raise invalid(f"{name} is not valid")  # else it would be read as absent
    try:
        return msgspec.convert(members, kind, strict=False)
    except msgspec.ValidationError as error:
        raise invalid(complaint(str(error), "query")) from None


@cache
def _not_of_text(kind: type[msgspec.Struct]) -> frozenset[str]:
    """Return the parameters of a query that are not any text: numbers, words of a list, times."""
    info = msgspec.inspect.type_info(kind)
    assert isinstance(info, msgspec.inspect.StructType)
    return frozenset(
        field.encode_name
        for field in info.fields
        if not any(
            isinstance(each, msgspec.inspect.StrType) for each in getattr(field.type, "types", (field.type,))
        )
    )


def filled(text: str, field: str) -> str:
    """Return the text itself; raises Rejected when it is blank or has control characters."""
    if not text.strip():
        raise invalid(f"{field} can not be blank")
    if not text.isprintable() and any(unicodedata.category(c) == "Cc" for c in text):
        raise invalid(f"{field} can not contain control characters")
    return text


def reference(text: str, field: str, limit: int) -> str:
    """Return a reference or order id, untrimmed; raises Rejected as ``filled`` and beyond ``limit``."""
    if len(text) > limit:
        raise invalid(f"{field} is too long")
    return filled(text, field)


def trimmed(text: str, field: str, most_characters: int) -> str:
    """Return a name that others pad with blanks, without them; raises Rejected as ``reference``."""
    return reference(text.strip(), field, most_characters)


def account_number(text: str, field: str) -> str:
    """Return the number of a bank account; raises Rejected when it is not 10 digits."""
    if not _ACCOUNT_NUMBER.fullmatch(text):
        raise invalid(f"{field} must be 10 digits")
    return text


def amount(raw: msgspec.Raw, field: str, currency: str) -> int:
    """Return minor units of a JSON number or string of major units.

    Raises Rejected when it is neither, or not an amount of this currency (ruling 10).
    """
    try:
        return Money.parse(_number_text(bytes(raw), field), currency).minor
    except InvalidAmount as error:
        raise invalid(f"{field} {error}") from None


def hundredths(raw: msgspec.Raw, field: str) -> int:
    """Return a number above zero with at most two decimals, in hundredths: a percentage, for instance."""
    two_decimals = next(currency for currency, digits in MINOR_DIGITS.items() if digits == 2)
    return amount(raw, field, two_decimals)


def optional_amount(raw: msgspec.Raw, field: str) -> int | None:
    """Return minor units of an amount whose currency is not known yet, or None where none was sent.

    Every currency that an order can have has two decimals, so nothing is left to be found out later.
    """
    return None if bytes(raw) == _ABSENT else hundredths(raw, field)


def _number_text(raw: bytes, field: str) -> str:
    if raw == _ABSENT:
        raise invalid(f"{field} can not be null")
    if raw[:1] == b'"':
        return filled(msgspec.json.decode(raw, type=str), field)
    if raw[:1] in b"-0123456789":
        return raw.decode()
    raise invalid(f"{field} must be a number")
