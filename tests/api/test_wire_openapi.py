from typing import Any

import pytest
from openapi_spec_validator import validate

from opentill.api.http.openapi import document
from opentill.api.operations import OPERATIONS

URL = "http://127.0.0.1:8480"


@pytest.mark.parametrize("sandbox", [True, False])
def test_the_description_is_valid_openapi(sandbox: bool) -> None:
    """The document made from the route table is valid OpenAPI 3.1 in both modes."""
    validate(document(OPERATIONS, URL, sandbox=sandbox))


def test_every_operation_is_described_once() -> None:
    """Each row of the route table stands in the document under its own id, and nothing else does."""
    described = operations_of(document(OPERATIONS, URL, sandbox=False))
    assert set(described) == {each.name for each in OPERATIONS if not each.sandbox_only}
    described = operations_of(document(OPERATIONS, URL, sandbox=True))
    assert {each.name for each in OPERATIONS} <= set(described)


def test_the_alias_is_described_in_the_sandbox_only() -> None:
    """/sandbox/checkout/* is the same as /v1/checkout/*, and exists in sandbox mode alone."""
    sandbox = document(OPERATIONS, URL, sandbox=True)["paths"]
    live = document(OPERATIONS, URL, sandbox=False)["paths"]
    aliases = {path for path in sandbox if path.startswith("/sandbox/checkout/")}
    assert {path.replace("/sandbox/", "/v1/") for path in aliases} == {
        path for path in live if path.startswith("/v1/checkout/")
    }
    assert not any(path.startswith("/sandbox") for path in live)


def test_the_document_tells_the_limits_of_the_decoders() -> None:
    """The schemas hold what the decoders require and bound."""
    schemas = document(OPERATIONS, URL, sandbox=True)["components"]["schemas"]
    order = schemas["OrderRequest"]
    assert set(order["required"]) == {"amount", "currency", "customerEmail"}
    assert order["properties"]["amount"]["type"] == ["number", "string"]
    reference = schemas["CancelRequest"]["properties"]["orderReference"]
    assert (reference["type"], reference["minLength"], reference["maxLength"]) == ("string", 1, 255)


def test_tokens_are_optional_only_in_the_sandbox() -> None:
    """Live mode always requires the token, on cancel too (ruling 6)."""
    cancel = {
        sandbox: operations_of(document(OPERATIONS, URL, sandbox=sandbox))["cancelOrder"]["security"]
        for sandbox in (True, False)
    }
    assert cancel == {True: [{"accessToken": []}, {}], False: [{"accessToken": []}]}


def test_calls_take_an_idempotency_key_where_the_contract_says_so() -> None:
    """No GET takes one; of all others only questions and those that contract 1.2 names take none."""
    keyless = {each.name for each in OPERATIONS if each.method != "GET" and not each.mutating}
    tokens = {"issueToken", "refreshToken", "revokeToken"}
    questions = {
        "confirmReceipt",
        "filterTransactions",
        "filterSubAccountTransactions",
        "listWebhookLogs",
        "listWebhookSubscriptions",
    }
    assert keyless == tokens | questions | {"adviseCredit", "switchRail"}
    assert not [each.name for each in OPERATIONS if each.method == "GET" and each.mutating]


def operations_of(described: dict[str, Any]) -> dict[str, Any]:
    return {
        operation["operationId"]: operation
        for path in described["paths"].values()
        for operation in path.values()
    }
