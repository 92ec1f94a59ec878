"""Where the next page of a list begins, as an opaque text that stays good whatever is added meanwhile."""

import base64
from typing import Final

from opentill.api.wire import invalid

_END_OF_TIME: Final = 2**62
"""Far behind every time that a database keeps."""


def to_cursor(at: int, name: str) -> str:
    """The place behind the row of this time and id."""
    return base64.urlsafe_b64encode(f"{at}:{name}".encode()).decode()


def from_cursor(cursor: str) -> tuple[int, str]:
    """What ``to_cursor`` was given; raises Rejected for any other text."""
    try:
        text = base64.b64decode(cursor, altchars=b"-_", validate=True).decode()
        at, name = text.split(":")
        place = int(at), name
    except ValueError:
        raise invalid("cursor is not valid") from None
    if to_cursor(*place) != cursor or not (0 <= place[0] < _END_OF_TIME and name.isprintable()):
        raise invalid("cursor is not valid")
    return place
