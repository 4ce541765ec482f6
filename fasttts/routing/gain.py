"""Whether a search solves more problems than the draft alone: a paired comparison.

The interval is that of `paired_interval`: a handful of problems decides nothing.
"""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, Self

from fasttts.evaluation.intervals import paired_interval
from fasttts.routing.calibration import Sample

WORTHWHILE = 0.05
"""A difference in accuracy that pays for a search; one that is surely smaller does not."""

MIN_PROBLEMS = 30
"""Fewest problems that a threshold is chosen from."""

Verdict = Literal["better", "no better", "undecided"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Gain:
    """Outcomes of drafts and searches on the same problems.

    Attributes:
        num_problems: The problems, at least one.
        num_draft_right: Those that the draft solves.
        num_won: Those that the search solves and the draft does not.
        num_lost: Those that the draft solves and the search does not.
    """

    num_problems: int
    num_draft_right: int
    num_won: int
    num_lost: int

    @classmethod
    def of(cls, samples: Sequence[Sample]) -> Self:
        """Counts the outcomes of problems that were drafted and searched."""
        return cls(
            num_problems=len(samples),
            num_draft_right=sum(s.is_draft_right for s in samples),
            num_won=sum(s.is_search_right and not s.is_draft_right for s in samples),
            num_lost=sum(s.is_draft_right and not s.is_search_right for s in samples),
        )

    @property
    def num_search_right(self) -> int:
        """The problems that the search solves."""
        return self.num_draft_right + self.num_won - self.num_lost

    @property
    def difference(self) -> float:
        """The accuracy of searching less that of the draft."""
        return (self.num_won - self.num_lost) / self.num_problems

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % interval of the difference, in [-1, 1]."""
        return paired_interval(self.num_problems, self.num_won, self.num_lost)

    @property
    def verdict(self) -> Verdict:
        """Whether the search is better, surely not by a worthwhile difference, or unknown."""
        low, high = self.interval
        if low > 0:
            return "better"
        return "no better" if high < WORTHWHILE else "undecided"

    @property
    def num_needed(self) -> int:
        """About how many problems would decide, with the same difference."""
        low, high = self.interval
        centre, half = (low + high) / 2, (high - low) / 2
        return math.ceil(self.num_problems * (half / max(centre, WORTHWHILE - centre)) ** 2)

    def to_dict(self) -> dict[str, Any]:
        """The counts with the difference, its interval and the verdict, as JSON data."""
        found = {"difference": self.difference, "interval": list(self.interval)}
        return {**asdict(self), **found, "verdict": self.verdict}

    def __str__(self) -> str:
        low, high = (f"{100 * end:+.1f}" for end in self.interval)
        return (
            f"on {self.num_problems} problems search solved {self.num_search_right} and the draft "
            f"{self.num_draft_right}: {100 * self.difference:+.1f} points, 95 % interval {low} to "
            f"{high}"
        )
