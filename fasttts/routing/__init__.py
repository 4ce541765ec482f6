"""Decides, call by call, between plain decoding and search.

A policy is a pure object with one method; `Router` runs an engine as a policy decides.
"""

from fasttts.routing.cascade import Cascade
from fasttts.routing.classifier import Classifier
from fasttts.routing.composition import AllOf, AnyOf, Where
from fasttts.routing.context import Draft, RoutingContext
from fasttts.routing.decision import (
    Decision,
    NeedsDraft,
    NeedsYesProbability,
    RoutinePlain,
    RoutingPolicy,
    decided,
)
from fasttts.routing.policies import Always, Heuristics, Never
from fasttts.routing.router import Decided, RoutedEvent, Router
from fasttts.routing.threshold_store import default_policy

__all__ = [
    "AllOf",
    "Always",
    "AnyOf",
    "Cascade",
    "Classifier",
    "Decided",
    "Decision",
    "Draft",
    "Heuristics",
    "NeedsDraft",
    "NeedsYesProbability",
    "Never",
    "RoutedEvent",
    "Router",
    "RoutinePlain",
    "RoutingContext",
    "RoutingPolicy",
    "Where",
    "decided",
    "default_policy",
]
