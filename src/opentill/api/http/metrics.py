"""``GET /metrics``: how this process and its database are doing, in the format of Prometheus.

Each process answers for itself; what is asked of the database is the same on all of them. No merchant, order
or URL stands in any label. Whether there is such a path at all is a setting.
"""

import asyncio
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import structlog
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from opentill.clock import Clock
from opentill.engine.engine import Engine
from opentill.engine.errors import EngineError
from opentill.engine.reader import Reader
from opentill.engine.threads import StoreThreads
from opentill.store.errors import StoreError
from opentill.store.orders.contract import Snapshot
from opentill.store.outbox.contract import OutboxHealth

PATH: Final = b"/metrics"
_BUCKETS: Final = (1, 2, 4, 8, 16, 32, 64, 128, 256)
_OVERDUE_CALLS_COUNTED: Final = 1000
"""Beyond it they are not counted on."""

_log = structlog.get_logger("opentill.metrics")


@dataclass(frozen=True, slots=True)
class DatabaseFigures:
    """Figures of the database about the work that waits."""

    oldest_due_seconds: float
    overdue_calls: int
    outbox: OutboxHealth


class Metrics:
    """The ASGI application of this one path."""

    def __init__(self, engine: Engine, reader: Reader, threads: StoreThreads, clock: Clock):
        self._engine = engine
        self._reader = reader
        self._threads = threads
        self._clock = clock

    async def __call__(self, scope: Any, _receive: Any, send: Any) -> None:
        """Answer a scrape; anything but GET is told so."""
        allowed = scope["method"] in {"GET", "HEAD"}
        body = await self.render() if allowed else b""
        headers = [(b"content-type", CONTENT_TYPE_LATEST.encode()), (b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": 200 if allowed else 405, "headers": headers})
        await send({"type": "http.response.body", "body": body if scope["method"] == "GET" else b""})

    async def render(self) -> bytes:
        """Return all of it as text; without what the database would say when it does not answer."""
        found: DatabaseFigures | None = None
        try:
            found = await self._ask()
        except (EngineError, StoreError) as error:
            _log.warning("metrics_without_database", error=type(error).__name__)
        registry = CollectorRegistry(auto_describe=False)
        registry.register(_Reading([*self._of_engine(), *_of_database(found)]))
        return await asyncio.to_thread(generate_latest, registry)

    async def _ask(self) -> DatabaseFigures:
        due, calls = await self._reader.ask(self._waiting, None)
        return DatabaseFigures(due, calls, await self._threads.read(self._threads.store.outbox.outbox_health))

    def _waiting(self, snapshot: Snapshot) -> tuple[float, int]:
        now = self._clock.now()
        first = snapshot.first_due_at()
        late = 0 if first is None else now + snapshot.facts(()).clock_offset - first
        return max(late, 0) / 1000, len(snapshot.overdue_calls(now, _OVERDUE_CALLS_COUNTED))

    def _of_engine(self) -> Iterator[Metric]:
        metrics = self._engine.metrics
        queue = GaugeMetricFamily("opentill_queue_depth", "Commands that wait for a commit.", labels=["lane"])
        for lane, depth in self._engine.waiting().items():
            queue.add_metric([lane], depth)
        yield queue
        outcomes = CounterMetricFamily(
            "opentill_commands", "Commands by how they ended.", labels=["command", "outcome"]
        )
        for (command, outcome), number in sorted(metrics.outcomes.items()):
            outcomes.add_metric([command, outcome], number)
        yield outcomes
        yield _histogram(metrics.batch_sizes)
        yield CounterMetricFamily("opentill_commit_seconds", "Time that all commits took.", metrics.seconds)
        yield CounterMetricFamily("opentill_batches_run_again", "Batches tried again.", metrics.runs_again)
        yield CounterMetricFamily(
            "opentill_batches_run_one_by_one", "Batches that failed as a whole.", metrics.run_alone
        )
        yield CounterMetricFamily(
            "opentill_commits_unknown", "Commits whose answer was lost.", metrics.commits_unknown
        )


def _histogram(sizes: Counter[int]) -> HistogramMetricFamily:
    """Return how many commands shared each commit."""
    family = HistogramMetricFamily("opentill_batch_commands", "Commands that shared a commit.")
    known = dict(sizes)
    buckets = [
        (str(most), sum(number for size, number in known.items() if size <= most)) for most in _BUCKETS
    ]
    commands = sum(size * number for size, number in known.items())
    family.add_metric([], [*buckets, ("+Inf", sum(known.values()))], commands)
    return family


def _of_database(found: DatabaseFigures | None) -> Iterator[Metric]:
    answers = 0 if found is None else 1
    yield GaugeMetricFamily("opentill_database_answers", "Whether the database answered.", answers)
    if found is None:
        return
    yield GaugeMetricFamily(
        "opentill_oldest_due_order_seconds", "Age of the oldest due order.", found.oldest_due_seconds
    )
    yield GaugeMetricFamily("opentill_overdue_calls", "Orders with an overdue call.", found.overdue_calls)
    deliveries = GaugeMetricFamily("opentill_deliveries", "Webhook deliveries.", labels=["state"])
    deliveries.add_metric(["pending"], found.outbox.pending)
    deliveries.add_metric(["dead"], found.outbox.dead)
    yield deliveries
    paused = found.outbox.paused_endpoints
    yield GaugeMetricFamily("opentill_endpoints_paused", "Webhook endpoints that only fail.", paused)
    unplaced = found.outbox.unplaced
    yield GaugeMetricFamily("opentill_events_unplaced", "Events that wait to be told.", unplaced)


class _Reading(Collector):
    """The figures of one moment."""

    def __init__(self, metrics: Iterable[Metric]):
        self._metrics = list(metrics)

    def collect(self) -> Iterable[Metric]:
        """Return all of it."""
        return self._metrics
