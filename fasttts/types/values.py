"""Messages, tool calls, positions in the tree, and reasons for an end."""

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
not have met its deadline ("refused"), or because its caller cancelled it."""


Numerics = Literal["default", "deterministic"]
"""Whether equal inputs give equal numbers in any batch: "deterministic" models have nothing that is
known to depend on it; with "default" the last bits may depend on what else is computed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolCall:
    """A tool call found in generated text.

    Attributes:
        name: The tool's name.
        arguments: A JSON object as text.
    """

    name: str
    arguments: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ParsedOutput:
    """Generated text separated into content and tool calls.

    Attributes:
        content: The text without the calls.
        tool_calls: The calls in order; empty where there are none.
    """

    content: str
    tool_calls: tuple[ToolCall, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """Whether an engine can work.

    Attributes:
        is_healthy: Whether both models work; where only the verifier failed, calls that need none
            are still served.
        reason: What happened and what helps; None where the engine is healthy.
    """

    is_healthy: bool
    reason: str | None = None
