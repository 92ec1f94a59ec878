"""How ``opentill listen`` shows what it finds: a table that lives, plain lines, or JSON for programs."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final, Protocol

from rich.console import Console
from rich.live import Live
from rich.table import Table

from opentill.cli.events.forwarding import Forwarding
from opentill.cli.events.watch import SeenEvent
from opentill.cli.printing import printable, say, say_json, shown_time
from opentill.store.outbox.contract import Delivery, DeliveryState
from opentill.webhooks.signature import rfc3339, standard_secret

ROWS: Final = 20
"""How many deliveries stay on the screen."""
ANSWER_CHARACTERS: Final = 80
"""How much is shown of what was said to a failed delivery."""


class Display(Protocol):
    """A way of showing a listener's findings."""

    def begin(self, key: str, forwarding: Forwarding | None) -> None:
        """Say by which key is signed, and where events go."""

    def tell(self, seen: SeenEvent) -> None:
        """Show that something happened, or what became of it."""


@contextmanager
def display(*, as_json: bool) -> Iterator[Display]:
    """Choose the display that suits whoever reads standard output."""
    if as_json:
        yield _Json()
    elif not sys.stdout.isatty():
        yield _PlainLines()
    else:
        console = Console(highlight=False, markup=False, emoji=False)
        with Live(console=console, auto_refresh=False) as live:
            yield _Screen(live)


class _Json:
    """One object a line."""

    def begin(self, key: str, forwarding: Forwarding | None) -> None:
        url = forwarding.endpoint.url if forwarding else None
        say_json({"forwardingTo": url, "signingKey": key})

    def tell(self, seen: SeenEvent) -> None:
        event, delivery = seen.event, seen.delivery
        said: dict[str, Any] = {
            "eventId": event.event_id,
            "type": seen.type,
            "orderReference": seen.reference,
            "orderStatus": event.after.value,
            "sequence": event.sequence,
            "at": rfc3339(event.at),
            "delivery": None,
        }
        if delivery is not None:
            said["delivery"] = {
                "id": delivery.delivery_id,
                "endpointId": delivery.endpoint_id,
                "state": delivery.state.lower(),
                "tries": delivery.tries,
                "status": delivery.status,
                "response": delivery.response,
                "latencyMilliseconds": seen.latency_milliseconds,
                "nextTryAt": rfc3339(delivery.next_try_at) if delivery.next_try_at else None,
            }
        say_json(said)


class _PlainLines:
    """One line for each thing that happens."""

    def begin(self, key: str, forwarding: Forwarding | None) -> None:
        for line in _beginning(key, forwarding):
            say(line)

    def tell(self, seen: SeenEvent) -> None:
        say("  ".join(cell for cell in _row(seen) if cell))


class _Screen:
    """One table, in which each delivery keeps its row."""

    def __init__(self, live: Live):
        self._live = live
        self._rows: dict[tuple[str, str], SeenEvent] = {}

    def begin(self, key: str, forwarding: Forwarding | None) -> None:
        for line in _beginning(key, forwarding):
            self._live.console.print(line, soft_wrap=True)  # to be copied, so never broken
        self._live.refresh()

    def tell(self, seen: SeenEvent) -> None:
        key = seen.event.event_id, seen.delivery.delivery_id if seen.delivery else ""
        self._rows[key] = seen
        while len(self._rows) > ROWS:
            del self._rows[next(iter(self._rows))]
        self._live.update(self._table(), refresh=True)

    def _table(self) -> Table:
        table = Table(box=None, pad_edge=False)
        for heading in ("at", "event", "order", "is now", "result", "latency", "next"):
            table.add_column(heading, overflow="fold", no_wrap=heading not in {"order", "result", "next"})
        for seen in self._rows.values():
            table.add_row(*_row(seen), style=_style(seen))
        return table


def _beginning(key: str, forwarding: Forwarding | None) -> Iterator[str]:
    if forwarding is None:
        yield "Listening. Endpoints without a key of their own are signed to by"
    else:
        until = "until Ctrl-C" if forwarding.is_ours else "an endpoint already, and left as it is"
        yield f"Forwarding to {forwarding.endpoint.url} ({until}), signed by"
    yield f"  OPENTILL_WEBHOOK_KEY={key}"
    yield f"which libraries for Standard Webhooks take as {standard_secret(key)}."


def _row(seen: SeenEvent) -> tuple[str, ...]:
    """Write a row: at, event, order, its status, result, latency, next try."""
    milliseconds = seen.latency_milliseconds
    next_try_at = seen.delivery.next_try_at if seen.delivery and seen.delivery.tries else None
    return (
        _clock(seen.event.at),
        seen.type,
        seen.reference,
        seen.event.after.value,
        _result(seen.delivery),
        "" if milliseconds is None else f"{milliseconds} ms",
        f"try {seen.delivery.tries + 1} at {_clock(next_try_at)}" if seen.delivery and next_try_at else "",
    )


def _clock(at: int) -> str:
    """Write a time of today, such as ``16:33:28Z``."""
    return shown_time(at)[-9:]


def _result(delivery: Delivery | None) -> str:
    if delivery is None:
        return "no endpoint wants it"
    if not delivery.tries:
        return "on its way"
    if delivery.state is DeliveryState.DELIVERED:
        return str(delivery.status)
    last = delivery.status or "no answer"
    dead = f"dead after {delivery.tries} tries: " if delivery.state is DeliveryState.DEAD else ""
    return f"{dead}{last}: {printable(delivery.response[:ANSWER_CHARACTERS])}"


def _style(seen: SeenEvent) -> str:
    if seen.delivery is None or not seen.delivery.tries:
        return "dim"
    return "green" if seen.delivery.state is DeliveryState.DELIVERED else "red"
