"""The promise of telling as a checker: what arrived at a receiver and what the feed says are one story.

The orders as the API shows them, each with its timeline, are taken for the truth. Each law yields its
complaints as sentences that begin with the order's reference, or the request id where there is none. The
laws are written out here by hand and share nothing with the code that they judge.
"""

import base64
import hashlib
import hmac
import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeAlias

from standardwebhooks import Webhook, WebhookVerificationError

from webhooks.receiver import Post

Shown: TypeAlias = Mapping[str, Any]
"""An order in full, or an event, as the API shows it."""
Orders: TypeAlias = Mapping[str, Shown]
"""By reference."""

PING = b"{}"
TOLD_AS = {
    "payment_success": "payment_success",
    "payment_failed": "payment_failed",
    "payment_reversal": "payment_reversal",
    "payment_refunded": "payment_reversal",
    "refund_refused": "payment_reversal",
    "return_parked": "payment_reversal",
    "order_cancelled": "order_cancelled",
    "order_expired": "order_expired",
}
"""As which webhook each event goes out; all others are told by the feed alone."""
ENDINGS = {"payment_success": "PAID", "order_cancelled": "CANCELLED"}


@dataclass(frozen=True)
class Arrived:
    """One try of a delivery, as its receiver saw it."""

    post: Post
    accepted: bool
    """Whether it was answered with success, in time."""

    @cached_property
    def body(self) -> Any:
        return json.loads(self.post.body)

    @property
    def request_id(self) -> str:
        """Empty for the first delivery that a new endpoint gets."""
        return str(self.body.get("requestId", ""))

    @property
    def order(self) -> Any:
        return self.body["data"]["order"]

    @property
    def reference(self) -> str:
        return str(self.order["orderReference"])


def complaints(arrived: Sequence[Arrived], orders: Orders, key: str) -> list[str]:
    """Everything that is wrong with what arrived at an endpoint with this key, subscribed to all types."""
    told = [each for each in arrived if each.post.body != PING]
    return [
        *_forged(arrived, key),
        *_rewritten(told),
        *_untrue(told, orders),
        *_never_told(told, orders),
        *_twice_named(told),
        *_two_endings(told),
    ]


# --- deliveries -----------------------------------------------------------------------------------


def _forged(arrived: Sequence[Arrived], key: str) -> Iterator[str]:
    """Both signatures verify, and the standard's id is the request id."""
    webhook = Webhook(key.encode())
    for each in arrived:
        headers, message_id = each.post.headers, each.post.headers["webhook-id"]
        try:
            webhook.verify(each.post.body, headers)
        except WebhookVerificationError as error:
            yield f"{message_id}: its standard signature does not verify: {error}"
        if {headers["nomba-signature"], headers["nomba-sig-value"]} != {_nomba(each, key)}:
            yield f"{message_id}: its Nomba signature does not verify"
        if each.post.body != PING and each.request_id != message_id:
            yield f"{message_id}: its body says {each.request_id}"


def _nomba(each: Arrived, key: str) -> str:
    data = each.body.get("data", {})
    merchant, transaction = data.get("merchant", {}), data.get("transaction", {})
    values = [each.body.get(name, "") for name in ("event_type", "requestId")]
    values += [merchant.get(name, "") for name in ("userId", "walletId")]
    values += [transaction.get(name, "") for name in ("transactionId", "type", "time", "responseCode")]
    message = ":".join([*values, each.post.headers["nomba-timestamp"]])
    return base64.b64encode(hmac.digest(key.encode(), message.encode(), hashlib.sha256)).decode()


def _rewritten(told: Sequence[Arrived]) -> Iterator[str]:
    """Every try of a delivery has the same body."""
    bodies: dict[str, bytes] = {}
    for each in told:
        if bodies.setdefault(each.request_id, each.post.body) != each.post.body:
            yield f"{each.reference}: two bodies of {each.request_id}"


def _untrue(told: Sequence[Arrived], orders: Orders) -> Iterator[str]:
    """Return what is told has happened, to that order, in that place and with that outcome."""
    happened = {
        event["id"]: (TOLD_AS.get(event["type"]), reference, event["sequence"], event["after"])
        for reference, order in orders.items()
        for event in order["timeline"]
    }
    for each in told:
        order = each.order
        said = (each.body["event_type"], each.reference, order["sequence"], order["status"])
        if happened.get(each.request_id) != said:
            yield f"{each.reference}: told {said[0]} as {said[2:]}, which did not happen"


def _never_told(told: Sequence[Arrived], orders: Orders) -> Iterator[str]:
    """Whatever is told by webhook was accepted at least once."""
    accepted = {each.request_id for each in told if each.accepted}
    for reference, order in orders.items():
        for event in order["timeline"]:
            if event["type"] in TOLD_AS and event["id"] not in accepted:
                yield f"{reference}: {event['type']} was never delivered"


def _twice_named(told: Sequence[Arrived]) -> Iterator[str]:
    """One event has one request id, and an order's ending is one event."""
    names: dict[tuple[str, object], set[str]] = defaultdict(set)
    for each in told:
        names[each.reference, each.order["sequence"]].add(each.request_id)
        if each.body["event_type"] in ENDINGS:
            names[each.reference, each.body["event_type"]].add(each.request_id)
    for (reference, what), ids in names.items():
        if len(ids) > 1:
            yield f"{reference}: {len(ids)} request ids of {what}"


def _two_endings(told: Sequence[Arrived]) -> Iterator[str]:
    """No order is told to be paid and to be cancelled."""
    endings: dict[str, set[str]] = defaultdict(set)
    for each in told:
        endings[each.reference] |= {each.body["event_type"]} & ENDINGS.keys()
    for reference, types in endings.items():
        if len(types) > 1:
            yield f"{reference}: told as paid and as cancelled"


# --- the feed -------------------------------------------------------------------------------------


def feed_complaints(feed: Sequence[Shown], orders: Orders) -> list[str]:
    """Return what is wrong with a feed that was read from its beginning to its end."""
    by_order: dict[str, list[Shown]] = {reference: [] for reference in orders}
    for event in feed:
        by_order.setdefault(event["orderReference"], []).append(event)
    return [
        f"{reference}: {sentence}"
        for reference, events in by_order.items()
        for sentence in _of_story(events, orders.get(reference))
    ]


def _of_story(events: Sequence[Shown], order: Shown | None) -> Iterator[str]:
    if order is None:
        yield "the feed tells of an order that is not there"
        return
    if [event["sequence"] for event in events] != list(range(1, order["version"] + 1)):
        yield "in the feed its events have a gap or a double, or are out of order"
    elif (events[-1]["after"], events[0]["data"]["orderId"]) != (order["status"], order["orderId"]):
        yield f"from the feed it is {events[-1]['after']}, in truth {order['status']}"
    if list(events) != list(order["timeline"]):
        yield "the feed does not tell what its timeline tells"
