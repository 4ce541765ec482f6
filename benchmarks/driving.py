"""Searches through the loop, measured."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

from fasttts.config import SchedulingConfig, SearchConfig
from fasttts.interfaces import Generator, Verifier
from fasttts.scheduling.loop import Loop
from fasttts.scheduling.run import SearchRequest, SearchRun
from fasttts.search import make_policy, resolve, uses_verifier
from fasttts.tree import Node


class _Listener:
    """Raises what a search ends with."""

    reads_tokens = False

    def on_tokens(self, run: SearchRun, node: Node, token_ids: Sequence[int]) -> None:
        """Nothing to tell."""

    def on_commit(self, run: SearchRun) -> None:
        """Nothing to tell."""

    def on_done(self, run: SearchRun, error: BaseException | None) -> None:
        """Ends the benchmark on an error."""
        if error is not None:
            raise error


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """One search of one arm."""

    run: SearchRun
    seconds: float

    @property
    def tree(self) -> list[tuple[object, ...]]:
        """Everything a search decides; steps that were given up have no score."""
        return [
            (node.path, node.seed, tuple(node.token_ids), node.finish_reason)
            for node in self.run.tree
        ]

    @property
    def num_returned_tokens(self) -> int:
        """Tokens of the beams that ended."""
        num_prompt_tokens = len(self.run.tree.prompt_token_ids)
        return sum(node.num_path_tokens(num_prompt_tokens) for node in self.run.ended_nodes())

    @property
    def loop_ms(self) -> float:
        """The loop's own milliseconds for each iteration, backends aside."""
        counts = self.run.counts
        own = self.seconds - counts.generation_s - counts.verification_s
        return 1000 * own / max(1, counts.num_iterations)


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """A search to run."""

    prompt_token_ids: Sequence[int]
    problem: str
    config: SearchConfig


def measure(
    generator: Generator,
    verifier: Verifier,
    scheduling: SchedulingConfig,
    *,
    prompt_token_ids: Sequence[int],
    problem: str,
    config: SearchConfig,
) -> Measurement:
    """Runs one search to its end."""
    task = Task(prompt_token_ids=prompt_token_ids, problem=problem, config=config)
    (measured,) = measure_together(generator, verifier, scheduling, [task])
    return measured


def measure_together(
    generator: Generator, verifier: Verifier, scheduling: SchedulingConfig, tasks: Sequence[Task]
) -> list[Measurement]:
    """Runs searches to their end in one loop; each has the seconds of all."""
    loop = Loop(generator, verifier, scheduling)
    runs = [_run(task, generator) for task in tasks]
    for run in runs:
        loop.submit(run, _Listener())
    started = time.perf_counter()
    while loop.has_work:
        loop.step()
    seconds = time.perf_counter() - started
    return [Measurement(run=run, seconds=seconds) for run in runs]


def _run(task: Task, generator: Generator) -> SearchRun:
    config = resolve(task.config, has_verifier=True)
    request = SearchRequest(
        prompt_token_ids=task.prompt_token_ids,
        problem=task.problem,
        config=config,
        uses_verifier=uses_verifier(config),
    )
    return SearchRun(
        request,
        make_policy(config),
        generator.tokenizer,
        max_model_len=generator.max_model_len,
        priority=1,
    )
