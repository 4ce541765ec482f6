"""What each signal, the judge and a checker of sums are worth, against greedy decoding and a vote.

    python -m benchmarks.signals DATASET --generator DIR --system preset:math --folder DIR

One generator answers every problem greedily and by `-n` samples. The same samples are scored by
every verifier: which one each of them chooses, and what it makes of a vote, comes out of one run.
Then follows a beam search by each verifier. Every verifier rates the text so far as one
(`aggregation="model"`).

What is done is kept in the folder, so the same command continues; it also holds `signals.json`, the
last line of the output, with the differences to greedy decoding too. Seconds of a choice are those
of the samples and of its verifier.
"""

import argparse
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.report import Report, versions
from benchmarks.scorers import Shared, SharedGenerator, empty_caches
from benchmarks.signal_rows import SAMPLES, Books, Scores, rows
from examples.check_arithmetic import sums_are_right
from fasttts import FastTTS
from fasttts.cli.option_values import parse_options
from fasttts.cli.session import system_message
from fasttts.config import JUDGE, SIGNALS, EngineConfig, SearchConfig, engine_config
from fasttts.evaluation import (
    Comparison,
    Journal,
    Limits,
    ProblemSet,
    Record,
    digest,
    load_problems,
    method_config,
)
from fasttts.interfaces import MAX_LOGPROBS, Verification, VerificationRequest, Verifier
from fasttts.memory import planned_scheduling
from fasttts.verifiers import FunctionVerifier
from fasttts.verifiers.resolve import as_verifier

SUMS = "sums"
VERIFIERS = (SUMS, JUDGE, *SIGNALS)
_QUESTIONS = 128
"""Questions that the judge is asked together, at least."""

COLUMNS = {
    "arm": "arm",
    "right": "right (95 %)",
    "to_majority": "against majority",
    "auc": "auc",
    "tokens": "tokens",
    "seconds": "seconds",
}


class Everyone:
    """Scores nothing itself: remembers what the verifiers without a model make of each text."""

    name = SAMPLES
    num_logprobs = MAX_LOGPROBS
    reads_distributions = True

    def __init__(self, verifiers: Sequence[str]) -> None:
        self.names = [name for name in verifiers if name != JUDGE]
        self._parts = {name: made(name) for name in self.names}
        self._found: dict[tuple[str, str, str], tuple[float, float]] = {}

    def score(self, requests: Sequence[VerificationRequest]) -> list[Verification]:
        """The same score for all."""
        for request in requests:
            for name, part in self._parts.items():
                started = time.perf_counter()
                (found,) = part.score([request])
                key = (name, request.problem, request.steps[-1])
                self._found[key] = (found.scores[-1], time.perf_counter() - started)
        return [Verification(scores=(0.5,) * len(one.steps[one.num_scored :])) for one in requests]

    def close(self) -> None:
        """Closes the verifiers."""
        for part in self._parts.values():
            part.close()

    def scores(self, record: Record) -> Iterator[Scores]:
        """What each verifier makes of the samples of a problem."""
        for name in self.names:
            keys = [(name, record.text, each.text.strip()) for each in record.candidates]
            pairs = [self._found.get(key, (0.0, 0.0)) for key in keys]
            yield Scores(
                index=record.index,
                verifier=name,
                scores=tuple(score for score, _ in pairs),
                seconds=sum(seconds for _, seconds in pairs),
            )


def made(name: str) -> Verifier:
    """A verifier that needs no model."""
    return FunctionVerifier(sums_are_right) if name == SUMS else as_verifier(name)


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the benchmark."""
    options = _parser().parse_args(arguments)
    options.folder.mkdir(parents=True, exist_ok=True)
    verifiers = [name for name in VERIFIERS if name in options.verifiers.split(",")]
    problems = load_problems(options.dataset, count=options.problems, seed=options.seed)
    config = engine_config(
        generator=options.generator,
        verifier=JUDGE if JUDGE in verifiers else None,
        **parse_options(options.engine or ()),
    )
    configs = _configs(verifiers, options)
    settings = {
        "problems": problems.name,
        "digest": digest(problems.problems),
        "engine": config.model_dump(mode="json", exclude={"scheduling"}),
        "system": system_message(options.system),
        "methods": {name: each.model_dump(mode="json") for name, each in configs.items()},
    }
    report = Report(
        benchmark="signals",
        config=settings,
        seed=options.seed,
        columns=COLUMNS,
        output=options.folder / "signals.json",
    )
    books = Books()
    with ExitStack() as stack:
        kept: dict[type, Journal[Any]] = {}
        for entry, name in ((Record, "searches"), (Scores, "scores")):
            journal = Journal(
                options.folder / f"{name}.jsonl", {**settings, "versions": versions()}, entry
            )
            kept[entry] = stack.enter_context(journal)
            for found in kept[entry].records():
                books.add(found)

        def keep(entry: Record | Scores) -> None:
            kept[type(entry)].append(entry)
            books.add(entry)

        run = Run(
            problems=problems,
            system=settings["system"],
            config=config,
            configs=configs,
            books=books,
            keep=keep,
        )
        for stage in run.stages(verifiers, options.in_flight):
            print(f"{stage}: done", flush=True)
            report.take(rows(books, configs, verifiers, problems, options.seed))
    report.print()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("dataset", help="a file, or reasoning-gym:NAME")
    parser.add_argument("--folder", type=Path, required=True, help="keeps what is done")
    parser.add_argument("--generator", default="demo")
    parser.add_argument("--verifiers", default=",".join(VERIFIERS), help="with commas")
    parser.add_argument("--problems", type=int, default=200)
    parser.add_argument("-n", type=int, default=16)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--system", help="a system message, or preset:math")
    parser.add_argument("--in-flight", type=int, default=64, help="problems at a time")
    parser.add_argument("--option", action="append", help="NAME=VALUE of the searches")
    parser.add_argument("--engine", action="append", help="NAME=VALUE of the engine")
    return parser


def _configs(verifiers: Sequence[str], options: argparse.Namespace) -> dict[str, SearchConfig]:
    """The search of each arm; those that choose among the samples have theirs."""
    given = {"n": options.n, "seed": options.seed, "aggregation": "model"}
    given |= parse_options(options.option or ())
    samples = method_config("best_of_n", **given)
    beams = method_config("beam_search", **given)
    return {
        "greedy": method_config("greedy", **given),
        "majority": samples,
        **{f"{rule}, {name}": samples for name in verifiers for rule in ("best", "weighted")},
        **{f"beams, {name}": beams for name in verifiers},
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """The work that is left.

    Attributes:
        problems: The problems.
        system: A system message; None for none.
        config: The models.
        configs: The searches.
        books: What is done.
        keep: Writes what is done.
    """

    problems: ProblemSet
    system: str | None
    config: EngineConfig
    configs: Mapping[str, SearchConfig]
    books: Books
    keep: Callable[[Record | Scores], None]

    def stages(self, verifiers: Sequence[str], in_flight: int) -> Iterator[str]:
        """Does what is left, and names each part that has ended."""
        beams = [f"beams, {name}" for name in verifiers]
        left = [arm for arm in ("greedy", SAMPLES, *beams) if self._missing(arm)]
        if not left and not self._unjudged(verifiers):
            yield "everything"
            return
        limits = Limits(max_in_flight=in_flight)
        with FastTTS.from_config(self.config.model_copy(update={"cache_dir": None})) as models:
            judge: Any = models.verifier
            for arm in ("greedy", SAMPLES):
                if arm in left:
                    self._search(arm, models, Everyone(verifiers), limits)
                    yield arm
            if self._unjudged(verifiers):
                self._judge(judge)
                yield "judged samples"
            for name, arm in zip(verifiers, beams, strict=True):
                if arm in left:
                    verifier = Shared(judge) if name == JUDGE else made(name)
                    self._search(arm, models, verifier, limits)
                    yield arm

    def _missing(self, arm: str) -> list[int]:
        total = len(self.problems.problems)
        return [index for index in range(total) if (arm, index) not in self.books.searches]

    def _unjudged(self, verifiers: Sequence[str]) -> list[Record]:
        if JUDGE not in verifiers:
            return []
        samples = self.books.samples()
        return [one for one in samples if (JUDGE, one.index) not in self.books.scores]

    def _search(self, arm: str, models: FastTTS, verifier: Any, limits: Limits) -> None:
        """Has an arm answer the problems that it has not; `models` do not run meanwhile."""
        empty_caches(models.generator, models.verifier)
        everyone = verifier if isinstance(verifier, Everyone) else None
        config = self.configs["majority" if arm == SAMPLES else arm]
        with FastTTS(
            SharedGenerator(models.generator),  # type: ignore[arg-type]  # a generator by delegation
            verifier,
            scheduling=planned_scheduling(self.config.scheduling, models.plan),
            plan=models.plan,
        ) as engine:
            comparison = Comparison(
                engine=engine,
                problems=self.problems.problems,
                configs={arm: config},
                system=self.system,
                judge=self.problems.judge,
                limits=limits,
            )
            done = {key for key in self.books.searches if key[0] == arm}
            with closing(comparison.run(done)) as found:
                for evaluated in found:
                    if everyone is not None and arm == SAMPLES:
                        for scores in everyone.scores(evaluated.record):
                            self.keep(scores)
                    self.keep(evaluated.record)

    def _judge(self, judge: Verifier) -> None:
        """Asks the judge about samples, several problems' together."""
        waiting: list[Record] = []
        unjudged = self._unjudged([JUDGE])
        for place, record in enumerate(unjudged, 1):
            waiting.append(record)
            num_questions = sum(len(one.candidates) for one in waiting)
            if num_questions < _QUESTIONS and place < len(unjudged):
                continue
            started = time.perf_counter()
            found = judge.score(
                [
                    VerificationRequest(problem=one.text, steps=(each.text.strip(),))
                    for one in waiting
                    for each in one.candidates
                ]
            )
            seconds = (time.perf_counter() - started) / len(waiting)
            answers = iter(found)
            for one in waiting:
                own = [next(answers) for _ in one.candidates]
                self.keep(
                    Scores(
                        index=one.index,
                        verifier=JUDGE,
                        scores=tuple(each.scores[0] for each in own),
                        seconds=seconds,
                        num_tokens=sum(each.num_computed_tokens for each in own),
                    )
                )
            waiting.clear()


if __name__ == "__main__":
    main()
