"""3-D Secure: the page of the sandbox's bank, and the page to which the payer comes back from any bank.

Both work without JavaScript, and loading either again changes nothing that was decided before.
"""

from collections.abc import Awaitable, Callable
from typing import Final, Protocol
from urllib.parse import parse_qsl, quote, urlencode, urlsplit, urlunsplit

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from opentill.clock import Clock, Ids
from opentill.domain.commands import Actor, ActorKind, ReturnFromChallenge
from opentill.domain.order import Attempt, AttemptStatus, Order, OrderStatus
from opentill.engine.errors import EngineError
from opentill.engine.reader import Reader
from opentill.keyring import ChallengeClaims, Keyring
from opentill.payer.pages import PayerPages, Templates, says
from opentill.rails.desk import Asking, CardDesk
from opentill.store.interface import OrderView, StoreError

BANK_PATH: Final = "/sandbox/3ds"
"""Where a browser posts JWT and MD to, in sandbox mode."""
RETURN_PATH: Final = "/checkout/challenge/{token}"

_SEE_OTHER: Final = 303
_MOST_FORM_BYTES: Final = 16_384
_RELOAD_SECONDS: Final = 2
_PAYER: Final = Actor(ActorKind.PAYER)

_A = AttemptStatus
_BEING_CHECKED: Final = "This payment is still being checked. Please do not pay again; this page will tell."
_ENDED: Final = "This payment was not made, and nothing was taken for it."
_UNDECIDED: Final = frozenset({_A.CALLING, _A.UNKNOWN})
_UNPAID: Final = frozenset({_A.DECLINED, _A.FAILED, _A.CANCELLED})
_GOES_BACK: Final = frozenset({_A.VOIDING, _A.VOIDED})


class AnswerChallenge(Protocol):
    """Tells the sandbox's bank what the payer did."""

    def __call__(self, transaction_id: str, *, passed: bool) -> Awaitable[bool]:
        """False when no challenge of this transaction waits for an answer."""


class BankPages:
    """The sandbox's bank, which asks the payer to approve the payment."""

    def __init__(self, keyring: Keyring, clock: Clock, answer: AnswerChallenge, templates: Templates):
        self._keyring = keyring
        self._clock = clock
        self._answer = answer
        self._templates = templates

    def routes(self) -> list[Route]:
        """The bank's addresses; live mode has none of them."""
        return [
            Route(BANK_PATH, self._ask),
            Route(BANK_PATH, self._ask, methods=["POST"]),
            Route(f"{BANK_PATH}/answer", self._record, methods=["POST"]),
        ]

    async def _ask(self, request: Request) -> Response:
        form = await _form(request)
        challenge = self._challenge(form)
        if challenge is None:
            return self._templates.page("challenge.html", 400, challenge=None)
        # Answering leads on to the shop, over redirects of this form that a browser holds against the policy.
        forms_to = "'self' http: https:"
        return self._templates.page(
            "challenge.html", forms_to=forms_to, challenge=challenge, jwt=form["JWT"], path=BANK_PATH
        )

    async def _record(self, request: Request) -> Response:
        form = await _form(request)
        challenge = self._challenge(form)
        if challenge is None or form.get("answer") not in {"approve", "fail"}:
            return self._templates.page("challenge.html", 400, challenge=None)
        await self._answer(challenge.transaction_id, passed=form["answer"] == "approve")
        return RedirectResponse(challenge.return_url, _SEE_OTHER)

    def _challenge(self, form: dict[str, str]) -> ChallengeClaims | None:
        challenge = self._keyring.verify_challenge(form.get("JWT", ""), self._clock.now())
        return challenge if challenge and challenge.transaction_id == form.get("MD") else None


async def _form(request: Request) -> dict[str, str]:
    """The fields of a posted form; empty for one that is too long or no form at all."""
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > _MOST_FORM_BYTES:
            return {}
    try:
        return dict(parse_qsl(body.decode("ascii"), max_num_fields=20))
    except ValueError:
        return {}


class ReturnPage:
    """Where every challenge ends: asks how it ended, and sends the payer on or says why not."""

    def __init__(
        self,
        keyring: Keyring,
        desk: CardDesk,
        reader: Reader,
        ids: Ids,
        pages: PayerPages,
        transaction_id: Callable[[str, str], str],
    ):
        """``transaction_id`` makes the id of a transaction from its account id and UUID."""
        self._keyring = keyring
        self._desk = desk
        self._reader = reader
        self._ids = ids
        self._pages = pages
        self._transaction_id = transaction_id

    def routes(self) -> list[Route]:
        """The page's address, for browsers that are redirected and for banks that let them post."""
        return [Route(RETURN_PATH, self._come_back, methods=["GET", "POST"])]

    async def _come_back(self, request: Request) -> Response:
        found = self._keyring.open_return(request.path_params["token"])
        if found is None:
            return self._pages.unknown()
        if request.method == "HEAD":
            return Response()  # whoever only looks whether the page is there decides nothing
        account_id, uuid = found
        try:
            return await self._settled(account_id, self._transaction_id(account_id, uuid))
        except (EngineError, StoreError):
            return self._pages.busy()

    async def _settled(self, account_id: str, transaction_id: str) -> Response:
        """Refusals are not looked at: whatever they say, the order says it too."""
        command = ReturnFromChallenge(
            account_id=account_id,
            command_id=self._ids.uuid(),
            actor=_PAYER,
            transaction_id=transaction_id,
            call_until=self._desk.call_until(),
        )
        await self._desk.return_from_challenge(command, Asking(lambda _: None))
        view = await self._reader.ask(lambda s: s.order_of_transaction(account_id, transaction_id), None)
        attempt = view.order.attempt(transaction_id) if view else None
        return await self._shown(view, attempt) if view and attempt else self._pages.unknown()

    async def _shown(self, view: OrderView, attempt: Attempt) -> Response:
        order, shop = view.order, view.terms.callback_url
        if order.status is OrderStatus.PAID and attempt.status not in _GOES_BACK and _is_web(shop):
            return RedirectResponse(callback_location(shop or "", order), _SEE_OTHER)
        if attempt.status in _UNDECIDED or (attempt.status in _UNPAID and attempt.call is not None):
            return await self._pages.of_order(order, _BEING_CHECKED, _RELOAD_SECONDS)
        unpaid = f"{_ENDED} " if attempt.status in _UNPAID else ""
        return await self._pages.of_order(order, unpaid + says(order))


def _is_web(url: str | None) -> bool:
    return url is not None and urlsplit(url).scheme in {"http", "https"}


def callback_location(callback_url: str, order: Order) -> str:
    """The shop's address with the order's names appended before a fragment (ruling 16, contract 7)."""
    parts = urlsplit(callback_url)
    ours = urlencode({"orderId": order.order_id, "orderReference": order.reference}, safe="", quote_via=quote)
    query = f"{parts.query}&{ours}" if parts.query else ours
    return urlunsplit(parts._replace(query=query))
