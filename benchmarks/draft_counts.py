"""What drafts of the tokens that follow would save: `python -m benchmarks.draft_counts SAMPLES`.

The file is a JSON list of problems, each {"prompt": [token ids], "outputs": [[token ids], ...]}.
The recorded outputs of a problem are decoded once more side by side, as beams of one search are:
in every iteration the drafter looks up each sequence, and the drafts are kept while they are what
the record has, with one token more. Counted are

* iterations: of all problems, relative to one for each token of the longest output;
* computed: tokens computed for each kept one, the rejected drafts among them;
* per pass: tokens kept of a sequence in an iteration.

No model runs, so the counts are the same everywhere; only seconds would need a device.
"""

import argparse
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.report import Report
from fasttts.decoding.drafts import Drafts

SEQUENCES = (1, 4, 16)
LIMITS = (1, 2, 4, 8)
_COLUMNS = {
    "sequences": "sequences",
    "most": "drafts at most",
    "iterations": "iterations",
    "computed": "computed",
    "per_pass": "per pass",
    "us_a_token": "us a token",
}

Problem = Mapping[str, Any]


@dataclass(slots=True)
class Counts:
    """What a replay took.

    Attributes:
        num_plain: Iterations without drafts.
        num_iterations: Iterations with them.
        num_passes: Passes of sequences.
        num_computed: Tokens computed.
        num_kept: Tokens kept.
    """

    num_plain: int = 0
    num_iterations: int = 0
    num_passes: int = 0
    num_computed: int = 0
    num_kept: int = 0


def replay(problem: Problem, num_sequences: int, most: int, counts: Counts) -> None:
    """Decodes the first outputs of a problem once more, and adds up what it took.

    Args:
        problem: The prompt and the recorded outputs.
        num_sequences: How many of them.
        most: Most drafted tokens of a sequence in an iteration.
        counts: Gets the counts.
    """
    outputs: Sequence[list[int]] = problem["outputs"][:num_sequences]
    drafts = Drafts()
    for number in range(len(outputs)):
        drafts.begin(str(number), problem["prompt"])
    done = [0] * len(outputs)
    counts.num_plain += max(map(len, outputs), default=0)
    while running := [number for number, out in enumerate(outputs) if done[number] < len(out)]:
        counts.num_iterations += 1
        drafted = [drafts.draft(str(number), most) for number in running]
        for number, draft in zip(running, drafted, strict=True):
            kept = _kept(draft, outputs[number], done[number])
            done[number] += len(kept)
            drafts.append(str(number), kept)
            counts.num_passes += 1
            counts.num_computed += len(draft) + 1
            counts.num_kept += len(kept)


def _kept(draft: Sequence[int], output: Sequence[int], begin: int) -> Sequence[int]:
    """The tokens of an output that a pass with these drafts gives, from `begin` on."""
    right = 0
    for drafted, drawn in zip(draft, output[begin:], strict=False):
        if drafted != drawn:
            break
        right += 1
    return output[begin : begin + right + 1]


def rows(
    problems: Sequence[Problem], sequences: Sequence[int], limits: Sequence[int]
) -> Iterator[dict[str, Any]]:
    """A row for each number of sequences and each limit of the drafts."""
    for num_sequences in sequences:
        for most in limits:
            counts, started = Counts(), time.perf_counter()
            for problem in problems:
                replay(problem, num_sequences, most, counts)
            seconds = time.perf_counter() - started
            yield {
                "sequences": num_sequences,
                "most": most,
                "iterations": counts.num_iterations / counts.num_plain,
                "computed": counts.num_computed / counts.num_kept,
                "per_pass": counts.num_kept / counts.num_passes,
                "us_a_token": 1e6 * seconds / counts.num_kept,
            }


def main() -> None:
    """Prints the counts."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("samples", type=Path)
    parser.add_argument("--sequences", type=int, nargs="+", default=list(SEQUENCES))
    parser.add_argument("--limits", type=int, nargs="+", default=list(LIMITS))
    arguments = parser.parse_args()
    problems = json.loads(arguments.samples.read_text(encoding="utf-8"))
    config = {**vars(arguments), "samples": arguments.samples.name, "problems": len(problems)}
    report = Report(benchmark="draft-counts", config=config, seed=0, columns=_COLUMNS)
    report.take(list(rows(problems, arguments.sequences, arguments.limits)))
    report.print()


if __name__ == "__main__":
    main()
