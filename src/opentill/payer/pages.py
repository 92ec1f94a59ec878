"""The page behind a ``checkoutLink``: what an order is, and the truth about where it stands.

The link's token finds its order by key and carries a MAC, so one order's page can never show another.
"""

from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import Response

from opentill.clock import Clock, Ids
from opentill.engine.engine import Engine
from opentill.engine.errors import EngineError
from opentill.engine.reader import Reader
from opentill.engine.threads import StoreThreads
from opentill.keys.keyring import Keyring
from opentill.payer.forms import TEST_CARDS, TEST_PASSWORDS, WrongFields
from opentill.payer.rendering import Templates
from opentill.payer.view import Offer, PageParts, PayerPage, page_of
from opentill.rails.card_payments import CardPaymentService, ReturnUrl
from opentill.rails.transfer_payments import NoAccountFree, TransferPaymentService
from opentill.store.accounts.contract import Merchant
from opentill.store.errors import StoreError
from opentill.store.interface import Store
from opentill.store.orders.contract import Facts, Name, OrderView, Snapshot
from opentill.store.transfers.contract import TransferAccount

PAGE_PATH: Final = "/checkout/{token}"
RETURNING: Final = "return=auto"
"""Query of the page of a payer who has just paid, and wants to get back to the shop."""

_NOTHING_WRONG: Final = WrongFields({})


@dataclass(frozen=True, kw_only=True)
class PayerDeps:
    """The parts that the payer's pages stand on."""

    engine: Engine
    reader: Reader
    threads: StoreThreads
    card_payments: CardPaymentService
    transfers: TransferPaymentService
    keyring: Keyring
    clock: Clock
    ids: Ids
    templates: Templates
    offer: Offer
    return_url: ReturnUrl
    public_url: str

    @property
    def trouble(self) -> tuple[type[Exception], ...]:
        """Return what is raised when the server can not tell now."""
        return (EngineError, StoreError, NoAccountFree)


def page_location(token: str, *, returning: bool = False) -> str:
    """Return where the page of this link is; ``returning`` for a payer who has just acted on it."""
    return PAGE_PATH.format(token=token) + (f"?{RETURNING}" if returning else "")


class PayerPages:
    """The pages that a payer's browser is shown of an order."""

    def __init__(self, deps: PayerDeps):
        self._deps = deps

    async def show(self, request: Request) -> Response:
        """Return the page as it is now."""
        token = request.path_params["token"]
        name = self._deps.keyring.open_link(token)
        if name is None:
            return self._deps.templates.unknown()
        try:
            return await self.of_order(name, token, returning=request.url.query == RETURNING)
        except self._deps.trouble:
            return self._deps.templates.busy()

    async def of_order(
        self,
        name: Name,
        token: str,
        status: int = 200,
        *,
        returning: bool = False,
        stale: bool = False,
        wrong: WrongFields = _NOTHING_WRONG,
    ) -> Response:
        """Return the page of an order; raises what reading raises.

        ``stale``: the form that was sent is too old. ``wrong``: what has to be corrected in it.
        """
        page = await self._page(name, token)
        if page is None:
            return self._deps.templates.unknown()
        values = {
            "page": page,
            "token": token,
            "form_token": self._deps.keyring.form_token(*name, self._deps.clock.now()),
            "returning": returning and page.returns and page.shop_location is not None,
            "stale": stale,
            "wrong": wrong.sentences,
            "test_cards": TEST_CARDS,
            "test_passwords": TEST_PASSWORDS,
        }
        return self._deps.templates.page("order.html", values, status, forms_to=_forms_to(page))

    async def _page(self, name: Name, token: str) -> PayerPage | None:
        def ask(snapshot: Snapshot) -> tuple[OrderView | None, Facts]:
            return snapshot.orders([name]).get(name), snapshot.facts(())

        view, facts = await self._deps.reader.ask(ask, None)
        if view is None:
            return None
        merchant, account = await self._deps.threads.read(_beside, self._deps.threads.store, name)
        seen = PageParts(
            view=view,
            clock_offset=facts.clock_offset,
            merchant=merchant,
            account=account,
            page_url=self._deps.public_url + page_location(token),
        )
        return page_of(seen, facts.certain(self._deps.clock.now()), self._deps.offer)


def _beside(store: Store, name: Name) -> tuple[Merchant | None, TransferAccount | None]:
    """Return what stands beside an order: whose it is, and its account number."""
    return store.accounts.merchant(name[0]), store.transfers.transfer_account(*name)


def _forms_to(page: PayerPage) -> str:
    """Return where forms lead: our own to us, a challenge's to the payer's bank, which leads on."""
    bank = urlsplit(page.waiting.acs_url) if page.waiting else None
    return f"'self' {bank.scheme}://{bank.netloc}" if bank and bank.netloc else "'self'"
