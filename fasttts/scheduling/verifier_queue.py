"""The verifier's side of the loop: when queued steps are scored, and whose fault a failure is.

At the barrier (the paper, and early verification off): once a decision waits for nothing but
scores. Early: as soon as enough tokens are queued to use the device well. A verifier that works in
other threads or processes is not waited for while sequences decode; the paper's runs in between.
"""

import concurrent.futures
import itertools
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from fasttts.config import SchedulingConfig
from fasttts.errors import BackendError, ContractError
from fasttts.interfaces import Verification, VerificationRequest, Verifier
from fasttts.scheduling.recovery import retrying
from fasttts.scheduling.run import Failure, SearchRun
from fasttts.scheduling.usage import Account
from fasttts.scheduling.verifier_batching import Batch, batches, early_batch_tokens, take_scores
from fasttts.tree import Node
from fasttts.verifiers.async_scoring import AsyncScoring, scoring_of
from fasttts.verifiers.resolve import is_serial

_RETRYING = retrying()

ScoringWork = tuple[SearchRun, list[Batch]]


@dataclass(slots=True, eq=False)
class _Job:
    """Work that the verifier has begun."""

    work: list[ScoringWork]
    scoring: AsyncScoring
    seconds: float = 0.0
    """How long it held up the loop, by its own work or by waiting."""
    waits_for: "concurrent.futures.Future[Any] | None" = None
    ended: set[SearchRun] = field(default_factory=set)
    """Searches that wait for it no more."""

    def nodes(self) -> Iterator[Node]:
        return (node for _, own in self.work for batch in own for node in batch.nodes)

    def resume(self) -> list[Verification] | None:
        """The verifications; None while they are not there."""
        while self.waits_for is None or self.waits_for.done():
            try:
                self.waits_for = next(self.scoring)
            except StopIteration as end:
                verifications: list[Verification] = end.value
                return verifications
        return None


class VerifierQueue:
    """Scores the queued steps of all searches in one batch.

    Args:
        verifier: Scores; None where no search uses one.
        config: When a batch is due and what it holds.
        account: Where seconds are added.
        clock: Seconds.
        longest_wait_s: How long one call of `advance` waits for scores at most.
    """

    def __init__(
        self,
        verifier: Verifier | None,
        config: SchedulingConfig,
        account: Account,
        clock: Callable[[], float] = time.perf_counter,
        *,
        longest_wait_s: float,
    ) -> None:
        self._verifier = verifier
        self._is_serial = verifier is not None and is_serial(verifier)
        self._config = config
        self._account = account
        self._clock = clock
        self._longest_wait_s = longest_wait_s
        self._jobs: list[_Job] = []
        self._begun: set[Node] = set()
        """The nodes of all jobs."""

    def advance(self, runs: Sequence[SearchRun], *, is_idle: bool) -> list[Failure] | None:
        """Takes the scores that are there and begins what is due.

        Args:
            runs: The searches.
            is_idle: Whether nothing decodes, so that there is time to wait for scores.

        Returns:
            The searches that failed; when a batch of several fails, each is tried alone. None
            where nothing came back.
        """
        failures = self._collect()
        if failures:
            return failures
        free = [] if self._is_serial and self._jobs else runs
        queued = [(run, nodes) for run in free if (nodes := self._queued(run))]
        if queued and self._is_due(queued):
            self._begin([(run, self._batches(run, nodes)) for run, nodes in queued])
        elif is_idle and self._jobs and failures is None:
            self._wait()
        more = self._collect()
        return failures if more is None else more

    def forget(self, run: SearchRun) -> None:
        """Says that a search has ended: what is still on its way for it is dropped."""
        for job in self._jobs:
            job.ended.add(run)

    def _wait(self) -> None:
        """Blocks until a job can go on, for a while at most."""
        started = self._clock()
        waited_for = [job.waits_for for job in self._jobs if job.waits_for is not None]
        first = concurrent.futures.FIRST_COMPLETED
        concurrent.futures.wait(waited_for, self._longest_wait_s, return_when=first)
        self._spent(started, self._jobs)

    def _spent(self, started: float, jobs: Iterable[_Job]) -> None:
        """Notes that the loop was held up by jobs since `started`."""
        seconds = self._clock() - started
        self._account.verified(seconds)
        for job in jobs:
            job.seconds += seconds

    def _queued(self, run: SearchRun) -> list[Node]:
        """The nodes to score; speculative ones only where they may be scored ahead.

        What lies behind a node whose score is on its way follows when that is there.
        """
        nodes = list(run.unscored.values())
        if self._begun:
            nodes = [n for n in nodes if self._begun.isdisjoint(n.lineage())]
        if self._config.early_verification or self._config.lookahead_verification:
            return nodes
        return [node for node in nodes if node.is_attached]

    def _is_due(self, queued: Sequence[tuple[SearchRun, list[Node]]]) -> bool:
        if any(run.is_awaiting_scores() for run, _ in queued):
            return True
        if not self._config.early_verification:
            return False
        num_tokens = sum(len(node.token_ids) for _, nodes in queued for node in nodes)
        num_beams = sum(run.num_roots for run, _ in queued)
        due = self._config.verification_batch_tokens
        return num_tokens >= (due or early_batch_tokens(num_beams, is_beside=self._is_serial))

    def _batches(self, run: SearchRun, nodes: Sequence[Node]) -> list[Batch]:
        request = run.request
        return batches(nodes, request.problem, self._config, request.config.aggregation)

    def _begin(self, work: list[ScoringWork]) -> None:
        assert self._verifier is not None, "a search that scores was admitted without a verifier"
        requests = [batch.request for _, own in work for batch in own]
        job = _Job(work, _asked(self._verifier, requests))
        self._jobs.append(job)
        self._begun.update(job.nodes())

    def _collect(self) -> list[Failure] | None:
        """Resumes every job, and those that take the place of a failed one."""
        failures: list[Failure] = []
        num_ended = 0
        index = 0
        while index < len(self._jobs):
            job = self._jobs[index]
            started = self._clock()
            try:
                answers = job.resume()
            except BackendError as error:
                self._end(job)
                num_ended += 1
                failures += self._failed(job, error)
                continue
            finally:
                self._spent(started, [job])
            if answers is None:
                index += 1
                continue
            self._end(job)
            num_ended += 1
            failures += self._take(job, answers)
        return failures if num_ended else None

    def _end(self, job: _Job) -> None:
        self._jobs.remove(job)
        self._begun = {node for other in self._jobs for node in other.nodes()}

    def _failed(self, job: _Job, error: BackendError) -> list[Failure]:
        """Who failed with a job; where that is not known, each search begins again alone."""
        work = [(run, own) for run, own in job.work if run not in job.ended]
        if len(job.work) == 1:
            return [(run, error) for run, _ in work]
        for one in work:
            self._begin([one])
        return []

    def _take(self, job: _Job, verifications: Sequence[Verification]) -> list[Failure]:
        """Gives the searches their scores; one whose scores are none fails alone."""
        answers = iter(verifications)
        failures: list[Failure] = []
        for run, own in job.work:
            mine = list(itertools.islice(answers, len(own)))
            if run in job.ended:
                continue
            run.counts.verification_s += job.seconds
            try:
                _give(run, own, mine)
            except BackendError as error:
                failures.append((run, error))
        return failures


def _asked(verifier: Verifier, requests: list[VerificationRequest]) -> AsyncScoring:
    """The verifier's flow, retried where that may help, and its errors as ours."""
    if not requests:
        return []
    try:
        for attempt in _RETRYING.copy():  # several batches may be tried again at a time
            with attempt:
                verifications = yield from scoring_of(verifier, requests)
    except BackendError:
        raise
    except Exception as error:  # a verifier may be a user's class and raise anything
        message = f"the verifier failed: {type(error).__name__}: {error}"
        raise BackendError(message, role="verifier") from error
    if len(verifications) != len(requests):
        message = f"{len(verifications)} verifications for {len(requests)} requests"
        raise ContractError(message, role="verifier")
    return verifications


def _give(run: SearchRun, own: Sequence[Batch], answers: Sequence[Verification]) -> None:
    """Gives a search its scores; nodes that it has dropped meanwhile need none."""
    for batch, answer in zip(own, answers, strict=True):
        take_scores(batch, answer)
        run.counts.verifier_computed_tokens += answer.num_computed_tokens
        run.counts.verifier_cached_tokens += answer.num_cached_tokens
        run.counts.num_verifications += 1
    nodes = [node for batch in own for node in batch.nodes if run.unscored.get(node.path) is node]
    run.scored(sorted(nodes, key=lambda node: node.depth))
