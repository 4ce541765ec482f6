"""What drafted tokens bring on a real model: `python -m benchmarks.drafts --generator MODEL`.

The same searches without drafts, with drafts of each of `--lengths` in every iteration, and with
drafts as long as was measured to pay, in turns on one engine; scores are seeded by the text, so
that the generator alone takes time. Seconds of an iteration bound what drafts can gain: none kept
costs what it takes longer, all kept gives a token more for each.

Under `--numerics deterministic` all of them find the same tree, which is counted; by
default they do not, and their seconds are compared for each token.
"""

import argparse
import json
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.driving import Measurement, Task, measure_together
from benchmarks.paired import Row
from benchmarks.report import Report
from benchmarks.scorers import empty_caches
from benchmarks.tree_differences import first_difference
from benchmarks.turns import HELP, turn
from benchmarks.workload import SeededVerifier
from fasttts import SYSTEM_PRESETS
from fasttts.backends.vllm import load_planned
from fasttts.cli.option_values import parse_options
from fasttts.config import SchedulingConfig, engine_config, search_config
from fasttts.evaluation.problem_file import read_problems
from fasttts.interfaces import Generator, max_draft_tokens, numerics

NO_DRAFTS = "none"
_COLUMNS = {
    "beams": "beams",
    "arm": "arm",
    "seconds": "seconds",
    "ms_per_token": "ms a token",
    "gain": "gain",
    "iterations": "itera- tions",
    "tokens_per_sequence": "tokens a pass",
    "ms_per_iteration": "ms an iteration",
    "kept": "kept drafts",
    "same": "same trees",
    "searches": "searches",
}


@dataclass(slots=True, kw_only=True)
class _Arm:
    """What was measured of one way of drafting."""

    beams: int
    name: str
    seconds: list[float] = field(default_factory=list)
    tokens: list[int] = field(default_factory=list)
    iterations: int = 0
    sequences: int = 0
    drafted: int = 0
    kept: int = 0
    same: int = 0

    def take(self, found: Measurement, reference: Measurement) -> None:
        counts = found.run.counts
        self.seconds.append(found.seconds)
        self.tokens.append(counts.generated_tokens)
        self.iterations += counts.num_iterations
        self.sequences += sum(counts.num_required) + sum(counts.num_speculative)
        self.drafted += counts.drafted_tokens
        self.kept += counts.kept_draft_tokens
        self.same += first_difference(reference.run, found.run) is None

    def row(self, reference: "_Arm") -> Row:
        pairs = zip(reference.costs(), self.costs(), strict=False)
        seconds, tokens = sum(self.seconds), sum(self.tokens)
        return {
            "beams": self.beams,
            "arm": self.name,
            "searches": len(self.seconds),
            "seconds": round(seconds, 3),
            "ms_per_token": round(1000 * seconds / max(1, tokens), 4),
            "gain": round(statistics.median(one / other for one, other in pairs), 3),
            "iterations": self.iterations,
            "tokens_per_sequence": round(tokens / max(1, self.sequences), 3),
            "ms_per_iteration": round(1000 * seconds / max(1, self.iterations), 3),
            "generated_tokens": tokens,
            "drafted_tokens": self.drafted,
            "kept": round(self.kept / self.drafted, 3) if self.drafted else None,
            "same": self.same,
        }

    def costs(self) -> list[float]:
        """Seconds a token of each search."""
        return [one / max(1, many) for one, many in zip(self.seconds, self.tokens, strict=True)]


def arms(lengths: Sequence[int]) -> dict[str, SchedulingConfig]:
    """What is compared, by name.

    Args:
        lengths: Lengths of drafts.
    """
    always = {f"always {k}": SchedulingConfig(draft_rule="always", draft_tokens=k) for k in lengths}
    measured = SchedulingConfig(draft_tokens=max(lengths))
    return {NO_DRAFTS: SchedulingConfig(draft_tokens=0), **always, "measured": measured}


def main(argv: list[str] | None = None) -> None:
    """Reads the command line and runs the benchmark."""
    arguments = _parser().parse_args(argv)
    problems = read_problems(arguments.problems, needs_answers=False)[: arguments.searches]
    options = {
        "max_num_seqs": max(arguments.beams),
        "scheduling": {"draft_tokens": max(arguments.lengths)},
        **parse_options(arguments.option),
    }
    config = engine_config(generator=arguments.generator, verifier=None, **options)
    with turn(arguments.turns, alone=False):
        backends = load_planned(config)
    generator = backends.generator
    kept_out = {"output", "turns", "generator", "problems", "record"}
    given = {name: value for name, value in vars(arguments).items() if name not in kept_out}
    try:
        report = Report(
            benchmark="drafts",
            config={
                **given,
                "generator": Path(arguments.generator).name,
                "problems": arguments.problems.name,
                "numerics": numerics(generator),
                "max_draft_tokens": max_draft_tokens(generator),
            },
            seed=arguments.seed,
            columns=_COLUMNS,
            output=arguments.output,
        )
        for rows in _rows(generator, [problem.text for problem in problems], arguments):
            report.take(rows)
        report.print()
    finally:
        generator.close()


def _rows(
    generator: Generator, texts: Sequence[str], arguments: argparse.Namespace
) -> Iterator[list[Row]]:
    """All rows so far, after each problem; a search of each width warms up what it needs."""
    done: list[Row] = []
    ways = arms(arguments.lengths)
    for beams in arguments.beams:
        found_arms = [_Arm(beams=beams, name=name) for name in ways]
        rows: list[Row] = []
        for number, text in enumerate([texts[0], *texts]):
            task = _task(generator, text, beams, arguments, seed=arguments.seed + number)
            with turn(arguments.turns, alone=True):
                found = [_measured(generator, each, task) for each in ways.values()]
            if number == 0:
                continue
            if arguments.record is not None:
                _record(arguments.record, found[0], task)
            for arm, measurement in zip(found_arms, found, strict=True):
                arm.take(measurement, found[0])
            rows = [arm.row(found_arms[0]) for arm in found_arms]
            yield done + rows
        done += rows


def _measured(generator: Generator, scheduling: SchedulingConfig, task: Task) -> Measurement:
    empty_caches(generator)
    (found,) = measure_together(generator, SeededVerifier(), scheduling, [task])
    return found


def _record(file: Path, found: Measurement, task: Task) -> None:
    """Writes what the beams of a search said, for `benchmarks.search --streams`."""
    beams = [node.lineage() for node in found.run.ended_nodes()]
    streams = [[token for node in beam for token in node.token_ids] for beam in beams]
    document = {"prompt": list(task.prompt_token_ids), "streams": streams}
    file.write_text(json.dumps(document), encoding="utf-8")


def _task(
    generator: Generator, text: str, beams: int, arguments: argparse.Namespace, *, seed: int
) -> Task:
    prompt = [
        {"role": "system", "content": SYSTEM_PRESETS["math"]},
        {"role": "user", "content": text},
    ]
    options: dict[str, Any] = {"search": "best_of_n", "n": 1}
    if beams > 1:
        options = {"search": "beam_search", "n": beams, "beam_width": 4}
    config = search_config(
        max_tokens=arguments.max_tokens, temperature=arguments.temperature, seed=seed, **options
    )
    return Task(
        prompt_token_ids=generator.tokenizer.encode_chat(prompt), problem=text, config=config
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--generator", required=True)
    parser.add_argument("--problems", type=Path, required=True, help="a file with problems")
    parser.add_argument("--beams", type=_numbers, default=[1, 16, 64], help="1: one stream alone")
    parser.add_argument("--lengths", type=_numbers, default=[4], help="of drafts, each an arm")
    parser.add_argument("--searches", type=int, default=6, help="problems for each width")
    parser.add_argument("--max-tokens", type=int, default=400)
    parser.add_argument("--temperature", type=float, default=0.8)
    parser.add_argument(
        "--option",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="an option of the engine; repeatable",
    )
    parser.add_argument("--record", type=Path, help="a file for the text of the last search")
    parser.add_argument("--turns", type=Path, help=HELP)
    parser.add_argument("--output", type=Path, help="a file that has the JSON line so far")
    parser.add_argument("--seed", type=int, default=0)
    return parser


def _numbers(text: str) -> list[int]:
    return [int(number) for number in text.split(",")]


if __name__ == "__main__":
    main()
