"""Whatever a database can keep as a time is shown: by every view, list, page, command, export and webhook."""

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, example, settings
from hypothesis import given as for_all
from hypothesis import strategies as st
from sqlalchemy import BigInteger

from api.hearing import listening
from cli.program import run
from databases import POSTGRES, SQLITE, NewDatabase, writing
from opentill.api.operations import OPERATIONS
from opentill.store.schema import metadata
from payer.shopping import STATES, Bought, Shopping
from polling import until
from server import Server, client, signed_in

LEAST, MOST = -(2**63), 2**63 - 1
BEFORE_THE_FIRST_YEAR = -62_135_600_400_000
AFTER_THE_LAST_YEAR = 253_402_351_199_000
NOT_SHOWN: Final = {"installation", "tokens", "idempotency_keys", "card_passwords", "leases"}
"""Tables of which nobody is shown anything: what they say of times is used, and not rendered."""
NOBODY: Final = "http://127.0.0.1:9/"

Times = tuple[int, int]


@pytest.fixture(scope="module", params=[SQLITE, POSTGRES], ids=str)
def database_kind(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture(scope="module")
def server(new_database: NewDatabase, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server whose workers never come by, so that what was stored stays as it is."""
    calm: dict[str, Any] = {
        "sweep_interval_seconds": 3600,
        "purge_interval_seconds": 3600,
        "card_timeout_seconds": 0.5,
    }
    with Server(tmp_path_factory.mktemp("values"), database_url=new_database(), **calm) as running:
        yield running


@pytest.fixture(scope="module")
def shopping(server: Server) -> Iterator[Shopping]:
    with client(server) as http:
        yield Shopping(http)


@pytest.fixture(scope="module")
def orders(server: Server, shopping: Shopping) -> list[Bought]:
    """An order in every state that a payer can meet, saved cards, deliveries, and money that is nobody's."""
    events = ["payment_success", "payment_failed", "payment_reversal", "order_cancelled", "order_expired"]
    shopping.post("/v1/opentill/webhook-endpoints", {"url": NOBODY, "events": events})
    made = [state(shopping) for state in STATES]
    saved = shopping.order()
    card = {
        "order": {
            "orderReference": "tokenized",
            "amount": "5.00",
            "currency": "NGN",
            "customerEmail": "ada@example.com",
        },
        "tokenizeCard": True,
    }
    shopping.post("/v1/checkout/order", card)
    Bought(shopping, "tokenized", "", "").pay()
    held = shopping.order(lateMoney="hold", expiresInSeconds=1)
    shopping.http.get(f"/v1/checkout/get-checkout-kta/{held.reference}")
    shopping.post("/sandbox/clock", {"advanceSeconds": 60})
    shopping.post("/sandbox/transfers", {"orderReference": held.reference, "amount": "1.00"})
    shopping.post("/sandbox/transfers", {"accountNumber": "0000000000", "amount": "1.00"})
    return [*made, saved, held]


def poison(server: Server, times: Times) -> None:
    """Write the times into every column of a time that anybody is shown, now one, now the other."""
    with writing(server.place) as run:
        for number, table in enumerate(metadata.sorted_tables):
            names = [
                each.name
                for each in table.columns
                if isinstance(each.type, BigInteger) and re.fullmatch(r"at|\w+_at", each.name)
            ]
            if names and table.name not in NOT_SHOWN:
                at = times[number % 2]
                sets = ", ".join(
                    f"{each} = CASE WHEN {each} IS NULL THEN NULL ELSE {at} END" for each in names
                )
                run(f"UPDATE {table.name} SET {sets}")


# --- the API ----------------------------------------------------------------------------------------

OTHERWISE: Final = {"/v1/opentill/events/stream", "/v1/checkout/user-card/{orderReference}"}
"""The stream is heard below; the other GET sends a password to a shopper, and shows nothing."""


def paths(server: Server, bought: Bought, sessions: list[str]) -> Iterator[str]:
    """The address of each operation by GET, about this order where it is about one."""
    sub_account = server.credentials.get("OPENTILL_SUB_ACCOUNT_ID", "none")
    query = {
        "/v1/checkout/transaction": f"?idType=orderReference&id={bought.reference}",
        "/v1/transactions/accounts/single": f"?orderReference={bought.reference}",
        "/v1/transactions/accounts/{subAccountId}/single": f"?orderReference={bought.reference}",
        "/v1/opentill/events": "?limit=500",
    }
    for operation in OPERATIONS:
        if operation.method == "GET" and operation.path not in OTHERWISE:
            path = operation.path.replace("{orderReference}", bought.reference)
            path = path.replace("{sessionId}", sessions[0] if sessions else "none")
            path = path.replace("{subAccountId}", sub_account)
            assert "{" not in path, f"give {operation.path} its parameters here"
            yield path + query.get(operation.path, "")


@for_all(st.tuples(st.integers(LEAST, MOST), st.integers(LEAST, MOST)))
@example((BEFORE_THE_FIRST_YEAR, AFTER_THE_LAST_YEAR))
@example((AFTER_THE_LAST_YEAR, BEFORE_THE_FIRST_YEAR))
@example((LEAST, MOST))
@example((MOST, LEAST))
@example((0, -1))
@settings(max_examples=3, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_stored_time_can_be_shown(
    server: Server, shopping: Shopping, orders: list[Bought], times: Times
) -> None:
    """With any times at all in every row, no answer, page, feed or stream is a fault of the server's."""
    poison(server, times)
    http = shopping.http
    for bought in orders:
        answer = http.get(f"/v1/opentill/orders/{bought.reference}")
        assert answer.status_code == 200, (bought.reference, answer.text)
        sessions = [each["sessionId"] for each in answer.json()["data"]["credits"]]
        for path in paths(server, bought, sessions):
            assert http.get(path).status_code in {200, 400, 404}, path
        assert http.get(bought.link).status_code == 200, bought.reference
    for path in ("/v1/opentill/orders", "/v1/transactions/accounts"):
        assert http.get(path, headers=signed_in(server)).json()["data"]["results"], path
    assert http.get("/v1/checkout/tokenized-card-data").json()["data"]["tokenizedCardDataList"]
    asked = {"coreUserId": server.credentials["OPENTILL_ACCOUNT_ID"]}
    for path in ("/v1/webhooks/event-logs", "/v1/webhooks/events", "/v1/transactions/accounts"):
        assert http.post(path, json=asked).json()["data"]["results"], path
    first = http.get("/v1/opentill/events?limit=1").json()["data"]
    with listening(http, f"?after={first['cursor']}") as stream:
        assert len(stream.hear(len(orders))) == len(orders)


# --- webhooks ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("at", [MOST, AFTER_THE_LAST_YEAR])
def test_an_order_with_any_time_is_told_to_its_merchant(
    server: Server, shopping: Shopping, orders: list[Bought], at: int
) -> None:
    """What happens to such an order happens at its own time, and its webhook is written all the same."""
    bought = shopping.order()
    poison(server, (at, at))
    bought.cancel()
    asked = {
        "coreUserId": server.credentials["OPENTILL_ACCOUNT_ID"],
        "eventType": "order_cancelled",
        "limit": 100,
    }
    full = shopping.http.get(f"/v1/opentill/orders/{bought.reference}").json()["data"]
    (cancelled,) = [each["id"] for each in full["timeline"] if each["type"] == "order_cancelled"]

    def told() -> bool:
        logs = shopping.http.post("/v1/webhooks/event-logs", json=asked).json()["data"]["results"]
        return cancelled in [each["requestId"] for each in logs]

    until(told, "the cancel is told")
    assert orders


# --- the command line -------------------------------------------------------------------------------

COMMANDS: Final = [
    ["orders", "list"],
    ["orders", "show", "<order>"],
    ["explain", "<order>"],
    ["credits", "list"],
    ["returns", "list"],
    ["webhooks", "list"],
    ["webhooks", "show", "<delivery>"],
    ["clock", "show"],
    ["doctor"],
]
"""Commands that show what is stored, and can do it as JSON."""
PLAIN: Final = [
    ["merchants", "list"],
    ["accounts", "list"],
    ["clients", "list"],
    ["ledger", "check"],
    ["ledger", "export", "--beancount"],
]
"""And those that can not."""


@pytest.mark.parametrize(
    ("times", "commands"),
    [
        ((BEFORE_THE_FIRST_YEAR, MOST), [*COMMANDS, *PLAIN]),
        ((AFTER_THE_LAST_YEAR, LEAST), [[*each, "--json"] for each in COMMANDS]),
    ],
    ids=["for people", "for programs"],
)
def test_every_command_shows_every_stored_time(
    server: Server, shopping: Shopping, orders: list[Bought], times: Times, commands: list[list[str]]
) -> None:
    """No command ends with a traceback; one that examines may find fault with such times, and says so."""
    poison(server, times)
    asked = {"coreUserId": server.credentials["OPENTILL_ACCOUNT_ID"], "limit": 1}
    (delivery,) = shopping.http.post("/v1/webhooks/event-logs", json=asked).json()["data"]["results"]
    names = {"<order>": orders[-1].reference, "<delivery>": delivery["hookRequestId"]}
    chosen = [[names.get(word, word) for word in command] for command in commands]
    where = ["--data", str(server.data)]
    database = [] if server.place is server.data else ["--database", str(server.place)]

    def done(command: list[str]) -> tuple[list[str], int, str]:
        asks_server = command[0] in {"orders", "explain"}
        answer = run(*command, *where, *([] if asks_server else database))
        return command, answer.returncode, answer.stderr

    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(done, chosen))
    examine = {"doctor", "ledger"}
    assert [(c, code, err) for c, code, err in found if "Traceback" in err or "error" in err.lower()] == []
    assert [(c, err) for c, code, err in found if code != 0 and not (c[0] in examine and code == 1)] == []
