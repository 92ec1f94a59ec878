"""The one door: ``await engine.submit(command)``. Commands that wait together share one commit.

No order changes and no money moves anywhere else. The steps of one commit, and what happens when it
fails, are in ``_Committer``; the queue and its fairness are in ``queue``.
"""

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, cast

import structlog

from opentill.clock import Clock
from opentill.domain.commands import Command
from opentill.domain.refusals import IdempotencyKeyInProgress
from opentill.domain.sharing import NO_FEE, FeeTerms
from opentill.engine.batch import Outcome, Render, Result, Submission, WorkingSet
from opentill.engine.errors import CommandFailed, EngineError, OutcomeUnknown, Overloaded
from opentill.engine.metrics import EngineMetrics
from opentill.engine.queue import Queue, QueueLimits
from opentill.engine.threads import StoreThreads
from opentill.store.errors import CommitUnknown, LockTimeout, StoreError, Transient
from opentill.store.interface import Store
from opentill.store.orders.contract import Batch, CommitMarker, KeyClaim, TokenId

__all__ = ["Engine", "EngineSettings", "Outcome", "Render", "Result"]

TRIES: Final = 3
"""The times that a batch is run when the database says that trying again may help."""
LOOKS: Final = 2
"""The further times, once a commit got lost: an answer that is unknown is worse than a late one."""
PAUSE_MILLISECONDS: Final = 20
KEY_POLL_SECONDS: Final = 0.05

_log = structlog.get_logger("opentill.engine")


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """The limits of an engine."""

    max_batch: int = 256
    """Commands that share a commit at the most; 1 turns group commit off."""
    queue_limit: int = 4096
    key_seconds: int = 24 * 3600
    """How long an idempotency key and its reply are kept (ruling 9)."""
    commit_wait_seconds: float = 20.0
    """How long callers wait for a commit; longer than all tries of a batch that the database turns down."""
    key_wait_seconds: float = 5.0
    """How long a request waits for an earlier one with its key that is still running."""
    fee: FeeTerms = NO_FEE
    """What a payment costs its merchant."""


class Engine:
    """The one door: takes commands, decides them in batches and answers after the commit."""

    def __init__(self, threads: StoreThreads, clock: Clock, settings: EngineSettings):
        self._threads = threads
        self._settings = settings
        self._stuck: asyncio.Future[Sequence[Result | EngineError]] | None = None
        """A batch that its callers have stopped waiting for; nothing else is begun before it ends."""
        self.metrics = EngineMetrics()
        self._committer = _Committer(threads.store, clock, settings, self.metrics)
        self._queue: Queue[Submission, Result] = Queue(
            self._carry_out, QueueLimits(settings.max_batch, settings.queue_limit)
        )

    def start(self) -> None:
        """Begin to serve; call once, inside the running event loop."""
        self._queue.start()

    async def close(self) -> None:
        """Refuse what is new, commit and answer everything that was accepted.

        While the database does not take writes, the answer is Overloaded at once: nothing was done.
        """
        self._committer.stopping = True
        await self._queue.close()
        if self._stuck is not None:
            await asyncio.wait({self._stuck})

    def waiting(self) -> dict[str, int]:
        """Return how many commands wait for a commit, by their lane: foreground and background."""
        return self._queue.waiting()

    async def submit(
        self,
        command: Command,
        *,
        render: Render | None = None,
        claim: KeyClaim | None = None,
        token: TokenId | None = None,
        completes_key: str | None = None,
        background: bool = False,
    ) -> Result:
        """Carry out a command; returns after its commit. Refusals are outcomes, not exceptions.

        ``token`` is checked for revocation in the command's own transaction, ``claim`` makes it
        happen once per idempotency key, ``background`` lets foreground commands go first.

        Raises Overloaded (nothing was accepted), CommandFailed (nothing was done) or OutcomeUnknown
        (it may or may not have been done; asking again tells).
        """
        submission = Submission(command, render, claim, token, completes_key)
        result = await self._queue.submit(submission, command.account_id, background=background)
        if isinstance(result.outcome, IdempotencyKeyInProgress):
            return await self._wait_for_key(submission, result)
        return result

    async def submit_all(self, commands: Iterable[Command]) -> Sequence[Result | EngineError]:
        """Carry out what a worker found to do, behind foreground commands; returns after the last commit.

        One task for all of them: a task for each would cost a third of what the command itself does. An
        error is the answer of its own command alone.
        """
        answers = await asyncio.gather(*map(self._queued, commands), return_exceptions=True)
        for answer in answers:
            if isinstance(answer, BaseException) and not isinstance(answer, EngineError):
                raise answer
        return cast("Sequence[Result | EngineError]", answers)

    def _queued(self, command: Command) -> asyncio.Future[Result]:
        try:
            return self._queue.submit(Submission(command), command.account_id, background=True)
        except Overloaded as error:
            refused: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
            refused.set_exception(error)
            return refused

    async def _wait_for_key(self, submission: Submission, result: Result) -> Result:
        """Ask again until the first request with the key has its answer, or the wait runs out."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._settings.key_wait_seconds
        while isinstance(result.outcome, IdempotencyKeyInProgress) and loop.time() < deadline:
            await asyncio.sleep(KEY_POLL_SECONDS)
            result = await self._queue.submit(submission, submission.command.account_id)
        return result

    async def _carry_out(self, submissions: Sequence[Submission]) -> Sequence[Result | EngineError]:
        """Wait for a commit, but not for ever: one that waits for its standby may never come back."""
        if self._stuck is not None and not self._stuck.done():
            return [Overloaded()] * len(submissions)
        loop = asyncio.get_running_loop()
        begun = loop.time()
        work = asyncio.ensure_future(self._threads.write(self._committer.carry_out, submissions))
        done, _ = await asyncio.wait({work}, timeout=self._settings.commit_wait_seconds)
        if done:
            self.metrics.note(submissions, work.result(), loop.time() - begun)
            return work.result()
        _log.error("commit_hangs", commands=len(submissions))
        self._stuck = work
        return [OutcomeUnknown()] * len(submissions)


class _Committer:
    """The one commit for all who wait, and what is done when it fails. Runs on the writer thread."""

    def __init__(
        self, store: Store, clock: Clock, settings: EngineSettings, metrics: EngineMetrics | None = None
    ):
        self._store = store
        self._clock = clock
        self._key_milliseconds = settings.key_seconds * 1000
        self._fee = settings.fee
        self._metrics = metrics or EngineMetrics()
        self.stopping = False
        self._hopeless = False
        """The database refused a write while the server stops; the rest is not even tried."""

    def carry_out(self, submissions: Sequence[Submission]) -> Sequence[Result | EngineError]:
        """Run the commands together; if one of them is poison, each alone, so that only it fails."""
        try:
            return self._run(submissions)
        except EngineError as error:
            return [error] * len(submissions)
        except Exception as error:  # noqa: BLE001 - a poison command may raise anything
            if len(submissions) == 1:
                _log.error("command_failed", command=type(submissions[0].command).__name__, exc_info=error)
                return [CommandFailed()]
            self._metrics.run_alone += 1
            said = str(error) if isinstance(error, StoreError) else ""
            _log.warning(
                "batch_run_one_by_one", commands=len(submissions), error=type(error).__name__, said=said
            )
        return [result for one in submissions for result in self.carry_out([one])]

    def _run(self, submissions: Sequence[Submission]) -> Sequence[Result]:
        """Run the commands together until they are committed, or nothing more helps.

        Once a commit got lost, whatever stops the search for it leaves all of them unknown: only here is
        known what was lost, so that each alone would be judged a second time, blindly.
        """
        lost: _CommitLost | None = None
        tries_left = TRIES
        while tries_left and not self._hopeless:
            tries_left -= 1
            try:
                return self._commit(submissions, lost)
            except LockTimeout:
                if len(submissions) > 1 and lost is None:
                    raise  # each alone: whoever needs no such lock need not wait for it
                self._clock.pause(PAUSE_MILLISECONDS)
            except Transient as error:
                self._hopeless = self.stopping
                self._metrics.runs_again += 1
                _log.warning("batch_runs_again", commands=len(submissions), error=str(error))
                self._clock.pause(PAUSE_MILLISECONDS)
            except _CommitLost as unknown:
                self._metrics.commits_unknown += 1
                _log.warning("commit_unknown", commands=len(submissions), error=str(unknown.__cause__))
                self._hopeless = self.stopping
                tries_left += 0 if lost else LOOKS
                lost = unknown
            except Exception as error:
                if lost is None:
                    raise
                _log.error("commit_not_found_out", commands=len(submissions), exc_info=error)
                raise OutcomeUnknown from error
        raise OutcomeUnknown if lost else Overloaded

    def _commit(self, submissions: Sequence[Submission], lost: "_CommitLost | None") -> Sequence[Result]:
        """Run one transaction. It begins by looking for what a ``lost`` one wrote, which is then the answer.

        Never judge again blindly: we would refuse our own cancel. The locks come first, so a commit that is
        still going on has ended before it is looked for; what is found, and refusals too, count only once
        this transaction is committed, which waits for a standby as every commit does.
        """
        with self._store.batch() as batch:
            working = self._load(batch, submissions)
            marker: CommitMarker | None
            if lost is not None and batch.contains(lost.marker):
                results, marker = lost.results, lost.marker
            else:
                results, marker = self._judge(batch, working, submissions)
            try:
                batch.commit()
            except CommitUnknown as unknown:
                if marker is None:
                    raise Transient("the commit of refusals got lost") from unknown
                raise _CommitLost(marker, results) from unknown
        return results

    def _judge(
        self, batch: Batch, working: WorkingSet, submissions: Sequence[Submission]
    ) -> tuple[Sequence[Result], CommitMarker | None]:
        """Decide one after another, then write all of it; nothing is written where everything was refused."""
        results = [working.decide(submission) for submission in submissions]
        marker = working.commit_marker()
        if marker is not None:
            batch.write(working.changes)
            expires_at = working.real_time + self._key_milliseconds
            batch.write_keys(working.new_keys.values(), working.certain_time, expires_at)
            batch.store_replies(working.replies)
        return results, marker

    def _load(self, batch: Batch, submissions: Sequence[Submission]) -> WorkingSet:
        facts = batch.facts({s.token for s in submissions if s.token})
        now = self._clock.now()
        asked = {s.transaction for s in submissions if s.transaction}
        transactions = batch.orders_of_transactions(asked) if asked else {}
        orders = batch.lock_orders({s.name for s in submissions if s.name} | set(transactions.values()))
        charged = {s.saved_card for s in submissions if s.saved_card}
        cards = batch.saved_cards(charged) if charged else ()
        claimed = {(s.claim.account_id, s.claim.key) for s in submissions if s.claim}
        keys = batch.keys(claimed, facts.certain(now)) if claimed else {}
        return WorkingSet(facts, keys, transactions, orders, now, self._fee, cards)


class _CommitLost(Exception):
    def __init__(self, marker: CommitMarker, results: Sequence[Result]):
        self.marker = marker
        self.results = results
