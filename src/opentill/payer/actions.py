"""What a payer does on the page: each is a form, and works without JavaScript.

Whatever comes of it, the order says it: so every form that could be carried out, refused or not, leads
back to the page, and a payer who presses Pay while the order is cancelled reads one of the two truths.
"""

import contextlib
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeAlias

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from opentill.domain.commands import Actor, ActorKind, BeginAttempt, CancelAttempt, ResendOtp, SubmitOtp
from opentill.domain.names import transaction_id
from opentill.domain.order import Sender
from opentill.domain.refusals import Refusal
from opentill.payer.forms import TEST_CARDS, Form, WrongFields, is_from_here, read_card, read_form
from opentill.payer.messages import money_of
from opentill.payer.pages import PAGE_PATH, PayerDeps, PayerPages, page_location
from opentill.payer.transfer import Arrival
from opentill.payer.view import CARD_METHOD, TRANSFER_METHOD, allows
from opentill.rails.card_payments import Asking
from opentill.store.orders.contract import Name, OrderView
from opentill.store.transfers.contract import TransferNotice

SEE_OTHER: Final = 303
PAYER: Final = Actor(ActorKind.PAYER)
NO_REPLY: Final = Asking(lambda _: None)

SANDBOX_SENDER: Final = Sender("Ada Payer", "0123456789", "999")

_MOST_OTP_CHARACTERS: Final = 32
_NO_OTP: Final = WrongFields({"otp": "Enter the password that your bank sent you."})

Action: TypeAlias = Callable[[Name, Form], Awaitable[WrongFields | None]]
"""Carries a form out; returns what has to be corrected in it if that can not be done."""


class Actions:
    """The forms of an order's page."""

    def __init__(self, deps: PayerDeps, pages: PayerPages):
        self._deps = deps
        self._pages = pages
        self._actions: dict[str, Action] = {
            "card": self.pay_by_card,
            "otp": self.confirm,
            "resend": self.resend_otp,
            "leave": self.leave,
            "account": self.give_account,
        }
        if deps.offer.bank.sandbox_rail:
            self._actions["arrive"] = self.let_arrive

    def routes(self) -> list[Route]:
        """Return where the forms are sent to; whoever only looks there is led to the page."""
        return [
            Route(f"{PAGE_PATH}/{word}", self._endpoint(action), methods=["GET", "POST"])
            for word, action in self._actions.items()
        ]

    def _endpoint(self, action: Action) -> Callable[[Request], Awaitable[Response]]:
        async def act(request: Request) -> Response:
            token = request.path_params["token"]
            name = self._deps.keyring.open_link(token)
            if name is None:
                return self._deps.templates.unknown()
            if request.method != "POST":
                return RedirectResponse(page_location(token), SEE_OTHER)
            if not is_from_here(request):
                return self._deps.templates.foreign()
            try:
                return await self._act(action, name, token, await read_form(request))
            except self._deps.trouble:
                return self._deps.templates.busy()

        return act

    async def _act(self, action: Action, name: Name, token: str, form: Form) -> Response:
        sent = form.get("form", "")
        if not self._deps.keyring.is_form_token(sent, *name, self._deps.clock.now()):
            return await self._pages.of_order(name, token, 403, stale=True)
        wrong = await action(name, form)
        if wrong is not None:
            return await self._pages.of_order(name, token, 422, wrong=wrong)
        return RedirectResponse(page_location(token, returning=True), SEE_OTHER)

    async def pay_by_card(self, name: Name, form: Form) -> WrongFields | None:
        """Charge the card in the form; in sandbox mode also one of the test cards by its name."""
        if not self._deps.offer.card_rail:
            return None  # a live rail never sees a card on our page (ruling 15); the page says how to pay
        card = read_card(_with_test_card(form))
        if isinstance(card, WrongFields):
            return card
        view = await self._deps.reader.order(*name, None)
        if view is None or not allows(view, CARD_METHOD):
            return None
        account_id, order_id = name
        transaction = transaction_id(account_id, self._deps.ids.uuid())
        command = BeginAttempt(
            **self._command(name),
            name=order_id,
            transaction_id=transaction,
            card_masked=card.masked,
            card_brand=card.brand,
            call_until=self._deps.card_payments.call_until(),
            max_attempts=self._deps.offer.limits.max_attempts,
        )
        back = self._deps.return_url(account_id, transaction)
        await self._deps.card_payments.charge(command, card, back, NO_REPLY)
        return None

    async def confirm(self, name: Name, form: Form) -> WrongFields | None:
        """Go on with the one-time password of the attempt that the form was made for."""
        otp = form.get("otp", "").strip()
        if not 0 < len(otp) <= _MOST_OTP_CHARACTERS:
            return _NO_OTP
        command = SubmitOtp(
            **self._command(name),
            name=name[1],
            transaction_id=form.get("attempt", ""),
            call_until=self._deps.card_payments.call_until(),
        )
        await self._deps.card_payments.confirm(command, otp, NO_REPLY)
        return None

    async def resend_otp(self, name: Name, _form: Form) -> WrongFields | None:
        """Send the one-time password again."""
        most = self._deps.offer.limits.max_otp_sends
        command = ResendOtp(**self._command(name), name=name[1], max_otp_sends=most)
        await self._deps.card_payments.resend_otp(command, NO_REPLY)
        return None

    async def leave(self, name: Name, form: Form) -> WrongFields | None:
        """Give an attempt of this order up, so that the payer can choose anew."""
        transaction = form.get("attempt", "")
        view = await self._deps.reader.order(*name, None)
        if view is not None and view.order.attempt(transaction) is not None:
            command = CancelAttempt(**self._command(name), transaction_id=transaction)
            await self._deps.engine.submit(command)
        return None

    async def give_account(self, name: Name, _form: Form) -> WrongFields | None:
        """Reserve the order's account number; asked again it is the same one."""
        view = await self._deps.reader.order(*name, None)
        if self._deps.offer.transfers and view is not None and allows(view, TRANSFER_METHOD):
            with contextlib.suppress(Refusal):  # the order has ended, as its page says
                await self._deps.transfers.account(view.order)
        return None

    async def let_arrive(self, name: Name, form: Form) -> WrongFields | None:
        """Let one or two made-up transfers arrive at the order's account, in sandbox mode."""
        view = await self._deps.reader.order(*name, None)
        account = await self._deps.threads.read(self._deps.threads.store.transfers.transfer_account, *name)
        if view is None or account is None or form.get("arrival") not in set(Arrival):
            return None
        rest = money_of(view.order).rest or view.order.amount
        for amount in Arrival(form["arrival"]).amounts(rest):
            await self._deps.transfers.advise(self._notice(view, account.account_number, amount))
        return None

    def _notice(self, view: OrderView, account_number: str, amount: int) -> TransferNotice:
        return TransferNotice(
            rail=self._deps.offer.bank.sandbox_rail,
            session_id=self._deps.ids.uuid(),
            account_number=account_number,
            amount=amount,
            currency=view.order.currency,
            sender=SANDBOX_SENDER,
            transferred_at=None,
            narration=view.order.reference,
        )

    def _command(self, name: Name) -> dict[str, Any]:
        return {"account_id": name[0], "command_id": self._deps.ids.uuid(), "actor": PAYER}


def _with_test_card(form: Form) -> Form:
    """Return the form as if the payer had typed the test card that was chosen in it."""
    for card in TEST_CARDS:
        if card.name == form.get("test_card"):
            return form | {"number": card.number, "expiry": card.expiry, "cvv": card.cvv, "pin": card.pin}
    return form
