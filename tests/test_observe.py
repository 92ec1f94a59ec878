"""The canary: whatever road a secret takes into the log, it does not come out."""

import base64
import io
import json
import logging
import string
import uuid
from collections.abc import Callable

import pytest
import structlog
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from opentill import observe
from opentill.keys.keyring import Keyring

KEYRING = Keyring(b"k" * 32)


def with_check_digit(body: str) -> str:
    """Append the Luhn digit, by its textbook definition."""
    total = 0
    for place, character in enumerate(reversed(body)):
        digit = int(character) * (2 if place % 2 == 0 else 1)
        total += digit - 9 if digit > 9 else digit
    return body + str(-total % 10)


card_numbers = st.text(string.digits, min_size=12, max_size=18).map(with_check_digit)
uuids = st.uuids(version=4).map(str)
keys = st.binary(min_size=32, max_size=32)


@st.composite
def grouped_cards(draw: st.DrawFn) -> str:
    number, separator = draw(card_numbers), draw(st.sampled_from(["", " ", "-"]))
    return separator.join(number[at : at + 4] for at in range(0, len(number), 4))


access_tokens = st.builds(KEYRING.sign_token, uuids, uuids, uuids, st.just(1), st.just(1800_001))
refresh_tokens = st.builds("{}_{}".format, uuids, st.integers(10**12, 10**13 - 1))
client_secrets = keys.map(lambda raw: base64.b64encode(raw).decode())
link_tokens = st.builds(KEYRING.link_token, uuids, uuids)
bearers = st.builds("Bearer {}".format, st.text(string.ascii_letters + string.digits, min_size=12))
secrets = st.one_of(grouped_cards(), access_tokens, refresh_tokens, client_secrets, link_tokens, bearers)

surroundings = st.text(string.ascii_letters + " :,.\"'{}()[]\n", max_size=12)

Road = Callable[[str], None]


def ours() -> structlog.typing.FilteringBoundLogger:
    logger: structlog.typing.FilteringBoundLogger = structlog.get_logger()
    return logger


def through_exception(text: str) -> None:
    try:
        int(f"x{text}")
    except ValueError:
        ours().exception("failed")


def through_stdlib_exception(text: str) -> None:
    try:
        json.loads(f"x{text}")
    except json.JSONDecodeError as error:
        logging.getLogger("uvicorn.error").exception("failed", exc_info=ExceptionGroup(text, [error]))


class Carrier:
    def __init__(self, text: str) -> None:
        self.text = text

    def __repr__(self) -> str:
        return f"Carrier({self.text})"


ROADS: dict[str, Road] = {
    "message": lambda text: ours().info(text),
    "message arguments": lambda text: ours().warning("%s came", text),
    "keyword": lambda text: ours().info("said", body=text),
    "nested": lambda text: ours().error("said", body={"a": [{"b": (text, {text})}]}),
    "deeply nested": lambda text: ours().info(
        "x", b={"c": {"d": {"e": {"f": {"g": {"h": {"i": [[text]]}}}}}}}
    ),
    "name of a member": lambda text: ours().info("said", body={text: 1}),
    "object": lambda text: ours().info("said", body=Carrier(text)),
    "bytes": lambda text: ours().info("said", body=text.encode()),
    "bound": lambda text: ours().bind(body=text).info("said"),
    "exception": through_exception,
    "stdlib message": lambda text: logging.getLogger("alembic").warning(text),
    "stdlib arguments": lambda text: logging.getLogger("a.library").info("got %s and %r", text, text),
    "stdlib exception": through_stdlib_exception,
}


def logged(road: Road, text: str) -> str:
    stream = io.StringIO()
    observe.configure("info", stream)
    road(text)
    return stream.getvalue()


@pytest.mark.parametrize("road", ROADS.values(), ids=ROADS)
@settings(max_examples=60, deadline=None)
@given(before=surroundings, secret=secrets, after=surroundings)
def test_no_secret_and_no_card_number_comes_out(road: Road, before: str, secret: str, after: str) -> None:
    """Tokens, secrets, payer links and card numbers never reach a line, by whatever road they came in."""
    bare = secret.removeprefix("Bearer ")
    assume(bare not in before and bare not in after)

    out = logged(road, f"{before} {secret} {after}")

    assert out
    assert bare not in out
    assert json.dumps(secret)[1:-1] not in out


@settings(max_examples=60, deadline=None)
@given(number=card_numbers)
def test_a_card_number_that_came_as_a_number_is_withheld(number: str) -> None:
    """A card number is withheld as an integer as well."""
    assume(not number.startswith("0"))

    assert number not in logged(lambda text: ours().info("said", amount=int(text)), number)


@pytest.mark.parametrize(
    "name",
    [
        "client_secret",
        "clientSecret",
        "access_token",
        "Authorization",
        "webhook_key",
        "otp",
        "cardPin",
        "pan",
        "cvv",
    ],
)
def test_what_stands_under_a_secret_name_is_withheld_whatever_it_looks_like(name: str) -> None:
    """Short secrets that no pattern can know, such as an OTP, are withheld by the name they stand under."""
    out = logged(lambda text: ours().info("said", **{name: text}, body={name: text}), "842137")

    assert "842137" not in out
    assert json.loads(out)[name] == observe.WITHHELD


@settings(deadline=None)
@given(reference=uuids, at=st.integers(0, 10**11))
def test_ordinary_values_stay_readable(reference: str, at: int) -> None:
    """References, order ids and numbers are logged as they are."""
    text = f"OD-69923-{reference}"
    line = json.loads(
        logged(lambda said: ours().info("order cancelled", order=said, at=at, shipping="pinned"), text)
    )

    assert (line["order"], line["at"], line["shipping"]) == (text, at, "pinned")


def test_a_line_is_json_with_time_level_and_request_id() -> None:
    """Our events and the libraries' records have the same members, and name the request they belong to."""
    name = str(uuid.uuid4())
    marked = observe.request_id.set(name)
    try:
        own = json.loads(logged(lambda text: ours().info(text), "order cancelled"))
        foreign = json.loads(
            logged(lambda text: logging.getLogger("library").warning(text), "order cancelled")
        )
    finally:
        observe.request_id.reset(marked)

    assert own.keys() >= {"event", "level", "time", "request_id"}
    assert foreign.keys() >= own.keys()
    assert own["event"] == foreign["event"] == "order cancelled"
    assert own["request_id"] == foreign["request_id"] == name
    assert own["time"].endswith("Z")


def test_nothing_is_written_below_the_level() -> None:
    """With level error neither we nor a library write warnings."""
    stream = io.StringIO()
    observe.configure("error", stream)

    ours().warning("quiet")
    logging.getLogger("library").warning("quiet")

    assert stream.getvalue() == ""
