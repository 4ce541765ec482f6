"""Admits searches, and chooses the steps that decode.

Plain decodings go first, then required steps, then speculation, each kind in order of arrival. The
order changes no result.
"""

import heapq
import itertools
import logging
from collections.abc import Iterator, Sequence

from fasttts.config import SchedulingConfig
from fasttts.errors import BackendError, FastTTSError, OverloadedError, SearchError
from fasttts.scheduling.latency import IterationLatency, SearchLatency
from fasttts.scheduling.recovery import broken_generator, user_failure
from fasttts.scheduling.run import Failure, SearchRun
from fasttts.scheduling.slots import Owner, Slots
from fasttts.scheduling.speculation import Rule, one_of_each_in_turn
from fasttts.scheduling.usage import Account, PressureGauge
from fasttts.tree import Node

logger = logging.getLogger(__name__)


class Scheduler:
    """Admits searches and assigns the generator's slots.

    Args:
        slots: The slots.
        config: Which optimisations are on.
        pressure: How full the generator's memory is.
        account: The costs so far, from which waiting times are estimated.
    """

    def __init__(
        self,
        slots: Slots,
        config: SchedulingConfig,
        pressure: PressureGauge,
        account: Account,
    ) -> None:
        self._slots = slots
        self._config = config
        self._pressure = pressure
        self._account = account
        self._queue: list[tuple[int, int, SearchRun]] = []
        self._waiting: set[SearchRun] = set()
        self._active: dict[SearchRun, None] = {}
        self._arrivals = itertools.count()
        self._cost = IterationLatency()
        self._search_latency = SearchLatency()
        self._num_allowed = slots.num_slots
        self._failures: dict[SearchRun, FastTTSError] = {}
        self._guesses: Iterator[Owner] = iter(())
        """What is left of the last prediction, most useful first."""

    @property
    def active(self) -> list[SearchRun]:
        """The admitted searches, in order of admission."""
        return list(self._active)

    def check_room(self, num_submitted: int) -> None:
        """Checks that another search may wait; may be called from any thread.

        Args:
            num_submitted: Searches that are on their way to `add`.

        Raises:
            OverloadedError: Too many wait already.
        """
        num_waiting = len(self._waiting) + num_submitted
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

    def refusal(self, run: SearchRun) -> SearchError | None:
        """The error of a search that is refused because it would not end in time; else None."""
        config = run.request.config
        if config.budget.seconds is None or not config.budget.refuse_late:
            return None
        num_ahead = sum(other.priority <= run.priority for other in self._waiting)
        expected = self._search_latency.expected_s(config, num_ahead, self._account.snapshot())
        if expected <= config.budget.seconds:
            return None
        message = (
            f"refused: such a search takes {expected:.3g} s behind {num_ahead} others, the budget "
            f"is seconds={config.budget.seconds}: raise it, or search less"
        )
        return SearchError(message, stop_reason="refused")

    def add(self, run: SearchRun) -> None:
        """Queues a search."""
        self._waiting.add(run)
        heapq.heappush(self._queue, (run.priority, next(self._arrivals), run))

    def remove(self, run: SearchRun, *, has_ended: bool) -> None:
        """Removes a search.

        Args:
            run: The search.
            has_ended: Whether it ended without an error, and tells what such a search takes.
        """
        self._waiting.discard(run)
        self._active.pop(run, None)
        if has_ended and run.budget.stop_reason == "complete":
            self._search_latency.ended(run.request.config, run.counts.num_iterations)

    def measured(self, seconds: float, mean_tokens: float = 1.0) -> None:
        """Records the time of the last iteration of all slots.

        Args:
            seconds: Its time.
            mean_tokens: Tokens that a sequence gains in such an iteration.
        """
        if self._slots.is_steady:
            self._cost.measured(len(self._slots), seconds / mean_tokens)

    def fill(self, *, is_new: bool = True) -> list[Failure]:
        """Admits searches while there is room and starts the steps that should run.

        Args:
            is_new: Whether anything happened since the last call but that slots became free. Where
                nothing did, the last prediction goes on: a new one of many beams takes long.

        Returns:
            The searches that failed on the way; they have to be removed, and what they held freed.
        """
        if is_new or not self._go_on():
            self._admit()
            self._fill_slots()
        failures, self._failures = self._failures, {}
        return list(failures.items())

    def _admit(self) -> None:
        """Takes plain decodings from the queue, and searches while they alone leave slots free."""
        searches = [run for run in self._active if not _is_plain(run)]
        num_wanted = sum(len(run.waiting) for run in searches)
        num_wanted += sum(node.is_attached for run, node in self._slots if not _is_plain(run))
        while self._queue and (num_wanted < self._slots.num_slots or _is_plain(self._queue[0][2])):
            _, _, run = heapq.heappop(self._queue)
            if run in self._waiting:
                self._waiting.remove(run)
                self._active[run] = None
                num_wanted += 0 if _is_plain(run) else len(run.waiting)

    def _fill_slots(self) -> None:
        """Required steps first (plain decodings, then searches as admitted), then speculation."""
        runs = sorted(self._active, key=lambda run: run.priority)
        required = self._in_turn([(run, node) for run in runs for node in self._in_order(run)])
        guesses = self._speculate(runs, len(required)) if self._config.speculation else []
        self._make_room(required)
        for run, node in itertools.chain(required, guesses):
            if self._slots.num_free == 0:
                break
            if node.request_id is None and run not in self._failures:
                self._start(run, node)

    def _go_on(self) -> bool:
        """Fills free slots from the last prediction; returns whether that is all there is to do."""
        is_short = self._pressure.is_short(self._config.kv_usage_threshold)
        if is_short or self._queue or any(run.waiting for run in self._active):
            return False
        while self._slots.num_free and (owner := next(self._guesses, None)) is not None:
            run, node = owner
            if node.request_id is None and not node.is_ended and run not in self._failures:
                self._start(run, node)
        return True

    def _in_turn(self, required: list[Owner]) -> list[Owner]:
        """Plain decodings first, but those beyond three quarters of the slots after searches."""
        num_running = sum(_is_plain(run) for run, _ in self._slots)
        num_first = max(1, self._slots.num_slots * 3 // 4) - num_running
        plain = [owner for owner in required if _is_plain(owner[0])]
        first, last = plain[: max(0, num_first)], plain[max(0, num_first) :]
        return first + [owner for owner in required if not _is_plain(owner[0])] + last

    def _make_room(self, required: Sequence[Owner]) -> None:
        """Lets plain decodings take slots of searches, the newest search's last steps first.

        A displaced step is decoded on from its last token later. A quarter of the slots is left to
        searches, so that no stream of plain requests starves them.
        """
        if not self._config.two_phase:
            return
        running = [owner for owner in self._slots if not _is_plain(owner[0])]
        num_waiting = sum(_is_plain(run) for run, _ in required)
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
        """The steps a search waits for, in the order in which they start.

        Depth-first order of the tree keeps siblings together and their parents in the order of the
        step before, so that a shared prefix is in use, and its blocks alive, while its children
        run. Source: FastTTS, arXiv 2509.00195, section 4.3 (dynamic prefix-aware scheduling).
        search-and-learn instead repeats the list of survivors: first every first child, then every
        second one.
        """
        if self._config.prefix_order:
            return sorted(run.waiting.values(), key=lambda node: node.path)
        return sorted(run.waiting.values(), key=lambda node: (node.path[-1], node.path))

    def _start(self, run: SearchRun, node: Node) -> None:
        """Starts a node; what fails on a speculative one counts when the search needs the node."""
        if node.failure is None:
            try:
                self._slots.start(run, node)
            except BackendError as error:
                node.failure = error
            except Exception as error:  # a generator may be a user's class and raise anything
                logger.warning("the generator broke its contract", exc_info=error)
                node.failure = broken_generator(error)
        if node.failure is not None and node.is_attached:
            self._failures[run] = node.failure

    def _speculate(self, runs: Sequence[SearchRun], num_waiting: int) -> list[Owner]:
        """Chooses speculative steps for the free slots and aborts the others."""
        self._guesses = self._predicted(runs)
        running = self._slots.speculative()
        num_slots = self._slots.num_free + len(running) - num_waiting
        if not self._config.two_phase:
            return list(itertools.islice(self._guesses, max(num_slots, len(running))))
        count = max(0, min(num_slots, self._allowance(len(running))))
        guesses = list(itertools.islice(self._guesses, count))
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

    def _predicted(self, runs: Sequence[SearchRun]) -> Iterator[Owner]:
        """The speculative nodes, most useful first, one of each run in turn."""
        rule = self._rule()
        return one_of_each_in_turn([self._guesses_of(run, rule) for run in runs])

    def _guesses_of(self, run: SearchRun, rule: Rule) -> Iterator[Owner]:
        guesses = run.guesses(self._config, rule)
        while True:
            try:
                node = next(guesses, None)
            except BaseException as error:  # a policy may be a user's class and raise anything
                logger.warning("a search failed", exc_info=error)
                self._failures[run] = user_failure("policy", error)
                return
            if node is None:
                return
            yield run, node

    def _rule(self) -> Rule:
        """The rule of speculation; "measured" is "likely" until a full batch proves cheap."""
        rule = self._config.speculation_rule
        if rule != "measured":
            return rule
        return "score" if self._cost.is_cheap(self._slots.num_slots) else "likely"


def _is_plain(run: SearchRun) -> bool:
    return run.priority == 0
