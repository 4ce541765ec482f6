"""What speculation buys: `python -m benchmarks.search --backend fake|vllm|gpu --beams 16,64`.

`fake` counts iterations and tokens on seeded step lengths; `vllm` measures seconds on the
demonstration models; `gpu` measures them on models of real sizes with dummy weights. Every arm does
the same search; `identical` says whether its tree was that of the plain loop.
"""

import argparse
import time
from collections.abc import Iterable
from pathlib import Path

from benchmarks.report import Report
from benchmarks.search_fake import Row, fake_rows
from benchmarks.turns import HELP

_ARM = {"beams": "beams", "arm": "arm"}
_TIMES = {
    "median_s": "median s",
    "range_s": "range s",
    "goodput_ratio": "against plain",
    "goodput_ratio_cache": "against cache",
    "identical": "same tree",
    "iterations_ratio": "itera- tions",
    "token_work_ratio": "token work",
}
_COLUMNS = {
    "fake": {
        **_ARM,
        "slots": "slots",
        "iterations": "itera- tions",
        "iterations_ratio": "ratio",
        "token_work_ratio": "token work",
        "identical": "same tree",
        "loop_ms": "loop ms",
    },
    "vllm": {"workload": "work", **_ARM, **_TIMES, "verifier_computed_ratio": "verifier tokens"},
    "gpu": {"models": "models", **_ARM, "goodput": "tokens a s", **_TIMES},
}
"""What the table shows, and its headings; the JSON line has everything."""


def main(argv: list[str] | None = None) -> None:
    """Reads the command line and runs the benchmark."""
    arguments = _parser().parse_args(argv)
    started = time.monotonic()
    deadline = None if arguments.time_limit is None else started + arguments.time_limit
    others = ("output", "turns")
    options = {name: value for name, value in vars(arguments).items() if name not in others}
    if arguments.backend == "gpu":
        from benchmarks.search_gpu import device_name

        options["device"] = device_name()
    report = Report(
        benchmark=f"search-{arguments.backend}",
        config=options,
        seed=arguments.seed,
        columns=_COLUMNS[arguments.backend],
        output=arguments.output,
    )
    for rows in _rows(arguments, deadline):
        report.take(rows)
    report.print()


def _rows(arguments: argparse.Namespace, deadline: float | None) -> Iterable[list[Row]]:
    if arguments.backend == "fake":
        return [[row for beams in arguments.beams for row in fake_rows(beams, arguments)]]
    if arguments.backend == "vllm":
        from benchmarks.search_vllm import vllm_rows

        return vllm_rows(arguments, deadline)
    from benchmarks.search_gpu import gpu_rows

    return gpu_rows(arguments, deadline)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--backend", choices=["fake", "vllm", "gpu"], default="fake")
    parser.add_argument("--beams", type=_numbers, default=[16, 64], help="comma-separated")
    parser.add_argument("--beam-width", type=int, default=4)
    parser.add_argument("--depth", type=int, default=10, help="steps of the seeded workload")
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--arms", type=_words, help="of vllm and gpu")
    parser.add_argument("--slots", type=int, help="of vllm and gpu; as many as beams by default")
    parser.add_argument("--workloads", type=_words, help="of vllm: demo, seeded")
    parser.add_argument("--models", type=_words, help="of gpu: 1.5B+1.5B, 1.5B+7B, 7B+1.5B")
    parser.add_argument("--memory-gib", type=float, default=24.0, help="of gpu: both models")
    parser.add_argument(
        "--runner", choices=["first", "second"], help="of gpu: vLLM's; by default what it has"
    )
    parser.add_argument("--eager", action="store_true", help="of gpu: no CUDA graphs")
    parser.add_argument(
        "--async-scheduling",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="of gpu: vLLM's own",
    )
    parser.add_argument(
        "--verifier-process",
        action=argparse.BooleanOptionalAction,
        help="whether the verifier works beside the generator; on by default for vllm, not for gpu",
    )
    parser.add_argument("--verifier-device", type=int, help="of gpu: a GPU of the verifier's own")
    parser.add_argument(
        "--streams",
        type=Path,
        help="of gpu: text of `benchmarks.drafts --record`, not seeded words",
    )
    parser.add_argument("--turns", type=Path, help=f"of gpu: {HELP}")
    parser.add_argument("--time-limit", type=float, help="seconds after which no round begins")
    parser.add_argument("--output", type=Path, help="a file that has the JSON line so far")
    parser.add_argument("--seed", type=int, default=0)
    return parser


def _words(text: str) -> list[str]:
    return text.split(",")


def _numbers(text: str) -> list[int]:
    return [int(part) for part in text.split(",")]


if __name__ == "__main__":
    main()
