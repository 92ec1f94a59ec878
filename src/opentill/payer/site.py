"""Everything that payers' browsers ask for, put together."""

from collections.abc import Iterable

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Mount, Route

from opentill.payer.actions import Actions
from opentill.payer.challenge import ReturnPage
from opentill.payer.live import OpenPages
from opentill.payer.pages import PAGE_PATH, PayerDeps, PayerPages
from opentill.payer.rendering import Static


def payer_site(deps: PayerDeps, open_pages: OpenPages, more: Iterable[BaseRoute]) -> Starlette:
    """Return the payer's pages as one application; ``more`` are routes beside them.

    Those of the sandbox's bank, which live mode has not. Every other path, and every other method, leads to
    the page that says the link is not valid: from here on all that a browser sees is a page of ours.
    """
    pages = PayerPages(deps)

    async def unknown(_request: Request, _error: Exception) -> Response:
        return deps.templates.unknown()

    site = Starlette(
        routes=[
            Mount("/checkout/static", Static()),
            *ReturnPage(deps).routes(),
            Route(PAGE_PATH, pages.show),
            open_pages.route(),
            *Actions(deps, pages).routes(),
            *more,
        ],
        exception_handlers={404: unknown, 405: unknown},
    )
    site.router.redirect_slashes = False  # it would lead to whatever host the request names
    return site
