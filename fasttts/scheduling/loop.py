"""The step loop: policies decide, the loop only executes.

One loop drives any number of searches and plain decodings over one generator and one verifier.
It is synchronous and single-threaded; `fasttts.engine` runs it in a thread of its own.
"""

import collections
import heapq
import itertools
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

import tenacity

from fasttts.backends.base import (
    GenerationOutput,
    Generator,
    Verification,
    VerificationRequest,
    Verifier,
)
from fasttts.config import SchedulingConfig
from fasttts.errors import BackendError, ConfigurationError, ContractError
from fasttts.scheduling import verification
from fasttts.scheduling.accounting import PressureGauge
from fasttts.scheduling.order import in_order
from fasttts.scheduling.run import SearchRun
from fasttts.tree import Node

logger = logging.getLogger(__name__)

_retrying = tenacity.Retrying(
    retry=tenacity.retry_if_exception(lambda error: getattr(error, "retryable", False)),
    stop=tenacity.stop_after_attempt(3),
    reraise=True,
)


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


class Loop:
    """Runs searches to their end.

    Args:
        generator: Decodes.
        verifier: Scores; may be None when no submitted search uses one.
        config: Slots and optimisations; no option changes a result.
        clock: Seconds; replaced in tests.
    """

    def __init__(
        self,
        generator: Generator,
        verifier: Verifier | None,
        config: SchedulingConfig = SchedulingConfig(),  # noqa: B008, immutable
        *,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._generator = generator
        self._verifier = verifier
        self._config = config
        self._num_slots = min(config.slots or generator.max_num_seqs, generator.max_num_seqs)
        self._clock = clock
        self._queue: list[tuple[int, int, SearchRun]] = []
        self._num_submitted = 0
        self._listeners: dict[SearchRun, Listener] = {}
        self._active: dict[SearchRun, None] = {}
        self._owners: dict[str, tuple[SearchRun, Node]] = {}
        self._pressure = PressureGauge()
        self._num_allowed = self._num_slots
        self._fresh: set[str] = set()
        """Sequences that have not reported yet what their prompt found in the prefix cache."""
        self._request_ids = (f"seq-{number}" for number in itertools.count())
        self._is_stale = True
        """Whether anything happened that may change which sequences should run."""

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
        self._is_stale = True

    def cancel(self, run: SearchRun, error: BaseException) -> None:
        """Ends a search at once with `error` and frees what it holds; no effect on an ended one."""
        if run in self._listeners:
            self._finish(run, error)

    def fail_all(self, error: BaseException) -> None:
        """Ends every search with `error`."""
        for run in list(self._listeners):
            try:
                self._finish(run, error)
            except Exception:  # a broken backend may refuse to abort; the caller is told anyway
                logger.exception("a sequence could not be aborted")

    def step(self) -> None:
        """One iteration: every running sequence gains a token, everything decidable is decided."""
        if self._is_stale:
            self._is_stale = False
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
        assert self._generator.num_unfinished() == len(self._owners) <= self._num_slots
        for request_id, (_, node) in self._owners.items():
            assert node.request_id == request_id, f"{node.path} is not decoded by {request_id}"
        decoded = [n for run in self._active for n in run.nodes() if n.request_id is not None]
        assert len(decoded) == len(self._owners)
        for run in self._listeners:
            run.check_integrity()

    def _admit(self) -> None:
        """Takes searches from the queue while their sequences would find a free slot."""
        num_wanted = sum(len(run.waiting) for run in self._active) + self._num_needed()
        while self._queue and num_wanted < self._num_slots:
            _, _, run = heapq.heappop(self._queue)
            if run in self._listeners:
                self._active[run] = None
                num_wanted += len(run.waiting)

    def _num_needed(self) -> int:
        """Sequences that some decision waits for."""
        return sum(node.is_attached for _, node in self._owners.values())

    def _fill_slots(self) -> None:
        """Needed sequences first (plain decodings, then searches as admitted), then speculation."""
        runs = sorted(self._active, key=lambda run: run.priority)
        needed = [(run, node) for run in runs for node in self._in_order(run)]
        guesses = self._speculate(runs, len(needed)) if self._config.speculation else []
        for run, node in itertools.chain(needed, guesses):
            if len(self._owners) >= self._num_slots:
                break
            if node.request_id is None and run in self._active:
                self._start(run, node)

    def _in_order(self, run: SearchRun) -> list[Node]:
        return in_order(run.waiting.values(), prefix_order=self._config.prefix_order)

    def _speculate(
        self, runs: Sequence[SearchRun], num_waiting: int
    ) -> list[tuple[SearchRun, Node]]:
        """What should run ahead in the slots nobody needs; drops what no longer should."""
        running = [owner for owner in self._owners.values() if not owner[1].is_attached]
        num_slots = self._num_slots - num_waiting - (len(self._owners) - len(running))
        if self._config.two_phase:
            num_slots = min(num_slots, self._allowance(len(running)))
        else:
            num_slots = max(num_slots, len(running))
        guesses = self._guesses(runs, max(num_slots, 0))
        if self._config.two_phase:
            wanted = {node for _, node in guesses}
            self._abort([node for _, node in running if node not in wanted])
        return guesses

    def _allowance(self, num_running: int) -> int:
        """Speculative sequences that memory allows: half of the running ones while it is short.

        It doubles again at each change once memory is no longer short.
        """
        is_short = self._pressure.is_short(self._config.kv_usage_threshold)
        grown = min(2 * self._num_allowed + 1, self._num_slots)
        self._num_allowed = num_running // 2 if is_short else grown
        return self._num_allowed

    def _guesses(self, runs: Sequence[SearchRun], count: int) -> list[tuple[SearchRun, Node]]:
        """The most useful speculative nodes, one of each run in turn."""
        streams = [_with_run(run, run.guesses(self._config)) for run in runs]
        turns = itertools.chain.from_iterable(itertools.zip_longest(*streams))
        return list(itertools.islice(filter(None, turns), count))

    def _start(self, run: SearchRun, node: Node) -> None:
        request_id = next(self._request_ids)
        try:
            self._generator.add(run.request_for(node, request_id))
        except (BackendError, ConfigurationError) as error:
            self._finish(run, error)
            return
        run.started(node, request_id)
        self._owners[request_id] = (run, node)
        self._fresh.add(request_id)

    def _forget(self, request_id: str) -> None:
        self._owners.pop(request_id, None)
        self._fresh.discard(request_id)

    def _abort(self, nodes: Sequence[Node]) -> None:
        """Takes sequences out of the generator; their nodes keep the tokens they have."""
        request_ids = [node.request_id for node in nodes if node.request_id is not None]
        for node in nodes:
            self._forget(node.request_id or "")
            node.request_id = None
        self._generator.abort(request_ids)

    def _decode(self) -> None:
        if not self._owners:
            return
        started = self._clock()
        try:
            outputs = self._generator.step()
        except BackendError as error:
            self._fail_running(error)
            return
        self._pressure.read(self._generator.pressure())
        self._count_iteration(self._clock() - started)
        for output in outputs:
            self._take_output(output)

    def _count_iteration(self, seconds: float) -> None:
        sequences = collections.Counter(run for run, _ in self._owners.values())
        needed = collections.Counter(run for run, node in self._owners.values() if node.is_attached)
        for run, num_sequences in sequences.items():
            counts = run.counts
            counts.generation_s += seconds
            counts.num_needed.append(needed[run])
            counts.num_speculative.append(num_sequences - needed[run])
            counts.num_preemptions += self._pressure.num_new_preemptions
            counts.peak_kv_cache_usage = max(counts.peak_kv_cache_usage, self._pressure.usage)

    def _take_output(self, output: GenerationOutput) -> None:
        """Gives new tokens to their node, and on to its first child where the node ends."""
        run, node = self._owners[output.request_id]
        token_ids = output.token_ids
        if output.request_id in self._fresh:
            self._fresh.discard(output.request_id)
            run.counts.cached_tokens += output.num_cached_tokens
        while token_ids:
            num_taken = run.take_tokens(node, token_ids)
            run.counts.generated_tokens += num_taken
            self._listeners[run].on_tokens(run, node, token_ids[:num_taken])
            if not node.is_ended:
                return
            self._is_stale = True
            node.request_id = None
            if node.finish_reason != "step" or output.is_finished or not self._config.speculation:
                self._forget(output.request_id)
                self._generator.abort([] if output.is_finished else [output.request_id])
                return
            node, token_ids = run.first_child(node), token_ids[num_taken:]
            run.started(node, output.request_id)
            self._owners[output.request_id] = (run, node)

    def _verify(self) -> None:
        """Scores what is queued, all searches in one batch, when it is time."""
        if self._config.early_stop:
            self._stop_early()
        runs = [run for run in self._active if run.unscored]
        if not runs or not self._is_verification_due(runs):
            return
        error = self._score(runs)
        if error is None:
            return
        if len(runs) > 1:  # find out whose fault it is: it must not harm the others
            failures = [(run, self._score([run])) for run in runs]
        else:
            failures = [(runs[0], error)]
        for run, failure in failures:
            if failure is not None:
                self._finish(run, failure)

    def _stop_early(self) -> None:
        for run in self._active:
            if run.unscored:
                self._abort(run.drop_hopeless())

    def _is_verification_due(self, runs: Sequence[SearchRun]) -> bool:
        if any(run.is_awaiting_scores() for run in runs):
            return True
        num_tokens = sum(len(node.token_ids) for run in runs for node in run.unscored.values())
        config = self._config
        return config.early_verification and num_tokens >= config.verification_batch_tokens

    def _score(self, runs: Sequence[SearchRun]) -> BackendError | None:
        """Scores the runs together; on failure returns the error and changes none of them."""
        work = [
            (run, verification.batches(self._queued(run), run.request.problem, self._config))
            for run in runs
        ]
        started = self._clock()
        try:
            answers = iter(self._call_verifier([b.request for _, batches in work for b in batches]))
        except BackendError as error:
            return error
        seconds = self._clock() - started
        self._is_stale = True
        for run, batches in work:
            run.counts.verification_s += seconds
            try:
                self._take_scores(run, batches, list(itertools.islice(answers, len(batches))))
            except BackendError as error:
                self._finish(run, error)
        return None

    def _take_scores(
        self,
        run: SearchRun,
        batches: Sequence[verification.Batch],
        answers: Sequence[Verification],
    ) -> None:
        for batch, answer in zip(batches, answers, strict=True):
            verification.take_scores(batch, answer)
            run.counts.verifier_computed_tokens += answer.num_computed_tokens
            run.counts.verifier_cached_tokens += answer.num_cached_tokens
            run.counts.num_verifications += 1
        nodes = [node for batch in batches for node in batch.nodes]
        run.scored(sorted(nodes, key=lambda node: node.depth))

    def _queued(self, run: SearchRun) -> list[Node]:
        """The nodes to score; speculative ones only where they may be scored ahead."""
        config = self._config
        if config.early_verification or config.lookahead_verification:
            return list(run.unscored.values())
        return [node for node in run.unscored.values() if node.is_attached]

    def _call_verifier(self, requests: list[VerificationRequest]) -> list[Verification]:
        assert self._verifier is not None, "a run that scores was admitted without a verifier"
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

    def _commit(self) -> None:
        for run in list(self._active):
            while (dropped := run.commit()) is not None:
                self._is_stale = True
                self._abort([node for node in dropped if node.request_id is not None])
                self._listeners[run].on_commit(run)
            if run.is_done:
                self._finish(run, None)

    def _fail_running(self, error: BackendError) -> None:
        """The generator lost its requests: every run that had one ends with the error."""
        for run in {run for run, _ in self._owners.values()}:
            self._finish(run, error)

    def _finish(self, run: SearchRun, error: BaseException | None) -> None:
        """Takes a run out of the loop, frees its sequences and tells its listener."""
        self._is_stale = True
        listener = self._listeners.pop(run)
        self._active.pop(run, None)
        request_ids = [i for i, (owner, _) in self._owners.items() if owner is run]
        for request_id in request_ids:
            self._forget(request_id)
        try:
            self._generator.abort(request_ids)
        finally:
            listener.on_done(run, error)


def _with_run(run: SearchRun, nodes: Iterator[Node]) -> Iterator[tuple[SearchRun, Node]]:
    return ((run, node) for node in nodes)
