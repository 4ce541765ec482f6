"""A verifier trained from rollouts, and what it buys a search on other problems of its family.

    python -m benchmarks.train_verifier reasoning-gym:NAME --generator DIR --folder DIR

Draws problems of different texts and divides them into three sets, labels the first two, trains a
verifier on the first, and lets greedy decoding, majority voting, best-of-N and beam search answer
the third; `--variants` adds searches with other options, and the rows say what other rules would
have chosen among the candidates of each search. Then accuracy against seconds: the same methods
with other numbers of samples, the beam search in the plain loop (`benchmarks.evaluate`), and
majority voting in plain vLLM (`benchmarks.vllm_majority`). Each phase is a process in the process
group of this one, so that one signal ends everything and no phase leaves memory taken to the next.
What is done is kept in the folder: the same command continues. Ends in a table and one JSON line,
also in `report.json`.
"""

import argparse
import json
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.report import Report
from benchmarks.turns import HELP, turn
from fasttts.cli.evaluate_view import RULES
from fasttts.evaluation import Problem, Record, load_problems, problem_curves
from fasttts.evaluation.intervals import bootstrap_intervals
from fasttts.evaluation.summary import paired_difference

SPLITS = ("train", "dev", "test")
_COMMAND_LINE = (sys.executable, "-c", "from fasttts.cli import main; main()")
_MOST_DRAWS = 6
_MAKING = ("label-train", "label-dev", "train")
"""Phases before anything is measured."""

_BASELINES = ("greedy", "majority")

COLUMNS = {
    "arm": "arm",
    "method": "method",
    "n": "n",
    "num_problems": "problems",
    "accuracy": "accuracy",
    "low": "low 95 %",
    "high": "high 95 %",
    "seconds": "seconds",
    "tokens": "tokens",
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the experiment."""
    options = _parser().parse_args(arguments)
    options.folder.mkdir(parents=True, exist_ok=True)
    found = dict(commands(options))
    if options.until is not None and options.until not in found:
        raise ValueError(f"no phase is called {options.until!r}: there are {', '.join(found)}")
    write_problems(options)
    phases = Phases(options.folder)
    for name, command in found.items():
        with turn(None if name in _MAKING else options.turns, alone=True):
            phases.run(name, command)
        if name == options.until:
            return
    report = Report(
        benchmark="train_verifier",
        config={name: str(value) for name, value in vars(options).items() if name != "turns"}
        | {"phases": phases.seconds, **trained(options.folder)},
        seed=options.seed,
        columns=COLUMNS,
        output=options.folder / "report.json",
    )
    report.take(rows(options))
    report.print()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("dataset", help="reasoning-gym:NAME, demo, or a file of problems")
    parser.add_argument("--folder", type=Path, required=True, help="keeps everything")
    parser.add_argument("--generator", default="demo")
    parser.add_argument("--model", help="what the verifier begins as; the generator by default")
    parser.add_argument("--num-train", type=int, default=1000)
    parser.add_argument("--num-dev", type=int, default=100)
    parser.add_argument("--num-test", type=int, default=300)
    parser.add_argument("--rollouts", type=int, default=8)
    parser.add_argument("--continuations", type=int, default=8)
    parser.add_argument("--labels", choices=("soft", "hard"), default="soft")
    parser.add_argument("--label-seconds", type=float, help="longest labelling of the first set")
    parser.add_argument("-n", type=int, default=16)
    parser.add_argument("--sizes", default="4,16,64", help="numbers of samples for the curves")
    parser.add_argument("--vllm-sizes", help="those of plain vLLM; the same by default")
    parser.add_argument(
        "--variants",
        default="",
        help="further options of `fasttts eval` for further searches, with semicolons between them",
    )
    parser.add_argument("--max-tokens", type=int, default=512)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--system", default="preset:math")
    parser.add_argument("--label", default="", help="further options of `fasttts label`")
    parser.add_argument("--train", default="", help="further options of `fasttts train-verifier`")
    parser.add_argument("--eval", default="", help="further options of `fasttts eval`")
    parser.add_argument(
        "--plain", default="--in-flight 16", help="further options of `benchmarks.evaluate`"
    )
    parser.add_argument("--gpu-memory-utilization", default="0.9", help="of every phase")
    parser.add_argument("--until", help="the last phase to run: train, for instance")
    parser.add_argument("--turns", type=Path, help=f"of what follows the training: {HELP}")
    parser.add_argument("--without-plain", action="store_true", help="leave both baselines out")
    return parser


def write_problems(options: argparse.Namespace) -> None:
    """Writes the three sets, which share no text; does nothing where they are written."""
    files = [options.folder / f"{split}.jsonl" for split in SPLITS]
    if all(file.exists() for file in files):
        return
    sizes = [options.num_train, options.num_dev, options.num_test]
    problems = different_problems(options.dataset, sum(sizes), options.seed)
    start = 0
    for file, size in zip(files, sizes, strict=True):
        part = problems[start : start + size]
        lines = [json.dumps({"id": p.id, "problem": p.text, "answer": p.answer}) for p in part]
        file.write_text("\n".join(lines) + "\n", encoding="utf-8")
        start += size


def different_problems(name: str, count: int, seed: int) -> list[Problem]:
    """Draws problems until there are enough of different texts, in the order of the draw.

    Raises:
        ValueError: The set does not have that many.
    """
    size = count
    for _ in range(_MOST_DRAWS):
        drawn = load_problems(name, count=size, seed=seed).problems
        found = {problem.text: problem for problem in drawn if problem.answer is not None}
        if len(found) >= count:
            return list(found.values())[:count]
        size *= 2
    raise ValueError(f"{name} has {len(found)} problems of different texts, not {count}")


class Phases:
    """Runs commands one after the other, once each, and knows how long they took.

    Args:
        folder: Keeps the times; those of a phase that was interrupted add up.
    """

    def __init__(self, folder: Path) -> None:
        self._file = folder / "phases.json"
        self._folder = folder
        found = json.loads(self._file.read_text("utf-8")) if self._file.exists() else {}
        self._phases: dict[str, dict[str, Any]] = found

    @property
    def seconds(self) -> Mapping[str, float]:
        """Seconds of each phase, loading of models included."""
        return {name: phase["seconds"] for name, phase in self._phases.items()}

    def run(self, name: str, command: Sequence[str]) -> None:
        """Runs a command unless it is done; its output goes to `NAME.out` in the folder."""
        phase = self._phases.setdefault(name, {"seconds": 0.0, "is_done": False})
        if phase["is_done"]:
            return
        print(f"{name}: {' '.join(command[len(_COMMAND_LINE) :])}", file=sys.stderr, flush=True)
        begin_s = time.perf_counter()
        before_s = phase["seconds"]
        try:
            with (self._folder / f"{name}.out").open("w", encoding="utf-8") as out:
                subprocess.run(command, stdout=out, check=True)
            phase["is_done"] = True
        finally:
            phase["seconds"] = round(before_s + time.perf_counter() - begin_s, 3)
            self._file.write_text(json.dumps(self._phases, indent=1), encoding="utf-8")


def commands(options: argparse.Namespace) -> Iterator[tuple[str, list[str]]]:
    """Yields the phases, each with its command."""
    folder: Path = options.folder
    generator = ["--generator", options.generator]
    share = ["--gpu-memory-utilization", options.gpu_memory_utilization]
    asked = ["--system", options.system, "--seed", str(options.seed)]
    asked += ["--max-tokens", str(options.max_tokens)]
    verifier = folder / "verifier"
    for split in ("train", "dev"):
        limit = ["--max-seconds", str(options.label_seconds)] if options.label_seconds else []
        yield (
            f"label-{split}",
            [
                *(*_COMMAND_LINE, "label", str(folder / f"{split}.jsonl"), *generator, *share),
                *asked,
                *(
                    "--rollouts",
                    str(options.rollouts),
                    "--continuations",
                    str(options.continuations),
                ),
                *("--labels", options.labels, "--output", str(folder / f"{split}-labels.jsonl")),
                *(limit if split == "train" else []),
                *(*options.label.split(), "--json"),
            ],
        )
    yield (
        "train",
        [
            *(*_COMMAND_LINE, "train-verifier", str(folder / "train-labels.jsonl")),
            *("--held-out", str(folder / "dev-labels.jsonl"), "--output", str(verifier)),
            *("--model", options.model or options.generator, "--seed", str(options.seed)),
            *(*options.train.split(), "--json"),
        ],
    )
    evaluate = [*_COMMAND_LINE, "eval", str(folder / "test.jsonl"), *generator]
    evaluate += ["--verifier", str(verifier), *share, *asked, *options.eval.split()]
    variants_of_n = {
        name: ["-n", str(options.n), *more.split()] for name, more in variants(options).items()
    }
    for name, more in {**evaluations(options), **variants_of_n}.items():
        output = ["--output", str(folder / f"{name}.jsonl"), "--json"]
        yield name, [*evaluate, *more, *output]
    if options.without_plain:
        return
    yield (
        "plain-loop",
        [
            *(sys.executable, "-m", "benchmarks.evaluate", str(folder / "test.jsonl"), *generator),
            *("--verifier", str(verifier), "--system", options.system, "--methods", "beam_search"),
            *("-n", str(options.n), "--seed", str(options.seed), *options.plain.split()),
            *(
                "--option",
                f"max_tokens={options.max_tokens}",
                "--engine",
                f"gpu_memory_utilization={options.gpu_memory_utilization}",
                "--folder",
                str(folder / "plain-loop"),
            ),
        ],
    )
    yield (
        "vllm-majority",
        [
            *(
                sys.executable,
                "-m",
                "benchmarks.vllm_majority",
                str(folder / "test.jsonl"),
                *generator,
            ),
            *("--sizes", options.vllm_sizes or options.sizes, "--system", options.system),
            *("--seed", str(options.seed), "--max-tokens", str(options.max_tokens), *share),
        ],
    )


def evaluations(options: argparse.Namespace) -> dict[str, list[str]]:
    """The phases that answer the test problems, each with what it asks `fasttts eval` for."""
    found: dict[str, list[str]] = {}
    for n in sorted({options.n, *map(int, options.sizes.split(","))}):
        methods = "majority,beam_search"
        if n == options.n:
            methods = "greedy,majority,best_of_n,beam_search"
        found[f"eval-{n}"] = ["-n", str(n), "--methods", methods]
    return found


def variants(options: argparse.Namespace) -> dict[str, str]:
    """The phases of `--variants`, each with its options."""
    asked = [more.strip() for more in options.variants.split(";")]
    return {f"variant-{number}": more for number, more in enumerate(filter(None, asked))}


def trained(folder: Path) -> dict[str, Any]:
    """What the labels and the verifier are like."""
    found = {name: document_of(folder / f"label-{name}.out") for name in ("train", "dev")}
    report = document_of(folder / "train.out")
    return {"labelled": found, "verifier": report["held_out"], "curve": report["curve"]}


def rows(options: argparse.Namespace) -> list[dict[str, Any]]:
    """The rows of all arms, of other choices among their candidates, and of differences.

    Variants, whose rows have their `options`, are compared with the baselines of as many samples.
    """
    folder: Path = options.folder
    found = [row for name in evaluations(options) for row in evaluation_rows(folder, name)]
    asked = variants(options)
    baselines = records_of(folder / f"eval-{options.n}.jsonl") if asked else {}
    for name, more in asked.items():
        own = [*evaluation_rows(folder, name)]
        for method, records in records_of(folder / f"{name}.jsonl").items():
            own += against_baselines(method, records, baselines, options.n)
        found += [{**row, "arm": f"{name}: {row['arm']}", "options": more} for row in own]
    if not options.without_plain:
        for name in ("plain-loop", "vllm-majority"):
            found += document_of(folder / f"{name}.out")["rows"]
    return found


def evaluation_rows(folder: Path, name: str) -> Iterator[dict[str, Any]]:
    """Yields the rows of one evaluation.

    Args:
        folder: Has its files.
        name: Of its phase.
    """
    document, records = document_of(folder / f"{name}.out"), records_of(folder / f"{name}.jsonl")
    for row in document["rows"]:
        yield {"arm": "FastTTS", **row}
    for row in document["rows"]:
        if row["method"] not in _BASELINES:
            yield from choices(row["method"], records[row["method"]], row["n"])
    sizes = {row["method"]: row["n"] for row in document["rows"]}
    for found in document["differences"]:
        yield difference_row(found, sizes[found["first"]])


def records_of(file: Path) -> dict[str, list[Record]]:
    """The records of each method that an evaluation has on file, in the order of the problems."""
    found: dict[str, list[Record]] = defaultdict(list)
    for line in file.read_text("utf-8").splitlines()[1:]:  # the first is the header
        record = Record.from_json(line)
        found[record.method].append(record)
    return {name: sorted(records, key=lambda r: r.index) for name, records in found.items()}


def choices(method: str, records: Sequence[Record], n: int) -> Iterator[dict[str, Any]]:
    """Yields a row for each rule that may choose among the candidates of a search.

    Args:
        method: The search.
        records: Its records, one a problem.
        n: Candidates that it was asked for; a beam search may give more, which all may be chosen.
    """
    curves = []
    for record in records:
        size = max(n, len(record.candidates))
        curves.append(problem_curves(record.candidates, size, (size,), has_scores=True))
    values = [[curve[rule][0] for rule in RULES] for curve in curves]
    means, ends = np.asarray(values).mean(axis=0).tolist(), bootstrap_intervals(values)
    for name, accuracy, (low, high) in zip(RULES.values(), means, ends, strict=True):
        yield {
            "arm": f"among {method}",
            "method": name,
            "n": n,
            "num_problems": len(records),
            "accuracy": accuracy,
            "low": low,
            "high": high,
        }


def against_baselines(
    method: str, records: Sequence[Record], others: Mapping[str, Sequence[Record]], n: int
) -> Iterator[dict[str, Any]]:
    """Yields the rows of a search's differences to the baselines among other methods.

    Args:
        method: The search.
        records: Its records.
        others: Records of other methods, of the same problems.
        n: Candidates of all of them.
    """
    for other in _BASELINES:
        if other in others and method not in _BASELINES:
            pairs = [
                (first.verdict == "right", second.verdict == "right")
                for first, second in zip(records, others[other], strict=True)
            ]
            yield difference_row(asdict(paired_difference(method, other, pairs)), n)


def difference_row(difference: Mapping[str, Any], n: int) -> dict[str, Any]:
    """The row of a difference between two methods.

    Args:
        difference: An `evaluation.summary.Difference`, as JSON data.
        n: Candidates of the first.
    """
    return {
        "arm": "difference",
        "method": f"{difference['first']} - {difference['second']}",
        "n": n,
        "accuracy": difference["difference"],
        **difference,
    }


def document_of(file: Path) -> dict[str, Any]:
    """The last JSON document of an output, in which vLLM logs before and after it."""
    lines = file.read_text("utf-8").splitlines()
    document: dict[str, Any] = json.loads([line for line in lines if line.startswith("{")][-1])
    return document


if __name__ == "__main__":
    main()
