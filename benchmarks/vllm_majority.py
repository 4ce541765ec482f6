"""Majority voting in plain vLLM: `LLM.chat` with `n` samples, and a vote among their answers.

    python -m benchmarks.vllm_majority problems.jsonl --generator DIR --sizes 4,16,64

One engine, one call for all problems at each size, after a warm-up; seconds are those of the call
and of the vote. Ends in one JSON line.
"""

import argparse
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.report import Report, Row
from fasttts.answers.extraction import as_reader, make_extractor
from fasttts.cli.session import system_message
from fasttts.config import DEMO
from fasttts.demo import generator_path
from fasttts.evaluation import AnswerJudge, Problem, load_problems, wilson_interval
from fasttts.evaluation.grading import right_candidates
from fasttts.search.aggregation import rank
from fasttts.types import Candidate

COLUMNS = {
    "arm": "arm",
    "n": "n",
    "num_problems": "problems",
    "accuracy": "accuracy",
    "low": "low 95 %",
    "high": "high 95 %",
    "seconds": "seconds",
    "tokens": "tokens",
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dataset")
    parser.add_argument("--generator", required=True)
    parser.add_argument("--sizes", default="4,16,64")
    parser.add_argument("--temperature", type=float, default=0.8)
    parser.add_argument("--max-tokens", type=int, default=1024)
    parser.add_argument("--max-model-len", type=int, default=None)
    parser.add_argument("--gpu-memory-utilization", type=float, default=0.9)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--system")
    parser.add_argument("--output", type=Path, help="a file that has the JSON line so far")
    options = parser.parse_args(arguments)
    report = Report(
        benchmark="vllm_majority",
        config=vars(options),
        seed=options.seed,
        columns=COLUMNS,
        output=options.output,
    )
    problems = load_problems(options.dataset).problems
    sizes = [int(size) for size in options.sizes.split(",")]
    rows: list[Row] = []
    for row in measured(problems, sizes, options):
        rows.append(row)
        report.take(rows)
    report.print()


def measured(
    problems: Sequence[Problem], sizes: Sequence[int], options: argparse.Namespace
) -> Iterator[Row]:
    """Yields a row for each number of samples."""
    from vllm import LLM, SamplingParams

    llm = LLM(
        str(generator_path()) if options.generator == DEMO else options.generator,
        max_model_len=options.max_model_len,
        gpu_memory_utilization=options.gpu_memory_utilization,
        seed=options.seed,
        generation_config="vllm",  # none of the model's own sampling, as FastTTS' searches
    )
    system = system_message(options.system)
    before = [] if system is None else [{"role": "system", "content": system}]
    asked: Any = [[*before, {"role": "user", "content": problem.text}] for problem in problems]

    def sampled(num: int, n: int) -> list[Any]:
        params = SamplingParams(
            n=n,
            temperature=options.temperature,
            max_tokens=options.max_tokens,  # no seed: with one for each request vLLM is slower
        )
        return llm.chat(asked[:num], params, use_tqdm=False)

    sampled(min(8, len(asked)), 2)
    for n in sizes:
        yield _row(problems, n, sampled)


def _row(problems: Sequence[Problem], n: int, sampled: Any) -> Row:
    begin_s = time.perf_counter()
    outputs = sampled(len(problems), n)
    found = [_candidates(output) for output in outputs]
    chosen = [rank(candidates, "majority")[0] for candidates in found]
    seconds = time.perf_counter() - begin_s
    judge = AnswerJudge()
    is_right = [
        right_candidates(problem, [candidate], judge)[0]
        for problem, candidate in zip(problems, chosen, strict=True)
    ]
    num_right = sum(is_right)
    low, high = wilson_interval(num_right, len(problems))
    return {
        "arm": "vLLM, majority",
        "n": n,
        "num_problems": len(problems),
        "accuracy": num_right / len(problems),
        "low": low,
        "high": high,
        "seconds": seconds,
        "tokens": sum(c.num_tokens for candidates in found for c in candidates),
        "is_right": is_right,
    }


def _candidates(output: Any) -> list[Candidate]:
    """The samples of one problem as candidates, which votes are counted among."""
    reader = as_reader(make_extractor("auto"))
    candidates = []
    for number, one in enumerate(output.outputs):
        answer = reader.read(one.text)
        candidates.append(
            Candidate(
                path=(number,),
                text=one.text,
                steps=(),
                score=None,
                answer=answer.text if answer else None,
                finish_reason="stop" if one.finish_reason == "stop" else "length",
                num_tokens=len(one.token_ids),
                is_announced=answer.is_announced if answer else True,
            )
        )
    return candidates


if __name__ == "__main__":
    main()
