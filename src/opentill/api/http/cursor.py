"""The opaque texts that say where a list or the feed goes on; they stay good whatever is added meanwhile."""

import base64
from typing import Final

from opentill.api.wire import invalid

START: Final = 0
"""The feed's position before the first event."""
_END: Final = 2**62
"""Far behind every time and position that a database keeps."""


def to_cursor(at: int, name: str) -> str:
    """Return the cursor behind the row of this time, in UTC milliseconds, and id."""
    return base64.urlsafe_b64encode(f"{at}:{name}".encode()).decode()


def from_cursor(cursor: str) -> tuple[int, str]:
    """Return what ``to_cursor`` was given; raises Rejected for any other text."""
    try:
        at, name = _decoded(cursor).split(":")
        found = int(at), name
    except ValueError:
        raise invalid("cursor is not valid") from None
    if to_cursor(*found) != cursor or not (0 <= found[0] < _END and name.isprintable()):
        raise invalid("cursor is not valid")
    return found


def to_feed_cursor(position: int) -> str:
    """Return the cursor behind this position of the feed: always the same one."""
    return base64.urlsafe_b64encode(f"event:{position}".encode()).decode()


def from_feed_cursor(cursor: str, field: str) -> int:
    """Return what ``to_feed_cursor`` was given; raises Rejected, naming the field, for any other text."""
    try:
        word, position = _decoded(cursor).split(":")
        found = int(position)
    except ValueError:
        raise invalid(f"{field} is not a cursor") from None
    if word != "event" or not START <= found < _END or to_feed_cursor(found) != cursor:
        raise invalid(f"{field} is not a cursor")
    return found


def _decoded(cursor: str) -> str:
    return base64.b64decode(cursor, altchars=b"-_", validate=True).decode()
