"""Results of a routing policy: a decision with its reasons, or a request for more data."""

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
        policy: Name of the policy.
        reason: Why, in a few words.
        signals: The data of the decision, by name.
        kept_steps: Leading steps of the draft that every candidate of the search begins with.
        cost: Cost of the data.
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
    """Asks for the plain reply, scored by the verifier."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NeedsYesProbability:
    """Asks for the model's own answer to a yes-or-no question.

    Attributes:
        question: Follows the conversation as a message of the user.
        num_samples: Answers, each Yes or No. One sample is the likelier of the two by their log
            probabilities; of more, drawn at temperature 1, the share of "Yes" estimates its
            probability.
    """

    question: str
    num_samples: int = 1


Needs = NeedsDraft | NeedsYesProbability


class RoutingPolicy(Protocol):
    """Decides whether a call is worth a search; pure: no clock, no randomness, no I/O.

    The router calls it again, with the requested data in the context, until there is a decision.
    The same context gives the same decision, whoever calls, in a thread or an event loop, streamed
    or not.
    """

    def decide(self, context: RoutingContext) -> Decision | Needs:
        """Returns a decision, or a request for more data."""
        ...


def decided(
    context: RoutingContext, route: Route, policy: object, reason: str, **signals: Signal
) -> Decision:
    """Makes a decision about a context, with its cost.

    Args:
        context: The context.
        route: How the call is answered.
        policy: The policy; named by its class.
        reason: Why, in a few words.
        signals: The data of the decision, by name.
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
    """Base of policies: decodes calls plainly that gain nothing from a search.

    Attributes:
        tool_results: Whether calls that continue from a tool's result may be searched.
        formatting: Whether calls that convert something given into another form may be.
        small_talk: Whether turns may be that hold no problem, such as greetings.
    """

    tool_results: bool = False
    formatting: bool = False
    small_talk: bool = False

    def decide(self, context: RoutingContext) -> Decision | Needs:
        """Decides for plain decoding of routine calls; others are up to `decide_hard`."""
        if context.is_tool_result and not self.tool_results:
            return decided(
                context, "plain", self, "a tool's result is passed on", role=context.last_role
            )
        if context.is_formatting and not self.formatting:
            return decided(context, "plain", self, "the reply brings something into a form")
        if not self.small_talk and not context.has_problem:
            return decided(context, "plain", self, "there is no problem in the turn")
        return self.decide_hard(context)

    @abstractmethod
    def decide_hard(self, context: RoutingContext) -> Decision | Needs:
        """Decides about a call that may be searched."""
