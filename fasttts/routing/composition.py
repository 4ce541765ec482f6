"""Policies composed of policies."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import ClassVar

from fasttts.errors import ConfigurationError
from fasttts.routing.context import RoutingContext
from fasttts.routing.decision import Decision, Needs, Route, RoutingPolicy


@dataclass(frozen=True, slots=True)
class _Several:
    """Policies asked in order, of which the first with a decision for `_deciding` decides."""

    policies: tuple[RoutingPolicy, ...]
    _deciding: ClassVar[Route]

    def __init__(self, *policies: RoutingPolicy) -> None:
        object.__setattr__(self, "policies", _some(policies))

    def decide(self, context: RoutingContext) -> Decision | Needs:
        """Returns the first decision of that kind, or a policy's needs; else the last decision."""
        for policy in self.policies:
            answer = policy.decide(context)
            if not isinstance(answer, Decision) or answer.route == self._deciding:
                break
        return _within(self, answer)


class AnyOf(_Several):
    """Searches if one of the policies would; put the cheap ones first.

    Attributes:
        policies: At least one.
    """

    __slots__ = ()
    _deciding = "search"


class AllOf(_Several):
    """Searches if every policy would; put the cheap ones first.

    Attributes:
        policies: At least one.
    """

    __slots__ = ()
    _deciding = "plain"


@dataclass(frozen=True, slots=True, kw_only=True)
class Where:
    """Chooses between two policies by a condition.

    Attributes:
        condition: A pure function of the context.
        then: Decides where it is true.
        otherwise: Decides elsewhere.
    """

    condition: Callable[[RoutingContext], bool]
    then: RoutingPolicy
    otherwise: RoutingPolicy

    def decide(self, context: RoutingContext) -> Decision | Needs:
        """Returns the decision or the needs of the chosen policy."""
        policy = self.then if self.condition(context) else self.otherwise
        return _within(self, policy.decide(context))


def _some(policies: tuple[RoutingPolicy, ...]) -> tuple[RoutingPolicy, ...]:
    if not policies:
        raise ConfigurationError("a policy made of policies needs at least one")
    return policies


def _within(whole: object, answer: Decision | Needs) -> Decision | Needs:
    """A part's answer, under the names of the whole and of the part."""
    if not isinstance(answer, Decision):
        return answer
    return replace(answer, policy=f"{type(whole).__name__}/{answer.policy}")
