"""What a routing policy returns: a decision that explains itself, or what it has to know first."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, Protocol

from fasttts.routing.context import RoutingContext
from fasttts.types import Usage

Route = Literal["plain", "search"]
Signal = float | int | str | bool | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """How one call is answered.

    Attributes:
        route: "plain" decodes once, or takes the draft where there is one; "search" searches, with
            the draft among the candidates where there is one.
        policy: Who decided.
        reason: Why, in a few words.
        signals: What the decision was made from, by name.
        kept_steps: Leading steps of the draft that every candidate of the search begins with.
        cost: What finding out has cost.
    """

    route: Route
    policy: str
    reason: str
    signals: Mapping[str, Signal] = field(default_factory=dict)
    kept_steps: int = 0
    cost: Usage = field(default_factory=Usage)

    def to_dict(self) -> dict[str, Any]:
        """The decision as JSON data."""
        return {**asdict(self), "signals": dict(self.signals)}

    def __str__(self) -> str:
        spent = f", for {self.cost.generated_tokens} tokens" if self.cost.generated_tokens else ""
        return f"{self.route}: {self.reason} ({self.policy}{spent})"


@dataclass(frozen=True, slots=True, kw_only=True)
class NeedsDraft:
    """The policy has to see the plain reply, scored by the verifier."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NeedsYesProbability:
    """The policy has to know what the model itself answers to a yes-or-no question.

    Attributes:
        question: Put to the model after the conversation.
        num_samples: The model can say nothing but Yes or No. One sample is the likelier of the
            two by their log probabilities; of more, drawn at temperature 1, the share of "Yes"
            estimates its probability.
    """

    question: str
    num_samples: int = 1


Needs = NeedsDraft | NeedsYesProbability


class RoutingPolicy(Protocol):
    """Decides whether a call is worth a search; pure: no clock, no randomness, no I/O.

    The router asks again, with what was wanted in the turn, until there is a decision. The same
    turn gives the same decision, whoever calls, in a thread or an event loop, streamed or not.
    """

    def decide(self, context: RoutingContext) -> Decision | Needs:
        """A decision, or what has to be found out first."""
        ...


def decided(
    context: RoutingContext, route: Route, policy: object, reason: str, **signals: Signal
) -> Decision:
    """A decision about `context`, with its cost.

    Args:
        context: What it is about.
        route: What is done.
        policy: Who decides; named by its class.
        reason: Why, in a few words.
        signals: What it was decided from.
    """
    return Decision(
        route=route,
        policy=type(policy).__name__,
        reason=reason,
        signals=signals,
        cost=context.cost,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class RoutinePlain(ABC):
    """Keeps turns plain on which a search would be wasted; a base of policies.

    Attributes:
        tool_results: Whether turns that go on from a tool's result may be searched.
        formatting: Whether turns that bring something given into another form may be.
    """

    tool_results: bool = False
    formatting: bool = False

    def decide(self, context: RoutingContext) -> Decision | Needs:
        """Plain decoding of routine turns; the policy's own decision about others."""
        if context.is_tool_result and not self.tool_results:
            return decided(
                context, "plain", self, "a tool's result is passed on", role=context.last_role
            )
        if context.is_formatting and not self.formatting:
            return decided(context, "plain", self, "the reply brings something into a form")
        return self.decide_hard(context)

    @abstractmethod
    def decide_hard(self, context: RoutingContext) -> Decision | Needs:
        """The decision about a turn that may be searched."""
