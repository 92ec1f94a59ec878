"""Factories on real stores: orders, tokens, changes in them, a clock that is told the time, counting ids."""

import itertools
import uuid
from collections.abc import Sequence

from databases import Place, url_of
from opentill.domain.commands import Actor, ActorKind, CancelOrder, CreateOrder
from opentill.domain.decisions import create, decide
from opentill.domain.order import Order, Terms
from opentill.domain.transition import Change
from opentill.store.accounts.contract import IssuedToken, Mode
from opentill.store.databases import opening
from opentill.store.interface import Store
from opentill.store.orders.contract import Name, TokenId

ACCOUNT = "11111111-1111-4111-8111-111111111111"
OTHER = "22222222-2222-4222-8222-222222222222"
NOW = 1_800_000_000_000
ACTOR = Actor(ActorKind.API_KEY, "client-1")
TOKEN = TokenId(ACCOUNT, "jti-1")


class ToldClock:
    """A clock that shows what it was told; waiting moves it instead of the wall clock.

    ``step`` sets it, as somebody sets the clock of a machine: of that a monotonic clock knows nothing.
    """

    def __init__(self, now: int = NOW):
        self.time = now
        self.step = 0

    def now(self) -> int:
        return self.time + self.step

    def monotonic(self) -> int:
        return self.time

    def pause(self, milliseconds: int) -> None:
        self.time += milliseconds


class CountingIds:
    """UUIDs far enough apart that the event ids derived from them never meet."""

    def __init__(self, start: int = 1):
        self._numbers = itertools.count(start)

    def uuid(self) -> str:
        above, low = divmod(next(self._numbers), 1 << 12)  # between them stands the version
        return str(uuid.UUID(int=above << 80 | low << 64, version=4))


IDS = CountingIds(start=1 << 40)


def open_store(place: Place) -> Store:
    """The store in this place, installed as a sandbox."""
    store = opening.open_store(url_of(place))
    store.accounts.install(Mode.SANDBOX, "key-fingerprint", NOW)
    return store


def new_order(reference: str, account_id: str = ACCOUNT, **changes: object) -> CreateOrder:
    asked: dict[str, object] = {
        "amount": 10_000_50,
        "currency": "NGN",
        "terms": Terms(
            customer_email="payer@example.com",
            customer_id="customer-1",
            callback_url="https://shop.example/back",
            allowed_payment_methods=("Card", "Transfer"),
            metadata=(("tray", "Ọja ₦"),),
        ),
    }
    return CreateOrder(
        account_id=account_id,
        command_id=IDS.uuid(),
        actor=ACTOR,
        order_id=IDS.uuid(),
        reference=reference,
        **(asked | changes),  # type: ignore[arg-type]
    )


def cancel(name: str, account_id: str = ACCOUNT) -> CancelOrder:
    return CancelOrder(account_id=account_id, command_id=IDS.uuid(), actor=ACTOR, name=name)


def write(store: Store, changes: Sequence[Change]) -> None:
    """Commit these changes in one batch."""
    with store.batch() as batch:
        batch.write(changes)
        batch.commit()


def add_orders(store: Store, *references: str, account_id: str = ACCOUNT) -> list[Order]:
    """Create pending orders of these references."""
    changes = [create(new_order(reference, account_id), NOW) for reference in references]
    write(store, changes)
    return [change.after for change in changes]


def read(store: Store, *names: Name) -> list[Order | None]:
    """The orders of these names as a reader sees them, None where there is none."""
    with store.snapshot() as snapshot:
        found = snapshot.orders(names)
    return [found[name].order if name in found else None for name in names]


def cancelled(order: Order) -> Change:
    """The change that cancels this order."""
    return decide(order, cancel(order.reference, order.account_id), NOW + 1)


def add_token(store: Store, token: TokenId = TOKEN, refresh_hash: str = "refresh-1") -> None:
    """Issue this token for an hour, its refresh token for a day."""
    issued = IssuedToken(
        token.account_id, token.jti, "client-1", refresh_hash, NOW + 3_600_000, NOW + 86_400_000
    )
    store.accounts.add_token(issued)
