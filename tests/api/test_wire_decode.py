import msgspec
import pytest

from opentill.api.http import decode
from opentill.api.nomba.card_details import CardDetails
from opentill.api.nomba.card_payments import CardRequest, OtpRequest
from opentill.api.nomba.checkout import CancelRequest
from opentill.api.nomba.creation import CreateRequest
from opentill.api.nomba.transactions import ListQuery, SingleQuery
from opentill.api.nomba.verification import CheckoutQuery
from opentill.api.wire import Rejected

CANCEL = msgspec.json.Decoder(CancelRequest)
CREATE = msgspec.json.Decoder(CreateRequest)
ORDER = b'"currency":"NGN","customerEmail":"a@b.c"'


def complaint_of(call: object) -> str:
    """The sentence of a Rejected, whose answer must be the envelope of a 400 with code 02."""
    assert callable(call)
    with pytest.raises(Rejected) as caught:
        call()
    answer = caught.value.answer
    assert (answer.status, answer.reason) == (400, "")
    body = msgspec.json.decode(answer.body)
    assert list(body) == ["code", "description", "data"]
    assert (body["code"], body["data"]) == ("02", None)
    return str(body["description"])


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b'{"orderReference":"a"} x',
        b'\xef\xbb\xbf{"orderReference":"a"}',
        b'{"orderReference":"\xff"}',
        b'{"orderReference":"a","x":"\xed\xa0\x80"}',
        b'{"orderReference":"\\ud800"}',
        b'{"orderReference":"a","x":"\\udc00"}',
        b'{"orderReference":"a\x01"}',
        b'{"orderReference":NaN}',
        b'{"orderReference":"a","x":Infinity}',
        b'{"orderReference":"a","x":-Infinity}',
        b"[" * 30_000,
        b'{"orderReference":"a","x":' + b"[" * 30_000 + b"]" * 30_000 + b"}",
        b'{"orderReference":"a","x":' + b'{"a":' * 10_000 + b"1" + b"}" * 10_000 + b"}",
    ],
)
def test_malformed_json_is_one_sentence(body: bytes) -> None:
    """Bytes that are no strict UTF-8 JSON of reasonable depth are refused, also in members nobody reads."""
    assert complaint_of(lambda: decode.decode(CANCEL, body)) == "body is not valid JSON"


@pytest.mark.parametrize(
    "body",
    [
        b'{"orderReference":"a","orderReference":"b"}',
        b'{"orderReference":"a","\\u006frderReference":"b"}',
        b'{"orderReference":"a","x":{"y":1,"y":2}}',
    ],
)
def test_a_duplicate_key_is_refused(body: bytes) -> None:
    """No object may name a member twice, spelled the same or escaped, read by us or not."""
    assert complaint_of(lambda: decode.decode(CANCEL, body)) == "body has a duplicate key"


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (b"{}", "orderReference can not be null"),
        (b'{"orderReference":null}', "orderReference can not be null"),
        (b'{"orderReference":1}', "orderReference must be a string"),
        (b'{"orderReference":1.5}', "orderReference must be a string"),
        (b'{"orderReference":["a"]}', "orderReference must be a string"),
        (b"[]", "body must be an object"),
        (b'"a"', "body must be an object"),
        (b'{"orderReference":"a\\u0000"}', "orderReference can not contain control characters"),
        (b'{"orderReference":"a","x":[{"why":"\\u0000"}]}', "why can not contain control characters"),
        (b'{"orderReference":"a","\\u0000":1}', "body can not contain control characters"),
    ],
)
def test_a_wrong_member_is_named(body: bytes, sentence: str) -> None:
    """The sentence names the member that is missing, of the wrong type, or holds a NUL."""
    assert complaint_of(lambda: decode.decode(CANCEL, body)) == sentence


def test_an_escaped_backslash_before_u0000_is_no_nul() -> None:
    """Only a real NUL is refused, not the six characters that spell one."""
    body = b'{"orderReference":"a\\\\u0000"}'
    assert decode.decode(CANCEL, body).order_reference == "a\\u0000"


def test_unknown_members_are_ignored() -> None:
    """Extra members change nothing, whatever they hold (ruling 4)."""
    body = b'{"z":[1,{"orderReference":2}],"orderReference":"a","n":' + b"9" * 6000 + b"}"
    assert decode.decode(CANCEL, body).order_reference == "a"


@pytest.mark.parametrize(
    ("member", "sentence"),
    [
        (b'"customerId":5', "customerId must be a string"),
        (b'"customerId":"' + b"a" * 256 + b'"', "customerId is too long"),
        (b'"callbackUrl":"' + b"a" * 2049 + b'"', "callbackUrl is too long"),
        (b'"orderMetaData":{"a":1}', "a value of orderMetaData must be a string"),
        (b'"orderMetaData":[]', "orderMetaData must be an object"),
        (b'"orderMetaData":{"a":"' + b"a" * 1001 + b'"}', "a value of orderMetaData is too long"),
        (b'"orderMetaData":{"' + b"a" * 256 + b'":"a"}', "a key of orderMetaData is too long"),
        (b'"allowedPaymentMethods":"Card"', "allowedPaymentMethods must be a list"),
        (
            b'"allowedPaymentMethods":["card"]',
            "a value of allowedPaymentMethods is not one of the allowed values",
        ),
        (b'"splitRequest":{"splitType":"HALF","splitList":[]}', "splitType is not one of the allowed values"),
        (b'"splitRequest":{"splitType":"AMOUNT","splitList":[]}', "splitList can not be empty"),
        (b'"splitRequest":{"splitType":"AMOUNT","splitList":[{"value":1}]}', "accountId can not be null"),
        (b'"expiresInSeconds":0', "expiresInSeconds is too small"),
        (b'"expiresInSeconds":1.5', "expiresInSeconds must be a whole number"),
        (b'"expiresAt":1893456000', "expiresAt must be a string"),
        (b'"lateMoney":"keep"', "lateMoney is not one of the allowed values"),
    ],
)
def test_each_member_of_create_is_bounded(member: bytes, sentence: str) -> None:
    """Every optional member of an order has a type and a limit, and is named when it breaks them."""
    body = b'{"order":{"amount":1,' + ORDER + b"," + member + b"}}"
    assert complaint_of(lambda: decode.decode(CREATE, body)) == sentence


def test_null_counts_as_absent_for_every_optional_member() -> None:
    """A create whose optional members are all null is the same as one without them."""
    members = b",".join(
        b'"%s":null' % name
        for name in (
            b"orderReference",
            b"callbackUrl",
            b"customerId",
            b"accountId",
            b"allowedPaymentMethods",
            b"splitRequest",
            b"orderMetaData",
            b"expiresInSeconds",
            b"expiresAt",
            b"cancelAt",
            b"lateMoney",
        )
    )
    with_nulls = b'{"order":{"amount":1,' + ORDER + b"," + members + b'},"tokenizeCard":null}'
    without = b'{"order":{"amount":1,' + ORDER + b"}}"
    assert decode.decode(CREATE, with_nulls) == decode.decode(CREATE, without)


@pytest.mark.parametrize("field", [b"amount", b"currency", b"customerEmail"])
def test_a_missing_member_of_create_is_named(field: bytes) -> None:
    """Required members of an order are named by their last name when they are absent."""
    members = {b"amount": b"1", b"currency": b'"NGN"', b"customerEmail": b'"a@b.c"'}
    del members[field]
    body = b'{"order":{' + b",".join(b'"%s":%s' % pair for pair in members.items()) + b"}}"
    assert complaint_of(lambda: decode.decode(CREATE, body)) == f"{field.decode()} can not be null"


@pytest.mark.parametrize(
    ("raw", "minor"),
    [
        (b"100", 10_000),
        (b'"100"', 10_000),
        (b"0.01", 1),
        (b"100.1", 10_010),
        (b'"9999999999999.99"', 999_999_999_999_999),
        (b"9999999999999.99", 999_999_999_999_999),
        (b'"\\u0031"', 100),
    ],
)
def test_amounts_keep_every_digit(raw: bytes, minor: int) -> None:
    """A JSON number or string of major units becomes exactly its minor units, never through a float."""
    assert decode.amount(msgspec.Raw(raw), "amount", "NGN") == minor


@pytest.mark.parametrize(
    ("raw", "predicate"),
    [
        (b"null", "can not be null"),
        (b'""', "can not be blank"),
        (b"0", "must be greater than zero"),
        (b'"0.00"', "must be greater than zero"),
        (b"-1", "must be a plain decimal number"),
        (b"1e3", "must be a plain decimal number"),
        (b'" 1"', "must be a plain decimal number"),
        (b'"+1"', "must be a plain decimal number"),
        (b'"1,000"', "must be a plain decimal number"),
        (b'"\xd9\xa1"', "must be a plain decimal number"),
        (b"1.001", "can not have more than 2 decimal places"),
        (b"9" * 20, "is too large"),
        (b"9" * 5000, "must be a plain decimal number"),
        (b"true", "must be a number"),
        (b"[1]", "must be a number"),
        (b"{}", "must be a number"),
    ],
)
def test_what_is_no_amount_is_refused(raw: bytes, predicate: str) -> None:
    """Zero, signs, exponents, other digits, too many decimals and other types are no amounts (ruling 10)."""
    assert complaint_of(lambda: decode.amount(msgspec.Raw(raw), "amount", "NGN")) == f"amount {predicate}"


@pytest.mark.parametrize(
    ("text", "predicate"),
    [
        ("", "can not be blank"),
        (" \t", "can not be blank"),
        ("a\n", "can not contain control characters"),
        ("a\x7f", "can not contain control characters"),
        ("a\x85", "can not contain control characters"),
        ("ä" * 11, "is too long"),
    ],
)
def test_references_have_limits(text: str, predicate: str) -> None:
    """A reference is not blank, has no control characters and no more characters than the setting."""
    assert complaint_of(lambda: decode.reference(text, "orderReference", 10)) == f"orderReference {predicate}"


@pytest.mark.parametrize("text", ["a", " a ", "ä" * 10, "a/b", "日本", "a\u200db"])
def test_references_are_kept_as_they_are(text: str) -> None:
    """Everything else is a reference, untrimmed."""
    assert decode.reference(text, "orderReference", 10) == text


def test_queries_are_typed() -> None:
    """Numbers of a query are numbers, blank parameters count as absent, unknown ones are ignored."""
    query = decode.query(ListQuery, b"limit=7&cursor=&dateFrom=2026-01-01&zzz=1")
    assert query == ListQuery(limit=7, date_from="2026-01-01")
    assert decode.query(SingleQuery, b"orderReference=a%2Fb+c%C3%A4").order_reference == "a/b cä"


@pytest.mark.parametrize(
    ("kind", "query", "sentence"),
    [
        (CheckoutQuery, b"idType=orderId", "id can not be null"),
        (CheckoutQuery, b"idType=orderId&id=", "id can not be null"),
        (CheckoutQuery, b"idType=orderId&id=a&id=b", "a query parameter is given twice"),
        (CheckoutQuery, b"idType=orderId&id=%ff", "the query is not valid"),
        (CheckoutQuery, b"idType=orderId&id=\xff", "the query is not valid"),
        (CheckoutQuery, b"idType=orderId&id=a%00", "id can not contain control characters"),
        (CheckoutQuery, b"idType=orderId&id=" + b"a" * 256, "id is too long"),
        (ListQuery, b"limit=51", "limit is too large"),
        (ListQuery, b"limit=0", "limit is too small"),
        (ListQuery, b"limit=x", "limit must be a whole number"),
        (ListQuery, b"limit=Null", "limit is not valid"),
        (ListQuery, b"&".join(b"a%d=1" % n for n in range(60)), "the query is not valid"),
    ],
)
def test_wrong_queries_are_refused(kind: type[msgspec.Struct], query: bytes, sentence: str) -> None:
    """A query that is malformed, repeats a parameter or breaks a limit is a sentence, not a guess."""
    assert complaint_of(lambda: decode.query(kind, query)) == sentence


def test_secrets_do_not_show() -> None:
    """Card details and one-time passwords do not stand in the text of the structs that carry them."""
    details = CardDetails(card_number="5434621074252808", card_expiry_month="3", card_expiry_year=30)
    request = CardRequest(card_details='{"cardNumber":"5434621074252808"}', order_reference="a")
    otp = OtpRequest(otp="987654", order_reference="a", transaction_id="t")
    shown = f"{details!r} {request!r} {otp!r} {details} {request} {otp}"
    assert "5434" not in shown
    assert "987654" not in shown
