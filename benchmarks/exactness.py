"""Whether a schedule changes a search: `python -m benchmarks.exactness --numerics deterministic`.

Each search runs in the plain loop and in other schedules, on the same two engines, after both
prefix caches were emptied; of each tree that is not the plain loop's, the first other node is kept.
`--generator`, `--verifier` and `--problems` take real models and problems. A process has one
`numerics`: several are compared by several processes, whose trees have digests.
"""

import argparse
import collections
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.arms import ARMS, FULL, SWITCHES
from benchmarks.driving import Measurement, Task, measure_together
from benchmarks.paired import Row, is_over
from benchmarks.report import Report
from benchmarks.tree_differences import first_difference, tree_digest
from benchmarks.turns import HELP, turn
from fasttts import SYSTEM_PRESETS
from fasttts.backends.vllm import Backends, load_planned
from fasttts.cli.option_values import parse_options
from fasttts.config import DEMO, PLAIN, SchedulingConfig, engine_config, search_config
from fasttts.demo.problems import generate_problems
from fasttts.errors import ConfigurationError
from fasttts.evaluation.problem_file import read_problems
from fasttts.interfaces import numerics
from fasttts.memory import planned_scheduling
from fasttts.types import Numerics
from fasttts.verifiers.resolve import joint_numerics

PLAIN_ARM = "plain"
SCHEDULES: dict[str, tuple[SchedulingConfig, int]] = {
    PLAIN_ARM: (PLAIN, 1),
    "full": (FULL, 1),
    "slots_24": (FULL.model_copy(update={"slots": 24}), 1),
    "two_at_once": (FULL, 2),
    "plain_again": (PLAIN, 1),
    "plain_at_once": (PLAIN, 2),
    "drafts": (ARMS["drafts"].scheduling, 1),
    "two_with_drafts": (ARMS["drafts"].scheduling, 2),
    "plain_with_drafts": (
        PLAIN.model_copy(update={"draft_tokens": FULL.draft_tokens, "draft_rule": "always"}),
        1,
    ),
    "no_drafts": (ARMS["no_drafts"].scheduling, 1),
    **{f"no_{name}": (ARMS[f"no_{name}"].scheduling, 1) for name in SWITCHES},
}
"""Each arm's options of the loop, and how many searches run together."""

MAIN_ARMS = (PLAIN_ARM, "full", "slots_24", "two_at_once")
_NUM_TOGETHER = 2
_COLUMNS = {
    "arm": "arm",
    "searches": "searches",
    "same": "same trees",
    "first": "first differ- ences",
    "seconds": "seconds",
    "generated_tokens": "tokens",
    "kept_draft_tokens": "kept drafts",
    "numerics": "numerics",
}


@dataclass(slots=True, kw_only=True)
class Arm:
    """What was found in one schedule so far."""

    name: str
    searches: int = 0
    same: int = 0
    seconds: float = 0.0
    generated_tokens: int = 0
    drafted_tokens: int = 0
    kept_draft_tokens: int = 0
    differences: list[dict[str, Any]] = field(default_factory=list)
    digests: list[str] = field(default_factory=list)

    def take(
        self, numbers: Sequence[int], expected: Sequence[Measurement], found: Sequence[Measurement]
    ) -> None:
        """Adds searches that ran together; they have one time."""
        self.seconds += found[0].seconds
        for number, one, other in zip(numbers, expected, found, strict=True):
            difference = first_difference(one.run, other.run)
            self.searches += 1
            self.same += difference is None
            self.generated_tokens += other.run.counts.generated_tokens
            self.drafted_tokens += other.run.counts.drafted_tokens
            self.kept_draft_tokens += other.run.counts.kept_draft_tokens
            self.digests.append(tree_digest(other.run))
            if difference is not None:
                self.differences.append({"search": number, **difference.to_dict()})

    def row(self) -> Row:
        """What the report holds of it."""
        kinds = collections.Counter(each["kind"] for each in self.differences)
        digests = {"digests": self.digests} if self.name == PLAIN_ARM else {}
        return {
            "arm": self.name,
            "searches": self.searches,
            "same": self.same,
            "first": ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items())),
            "seconds": round(self.seconds, 3),
            "generated_tokens": self.generated_tokens,
            "drafted_tokens": self.drafted_tokens,
            "kept_draft_tokens": self.kept_draft_tokens,
            "differences": self.differences,
            **digests,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """The opened engines.

    Attributes:
        backends: Both, and their plan.
        turns: A file by which processes on one GPU take turns; None for none.
    """

    backends: Backends
    turns: Path | None = None

    @property
    def verifier(self) -> Any:
        """The verifier's engine, or the generator as a judge."""
        found = self.backends.verifier or self.backends.judge
        if found is None:
            raise ConfigurationError("--verifier: name a model, or 'judge'")
        return found

    @property
    def described(self) -> dict[str, Any]:
        """What the engines are, beside their options."""
        plan = self.backends.plan
        given: Numerics = numerics(self.backends.generator)
        if joint_numerics(self.verifier) == "default":
            given = "default"
        return {"numerics": given, "plan": None if plan is None else plan.kind}

    def run(self, tasks: Sequence[Task], scheduling: SchedulingConfig) -> list[Measurement]:
        """Runs searches together, from empty caches."""
        self.backends.generator.reset_prefix_cache()
        self.verifier.reset_prefix_cache()
        fitting = planned_scheduling(scheduling, self.backends.plan)
        with turn(self.turns, alone=True):
            return measure_together(self.backends.generator, self.verifier, fitting, tasks)

    def close(self) -> None:
        """Closes both engines."""
        self.verifier.close()
        self.backends.generator.close()


def main(argv: list[str] | None = None) -> None:
    """Reads the command line and runs the benchmark."""
    arguments = _parser().parse_args(argv)
    texts = _problems(arguments)
    started = time.monotonic()
    with turn(arguments.turns, alone=False):
        backends = load_planned(_engine_config(arguments))
    bench = Bench(backends=backends, turns=arguments.turns)
    try:
        loaded = time.monotonic()
        deadline = None if arguments.max_seconds is None else loaded + arguments.max_seconds
        others = ("output", "turns")
        options = {name: value for name, value in vars(arguments).items() if name not in others}
        options["problems"] = arguments.problems and arguments.problems.name
        report = Report(
            benchmark="exactness",
            config={**options, "load_s": round(loaded - started, 1)},
            seed=arguments.seed,
            columns=_COLUMNS,
            output=arguments.output,
        )
        for rows in _rows(bench, _tasks(bench, texts, arguments), arguments.arms, deadline):
            report.take([{**row, **bench.described} for row in rows])
        report.print()
    finally:
        bench.close()


def _rows(
    bench: Bench, tasks: Sequence[Task], names: Sequence[str], deadline: float | None
) -> Iterator[list[Row]]:
    """All rows so far, after each pair of searches; arms take turns, once all is warmed up."""
    arms = [Arm(name=name) for name in names]
    if not is_over(deadline):
        bench.run(tasks[:1], FULL)
    for first in range(0, len(tasks), _NUM_TOGETHER):
        if is_over(deadline):
            return
        numbers = range(first, min(first + _NUM_TOGETHER, len(tasks)))
        plain = [bench.run([tasks[number]], PLAIN)[0] for number in numbers]
        for arm in arms:
            scheduling, at_once = SCHEDULES[arm.name]
            for start in range(0, len(numbers), at_once):
                group, expected = numbers[start:][:at_once], plain[start:][:at_once]
                is_reference = arm.name == PLAIN_ARM
                found = expected if is_reference else bench.run(_of(tasks, group), scheduling)
                arm.take(group, expected, found)
        yield [arm.row() for arm in arms]


def _of(tasks: Sequence[Task], numbers: Sequence[int]) -> list[Task]:
    return [tasks[number] for number in numbers]


def _tasks(bench: Bench, texts: Sequence[str], arguments: argparse.Namespace) -> list[Task]:
    """The searches; each has a seed of its own, and problems that are too few come again."""
    system = arguments.system
    if system is None and arguments.generator != DEMO:
        system = SYSTEM_PRESETS["math"]
    before = [{"role": "system", "content": system}] if system else []
    tasks = []
    for number in range(arguments.searches):
        text = texts[number % len(texts)]
        prompt = [*before, {"role": "user", "content": text}]
        config = search_config(
            search=arguments.search,
            n=arguments.beams,
            beam_width=arguments.beam_width,
            max_tokens=arguments.max_tokens,
            temperature=arguments.temperature,
            seed=arguments.seed + number,
        )
        encoded = bench.backends.generator.tokenizer.encode_chat(prompt)
        tasks.append(Task(prompt_token_ids=encoded, problem=text, config=config))
    return tasks


def _problems(arguments: argparse.Namespace) -> list[str]:
    if arguments.problems is None:
        found = generate_problems("test", arguments.seed, arguments.searches, min_operations=4)
        return [problem.text for problem in found]
    read = read_problems(arguments.problems, needs_answers=False)
    if arguments.skip >= len(read):
        raise ConfigurationError(f"--skip {arguments.skip}: the file has {len(read)} problems")
    return [problem.text for problem in read[arguments.skip :]]


def _engine_config(arguments: argparse.Namespace) -> Any:
    named = ("verifier", "dtype", "numerics", "max_model_len", "max_num_seqs")
    given = {name: getattr(arguments, name) for name in named}
    chosen = {name: value for name, value in given.items() if value is not None}
    return engine_config(
        generator=arguments.generator, **{**chosen, **parse_options(arguments.option)}
    )


def _arms(text: str) -> list[str]:
    names = text.split(",")
    for name in names:
        if name not in SCHEDULES:
            raise argparse.ArgumentTypeError(f"{name!r} is none of {', '.join(SCHEDULES)}")
    return names


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--generator", default=DEMO)
    parser.add_argument("--verifier", help="a model or 'judge'; the bundled one with 'demo'")
    parser.add_argument("--dtype")
    parser.add_argument("--numerics", help="default or deterministic")
    parser.add_argument("--max-model-len", type=int)
    parser.add_argument("--max-num-seqs", type=int)
    parser.add_argument(
        "--option",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="any other option of the engine, such as offloading=sleep; repeatable",
    )
    parser.add_argument("--problems", type=Path, help="a file; problems of the demo by default")
    parser.add_argument("--skip", type=int, default=0, help="problems of the file to leave out")
    parser.add_argument("--system", help="a system message; steps and a boxed answer by default")
    parser.add_argument("--searches", type=int, default=40)
    parser.add_argument("--search", default="beam_search")
    parser.add_argument("--beams", type=int, default=16)
    parser.add_argument("--beam-width", type=int, default=4)
    parser.add_argument("--max-tokens", type=int, default=512)
    parser.add_argument("--temperature", type=float, default=0.8)
    parser.add_argument(
        "--arms",
        type=_arms,
        default=list(MAIN_ARMS),
        help=f"comma-separated: {', '.join(SCHEDULES)}",
    )
    parser.add_argument("--max-seconds", type=float, help="no search begins after, once loaded")
    parser.add_argument("--turns", type=Path, help=HELP)
    parser.add_argument("--output", type=Path, help="a file that has the JSON line so far")
    parser.add_argument("--seed", type=int, default=0)
    return parser


if __name__ == "__main__":
    main()
