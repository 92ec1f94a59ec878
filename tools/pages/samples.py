"""What stands on the page for the placeholders of the golden files: one value for each, always the same."""

import base64
import hashlib
import hmac
import re
import uuid
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Final

_PLACE: Final = re.compile(r"<(\w+):([\w-]+)>")
_MOMENT: Final = datetime(2026, 3, 2, 9, 30, tzinfo=UTC)
_LATER_SECONDS: Final = {
    "expiresAt": 1800,
    "dueAt": 3600,
    "nextTryAt": 120,
    "timeUpdated": 2,
    "updatedAt": 2,
    "endedAt": 2,
}
"""How long after the others the times of these names are."""

TEXTS: Final = {
    "server": "http://127.0.0.1:8480",
    "client-secret": "the-secret-of-this-client",
    "webhook-key": "the-key-that-signs-webhooks",
    "advice-key": "a-key-that-the-adapter-of-the-bank-shares",
}
_DOCUMENT: Final = '{"openapi":"3.1.0","info":{"title":"opentill"},"paths":{"...":{}}}'


def filled(text: str) -> str:
    """Put a sample value in the place of each placeholder."""
    return _PLACE.sub(lambda place: sample(place[1], place[2]), text)


def sample(kind: str, name: str) -> str:
    """Give the sample value of ``<kind:name>``, which is of its kind."""
    return _SAMPLES[kind](name)


def signed_headers(body: str) -> dict[str, str]:
    """Sign a body as a bank's adapter does, under the sample key and at the sample time."""
    timestamp = str(int(_MOMENT.timestamp()))
    signature = hmac.digest(TEXTS["advice-key"].encode(), f"{timestamp}.{body}".encode(), "sha256")
    return {"X-Timestamp": timestamp, "X-Signature": base64.b64encode(signature).decode()}


def _uuid(name: str) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"https://opentill.example/{name}"))


def _time(name: str) -> str:
    member, _, number = name.partition("-")
    seconds = _LATER_SECONDS.get(member, 0) + int(number or 1) - 1
    return f"{_MOMENT + timedelta(seconds=seconds):%Y-%m-%dT%H:%M:%S}.000Z"


def _digest(name: str) -> bytes:
    return hashlib.sha256(name.encode()).digest()


def _token(name: str) -> str:
    return base64.urlsafe_b64encode(_digest(name)).decode().rstrip("=")


def _jwt(name: str) -> str:
    claims = base64.urlsafe_b64encode(f'{{"jti":"{name}"}}'.encode()).decode().rstrip("=")
    return f"eyJhbGciOiJIUzI1NiJ9.{claims}.{_token(name)}"


_SAMPLES: Final[Mapping[str, Callable[[str], str]]] = {
    "text": TEXTS.__getitem__,
    "uuid": _uuid,
    "short": lambda name: _uuid(name)[:5],
    "time": _time,
    "jwt": _jwt,
    "refresh": lambda name: f"{_uuid(name)}_{int(_MOMENT.timestamp())}000",
    "link": _token,
    "cursor": lambda name: _token(name) + "=",
    "nuban": lambda name: f"90{int.from_bytes(_digest(name)[:4]) % 10**8:08d}",
    "key": lambda name: base64.b64encode(_digest(name)).decode(),
    "tokenkey": _token,
    "seconds": lambda _: "30",
    "document": lambda _: _DOCUMENT,
}
