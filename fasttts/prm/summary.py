"""The labels of many problems in a few numbers."""

from dataclasses import dataclass, field
from typing import Any

from fasttts.prm.labels import LabelRecord


@dataclass(slots=True, kw_only=True)
class LabelSummary:
    """Counts records of labels.

    Attributes:
        num_problems: Problems of the whole labelling.
        done: Numbers of those that are counted.
        num_rollouts: Their rollouts.
        num_right: Right rollouts.
        num_mixed: Problems with right and wrong rollouts.
        num_steps: Steps of all rollouts.
        num_hard: Steps from which a right answer was reached.
        num_prefixes: Different beginnings.
        num_tokens: Sampled tokens.
        num_errors: Problems without a rollout.
    """

    num_problems: int
    done: set[int] = field(default_factory=set)
    num_rollouts: int = 0
    num_right: int = 0
    num_mixed: int = 0
    num_steps: int = 0
    num_hard: int = 0
    num_prefixes: int = 0
    num_tokens: int = 0
    num_errors: int = 0

    @property
    def share_right(self) -> float:
        """Share of the rollouts that are right; 0 where there are none."""
        return self.num_right / self.num_rollouts if self.num_rollouts else 0.0

    @property
    def share_hard(self) -> float:
        """Share of the steps from which a right answer was reached; 0 where there are none."""
        return self.num_hard / self.num_steps if self.num_steps else 0.0

    def add(self, record: LabelRecord) -> None:
        """Counts a record; one of a problem that is counted already is not counted again."""
        if record.index in self.done:
            return
        self.done.add(record.index)
        steps = [step for rollout in record.rollouts for step in rollout.steps]
        num_right = sum(rollout.is_right for rollout in record.rollouts)
        self.num_rollouts += len(record.rollouts)
        self.num_right += num_right
        self.num_mixed += 0 < num_right < len(record.rollouts)
        self.num_steps += len(steps)
        self.num_hard += sum(step.hard for step in steps)
        self.num_prefixes += record.num_prefixes
        self.num_tokens += record.run.generated_tokens
        self.num_errors += record.error is not None

    def to_dict(self) -> dict[str, Any]:
        """The numbers as JSON data."""
        return {
            "num_problems": self.num_problems,
            "num_done": len(self.done),
            "num_rollouts": self.num_rollouts,
            "share_right": self.share_right,
            "num_mixed": self.num_mixed,
            "num_steps": self.num_steps,
            "share_hard": self.share_hard,
            "num_prefixes": self.num_prefixes,
            "num_tokens": self.num_tokens,
            "num_errors": self.num_errors,
        }
