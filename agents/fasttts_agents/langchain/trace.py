"""Calls of an agent run, with their costs."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from langchain_core.messages import AIMessage, BaseMessage, ToolMessage

from fasttts.errors import wrong_type
from fasttts.types import Usage


@dataclass(frozen=True, slots=True, kw_only=True)
class TracePart:
    """One call in a run.

    Attributes:
        kind: A reply that was decoded plainly, one that was searched, or a tool.
        name: The tool's name, or the model's.
        reason: Why a reply was decoded or searched; empty for tools.
        usage: The engine's counts for it; zeros for tools that use no engine.
    """

    kind: Literal["plain", "deliberated", "tool"]
    name: str
    reason: str
    usage: Usage

    def __str__(self) -> str:
        because = f" ({self.reason})" if self.reason else ""
        return f"{self.kind:<11} {self.name}: {self.usage.generated_tokens} tokens{because}"


def trace_of(messages: Sequence[BaseMessage]) -> list[TracePart]:
    """Lists the calls behind the messages of a run, in order, without those of other models.

    Raises:
        ConfigurationError: They are no list of messages.
    """
    if not isinstance(messages, Sequence):
        raise wrong_type("messages", messages, "a list of LangChain messages")
    return [part for message in messages for part in _parts(message)]


def _parts(message: BaseMessage) -> Iterator[TracePart]:
    if isinstance(message, ToolMessage):
        artifact = message.artifact if isinstance(message.artifact, dict) else {}
        yield TracePart(
            kind="tool", name=message.name or "", reason="", usage=_usage(artifact.get("usage"))
        )
    elif isinstance(message, AIMessage) and "fasttts" in message.response_metadata:
        yield _reply(message.response_metadata["fasttts"])


def _reply(report: dict[str, Any]) -> TracePart:
    routing = report["routing"]
    is_plain = report["config"]["search"] == "none"
    if routing is not None:
        is_plain = routing["route"] == "plain"
    return TracePart(
        kind="plain" if is_plain else "deliberated",
        name=report["generator"],
        reason="" if routing is None else routing["reason"],
        usage=_usage(report["usage"]),
    )


def _usage(counts: dict[str, Any] | None) -> Usage:
    return Usage(**(counts or {}))
