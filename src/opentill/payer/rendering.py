"""Pages from ``templates/``, each with the headers that keep it to itself."""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.responses import HTMLResponse, Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from opentill.payer import formatting

_HERE: Final = Path(__file__).parent
_SELF: Final = "'self'"
_STATIC_CACHE: Final = "public, max-age=300"

_UNKNOWN: Final = "This payment link is not valid. Please ask the merchant for a new one."
_BUSY: Final = (
    "This page can not be shown right now. If you have just paid, do not pay again: open this page once more "
    "in a moment, and it will tell."
)
_FOREIGN: Final = "This was not sent from the payment page itself, so nothing was done."


class Templates:
    """Makes pages. ``embedding_origins`` are those that may show them in a frame."""

    def __init__(self, *, sandbox: bool, embedding_origins: Collection[str] = ()):
        self._templates = Environment(
            loader=FileSystemLoader(_HERE / "templates"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._templates.globals["sandbox"] = sandbox
        self._templates.filters["time_left"] = formatting.left
        self._frames = " ".join(embedding_origins) or "'none'"

    def page(
        self, name: str, values: Mapping[str, object], status: int = 200, *, forms_to: str = _SELF
    ) -> Response:
        """Return the page of a template with these values.

        ``forms_to`` is where its forms may lead, as a source list of its content policy.
        """
        return HTMLResponse(
            self._templates.get_template(name).render(values), status, self._headers(forms_to)
        )

    def unknown(self) -> Response:
        """Return the page of a link that is not one of ours."""
        return self._problem(404, "Link not valid", _UNKNOWN)

    def busy(self) -> Response:
        """Return the page for a moment in which the server can not tell."""
        response = self._problem(503, "One moment, please", _BUSY)
        response.headers["Retry-After"] = "2"
        return response

    def foreign(self) -> Response:
        """Return the page for a form of ours that another site has sent."""
        return self._problem(403, "Not done", _FOREIGN)

    def _problem(self, status: int, title: str, sentence: str) -> Response:
        return self.page("problem.html", {"title": title, "sentence": sentence}, status)

    def _headers(self, forms_to: str) -> dict[str, str]:
        headers = {
            "Content-Security-Policy": (
                "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
                f"connect-src 'self'; base-uri 'none'; form-action {forms_to}; frame-ancestors {self._frames}"
            ),
            # Not no-referrer: under it browsers would hide from us, too, that a form comes from our own page.
            "Referrer-Policy": "same-origin",
            "X-Content-Type-Options": "nosniff",
            "Cache-Control": "no-store",
        }
        if self._frames == "'none'":
            headers["X-Frame-Options"] = "DENY"
        return headers


class Static(StaticFiles):
    """The files that pages are made up with; they may be kept for a few minutes."""

    def __init__(self) -> None:
        super().__init__(directory=_HERE / "static")

    async def get_response(self, path: str, scope: Scope) -> Response:
        """Return the file with the header that lets it be kept."""
        response = await super().get_response(path, scope)
        response.headers["Cache-Control"] = _STATIC_CACHE
        response.headers["X-Content-Type-Options"] = "nosniff"
        return response
