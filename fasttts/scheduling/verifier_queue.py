"""Scores queued steps: decides when a batch is due, and which search a failure belongs to.

At the barrier (the paper, and early verification off): once a decision waits for nothing but
scores. Early: as soon as enough tokens are queued to use the device well. A verifier that works in
other threads or processes runs while sequences decode; the paper's runs in between, and then a
search whose scores choose among whole answers alone waits for its barrier, or for a large batch:
each one holds up what decodes.
"""

import concurrent.futures
import itertools
import time
from collections.abc import Callable, Iterable, Sequence

from fasttts.config import SchedulingConfig
from fasttts.errors import BackendError
from fasttts.interfaces import Verification, Verifier
from fasttts.scheduling.latency import warn_if_slow
from fasttts.scheduling.run import Failure, SearchRun
from fasttts.scheduling.usage import Account
from fasttts.scheduling.verifier_batching import (
    WAITED_FOR_TOKENS,
    Batch,
    Job,
    ScoringWork,
    asked,
    batches,
    early_batch_tokens,
    take_scores,
    translated,
)
from fasttts.tree import Node
from fasttts.verifiers.async_scoring import read_verification
from fasttts.verifiers.resolve import is_batched, is_beside, is_serial

_DEADLINE_MARGIN = 2.0
"""How much earlier than expected to be necessary answers are scored before a deadline."""


class VerifierQueue:
    """Scores the queued steps of all searches in one batch.

    Args:
        verifier: Scores; None where no search uses one.
        config: Determines when a batch is due and what it holds.
        account: Collects the seconds.
        clock: Returns seconds.
        longest_wait_s: Longest wait for scores of one call of `advance`, in seconds.
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
        self._is_batched = verifier is not None and is_batched(verifier)
        self._is_beside = verifier is not None and is_beside(verifier)
        self._config = config
        self._account = account
        self._clock = clock
        self._longest_wait_s = longest_wait_s
        self.num_scored = 0
        """Nodes whose scores have arrived so far."""
        self._token_s: float | None = None
        """Seconds for a token that was scored last; None before."""
        self._returned_at: float | None = None
        self._between_s = 0.0
        """Seconds from the end of one call of `advance` to the beginning of the next."""
        self._jobs: list[Job] = []
        self._begun: set[Node] = set()
        """The nodes of all jobs."""

    def advance(self, runs: Sequence[SearchRun], *, is_idle: bool) -> list[Failure] | None:
        """Collects the scores that are complete and begins the batches that are due.

        Args:
            runs: The searches.
            is_idle: Whether nothing decodes, so that there is time to wait for scores.

        Returns:
            The searches that failed; when a batch of several fails, each is tried alone. None where
            no batch ended.
        """
        if self._returned_at is not None:
            self._between_s = self._clock() - self._returned_at
        try:
            return self._advance(runs, is_idle=is_idle)
        finally:
            self._returned_at = self._clock()

    def _advance(self, runs: Sequence[SearchRun], *, is_idle: bool) -> list[Failure] | None:
        failures = self._collect()
        if failures:
            return failures
        free = [] if self._is_serial and self._jobs else runs
        queued = [(run, nodes) for run in free if (nodes := self._queued(run))]
        if queued and self._is_due(queued):
            self._begin_all([(run, self._batches(run, nodes)) for run, nodes in queued])
        elif is_idle and self._jobs and failures is None:
            self._wait()
        more = self._collect()
        return failures if more is None else more

    def forget(self, run: SearchRun) -> None:
        """Drops the pending scores of a search that has ended."""
        for job in list(self._jobs):
            job.ended.add(run)
            if not self._is_serial and job.ended.issuperset(one for one, _ in job.work):
                self._end(job)
                job.give_up()

    def _wait(self) -> None:
        """Blocks until a job can continue, for a while at most."""
        started = self._clock()
        waited_for = [job.waits_for for job in self._jobs if job.waits_for is not None]
        first = concurrent.futures.FIRST_COMPLETED
        concurrent.futures.wait(waited_for, self._longest_wait_s, return_when=first)
        self._spent(started, self._jobs)

    def _spent(self, started: float, jobs: Iterable[Job]) -> float:
        """Adds the time since `started`, in which jobs blocked the loop; returns it."""
        seconds = self._clock() - started
        self._account.verified(seconds)
        for job in jobs:
            job.seconds += seconds
        return seconds

    def _queued(self, run: SearchRun) -> list[Node]:
        """The nodes to score; speculative ones only where they may be scored early.

        Nodes behind one whose score is pending follow later.
        """
        nodes = list(run.unscored.values())
        if self._begun:
            nodes = [n for n in nodes if self._begun.isdisjoint(n.lineage())]
        if self._config.early_verification or self._config.lookahead_verification:
            return nodes
        return [node for node in nodes if node.is_attached]

    def _is_due(self, queued: Sequence[tuple[SearchRun, list[Node]]]) -> bool:
        if any(run.is_awaiting_scores() for run, _ in queued) or self._is_urgent(queued):
            return True
        if not self._config.early_verification:
            return False
        due = self._config.verification_batch_tokens
        takes_all = bool(due) or self._is_beside
        early = [one for one in queued if takes_all or one[0].gains_from_early_scores()]
        num_beams = sum(run.num_roots for run, _ in early)
        enough = due or early_batch_tokens(num_beams, is_beside=self._is_serial)
        is_early = bool(early) and _num_tokens(early) >= enough
        return is_early or _num_tokens(queued) >= WAITED_FOR_TOKENS

    def _is_urgent(self, queued: Sequence[tuple[SearchRun, list[Node]]]) -> bool:
        """Whether answers would have no score at the deadline of their search.

        How long scoring takes is known from the last batch; the first answer of all tells.
        """
        now = self._clock()
        answered = (run for run, nodes in queued if any(node.is_answer_ended for node in nodes))
        left_s = [left for run in answered if (left := run.budget.seconds_left(now)) is not None]
        if not left_s or self._is_beside or self._token_s is None:
            return bool(left_s)
        expected_s = self._token_s * _num_tokens(queued) + self._between_s
        return min(left_s) <= _DEADLINE_MARGIN * expected_s

    def _batches(self, run: SearchRun, nodes: Sequence[Node]) -> list[Batch]:
        request = run.request
        return batches(nodes, request.problem, self._config, request.config.aggregation)

    def _begin_all(self, work: list[ScoringWork]) -> None:
        """Begins one batch, or one for each search, so that a call that hangs holds up its own."""
        for part in [work] if self._is_batched else [[one] for one in work]:
            self._begin(part)

    def _begin(self, work: list[ScoringWork]) -> None:
        assert self._verifier is not None, "a search that scores was admitted without a verifier"
        requests = [batch.request for _, own in work for batch in own]
        job = Job(work, asked(self._verifier, requests), self._clock())
        self._jobs.append(job)
        self._begun.update(job.nodes())

    def _collect(self) -> list[Failure] | None:
        """Resumes every job, and those that replace a failed one."""
        failures: list[Failure] = []
        num_ended = 0
        index = 0
        while index < len(self._jobs):
            job = self._jobs[index]
            outcome = self._resumed(job)
            if outcome is None:
                index += 1
                continue
            self._end(job)
            num_ended += 1
            if isinstance(outcome, BackendError):
                job.give_up()
                failures += self._failed(job, outcome)
            else:
                num_tokens = sum(len(node.token_ids) for node in job.nodes())
                self._token_s = job.seconds / max(1, num_tokens)
                failures += self._take(job, outcome)
        return failures if num_ended else None

    def _resumed(self, job: Job) -> list[Verification] | BackendError | None:
        """Resumes a job; returns its verifications or its error, None while it waits."""
        started = self._clock()
        try:
            answers = job.resume()
        except BaseException as error:  # noqa: BLE001, a verifier may be a user's class
            return translated(error)
        finally:
            warn_if_slow("the verifier", self._verifier, self._spent(started, [job]))
        return self._overdue(job) if answers is None else answers

    def _overdue(self, job: Job) -> BackendError | None:
        """The error of a job that waits for too long; None while it may wait."""
        timeout_s = self._config.verifier_timeout_s
        if timeout_s is None or job.running_s(self._clock()) <= timeout_s:
            return None
        assert self._verifier is not None
        message = (
            f"a call of the verifier {self._verifier.name} took more than "
            f"verifier_timeout_s={timeout_s:g}: raise that option of scheduling, or see why it "
            "hangs"
        )
        return BackendError(message, role="verifier")

    def _end(self, job: Job) -> None:
        self._jobs.remove(job)
        self._begun = {node for other in self._jobs for node in other.nodes()}

    def _failed(self, job: Job, error: BackendError) -> list[Failure]:
        """Searches that failed with a job; of several searches, each begins again alone."""
        work = [(run, own) for run, own in job.work if run not in job.ended]
        for run, own in work:
            job.note(run, own, self._clock(), error=error)
        if len(job.work) == 1:
            return [(run, error) for run, _ in work]
        for one in work:
            self._begin([one])
        return []

    def _take(self, job: Job, verifications: Sequence[Verification]) -> list[Failure]:
        """Passes scores to the searches; one with invalid scores fails alone."""
        answers = iter(verifications)
        failures: list[Failure] = []
        for run, own in job.work:
            mine = list(itertools.islice(answers, len(own)))
            if run in job.ended:
                continue
            run.counts.verification_s += job.seconds
            before = _verifier_tokens(run)
            failure = None
            try:
                self.num_scored += _give(run, own, mine)
            except Exception as error:  # noqa: BLE001, it is returned
                failure = translated(error)
                failures.append((run, failure))
            after = _verifier_tokens(run)
            num_tokens = (after[0] - before[0], after[1] - before[1])
            job.note(run, own, self._clock(), num_tokens=num_tokens, error=failure)
        return failures


def _verifier_tokens(run: SearchRun) -> tuple[int, int]:
    """Tokens of a search that the verifier computed, and that its prefix cache supplied."""
    return run.counts.verifier_computed_tokens, run.counts.verifier_cached_tokens


def _give(run: SearchRun, own: Sequence[Batch], answers: Sequence[Verification]) -> int:
    """Passes scores to a search, and counts them; nodes that it has dropped need none."""
    for batch, found in zip(own, answers, strict=True):
        answer = read_verification(found, batch.request)
        take_scores(batch, answer)
        run.counts.verifier_computed_tokens += answer.num_computed_tokens
        run.counts.verifier_cached_tokens += answer.num_cached_tokens
        run.counts.num_verifications += 1
    nodes = [node for batch in own for node in batch.nodes if run.unscored.get(node.path) is node]
    run.scored(sorted(nodes, key=lambda node: node.depth))
    return len(nodes)


def _num_tokens(queued: Sequence[tuple[SearchRun, list[Node]]]) -> int:
    return sum(len(node.token_ids) for _, nodes in queued for node in nodes)
