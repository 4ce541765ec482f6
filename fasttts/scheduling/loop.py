"""The step loop: policies decide, the loop only executes.

One loop drives any number of searches and plain decodings over one generator and one verifier.
It is synchronous and single-threaded; `loop_thread.py` runs it in a thread of its own.
"""

import concurrent.futures
import contextlib
import itertools
import logging
import time
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar, TypeVarTuple

from fasttts.config import SchedulingConfig
from fasttts.errors import BackendError, CapacityError
from fasttts.interfaces import GenerationOutput, Generator, Verifier, max_draft_tokens
from fasttts.scheduling.drafting import Drafting, DraftTokens
from fasttts.scheduling.gauges import Gauges
from fasttts.scheduling.latency import SLOW_S, warn_if_slow
from fasttts.scheduling.listener import Listener
from fasttts.scheduling.recovery import broken_generator, over_capacity, user_failure
from fasttts.scheduling.run import SearchRun
from fasttts.scheduling.scheduler import Scheduler
from fasttts.scheduling.score_counts import ScoreChecks
from fasttts.scheduling.slots import Occupancy, Slots
from fasttts.scheduling.usage import Account, PressureGauge
from fasttts.scheduling.verifier_queue import VerifierQueue
from fasttts.tree import Node

logger = logging.getLogger(__name__)

_Found = TypeVar("_Found")
_Arguments = TypeVarTuple("_Arguments")

_DECODING = "policy or tokenizer"

_draft_groups = itertools.count()
"""Numbers of searches: several loops may use one generator, which keeps texts by them."""

_MANY_SLOTS = 128
"""With more slots than this, speculative steps are chosen anew when scores arrive, not when a step
ends: predicting a large frontier costs more than it gains."""

_SLOTS_A_SCORE = 16
"""With more slots than that, first there has to be a score for every so many of them."""


class Loop:
    """Runs searches to their end.

    Args:
        generator: Decodes.
        verifier: Scores; may be None when no submitted search uses one.
        config: Slots and optimisations; no option decides about a result.
        clock: Returns seconds; replaced in tests.
        account: Collects the cost; None makes a new one.
        longest_wait_s: Longest wait for scores while nothing decodes, in seconds; then the loop's
            commands are looked at.
    """

    def __init__(
        self,
        generator: Generator,
        verifier: Verifier | None,
        config: SchedulingConfig = SchedulingConfig(),  # noqa: B008, immutable
        *,
        clock: Callable[[], float] = time.perf_counter,
        account: Account | None = None,
        longest_wait_s: float = 0.02,
    ) -> None:
        num_slots = min(config.slots or generator.max_num_seqs, generator.max_num_seqs)
        self._generator = generator
        self._config = config
        self._clock = clock
        self._slots = Slots(generator, num_slots)
        self._drafting = _drafting(generator, config)
        self._account = account or Account()
        self._longest_wait_s = longest_wait_s
        self._verifier_queue = VerifierQueue(
            verifier, config, self._account, clock, longest_wait_s=longest_wait_s
        )
        self._score_checks = ScoreChecks(verifier)
        self._listeners: dict[SearchRun, Listener] = {}
        self._pressure = PressureGauge()
        self.scheduler = Scheduler(self._slots, config, self._pressure, self._account)
        """Other threads may ask it whether there is room."""
        self.fault: BackendError | None = None
        """The error that ended the generator; searches submitted afterwards cannot work."""
        self._is_stale = True
        """Whether anything happened that may change which sequences should run."""
        self._has_room = False
        """Whether slots became free since, or scores arrived that do not count as that."""
        self._num_known_scores = 0
        """Scores that had arrived when speculative steps were chosen."""
        self.gauges = Gauges(num_slots=num_slots)
        """Present state; replaced as a whole, so that any thread may read it."""

    @property
    def has_work(self) -> bool:
        """Whether a further `step` can change anything."""
        return bool(self._listeners)

    def now(self) -> float:
        """Returns the clock's seconds; may be called from any thread."""
        return self._clock()

    def submit(self, run: SearchRun, listener: Listener) -> None:
        """Admits a search; plain decodings go before searches, each kind in order of arrival.

        Args:
            run: The search.
            listener: Receives its events.
        """
        run.budget.begin(self._clock())
        if (refusal := self.scheduler.refusal(run)) is not None:
            listener.on_done(run, refusal)
            return
        if self._drafting is not None:
            run.draft_group = next(_draft_groups)
        self._listeners[run] = listener
        self.scheduler.add(run)
        self._is_stale = True

    def cancel(self, run: SearchRun, error: BaseException) -> None:
        """Ends a search at once and frees its sequences; no effect on an ended one.

        Args:
            run: The search.
            error: The error for its listener.
        """
        if run in self._listeners:
            self._finish(run, error)

    def fail_all(self, error: BaseException) -> None:
        """Ends every search with `error`."""
        self._fail(list(self._listeners), error)

    def _fail(self, runs: Iterable[SearchRun], error: BaseException) -> None:
        for run in runs:
            try:
                self.cancel(run, error)
            except Exception:  # a broken backend may refuse; the listener is notified
                logger.exception("a sequence could not be aborted")

    def step(self) -> None:
        """Runs one iteration: running sequences gain a token, and ready groups are decided."""
        if self._is_stale or self._has_room:
            is_new, self._is_stale, self._has_room = self._is_stale, False, False
            if is_new:
                self._num_known_scores = self._verifier_queue.num_scored
            self._fill(is_new=is_new)
        for run in self._listeners:
            self._settle_forced(run)
        self._decode()
        self._stop_early()
        self._verify()
        self._take_answers()
        self._commit()
        self._keep_budgets()
        self._read_gauges()

    def _read_gauges(self) -> None:
        if not self._slots:
            with contextlib.suppress(Exception):  # a broken generator may not report its memory
                self._pressure.read(self._generator.pressure())
        num_unscored = [len(run.unscored) for run in self.scheduler.active]
        num_speculative = len(self._slots.speculative())
        self.gauges = Gauges(
            num_running=len(num_unscored),
            num_waiting=len(self._listeners) - len(num_unscored),
            num_slots=self._slots.num_slots,
            num_required=len(self._slots) - num_speculative,
            num_speculative=num_speculative,
            num_unscored=sum(num_unscored),
            kv_cache_usage=self._pressure.usage,
        )

    def check_integrity(self) -> None:
        """Recounts slots and queues against the runs.

        Raises:
            AssertionError: The state is inconsistent.
        """
        self._slots.check_integrity(self.scheduler.active)
        for run in self._listeners:
            run.check_integrity()

    def _fill(self, *, is_new: bool) -> None:
        """Starts what should run; the slots of searches that fail go to others."""
        while failures := self.scheduler.fill(is_new=is_new):
            is_new = True
            for run, error in failures:
                self._finish(run, error)

    def _decode(self) -> None:
        if not self._slots.has_sequences:
            return
        started = self._clock()
        occupancy = self._slots.occupancy()
        try:
            outputs = self._slots.decode(self._next_drafts())
        except BackendError as error:
            if not isinstance(error, CapacityError):
                self.fault = error
            self._fail(occupancy, error)
            return
        try:
            self._pressure.read(self._generator.pressure())
            seconds = self._clock() - started
            if occupancy:
                self._count_iteration(started, seconds, occupancy, outputs)
            warn_if_slow("the generator", self._generator, seconds)
            if not outputs and occupancy and self._generator.num_unfinished() == 0:
                raise ValueError("none of its sequences decodes, and none was reported as ended")
            num_sampled = 0
            for output in outputs:
                owner = self._slots.owner(output)
                if owner is not None:
                    num_sampled += self._take_output(*owner, output)
                elif output.is_finished:
                    self._is_stale = True
            self._account.sampled(num_sampled)
            _note_first_tokens(occupancy, started + seconds)
        except Exception as error:  # a generator may be a user's class and return anything
            logger.warning("the generator broke its contract", exc_info=error)
            self._fail(occupancy, broken_generator(error))

    def _next_drafts(self) -> DraftTokens | None:
        """How many tokens the next iteration drafts; None for a generator that cannot."""
        if self._drafting is None:
            return None
        is_short = self._pressure.is_short(self._config.kv_usage_threshold)
        return self._drafting.choose(self._slots.by_request(), is_short=is_short)

    def _isolated(
        self, run: SearchRun, what: str, work: Callable[[*_Arguments], _Found], *args: *_Arguments
    ) -> _Found | None:
        """Ends a search, and no other, with what its policy or its tokenizer raises in `work`."""
        started = time.perf_counter()
        try:
            return work(*args)
        except BaseException as error:
            logger.warning("a search failed", exc_info=error)
            self.cancel(run, user_failure(what, error))
            return None
        finally:
            if (seconds := time.perf_counter() - started) > SLOW_S:
                logger.warning("a search's %s held up the step loop for %.1f s", what, seconds)

    def _count_iteration(
        self,
        started: float,
        seconds: float,
        occupancy: Occupancy,
        outputs: Sequence[GenerationOutput],
    ) -> None:
        self.scheduler.measured(seconds, self._mean_tokens(seconds, outputs))
        self._account.iterated(seconds, occupancy.values(), self._pressure)
        for run, (num_required, num_speculative) in occupancy.items():
            run.counts.iterated(seconds, num_required, num_speculative, self._pressure)
            if run.timeline is not None:
                run.timeline.iterations.append((started, started + seconds))

    def _mean_tokens(self, seconds: float, outputs: Sequence[GenerationOutput]) -> float:
        """Tokens that a sequence gains in such an iteration as this one was."""
        num_sequences = len(self._slots)
        if self._drafting is None or not num_sequences:
            return 1.0
        num_tokens = [len(output.token_ids) for output in outputs]
        self._drafting.measured(num_sequences, seconds, num_tokens)
        return self._drafting.mean_tokens(num_sequences)

    def _take_output(self, run: SearchRun, node: Node, output: GenerationOutput) -> int:
        """Adds new tokens to their node, and to its first child where the node ends.

        Returns:
            How many of them were taken.
        """
        if output.error is not None:
            self._take_failure(run, node, output.error)
            return 0
        if output.num_drafted:
            run.counts.drafted(output.num_drafted, output.num_kept_drafts)
            if self._drafting is not None:
                self._drafting.took(output.request_id, output.num_drafted, output.num_kept_drafts)
        if run.take_inner(node, output.token_ids, output.logprobs):
            num_taken = len(output.token_ids)
            run.counts.generated_tokens += num_taken
            listener = self._listeners[run]
            if listener.reads_tokens:
                self._isolated(run, _DECODING, listener.on_tokens, run, node, output.token_ids)
            return num_taken
        before = run.counts.generated_tokens
        self._isolated(run, _DECODING, self._take_tokens, run, node, output)
        return run.counts.generated_tokens - before

    def _take_tokens(self, run: SearchRun, node: Node, output: GenerationOutput) -> None:
        token_ids, logprobs = output.token_ids, output.logprobs
        while token_ids:
            num_taken = run.take_tokens(node, token_ids, logprobs)
            logprobs = logprobs[num_taken:]
            run.counts.generated_tokens += num_taken
            self._listeners[run].on_tokens(run, node, token_ids[:num_taken])
            is_forced = run.is_forcing and run.force(node)
            self._report_forced(run)
            if node.finish_reason is None and not is_forced:
                return
            self._is_stale = self._is_stale or is_forced or self._slots.num_slots <= _MANY_SLOTS
            child, token_ids = None, token_ids[num_taken:]
            goes_on = token_ids or not output.is_finished
            if goes_on and not is_forced and self._runs_on(run, node):
                child = run.first_child(node)
                self._report_forced(run)
            if child is None or child.token_ids:  # the sequence has other tokens than the search
                self._has_room = True
                self._slots.release(node, is_finished=output.is_finished)
                if not node.is_ended and node.is_attached:
                    run.waiting[node.path] = node
                return
            self._slots.hand_on(node, child)
            node = child

    def _report_forced(self, run: SearchRun) -> int:
        """Reports the tokens that a search has without sampling them; returns their number."""
        if not run.forced:
            return 0
        forced, run.forced = run.forced, []
        num_tokens = sum(len(token_ids) for _, token_ids in forced)
        run.counts.generated_tokens += num_tokens
        for node, token_ids in forced:
            self._listeners[run].on_tokens(run, node, token_ids)
        return num_tokens

    def _settle_forced(self, run: SearchRun) -> None:
        """Reports the tokens as `_report_forced` does, and counts them for the engine."""
        if num_tokens := self._report_forced(run):
            self._account.sampled(num_tokens)

    def _take_failure(self, run: SearchRun, node: Node, error: BackendError) -> None:
        """Ends the search of a sequence that cannot go on, now or once it needs the node."""
        self._is_stale = True
        self._slots.release(node, is_finished=True)
        node.failure = error
        if node.is_attached:
            self._finish(run, error)

    def _runs_on(self, run: SearchRun, node: Node) -> bool:
        """Whether the sequence of an ended node keeps its slot, as the node's first child."""
        if not self._config.speculation or not run.runs_on(node):
            return False
        return self._config.two_phase or not any(run.waiting for run in self.scheduler.active)

    def _stop_early(self) -> None:
        if not self._config.early_stop:
            return
        for run in self.scheduler.active:
            if run.unscored:
                self._slots.abort(self._isolated(run, "policy", run.drop_dominated) or ())

    def _verify(self) -> None:
        failures = self._verifier_queue.advance(self.scheduler.active, is_idle=not self._slots)
        if failures is None:
            return
        num_slots = self._slots.num_slots
        num_new = self._verifier_queue.num_scored - self._num_known_scores
        is_due = num_slots <= _MANY_SLOTS or num_new * _SLOTS_A_SCORE >= num_slots
        self._is_stale, self._has_room = self._is_stale or is_due, True
        for run, error in failures:  # several batches of a search may fail together
            self.cancel(run, error)

    def _take_answers(self) -> None:
        """Takes the answers that users' functions found; waits for one where nothing decodes."""
        runs = [run for run in self.scheduler.active if run.beams.unanswered]
        if runs and not self._slots:
            calls = [call for run in runs for call in run.beams.unanswered.values()]
            first = concurrent.futures.FIRST_COMPLETED
            concurrent.futures.wait(calls, self._longest_wait_s, return_when=first)
        for run in runs:
            self._is_stale = run.take_answers() or self._is_stale

    def _commit(self) -> None:
        for run in self.scheduler.active:
            while self._isolated(run, "policy", self._commit_ready, run):
                self._is_stale = True

    def _commit_ready(self, run: SearchRun) -> bool:
        """Decides the groups of a search that can be; returns whether there were any."""
        dropped = run.commit()
        if dropped is None:
            return False
        self._slots.abort(dropped)
        self._listeners[run].on_commit(run)
        return True

    def _keep_budgets(self) -> None:
        """Ends searches that are done, and those whose budget is spent.

        One without an answer may finish its best path.
        """
        for run in list(self._listeners):
            self._isolated(run, _DECODING, self._keep_budget, run)

    def _keep_budget(self, run: SearchRun) -> None:
        self._settle_forced(run)  # before a cut takes some away again
        before = run.budget.stop_reason
        stopped = run.budget.keep(self._clock())
        if stopped is not None:
            self._is_stale = True
            self._slots.abort(stopped)
        if run.budget.stop_reason != before:
            self._verifier_queue.forget(run)
        if run.is_done:
            self._finish(run, None)
        elif self._is_stuck(run):
            raise RuntimeError("nothing of it decodes, is scored, or can be decided")

    def _is_stuck(self, run: SearchRun) -> bool:
        """Whether a search waits for nothing that could come, as a policy's groups may have it."""
        is_busy = self._is_stale or self._has_room or self._slots.has_sequences
        is_waiting = run.waiting or run.unscored or run.beams.unanswered
        return not is_busy and not is_waiting and run in self.scheduler.active

    def _finish(self, run: SearchRun, error: BaseException | None) -> None:
        """Removes a run from the loop, frees its sequences and notifies its listener."""
        self._is_stale = True
        self._settle_forced(run)
        listener = self._listeners.pop(run)
        error = error or self._score_checks.fault(run.tree)
        if isinstance(error, CapacityError):
            error = over_capacity(error, is_constrained=run.request.grammar is not None)
        self.scheduler.remove(run, has_ended=error is None)
        self._verifier_queue.forget(run)
        run.beams.close()
        run.counts.scores.compare(run.ended_nodes(), run.score)
        self._account.ended(run.counts, run.tree)
        self._score_checks.warn(run.counts.scores)
        try:
            self._slots.abort_run(run)
        finally:
            self._read_gauges()
            listener.on_done(run, error)


def _drafting(generator: Generator, config: SchedulingConfig) -> Drafting | None:
    """What decides how much a generator drafts; None for one that cannot."""
    most = max_draft_tokens(generator)
    return Drafting(min(most, config.draft_tokens), config.draft_rule) if most else None


def _note_first_tokens(runs: Iterable[SearchRun], now: float) -> None:
    """Notes when searches that had no token before have their first."""
    for run in runs:
        if run.counts.first_token_s is None and run.counts.generated_tokens:
            run.counts.first_token_s = run.budget.seconds_until(now)
