"""Accuracy against tokens of every search on the demonstration models.

    python -m benchmarks.policies [--output docs/results] [--problems 4:150 16:60 64:24]

Writes `policies.json` after every row, and in the end `policies.md` and `policies.png`; with
`--draw` alone it draws anew what the file holds. Tokens are those of the search trees, which every
schedule has to generate, so they belong to the method and not to the machine.
"""

import argparse
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.policy_plots import draw_accuracy, draw_occupancy
from benchmarks.report import Report
from fasttts import FastTTS, SchedulingConfig, SearchResult
from fasttts.decoding.sampling import derive_seed
from fasttts.demo.problems import Problem, generate_problems
from fasttts.evaluation import METHODS, Method, is_correct, method_config, wilson_interval

SEED = 20
BEAM_WIDTH = 4
MIN_OPERATIONS, MAX_OPERATIONS = 4, 8
DEFAULT_PROBLEMS = ("4:150", "16:60", "64:24")

COLUMNS = {
    "arm": "method",
    "n": "n",
    "problems": "problems",
    "accuracy": "accuracy",
    "low": "low 95 %",
    "high": "high 95 %",
    "tokens": "tokens per problem",
    "verifier_tokens": "verifier tokens",
    "seconds": "seconds",
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the benchmark."""
    options = _parser().parse_args(arguments)
    if not options.draw:
        _measure_all(options)
    rows = json.loads((options.output / "policies.json").read_text(encoding="utf-8"))["rows"]
    (options.output / "policies.md").write_text(_document(rows), encoding="utf-8")
    draw_accuracy(rows, options.output / "policies.png")
    draw_occupancy(options.output / "occupancy-groups.png")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=Path("docs/results"))
    parser.add_argument("--problems", nargs="+", metavar="N:COUNT", default=DEFAULT_PROBLEMS)
    parser.add_argument("--methods", nargs="+", choices=list(METHODS), default=list(METHODS))
    parser.add_argument("--draw", action="store_true")
    return parser


def _measure_all(options: argparse.Namespace) -> None:
    counts = dict(tuple(map(int, pair.split(":"))) for pair in options.problems)
    options.output.mkdir(parents=True, exist_ok=True)
    report = Report(
        benchmark="policies",
        config={"problems": counts, "beam_width": BEAM_WIDTH, "operations": [4, 8]},
        seed=SEED,
        columns=COLUMNS,
        output=options.output / "policies.json",
    )
    # Many problems fill the batch of a CPU, where every sequence costs time: nothing runs ahead.
    scheduling = SchedulingConfig(speculation=False)
    rows: list[Mapping[str, Any]] = []
    with FastTTS.load(scheduling=scheduling) as engine:
        for row in _rows(engine, options.methods, counts):
            rows.append(row)
            report.take(rows)
    report.print()


def _rows(
    engine: FastTTS, methods: Sequence[Method], counts: Mapping[int, int]
) -> Iterator[Mapping[str, Any]]:
    problems = generate_problems(
        "test",
        SEED,
        max(counts.values()),
        min_operations=MIN_OPERATIONS,
        max_operations=MAX_OPERATIONS,
    )
    if "greedy" in methods:
        yield _row(engine, "greedy", 1, problems)
    for n, count in counts.items():
        for method in methods:
            if method != "greedy":
                yield _row(engine, method, n, problems[:count])


def _row(engine: FastTTS, method: Method, n: int, problems: Sequence[Problem]) -> Mapping[str, Any]:
    """One method at one `n` on all problems together."""
    config = method_config(method, n=n, beam_width=BEAM_WIDTH, seed=SEED)
    start_s = time.perf_counter()
    outcomes = engine.search_many(
        [problem.text for problem in problems],
        config=config,
        seeds=[derive_seed(SEED, index) for index in range(len(problems))],
    )
    seconds = time.perf_counter() - start_s
    pairs = zip(outcomes, problems, strict=True)
    num_correct = sum(is_correct(outcome, problem.answer) for outcome, problem in pairs)
    low, high = wilson_interval(num_correct, len(problems))
    usages = [outcome.usage for outcome in outcomes if isinstance(outcome, SearchResult)]
    return {
        "arm": method,
        "n": n,
        "problems": len(problems),
        "accuracy": num_correct / len(problems),
        "low": low,
        "high": high,
        "tokens": sum(usage.required_tokens for usage in usages) / max(1, len(usages)),
        "verifier_tokens": sum(u.verifier_computed_tokens for u in usages) / max(1, len(usages)),
        "seconds": seconds,
    }


def _document(rows: Sequence[Mapping[str, Any]]) -> str:
    """The table as a page."""
    lines = [
        "# Searches side by side",
        "",
        "Accuracy on test problems of 4 to 8 operations with the demonstration models, 95 % Wilson",
        "intervals; tokens for each problem, of the generator's tree and computed by the verifier.",
        f"Beam width {BEAM_WIDTH}, other options at their defaults. The models solve one family of",
        "small problems: this compares the searches as they are built here, it does not rank them",
        "for other models. The intervals of the searches with a verifier overlap. Written by",
        "`python -m benchmarks.policies`.",
        "",
        "![accuracy against tokens](policies.png)",
        "",
        "| search | n | problems | accuracy | 95 % interval | tokens | verifier tokens |",
        "|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| `{row['arm']}` | {row['n']} | {row['problems']} | {100 * row['accuracy']:.1f} % "
        f"| {100 * row['low']:.1f} to {100 * row['high']:.1f} % | {row['tokens']:,.0f} "
        f"| {row['verifier_tokens']:,.0f} |"
        for row in rows
    ]
    lines += [
        "",
        "Groups do not wait for each other: in DVTS a subtree goes on as soon as its own siblings",
        "ended, in best-of-N a slot takes the next answer at once.",
        "",
        "![slots in use](occupancy-groups.png)",
        "",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
