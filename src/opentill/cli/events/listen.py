"""``opentill listen``: what merchants are told, as it happens, and what became of telling it.

The command reads the feed and the deliveries beside the running server. With ``--forward-to`` the server
itself delivers, to an endpoint that exists as long as the command runs (``forwarding``). The command could
have posted for itself instead, but then a developer would try out a second sender, and neither the retries
nor ``opentill webhooks`` would be those of the server that the program will one day meet.
"""

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Final

from opentill.cli.credentials_block import served_url
from opentill.cli.database import account_of, open_registry
from opentill.cli.events.display import Display, display
from opentill.cli.events.forwarding import Forwarding, check_url
from opentill.cli.events.watch import Watch
from opentill.cli.preflight import OperatorError, Where
from opentill.cli.printing import AsJson
from opentill.cli.server import RunningServer
from opentill.keys.endpoint_keys import EndpointKeys
from opentill.keys.provisioning import Registry, webhook_key
from opentill.settings import Settings
from opentill.webhooks.payload import SUBSCRIBABLE

LOOK_SECONDS: Final = 0.2


def listen(
    *,
    forward_to: str | None = None,
    events: str = ",".join(SUBSCRIBABLE),
    merchant: str | None = None,
    as_json: AsJson = False,
    where: Where | None = None,
) -> None:
    """Show each webhook event as it happens, with result and latency, until Ctrl-C.

    Args:
        forward_to: Have the events delivered to this URL for as long as the command runs.
        events: Which types of event, separated by commas.
        merchant: Account id of the merchant; the default merchant when left out.
        as_json: Print one line of JSON for each thing that happens.
        where: Which database.
    """
    with open_registry(where or Where()) as (registry, settings), _until_nobody_reads():
        types, account_id = _types(events), account_of(registry, merchant)
        stop = _told_to_stop()
        forwarding: AbstractContextManager[Forwarding | None] = nullcontext()
        if forward_to is not None:
            check_url(forward_to, allow_loopback=settings.allow_loopback_webhooks)
            forwarding = Forwarding(registry, account_id, forward_to, types)
        _say_if_nothing_serves(settings)
        with forwarding as forwarded, display(as_json=as_json) as shown:
            shown.begin(_signing_key(registry, account_id, forwarded), forwarded)
            endpoint_id = forwarded.endpoint.endpoint_id if forwarded else None
            watch = Watch(registry.store, registry.clock, account_id, types, endpoint_id)
            while not stop.wait(LOOK_SECONDS):
                _look(watch, shown, forwarded)


def _look(watch: Watch, shown: Display, forwarded: Forwarding | None) -> None:
    if forwarded is not None:
        forwarded.keep()
    for seen in watch.look():
        shown.tell(seen)


def _types(events: str) -> tuple[str, ...]:
    types = tuple(dict.fromkeys(each.strip() for each in events.split(",")))
    unknown = [each for each in types if each not in SUBSCRIBABLE]
    if unknown:
        raise OperatorError(f"{unknown[0]!r} is no event; --events takes {', '.join(SUBSCRIBABLE)}.")
    return types


def _say_if_nothing_serves(settings: Settings) -> None:
    server = RunningServer(served_url(settings))
    if not server.answers():
        sys.stderr.write(f"opentill: no server answers at {server.url}; nothing happens without one.\n")


def _signing_key(registry: Registry, account_id: str, forwarded: Forwarding | None) -> str:
    """Find the key that signs what arrives: the endpoint's own, or that of an endpoint by default."""
    if forwarded is not None:
        return EndpointKeys(registry.keyring).of(forwarded.endpoint).current
    merchant = registry.store.accounts.merchant(account_id)
    assert merchant is not None
    return webhook_key(merchant, registry.keyring)


def _told_to_stop() -> threading.Event:
    """Make an event that Ctrl-C, SIGTERM or the end of the terminal sets; nothing is cut off by them."""
    stop = threading.Event()
    for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(each, lambda *_: stop.set())
    return stop


@contextmanager
def _until_nobody_reads() -> Iterator[None]:
    """End when whoever reads our output does, as ``head`` may before us."""
    try:
        yield
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what was not written goes nowhere
