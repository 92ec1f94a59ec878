"""``opentill clock``: the time of a sandbox, which can be moved forward."""

from collections.abc import Iterator
from contextlib import contextmanager

from opentill.cli.database import open_registry
from opentill.cli.preflight import OperatorError, Where, operator_errors
from opentill.cli.printing import AsJson, say, say_json, seconds_of, shown_time
from opentill.clock import RandomIds, SystemClock
from opentill.engine.errors import EngineError
from opentill.operating import carry_out_due
from opentill.store.accounts.contract import Mode
from opentill.store.errors import ClockOutOfRange
from opentill.store.interface import Store
from opentill.webhooks.signature import rfc3339


def show(*, as_json: AsJson = False, where: Where | None = None) -> None:
    """Show the time of the sandbox, and how far it is ahead.

    Args:
        as_json: Print one JSON object.
        where: Which database.
    """
    with _sandbox(where or Where()) as store:
        _tell(store, None, as_json=as_json)


def advance(by: str, /, *, as_json: AsJson = False, where: Where | None = None) -> None:
    """Move the time of the sandbox forward; everything that falls due happens at once.

    Args:
        by: How far, such as 1800 (seconds), 90s, 30m, 2h or 1d.
        as_json: Print one JSON object.
        where: Which database.
    """
    with _sandbox(where or Where()) as store:
        try:
            store.accounts.advance_clock(seconds_of(by) * 1000)
            ended = carry_out_due(store, SystemClock(), RandomIds())
        except ClockOutOfRange as error:
            raise OperatorError(f"the clock {error}.") from None
        except EngineError:
            raise OperatorError(
                "the clock was moved, but the database is too busy to end what fell due; a server will."
            ) from None
        _tell(store, ended, as_json=as_json)


@contextmanager
def _sandbox(where: Where) -> Iterator[Store]:
    """Open the store of a sandbox; live mode is refused before anything is opened (ruling 23)."""
    with operator_errors():
        if where.settings().mode is Mode.LIVE:
            raise OperatorError("in live mode time is real and can not be moved; leave out --live.")
    with open_registry(where) as (registry, _):
        yield registry.store


def _tell(store: Store, ended: int | None, *, as_json: bool) -> None:
    with store.snapshot() as snapshot:
        offset = snapshot.facts(()).clock_offset
    now = SystemClock().now() + offset
    if as_json:
        due = {} if ended is None else {"ordersEnded": ended}
        say_json({"now": rfc3339(now), "offsetSeconds": offset // 1000} | due)
        return
    said = f"It is {shown_time(now)} in this sandbox, {offset // 1000} seconds ahead."
    say(said if ended is None else f"{said} {ended} orders fell due and have ended.")
