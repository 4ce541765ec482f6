"""What a dialogue tells about an answer, beside the events of its decodings and searches."""

from dataclasses import dataclass

from fasttts.chat import Delta, Reply, ReplyCall
from fasttts.cli.chat.tools import ToolOutcome
from fasttts.routing import RoutedEvent
from fasttts.types import SearchResult


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOut:
    """So many of the oldest turns no longer fit into the model's context."""

    num_turns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Grown:
    """What a plainly decoded reply gained."""

    delta: Delta


@dataclass(frozen=True, slots=True, kw_only=True)
class Replied:
    """A complete reply of the model, and the result it was read from."""

    reply: Reply
    result: SearchResult


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolRan:
    """A tool that the model called, and what it said."""

    call: ReplyCall
    outcome: ToolOutcome


ChatEvent = LeftOut | Grown | Replied | ToolRan | RoutedEvent
