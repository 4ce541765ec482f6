"""Labels the steps of rollouts by continuing them: Math-Shepherd's automatic annotation.

Wang et al. (2023, arXiv 2312.08935, section 3.3): a step is as good as its chance to lead to the
right answer, which k continuations of the text up to its end estimate; "soft" is their share of
right answers (equation 4), "hard" whether any is right (equation 3). It differs in that rollouts
count as continuations of their own beginnings, and that equal beginnings are labelled once.
"""

import hashlib
import threading
import time
from collections.abc import Collection, Generator, Sequence
from concurrent.futures import FIRST_COMPLETED, wait
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from fasttts.answers.extraction import Extractor
from fasttts.config import SearchConfig, search_config
from fasttts.decoding.sampling import derive_seed
from fasttts.engine import FastTTS
from fasttts.engine.request import Prompt
from fasttts.errors import BackendError, ConfigurationError, SearchError
from fasttts.evaluation.grading import AnswerJudge, Judge, right_candidates
from fasttts.evaluation.problems import Problem
from fasttts.prm.labels import LabelCost, LabeledRollout, LabelRecord
from fasttts.prm.prefixes import LabelRule, Prefix, PrefixTree
from fasttts.types import AnswerPrefix, Candidate, SearchResult, Step
from fasttts.verifiers.daemon_pool import Call, DaemonPool

MAX_IN_FLIGHT = 16
"""Problems that are labelled at a time, unless a labelling says otherwise."""


def rollout_config(**options: Any) -> SearchConfig:
    """Makes the search that samples rollouts and continuations: independent answers, no verifier.

    Args:
        options: Options of `SearchConfig`.

    Raises:
        ConfigurationError: An option is unknown, its value cannot work, or steps have a fixed
            number of tokens, whose ends the text does not show.
    """
    config = search_config(**{**options, "search": "best_of_n", "selection": "majority", "n": 1})
    if config.step_tokens is not None:
        raise ConfigurationError(
            f"step_tokens={config.step_tokens}: labels need steps whose ends stand in the text, by "
            "step_separator or step_pattern"
        )
    if config.temperature == 0.0:
        raise ConfigurationError("temperature=0: rollouts have to differ; raise it")
    return config


@dataclass(slots=True, kw_only=True)
class Labeling:
    """Labels problems, several at once.

    Attributes:
        engine: Whose generator samples; its verifier takes no part.
        problems: The problems, of known answer or with tests.
        config: How to sample, from `rollout_config`.
        rule: How many samples make a label.
        system: A system message; None for none.
        judge: Decides what is right; called from several threads.
        max_in_flight: Problems in work at a time.
        seconds: Seconds after which no problem begins; None for no limit.
        is_cut_short: Whether that limit ended the run.
    """

    engine: FastTTS
    problems: Sequence[Problem]
    config: SearchConfig
    rule: LabelRule = field(default_factory=LabelRule)
    system: str | None = None
    judge: Judge = field(default_factory=AnswerJudge)
    max_in_flight: int = MAX_IN_FLIGHT
    seconds: float | None = None
    is_cut_short: bool = False

    def run(self, done: Collection[int] = ()) -> Generator[LabelRecord, None, None]:
        """Yields the record of each problem as it ends.

        Closing the generator ends the work on the problems that it has begun.

        Args:
            done: Numbers of problems to leave out.

        Raises:
            BackendError: The generator failed.
        """
        until_s = float("inf") if self.seconds is None else time.monotonic() + self.seconds
        todo = [index for index in range(len(self.problems)) if index not in done]
        with closing(DaemonPool(self._num_in_work, name="fasttts-label")) as pool:
            pending: set[Call[LabelRecord]] = set()
            stopped = threading.Event()
            try:
                for index in todo:
                    if time.monotonic() >= until_s:
                        self.is_cut_short = True
                        break
                    pending.add(pool.submit(partial(self._label, index, stopped)))
                    if len(pending) >= self._num_in_work:
                        ended, pending = _first(pending)
                        yield from ended
                while pending:
                    ended, pending = _first(pending)
                    yield from ended
            finally:
                stopped.set()

    @property
    def _num_in_work(self) -> int:
        """Problems in work at a time: each needs room for a search that waits."""
        return min(self.max_in_flight, self.engine.scheduling.max_waiting)

    @property
    def most_searches(self) -> int:
        """Searches of a problem at a time, so that all problems together find room to wait."""
        return max(1, self.engine.scheduling.max_waiting // self._num_in_work)

    def label(self, index: int) -> LabelRecord:
        """Labels one problem.

        Args:
            index: Its number.

        Raises:
            BackendError: The generator failed.
        """
        return self._label(index, threading.Event())

    def _label(self, index: int, stopped: threading.Event) -> LabelRecord:
        problem = self.problems[index]
        work = _Work(
            labeling=self,
            problem=problem,
            seed=derive_seed(self.config.seed, index),
            extract=self.judge.extractor(problem, self.config),
            stopped=stopped,
        )
        begin_s = time.perf_counter()
        rollouts: tuple[LabeledRollout, ...] = ()
        error: str | None = None
        try:
            rollouts = work.run()
        except (ConfigurationError, SearchError) as found:
            error = str(found)
        return LabelRecord(
            index=index,
            problem=problem.id,
            text=problem.text,
            rollouts=rollouts,
            num_prefixes=work.num_prefixes,
            error=error,
            run=LabelCost(
                elapsed_s=round(time.perf_counter() - begin_s, 6),
                generated_tokens=work.num_tokens,
            ),
        )


def _first(
    pending: set[Call[LabelRecord]],
) -> tuple[list[LabelRecord], set[Call[LabelRecord]]]:
    """Waits for a problem to end; those that have, and those that have not."""
    ended, others = wait(pending, return_when=FIRST_COMPLETED)
    records = [call.result() for call in ended]
    return records, {call for call in pending if call in others}


@dataclass(slots=True, kw_only=True)
class _Work:
    """The labelling of one problem."""

    labeling: Labeling
    problem: Problem
    seed: int
    extract: Extractor | None
    stopped: threading.Event
    num_tokens: int = 0
    num_prefixes: int = 0

    def run(self) -> tuple[LabeledRollout, ...]:
        labeling, rule = self.labeling, self.labeling.rule
        prompt = labeling.engine.render(self.problem.text, system=labeling.system)
        (found,) = self._sampled([prompt], [self.seed], rule.num_rollouts)
        rollouts = sorted(found, key=lambda candidate: candidate.path)
        tree = PrefixTree(rollouts, self._right(rollouts), labeling.config.step_rule)
        self.num_prefixes = len(tree.prefixes)
        fitting = [prefix for prefix in tree.prefixes if self._fits(prompt, prefix)]
        while waves := [(prefix, size) for prefix in fitting for size in prefix.waves(rule)]:
            for size in sorted({size for _, size in waves}, reverse=True):
                self._continue(prompt, [prefix for prefix, own in waves if own == size], size)
        return tree.labelled(rule)

    def _continue(self, prompt: Prompt, prefixes: Sequence[Prefix], size: int) -> None:
        """Samples a wave of continuations for each mention of a beginning."""
        prompts, seeds = [], []
        for prefix in prefixes:
            steps = tuple(Step(text=text) for text in prefix.steps)
            begun = AnswerPrefix(text=prefix.text, steps=steps)
            prompts.append(replace(prompt, answer_prefix=begun))
            seeds.append(derive_seed(self.seed, _number(prefix.text), prefix.num_waves))
            prefix.num_waves += 1
        found = self._sampled(prompts, seeds, size)
        for prefix, candidates in zip(prefixes, found, strict=True):
            prefix.verdicts += self._right(candidates)

    def _sampled(
        self, prompts: Sequence[Prompt], seeds: Sequence[int], size: int
    ) -> list[tuple[Candidate, ...]]:
        """Samples `size` answers to each prompt.

        Raises:
            BackendError: The generator failed, or the run was stopped.
            SearchError: A search failed.
        """
        results: dict[int, SearchResult] = {}
        ended = self.labeling.engine.search_each(
            prompts,
            config=search_config(self.labeling.config, n=size),
            seeds=seeds,
            extractors=[self.extract] * len(prompts),
            max_in_flight=self.labeling.most_searches,
        )
        with closing(ended):
            for position, outcome in ended:
                if self.stopped.is_set():
                    raise BackendError("the labelling was stopped", role="generator")
                self.num_tokens += outcome.usage.generated_tokens
                if not isinstance(outcome, SearchResult):
                    raise outcome
                results[position] = outcome
        return [results[position].candidates for position in range(len(prompts))]

    def _right(self, candidates: Sequence[Candidate]) -> Sequence[bool]:
        return right_candidates(self.problem, candidates, self.labeling.judge)

    def _fits(self, prompt: Prompt, prefix: Prefix) -> bool:
        """Whether an answer may go on after a beginning; it may be encoded to more tokens."""
        engine, config = self.labeling.engine, self.labeling.config
        num_left = min(config.max_tokens, engine.max_model_len - len(prompt.token_ids))
        return len(engine.tokenizer.encode(prefix.text)) < num_left


def _number(text: str) -> int:
    """A number that stands for a text, on every platform."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")
