"""Connections to servers: each line stays with one process, and every answer says which one gave it."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Final

import httpx2

from opentill.race import lines as race
from opentill.race.lines import CHALLENGE_CARD, OTP_CARD
from server import Server, signed_in

__all__ = ["CHALLENGE_CARD", "OTP_CARD"]

AMOUNT: Final = "1500.50"
SHOP: Final = "https://shop.example/back"
MOST_TRIES: Final = 400

CANCELLED_BODY: Final = (
    b'{"code":"00","description":"success","data":{"success":true,"message":"Order cancelled successfully"}}'
)
NOT_CANCELLED_BODY: Final = b'{"code":"01","description":"Error cancelling order","data":null}'


class Line(race.Line[httpx2.Response]):
    """A line whose answers tests look into, and which can go to a bank's page too."""

    amount = AMOUNT
    callback_url = SHOP

    def __init__(self, url: str, headers: dict[str, str], most_connections: int = 1):
        self._client = httpx2.AsyncClient(
            base_url=url,
            headers=headers,
            trust_env=False,
            timeout=30,
            verify=False,
            limits=httpx2.Limits(max_connections=most_connections),
        )

    async def ask(self, method: str, path: str, body: object = None, key: str = "") -> httpx2.Response:
        headers = {"X-Idempotent-key": key} if key else {}
        if body is None:
            return await self._client.request(method, path, headers=headers)
        return await self._client.request(method, path, json=body, headers=headers)

    async def cancel_many(self, references: Sequence[str], run: str, key: str) -> httpx2.Response:
        """By one call; ``run`` is kept with each cancel that it makes."""
        body = {"orderReferences": references, "metadata": {"run": run}}
        return await self.ask("POST", "/v1/opentill/orders/cancel", body, key)

    async def pass_challenge(self, secure: dict[str, str]) -> None:
        """Tell the sandbox's bank that it is the payer who pays, as its page does."""
        form = {"JWT": secure["jwt"], "MD": secure["md"], "answer": "approve"}
        answer = await self._client.post(f"{secure['acsUrl']}/answer", data=form)
        assert answer.headers["location"] == secure["termUrl"]

    async def come_back(self, term_url: str, method: str = "GET") -> httpx2.Response:
        """The payer's browser, back from its bank: the page of the order, to which it is led."""
        back = await self._client.request(method, term_url)
        return await self._client.get(back.headers["location"]) if back.status_code == 303 else back

    async def switch_rail(self, operation: str, outcome: str | None, count: int = 1, delay: int = 0) -> None:
        """Make the next calls of the rail misbehave; ``delay`` in milliseconds."""
        body = {"operation": operation, "outcome": outcome, "count": count, "delayMilliseconds": delay}
        assert (await self.ask("POST", "/sandbox/rail", body)).status_code == 200

    async def look_up(self, reference: str) -> str:
        """The order's status."""
        answer = await self._client.get(f"/v1/checkout/order/{reference}")
        assert answer.status_code == 200, answer.text
        return str(answer.json()["data"]["order"]["status"])

    async def get(self, path: str) -> httpx2.Response:
        return await self._client.get(path)

    async def close(self) -> None:
        await self._client.aclose()


def process_of(answer: httpx2.Response) -> str:
    """Return which process gave this answer: a process begins all its request ids alike."""
    return answer.headers["x-request-id"].rpartition("-")[0]


def came_back_paid(answer: httpx2.Response) -> bool:
    """Tell whether the page that the payer comes back to says that the order is paid."""
    return answer.status_code == 200 and "Payment successful" in answer.text


def paid(answer: httpx2.Response) -> bool:
    """Tell whether the answer to a one-time password says that the order is paid."""
    return answer.status_code == 200 and answer.json()["data"]["status"]


@asynccontextmanager
async def lines(servers: Sequence[Server], processes: int, each: int) -> AsyncIterator[list[list[Line]]]:
    """``each`` lines to every one of the processes that stand behind these servers."""
    headers = await asyncio.gather(*(asyncio.to_thread(signed_in, server) for server in servers))
    found: dict[str, list[Line]] = defaultdict(list)
    async with AsyncExitStack() as open_lines:
        for number in range(MOST_TRIES):
            which = number % len(servers)
            line = Line(servers[which].url, headers[which])
            open_lines.push_async_callback(line.close)
            found[process_of(await line.get("/health/live"))].append(line)
            if len(found) == processes and min(map(len, found.values())) >= each:
                break
        else:
            raise AssertionError(f"{list(map(len, found.values()))} lines to {processes} processes")
        yield [of_process[:each] for of_process in found.values()]
