"""``opentill clock``: the time of a sandbox, which can be moved forward, and real time, to be confirmed."""

from collections.abc import Iterator
from contextlib import contextmanager

from opentill.cli.database import open_registry
from opentill.cli.preflight import OperatorError, Where, operator_errors
from opentill.cli.printing import AsJson, say, say_json, seconds_of, shown_time
from opentill.engine.errors import EngineError
from opentill.keys.provisioning import Registry
from opentill.operating import carry_out_due
from opentill.store.accounts.contract import Mode
from opentill.store.errors import ClockOutOfRange
from opentill.webhooks.signature import rfc3339


def show(*, as_json: AsJson = False, where: Where | None = None) -> None:
    """Show the time of the sandbox, and how far it is ahead.

    Args:
        as_json: Print one JSON object.
        where: Which database.
    """
    with _sandbox(where or Where()) as registry:
        _tell(registry, None, as_json=as_json)


def advance(by: str, /, *, as_json: AsJson = False, where: Where | None = None) -> None:
    """Move the time of the sandbox forward; everything that falls due happens at once.

    Args:
        by: How far, such as 1800 (seconds), 90s, 30m, 2h or 1d.
        as_json: Print one JSON object.
        where: Which database.
    """
    with _sandbox(where or Where()) as registry:
        try:
            registry.store.accounts.advance_clock(seconds_of(by) * 1000)
            ended = carry_out_due(registry.store, registry.clock, registry.ids)
        except ClockOutOfRange as error:
            raise OperatorError(f"the clock {error}.") from None
        except EngineError:
            raise OperatorError(
                "the clock was moved, but the database is too busy to end what fell due; a server will."
            ) from None
        _tell(registry, ended, as_json=as_json)


def confirm(*, as_json: AsJson = False, where: Where | None = None) -> None:
    """Say that the clock is right now, where it is behind or far ahead of the last time that servers saw.

    Servers look every few seconds and then go by it: what is over expires, and what is old is deleted.

    Args:
        as_json: Print one JSON object.
        where: Which database.
    """
    with open_registry(where or Where(), at_any_time=True) as (registry, _):
        accounts, now = registry.store.accounts, registry.clock.now()
        before = accounts.seen_at()
        accounts.confirm_time(now)
    if as_json:
        say_json({"now": rfc3339(now), "lastSeen": None if before is None else rfc3339(before)})
        return
    last = "never before" if before is None else f"last at {shown_time(before)}"
    say(f"It is {shown_time(now)}. Servers saw the time {last}.")


@contextmanager
def _sandbox(where: Where) -> Iterator[Registry]:
    """Open the store of a sandbox; live mode is refused before anything is opened (ruling 23)."""
    with operator_errors():
        if where.settings().mode is Mode.LIVE:
            raise OperatorError("in live mode time is real and can not be moved; leave out --live.")
    with open_registry(where) as (registry, _):
        yield registry


def _tell(registry: Registry, ended: int | None, *, as_json: bool) -> None:
    with registry.store.snapshot() as snapshot:
        offset = snapshot.facts(()).clock_offset
    now = registry.clock.now() + offset
    if as_json:
        due = {} if ended is None else {"ordersEnded": ended}
        say_json({"now": rfc3339(now), "offsetSeconds": offset // 1000} | due)
        return
    said = f"It is {shown_time(now)} in this sandbox, {offset // 1000} seconds ahead."
    say(said if ended is None else f"{said} {ended} orders fell due and have ended.")
