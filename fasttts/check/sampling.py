"""Samples answers to problems, as many at once as the device gets through in time."""

import queue
from collections.abc import Generator, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Literal

from fasttts.check.deadline import Deadline
from fasttts.check.problems import CheckProblem
from fasttts.config import SearchConfig, search_config
from fasttts.decoding.sampling import derive_seed
from fasttts.engine import FastTTS
from fasttts.engine.handle import SearchHandle
from fasttts.errors import SearchError
from fasttts.types import SearchResult, TokenLogprob
from fasttts.verifiers.resolve import joint_num_logprobs

Ending = Literal["stop", "length", "time"]
"""Why a sample ended: by itself, at `max_tokens` or the end of the context, or with the check."""

SIBLINGS = 4
"""Samples of a problem that are drawn one after the other."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One sampled answer.

    Attributes:
        problem: Index of the problem.
        text: The answer, as far as it came.
        num_tokens: Its tokens.
        ending: Why it ended.
        answer: The extracted answer; None where there is none.
        is_announced: Whether the text presents it as the answer.
        logprobs: The tokens of the text with their log-probabilities, where the verifier reads any.
    """

    problem: int
    text: str
    num_tokens: int
    ending: Ending
    answer: str | None = None
    is_announced: bool = False
    logprobs: tuple[TokenLogprob, ...] = field(default=(), repr=False)


def sampling_order(num_problems: int, num_siblings: int) -> list[int]:
    """Lists the problem of each sample: siblings in small groups, so that few are enough to vote.

    Args:
        num_problems: Problems.
        num_siblings: Samples of each.
    """
    order: list[int] = []
    for drawn in range(0, num_siblings, SIBLINGS):
        group = min(SIBLINGS, num_siblings - drawn)
        order += [problem for problem in range(num_problems) for _ in range(group)]
    return order


class Sampler:
    """Keeps a number of answers in flight until all are sampled, or time is up.

    Args:
        engine: An idle engine.
        problems: The problems.
        config: How to sample; seeds follow from its own.
        system: A system message; None for none.
    """

    def __init__(
        self,
        engine: FastTTS,
        problems: Sequence[CheckProblem],
        config: SearchConfig,
        system: str | None,
    ) -> None:
        self._engine = engine
        self._problems = problems
        self._config = search_config(config, search="best_of_n", n=1, selection="majority")
        num_logprobs = None if engine.verifier is None else joint_num_logprobs(engine.verifier)
        if num_logprobs is not None:  # plain decoding with a search's sampling has them
            sampling = self._config.sampling_for(engine.published_sampling)
            options = {"search": "none", "num_logprobs": num_logprobs, **asdict(sampling)}
            self._config = search_config(self._config, **options)
        self._system = system
        self._handles: dict[int, SearchHandle] = {}
        self._begun_s: dict[int, float] = {}
        self._durations_s: list[float] = []
        self._ended: queue.SimpleQueue[int] = queue.SimpleQueue()

    def sample(
        self, order: Sequence[int], num_sequences: int, deadline: Deadline
    ) -> Generator[Sample, None, None]:
        """Yields samples as they end; at the deadline those in flight, as far as they came.

        Closing the generator stops those in flight.

        Args:
            order: The problem of each sample.
            num_sequences: Samples in flight.
            deadline: When to stop.
        """
        started = 0
        try:
            while not deadline.is_over:
                while started < len(order) and self._may_start(num_sequences, deadline):
                    self._start(started, order[started], deadline)
                    started += 1
                if not self._handles:
                    return
                number = self._wait(deadline)
                if number is not None:
                    self._durations_s.append(deadline.elapsed_s - self._begun_s[number])
                    yield _read(order[number], self._handles.pop(number))
            self._cancel()
            for number, handle in sorted(self._handles.items()):
                yield _read(order[number], handle)
            self._handles.clear()
        finally:
            self._cancel()

    def _may_start(self, num_sequences: int, deadline: Deadline) -> bool:
        """Whether there is room, and time for an answer of usual length."""
        usual_s = sorted(self._durations_s)[len(self._durations_s) // 2 :][:1]
        return len(self._handles) < num_sequences and deadline.left_s > sum(usual_s)

    def _start(self, number: int, problem: int, deadline: Deadline) -> None:
        config = search_config(self._config, seed=derive_seed(self._config.seed, number))
        text = self._problems[problem].text
        handle = self._engine.submit(text, config=config, system=self._system)
        self._handles[number] = handle
        self._begun_s[number] = deadline.elapsed_s
        handle.when_done(partial(self._ended.put, number))

    def _wait(self, deadline: Deadline) -> int | None:
        """The next sample that ends in time."""
        try:
            return self._ended.get(timeout=deadline.left_s)
        except queue.Empty:
            return None

    def _cancel(self) -> None:
        for handle in self._handles.values():
            handle.cancel()


def _read(problem: int, handle: SearchHandle) -> Sample:
    """The sample of a search that has ended or is cancelled."""
    try:
        result = handle.result()
    except SearchError as error:
        nodes = error.tree
        return Sample(
            problem=problem,
            text="".join(node.text for node in nodes),
            num_tokens=sum(node.num_tokens for node in nodes),
            ending="time" if error.stop_reason == "cancelled" else "length",
        )
    return _sample(problem, result)


def _sample(problem: int, result: SearchResult) -> Sample:
    found = result.candidates[0]
    return Sample(
        problem=problem,
        text=found.text,
        num_tokens=found.num_tokens,
        ending="stop" if found.is_complete else "length",
        answer=found.answer,
        is_announced=found.answer is not None and found.is_announced,
        logprobs=result.logprobs,
    )
