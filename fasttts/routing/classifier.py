"""The model itself decides, with one token."""

from dataclasses import dataclass

from fasttts.errors import ConfigurationError
from fasttts.routing.context import RoutingContext
from fasttts.routing.decision import Decision, Needs, NeedsYesProbability, RoutinePlain, decided

QUESTION = (
    "Do not answer the question above yet. Does it take several steps of careful reasoning to get "
    "right? Reply with one word, Yes or No."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Classifier(RoutinePlain):
    """Asks the model a yes-or-no question about the conversation and searches on "yes".

    Attributes:
        question: The question.
        threshold: The share of "yes" from which on a call is searched, in (0, 1].
        num_samples: Answers drawn, each Yes or No; one is the likelier of the two, many estimate
            how likely "Yes" is.
    """

    question: str = QUESTION
    threshold: float = 0.5
    num_samples: int = 1

    def __post_init__(self) -> None:
        if not 0.0 < self.threshold <= 1.0 or self.num_samples < 1:
            raise ConfigurationError(
                f"threshold={self.threshold}, num_samples={self.num_samples}: the first is a share "
                "above 0, the second at least 1"
            )

    def decide_hard(self, context: RoutingContext) -> Decision | Needs:
        """Searches if the share of "yes" reaches the threshold."""
        share = context.yes_probabilities.get(self.question)
        if share is None:
            return NeedsYesProbability(question=self.question, num_samples=self.num_samples)
        is_searched = share >= self.threshold
        return decided(
            context,
            "search" if is_searched else "plain",
            self,
            f"the model says that it {'takes' if is_searched else 'does not take'} several steps",
            share=share,
            threshold=self.threshold,
            num_samples=self.num_samples,
        )
