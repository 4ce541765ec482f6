"""The step loop: policies decide, the loop only executes.

One loop drives any number of searches and plain decodings over one generator and one verifier.
It is synchronous and single-threaded; `fasttts.engine.engine` runs it in a thread of its own.
"""

import concurrent.futures
import contextlib
import logging
import time
from collections.abc import Callable, Iterable
from typing import TypeVar, TypeVarTuple

from fasttts.config import SchedulingConfig
from fasttts.errors import BackendError, CapacityError, OverloadedError, SearchError
from fasttts.interfaces import GenerationOutput, Generator, Verifier
from fasttts.scheduling.gauges import Gauges
from fasttts.scheduling.latency import SLOW_S, SearchLatency, warn_if_slow
from fasttts.scheduling.listener import Listener
from fasttts.scheduling.recovery import (
    broken_generator,
    retrying,
    user_failure,
)
from fasttts.scheduling.run import SearchRun
from fasttts.scheduling.scheduler import Scheduler
from fasttts.scheduling.slots import Occupancy, Slots
from fasttts.scheduling.usage import Account, PressureGauge
from fasttts.scheduling.verifier_queue import VerifierQueue
from fasttts.tree import Node
from fasttts.types import StopReason

logger = logging.getLogger(__name__)

_Found = TypeVar("_Found")
_Arguments = TypeVarTuple("_Arguments")

_DECODING = "policy or tokenizer"

_MANY_SLOTS = 128
"""With more slots than this, speculative steps are chosen anew when a score arrives, not when a
step ends: predicting a large frontier costs more than it gains."""


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
        self._account = account or Account()
        self._longest_wait_s = longest_wait_s
        self._verifier_queue = VerifierQueue(
            verifier, config, self._account, clock, longest_wait_s=longest_wait_s
        )
        self._listeners: dict[SearchRun, Listener] = {}
        self._pressure = PressureGauge()
        self._scheduler = Scheduler(self._slots, config, self._pressure)
        self._search_latency = SearchLatency()
        self._retrying = retrying(self._slots.add_again)
        self.fault: BackendError | None = None
        """The error that ended the generator; searches submitted afterwards cannot work."""
        self._is_stale = True
        """Whether anything happened that may change which sequences should run."""
        self._has_room = False
        """Whether slots became free since."""
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
        if (refusal := self._refusal(run)) is not None:
            listener.on_done(run, refusal)
            return
        self._listeners[run] = listener
        self._scheduler.add(run)
        self._is_stale = True

    def check_room(self, num_submitted: int) -> None:
        """Checks that another search may wait; may be called from any thread.

        Args:
            num_submitted: Searches that are on their way to `submit`.

        Raises:
            OverloadedError: Too many wait already.
        """
        num_waiting = self._scheduler.num_waiting + num_submitted
        if num_waiting < self._config.max_waiting:
            return
        usage = self._account.snapshot()
        busy_s = usage.generation_s + usage.verification_s
        retry_after_s = max(0.1, busy_s / usage.num_searches) if usage.num_searches else 1.0
        raise OverloadedError(
            f"{num_waiting} searches wait, and max_waiting={self._config.max_waiting}: try again "
            f"in {retry_after_s:.1f} s, or raise max_waiting",
            num_waiting=num_waiting,
            retry_after_s=retry_after_s,
        )

    def _refusal(self, run: SearchRun) -> SearchError | None:
        """The error of a search that is refused because it would not end in time; else None."""
        config = run.request.config
        if config.budget.seconds is None or not config.budget.refuse_late:
            return None
        num_ahead = self._scheduler.num_ahead(run)
        expected = self._search_latency.expected_s(config, num_ahead, self._account.snapshot())
        if expected <= config.budget.seconds:
            return None
        message = (
            f"refused: such a search takes {expected:.3g} s behind {num_ahead} others, the budget "
            f"is seconds={config.budget.seconds}: raise it, or search less"
        )
        return SearchError(message, stop_reason="refused")

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
            self._fill(is_new=is_new)
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
        num_unscored = [len(run.unscored) for run in self._scheduler.active]
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
        self._slots.check_integrity(self._scheduler.active)
        for run in self._listeners:
            run.check_integrity()

    def _fill(self, *, is_new: bool) -> None:
        """Starts what should run; the slots of searches that fail go to others."""
        while failures := self._scheduler.fill(is_new=is_new):
            is_new = True
            for run, error in failures:
                self._finish(run, error)

    def _decode(self) -> None:
        if not self._slots.has_sequences:
            return
        started = self._clock()
        occupancy = self._slots.occupancy()
        try:
            outputs = self._generate()
        except BackendError as error:
            if not isinstance(error, CapacityError):
                self.fault = error
            self._fail(occupancy, error)
            return
        try:
            self._pressure.read(self._generator.pressure())
            seconds = self._clock() - started
            if occupancy:
                self._count_iteration(seconds, occupancy)
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
        except Exception as error:  # a generator may be a user's class and return anything
            logger.warning("the generator broke its contract", exc_info=error)
            self._fail(occupancy, broken_generator(error))

    def _generate(self) -> list[GenerationOutput]:
        """Runs an iteration of the generator; adds sequences again after a retryable failure."""
        try:
            for attempt in self._retrying:
                with attempt:
                    return self._generator.step()
        except BackendError:
            raise
        except MemoryError as error:
            message = f"the generator is out of memory: {error}: lower slots or max_model_len"
            raise CapacityError(message, role="generator") from error
        except BaseException as error:  # a generator may be a user's class and raise anything
            message = f"the generator failed: {type(error).__name__}: {error}"
            raise BackendError(message, role="generator") from error
        raise AssertionError("an attempt returns or raises")

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

    def _count_iteration(self, seconds: float, occupancy: Occupancy) -> None:
        self._scheduler.measured(seconds)
        self._account.iterated(seconds, occupancy.values(), self._pressure)
        for run, (num_required, num_speculative) in occupancy.items():
            counts = run.counts
            counts.generation_s += seconds
            counts.num_required.append(num_required)
            counts.num_speculative.append(num_speculative)
            counts.num_preemptions += self._pressure.num_new_preemptions
            counts.peak_kv_cache_usage = max(counts.peak_kv_cache_usage, self._pressure.usage)

    def _take_output(self, run: SearchRun, node: Node, output: GenerationOutput) -> int:
        """Adds new tokens to their node, and to its first child where the node ends.

        Returns:
            How many of them were taken.
        """
        if output.error is not None:
            self._take_failure(run, node, output.error)
            return 0
        before = run.counts.generated_tokens
        self._isolated(run, _DECODING, self._take_tokens, run, node, output)
        return run.counts.generated_tokens - before

    def _take_tokens(self, run: SearchRun, node: Node, output: GenerationOutput) -> None:
        token_ids = output.token_ids
        while token_ids:
            num_taken = run.take_tokens(node, token_ids)
            if output.logprobs:
                node.logprobs.extend(output.logprobs[:num_taken])
            run.counts.generated_tokens += num_taken
            self._listeners[run].on_tokens(run, node, token_ids[:num_taken])
            if node.finish_reason is None:
                return
            self._is_stale = self._is_stale or self._slots.num_slots <= _MANY_SLOTS
            if output.is_finished or not self._runs_on(run, node):
                self._has_room = True
                self._slots.release(node, is_finished=output.is_finished)
                return
            child, token_ids = run.first_child(node), token_ids[num_taken:]
            self._slots.hand_on(node, child)
            node = child

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
        return self._config.two_phase or not any(run.waiting for run in self._scheduler.active)

    def _stop_early(self) -> None:
        if not self._config.early_stop:
            return
        for run in self._scheduler.active:
            if run.unscored:
                self._slots.abort(self._isolated(run, "policy", run.drop_dominated) or ())

    def _verify(self) -> None:
        failures = self._verifier_queue.advance(self._scheduler.active, is_idle=not self._slots)
        if failures is None:
            return
        self._is_stale = True
        for run, error in failures:  # several batches of a search may fail together
            self.cancel(run, error)

    def _take_answers(self) -> None:
        """Takes the answers that users' functions found; waits for one where nothing decodes."""
        runs = [run for run in self._scheduler.active if run.unanswered]
        if runs and not self._slots:
            calls = [call for run in runs for call in run.unanswered.values()]
            first = concurrent.futures.FIRST_COMPLETED
            concurrent.futures.wait(calls, self._longest_wait_s, return_when=first)
        for run in runs:
            self._is_stale = run.take_answers() or self._is_stale

    def _commit(self) -> None:
        for run in self._scheduler.active:
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

        One without an answer may finish its best path. Speculation may complete a tree beyond its
        budget, so a search that is done is cut like any other.
        """
        for run in list(self._listeners):
            self._isolated(run, _DECODING, self._keep_budget, run)

    def _keep_budget(self, run: SearchRun) -> None:
        now = self._clock()  # once: a budget that ends in between is not cut yet
        if (spent := run.budget.horizon()) is not None:
            at, reason = spent
            self._is_stale = True
            self._slots.abort(run.budget.hold(at))
            if run.budget.is_known_until(at):
                self._cut(run, reason, now, at)
        if run.budget.stop_reason == "complete" and not run.is_done and run.budget.is_late(now):
            self._cut(run, "seconds", now)
        if run.budget.is_late(now):
            self._slots.abort(run.budget.give_up())
        if run.is_done:
            self._finish(run, None)
        elif self._is_stuck(run):
            raise RuntimeError("nothing of it decodes, is scored, or can be decided")

    def _is_stuck(self, run: SearchRun) -> bool:
        """Whether a search waits for nothing that could come, as a policy's groups may have it."""
        is_busy = (
            self._is_stale
            or self._has_room
            or self._slots.has_sequences
            or run.waiting
            or run.unscored
        )
        return not is_busy and not run.unanswered and run in self._scheduler.active

    def _cut(self, run: SearchRun, reason: StopReason, now: float, at: int | None = None) -> None:
        self._is_stale = True
        self._verifier_queue.forget(run)
        self._slots.abort(run.budget.cut(reason, now, at))

    def _finish(self, run: SearchRun, error: BaseException | None) -> None:
        """Removes a run from the loop, frees its sequences and notifies its listener."""
        self._is_stale = True
        listener = self._listeners.pop(run)
        self._scheduler.remove(run)
        self._verifier_queue.forget(run)
        run.close()
        self._account.ended(run.counts, run.tree)
        if error is None and run.budget.stop_reason == "complete":
            self._search_latency.ended(run.request.config, run.counts.num_iterations)
        try:
            self._slots.abort_run(run)
        finally:
            self._read_gauges()
            listener.on_done(run, error)
