"""3-D Secure: the page of the sandbox's bank, and where the payer comes back to from any bank.

Both work without JavaScript, and loading either again changes nothing that was decided before.
"""

from collections.abc import Awaitable
from typing import Final, Protocol

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from opentill.clock import Clock
from opentill.domain.commands import ReturnFromChallenge
from opentill.domain.names import transaction_id
from opentill.keys.keyring import ChallengeClaims, Keyring
from opentill.payer.actions import NO_REPLY, PAYER, SEE_OTHER
from opentill.payer.forms import Form, read_form
from opentill.payer.pages import PayerDeps, page_location
from opentill.payer.rendering import Templates

BANK_PATH: Final = "/sandbox/3ds"
"""Where a browser posts JWT and MD to, in sandbox mode."""
RETURN_PATH: Final = "/checkout/challenge/{token}"


class AnswerChallenge(Protocol):
    """Tells the sandbox's bank what the payer did."""

    def __call__(self, transaction_id: str, *, passed: bool) -> Awaitable[bool]:
        """Tell the bank what the payer did; False when no challenge of this transaction waits."""


class BankPages:
    """The sandbox's bank, which asks the payer to approve the payment."""

    def __init__(self, keyring: Keyring, clock: Clock, answer: AnswerChallenge, templates: Templates):
        self._keyring = keyring
        self._clock = clock
        self._answer = answer
        self._templates = templates

    def routes(self) -> list[Route]:
        """Return the bank's addresses; live mode has none of them."""
        return [
            Route(BANK_PATH, self._ask),
            Route(BANK_PATH, self._ask, methods=["POST"]),
            Route(f"{BANK_PATH}/answer", self._record, methods=["POST"]),
        ]

    async def _ask(self, request: Request) -> Response:
        form = await read_form(request)
        challenge = self._challenge(form)
        if challenge is None:
            return self._templates.page("challenge.html", {"challenge": None}, 400)
        values = {"challenge": challenge, "jwt": form["JWT"], "path": BANK_PATH}
        return self._templates.page("challenge.html", values)

    async def _record(self, request: Request) -> Response:
        form = await read_form(request)
        challenge = self._challenge(form)
        if challenge is None or form.get("answer") not in {"approve", "fail"}:
            return self._templates.page("challenge.html", {"challenge": None}, 400)
        await self._answer(challenge.transaction_id, passed=form["answer"] == "approve")
        return RedirectResponse(challenge.return_url, SEE_OTHER)

    def _challenge(self, form: Form) -> ChallengeClaims | None:
        challenge = self._keyring.verify_challenge(form.get("JWT", ""), self._clock.now())
        return challenge if challenge and challenge.transaction_id == form.get("MD") else None


class ReturnPage:
    """The end of every challenge: asks how it ended, and leads on to the order's page, which tells."""

    def __init__(self, deps: PayerDeps):
        self._deps = deps

    def routes(self) -> list[Route]:
        """Return the page's address, for browsers that are redirected and for banks that let them post."""
        return [Route(RETURN_PATH, self._come_back, methods=["GET", "POST"])]

    async def _come_back(self, request: Request) -> Response:
        found = self._deps.keyring.open_return(request.path_params["token"])
        if found is None:
            return self._deps.templates.unknown()
        if request.method == "HEAD":
            return Response()  # whoever only looks whether the page is there decides nothing
        account_id, uuid = found
        try:
            return await self._settled(account_id, transaction_id(account_id, uuid))
        except self._deps.trouble:
            return self._deps.templates.busy()

    async def _settled(self, account_id: str, transaction: str) -> Response:
        """Finish the challenge. Refusals are not looked at: whatever they say, the order says it too."""
        command = ReturnFromChallenge(
            account_id=account_id,
            command_id=self._deps.ids.uuid(),
            actor=PAYER,
            transaction_id=transaction,
            call_until=self._deps.card_payments.call_until(),
        )
        await self._deps.card_payments.return_from_challenge(command, NO_REPLY)
        view = await self._deps.reader.ask(lambda s: s.order_of_transaction(account_id, transaction), None)
        if view is None:
            return self._deps.templates.unknown()
        token = self._deps.keyring.link_token(account_id, view.order.order_id)
        return RedirectResponse(page_location(token, returning=True), SEE_OTHER)
