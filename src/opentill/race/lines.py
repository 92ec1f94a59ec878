"""What a merchant's program and its payer can do to a server, over one kept connection.

How a request is carried is left to a subclass, so that whoever races shares the words of the wire.
"""

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Final, Generic, Protocol, TypeVar
from urllib.parse import quote

import aiohttp

OTP_CARD: Final = "5434621074252808"
CHALLENGE_CARD: Final = "4000000000002503"
GOOD_OTP: Final = "9999"
"""Test cards and a password of every sandbox (contract 6)."""
CURRENCY: Final = "NGN"
TIMEOUT_SECONDS: Final = 60.0
"""Longer than a server ever waits for its rail."""


class Answer(Protocol):
    """An answer of the server."""

    @property
    def status_code(self) -> int:
        """Return the HTTP status."""

    @property
    def headers(self) -> Mapping[str, str]:
        """Return the headers by name, whatever its case."""

    def json(self) -> Any:
        """Read the body as JSON."""


A = TypeVar("A", bound=Answer)


class Line(ABC, Generic[A]):
    """One merchant's calls; what is charged and where the payer comes back to are the class's own."""

    amount: ClassVar[str] = "1500.50"
    callback_url: ClassVar[str | None] = None

    @abstractmethod
    async def ask(self, method: str, path: str, body: object = None, key: str = "") -> A:
        """Send one request, under an idempotency key if one is given."""

    async def create(self, reference: str, key: str = "", *, more: Mapping[str, object] | None = None) -> A:
        """Open an order; ``more`` are further members of it."""
        order: dict[str, object] = {
            "orderReference": reference,
            "amount": self.amount,
            "currency": CURRENCY,
            "customerEmail": "payer@example.com",
        }
        if self.callback_url is not None:
            order["callbackUrl"] = self.callback_url
        return await self.ask("POST", "/v1/checkout/order", {"order": order | dict(more or {})}, key)

    async def cancel(self, reference: str, key: str = "") -> A:
        """Cancel an order."""
        return await self.ask("POST", "/v1/checkout/order/cancel", {"orderReference": reference}, key)

    async def card(self, reference: str, key: str = "", number: str = OTP_CARD) -> A:
        """Enter a card; the usual test card then waits for its password."""
        details = {
            "cardNumber": number,
            "cardCVV": "123",
            "cardExpiryMonth": "10",
            "cardExpiryYear": "30",
            "cardPin": "1234",
        }
        body = {"cardDetails": json.dumps(details), "key": "", "orderReference": reference}
        return await self.ask("POST", "/v1/checkout/checkout-card-detail", body, key)

    async def otp(self, reference: str, transaction: str, key: str = "") -> A:
        """Enter the password that is always right."""
        body = {"otp": GOOD_OTP, "orderReference": reference, "transactionId": transaction}
        return await self.ask("POST", "/v1/checkout/checkout-card-otp", body, key)

    async def cancel_transaction(self, transaction: str) -> A:
        """End one attempt to pay."""
        body = {"transactionId": transaction, "forceCancel": False}
        return await self.ask("POST", "/v1/checkout/transaction/cancel", body)

    async def refund(self, transaction: str, amount: str | None = None, key: str = "") -> A:
        """Give back so much of a payment; without an amount, all that is left."""
        body = {"transactionId": transaction} | ({"amount": amount} if amount else {})
        return await self.ask("POST", "/v1/checkout/refund", body, key)

    async def transfer_account(self, reference: str) -> A:
        """Ask which account the order is paid to by transfer."""
        return await self.ask("GET", f"/v1/checkout/get-checkout-kta/{quote(reference, safe='')}")

    async def transfer(self, reference: str, amount: str) -> A:
        """Let a bank transfer arrive for an order."""
        return await self.ask("POST", "/sandbox/transfers", {"orderReference": reference, "amount": amount})

    async def in_full(self, reference: str) -> A:
        """Ask for an order with its money and its history."""
        return await self.ask("GET", f"/v1/opentill/orders/{quote(reference, safe='')}")


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """An ``Answer`` over aiohttp."""

    status_code: int
    headers: Mapping[str, str]
    content: bytes

    def json(self) -> Any:
        """Read the body, which was kept whole, as JSON."""
        return json.loads(self.content)


class HttpLine(Line[HttpAnswer]):
    """A line of the program's own; to be made and closed inside the running event loop."""

    def __init__(self, url: str, headers: Mapping[str, str], most_connections: int = 1):
        self._session = aiohttp.ClientSession(
            url,
            headers=headers,
            connector=aiohttp.TCPConnector(limit=most_connections),
            timeout=aiohttp.ClientTimeout(total=TIMEOUT_SECONDS),
            trust_env=False,
        )

    async def ask(self, method: str, path: str, body: object = None, key: str = "") -> HttpAnswer:
        """Send one request over aiohttp. Raises aiohttp.ClientError or TimeoutError when nobody answers."""
        named = {"X-Idempotent-key": key} if key else {}
        async with self._session.request(method, path, json=body, headers=named) as answer:
            return HttpAnswer(answer.status, answer.headers, await answer.read())

    async def close(self) -> None:
        """Give back the connections."""
        await self._session.close()
