"""What a caller waits for: first tokens of plain requests, idle and under load; deadlines.

The loop is driven by hand, so that iterations are counted exactly and seconds are those of the
models and the loop, not of threads that wake up.
"""

import itertools
import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from fasttts.config import SearchConfig, search_config
from fasttts.config.budget import Budget
from fasttts.engine.request import prepare, render
from fasttts.interfaces import Generator, Verifier
from fasttts.scheduling.loop import Loop
from fasttts.scheduling.run import SearchRun
from fasttts.search import resolve
from fasttts.tree import Node

_LONGEST_GAP = 8
"""Most iterations between two plain requests."""


class _Over(Exception):
    """Ends the searches that were load."""


@dataclass(slots=True)
class Caller:
    """A listener that notes when its first token came, and when its search ended."""

    began: tuple[int, float]
    clock: "Clock"
    reads_tokens: ClassVar[bool] = True
    first: tuple[int, float] | None = None
    ended_s: float | None = None

    def on_tokens(self, run: SearchRun, node: Node, token_ids: Sequence[int]) -> None:
        """Notes the first."""
        if self.first is None:
            num, seconds = self.clock.now()
            self.first = num - self.began[0], seconds - self.began[1]

    def on_commit(self, run: SearchRun) -> None:
        """Nothing to note."""

    def on_done(self, run: SearchRun, error: BaseException | None) -> None:
        """Notes the end; only load that is no longer needed may end with an error."""
        if error is not None and not isinstance(error, _Over):
            raise error
        self.ended_s = self.clock.now()[1] - self.began[1]


@dataclass(slots=True)
class Clock:
    """Iterations and seconds of a loop, and the longest iteration with its verifier batch."""

    loop: Loop
    num_steps: int = 0
    longest_step_s: float = 0.0

    def now(self) -> tuple[int, float]:
        """Iterations that began, and seconds."""
        return self.num_steps, time.perf_counter()

    def step(self) -> None:
        """One iteration."""
        started = time.perf_counter()
        self.num_steps += 1
        self.loop.step()
        self.longest_step_s = max(self.longest_step_s, time.perf_counter() - started)


@dataclass(slots=True, kw_only=True)
class Latency:
    """Measures on two models that nobody else drives.

    Args:
        generator: Decodes.
        verifier: Scores.
        problems: What is asked, in turn.
        seed: Of searches and arrivals.
    """

    generator: Generator
    verifier: Verifier
    problems: Sequence[str]
    seed: int
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    def idle(self, num_requests: int) -> list[tuple[int, float]]:
        """Iterations and seconds to the first token of plain requests, one after the other."""
        clock = self._clock()
        callers = []
        for _ in range(num_requests):
            callers.append(self._submit(clock, _plain()))
            while clock.loop.has_work:
                clock.step()
        return [caller.first for caller in callers if caller.first is not None]

    def loaded(
        self, num_requests: int, *, num_searches: int, beams: int
    ) -> list[tuple[int, float]]:
        """The same while searches run, each followed by another one."""
        clock = self._clock()
        arrivals = random.Random(self.seed)
        searches: list[Caller] = []
        callers: list[Caller] = []
        until_next = _LONGEST_GAP
        while len(callers) < num_requests or any(caller.first is None for caller in callers):
            searches = [caller for caller in searches if caller.ended_s is None]
            while len(searches) < num_searches:
                searches.append(self._submit(clock, search_config(n=beams, seed=self.seed)))
            if until_next == 0 and len(callers) < num_requests:
                callers.append(self._submit(clock, _plain()))
                until_next = arrivals.randint(1, _LONGEST_GAP)
            until_next = max(0, until_next - 1)
            clock.step()
        clock.loop.fail_all(_Over())
        return [caller.first for caller in callers if caller.first is not None]

    def deadlines(self, budgets_s: Sequence[float], *, beams: int) -> tuple[list[float], float]:
        """Seconds by which budgets are overshot, and the longest iteration with its batch."""
        overshoots = []
        longest_s = 0.0
        for seconds in budgets_s:
            clock = self._clock()
            budget = Budget(seconds=seconds)
            caller = self._submit(clock, search_config(n=beams, seed=self.seed, budget=budget))
            while clock.loop.has_work:
                clock.step()
            assert caller.ended_s is not None
            overshoots.append(max(0.0, caller.ended_s - seconds))
            longest_s = max(longest_s, clock.longest_step_s)
        return overshoots, longest_s

    def _clock(self) -> Clock:
        return Clock(Loop(self.generator, self.verifier))

    def _submit(self, clock: Clock, config: SearchConfig) -> Caller:
        number = next(self._numbers)
        prompt = render(self.problems[number % len(self.problems)], self.generator)
        run = prepare(prompt, resolve(config, has_verifier=True), self.generator)
        caller = Caller(clock.now(), clock)
        clock.loop.submit(run, caller)
        return caller


def _plain() -> SearchConfig:
    return search_config(search="none", max_tokens=8)
