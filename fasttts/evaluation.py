"""Accuracy of search methods on problems with known answers: grading, intervals, table rows.

Everything here is a pure function of results; running the searches is the caller's business
(`fasttts eval` does it for the bundled problems):

    results = engine.search_many([problem.text for problem in problems], config=config)
    correct = [is_correct(r, p.answer) for r, p in zip(results, problems, strict=True)]
    row = summarize("beam_search", results, correct, n=config.n, seconds=elapsed_s)
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

from fasttts.answers.equality import answers_equal
from fasttts.config import CandidateSearch, SearchConfig, search_config
from fasttts.errors import SearchError
from fasttts.types import SearchResult

Method = Literal["greedy", "majority", CandidateSearch]

ProblemOutcome = SearchResult | SearchError
"""An item that `search_many` returns for a problem; an error is a wrong answer."""

METHODS: Mapping[Method, Mapping[str, Any]] = {
    "greedy": {"search": "none", "temperature": 0.0, "n": 1, "beam_width": 1},
    "majority": {"search": "best_of_n", "selection": "majority"},
    **{search: {"search": search, "selection": "best"} for search in get_args(CandidateSearch)},
    "self_consistency": {"search": "self_consistency", "selection": "majority"},
}
"""The settings of a search configuration that each compared method fixes."""

Z_95 = 1.959963984540054
"""The 97.5 % quantile of the standard normal distribution, for two-sided 95 % intervals."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """Results of one method on one set of problems.

    Attributes:
        method: The search method.
        n: Candidates or beams for each problem.
        accuracy: Share of problems solved, in [0, 1].
        low: Lower end of the 95 % Wilson interval of `accuracy`.
        high: Its upper end.
        tokens: Tokens the generator sampled over all problems, on every beam; a search that ended
            in an error counts as none.
        seconds: Wall-clock time of all problems in one batch, models already loaded.
    """

    method: Method
    n: int
    accuracy: float
    low: float
    high: float
    tokens: int
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """The rows of one comparison, in the order they ran.

    Attributes:
        seed: Seed of the problems and of their searches.
        num_problems: Problems in every row.
        rows: One for each method.
    """

    seed: int
    num_problems: int
    rows: tuple[Row, ...]

    def to_json(self) -> str:
        """The comparison as one JSON document."""
        return json.dumps(asdict(self))


def method_config(method: Method, **options: Any) -> SearchConfig:
    """Returns the search configuration of a method.

    Args:
        method: The method; its own settings take precedence over `options`.
        options: Options of `SearchConfig`.

    Raises:
        ConfigurationError: An option is unknown or its value cannot work.
    """
    return search_config(**{**options, **METHODS[method]})


def wilson_interval(num_correct: int, num_problems: int, *, z: float = Z_95) -> tuple[float, float]:
    """Wilson score interval of a share (Wilson 1927), 95 % by default.

    Unlike the normal approximation it stays inside [0, 1] and does not collapse at 0 or 1.

    Args:
        num_correct: Successes.
        num_problems: Trials.
        z: Quantile of the standard normal distribution for the wanted confidence.

    Raises:
        ValueError: `num_problems` is not positive or `num_correct` is outside [0, num_problems].
    """
    if not 0 <= num_correct <= num_problems or num_problems == 0:
        raise ValueError(f"{num_correct=} of {num_problems=} is not a share")
    share = num_correct / num_problems
    spread = z * z / num_problems
    center = (share + spread / 2) / (1 + spread)
    half = math.sqrt(share * (1 - share) / num_problems + spread / num_problems / 4) * z
    half /= 1 + spread
    return max(0.0, min(share, center - half)), min(1.0, max(share, center + half))


def is_correct(outcome: ProblemOutcome, answer: int | str) -> bool:
    """Whether an outcome's answer equals the known one; no answer is wrong.

    Args:
        outcome: A result, or the error of the search, which is wrong.
        answer: The known answer.
    """
    return isinstance(outcome, SearchResult) and answers_equal(outcome.answer, str(answer))


def summarize(
    method: Method,
    outcomes: Sequence[ProblemOutcome],
    correct: Sequence[bool],
    *,
    n: int,
    seconds: float,
) -> Row:
    """Summarizes the outcomes of one method and their grades, in the same order.

    Args:
        method: The method that ran.
        outcomes: One for each problem.
        correct: Whether each of them is right.
        n: Candidates or beams for each problem.
        seconds: Wall-clock time of the whole run.

    Raises:
        ValueError: There are no outcomes, or not one grade for each.
    """
    if len(outcomes) != len(correct):
        raise ValueError(f"{len(outcomes)} outcomes but {len(correct)} grades")
    low, high = wilson_interval(sum(correct), len(correct))
    return Row(
        method=method,
        n=n,
        accuracy=sum(correct) / len(correct),
        low=low,
        high=high,
        tokens=sum(o.usage.generated_tokens for o in outcomes if isinstance(o, SearchResult)),
        seconds=seconds,
    )
