"""Thousands of cancels through a running server, in calls of some hundreds, with a progress bar.

Nothing needs to be remembered between two runs: what is cancelled is found cancelled. Within a run each call
has an idempotency key, so that one whose answer was lost tells, asked again, what it did the first time.
"""

import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from opentill.cli.preflight import OperatorError
from opentill.cli.server import RunningServer, ServerAnswer, Unreachable
from opentill.clock import RandomIds

DONE: Final = frozenset({"cancelled", "already_cancelled"})
"""The outcomes after which an order is cancelled."""
IN_A_CALL: Final = 500
AT_ONCE: Final = 2
"""How many calls are under way together: one is decoded and printed while the other is carried out."""
PATIENCE_SECONDS: Final = 60.0
"""How long a server that is away, busy or restarting is asked again."""
PAUSE_SECONDS: Final = 0.5

_IN_PROGRESS: Final = "idempotency-key-in-progress"


def cancel_all(
    server: RunningServer, names: Sequence[str], said: Mapping[str, Any]
) -> Iterator[dict[str, Any]]:
    """Yield each order with its outcome, as the server tells them. Raises OperatorError where it stops."""
    calls = [names[start : start + IN_A_CALL] for start in range(0, len(names), IN_A_CALL)]
    server.ask("GET", "/v1/opentill/orders?limit=1")  # signs in, once for all threads
    with _progress() as progress, ThreadPoolExecutor(AT_ONCE) as pool:
        bar = progress.add_task("cancel", total=len(names))
        pending = [pool.submit(_cancelled, server, call, said) for call in calls]
        try:
            for each in pending:
                results = each.result()
                progress.advance(bar, len(results))
                yield from results
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _progress() -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        disable=not sys.stderr.isatty(),
    )


def _cancelled(server: RunningServer, names: Sequence[str], said: Mapping[str, Any]) -> list[dict[str, Any]]:
    key = RandomIds().uuid()
    deadline = time.monotonic() + PATIENCE_SECONDS
    body = {"orderReferences": names, **said}
    while True:
        answer = _asked(server, body, key)
        if answer is not None and answer.status == 200:
            results: list[dict[str, Any]] = answer.data["results"]
            return results
        if answer is not None and not _passes(answer):
            raise OperatorError(f"orders were not cancelled, HTTP {answer.status}: {answer.description}.")
        if time.monotonic() > deadline:
            raise OperatorError("the server is away or busy; run the same again to cancel the rest.")
        time.sleep(PAUSE_SECONDS)


def _asked(server: RunningServer, body: object, key: str) -> ServerAnswer | None:
    try:
        headers = {"Idempotency-Key": key}
        return server.answer("POST", "/v1/opentill/orders/cancel", body, **headers)
    except Unreachable:
        return None


def _passes(answer: ServerAnswer) -> bool:
    """Tell whether it may be answered otherwise soon."""
    return answer.status in {429, 503} or answer.reason == _IN_PROGRESS
