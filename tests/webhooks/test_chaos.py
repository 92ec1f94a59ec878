"""Every ending is told, at least once and as one story, whatever dies and however bad the receiver is."""

import json
import random
import sqlite3
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any

import pytest

from clusters import WHEEL_VERSION, cluster
from opentill.webhooks.signature import SigningKeys, headers
from tidy.rules import ROOT
from webhooks.chaos import FAILING_SHARE, KEY, Chaos, Record, survive
from webhooks.laws import ENDINGS, PING, Arrived, complaints, feed_complaints

pytestmark = pytest.mark.timeout(400)

NEWEST_WINS = (ROOT / "docs/snippets/newest_wins.sql").read_text(encoding="utf-8")
LAST_WINS = NEWEST_WINS.partition("WHERE")[0]
SHUFFLES = 3


def on_sqlite() -> Chaos:
    """All of it: one process, ten deaths."""
    return Chaos(orders=2000, kills=10)


def on_postgres() -> Chaos:
    """A smaller one, with two processes that share all the work."""
    url = cluster(WHEEL_VERSION).fresh_database()
    return Chaos(orders=300, kills=3, workers=2, database_url=url)


@dataclass(frozen=True)
class Survived:
    """Chaos and what came of it."""

    chaos: Chaos
    record: Record


@pytest.fixture(scope="module", params=[on_sqlite, on_postgres], ids=lambda chaos: chaos.__name__)
def survived(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Survived:
    chaos = request.param()
    return Survived(chaos, survive(tmp_path_factory.mktemp("chaos"), chaos))


@pytest.fixture
def record(survived: Survived) -> Record:
    return survived.record


# --- it was chaos ----------------------------------------------------------------------------------


def test_it_was_chaos(survived: Survived) -> None:
    """Every order was fought for and ended, either way often; fights, stream and deliveries were torn."""
    chaos, record = survived.chaos, survived.record
    ended = Counter(order["status"] for name, order in record.orders.items() if name.startswith("order-"))
    assert ended.keys() == set(ENDINGS.values())
    assert ended.total() == chaos.orders
    assert min(ended.values()) >= chaos.orders / 20
    assert record.torn >= chaos.kills
    assert record.streams == chaos.kills + 1
    refused = sum(not each.accepted for each in record.arrived)
    assert refused >= len(record.arrived) * FAILING_SHARE / 2
    assert max(Counter(each.request_id for each in record.arrived if each.accepted).values()) > 1


def test_what_shoppers_heard_is_true(record: Record) -> None:
    """No answer was strange, each acknowledged ending is the order's, and the books hold."""
    assert record.diary.strange == []
    assert record.ledger == ""
    heard = {(each.reference, each.told.value) for each in record.diary.heard if each.told.value}
    assert heard <= {(reference, order["status"]) for reference, order in record.orders.items()}


# --- what was told --------------------------------------------------------------------------------


def test_every_ending_is_told_as_one_story(record: Record) -> None:
    """At least once, under one request id, never two endings, one body, true, and signed in both ways."""
    assert complaints(record.arrived, record.orders, KEY) == []


def test_no_redirect_was_followed(record: Record) -> None:
    """Nothing was asked for but what was registered."""
    assert {each.post.path for each in record.arrived} == {"/hook"}


def shop_after(arrived: Sequence[Arrived], statement: str) -> dict[str, tuple[str, int]]:
    """Status and number by reference in a shop that applied the deliveries as they came."""
    with closing(sqlite3.connect(":memory:")) as shop:
        shop.execute("CREATE TABLE shop_orders (reference TEXT PRIMARY KEY, status TEXT, sequence INTEGER)")
        rows = ({**each.order, "reference": each.reference} for each in arrived)
        shop.executemany(statement, rows)
        found = shop.execute("SELECT reference, status, sequence FROM shop_orders").fetchall()
    return {reference: (status, sequence) for reference, status, sequence in found}


def shuffles(record: Record) -> list[list[Arrived]]:
    """What was accepted, each delivery twice, in several orders."""
    accepted = [each for each in record.arrived if each.accepted and each.post.body != PING]
    return [random.Random(seed).sample(accepted * 2, 2 * len(accepted)) for seed in range(SHUFFLES)]


def in_their_sequence(record: Record) -> list[Arrived]:
    """Each told event once, in the sequence of its order."""
    once = {each.request_id: each for each in record.arrived if each.post.body != PING}
    return sorted(once.values(), key=lambda each: (each.reference, each.order["sequence"]))


def test_shuffled_and_repeated_deliveries_converge(record: Record) -> None:
    """By their sequence numbers every shop learns what the API says, in whatever order it was told."""
    known = {name: order["status"] for name, order in record.orders.items() if name.startswith("order-")}
    for arrived in shuffles(record):
        shop = shop_after(arrived, NEWEST_WINS)
        assert {reference: status for reference, (status, _) in shop.items()} == known
        assert shop == shop_after(in_their_sequence(record), NEWEST_WINS)


def test_without_the_rule_a_shop_goes_wrong(record: Record) -> None:
    """Control: a shop that believes what came last ends up with another state than it should."""
    truth = shop_after(in_their_sequence(record), NEWEST_WINS)
    assert all(shop_after(arrived, LAST_WINS) != truth for arrived in shuffles(record))


# --- the feed and the stream ----------------------------------------------------------------------


def test_the_feed_tells_every_event_once(record: Record) -> None:
    """From its beginning by cursor it rebuilds every order, without a gap or a double."""
    assert feed_complaints(record.feed, record.orders) == []
    assert len({event["id"] for event in record.feed}) == len(record.feed)


def test_a_stream_taken_up_after_each_death_tells_the_same(record: Record) -> None:
    """What was heard by ``Last-Event-ID`` through all deaths is the feed, event by event."""
    assert [each.data for each in record.streamed] == record.feed


# --- the laws would have noticed ------------------------------------------------------------------


def retold(arrived: Arrived, **changes: Any) -> Arrived:
    """The delivery with other members, signed as the server would have."""
    body = json.dumps(arrived.body | changes).encode()
    message_id = str(changes.get("requestId", arrived.request_id))
    at = int(arrived.post.headers["webhook-timestamp"]) * 1000
    signed = headers(body, message_id, SigningKeys(KEY), at)
    return Arrived(replace(arrived.post, body=body, headers=signed), arrived.accepted)


def with_body(arrived: Arrived, old: bytes, new: bytes) -> Arrived:
    """The delivery with something else in its body, under the signatures that it had."""
    changed = arrived.post.body.replace(old, new)
    assert changed != arrived.post.body
    return Arrived(replace(arrived.post, body=changed), arrived.accepted)


Alteration = Callable[[list[Arrived], Arrived], list[Arrived]]


def dropped(told: list[Arrived], one: Arrived) -> list[Arrived]:
    return [each for each in told if each.request_id != one.request_id]


def refused(told: list[Arrived], one: Arrived) -> list[Arrived]:
    return [replace(each, accepted=each.accepted and each.request_id != one.request_id) for each in told]


def renamed(told: list[Arrived], one: Arrived) -> list[Arrived]:
    return [*told, retold(one, requestId="00000000-0000-4000-8000-000000000001")]


def both_ended(told: list[Arrived], one: Arrived) -> list[Arrived]:
    return [*told, retold(one, event_type="order_cancelled", requestId="another")]


def reworded(told: list[Arrived], one: Arrived) -> list[Arrived]:
    return [*told, retold(one, more="words")]


def tampered(told: list[Arrived], one: Arrived) -> list[Arrived]:
    return [with_body(one, b'"amount":1500.50', b'"amount":1500.51') if e is one else e for e in told]


def tampered_where_both_sign(told: list[Arrived], one: Arrived) -> list[Arrived]:
    return [with_body(one, b'"responseCode":""', b'"responseCode":"51"') if e is one else e for e in told]


ALTERATIONS: list[tuple[Alteration, str]] = [
    (dropped, "{reference}: payment_success was never delivered"),
    (refused, "{reference}: payment_success was never delivered"),
    (renamed, "{reference}: 2 request ids of payment_success"),
    (both_ended, "{reference}: told as paid and as cancelled"),
    (reworded, "{reference}: two bodies of {id}"),
    (tampered, "{id}: its standard signature does not verify: No matching signature found"),
    (tampered_where_both_sign, "{id}: its Nomba signature does not verify"),
]


@pytest.mark.parametrize(("alter", "sentence"), ALTERATIONS, ids=lambda a: getattr(a, "__name__", ""))
def test_altered_books_are_found_out(record: Record, alter: Alteration, sentence: str) -> None:
    """Control: one delivery that is not as it should be is complained of by its order or request."""
    told = list(record.arrived)
    one = next(e for e in told if e.post.body != PING and e.body["event_type"] == "payment_success")
    found = complaints(alter(told, one), record.orders, KEY)
    assert sentence.format(reference=one.reference, id=one.request_id) in found


def without_one(feed: list[Any], at: int) -> list[Any]:
    return [*feed[:at], *feed[at + 1 :]]


def with_one_twice(feed: list[Any], at: int) -> list[Any]:
    return [*feed, feed[at]]


def with_a_late_one(feed: list[Any], at: int) -> list[Any]:
    return [*without_one(feed, at), feed[at]]


def with_another_outcome(feed: list[Any], at: int) -> list[Any]:
    return [*feed[:at], feed[at] | {"note": "changed"}, *feed[at + 1 :]]


@pytest.mark.parametrize(
    "alter", [without_one, with_one_twice, with_a_late_one, with_another_outcome], ids=lambda a: a.__name__
)
def test_an_altered_feed_is_found_out(record: Record, alter: Callable[[list[Any], int], list[Any]]) -> None:
    """Control: one event that is missing, doubled, late or different is complained of by its order."""
    at = next(n for n, event in enumerate(record.feed) if event["type"] == "order_created" and n > 5)
    reference = record.feed[at]["orderReference"]
    found = feed_complaints(alter(record.feed, at), record.orders)
    assert found
    assert all(sentence.startswith(f"{reference}: ") for sentence in found)
