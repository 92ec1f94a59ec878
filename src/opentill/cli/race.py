"""``opentill race``: contested orders on a running sandbox, and whether the promise was kept."""

import asyncio
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated, Any, Final

import aiohttp
from cyclopts import Parameter
from cyclopts.validators import Number
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

from opentill.cli.credentials_block import served_url
from opentill.cli.preflight import OperatorError, Where, operator_errors
from opentill.cli.printing import AsJson, print_table, say, say_json
from opentill.cli.server import RunningServer
from opentill.clock import RandomIds
from opentill.race.lab import ACTS, Plan, raced
from opentill.race.verdict import Contestants, Verdict

BROKEN: Final = 1
"""Exit status when the promise was not kept."""
MOST_COMPLAINTS: Final = 20
_SANDBOX_ROUTE: Final = "/sandbox/rail"
"""A route that every sandbox has and no live server (ruling 23)."""
_NEEDS: Final = {"transfer": ("/sandbox/transfers", "/v1/checkout/get-checkout-kta/{orderReference}")}
"""The routes without which an act can not be done."""


def race(
    *,
    orders: Annotated[int, Parameter(validator=Number(gte=1, lte=1_000_000))] = 1000,
    with_: Annotated[str, Parameter(name="--with")] = "cancel,pay,refund",
    rings: Annotated[int, Parameter(validator=Number(gte=1, lte=256))] = 16,
    url: str | None = None,
    as_json: AsJson = False,
    where: Where | None = None,
) -> None:
    """Set cancels, payments and more upon orders of a running sandbox; exit 1 if one has two winners.

    Args:
        orders: How many orders are fought for.
        with_: Who sets upon each: any of cancel, pay, transfer, refund and expire, with commas between.
        rings: How many orders are fought for at once.
        url: Where the server is; that of the data folder when left out.
        as_json: Print one JSON object instead of tables.
        where: Which data folder.
    """
    with operator_errors():
        acts = _acts(with_)
        server = RunningServer(url or served_url((where or Where()).settings()))
        _check(server, acts)
        plan = Plan(
            url=server.url,
            headers={},
            prefix=f"race-{RandomIds().uuid()[:8]}",
            orders=orders,
            acts=acts,
            rings=rings,
        )
        verdict = _held(plan, quiet=as_json)
    if as_json:
        say_json(_said(verdict))
    else:
        _print(verdict)
    if verdict.complaints:
        sys.exit(BROKEN)


def _acts(text: str) -> list[str]:
    words = list(dict.fromkeys(word.strip() for word in text.split(",")))
    unknown = [word for word in words if word not in ACTS]
    if unknown:
        raise OperatorError(f"--with takes any of {', '.join(ACTS)}; it does not take {unknown[0]!r}.")
    return words


def _check(server: RunningServer, acts: Sequence[str]) -> None:
    """Refuse a server that is no sandbox, as races make orders and move made-up money, or lacks an act."""
    known = server.paths()
    if _SANDBOX_ROUTE not in known:
        raise OperatorError(f"{server.url} is live; races are held on a sandbox only.")
    for act in acts:
        missing = [route for route in _NEEDS.get(act, ()) if route not in known]
        if missing:
            raise OperatorError(f"{server.url} does not know {missing[0]}; leave {act} out of --with.")


def _held(plan: Plan, *, quiet: bool) -> Verdict:
    try:
        with _progress(plan.orders, quiet=quiet) as ended:
            return asyncio.run(raced(plan, ended))
    except (aiohttp.ClientError, TimeoutError) as error:
        raise OperatorError(
            f"the server at {plan.url} went away in the middle ({type(error).__name__})."
        ) from None


@contextmanager
def _progress(orders: int, *, quiet: bool) -> Iterator[Callable[[int], None]]:
    """Show how many fights have ended, as it is told, to whoever sits at a terminal."""
    console = Console(stderr=True, quiet=quiet or not sys.stderr.isatty())
    columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("race", total=orders)
        yield lambda ended: progress.update(task, completed=ended)


def _said(verdict: Verdict) -> dict[str, Any]:
    return {
        "orders": verdict.orders,
        "statuses": dict(verdict.statuses),
        "requests": [
            {
                "request": each.by,
                "asked": each.asked,
                "won": each.won,
                "refused": dict(each.refused),
                "p50Milliseconds": round(each.milliseconds[0], 1),
                "p99Milliseconds": round(each.milliseconds[1], 1),
                "longestMilliseconds": round(each.milliseconds[2], 1),
            }
            for each in verdict.contestants
        ],
        "money": dict(verdict.money),
        "ledgerDifference": verdict.ledger_difference,
        "kept": not verdict.complaints,
        "complaints": verdict.complaints,
    }


def _print(verdict: Verdict) -> None:
    print_table(
        ("request", "asked", "won", "refused", "p50 ms", "p99 ms", "longest ms", "why refused"),
        map(_row, verdict.contestants),
    )
    endings = ", ".join(f"{count} {status}" for status, count in sorted(verdict.statuses.items()))
    say(f"\n{verdict.orders} orders: {endings}.")
    say("money: " + ", ".join(f"{part} {amount}" for part, amount in verdict.money.items()) + ".")
    say(f"ledger: debits and credits differ by {verdict.ledger_difference}.")
    for sentence in verdict.complaints[:MOST_COMPLAINTS]:
        say(f"BROKEN  {sentence}")
    if len(verdict.complaints) > MOST_COMPLAINTS:
        say(f"BROKEN  and {len(verdict.complaints) - MOST_COMPLAINTS} more")
    if not verdict.complaints:
        say("The promise was kept: no order has two winners, and the books balance.")


def _row(fared: Contestants) -> tuple[str, ...]:
    why = ", ".join(f"{reason} {count}" for reason, count in sorted(fared.refused.items()))
    times = (f"{each:.1f}" for each in fared.milliseconds)
    return fared.by, str(fared.asked), str(fared.won), str(sum(fared.refused.values())), *times, why
