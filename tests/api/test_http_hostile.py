"""What a malicious or broken client may say in well-formed HTTP: each gets a 4xx and changes nothing."""

import json
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest

from api.golden.state import cancel, create, given_orders, rows, unchanged
from server import Server, client, new_merchant, signed_in

JSON = {"Content-Type": "application/json"}
ORDER = "/v1/checkout/order"
CANCEL = f"{ORDER}/cancel"
CARD = "/v1/checkout/checkout-card-detail"
OTP = "/v1/checkout/checkout-card-otp"
ISSUE = "/v1/auth/token/issue"
HOOKS = "/v1/opentill/webhook-endpoints"
REPLAY = "/v1/webhooks/replay"
LIST = "/v1/transactions/accounts"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(tmp_path_factory.mktemp("hostile")) as running:
        given_orders(running)
        yield running


@pytest.fixture(scope="module")
def http(server: Server) -> Iterator[httpx2.Client]:
    with client(server) as connected:
        yield connected


def refused(answer: httpx2.Response) -> dict[str, Any]:
    """The body of a refusal in the envelope; any other answer fails the test."""
    assert 400 <= answer.status_code < 500, answer.text
    body: dict[str, Any] = answer.json()
    assert list(body) == ["code", "description", "data"]
    assert body["code"] != "00"
    assert body["data"] is None
    assert {"x-rate-limit-limit", "x-rate-limit-remaining", "x-rate-limit-window"} <= set(answer.headers)
    return body


# --- bodies ---------------------------------------------------------------------------------------

VICTIM = b'{"orderReference":"victim",'
BODIES = {
    "nothing": b"",
    "half": b'{"orderReference":"victim"',
    "rest": b'{"orderReference":"victim"} {}',
    "comment": b'{"orderReference":"victim" /* x */}',
    "single quotes": b"{'orderReference':'victim'}",
    "byte order mark": b'\xef\xbb\xbf{"orderReference":"victim"}',
    "UTF-16": '{"orderReference":"victim"}'.encode("utf-16"),
    "invalid UTF-8": b'{"orderReference":"victim\xff"}',
    "invalid UTF-8 in what is ignored": VICTIM + b'"x":"\xc3\x28"}',
    "overlong UTF-8": b'{"orderReference":"\xc0\xae"}',
    "lone surrogate": rb'{"orderReference":"\ud800"}',
    "lone surrogate in what is ignored": VICTIM + rb'"x":"\udfff"}',
    "lone surrogate in a key": VICTIM + rb'"\ud800":1}',
    "NUL": rb'{"orderReference":"victim\u0000"}',
    "NUL in what is ignored": VICTIM + rb'"x":{"y":["\u0000"]}}',
    "NUL in a key": VICTIM + rb'"\u0000":1}',
    "raw control character": b'{"orderReference":"victim\x01"}',
    "escaped control character": rb'{"orderReference":"victim\u001b"}',
    "duplicate key": b'{"orderReference":"none","orderReference":"victim"}',
    "duplicate key, spelt otherwise": rb'{"orderReference":"none","orderReferenc\u0065":"victim"}',
    "duplicate key in what is ignored": VICTIM + b'"x":[{"a":1,"a":1}]}',
    "NaN": b'{"orderReference":NaN}',
    "NaN in what is ignored": VICTIM + b'"x":NaN}',
    "Infinity in what is ignored": VICTIM + b'"x":[-Infinity]}',
    "a number as reference": b'{"orderReference":1234567890}',
    "a huge number as reference": b'{"orderReference":' + b"9" * 5000 + b"}",
    "a list as reference": b'{"orderReference":["victim"]}',
    "an object as reference": b'{"orderReference":{"$ne":null}}',
    "deep lists": b"[" * 10_000 + b"]" * 10_000,
    "deep lists in what is ignored": VICTIM + b'"x":' + b"[" * 10_000 + b"]" * 10_000 + b"}",
    "deep objects, never closed": b'{"a":' * 10_000,
    "over-long": b'{"orderReference":"' + b"v" * 256 + b'"}',
    "a megabyte of text": b'{"orderReference":"' + b"v" * 1_048_576 + b'"}',
    "a megabyte of spaces": VICTIM + b" " * 1_048_576 + b'"x":1}',
}


@pytest.mark.parametrize("path", [CANCEL, ORDER, CARD, OTP, ISSUE, HOOKS, REPLAY])
@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES.keys())
def test_a_hostile_body_is_refused(server: Server, http: httpx2.Client, path: str, body: bytes) -> None:
    """A body that is not strictly the JSON that is asked for is 400 02, and no row changes."""
    with unchanged(server):
        answer = http.post(path, content=body, headers=JSON | {"accountId": account(server)})
        assert refused(answer)["code"] == "02"


@pytest.mark.parametrize("name", sorted(BODIES.keys() - {"nothing", "escaped control character"}))
def test_a_hostile_filter_is_refused(server: Server, http: httpx2.Client, name: str) -> None:
    """The lists, which may have no body, are as strict with one they get."""
    with unchanged(server):
        assert refused(http.post(LIST, content=BODIES[name], headers=JSON))["code"] == "02"


def test_an_endless_body_is_refused_before_it_ends(server: Server, http: httpx2.Client) -> None:
    """A body without a declared length is cut off at the limit, not gathered."""

    def megabytes() -> Iterator[bytes]:
        for _ in range(16):
            yield b" " * 65_536

    with unchanged(server):
        assert refused(http.post(CANCEL, content=megabytes(), headers=JSON))["code"] == "02"


def account(server: Server) -> str:
    return server.credentials["OPENTILL_ACCOUNT_ID"]


AMOUNTS = (
    "-1",
    "0",
    "-0",
    "0.001",
    "1e2",
    "1E+2",
    "1.0e0",
    "100.000",
    "9" * 31,
    "9" * 5000,
    "1e99999",
    "10000000000000.01",
)
AMOUNT_TEXTS = (
    "",
    " ",
    "-1",
    "+1",
    "0",
    "1e2",
    "0x10",
    "1_000",
    "1,00",
    "\u0661",
    "\uff11",
    "1.",
    ".5",
    "NaN",
    "inf",
    "1\n",
)


@pytest.mark.parametrize("amount", [*AMOUNTS, *map(json.dumps, AMOUNT_TEXTS)], ids=lambda text: text[:12])
def test_a_hostile_amount_is_refused(server: Server, http: httpx2.Client, amount: str) -> None:
    """Money that is not a plain, positive number of the currency's minor units opens no order."""
    body = f'{{"order":{{"amount":{amount},"currency":"NGN","customerEmail":"a@b.example"}}}}'
    with unchanged(server):
        answer = http.post(ORDER, content=body.encode(), headers=JSON)
        assert refused(answer)["description"].startswith("amount ")


FIELDS: dict[str, list[object]] = {
    "currency": ["", "XXX", "ngn", "NGN ", "\u0000", 1, None, ["NGN"]],
    "customerEmail": ["", " \t", "a\u0000b", "a\nb", "a" * 256, 1, None],
    "callbackUrl": [
        "javascript:alert(1)",
        "JaVaScRiPt:alert(1)",
        "java\tscript:alert(1)",
        "data:text/html,x",
        "file:///etc/passwd",
        "//shop.example",
        "http:shop.example",
        "http:///x",
        "http://[::1",
        "http://a:b",
        "https:\\\\shop.example",
        "http://a b",
        " http://a",
        "http://a\u0000",
        "vbscript:x",
        "h" * 2049,
        1,
    ],
    "orderReference": ["", "\u2028 \u3000", "\u0085", "\u007f", "a\u0000", 0, 1.5, False, {}],
    "accountId": ["' OR 1=1 --", "../..", 1],
    "splitRequest": [{"splitType": "PERCENTAGE", "splitList": [{"accountId": "a", "value": "NaN"}]}, [], "x"],
    "orderMetaData": [{"a": 1}, {"a\u0000": "b"}, {"a": "b\u0000"}, {"a" * 256: "b"}, {"a": "b" * 1001}, []],
    "expiresInSeconds": [-1, 0, 1.5, 10**30, "1", True],
    "expiresAt": ["0001-01-01T00:00:00+23:59", "tomorrow", 1, "2099-01-01T00:00:00"],
    "lateMoney": ["RETURN", "", 1],
}


@pytest.mark.parametrize(("field", "value"), [(f, v) for f, values in FIELDS.items() for v in values])
def test_a_hostile_field_is_refused(server: Server, http: httpx2.Client, field: str, value: object) -> None:
    """Each member of an order that is not what it must be is named, and opens no order."""
    with unchanged(server):
        assert refused(create(http, "hostile", **{field: value}))["code"] == "02"


# --- paths and queries ----------------------------------------------------------------------------

TARGETS = {
    "/v1/checkout/order/%00": 400,
    "/v1/checkout/order/victim%00": 400,
    "/v1/checkout/order/%FF": 400,
    "/v1/checkout/order/%ED%A0%80": 400,
    "/v1/checkout/order/%C0%AE": 400,
    "/v1/checkout/order/%20": 400,
    "/v1/checkout/order/victim%0D%0ASet-Cookie:%20a=b": 400,
    "/v1/checkout/order/" + "v" * 5000: 400,
    "/v1/checkout/order/vict%2569m": 404,
    "/v1/checkout/order/%zz": 404,
    "/v1/checkout/order/victim%20": 404,
    "/v1/checkout/order/VICTIM": 404,
    "/v1/checkout/order/..%2Fvictim": 404,
    "/v1/checkout/order/victim;a=b": 404,
    "/v1/checkout/order//victim": 404,
    "//v1/checkout/order/victim": 404,
    "/v1/checkout/order/victim/": 404,
    "/v1/checkout%2Forder/victim": 404,
    "/v1/%2e%2e/v1/checkout/order/victim": 404,
    "/" + "a/" * 2000: 404,
    "/v1/checkout/transaction?idType=ORDER_ID&id=%ED%A0%80": 400,
    "/v1/checkout/transaction?idType=ORDER_ID&id=victim&id=victim": 400,
    "/v1/checkout/transaction?" + "&".join(f"a{n}=1" for n in range(60)): 400,
    "/v1/transactions/accounts?cursor=%00": 400,
    "/v1/transactions/accounts?cursor=LTE6YQ==": 400,
    "/v1/transactions/accounts?limit=99999999999999999999": 400,
    "/v1/transactions/accounts?limit=%D9%A1": 400,
    "/v1/transactions/accounts?dateFrom=99999-01-01": 400,
    "/v1/opentill/events?after=%00": 400,
    "/v1/opentill/events?after=ZXZlbnQ6OTk5OTk5OTk5OTk5OTk5OTk5OTk=": 400,
    "/v1/opentill/events?type=" + "order_created," * 40: 400,
    "/v1/opentill/events?limit=1e3": 400,
    "/v1/opentill/events/stream?after=latest&after=latest": 400,
    "/v1/opentill/events/stream/": 404,
    "/v1/transactions/accounts/%2e%2e/single?orderReference=waiting": 404,
    "/v1/transactions/accounts/'%20OR%201=1%20--/single?orderReference=waiting": 404,
}


@pytest.mark.parametrize(("target", "status"), TARGETS.items(), ids=[t[:40] for t in TARGETS])
def test_a_hostile_target_is_refused(server: Server, target: str, status: int) -> None:
    """No spelling of a path or query finds what it does not name exactly, and none makes a fault."""
    with unchanged(server):
        answer = exact(server, target)
        assert answer.status_code == status
        refused(answer)


def exact(server: Server, target: str) -> httpx2.Response:
    """GET this very target, which a client would tidy up."""
    with client(server) as http:
        request = http.build_request("GET", server.url, extensions={"target": target.encode()})
        return http.send(request)


def test_an_encoded_slash_is_part_of_a_reference(server: Server, http: httpx2.Client) -> None:
    """GET .../order/a%2Fb finds the order "a/b"; encoded twice it names another one."""
    assert create(http, "a/b").status_code == 200
    assert exact(server, "/v1/checkout/order/a%2Fb").json()["data"]["order"]["orderReference"] == "a/b"
    assert exact(server, "/v1/checkout/order/a%252Fb").status_code == 404
    assert create(http, "a%2Fb").status_code == 200
    assert exact(server, "/v1/checkout/order/a%252Fb").json()["data"]["order"]["orderReference"] == "a%2Fb"


# --- other people's things ------------------------------------------------------------------------


def test_another_merchant_reaches_nothing(server: Server) -> None:
    """With another merchant's token every order, payment and account of ours is unknown, by any name."""
    theirs = new_merchant(server, "Mallory")
    with client(server) as http:
        order_id = http.get(f"{ORDER}/victim").json()["data"]["order"]["orderId"]
        paying = http.get(f"{LIST}/single?orderReference=waiting").json()["data"]
    with client(server, headers=signed_in(server, theirs)) as mallory, unchanged(server):
        for name in ("victim", order_id):
            assert refused(cancel(mallory, name))["code"] == "404"
            assert refused(mallory.get(f"{ORDER}/{name}"))["code"] == "404"
        body = {"otp": "9999", "orderReference": "waiting", "transactionId": paying["id"]}
        assert refused(mallory.post(OTP, json=body))["code"] == "404"
        for query in (f"transactionRef={paying['id']}", f"merchantTxRef={paying['merchantTxRef']}"):
            assert refused(mallory.get(f"{LIST}/single?{query}"))["code"] == "404"
        assert refused(mallory.post(f"{LIST}/{sub_account(server)}"))["code"] == "404"
        assert mallory.get(LIST).json()["data"] == {"results": [], "cursor": ""}
        assert refused(create(mallory, "x", accountId=sub_account(server)))["code"] == "02"
        assert refused(mallory.get(LIST, headers={"accountId": account(server)}))["code"] == "403"


def sub_account(server: Server) -> str:
    return server.credentials["OPENTILL_SUB_ACCOUNT_ID"]


def test_a_cursor_of_another_merchant_shows_nothing_of_theirs(server: Server, http: httpx2.Client) -> None:
    """A cursor is a place in time, never a key to another merchant's list."""
    create(http, "cursor")
    for _ in range(2):
        body = {
            "cardDetails": '{"cardNumber":"4","cardExpiryMonth":"1","cardExpiryYear":"30"}',
            "orderReference": "cursor",
        }
        assert http.post(CARD, json=body).status_code == 200
    cursor = http.get(f"{LIST}?limit=1").json()["data"]["cursor"]
    assert http.get(LIST, params={"cursor": cursor}).json()["data"]["results"]

    other = signed_in(server, new_merchant(server, "Curious"))
    answer = http.get(LIST, params={"cursor": cursor}, headers=other)

    assert answer.json()["data"] == {"results": [], "cursor": ""}


def test_nothing_hostile_was_kept(server: Server) -> None:
    """After all of the above the orders are those that were opened on purpose."""
    references = {row[2] for row in rows(server)["orders"]}
    assert {"victim", "waiting"} <= references
    assert "hostile" not in references
