"""Numbers from records: accuracies, counts, curves and paired differences, with intervals."""

import itertools
import json
import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from fasttts.config import SearchConfig
from fasttts.errors import ConfigurationError
from fasttts.evaluation.curves import CurveRule, problem_curves
from fasttts.evaluation.grading import Verdict
from fasttts.evaluation.intervals import (
    bootstrap_intervals,
    mcnemar_p,
    paired_interval,
    wilson_interval,
)
from fasttts.evaluation.methods import curve_sizes
from fasttts.evaluation.records import Record

_SCORED: tuple[CurveRule, ...] = ("best", "weighted")
"""The rules that need scores."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """Results of one method on the problems that it has finished.

    Attributes:
        method: The method.
        n: Candidates or beams for each problem.
        num_problems: Problems that have ended.
        accuracy: Share of them solved, in [0, 1].
        low: Lower end of the 95 % Wilson interval of `accuracy`.
        high: Its upper end.
        num_right: Right answers.
        num_wrong: Wrong answers.
        num_no_answer: Complete texts without an answer.
        num_cut: Texts that hit a cap before they announced a right answer.
        num_errors: Searches without a result.
        tokens: Tokens the generator sampled over all problems, on every beam, speculation included.
        verifier_tokens: Tokens the verifier ran through its model.
        seconds: Wall-clock time of all problems, models already loaded.
        goodput: Tokens of all candidates for each second.
    """

    method: str
    n: int
    num_problems: int
    accuracy: float
    low: float
    high: float
    num_right: int
    num_wrong: int
    num_no_answer: int
    num_cut: int
    num_errors: int
    tokens: int
    verifier_tokens: int
    seconds: float
    goodput: float


@dataclass(frozen=True, slots=True, kw_only=True)
class CurvePoint:
    """A point of a curve.

    Attributes:
        k: Samples.
        accuracy: Expected share of problems solved with them.
        low: Lower end of its 95 % interval, from resampled problems.
        high: Its upper end.
    """

    k: int
    accuracy: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """Accuracy against the number of samples, from the samples of one method.

    Attributes:
        method: The method that drew the samples.
        rule: "pass": one of them is right; else how one is chosen.
        points: One for each number of samples.
    """

    method: str
    rule: CurveRule
    points: tuple[CurvePoint, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """Two methods on the problems that both have finished.

    Attributes:
        first: A method.
        second: The method it is compared with.
        num_problems: The problems.
        num_won: Those that only the first solves.
        num_lost: Those that only the second solves.
        difference: Accuracy of the first less that of the second.
        low: Lower end of its 95 % interval (Agresti and Min 2005).
        high: Its upper end.
        p_value: Of McNemar's exact test.
    """

    first: str
    second: str
    num_problems: int
    num_won: int
    num_lost: int
    difference: float
    low: float
    high: float
    p_value: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """A comparison so far.

    Attributes:
        problems: Name of the file or data set.
        seed: Seed of the problems and of their searches.
        num_problems: Problems of the whole evaluation.
        is_complete: Whether every method has finished every problem.
        rows: One for each method that has finished any, in the order of the methods.
        curves: What fewer samples than n would give.
        differences: Each method against those before it.
    """

    problems: str
    seed: int
    num_problems: int
    is_complete: bool
    rows: tuple[Row, ...]
    curves: tuple[Curve, ...] = ()
    differences: tuple[Difference, ...] = ()

    def to_json(self) -> str:
        """The comparison as one JSON document."""
        return json.dumps(asdict(self))


def paired_difference(first: str, second: str, pairs: Sequence[tuple[bool, ...]]) -> Difference:
    """Compares two methods.

    Args:
        first: A method.
        second: The method it is compared with.
        pairs: For each problem, at least one, whether the first and whether the second solves it.
    """
    found = Counter(pairs)
    num_won, num_lost = found[True, False], found[False, True]
    low, high = paired_interval(len(pairs), num_won, num_lost)
    return Difference(
        first=first,
        second=second,
        num_problems=len(pairs),
        num_won=num_won,
        num_lost=num_lost,
        difference=(num_won - num_lost) / len(pairs),
        low=low,
        high=high,
        p_value=mcnemar_p(num_won, num_lost),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kept:
    """The part of a record that the numbers are made from."""

    verdict: Verdict
    tokens: int
    answer_tokens: int
    verifier_tokens: int
    elapsed_s: float
    is_scored: bool
    curves: Mapping[CurveRule, Sequence[float]]


class Tally:
    """Counts records; keeps a few numbers of each.

    Args:
        configs: The search of each method, in the order of the rows.
        num_problems: Problems of the whole evaluation.
    """

    def __init__(self, configs: Mapping[str, SearchConfig], num_problems: int) -> None:
        self._configs = configs
        self._num_problems = num_problems
        self._kept: dict[str, dict[int, _Kept]] = {method: {} for method in configs}

    @property
    def done(self) -> set[tuple[str, int]]:
        """Methods and numbers of the problems that are counted."""
        return {(method, index) for method, kept in self._kept.items() for index in kept}

    @property
    def num_problems(self) -> int:
        """Problems of the whole evaluation."""
        return self._num_problems

    @property
    def methods(self) -> list[str]:
        """The methods, in the order of the rows."""
        return list(self._kept)

    @property
    def is_complete(self) -> bool:
        """Whether every method has finished every problem."""
        return all(len(kept) == self._num_problems for kept in self._kept.values())

    def num_done(self, method: str) -> int:
        """How many problems a method has finished."""
        return len(self._kept[method])

    def add(self, record: Record) -> None:
        """Counts a record; another of the same problem and method would replace it.

        Raises:
            ConfigurationError: Its method or its problem is none of this evaluation.
        """
        if record.method not in self._configs or not 0 <= record.index < self._num_problems:
            raise ConfigurationError(
                f"a record of problem {record.index} under {record.method!r} is of another "
                f"evaluation: this one has {self._num_problems} problems, and the methods "
                f"{', '.join(self._configs)}"
            )
        config = self._configs[record.method]
        sizes = curve_sizes(config)
        self._kept[record.method][record.index] = _Kept(
            verdict=record.verdict,
            tokens=record.run.generated_tokens,
            answer_tokens=record.answer_tokens,
            verifier_tokens=record.run.verifier_tokens,
            elapsed_s=record.run.elapsed_s,
            is_scored=any(candidate.score is not None for candidate in record.candidates),
            curves=(
                problem_curves(record.candidates, config.n, sizes, has_scores=True) if sizes else {}
            ),
        )

    def evaluation(self, problems: str, seed: int) -> Evaluation:
        """The numbers so far.

        Args:
            problems: Name of the file or data set.
            seed: The seed of the evaluation.
        """
        finished = {method: kept for method, kept in self._kept.items() if kept}
        return Evaluation(
            problems=problems,
            seed=seed,
            num_problems=self._num_problems,
            is_complete=self.is_complete,
            rows=tuple(self._row(method) for method in finished),
            curves=tuple(curve for method in finished for curve in self._curves(method)),
            differences=tuple(
                found
                for second, first in itertools.combinations(finished, 2)
                if (found := self._difference(first, second)) is not None
            ),
        )

    def _row(self, method: str) -> Row:
        kept = self._kept[method].values()
        verdicts = Counter(one.verdict for one in kept)
        low, high = wilson_interval(verdicts["right"], len(kept))
        seconds = sum(one.elapsed_s for one in kept)
        answer_tokens = sum(one.answer_tokens for one in kept)
        return Row(
            method=method,
            n=self._configs[method].n,
            num_problems=len(kept),
            accuracy=verdicts["right"] / len(kept),
            low=low,
            high=high,
            num_right=verdicts["right"],
            num_wrong=verdicts["wrong"],
            num_no_answer=verdicts["no answer"],
            num_cut=verdicts["cut"],
            num_errors=verdicts["error"],
            tokens=sum(one.tokens for one in kept),
            verifier_tokens=sum(one.verifier_tokens for one in kept),
            seconds=seconds,
            goodput=answer_tokens / seconds if seconds else 0.0,
        )

    def _curves(self, method: str) -> list[Curve]:
        sizes = curve_sizes(self._configs[method])
        if not sizes:
            return []
        kept = [one for _, one in sorted(self._kept[method].items())]
        has_scores = any(one.is_scored for one in kept)
        rules: list[CurveRule] = ["pass", "majority", *(_SCORED if has_scores else ())]
        values = [[value for rule in rules for value in one.curves[rule]] for one in kept]
        means = [statistics.fmean(column) for column in zip(*values, strict=True)]
        points = [
            CurvePoint(k=k, accuracy=mean, low=low, high=high)
            for k, mean, (low, high) in zip(
                sizes * len(rules), means, bootstrap_intervals(values), strict=True
            )
        ]
        return [
            Curve(method=method, rule=rule, points=tuple(points[place : place + len(sizes)]))
            for place, rule in zip(itertools.count(0, len(sizes)), rules, strict=False)
        ]

    def _difference(self, first: str, second: str) -> Difference | None:
        shared = self._kept[first].keys() & self._kept[second].keys()
        if not shared:
            return None
        return paired_difference(
            first,
            second,
            [
                tuple(self._kept[method][index].verdict == "right" for method in (first, second))
                for index in shared
            ],
        )
