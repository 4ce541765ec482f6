"""What is said and called, where a beam is, and why something ended."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

Path = tuple[int, ...]
"""Child indices from the root: `(2,)` is root candidate 2, `(2, 0)` its first child."""

Message = Mapping[str, Any]
"""One chat message in OpenAI's form: `role`, `content`, and where they apply `tool_calls`,
`tool_call_id`, `name`."""

FinishReason = Literal["stop", "step", "length"]
"""Why a node ended: the model (or a stop string) ended the answer, a step was complete, or a cap
on tokens, depth or context was reached."""

StopReason = Literal["complete", "seconds", "tokens", "verifier_calls", "refused", "cancelled"]
"""Why a search ended: by its own rule, because that part of its budget was spent, because it could
not have met its deadline, or because its caller stopped it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolCall:
    """A tool call found in generated text; `arguments` is a JSON object as text."""

    name: str
    arguments: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ParsedOutput:
    """Generated text separated into what is said and what is called."""

    content: str
    tool_calls: tuple[ToolCall, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """Whether an engine can work.

    Attributes:
        is_healthy: Whether both models work; where only the verifier is lost, calls that need none
            are served all the same.
        reason: What happened and what helps; None where the engine is healthy.
    """

    is_healthy: bool
    reason: str | None = None
