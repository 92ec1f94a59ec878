"""The page behind a ``checkoutLink``: what an order is, and the truth about where it stands.

The link's token finds its order by key and carries a MAC, so one order's page can never show another.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles

from opentill.domain.money import major_units
from opentill.domain.order import Order, OrderStatus
from opentill.engine.errors import EngineError
from opentill.engine.reader import Reader
from opentill.engine.threads import StoreThreads
from opentill.keyring import Keyring
from opentill.store.interface import StoreError

_HERE: Final = Path(__file__).parent
_NOWHERE: Final = "'none'"

_SAYS: Final = {
    OrderStatus.PENDING: "This order has not been paid yet.",
    OrderStatus.PAID: "This order is paid. Thank you.",
    OrderStatus.CANCELLED: "This order was cancelled. It can not be paid any more.",
    OrderStatus.EXPIRED: "The time to pay this order has passed.",
}
_UNKNOWN: Final = "This payment link is not valid. Please ask the merchant for a new one."
_BUSY: Final = "This page can not be shown right now. Please try again in a moment."


class Templates:
    """Makes pages from ``templates/``, each with the headers that keep it to itself."""

    def __init__(self, *, sandbox: bool):
        self._templates = Environment(
            loader=FileSystemLoader(_HERE / "templates"), autoescape=True, undefined=StrictUndefined
        )
        self._templates.globals["sandbox"] = sandbox

    def page(self, name: str, status: int = 200, *, forms_to: str = _NOWHERE, **values: Any) -> Response:
        """A page; ``forms_to`` is where its forms may lead, as a source list of its content policy."""
        return HTMLResponse(self._templates.get_template(name).render(values), status, _headers(forms_to))


def _headers(forms_to: str) -> dict[str, str]:
    return {
        "Content-Security-Policy": (
            f"default-src 'none'; style-src 'self'; base-uri 'none'; form-action {forms_to}; "
            "frame-ancestors 'none'"
        ),
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
        "Cache-Control": "no-store",
    }


class PayerPages:
    """What a payer's browser is shown of an order."""

    def __init__(self, reader: Reader, threads: StoreThreads, keyring: Keyring, templates: Templates):
        self._reader = reader
        self._threads = threads
        self._keyring = keyring
        self._templates = templates

    def application(self, more: Iterable[BaseRoute]) -> Starlette:
        """Everything a payer's browser asks for: these pages, what they look like, and ``more``."""
        return Starlette(
            routes=[
                Mount("/checkout/static", StaticFiles(directory=_HERE / "static")),
                Route("/checkout/{token}", self._show),
                *more,
            ]
        )

    async def _show(self, request: Request) -> Response:
        found = self._keyring.open_link(request.path_params["token"])
        try:
            view = await self._reader.order(*found, None) if found else None
            return await self.of_order(view.order, says(view.order)) if view else self.unknown()
        except (EngineError, StoreError):
            return self.busy()

    async def of_order(self, order: Order, sentence: str, reload_seconds: int | None = None) -> Response:
        """The page of an order with a sentence about it; reloads itself when asked."""
        merchant = await self._threads.read(self._threads.store.merchant, order.account_id)
        return self._templates.page(
            "order.html",
            sentence=sentence,
            order=order,
            amount=f"{order.currency} {_grouped(major_units(order.amount, order.currency))}",
            merchant=merchant.name if merchant else "",
            reload_seconds=reload_seconds,
        )

    def unknown(self) -> Response:
        """What a link that is not one of ours leads to."""
        return self._without_order(404, _UNKNOWN)

    def busy(self) -> Response:
        """The server can not tell now."""
        return self._without_order(503, _BUSY)

    def _without_order(self, status: int, sentence: str) -> Response:
        return self._templates.page(
            "order.html", status, sentence=sentence, order=None, merchant="", reload_seconds=None
        )


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
