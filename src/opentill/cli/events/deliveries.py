"""``opentill webhooks``: a merchant's endpoints, what was delivered to them, and delivering it again."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal, TypeAlias

import msgspec
from cyclopts import Parameter
from cyclopts.validators import Number

from opentill.cli.database import account_of, open_registry
from opentill.cli.preflight import OperatorError, Where
from opentill.cli.printing import AsJson, print_table, printable, say, say_json, shown_time
from opentill.store.interface import Store
from opentill.store.outbox.contract import Delivery, DeliveryFilter, DeliveryState, Endpoint
from opentill.webhooks.signature import rfc3339
from opentill.webhooks.token_keys import withheld

MOST: Final = 1000
"""The most deliveries that are listed or sent again at once."""
DELETED: Final = "(deleted)"

StateWord: TypeAlias = Literal["pending", "delivered", "dead"]


@dataclass(frozen=True, slots=True)
class _Outbox:
    """The outbox of one merchant."""

    store: Store
    account_id: str

    def endpoints(self) -> dict[str, Endpoint]:
        return {each.endpoint_id: each for each in self.store.outbox.endpoints(self.account_id)}

    def newest(
        self,
        limit: int,
        *,
        delivery_ids: tuple[str, ...] = (),
        event_ids: tuple[str, ...] = (),
        states: tuple[DeliveryState, ...] = (),
        endpoint_id: str | None = None,
    ) -> list[Delivery]:
        wanted = DeliveryFilter(
            account_id=self.account_id,
            endpoint_id=endpoint_id,
            delivery_ids=delivery_ids,
            event_ids=event_ids,
            states=states,
            limit=limit,
        )
        return self.store.outbox.deliveries(wanted)

    def of(self, name: str) -> list[Delivery]:
        """Find the delivery of this id, or all of the event of this id. Raises OperatorError for none."""
        found = self.newest(MOST, delivery_ids=(name,)) or self.newest(MOST, event_ids=(name,))
        if not found:
            raise OperatorError(
                f"there is no delivery and no told event {name}; `opentill webhooks list` shows the latest."
            )
        return found

    def body(self, delivery: Delivery) -> bytes:
        return withheld(self.store.outbox.delivery_body(self.account_id, delivery.delivery_id) or b"{}")


def list_(
    *,
    state: StateWord | None = None,
    limit: Annotated[int, Parameter(validator=Number(gte=1, lte=MOST))] = 20,
    merchant: str | None = None,
    as_json: AsJson = False,
    where: Where | None = None,
) -> None:
    """List a merchant's endpoints, and the latest deliveries to them, newest first.

    Args:
        state: Only deliveries of this state.
        limit: How many deliveries.
        merchant: Account id of the merchant; the default merchant when left out.
        as_json: Print one JSON object.
        where: Which database.
    """
    with open_registry(where or Where()) as (registry, _):
        outbox = _Outbox(registry.store, account_of(registry, merchant))
        endpoints = outbox.endpoints()
        states = () if state is None else (DeliveryState(state.upper()),)
        found = outbox.newest(limit, states=states)
    if as_json:
        shown = [_delivery(each, endpoints) for each in found]
        say_json({"endpoints": [_endpoint(each) for each in endpoints.values()], "deliveries": shown})
        return
    print_table(("endpoint id", "url", "events", "state"), (_endpoint_row(e) for e in endpoints.values()))
    say("")
    print_table(
        ("delivery id", "created", "event", "state", "tries", "answer", "next try", "url"),
        (_row(each, endpoints) for each in found),
    )


def show(
    name: str,
    /,
    *,
    merchant: str | None = None,
    as_json: AsJson = False,
    where: Where | None = None,
) -> None:
    """Show a delivery, or all deliveries of one event: state, last answer and body.

    Args:
        name: Delivery id, or event id (the requestId of the body).
        merchant: Account id of the merchant; the default merchant when left out.
        as_json: Print one line of JSON for each delivery.
        where: Which database.
    """
    with open_registry(where or Where()) as (registry, _):
        outbox = _Outbox(registry.store, account_of(registry, merchant))
        endpoints = outbox.endpoints()
        found = [(each, outbox.body(each)) for each in outbox.of(name)]
    for delivery, body in found:
        if as_json:
            say_json(_delivery(delivery, endpoints) | {"body": msgspec.Raw(body)})
        else:
            say("\n".join(_lines(delivery, body, endpoints)))


def resend(
    *names: str,
    dead: Annotated[bool, Parameter(negative="")] = False,
    merchant: str | None = None,
    as_json: AsJson = False,
    where: Where | None = None,
) -> None:
    """Deliver again, at once, whatever the state: the same body, signed anew.

    Args:
        names: Delivery ids; an event id stands for all deliveries of the event.
        dead: All that are dead, too.
        merchant: Account id of the merchant; the default merchant when left out.
        as_json: Print one JSON object.
        where: Which database.
    """
    with open_registry(where or Where()) as (registry, _):
        if not names and not dead:
            raise OperatorError("name what to send again, or say --dead.")
        outbox = _Outbox(registry.store, account_of(registry, merchant))
        chosen = {delivery.delivery_id for name in names for delivery in outbox.of(name)}
        due = _push(outbox, list(chosen), registry.clock.now())
        due += _push_dead(outbox, registry.clock.now()) if dead else 0
        if due < len(chosen):
            raise OperatorError(f"of {len(chosen)} deliveries only {due} have an endpoint still.")
    if as_json:
        say_json({"resent": due})
    else:
        say(f"{due} {'delivery is' if due == 1 else 'deliveries are'} due now.")


def _push_dead(outbox: _Outbox, now: int) -> int:
    """Send every dead delivery again whose endpoint there still is; return how many."""
    return sum(_push_dead_of(outbox, endpoint_id, now) for endpoint_id in outbox.endpoints())


def _push_dead_of(outbox: _Outbox, endpoint_id: str, now: int) -> int:
    due, page_was_full = 0, True
    while page_was_full:
        dead = outbox.newest(MOST, states=(DeliveryState.DEAD,), endpoint_id=endpoint_id)
        due += _push(outbox, [each.delivery_id for each in dead], now)
        page_was_full = len(dead) == MOST
    return due


def _push(outbox: _Outbox, delivery_ids: Sequence[str], now: int) -> int:
    return outbox.store.outbox.push_again(outbox.account_id, delivery_ids, now) if delivery_ids else 0


# --- as it is printed -----------------------------------------------------------------------------


def _state(endpoint: Endpoint) -> str:
    if not endpoint.enabled:
        return "disabled"
    return "active" if endpoint.paused_at is None else "paused"


def _url(delivery: Delivery, endpoints: dict[str, Endpoint]) -> str | None:
    endpoint = endpoints.get(delivery.endpoint_id)
    return endpoint.url if endpoint else None


def _status(delivery: Delivery) -> str:
    return "none" if delivery.status is None else str(delivery.status)


def _endpoint_row(endpoint: Endpoint) -> tuple[str, ...]:
    return endpoint.endpoint_id, endpoint.url, ", ".join(endpoint.events), _state(endpoint)


def _row(delivery: Delivery, endpoints: dict[str, Endpoint]) -> tuple[str, ...]:
    return (
        delivery.delivery_id,
        shown_time(delivery.created_at),
        delivery.type,
        delivery.state.lower(),
        str(delivery.tries),
        _status(delivery) if delivery.tries else "",
        shown_time(delivery.next_try_at) if delivery.next_try_at else "",
        _url(delivery, endpoints) or DELETED,
    )


def _lines(delivery: Delivery, body: bytes, endpoints: dict[str, Endpoint]) -> Iterator[str]:
    next_try = f", next try {shown_time(delivery.next_try_at)}" if delivery.next_try_at else ""
    yield f"delivery  {delivery.delivery_id}"
    yield f"event     {delivery.type} {delivery.event_id}, number {delivery.sequence} of its order"
    yield f"to        {_url(delivery, endpoints) or DELETED}"
    yield f"created   {shown_time(delivery.created_at)}"
    yield f"state     {delivery.state.lower()}, tries: {delivery.tries}{next_try}"
    if delivery.tries:
        yield f"answer    {_status(delivery)}: {printable(delivery.response)}"
    yield "body"
    yield from (f"  {printable(line)}" for line in msgspec.json.format(body, indent=2).decode().split("\n"))
    yield ""


def _endpoint(endpoint: Endpoint) -> dict[str, Any]:
    return {
        "id": endpoint.endpoint_id,
        "url": endpoint.url,
        "events": endpoint.events,
        "state": _state(endpoint),
    }


def _delivery(delivery: Delivery, endpoints: dict[str, Endpoint]) -> dict[str, Any]:
    next_try_at = delivery.next_try_at
    return {
        "id": delivery.delivery_id,
        "eventId": delivery.event_id,
        "type": delivery.type,
        "sequence": delivery.sequence,
        "endpointId": delivery.endpoint_id,
        "url": _url(delivery, endpoints),
        "state": delivery.state.lower(),
        "tries": delivery.tries,
        "status": delivery.status,
        "response": delivery.response,
        "nextTryAt": rfc3339(next_try_at) if next_try_at else None,
        "createdAt": rfc3339(delivery.created_at),
        "updatedAt": rfc3339(delivery.updated_at),
    }
