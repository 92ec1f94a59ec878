"""What 1,000 open payer pages cost one server, how soon they hear of a cancel, and how soon it stops.

    PYTHONPATH=tests python bench/pages.py [--pages 1000]

Each page is a connection of its own that listens as a browser does. Memory is the server's resident set
with the pages open, less the same without them.
"""

import argparse
import asyncio
import os
import re
import sys
import tempfile
import time
from pathlib import Path

import httpx2

from payer.shopping import Bought, Shopping
from server import Server, client

PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
MOST_KILOBYTES = 100
MOST_STOP_SECONDS = 3.0
ORDERS = 50
"""Over which the pages are spread, 20 of each."""


class Listener:
    """One page: a bare connection with its stream."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, order: Bought):
        self.order = order
        self._reader = reader
        self._writer = writer

    @classmethod
    async def open(cls, address: tuple[str, int], order: Bought, mark: str) -> "Listener":
        """Listen, and be greeted."""
        reader, writer = await asyncio.open_connection(*address)
        path = "/" + order.link.split("/", 3)[3]
        writer.write(f"GET {path}/live?mark={mark} HTTP/1.1\r\nHost: {address[0]}\r\n\r\n".encode())
        await reader.readuntil(b"event: open\ndata:\n\n")
        return cls(reader, writer, order)

    async def news(self) -> float:
        """Return when the page is told that its order has changed."""
        await self._reader.readuntil(b"\ndata: ")
        return time.monotonic()

    def close(self) -> None:
        """Hang up."""
        self._writer.close()


def memory(pid: int) -> int:
    """Bytes resident in the server's own process."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE_BYTES


async def measure(
    server: Server, orders: list[Bought], marks: dict[str, str], pages: int
) -> dict[str, float]:
    """Open all pages, cancel every order, and wait until every page has heard."""
    before = memory(server.pid)
    chosen = [orders[number % len(orders)] for number in range(pages)]
    listeners = [await Listener.open(server.address, order, marks[order.reference]) for order in chosen]
    kilobytes = (memory(server.pid) - before) / pages / 1024
    heard = [asyncio.create_task(each.news()) for each in listeners]
    cancelled: dict[str, float] = {}
    async with httpx2.AsyncClient(base_url=server.url) as http:
        for order in orders:
            body = {"orderReference": order.reference}
            assert (await http.post("/v1/checkout/order/cancel", json=body)).status_code == 200
            cancelled[order.reference] = time.monotonic()
    at = await asyncio.wait_for(asyncio.gather(*heard), 30)
    waited = sorted(then - cancelled[each.order.reference] for then, each in zip(at, listeners, strict=True))
    stopping = time.monotonic()
    code = await asyncio.to_thread(server.stop)
    stopped = time.monotonic() - stopping
    assert code == 0, f"the server ended with {code}"
    for each in listeners:
        each.close()
    return {"kilobytes a page": kilobytes, "slowest news, seconds": waited[-1], "stop, seconds": stopped}


def main() -> int:
    """Measure, print, and fail where a limit is not kept."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pages", type=int, default=1000)
    pages: int = parser.parse_args().pages
    with tempfile.TemporaryDirectory() as folder, Server(Path(folder)) as server:
        with client(server) as http:
            orders = [Shopping(http).order() for _ in range(ORDERS)]
            marks = {order.reference: mark(http, order) for order in orders}
        found = asyncio.run(measure(server, orders, marks, pages))
    print(f"{pages} open pages on one process")
    for name, value in found.items():
        print(f"{name:24}{value:8.2f}")
    kept = found["kilobytes a page"] < MOST_KILOBYTES and found["stop, seconds"] < MOST_STOP_SECONDS
    return 0 if kept else 1


def mark(http: httpx2.Client, order: Bought) -> str:
    """Return what the order's page would listen from."""
    found = re.search(r'data-mark="([^"]+)"', http.get(order.link).text)
    assert found is not None
    return found.group(1)


if __name__ == "__main__":
    sys.exit(main())
