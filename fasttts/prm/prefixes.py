"""The beginnings of a problem's rollouts, each once, and what became of their continuations.

A rollout is itself a continuation of each of its beginnings: what follows a beginning was drawn
from the model given that beginning. So rollouts that share a beginning are its first continuations,
and only the others that are asked for have to be sampled.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from fasttts.decoding.steps import StepRule, StepScan
from fasttts.prm.labels import LabeledRollout, LabeledStep, Target
from fasttts.types import Candidate

WAVE_SIZE = 4
"""Continuations of a beginning between two looks at whether its hard label is certain."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelRule:
    """How many samples make a label.

    Attributes:
        num_rollouts: Rollouts of each problem.
        num_continuations: Continuations of each beginning of a rollout, those by rollouts included.
        target: "soft" samples all of them; "hard" stops at a beginning once one of them is right,
            which changes no hard label.
    """

    num_rollouts: int = 8
    num_continuations: int = 8
    target: Target = "soft"


@dataclass(slots=True, kw_only=True)
class Prefix:
    """A beginning of one or more rollouts.

    Attributes:
        text: The beginning, up to where the next step begins.
        steps: The same text as steps.
        is_whole: Whether it is a whole answer, which nothing continues.
        num_waves: Waves of continuations that were sampled.
        verdicts: Whether each continuation is right: rollouts first, then sampled ones.
    """

    text: str
    steps: tuple[str, ...]
    is_whole: bool
    num_waves: int = 0
    verdicts: list[bool] = field(default_factory=list)

    def waves(self, rule: LabelRule) -> list[int]:
        """How many continuations each of the next waves has; none where the label is decided.

        The waves of both kinds of labels are the same, so that their samples are.

        Args:
            rule: How many make a label.
        """
        missing = 0 if self.is_whole else max(0, rule.num_continuations - len(self.verdicts))
        sizes = [min(WAVE_SIZE, missing - start) for start in range(0, missing, WAVE_SIZE)]
        if rule.target == "soft":
            return sizes
        return [] if any(self.verdicts) else sizes[:1]


class PrefixTree:
    """The beginnings of the rollouts of one problem.

    Args:
        rollouts: Whole answers, in the order of their seeds.
        right: Whether each of them is right.
        step_rule: What ends a step; not a number of tokens, whose ends no text shows.

    Attributes:
        prefixes: The beginnings, in the order in which rollouts have them.
    """

    def __init__(
        self, rollouts: Sequence[Candidate], right: Sequence[bool], step_rule: StepRule
    ) -> None:
        self._rollouts = rollouts
        self._right = right
        self._found: dict[tuple[str, bool], Prefix] = {}
        self._paths = [
            [
                self._found.setdefault((prefix.text, prefix.is_whole), prefix)
                for prefix in prefixes_of(rollout, step_rule)
            ]
            for rollout in rollouts
        ]
        for path, is_right in zip(self._paths, right, strict=True):
            for prefix in path:
                prefix.verdicts.append(is_right)

    @property
    def prefixes(self) -> Sequence[Prefix]:
        """All beginnings."""
        return list(self._found.values())

    def labelled(self, rule: LabelRule) -> tuple[LabeledRollout, ...]:
        """The rollouts with the labels that the verdicts make.

        Args:
            rule: How the labels were made.
        """
        return tuple(
            LabeledRollout(
                steps=tuple(_step(prefix, rule) for prefix in path),
                answer=rollout.answer,
                is_right=is_right,
            )
            for rollout, path, is_right in zip(
                self._rollouts, self._paths, self._right, strict=True
            )
        )


def prefixes_of(rollout: Candidate, rule: StepRule) -> Iterator[Prefix]:
    """Yields the beginnings of a rollout, one for each step; a step that a cap cut is left out.

    Args:
        rollout: A whole answer.
        rule: What ends a step.
    """
    scan = StepScan(rule)
    scan.push(rollout.text)
    size = len(rollout.text)
    ends = [*scan.ends, *([size] if rollout.is_complete and size not in scan.ends else [])]
    steps: list[str] = []
    spans = [
        (begin, end)
        for begin, end in zip([0, *ends], ends, strict=False)
        if rule.clean(rollout.text[begin:end])
    ]
    for number, (begin, end) in enumerate(spans, 1):
        steps.append(rule.clean(rollout.text[begin:end]))
        is_whole = rollout.is_complete and number == len(spans)
        text = rollout.text if is_whole else rollout.text[:end]
        yield Prefix(text=text, steps=tuple(steps), is_whole=is_whole)


def _step(prefix: Prefix, rule: LabelRule) -> LabeledStep:
    num_right, total = sum(prefix.verdicts), len(prefix.verdicts)
    has_all = prefix.is_whole or total >= rule.num_continuations
    is_exact = rule.target == "soft" or has_all
    return LabeledStep(
        text=prefix.steps[-1],
        num_right=num_right,
        num_continuations=total,
        soft=num_right / total if is_exact else None,
        hard=num_right > 0,
    )
