"""Metrics: what an engine has done since its process started, counted as cheaply as can be."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from opentill.domain.refusals import Refusal
from opentill.engine.batch import Result, Submission
from opentill.engine.errors import EngineError


@dataclass(slots=True)
class EngineMetrics:
    """The counts of one engine; they only grow."""

    outcomes: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Commands by name and how they ended: done, replayed, the reason of a refusal, the name of a fault."""
    batch_sizes: Counter[int] = field(default_factory=Counter)
    """Batches by the number of commands that shared their commit."""
    seconds: float = 0.0
    """The time that all commits took together, tries included."""
    runs_again: int = 0
    """Batches that the database turned down and that were tried again."""
    commits_unknown: int = 0
    """Commits whose answer was lost."""
    run_alone: int = 0
    """Batches that failed as a whole, so that each of their commands got a commit of its own."""

    def note(
        self, submissions: Sequence[Submission], results: Sequence[Result | EngineError], seconds: float
    ) -> None:
        """Count one batch that was carried out in so many seconds, and how each of its commands ended."""
        self.batch_sizes[len(submissions)] += 1
        self.seconds += seconds
        for submission, result in zip(submissions, results, strict=True):
            self.outcomes[type(submission.command).__name__, _ending(result)] += 1


def _ending(result: Result | EngineError) -> str:
    if isinstance(result, EngineError):
        return type(result).__name__
    if isinstance(result.outcome, Refusal):
        return result.outcome.reason or type(result.outcome).__name__
    return "replayed" if result.replayed else "done"
