"""The step loop: policies decide, the loop only executes.

One loop drives any number of searches and plain decodings over one generator and one verifier.
It is synchronous and single-threaded; `fasttts.engine` runs it in a thread of its own.
"""

import heapq
import itertools
import logging
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Protocol

from fasttts.backends.base import GenerationOutput, Generator, Verifier
from fasttts.config import SchedulingConfig
from fasttts.errors import BackendError, CapacityError, SearchError
from fasttts.scheduling.accounting import Account, EngineUsage, PressureGauge
from fasttts.scheduling.confinement import Confinement
from fasttts.scheduling.cost import StepCost
from fasttts.scheduling.order import in_order
from fasttts.scheduling.pace import Pace
from fasttts.scheduling.retrying import retrying
from fasttts.scheduling.run import SearchRun
from fasttts.scheduling.scoring import Scorer
from fasttts.scheduling.slots import Owner, Slots
from fasttts.scheduling.speculation import Rule
from fasttts.tree import Node
from fasttts.types import StopReason

logger = logging.getLogger(__name__)


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
        num_slots = min(config.slots or generator.max_num_seqs, generator.max_num_seqs)
        self._generator = generator
        self._config = config
        self._clock = clock
        self._slots = Slots(generator, num_slots)
        self._account = Account()
        self._scorer = Scorer(verifier, config, self._account, clock)
        self._queue: list[tuple[int, int, SearchRun]] = []
        self._num_submitted = 0
        self._listeners: dict[SearchRun, Listener] = {}
        self._active: dict[SearchRun, None] = {}
        self._pressure = PressureGauge()
        self._cost = StepCost()
        self._pace = Pace()
        self._num_allowed = num_slots
        self.fault: BackendError | None = None
        """What the generator was lost by; searches that are submitted afterwards cannot work."""
        self._is_stale = True
        """Whether anything happened that may change which sequences should run."""

    @property
    def has_work(self) -> bool:
        """Whether a further `step` can change anything."""
        return bool(self._listeners)

    def usage(self) -> EngineUsage:
        """What all searches have cost together; may be asked from any thread."""
        return self._account.snapshot()

    def now(self) -> float:
        """The clock; may be asked from any thread."""
        return self._clock()

    def submit(self, run: SearchRun, listener: Listener) -> None:
        """Admits a search; plain decodings go before searches, each kind in order of arrival."""
        run.begin(self._clock())
        if (refusal := self._refusal(run)) is not None:
            listener.on_done(run, refusal)
            return
        self._listeners[run] = listener
        self._num_submitted += 1
        heapq.heappush(self._queue, (run.priority, self._num_submitted, run))
        self._is_stale = True

    def _refusal(self, run: SearchRun) -> SearchError | None:
        """Why a search that asked for it is not begun: it would not end in time."""
        config = run.request.config
        if config.budget.seconds is None or not config.budget.refuse_late:
            return None
        ahead = (other for _, _, other in self._queue if other in self._listeners)
        num_ahead = sum(other.priority <= run.priority for other in ahead)
        expected = self._pace.expected_s(config, num_ahead, self._account.snapshot())
        if expected <= config.budget.seconds:
            return None
        message = (
            f"refused: such a search takes {expected:.3g} s behind {num_ahead} others, the budget "
            f"is seconds={config.budget.seconds}: raise it, or search less"
        )
        return SearchError(message, stop_reason="refused")

    def cancel(self, run: SearchRun, error: BaseException) -> None:
        """Ends a search at once with `error` and frees what it holds; no effect on an ended one."""
        if run in self._listeners:
            self._finish(run, error)

    def fail_all(self, error: BaseException) -> None:
        """Ends every search with `error`."""
        self._fail(list(self._listeners), error)

    def _fail(self, runs: Iterable[SearchRun], error: BaseException) -> None:
        for run in runs:
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
        self._stop_early()
        self._verify()
        self._commit()
        self._keep_budgets()

    def check_integrity(self) -> None:
        """Recounts slots and queues against the runs.

        Raises:
            AssertionError: The books contradict each other.
        """
        self._slots.check_integrity(list(self._active))
        for run in self._listeners:
            run.check_integrity()

    def _admit(self) -> None:
        """Takes plain decodings from the queue, and searches while they alone leave slots free."""
        searches = [run for run in self._active if not _is_plain(run)]
        num_wanted = sum(len(run.waiting) for run in searches)
        num_wanted += sum(node.is_attached for run, node in self._slots if not _is_plain(run))
        while self._queue and (num_wanted < self._slots.num_slots or _is_plain(self._queue[0][2])):
            _, _, run = heapq.heappop(self._queue)
            if run in self._listeners:
                self._active[run] = None
                num_wanted += 0 if _is_plain(run) else len(run.waiting)

    def _fill_slots(self) -> None:
        """Needed steps first (plain decodings, then searches as admitted), then speculation."""
        runs = sorted(self._active, key=lambda run: run.priority)
        needed = self._in_turn([(run, node) for run in runs for node in self._in_order(run)])
        guesses = self._speculate(runs, len(needed)) if self._config.speculation else []
        self._make_room(needed)
        for run, node in itertools.chain(needed, guesses):
            if self._slots.num_free == 0:
                break
            if node.request_id is None and run in self._active:
                self._start(run, node)

    def _in_turn(self, needed: list[Owner]) -> list[Owner]:
        """Plain decodings first, but those beyond three quarters of the slots after searches."""
        num_running = sum(_is_plain(run) for run, _ in self._slots)
        num_first = max(1, self._slots.num_slots * 3 // 4) - num_running
        plain = [owner for owner in needed if _is_plain(owner[0])]
        first, last = plain[: max(0, num_first)], plain[max(0, num_first) :]
        return first + [owner for owner in needed if not _is_plain(owner[0])] + last

    def _make_room(self, needed: Sequence[Owner]) -> None:
        """Lets plain decodings take slots of searches, the newest search's last steps first.

        What is taken out is decoded on from where it stands. A quarter of the slots is left to
        searches, so that no stream of plain requests starves them.
        """
        if not self._config.two_phase:
            return
        running = [owner for owner in self._slots if not _is_plain(owner[0])]
        num_waiting = sum(_is_plain(run) for run, _ in needed)
        num_spare = len(running) - -(-self._slots.num_slots // 4)
        num_taken = min(num_waiting - self._slots.num_free, num_spare)
        if num_taken <= 0:
            return
        order = {run: number for number, run in enumerate(self._active)}
        running.sort(key=lambda owner: (owner[1].is_attached, -order[owner[0]]))
        for run, node in running[:num_taken]:
            self._slots.abort([node])
            if node.is_attached:
                run.waiting[node.path] = node

    def _in_order(self, run: SearchRun) -> list[Node]:
        return in_order(run.waiting.values(), prefix_order=self._config.prefix_order)

    def _start(self, run: SearchRun, node: Node) -> None:
        try:
            self._slots.start(run, node)
        except BackendError as error:
            self._finish(run, error)

    def _speculate(self, runs: Sequence[SearchRun], num_waiting: int) -> list[Owner]:
        """What should run ahead in the slots nobody needs; drops what no longer should."""
        running = self._slots.speculative()
        num_slots = self._slots.num_free + len(running) - num_waiting
        if not self._config.two_phase:
            return self._guesses(runs, max(num_slots, len(running)))
        guesses = self._guesses(runs, max(0, min(num_slots, self._allowance(len(running)))))
        wanted = {node for _, node in guesses}
        self._slots.abort([node for node in running if node not in wanted])
        return guesses

    def _allowance(self, num_running: int) -> int:
        """Speculative sequences that memory allows: half of the running ones while it is short.

        It doubles again at each change once memory is no longer short.
        """
        is_short = self._pressure.is_short(self._config.kv_usage_threshold)
        grown = min(2 * self._num_allowed + 1, self._slots.num_slots)
        self._num_allowed = num_running // 2 if is_short else grown
        return self._num_allowed

    def _guesses(self, runs: Sequence[SearchRun], count: int) -> list[Owner]:
        """The most useful speculative nodes, one of each run in turn."""
        rule = self._rule()
        streams = [self._guesses_of(run, rule) for run in runs]
        turns = itertools.chain.from_iterable(itertools.zip_longest(*streams))
        return list(itertools.islice(filter(None, turns), count))

    def _guesses_of(self, run: SearchRun, rule: Rule) -> Iterator[Owner]:
        with self._confined(run):
            for node in run.guesses(self._config, rule):
                yield run, node

    def _rule(self) -> Rule:
        """Which steps run ahead; where that is to be measured, the likely ones until it is."""
        rule = self._config.speculation_rule
        if rule != "measured":
            return rule
        return "score" if self._cost.is_cheap(self._slots.num_slots) else "likely"

    def _decode(self) -> None:
        if not self._slots:
            return
        started = self._clock()
        runs = self._slots.runs()
        try:
            outputs = self._generate()
            self._pressure.read(self._generator.pressure())
        except BackendError as error:
            if not isinstance(error, CapacityError):
                self.fault = error
            self._fail(runs, error)
            return
        self._count_iteration(self._clock() - started)
        for output in outputs:
            if self._slots.is_running(output):
                self._take_output(output)

    def _generate(self) -> list[GenerationOutput]:
        """An iteration of the generator; what it lost by a retryable failure is added again."""
        try:
            for attempt in retrying(self._slots.add_again):
                with attempt:
                    return self._generator.step()
        except BackendError:
            raise
        except MemoryError as error:
            message = f"the generator is out of memory: {error}: lower slots or max_model_len"
            raise CapacityError(message, role="generator") from error
        except Exception as error:  # a generator may be a user's class and raise anything
            message = f"the generator failed: {type(error).__name__}: {error}"
            raise BackendError(message, role="generator") from error
        raise AssertionError("an attempt returns or raises")

    def _confined(self, run: SearchRun) -> Confinement:
        """Ends a search, and no other, with what its policy or its books raise."""
        return Confinement(self._finish, run)

    def _count_iteration(self, seconds: float) -> None:
        if not self._slots.has_fresh:
            self._cost.measured(len(self._slots), seconds)
        occupancy = self._slots.occupancy()
        self._account.iterated(seconds, occupancy.values(), self._pressure)
        for run, (num_needed, num_speculative) in occupancy.items():
            counts = run.counts
            counts.generation_s += seconds
            counts.num_needed.append(num_needed)
            counts.num_speculative.append(num_speculative)
            counts.num_preemptions += self._pressure.num_new_preemptions
            counts.peak_kv_cache_usage = max(counts.peak_kv_cache_usage, self._pressure.usage)

    def _take_output(self, output: GenerationOutput) -> None:
        """Gives new tokens to their node, and on to its first child where the node ends."""
        run, node = self._slots.owner(output)
        token_ids = output.token_ids
        while token_ids:
            num_taken = 0
            with self._confined(run):
                num_taken = run.take_tokens(node, token_ids)
            if run not in self._listeners:
                return
            run.counts.generated_tokens += num_taken
            self._listeners[run].on_tokens(run, node, token_ids[:num_taken])
            if not node.is_ended:
                return
            self._is_stale = True
            if output.is_finished or not self._runs_on(run, node):
                self._slots.release(node, is_finished=output.is_finished)
                return
            child, token_ids = run.first_child(node), token_ids[num_taken:]
            self._slots.hand_on(node, child)
            node = child

    def _runs_on(self, run: SearchRun, node: Node) -> bool:
        """Whether the sequence of an ended node keeps its slot, as the node's first child."""
        if not self._config.speculation or not run.runs_on(node):
            return False
        return self._config.two_phase or not any(run.waiting for run in self._active)

    def _stop_early(self) -> None:
        if not self._config.early_stop:
            return
        for run in list(self._active):
            if run.unscored:
                dropped: list[Node] = []
                with self._confined(run):
                    dropped = run.drop_hopeless()
                self._slots.abort(dropped)

    def _verify(self) -> None:
        failures = self._scorer.advance(list(self._active), is_idle=not self._slots)
        if failures is None:
            return
        self._is_stale = True
        for run, error in failures:
            self._finish(run, error)

    def _commit(self) -> None:
        for run in list(self._active):
            while (dropped := self._decided(run)) is not None:
                self._is_stale = True
                self._slots.abort(dropped)
                self._listeners[run].on_commit(run)
            if run in self._listeners and run.is_done:
                self._finish(run, None)

    def _decided(self, run: SearchRun) -> list[Node] | None:
        """What a search's decisions made useless; None where it decided nothing, or failed."""
        with self._confined(run):
            return run.commit()
        return None

    def _keep_budgets(self) -> None:
        """Ends searches whose budget is spent; one without an answer may finish its best path."""
        for run in list(self._listeners):
            if (spent := run.horizon()) is not None:
                at, reason = spent
                self._is_stale = True
                self._slots.abort(run.hold(at))
                if run.is_known_until(at):
                    self._cut(run, reason, at)
            if run.stop_reason == "complete" and run.is_late(self._clock()):
                self._cut(run, "seconds", None)
            if run.is_late(self._clock()):
                self._slots.abort(run.give_up())
            if run.is_done:
                self._finish(run, None)

    def _cut(self, run: SearchRun, reason: StopReason, at: int | None) -> None:
        self._is_stale = True
        self._scorer.forget(run)
        self._slots.abort(run.cut(reason, at))

    def _finish(self, run: SearchRun, error: BaseException | None) -> None:
        """Takes a run out of the loop, frees its sequences and tells its listener."""
        self._is_stale = True
        listener = self._listeners.pop(run)
        self._active.pop(run, None)
        self._scorer.forget(run)
        self._account.ended(run.counts, run.tree)
        if error is None and run.stop_reason == "complete":
            self._pace.ended(run.request.config, run.counts.num_iterations)
        try:
            self._slots.abort_run(run)
        finally:
            listener.on_done(run, error)


def _is_plain(run: SearchRun) -> bool:
    return run.priority == 0
