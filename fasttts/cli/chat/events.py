"""Events of an answer, besides those of its decodings and searches."""

from dataclasses import dataclass

from fasttts.chat import Delta, Reply, ReplyCall
from fasttts.cli.chat.tools import ToolOutcome
from fasttts.routing import RoutedEvent
from fasttts.types import SearchResult


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOut:
    """The oldest turns no longer fit into the model's context.

    Attributes:
        num_turns: How many.
    """

    num_turns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Grown:
    """A plainly decoded reply grew.

    Attributes:
        delta: The new text.
    """

    delta: Delta


@dataclass(frozen=True, slots=True, kw_only=True)
class Replied:
    """The model completed a reply.

    Attributes:
        reply: The reply.
        result: The result it was read from.
    """

    reply: Reply
    result: SearchResult


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolRan:
    """A tool was called.

    Attributes:
        call: The model's call.
        outcome: The tool's result or error.
    """

    call: ReplyCall
    outcome: ToolOutcome


ChatEvent = LeftOut | Grown | Replied | ToolRan | RoutedEvent
