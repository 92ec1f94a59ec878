"""Both signatures of a delivery: made by us, accepted by others, refused as soon as anything was changed."""

import json
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from standardwebhooks import Webhook, WebhookVerificationError

from opentill import __version__
from opentill.webhooks.signature import (
    SigningKeys,
    Verified,
    headers,
    nomba_message,
    nomba_signature,
    standard_secret,
    verify,
)

PUBLISHED_KEY = "HkatexKDZg7CLWy96q5sfrVHSvtoz92B"
PUBLISHED_MESSAGE = (
    "payment_success:45f2dc2d-d559-4773-bba3-2d5ec17b2e20:b7b10e81-e57d-41d0-8fdc-f4e23a132bbf:"
    "6756ff80aafe04a795f18b38:API-VACT_TRA-B7B10-0435b274-807a-4bc7-8abe-9dbb4548fd7a:vact_transfer:"
    "2025-09-29T10:51:44Z::2025-09-29T10:51:44Z"
)
PUBLISHED_SIGNATURE = "Kt9095hQxfgmVbx6iz7G2tPhHdbdXgLlyY/mf35sptw="
PUBLISHED_AT = 1_759_143_104_000
"""2025-09-29T10:51:44Z."""

REQUEST_ID = "45f2dc2d-d559-4773-bba3-2d5ec17b2e20"
KEYS = SigningKeys(PUBLISHED_KEY)
NOMBA_HEADERS = ("nomba-signature", "nomba-sig-value")


def published_body(**transaction: object) -> dict[str, Any]:
    return {
        "event_type": "payment_success",
        "requestId": REQUEST_ID,
        "data": {
            "merchant": {
                "walletId": "6756ff80aafe04a795f18b38",
                "walletBalance": 12.5,
                "userId": "b7b10e81-e57d-41d0-8fdc-f4e23a132bbf",
            },
            "transaction": {
                "fee": 0.28,
                "type": "vact_transfer",
                "transactionId": "API-VACT_TRA-B7B10-0435b274-807a-4bc7-8abe-9dbb4548fd7a",
                "responseCode": "",
                "transactionAmount": 300.0,
                "time": "2025-09-29T10:51:44Z",
            }
            | transaction,
        },
    }


def as_bytes(body: object) -> bytes:
    return json.dumps(body, separators=(",", ":")).encode()


BODY = as_bytes(published_body())
SENT = headers(BODY, REQUEST_ID, KEYS, PUBLISHED_AT)


def faulty(found: list[Verified]) -> set[str]:
    return {finding.header for finding in found if finding.fault}


# --- Nomba's --------------------------------------------------------------------------------------


def test_the_published_vector_is_what_we_sign() -> None:
    """From the published values we build the published message, and from that the published signature."""
    message = nomba_message(BODY, "2025-09-29T10:51:44Z")
    assert message == PUBLISHED_MESSAGE
    assert nomba_signature(message, PUBLISHED_KEY) == PUBLISHED_SIGNATURE
    assert SENT["nomba-signature"] == PUBLISHED_SIGNATURE


def test_the_headers_are_the_documented_ones() -> None:
    """A delivery has exactly Nomba's headers, the three of Standard Webhooks, its type and our own name."""
    standard = SENT["webhook-signature"]
    assert dict(SENT) == {
        "content-type": "application/json",
        "user-agent": f"opentill/{__version__}",
        "nomba-signature": PUBLISHED_SIGNATURE,
        "nomba-sig-value": PUBLISHED_SIGNATURE,
        "nomba-signature-algorithm": "HmacSHA256",
        "nomba-signature-version": "1.0.0",
        "nomba-timestamp": "2025-09-29T10:51:44Z",
        "webhook-id": REQUEST_ID,
        "webhook-timestamp": "1759143104",
        "webhook-signature": standard,
    }
    assert standard.startswith("v1,")


@pytest.mark.parametrize("code", [None, "null", ""])
def test_no_response_code_is_signed_as_empty(code: str | None) -> None:
    """A responseCode that is null, or the text null, counts as the empty one of the published vector."""
    assert (
        nomba_message(as_bytes(published_body(responseCode=code)), "2025-09-29T10:51:44Z")
        == PUBLISHED_MESSAGE
    )


def test_a_body_without_any_member_can_be_signed() -> None:
    """The empty object that is sent when an endpoint is registered is signed over eight empty values."""
    sent = headers(b"{}", REQUEST_ID, KEYS, PUBLISHED_AT)
    assert nomba_message(b"{}", sent["nomba-timestamp"]) == "::::::::2025-09-29T10:51:44Z"
    assert faulty(verify(b"{}", sent, PUBLISHED_KEY)) == set()


SIGNED_MEMBERS = [
    ("event_type",),
    ("requestId",),
    ("data", "merchant", "userId"),
    ("data", "merchant", "walletId"),
    ("data", "transaction", "transactionId"),
    ("data", "transaction", "type"),
    ("data", "transaction", "time"),
    ("data", "transaction", "responseCode"),
]


@pytest.mark.parametrize("path", SIGNED_MEMBERS, ids=lambda path: path[-1])
def test_a_changed_value_is_noticed_by_both(path: tuple[str, ...]) -> None:
    """Each of the eight values of the body that Nomba signs, once changed, spoils every signature."""
    body = published_body()
    holder = body
    for name in path[:-1]:
        holder = holder[name]
    holder[path[-1]] += "x"
    assert faulty(verify(as_bytes(body), SENT, PUBLISHED_KEY)) == {*NOMBA_HEADERS, "webhook-signature"}


@pytest.mark.parametrize(
    ("name", "value", "spoilt"),
    [
        ("nomba-timestamp", "2025-09-29T10:51:45Z", set(NOMBA_HEADERS)),
        ("nomba-timestamp", "\udcff", set(NOMBA_HEADERS)),
        ("nomba-signature", PUBLISHED_SIGNATURE.swapcase(), {"nomba-signature"}),
        ("nomba-sig-value", "", {"nomba-sig-value"}),
        ("nomba-sig-value", "\udcff", {"nomba-sig-value"}),
        ("webhook-timestamp", "1759143105", {"webhook-signature"}),
        ("webhook-timestamp", "soon", {"webhook-signature"}),
        ("webhook-timestamp", "9" * 40, {"webhook-signature"}),
        ("webhook-id", "another", {"webhook-signature"}),
        ("webhook-signature", SENT["webhook-signature"].replace("v1,", "v2,"), {"webhook-signature"}),
    ],
)
def test_a_changed_header_is_noticed(name: str, value: str, spoilt: set[str]) -> None:
    """The ninth value, which is a header, and everything else that a signature covers can not be changed."""
    assert faulty(verify(BODY, SENT | {name: value}, PUBLISHED_KEY)) == spoilt


@pytest.mark.parametrize("name", ["nomba-timestamp", "webhook-timestamp", "webhook-id"])
def test_a_missing_header_is_named(name: str) -> None:
    """Without a header that it covers no signature counts, and the fault says which one is missing."""
    kept = {header: value for header, value in SENT.items() if header != name}
    faults = [finding.fault for finding in verify(BODY, kept, PUBLISHED_KEY) if finding.fault]
    assert faults
    assert all(name in fault for fault in faults)


# --- Standard Webhooks ----------------------------------------------------------------------------


@settings(deadline=None)
@given(at=st.integers(0, len(BODY) - 1), byte=st.integers(0, 255))
def test_no_byte_of_the_body_can_be_changed(at: int, byte: int) -> None:
    """The standard signature covers every byte of the body, whatever it is changed into."""
    changed = BODY[:at] + bytes([byte]) + BODY[at + 1 :]
    spoilt = "webhook-signature" in faulty(verify(changed, SENT, PUBLISHED_KEY))
    assert spoilt == (changed != BODY)


def test_nomba_s_signature_does_not_cover_the_amount() -> None:
    """Why the standard one is to be preferred: a changed amount passes the one and not the other."""
    richer = as_bytes(published_body(transactionAmount=300_000.0))
    assert faulty(verify(richer, SENT, PUBLISHED_KEY)) == {"webhook-signature"}


def test_the_library_of_the_standard_accepts_a_delivery() -> None:
    """A receiver that uses the published library with our secret verifies what is sent now, and its body."""
    sent = headers(BODY, REQUEST_ID, KEYS, int(time.time() * 1000))
    assert Webhook(standard_secret(PUBLISHED_KEY)).verify(BODY, sent) == published_body()
    with pytest.raises(WebhookVerificationError):
        Webhook(standard_secret("another key")).verify(BODY, sent)


def test_the_secret_is_the_key_in_base64() -> None:
    """The secret for libraries of the standard holds the bytes of the key, whatever characters it has."""
    assert standard_secret("clé") == "whsec_Y2zDqQ=="


# --- keys -----------------------------------------------------------------------------------------


def test_during_a_rotation_both_keys_verify() -> None:
    """Nomba's signature stays the old key's; the standard's is there once for each key."""
    rotating = SigningKeys("old key", "new key")
    sent = headers(BODY, REQUEST_ID, rotating, int(time.time() * 1000))
    assert faulty(verify(BODY, sent, "old key")) == set()
    assert faulty(verify(BODY, sent, "new key")) == set(NOMBA_HEADERS)
    assert faulty(verify(BODY, sent, "third key")) == {*NOMBA_HEADERS, "webhook-signature"}
    for key in ("old key", "new key"):
        assert Webhook(standard_secret(key)).verify(BODY, sent)


def test_keys_are_not_shown() -> None:
    """No log line that holds a pair of keys holds their text."""
    shown = repr(SigningKeys("the old one", "the new one"))
    assert "old" not in shown
    assert "new" not in shown


# --- what others send -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"no JSON", b'{"data":7}', b'{"data":{"merchant":"x"}}', b"\xff{}"]
)
def test_a_body_that_is_no_webhook_has_no_good_signature(body: bytes) -> None:
    """Whatever arrives is judged without an error, and nothing about it is good."""
    assert faulty(verify(body, SENT, PUBLISHED_KEY)) == {*NOMBA_HEADERS, "webhook-signature"}


def test_an_unsigned_delivery_has_no_findings() -> None:
    """Where no signature came there is nothing to be said for the delivery."""
    assert verify(BODY, {"content-type": "application/json"}, PUBLISHED_KEY) == []


def test_names_of_headers_count_without_case() -> None:
    """A proxy may have changed the case of every header."""
    shouted = {name.upper(): value for name, value in SENT.items()}
    assert [f.fault for f in verify(BODY, shouted, PUBLISHED_KEY)] == ["", "", ""]
