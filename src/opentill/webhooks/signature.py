"""How a delivery is signed, in Nomba's way and in that of Standard Webhooks, and how both are verified.

One endpoint has one signing key, a text. Its UTF-8 bytes are the key of both HMACs: Nomba's takes them as
they are (contract 5.3), Standard Webhooks writes them in base64 behind ``whsec_``. Nomba signs nine values
and leaves the rest of the body open; Standard Webhooks signs all of it.
"""

import base64
import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

import msgspec
from standardwebhooks import Webhook

from opentill import __version__
from opentill.domain.times import calendar

USER_AGENT: Final = f"opentill/{__version__}"
SECRET_PREFIX: Final = "whsec_"  # noqa: S105 - what such a secret begins with
ALGORITHM: Final = "HmacSHA256"
VERSION: Final = "1.0.0"
NOT_A_WEBHOOK: Final = (msgspec.DecodeError, UnicodeDecodeError)
"""What is raised about a body whose values can not be read."""


@dataclass(frozen=True, slots=True, repr=False)
class SigningKeys:
    """The keys of an endpoint: the one that signs and, during a rotation, the one that will."""

    current: str
    following: str | None = None

    def __repr__(self) -> str:
        return "SigningKeys(<withheld>)"


def headers(body: bytes, message_id: str, keys: SigningKeys, at: int) -> dict[str, str]:
    """Make all headers of one try to deliver ``body``, ``at`` real time in UTC milliseconds (contract 5.2).

    ``message_id`` is the body's ``requestId``, and for a body without one a UUID of its own. During a
    rotation Nomba's signature is the current key's; ``webhook-signature`` has one of each key.

    Raises one of NOT_A_WEBHOOK when the body is none.
    """
    timestamp = rfc3339(at)
    ours = nomba_signature(nomba_message(body, timestamp), keys.current)
    signing = [keys.current] if keys.following is None else [keys.current, keys.following]
    return {
        "content-type": "application/json",
        "user-agent": USER_AGENT,
        "nomba-signature": ours,
        "nomba-sig-value": ours,
        "nomba-signature-algorithm": ALGORITHM,
        "nomba-signature-version": VERSION,
        "nomba-timestamp": timestamp,
        "webhook-id": message_id,
        "webhook-timestamp": str(at // 1000),
        "webhook-signature": " ".join(
            _standard_signature(body, message_id, key, at // 1000) for key in signing
        ),
    }


def standard_secret(key: str) -> str:
    """Write a signing key as libraries for Standard Webhooks take it: ``whsec_`` and base64."""
    return SECRET_PREFIX + base64.b64encode(key.encode()).decode()


def rfc3339(at: int) -> str:
    """Write UTC milliseconds, whichever they are, in whole seconds, such as ``2026-02-06T04:23:07Z``."""
    return f"{calendar(at).isoformat()[:19]}Z"


# --- Nomba's signature ----------------------------------------------------------------------------


class _SignedMerchant(msgspec.Struct, rename="camel"):
    user_id: str | None = None
    wallet_id: str | None = None


class _SignedTransaction(msgspec.Struct, rename="camel"):
    transaction_id: str | None = None
    type: str | None = None
    time: str | None = None
    response_code: str | None = None


class _SignedData(msgspec.Struct):
    merchant: _SignedMerchant = msgspec.field(default_factory=_SignedMerchant)
    transaction: _SignedTransaction = msgspec.field(default_factory=_SignedTransaction)


class _Signed(msgspec.Struct):
    """The values of a body that Nomba signs; what is missing counts as empty."""

    event_type: str | None = None
    request_id: str | None = msgspec.field(default=None, name="requestId")
    data: _SignedData = msgspec.field(default_factory=_SignedData)


_decoder = msgspec.json.Decoder(_Signed)


def nomba_message(body: bytes, timestamp: str) -> str:
    """Compose the text under Nomba's signature: eight values of the body and the ``nomba-timestamp`` header.

    Raises one of NOT_A_WEBHOOK when the body is not JSON of that shape.
    """
    signed = _decoder.decode(body)
    merchant, transaction = signed.data.merchant, signed.data.transaction
    code = transaction.response_code
    values = (
        signed.event_type,
        signed.request_id,
        merchant.user_id,
        merchant.wallet_id,
        transaction.transaction_id,
        transaction.type,
        transaction.time,
        None if code == "null" else code,
        timestamp,
    )
    return ":".join(value or "" for value in values)


def nomba_signature(message: str, key: str) -> str:
    """Sign a message: base64 of its HMAC-SHA256 (contract 5.3)."""
    return base64.b64encode(hmac.digest(key.encode(), message.encode(), hashlib.sha256)).decode()


# --- Standard Webhooks ----------------------------------------------------------------------------


def _standard_signature(body: bytes, message_id: str, key: str, seconds: int) -> str:
    moment = datetime.fromtimestamp(seconds, UTC)
    return Webhook(key.encode()).sign(message_id, moment, body.decode())


# --- verifying ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Verified:
    """The outcome of verifying one header of a delivery."""

    header: str
    fault: str
    """Why it does not sign this body, as the end of a sentence; empty when it does."""


def verify(body: bytes, received: Mapping[str, str], key: str) -> list[Verified]:
    """Hold every signature that came with a delivery against its body; empty when none came.

    Names of headers count without case. How old the delivery is, is not judged.
    """
    named = {name.lower(): _without_surrogates(value) for name, value in received.items()}
    found = [
        Verified(name, _nomba_fault(body, named, named[name], key))
        for name in ("nomba-signature", "nomba-sig-value")
        if name in named
    ]
    if "webhook-signature" in named:
        found.append(Verified("webhook-signature", _standard_fault(body, named, key)))
    return found


def _without_surrogates(value: str) -> str:
    """Put a question mark for what is no character: a command line may hold any bytes."""
    return value.encode(errors="replace").decode()


def _nomba_fault(body: bytes, named: Mapping[str, str], claimed: str, key: str) -> str:
    if "nomba-timestamp" not in named:
        return "the header nomba-timestamp is missing"
    try:
        message = nomba_message(body, named["nomba-timestamp"])
    except NOT_A_WEBHOOK as error:
        return f"the body has none of the values that it signs ({error})"
    if hmac.compare_digest(nomba_signature(message, key).encode(), claimed.encode()):
        return ""
    return f"it is not this key's for {message!r}"


def _standard_fault(body: bytes, named: Mapping[str, str], key: str) -> str:
    message_id, timestamp = named.get("webhook-id"), named.get("webhook-timestamp", "")
    if not message_id or not timestamp:
        return "the header webhook-id or webhook-timestamp is missing"
    try:
        expected = _standard_signature(body, message_id, key, int(timestamp))
    except (ValueError, OverflowError, OSError):
        return "the header webhook-timestamp is no number of seconds, or the body no text"
    claimed = named["webhook-signature"].encode().split(b" ")
    if any(hmac.compare_digest(expected.encode(), each) for each in claimed):
        return ""
    return "it is not this key's for this body, id and timestamp"
