"""Which sets of reasoning-gym a model is neither too good nor too bad at.

    python -m benchmarks.gym_families --generator DIR --system preset:math

One engine answers some problems of each set greedily and by `-n` samples. A set suits an experiment
with a verifier where greedy decoding solves 20 to 60 %, where more problems have a right sample,
and where there are enough different problems. Ends in a table, sorted, and one JSON line.
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing
from typing import Any

from benchmarks.report import Report
from fasttts import FastTTS
from fasttts.cli.session import system_message, without_warnings
from fasttts.config import EngineConfig, engine_config
from fasttts.evaluation import Comparison, Tally, load_problems, method_config
from fasttts.evaluation.datasets import GYM_PREFIX

FAMILIES = (
    "basic_arithmetic,bitwise_arithmetic,calendar_arithmetic,chain_sum,complex_arithmetic,"
    "count_primes,decimal_chain_sum,dice,fraction_simplification,gcd,gsm_symbolic,leg_counting,"
    "lcm,letter_counting,number_filtering,number_sequence,number_sorting,polynomial_multiplication,"
    "power_function,prime_factorization,products,propositional_logic,simple_equations,"
    "simple_geometry,simple_integration,spell_backward,syllogism,time_intervals,word_sorting"
)
COLUMNS = {
    "arm": "set",
    "num_different": "different texts",
    "num_problems": "problems",
    "accuracy": "greedy",
    "mean": "a sample",
    "any": "any of n",
    "tokens": "tokens",
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the benchmark."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--generator", default="demo")
    parser.add_argument("--families", default=FAMILIES, help="sets of reasoning-gym, with commas")
    parser.add_argument("--num-problems", type=int, default=50)
    parser.add_argument("--num-drawn", type=int, default=1500, help="to count different texts in")
    parser.add_argument("-n", type=int, default=8)
    parser.add_argument("--max-tokens", type=int, default=512)
    parser.add_argument("--system", default="preset:math")
    parser.add_argument("--gpu-memory-utilization", type=float, help="of a device's")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    report = Report(
        benchmark="gym_families", config=vars(options), seed=options.seed, columns=COLUMNS
    )
    engine = FastTTS.from_config(_config(options))
    with engine, without_warnings():
        rows: list[dict[str, Any]] = []
        for row in measured(engine, options):
            rows = sorted([*rows, row], key=lambda found: -found["accuracy"])
            solved = f"greedy {row['accuracy']:.2f}, any of {options.n} {row['any']:.2f}"
            print(f"{row['arm']}: {solved}", file=sys.stderr, flush=True)
            report.take(rows)
    report.print()


def _config(options: argparse.Namespace) -> EngineConfig:
    share = options.gpu_memory_utilization
    given = {} if share is None else {"gpu_memory_utilization": share}
    return engine_config(generator=options.generator, verifier=None, **given)


def measured(engine: FastTTS, options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Yields a row for each set."""
    shared = {"max_tokens": options.max_tokens, "seed": options.seed, "n": options.n}
    shared |= {"beam_width": 1}
    configs = {method: method_config(method, **shared) for method in ("greedy", "majority")}
    for family in options.families.split(","):
        drawn = load_problems(
            f"{GYM_PREFIX}{family}", count=options.num_drawn, seed=options.seed
        ).problems
        different = list({problem.text: problem for problem in drawn if problem.answer}.values())
        problems = different[: options.num_problems]
        comparison = Comparison(
            engine=engine,
            problems=problems,
            configs=configs,
            system=system_message(options.system),
        )
        tally = Tally(configs, len(problems))
        with closing(comparison.run()) as found:
            for evaluated in found:
                tally.add(evaluated.record)
        evaluation = tally.evaluation(family, options.seed)
        greedy, majority = evaluation.rows
        ends = {
            point.k: point.accuracy
            for curve in evaluation.curves
            if curve.rule == "pass"
            for point in curve.points
        }
        yield {
            "arm": family,
            "num_different": len(different),
            "num_problems": len(problems),
            "accuracy": greedy.accuracy,
            "majority": majority.accuracy,
            "mean": ends.get(1, 0.0),
            "any": ends.get(options.n, 0.0),
            "tokens": majority.tokens / len(problems) / options.n,
        }


if __name__ == "__main__":
    main()
