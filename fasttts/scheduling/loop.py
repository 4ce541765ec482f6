"""The step loop: policies decide, the loop only executes.

One loop drives any number of searches and plain decodings over one generator and one verifier.
It is synchronous and single-threaded; `fasttts.engine` runs it in a thread of its own.
"""

import heapq
import itertools
import logging
import time
from collections.abc import Callable, Sequence
from typing import Protocol

import tenacity

from fasttts.backends.base import (
    GenerationOutput,
    Generator,
    Verification,
    VerificationRequest,
    Verifier,
)
from fasttts.errors import BackendError, ConfigurationError, ContractError
from fasttts.scheduling.run import SearchRun
from fasttts.tree import Node


class Listener(Protocol):
    """What a caller is told about its search, from the loop's thread; must not block."""

    def on_tokens(self, run: SearchRun, node: Node, token_ids: Sequence[int]) -> None:
        """A node gained tokens."""
        ...

    def on_commit(self, run: SearchRun) -> None:
        """Something was decided."""
        ...

    def on_done(self, run: SearchRun, error: BaseException | None) -> None:
        """The search is over; called exactly once."""
        ...


logger = logging.getLogger(__name__)

_retrying = tenacity.Retrying(
    retry=tenacity.retry_if_exception(lambda error: getattr(error, "retryable", False)),
    stop=tenacity.stop_after_attempt(3),
    reraise=True,
)


class Loop:
    """Runs searches to their end.

    Args:
        generator: Decodes; its `max_num_seqs` is the number of slots.
        verifier: Scores; may be None when no submitted search uses one.
        clock: Seconds; replaced in tests.
    """

    def __init__(
        self,
        generator: Generator,
        verifier: Verifier | None,
        *,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._generator = generator
        self._verifier = verifier
        self._clock = clock
        self._queue: list[tuple[int, int, SearchRun]] = []
        self._num_submitted = 0
        self._listeners: dict[SearchRun, Listener] = {}
        self._active: dict[SearchRun, None] = {}
        self._owners: dict[str, tuple[SearchRun, Node]] = {}
        self._request_ids = (f"seq-{number}" for number in itertools.count())

    @property
    def has_work(self) -> bool:
        """Whether a further `step` can change anything."""
        return bool(self._listeners)

    @property
    def num_running(self) -> int:
        """Sequences in the generator."""
        return len(self._owners)

    def submit(self, run: SearchRun, listener: Listener) -> None:
        """Admits a search; plain decodings go before searches, each kind in order of arrival."""
        self._listeners[run] = listener
        self._num_submitted += 1
        heapq.heappush(self._queue, (run.priority, self._num_submitted, run))

    def cancel(self, run: SearchRun, error: BaseException) -> None:
        """Ends a search at once with `error` and frees what it holds; no effect on an ended one."""
        if run in self._listeners:
            self._finish(run, error)

    def step(self) -> None:
        """One iteration: every running sequence gains a token, everything decidable is decided."""
        self._admit()
        self._fill_slots()
        self._decode()
        self._verify()
        self._commit()

    def check_integrity(self) -> None:
        """Recounts slots and queues against the runs.

        Raises:
            AssertionError: A sequence has no owner or a run counts a sequence nobody decodes.
        """
        assert self._generator.num_unfinished() == len(self._owners)
        owned = {(id(run), node.path) for run, node in self._owners.values()}
        counted = {(id(run), path) for run in self._listeners for path in run.running}
        assert owned == counted, f"slots {owned} against runs {counted}"
        for run in self._listeners:
            run.tree.check_integrity()

    def fail_all(self, error: BaseException) -> None:
        """Ends every search with `error`."""
        for run in list(self._listeners):
            try:
                self._finish(run, error)
            except Exception:  # a broken backend may refuse to abort; the caller is told anyway
                logger.exception("a sequence could not be aborted")

    def _admit(self) -> None:
        """Takes searches from the queue while their sequences would find a free slot."""
        num_wanted = len(self._owners) + sum(len(run.waiting) for run in self._active)
        while self._queue and num_wanted < self._generator.max_num_seqs:
            _, _, run = heapq.heappop(self._queue)
            if run in self._listeners:
                self._active[run] = None
                num_wanted += len(run.waiting)

    def _fill_slots(self) -> None:
        """Starts waiting sequences: plain decodings first, then searches as they were admitted."""
        for run in sorted(self._active, key=lambda run: run.priority):
            while run.waiting and len(self._owners) < self._generator.max_num_seqs:
                if not self._start(run):
                    break

    def _start(self, run: SearchRun) -> bool:
        request_id = next(self._request_ids)
        node, request = run.start_next(request_id)
        try:
            self._generator.add(request)
        except (BackendError, ConfigurationError) as error:
            self._finish(run, error)
            return False
        self._owners[request_id] = (run, node)
        return True

    def _decode(self) -> None:
        if not self._owners:
            return
        started = self._clock()
        try:
            outputs = self._generator.step()
        except BackendError as error:
            self._fail_running(error)
            return
        seconds = self._clock() - started
        for run in {run for run, _ in self._owners.values()}:
            run.counts.generation_s += seconds
            run.counts.num_iterations += 1
        ended = [output.request_id for output in outputs if self._take_output(output)]
        self._generator.abort(ended)

    def _take_output(self, output: GenerationOutput) -> bool:
        """Gives new tokens to their node; whether the backend must be told that it ended."""
        run, node = self._owners[output.request_id]
        num_before = len(node.token_ids)
        if num_before == 0:
            run.counts.cached_tokens += output.num_cached_tokens
        run.take_tokens(node, output.token_ids)
        self._listeners[run].on_tokens(run, node, node.token_ids[num_before:])
        if not node.is_ended:
            return False
        del self._owners[output.request_id]
        return not output.is_finished

    def _verify(self) -> None:
        """Scores every run that has nothing left to decode, all in one batch."""
        runs = [run for run in self._active if run.unscored and not run.is_generating]
        error = self._score(runs) if runs else None
        if error is None:
            return
        if len(runs) > 1:  # find out whose fault it is: it must not harm the others
            failures = [(run, self._score([run])) for run in runs]
        else:
            failures = [(runs[0], error)]
        for run, failure in failures:
            if failure is not None:
                self._finish(run, failure)

    def _score(self, runs: Sequence[SearchRun]) -> BackendError | None:
        """Scores the runs together; on failure returns the error and changes none of them."""
        batches = [run.verification_requests() for run in runs]
        started = self._clock()
        try:
            verifications = self._call_verifier([r for batch in batches for r in batch])
        except BackendError as error:
            return error
        seconds = self._clock() - started
        answers = iter(verifications)
        for run, batch in zip(runs, batches, strict=True):
            run.counts.verification_s += seconds
            try:
                run.take_scores(list(itertools.islice(answers, len(batch))))
            except BackendError as error:
                self._finish(run, error)
        return None

    def _call_verifier(self, requests: list[VerificationRequest]) -> list[Verification]:
        assert self._verifier is not None, "a run that scores was admitted without a verifier"
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

    def _commit(self) -> None:
        for run in list(self._active):
            if run.commit():
                self._listeners[run].on_commit(run)
            if run.is_done:
                self._finish(run, None)

    def _fail_running(self, error: BackendError) -> None:
        """The generator lost its requests: every run that had one ends with the error."""
        for run in {run for run, _ in self._owners.values()}:
            self._finish(run, error)

    def _finish(self, run: SearchRun, error: BaseException | None) -> None:
        """Takes a run out of the loop, frees its sequences and tells its listener."""
        listener = self._listeners.pop(run)
        self._active.pop(run, None)
        request_ids = [i for i, (owner, _) in self._owners.items() if owner is run]
        for request_id in request_ids:
            del self._owners[request_id]
        try:
            self._generator.abort(request_ids)
        finally:
            listener.on_done(run, error)
