"""What a merchant wants of orders that say nothing themselves, over HTTP."""

from collections.abc import Iterator

import httpx2
import pytest

from databases import NewDatabase, reading
from server import Server, client, new_merchant, operate, signed_in

TERMS = {"amount": "100.00", "currency": "NGN", "customerEmail": "payer@example.com"}


@pytest.fixture(scope="module")
def server(new_database: NewDatabase, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(tmp_path_factory.mktemp("defaults"), database_url=new_database()) as running:
        yield running


@pytest.fixture(scope="module")
def shop(server: Server) -> Iterator[httpx2.Client]:
    """The program of a merchant whose orders expire after half an hour and hold late money."""
    made = new_merchant(server)
    account = made["OPENTILL_ACCOUNT_ID"]
    operate(server, "merchants", "set", account, "--expires-in", "30m", "--late-money", "hold")
    with client(server, headers=signed_in(server, made)) as http:
        yield http


def made(server: Server, shop: httpx2.Client, reference: str, **more: object) -> dict[str, object]:
    """The order as it stands in the database."""
    order = {**TERMS, "orderReference": reference, **more}
    assert shop.post("/v1/checkout/order", json={"order": order}).status_code == 200
    with reading(server.place) as run:
        asked = "SELECT due_at - created_at AS due_in, due_action, late_money FROM orders WHERE reference = ?"
        return run(asked, reference)[0]


def test_an_order_that_says_nothing_goes_by_its_merchant(server: Server, shop: httpx2.Client) -> None:
    """It falls due half an hour after it was made, and late money is held."""
    order = made(server, shop, "silent")
    assert 1_799_000 <= int(str(order["due_in"])) <= 1_800_000
    assert (order["due_action"], order["late_money"]) == ("expire", "hold")


@pytest.mark.parametrize(
    ("member", "value", "action"),
    [
        ("expiresInSeconds", 60, "expire"),
        ("expiresAt", "2100-01-01T00:00:00Z", "expire"),
        ("cancelAt", "2100-01-01T00:00:00Z", "cancel"),
    ],
)
def test_what_an_order_says_counts(
    server: Server, shop: httpx2.Client, member: str, value: object, action: str
) -> None:
    """An order's own time and policy stand over its merchant's."""
    order = made(server, shop, f"says {member}", **{member: value, "lateMoney": "accept"})
    assert not 1_799_000 <= int(str(order["due_in"])) <= 1_800_000
    assert (order["due_action"], order["late_money"]) == (action, "accept")


def test_another_merchants_orders_do_not_follow(server: Server, shop: httpx2.Client) -> None:
    """An order never falls due where nothing was set, and late money is returned."""
    with client(server) as default_merchant:
        order = made(server, default_merchant, "of another")
    assert (order["due_in"], order["late_money"]) == (None, "return")
