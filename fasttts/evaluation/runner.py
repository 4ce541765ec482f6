"""Runs methods on problems, many at once, and hands out a record of each as it ends."""

import functools
import time
from collections import deque
from collections.abc import Collection, Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field

from fasttts.config import SearchConfig
from fasttts.decoding.sampling import derive_seed
from fasttts.engine import FastTTS
from fasttts.engine.request import Prompt
from fasttts.errors import ConfigurationError
from fasttts.evaluation.grading import AnswerJudge, Judge, ProblemOutcome
from fasttts.evaluation.problems import Problem
from fasttts.evaluation.records import Record, make_record
from fasttts.types import SearchResult, Usage
from fasttts.verifiers.daemon_pool import Call, DaemonPool

BLOCK_SIZE = 32
"""Problems that all methods answer before the next ones, where a budget may end the evaluation."""


MAX_IN_FLIGHT = 256
"""Problems that are submitted at a time, unless an evaluation says otherwise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Limits of an evaluation; None is no limit.

    Attributes:
        seconds: Wall-clock seconds; what has not ended then is cancelled.
        tokens: Sampled tokens, speculation included; no search begins once they are spent.
        max_in_flight: Problems in work, or waiting for a place, at a time.
    """

    seconds: float | None = None
    tokens: int | None = None
    max_in_flight: int = MAX_IN_FLIGHT


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluated:
    """A record, and the result it was made from.

    Attributes:
        record: The record.
        result: The result; None where the search ended in an error.
    """

    record: Record
    result: SearchResult | None


@dataclass(slots=True, kw_only=True)
class Comparison:
    """Methods that answer problems.

    A search's seed follows from the method's and from the number of the problem, so it does not
    matter which problems are done together, or before.

    Attributes:
        engine: Searches.
        problems: The problems.
        configs: The search of each method.
        system: A system message; None for none.
        judge: Decides what is right.
        limits: Limits of the run.
        is_cut_short: Whether a limit ended the run.
        num_tokens: Tokens that were sampled, speculation included.
    """

    engine: FastTTS
    problems: Sequence[Problem]
    configs: Mapping[str, SearchConfig]
    system: str | None = None
    judge: Judge = field(default_factory=AnswerJudge)
    limits: Limits = Limits()
    is_cut_short: bool = False
    num_tokens: int = 0

    def run(self, done: Collection[tuple[str, int]] = ()) -> Generator[Evaluated, None, None]:
        """Yields the record of each problem under each method, as it ends.

        Method after method; where there is a limit, block of problems after block, so that the
        methods have the same problems behind them when it is reached. Answers are graded in a
        thread beside the searches.

        Args:
            done: Methods and numbers of problems to leave out.
        """
        until_s = None
        if self.limits.seconds is not None:
            until_s = time.monotonic() + self.limits.seconds
        for indices in self._blocks():
            for method in self.configs:
                missing = [index for index in indices if (method, index) not in done]
                yield from self._of_method(method, missing, until_s)
                if self.is_cut_short:
                    return

    def _blocks(self) -> Iterator[range]:
        total = len(self.problems)
        is_limited = self.limits.seconds is not None or self.limits.tokens is not None
        size = BLOCK_SIZE if is_limited else max(1, total)
        return (range(start, min(start + size, total)) for start in range(0, total, size))

    def _of_method(
        self, method: str, indices: Sequence[int], until_s: float | None
    ) -> Iterator[Evaluated]:
        last_s = time.perf_counter()
        graded: deque[Call[Evaluated]] = deque()
        ended = self._outcomes(self.configs[method], indices, until_s)
        with closing(DaemonPool(1, name="fasttts-grade")) as grading, closing(ended):
            for index, outcome in ended:
                now_s = time.perf_counter()
                grade = functools.partial(self._graded, index, method, outcome, now_s - last_s)
                graded.append(grading.submit(grade))
                last_s = now_s
                while graded and graded[0].done():
                    yield graded.popleft().result()
            while graded:
                yield graded.popleft().result()

    def _graded(
        self, index: int, method: str, outcome: ProblemOutcome, elapsed_s: float
    ) -> Evaluated:
        record = make_record(
            index, self.problems[index], method, outcome, judge=self.judge, elapsed_s=elapsed_s
        )
        result = outcome if isinstance(outcome, SearchResult) else None
        return Evaluated(record=record, result=result)

    def _outcomes(
        self, config: SearchConfig, indices: Sequence[int], until_s: float | None
    ) -> Generator[tuple[int, ProblemOutcome], None, None]:
        """What each search ends with; a problem that does not fit into the context is an error."""
        prompts: dict[int, Prompt] = {}
        for index in indices:
            try:
                prompts[index] = self.engine.render(
                    self.problems[index].text,
                    system=self.system,
                    chat_template_kwargs=config.chat_template_kwargs,
                )
            except ConfigurationError as error:
                yield index, error
        numbers = list(prompts)
        timeout_s = None if until_s is None else max(0.0, until_s - time.monotonic())
        ended = self.engine.search_each(
            list(prompts.values()),
            config=config,
            seeds=[derive_seed(config.seed, index) for index in numbers],
            extractors=[self.judge.extractor(self.problems[index], config) for index in numbers],
            max_in_flight=self.limits.max_in_flight,
            timeout_s=timeout_s,
        )
        num_ended = 0
        with closing(ended):
            for position, outcome in ended:
                num_ended += 1
                yield numbers[position], outcome
                self.num_tokens += getattr(outcome, "usage", Usage()).generated_tokens
                if self.limits.tokens is not None and self.num_tokens >= self.limits.tokens:
                    self.is_cut_short = True
                    return
        self.is_cut_short |= num_ended < len(numbers)
