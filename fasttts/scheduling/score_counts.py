"""Counts of scores that tell nothing apart, and the warnings about them."""

import collections
import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from fasttts.errors import ContractError
from fasttts.interfaces import Verifier
from fasttts.tree import Node

logger = logging.getLogger(__name__)

_FEWEST_ROUNDS, _FLAT_SHARE = 8, 0.8
_TIED_SHARE = 0.75


@dataclass(slots=True, kw_only=True)
class ScoreCounts:
    """Counts of one search's scores.

    Attributes:
        num_nan_scores: As in `fasttts.types.Usage`.
        num_compared_scores: As in `fasttts.types.Usage`.
        num_tied_scores: As in `fasttts.types.Usage`.
        num_compared_rounds: As in `fasttts.types.Usage`.
        num_flat_rounds: As in `fasttts.types.Usage`.
    """

    num_nan_scores: int = 0
    num_compared_scores: int = 0
    num_tied_scores: int = 0
    num_compared_rounds: int = 0
    num_flat_rounds: int = 0

    def compare(self, nodes: Iterable[Node], score: Callable[[Node], float | None]) -> None:
        """Counts a decision between paths, or their ranking; equal texts count once.

        Args:
            nodes: The last nodes of the paths.
            score: The score of a path; None where it has none.
        """
        by_score: dict[float, list[Node]] = collections.defaultdict(list)
        for node in nodes:
            if (value := score(node)) is not None:
                by_score[value].append(node)
        counts = [_num_texts(equals) for equals in by_score.values()]
        if sum(counts) < 2:
            return
        self.num_compared_scores += sum(counts)
        self.num_tied_scores += sum(count for count in counts if count > 1)
        self.num_compared_rounds += 1
        self.num_flat_rounds += len(counts) == 1


def _num_texts(nodes: Sequence[Node]) -> int:
    return 1 if len(nodes) == 1 else len({node.path_text() for node in nodes})


class ScoreChecks:
    """Finds searches without a single number, and warns once of each lesser fault of scores.

    Args:
        verifier: The verifier; None where nothing is scored.
    """

    def __init__(self, verifier: Verifier | None) -> None:
        self._verifier = verifier
        self._totals = ScoreCounts()
        self._warned: set[str] = set()

    def fault(self, nodes: Iterable[Node]) -> ContractError | None:
        """The error of a search in which the verifier gave no number; None where it gave one.

        Only paths that the search went on with count: whether others were scored depends on what
        ran first.

        Args:
            nodes: The nodes of its tree.
        """
        kept = [node for node in nodes if node.children or node.is_answer_ended]
        num_scores = sum(len(node.scores_S or ()) for node in kept)
        if not num_scores or num_scores > sum(node.num_nan_scores for node in kept):
            return None
        return ContractError(
            f"the verifier {self._name} gave not-a-number for every step of the search: its "
            "weights or its dtype are broken",
            role="verifier",
        )

    def warn(self, counts: ScoreCounts) -> None:
        """Adds the counts of a search that has ended, and warns when enough have been seen."""
        for field in ScoreCounts.__dataclass_fields__:
            setattr(self._totals, field, getattr(self._totals, field) + getattr(counts, field))
        seen = self._totals
        if seen.num_nan_scores:
            self._warn(
                "nan",
                f"gave {seen.num_nan_scores} scores that are not a number, and count as 0: try "
                "dtype='float32' or another checkpoint",
            )
        num_rounds, num_flat = seen.num_compared_rounds, seen.num_flat_rounds
        num_scores, num_tied = seen.num_compared_scores, seen.num_tied_scores
        if num_rounds < _FEWEST_ROUNDS:
            return
        if num_flat >= _FLAT_SHARE * num_rounds:
            self._warn(
                "equal",
                f"gave one score to all candidates of {num_flat} of {num_rounds} decisions: their "
                "order in the tree decides; see fasttts check",
            )
        elif num_tied >= _TIED_SHARE * num_scores:
            self._warn(
                "equal",
                f"gave {num_tied} of {num_scores} compared candidates the score of another one: "
                "the order in the tree decides between those; see fasttts check",
            )

    def _warn(self, kind: str, message: str) -> None:
        if kind not in self._warned:
            self._warned.add(kind)
            logger.warning("the verifier %s %s", self._name, message)

    @property
    def _name(self) -> str:
        return "?" if self._verifier is None else self._verifier.name
