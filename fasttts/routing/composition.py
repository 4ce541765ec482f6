"""Policies made of policies."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from fasttts.errors import ConfigurationError
from fasttts.routing.decision import Decision, Route, RoutingPolicy, Wanted
from fasttts.routing.turn import Turn


@dataclass(frozen=True, slots=True)
class AnyOf:
    """Searches if one of the policies would; asked in order, so put the cheap ones first.

    Attributes:
        policies: At least one.
    """

    policies: tuple[RoutingPolicy, ...]

    def __init__(self, *policies: RoutingPolicy) -> None:
        object.__setattr__(self, "policies", _some(policies))

    def decide(self, turn: Turn) -> Decision | Wanted:
        """The first search, or else the last decision."""
        return _first(self, turn, "search")


@dataclass(frozen=True, slots=True)
class AllOf:
    """Searches if every policy would; asked in order, so put the cheap ones first.

    Attributes:
        policies: At least one.
    """

    policies: tuple[RoutingPolicy, ...]

    def __init__(self, *policies: RoutingPolicy) -> None:
        object.__setattr__(self, "policies", _some(policies))

    def decide(self, turn: Turn) -> Decision | Wanted:
        """The first plain decoding, or else the last decision."""
        return _first(self, turn, "plain")


@dataclass(frozen=True, slots=True, kw_only=True)
class Where:
    """One policy for some turns, another for the rest.

    Attributes:
        condition: A pure function of the turn.
        then: Decides where it is true.
        otherwise: Decides elsewhere.
    """

    condition: Callable[[Turn], bool]
    then: RoutingPolicy
    otherwise: RoutingPolicy

    def decide(self, turn: Turn) -> Decision | Wanted:
        """What the policy in charge says."""
        policy = self.then if self.condition(turn) else self.otherwise
        return _within(self, policy.decide(turn))


def _some(policies: tuple[RoutingPolicy, ...]) -> tuple[RoutingPolicy, ...]:
    if not policies:
        raise ConfigurationError("a policy made of policies needs at least one")
    return policies


def _first(whole: AnyOf | AllOf, turn: Turn, route: Route) -> Decision | Wanted:
    """The first answer that settles it: a decision for `route`, or something to find out."""
    for policy in whole.policies:
        answer = policy.decide(turn)
        if not isinstance(answer, Decision) or answer.route == route:
            break
    return _within(whole, answer)


def _within(whole: object, answer: Decision | Wanted) -> Decision | Wanted:
    """A part's answer, under the names of the whole and of the part."""
    if not isinstance(answer, Decision):
        return answer
    return replace(answer, policy=f"{type(whole).__name__}/{answer.policy}")
