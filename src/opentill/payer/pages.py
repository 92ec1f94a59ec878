"""The page behind a ``checkoutLink``: what an order is, and the truth about where it stands.

The link's token finds its order by key and carries a MAC, so one order's page can never show another.
"""

from pathlib import Path
from typing import Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from opentill.domain.money import major_units
from opentill.domain.order import Order, OrderStatus
from opentill.engine.errors import EngineError
from opentill.engine.reader import Reader
from opentill.engine.threads import StoreThreads
from opentill.keyring import Keyring

_HERE: Final = Path(__file__).parent
_HEADERS: Final = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}

_SAYS: Final = {
    OrderStatus.PENDING: "This order has not been paid yet.",
    OrderStatus.PAID: "This order is paid. Thank you.",
    OrderStatus.CANCELLED: "This order was cancelled. It can not be paid any more.",
    OrderStatus.EXPIRED: "The time to pay this order has passed.",
}
_UNKNOWN: Final = "This payment link is not valid. Please ask the merchant for a new one."
_BUSY: Final = "This page can not be shown right now. Please try again in a moment."


class PayerPages:
    """Builds the Starlette application for everything a payer's browser asks for."""

    def __init__(self, reader: Reader, threads: StoreThreads, keyring: Keyring, *, sandbox: bool):
        self._reader = reader
        self._threads = threads
        self._keyring = keyring
        self._sandbox = sandbox
        templates = Environment(
            loader=FileSystemLoader(_HERE / "templates"), autoescape=True, undefined=StrictUndefined
        )
        self._template = templates.get_template("order.html")

    def application(self) -> Starlette:
        """The routes below ``/checkout``."""
        return Starlette(
            routes=[
                Mount("/checkout/static", StaticFiles(directory=_HERE / "static")),
                Route("/checkout/{token}", self._show),
            ]
        )

    async def _show(self, request: Request) -> Response:
        found = self._keyring.open_link(request.path_params["token"])
        try:
            view = await self._reader.order(*found, None) if found else None
            if found is None or view is None:
                return self._page(404, _UNKNOWN)
            merchant = await self._threads.read(self._threads.store.merchant, view.order.account_id)
        except EngineError:
            return self._page(503, _BUSY)
        return self._page(200, says(view.order), order=view.order, merchant=merchant.name if merchant else "")

    def _page(self, status: int, sentence: str, order: Order | None = None, merchant: str = "") -> Response:
        amount = f"{order.currency} {_grouped(major_units(order.amount, order.currency))}" if order else ""
        page = self._template.render(
            sandbox=self._sandbox, sentence=sentence, order=order, amount=amount, merchant=merchant
        )
        return HTMLResponse(page, status, _HEADERS)


def says(order: Order) -> str:
    """What the page says of an order; about money only what its totals show."""
    totals = order.totals
    if totals.returning:
        return f"{_SAYS[order.status]} A payment that it could not take is on its way back to you."
    if totals.returned:
        return f"{_SAYS[order.status]} A payment that it could not take has been given back."
    return _SAYS[order.status]


def _grouped(amount: str) -> str:
    whole, _, fraction = amount.partition(".")
    return f"{int(whole):,}.{fraction}"
