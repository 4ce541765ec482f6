"""Arms that choose among the same samples, and the rows of `benchmarks.signals`."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

import numpy as np

from fasttts.config import SearchConfig
from fasttts.evaluation import ProblemSet, Record, Tally
from fasttts.evaluation.grading import verdict_of_chosen
from fasttts.evaluation.summary import CurvePoint, Row
from fasttts.prm.quality import area_under_curve
from fasttts.search.aggregation import on_grid, rank
from fasttts.types.documents import Document

SAMPLES = "samples"
"""The arm whose records have the samples."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scores(Document):
    """Scores of one problem's samples by one verifier.

    Attributes:
        index: Number of the problem.
        verifier: The verifier.
        scores: In the order of the samples' record.
        seconds: That scoring took.
        num_tokens: That the verifier ran through its model.
    """

    index: int
    verifier: str
    scores: tuple[float, ...]
    seconds: float
    num_tokens: int = 0
    kind: Literal["result"] = "result"


@dataclass(slots=True, kw_only=True)
class Books:
    """What is done.

    Attributes:
        searches: Records of searches, by arm and problem; `SAMPLES` is the arm of the samples.
        scores: Scores of the samples, by verifier and problem.
    """

    searches: dict[tuple[str, int], Record] = field(default_factory=dict)
    scores: dict[tuple[str, int], Scores] = field(default_factory=dict)

    def add(self, entry: Record | Scores) -> None:
        """Keeps an entry."""
        if isinstance(entry, Record):
            self.searches[entry.method, entry.index] = entry
        else:
            self.scores[entry.verifier, entry.index] = entry

    def samples(self) -> list[Record]:
        """The records of samples."""
        return [one for (arm, _), one in sorted(self.searches.items()) if arm == SAMPLES]


Selection = Literal["best", "majority", "weighted"]


def chosen(record: Record, arm: str, selection: Selection, scores: Scores | None) -> Record:
    """The record of an arm that chooses among samples.

    Args:
        record: The samples'.
        arm: The arm.
        selection: How it chooses.
        scores: Its verifier's; None without one.
    """
    found = [0.0] * len(record.candidates) if scores is None else scores.scores
    scored = [
        replace(candidate, score=on_grid(score))
        for candidate, score in zip(record.candidates, found, strict=True)
    ]
    ranked: Any = tuple(rank(scored, selection))  # type: ignore[arg-type]  # graded, with the same fields
    run = record.run
    if scores is not None:
        run = replace(
            run,
            elapsed_s=run.elapsed_s + scores.seconds,
            verifier_tokens=run.verifier_tokens + scores.num_tokens,
        )
    return replace(
        record,
        method=arm,
        candidates=ranked,
        answer=ranked[0].answer if ranked else None,
        verdict=verdict_of_chosen(ranked),
        run=run,
    )


def rows(
    books: Books,
    configs: Mapping[str, SearchConfig],
    verifiers: Sequence[str],
    problems: ProblemSet,
    seed: int,
) -> list[dict[str, Any]]:
    """A row for each arm that has done any problem, and how it compares."""
    tally = Tally(configs, len(problems.problems))
    for (arm, index), record in sorted(books.searches.items()):
        if arm != SAMPLES:
            tally.add(record)
            continue
        tally.add(chosen(record, "majority", "majority", None))
        for name in verifiers:
            if (scores := books.scores.get((name, index))) is not None:
                tally.add(chosen(record, f"best, {name}", "best", scores))
                tally.add(chosen(record, f"weighted, {name}", "weighted", scores))
    evaluation = tally.evaluation(problems.name, seed)
    pairs = {(one.first, one.second): one for one in evaluation.differences}
    found = []
    for row in evaluation.rows:
        against: dict[str, Any] = {}
        for other in ("greedy", "majority"):
            if (pair := pairs.get((row.method, other))) is not None:
                against[f"against_{other}"] = asdict(pair)
                against[f"to_{other}"] = (
                    f"{pair.difference:+.2f} ({pair.low:+.2f}..{pair.high:+.2f})"
                )
        auc = {}
        if row.method.startswith("best, "):
            auc = _auc(books, row.method.removeprefix("best, "))
        found.append({"arm": row.method, "right": _right(row), **asdict(row), **against, **auc})
    reached = [
        curve for curve in evaluation.curves if (curve.method, curve.rule) == ("majority", "pass")
    ]
    ends = [curve.points[-1] for curve in reached]
    found += [{"arm": "one of n is right", "right": _right(end), **asdict(end)} for end in ends]
    return found


def _right(found: Row | CurvePoint) -> str:
    return f"{found.accuracy:.2f} ({found.low:.2f}..{found.high:.2f})"


def _auc(books: Books, name: str) -> dict[str, float | None]:
    """Areas under the curve: over the samples of all problems, and over pairs within each."""
    scores, labels, within = [], [], []
    for record in books.samples():
        if (one := books.scores.get((name, record.index))) is None:
            continue
        own = np.array(one.scores), np.array([float(c.is_right) for c in record.candidates])
        scores.append(own[0])
        labels.append(own[1])
        within.append(area_under_curve(*own))
    known = [area for area in within if area is not None]
    return {
        "auc": area_under_curve(np.concatenate(scores), np.concatenate(labels)),
        "auc_within": float(np.mean(known)) if known else None,
    }
