"""Whether an advice comes from the bank-side adapter: its signature, and that it is of now (contract 10).

A captured advice can be sent again for as long as it is fresh, and nothing comes of it: the transfer's
session id is one credit however often it is told.
"""

import hmac
import re
from base64 import b64encode
from collections.abc import Iterable, Mapping
from typing import Final

WINDOW_SECONDS: Final = 300
"""How far an adapter's clock may be from ours, and how old an advice may be."""

_UNIX_SECONDS: Final = re.compile(rb"[1-9][0-9]{0,11}")


def sign(key: str, timestamp: str, body: bytes) -> str:
    """Return what stands in ``X-Signature``: base64 of HMAC-SHA256 over timestamp, a dot and the raw body."""
    return b64encode(hmac.digest(key.encode(), timestamp.encode() + b"." + body, "sha256")).decode()


def is_signed(keys: Iterable[str], headers: Mapping[bytes, bytes], body: bytes, now: int) -> bool:
    """Return whether one of the keys signed this body, with a timestamp within the window around ``now``.

    ``X-Timestamp`` is Unix time in whole seconds. Every key is tried, each in constant time, so that no
    answer takes longer for being nearly right. ``now`` is real time in UTC milliseconds.
    """
    timestamp, signature = headers.get(b"x-timestamp", b""), headers.get(b"x-signature", b"")
    if not _UNIX_SECONDS.fullmatch(timestamp):
        return False
    expected = (sign(key, timestamp.decode(), body).encode() for key in keys)
    signed = any([hmac.compare_digest(each, signature) for each in expected])  # noqa: C419 - all of them
    return signed and abs(now - int(timestamp) * 1000) <= WINDOW_SECONDS * 1000
