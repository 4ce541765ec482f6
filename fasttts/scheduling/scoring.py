"""The verifier's side of the loop: when queued steps are scored, and whose fault a failure is.

At the barrier (the paper, and early verification off): once a decision waits for nothing but
scores. Early: as soon as enough tokens are queued to use the device well.
"""

import itertools
import time
from collections.abc import Callable, Iterable, Sequence

import tenacity

from fasttts.backends.base import Verification, VerificationRequest, Verifier
from fasttts.config import SchedulingConfig
from fasttts.errors import BackendError, ContractError
from fasttts.scheduling.accounting import Account
from fasttts.scheduling.run import SearchRun
from fasttts.scheduling.verification import Batch, batches, take_scores
from fasttts.tree import Node

_retrying = tenacity.Retrying(
    retry=tenacity.retry_if_exception(lambda error: getattr(error, "retryable", False)),
    stop=tenacity.stop_after_attempt(3),
    reraise=True,
)

Failure = tuple[SearchRun, BackendError]


class Scorer:
    """Scores the queued steps of all searches in one batch.

    Args:
        verifier: Scores; None where no search uses one.
        config: When a batch is due and what it holds.
        account: Where seconds are added.
        clock: Seconds.
    """

    def __init__(
        self,
        verifier: Verifier | None,
        config: SchedulingConfig,
        account: Account,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._verifier = verifier
        self._config = config
        self._account = account
        self._clock = clock

    def is_due(self, runs: Sequence[SearchRun]) -> bool:
        """Whether to score what these searches have queued."""
        if any(run.is_awaiting_scores() for run in runs):
            return True
        if not self._config.early_verification:
            return False
        num_tokens = sum(len(node.token_ids) for run in runs for node in run.unscored.values())
        return num_tokens >= self._config.verification_batch_tokens

    def score(self, runs: Sequence[SearchRun]) -> list[Failure]:
        """Scores the searches together; one that fails does not harm the others.

        Returns:
            The searches that failed. When a batch of several fails, each is tried alone.
        """
        try:
            return self._score(runs)
        except BackendError as error:
            if len(runs) == 1:
                return [(runs[0], error)]
        return [failure for run in runs for failure in self.score([run])]

    def _score(self, runs: Sequence[SearchRun]) -> list[Failure]:
        """As `score`, but raises what the whole batch failed with, having changed nothing."""
        work = [(run, self._batches(run)) for run in runs]
        started = self._clock()
        answers = iter(self._call([batch.request for _, all_ in work for batch in all_]))
        seconds = self._clock() - started
        self._account.verified(seconds)
        failures = []
        for run, own in work:
            run.counts.verification_s += seconds
            try:
                _give(run, own, itertools.islice(answers, len(own)))
            except BackendError as error:
                failures.append((run, error))
        return failures

    def _batches(self, run: SearchRun) -> list[Batch]:
        request = run.request
        aggregation = request.config.aggregation
        return batches(self._queued(run), request.problem, self._config, aggregation)

    def _queued(self, run: SearchRun) -> list[Node]:
        """The nodes to score; speculative ones only where they may be scored ahead."""
        if self._config.early_verification or self._config.lookahead_verification:
            return list(run.unscored.values())
        return [node for node in run.unscored.values() if node.is_attached]

    def _call(self, requests: list[VerificationRequest]) -> list[Verification]:
        assert self._verifier is not None, "a search that scores was admitted without a verifier"
        if not requests:
            return []
        try:
            verifications = _retrying(self._verifier.score, requests)
        except BackendError:
            raise
        except Exception as error:  # a verifier may be a user's function and raise anything
            message = f"the verifier failed: {type(error).__name__}: {error}"
            raise BackendError(message, role="verifier") from error
        if len(verifications) != len(requests):
            message = f"{len(verifications)} verifications for {len(requests)} requests"
            raise ContractError(message, role="verifier")
        return verifications


def _give(run: SearchRun, own: Sequence[Batch], answers: Iterable[Verification]) -> None:
    """Gives a search its scores; drains `answers` before anything can fail."""
    pairs = list(zip(own, list(answers), strict=True))
    for batch, answer in pairs:
        take_scores(batch, answer)
        run.counts.verifier_computed_tokens += answer.num_computed_tokens
        run.counts.verifier_cached_tokens += answer.num_cached_tokens
        run.counts.num_verifications += 1
    run.scored(sorted((node for batch in own for node in batch.nodes), key=lambda n: n.depth))
