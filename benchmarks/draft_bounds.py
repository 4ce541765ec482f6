"""What drafting tokens can gain: `python -m benchmarks.draft_bounds --shapes 7B --output 7b.json`.

Milliseconds of an iteration and of a kept token on models of real sizes with dummy weights, without
drafts and with drafts that are always right or always wrong. Right ones bound the gain, wrong ones
the loss. Arms:

* async: vLLM's first model runner, asynchronous scheduling, no drafts;
* sync: the same, synchronous: what drafts cost before the first of them is computed;
* second: the second runner, asynchronous, no drafts: what a generator gets by itself on a GPU;
* drafts: `right` and `wrong` ones of each K, in the first runner. vLLM schedules synchronously
  where a drafter is not one of its own. Each K has an engine of its own: vLLM's whole CUDA graphs
  of decoding serve batches in which each sequence has 1 + `num_speculative_tokens` tokens.

Every arm is FastTTS's generator with its sampling rule, measured where all sequences decode, with
about 350 tokens each. A run may be divided by `--shapes`, `--arms` and `--ks` among processes that
share a GPU: with `--turns FILE` each measures while no other one opens an engine or measures.
`python -m benchmarks.draft_bounds 7b.json second.json` joins files of `--output` in one table.

Graphs are shares of the iterations; `host ms` is what drafts and the rule's rows cost on the host,
a part of the iteration.
"""

import argparse
import json
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.draft_engines import Engine, free, open_arm
from benchmarks.dummy_models import SHAPES, write_generator
from benchmarks.report import Report
from benchmarks.turns import HELP, turn
from fasttts.decoding.sampling import Sampling
from fasttts.interfaces import GenerationRequest

Row = dict[str, Any]
ARMS = ("async", "sync", "second", "drafts")
COMPARISONS = ("ours", "vllm")
_CONTEXT, _SHORTEST_PROMPT = 350, 40
_NUM_SKIPPED, _NUM_LAST, _NUM_STARTING = 6, 2, 6
_NUM_WARM_UP, _NUM_ATTEMPTS = 6, 3
_TEMPERATURE = 0.8
_COLUMNS = {
    "models": "model",
    "arm": "arm",
    "k": "K",
    "batch": "seqs",
    "ms": "ms an iteration",
    "kept": "tokens kept",
    "token_ms": "ms a token",
    "gain": "against async",
    "gain_second": "against second",
    "full": "whole graphs",
    "piecewise": "piecewise graphs",
    "host_ms": "host ms",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One iteration.

    Attributes:
        seconds: What it took.
        lengths: New tokens of each sequence that got some.
        modes: Iterations of the engine so far, by mode of CUDA graphs.
        host_s: `Engine.host_s` behind it.
    """

    seconds: float
    lengths: list[int]
    modes: Counter[str]
    host_s: tuple[float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """The iterations of one round that count.

    Attributes:
        seconds: Of each iteration.
        kept: Tokens of each sequence in each iteration.
        modes: Iterations by mode of CUDA graphs.
        draft_s: Seconds of the host for the drafts.
        rule_s: Seconds of the host for rows, seeds and keys.
    """

    seconds: list[float]
    kept: set[int]
    modes: Counter[str]
    draft_s: float
    rule_s: float


def rows(arguments: argparse.Namespace) -> Iterator[list[Row]]:
    """All rows so far."""
    done: list[Row] = []
    for shape in arguments.shapes:
        for arm, k in _engines(arguments):
            for found in _engine_rows(shape, arm, k, arguments):
                done.append(found)
                yield done
            free()


def _engine_rows(shape: str, arm: str, k: int, arguments: argparse.Namespace) -> Iterator[Row]:
    with tempfile.TemporaryDirectory() as folder, ExitStack() as opened:
        with turn(arguments.turns, alone=False):
            engine = open_arm(
                write_generator(Path(folder), shape),
                arm,
                k,
                batches=arguments.batches,
                kv_bytes=int(arguments.kv_gib * (1 << 30)),
                is_eager=arguments.eager,
            )
            opened.callback(engine.generator.close)
            _warm_up(engine, arguments.batches)
        with turn(arguments.turns, alone=True):
            for found in _measured(engine, arguments):
                yield {"models": shape, **found}


def _warm_up(engine: Engine, batches: Sequence[int]) -> None:
    """Compiles what is compiled in the first iterations, and fills the prefix cache."""
    engine.choose("wrong", "ours")
    for batch in (max(batches), min(batches)):
        _round(engine, 1, batch, _NUM_WARM_UP, 0)


def with_gains(found: Sequence[Row]) -> list[Row]:
    """The rows with their gains against arms without drafts, where those are there.

    Args:
        found: Rows of any shapes and arms.
    """
    token_ms = {(row["models"], row["batch"], row["arm"]): row["token_ms"] for row in found}

    def gain(row: Row, arm: str) -> float | None:
        base: float | None = token_ms.get((row["models"], row["batch"], arm))
        return None if base is None else base / row["token_ms"]

    return [
        {**row, "gain": gain(row, "async"), "gain_second": gain(row, "second")} for row in found
    ]


def _engines(arguments: argparse.Namespace) -> list[tuple[str, int]]:
    """The arm and K of each engine."""
    return [(arm, k) for arm in arguments.arms for k in (arguments.ks if arm == "drafts" else [0])]


def _measured(engine: Engine, arguments: argparse.Namespace) -> Iterator[Row]:
    for batch in arguments.batches:
        if engine.drafter is None:
            yield _row(engine, engine.arm, 1, batch, arguments)
            continue
        for comparison in arguments.comparisons:
            name = ", vLLM's" if comparison == "vllm" else ""
            engine.choose("right", comparison)
            yield _row(engine, f"right{name}", 1 + engine.k, batch, arguments)
            engine.choose("wrong", comparison)
            yield _row(engine, f"wrong{name}", 1, batch, arguments)


def _row(engine: Engine, arm: str, expected: int, batch: int, arguments: argparse.Namespace) -> Row:
    """What an arm does with a batch, if sequences keep the expected tokens in each iteration."""
    _round(engine, expected, batch, _NUM_WARM_UP, 0)
    numbers = range(1, arguments.repetitions + 1)
    rounds = [_round(engine, expected, batch, arguments.passes, each) for each in numbers]
    kept = set().union(*(each.kept for each in rounds))
    if kept != {expected}:
        raise RuntimeError(
            f"{arm}, {engine.k} drafts: sequences kept {sorted(kept)} tokens an iteration, "
            f"not {expected}"
        )
    times = [1000 * statistics.fmean(each.seconds) for each in rounds]
    num = sum(len(each.seconds) for each in rounds)
    modes = sum((each.modes for each in rounds), Counter[str]())
    num_modes = max(modes.total(), 1)
    draft_ms = 1000 * sum(each.draft_s for each in rounds) / num
    rule_ms = 1000 * sum(each.rule_s for each in rounds) / num
    ms = statistics.median(times)
    return {
        "arm": arm,
        "k": engine.k,
        "batch": batch,
        "ms": ms,
        "low_ms": min(times),
        "high_ms": max(times),
        "num_iterations": num,
        "kept": expected,
        "token_ms": ms / expected,
        "full": modes["FULL"] / num_modes,
        "piecewise": modes["PIECEWISE"] / num_modes,
        "no_graph": modes["NONE"] / num_modes,
        "host_ms": draft_ms + rule_ms,
        "draft_ms": draft_ms,
        "rule_ms": rule_ms,
        "is_async": engine.is_async,
        "open_s": engine.open_s,
    }


def _round(engine: Engine, expected: int, batch: int, passes: int, number: int) -> Round:
    """Decodes a batch to its end, again with other seeds where a sequence ended by itself.

    Early sequences run ahead while late ones compute their prompts, so some iterations more than
    `passes` are run; those in which all sequences get tokens count, without the first and last.
    """
    num_tokens = expected * (passes + _NUM_SKIPPED + _NUM_LAST + _NUM_STARTING)
    for attempt in range(_NUM_ATTEMPTS):
        _add(engine, batch, num_tokens, f"{number}-{attempt}", 1000 * (number + 100 * attempt))
        steps = _decoded(engine)
        whole = [index for index, step in enumerate(steps) if len(step.lengths) == batch]
        counted = whole[_NUM_SKIPPED:-_NUM_LAST]
        if len(counted) >= passes // 2:
            break
    else:
        raise RuntimeError(
            f"{engine.arm}: {batch} sequences decoded together in {len(whole)} iterations only: "
            "raise --kv-gib"
        )
    first, last = steps[counted[0] - 1], steps[counted[-1]]
    return Round(
        seconds=[steps[index].seconds for index in counted],
        kept={length for index in counted for length in steps[index].lengths},
        modes=last.modes - first.modes,
        draft_s=last.host_s[0] - first.host_s[0],
        rule_s=last.host_s[1] - first.host_s[1],
    )


def _add(engine: Engine, batch: int, num_tokens: int, name: str, seed: int) -> None:
    for number in range(batch):
        request = GenerationRequest(
            request_id=f"{name}-{number}",
            prompt_token_ids=_prompt(number, _CONTEXT - num_tokens // 2),
            seed=seed + number,
            sampling=Sampling(temperature=_TEMPERATURE),
            max_tokens=num_tokens,
        )
        engine.generator.add(request)


def _decoded(engine: Engine) -> list[Step]:
    generator, steps = engine.generator, []
    while generator.num_unfinished():
        started = time.perf_counter()
        outputs = generator.step()
        generator.pressure()
        step = Step(
            seconds=time.perf_counter() - started,
            lengths=[len(output.token_ids) for output in outputs if output.token_ids],
            modes=engine.modes.counts.copy(),
            host_s=engine.host_s,
        )
        steps.append(step)
    return steps


def _prompt(number: int, num_tokens: int) -> list[int]:
    """A prompt of its own for each sequence; longer ones continue shorter ones."""
    return [(7 * number + token * (number + 1)) % 1000 + 100 for token in range(num_tokens)]


def main(argv: Sequence[str] | None = None) -> None:
    """Prints the bounds.

    Args:
        argv: The command line's arguments; those of the process by default.
    """
    arguments = _parsed(argv)
    config = {name: value for name, value in vars(arguments).items() if name != "output"}
    report = Report(
        benchmark="draft_bounds",
        config={**config, "turns": None, "files": list(map(str, arguments.files))},
        seed=0,
        columns=_COLUMNS,
        output=arguments.output,
    )
    if arguments.files:
        documents = [json.loads(file.read_text(encoding="utf-8")) for file in arguments.files]
        report.take(with_gains([row for document in documents for row in document["rows"]]))
    else:
        for found in rows(arguments):
            report.take(with_gains(found))
    report.print()


def _parsed(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("files", nargs="*", type=Path, help="outputs to join; nothing is measured")
    parser.add_argument("--shapes", type=_names, default=["1.5B", "7B", "14B"])
    parser.add_argument("--arms", type=_names, default=list(ARMS))
    parser.add_argument("--ks", type=_numbers, default=[2, 4, 8], help="drafts of a sequence")
    parser.add_argument("--batches", type=_numbers, default=[1, 4, 16, 64, 128])
    parser.add_argument("--comparisons", type=_names, default=["ours"], help="what keeps drafts")
    parser.add_argument("--passes", type=int, default=30, help="iterations of a round that count")
    parser.add_argument("--repetitions", type=int, default=2, help="rounds")
    parser.add_argument("--kv-gib", type=float, default=16.0, help="KV cache of an engine")
    parser.add_argument("--eager", action="store_true", help="no CUDA graphs")
    parser.add_argument("--turns", type=Path, help=HELP)
    parser.add_argument("--output", type=Path, help="a file that has the JSON line so far")
    arguments = parser.parse_args(argv)
    for option, known in (("shapes", SHAPES), ("arms", ARMS), ("comparisons", COMPARISONS)):
        for name in getattr(arguments, option):
            if name not in known:
                parser.error(f"--{option}: {name!r} is none of {', '.join(known)}")
    numbers = [*arguments.ks, *arguments.batches, arguments.passes, arguments.repetitions]
    if min(numbers) < 1:
        parser.error("--ks, --batches, --passes and --repetitions take numbers from 1")
    passes = max(arguments.passes, _NUM_WARM_UP) + _NUM_SKIPPED + _NUM_LAST + _NUM_STARTING
    if (1 + max(arguments.ks)) * passes // 2 > _CONTEXT - _SHORTEST_PROMPT:
        parser.error(f"--passes {arguments.passes} with K of {max(arguments.ks)}: lower one")
    return arguments


def _names(text: str) -> list[str]:
    return text.split(",")


def _numbers(text: str) -> list[int]:
    return [int(number) for number in text.split(",")]


if __name__ == "__main__":
    main()
