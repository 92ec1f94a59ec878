"""Paying an order of a sandbox by card over the API, as a payer's page would (contract 3.8)."""

import base64
from typing import Any, Final
from urllib.parse import quote

import msgspec
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256

from opentill.cli.server import RunningServer

PAYS: Final = "5434621074252808"
DECLINED: Final = "5484497218317651"
"""Test cards of the sandbox (contract 6): paid after a password, and never."""
PASSWORD: Final = "9999"  # noqa: S105 - every sandbox accepts it


def submit_card(server: RunningServer, reference: str, number: str) -> dict[str, Any]:
    """Charge the order to this card, encrypted where the server wants that; return what became of it."""
    card = {
        "cardNumber": number,
        "cardCVV": "123",
        "cardExpiryMonth": "10",
        "cardExpiryYear": "99",
        "cardPin": "1234",
    }
    order = server.ask("GET", f"/v1/checkout/order/{quote(reference, safe='')}")
    key = order["base64EncodedRsaPublicKey"]
    details = msgspec.json.encode(card)
    body = {
        "orderReference": reference,
        "key": key,
        "cardDetails": _encrypted(details, key) if key else details.decode(),
    }
    return server.ask("POST", "/v1/checkout/checkout-card-detail", body)


def submit_password(server: RunningServer, reference: str, transaction: str, password: str) -> dict[str, Any]:
    """Confirm the charge with the one-time password; return what became of it."""
    body = {"orderReference": reference, "transactionId": transaction, "otp": password}
    return server.ask("POST", "/v1/checkout/checkout-card-otp", body)


def _encrypted(details: bytes, public_key: str) -> str:
    """Encrypt card details as clients do where the server gives them a key (contract 3.8)."""
    key = serialization.load_der_public_key(base64.b64decode(public_key))
    assert isinstance(key, rsa.RSAPublicKey)
    return base64.b64encode(
        key.encrypt(details, padding.OAEP(padding.MGF1(SHA256()), SHA256(), None))
    ).decode()
