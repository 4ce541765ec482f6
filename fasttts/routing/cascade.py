"""The default policy: decodes once, scores the draft, and searches if a step scores low."""

from dataclasses import dataclass, replace

from fasttts.errors import ConfigurationError
from fasttts.routing.context import Draft, RoutingContext
from fasttts.routing.decision import Decision, Needs, NeedsDraft, RoutinePlain, decided

DEFAULT_THRESHOLD = 0.5
"""Threshold without a calibration: the verifier rates every step more likely right than wrong."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cascade(RoutinePlain):
    """Accepts a plain draft whose every step scores at least `threshold`, and searches otherwise.

    The search keeps the draft: it is one of the candidates, and the others begin with its steps up
    to the first one below the threshold. A draft that calls a tool is accepted without its scores,
    and so is one that used up the budget.

    Attributes:
        threshold: The lowest score of an accepted step, in [0, 1]; `fasttts calibrate-router` finds
            one.
        keeps_steps: Whether the search begins with the steps before the first one below it.
    """

    threshold: float = DEFAULT_THRESHOLD
    keeps_steps: bool = True

    def __post_init__(self) -> None:
        if not 0.0 <= self.threshold <= 1.0:
            raise ConfigurationError(f"threshold={self.threshold}: scores are between 0 and 1")

    def decide_hard(self, context: RoutingContext) -> Decision | Needs:
        """Accepts the draft, or searches where a step scores low."""
        draft = context.draft
        if draft is None:
            return NeedsDraft()
        if draft.calls_tools:
            return decided(context, "plain", self, "the draft calls a tool")
        if context.budget_tokens is not None and context.budget_tokens <= 0:
            return decided(context, "plain", self, "the draft took all of the budget")
        return self._judge(context, draft)

    def _judge(self, context: RoutingContext, draft: Draft) -> Decision:
        lowest = draft.lowest_score
        signals = {
            "lowest_score": lowest,
            "threshold": self.threshold,
            "num_steps": len(draft.steps),
            "is_complete": draft.is_complete,
        }
        if not draft.is_complete:
            return decided(context, "search", self, "the draft does not end", **signals)
        if lowest is None:
            return decided(context, "search", self, "the draft has no scores", **signals)
        if lowest < self.threshold:
            reason = f"a step of the draft scores {lowest:.4f}, under {self.threshold:g}"
            found = decided(context, "search", self, reason, **signals)
            return replace(found, kept_steps=self._num_certain(draft) if self.keeps_steps else 0)
        reason = f"every step of the draft scores {lowest:.4f} or more"
        return decided(context, "plain", self, reason, **signals)

    def _num_certain(self, draft: Draft) -> int:
        """Counts the steps before the first one below the threshold."""
        scores_S = [step.score or 0.0 for step in draft.steps]
        return next(i for i, score in enumerate(scores_S) if score < self.threshold)
