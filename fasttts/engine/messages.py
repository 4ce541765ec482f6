"""Checks the user's input: a question or a conversation becomes messages of plain text."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, TypeGuard

from fasttts.errors import ConfigurationError
from fasttts.types import Message

SYSTEM_PRESETS: Mapping[str, str] = {
    "math": (
        "Solve the problem step by step, with a blank line between two steps. Put the final "
        "answer, and nothing else, into \\boxed{} at the end."
    ),
}
"""System messages by name, for models that do not announce their answers by themselves."""

ROLES = ("system", "developer", "user", "assistant", "tool", "function", "ipython")
"""Roles of messages; chat templates write them between control tokens."""

Conversation = str | Sequence[Message]
"""A question, or a whole conversation whose last user message is the question."""


def check_conversation(problem: Conversation, system: str | None = None) -> list[Message]:
    """Returns the messages to render: each with a role and with text or None as its content.

    Args:
        problem: The question or conversation. Content that is a list of text parts is joined.
        system: A system message put before the conversation; None for none.

    Raises:
        ConfigurationError: There is nothing to answer in it, or it is no text.
    """
    if isinstance(problem, str):
        problem = [{"role": "user", "content": problem}]
    if not _is_list(problem):
        raise ConfigurationError(
            f"a problem is a str or a list of messages, not {_described(problem)}"
        )
    if not problem:
        raise ConfigurationError("the conversation has no messages")
    if system:
        problem = [{"role": "system", "content": system}, *problem]
    messages = [_message(message) for message in problem]
    if all(message["role"] != "user" for message in messages):
        raise ConfigurationError("the conversation has no message of the user")
    if not question(messages):
        raise ConfigurationError("the prompt is empty")
    _check_encodable(messages)
    return messages


def question(messages: Sequence[Message]) -> str:
    """Returns the last text of the user, which the verifier judges steps against; may be empty."""
    texts = [str(m.get("content") or "") for m in messages if m["role"] == "user"]
    return next((text for text in reversed(texts) if text.strip()), "")


def _is_list(value: object) -> TypeGuard[Sequence[Any]]:
    return isinstance(value, Sequence) and not isinstance(value, str | bytes | bytearray)


def _described(value: object) -> str:
    text = repr(value)
    shown = text if len(text) <= 80 else f"{text[:80]} ..."
    return f"a {type(value).__name__}: {shown}"


def _message(message: object) -> Message:
    if not isinstance(message, Mapping):
        raise ConfigurationError(
            f"a message is a mapping of role and content, not {_described(message)}"
        )
    role = message.get("role")
    if not isinstance(role, str) or not role:
        raise ConfigurationError(f"a message has no role: {_described(message)}")
    if role not in ROLES:
        raise ConfigurationError(f"a message has the role {role!r}; known are {', '.join(ROLES)}")
    return {**message, "content": _content(role, message.get("content"))}


def _content(role: str, content: object) -> str | None:
    if content is None or isinstance(content, str):
        return content
    if not _is_list(content):
        raise ConfigurationError(
            f"the content of a {role} message is text, not {_described(content)}"
        )
    return "".join(_part_text(role, part) for part in content)


def _part_text(role: str, part: object) -> str:
    if isinstance(part, str):
        return part
    text = part.get("text") if isinstance(part, Mapping) and part.get("type") == "text" else None
    if not isinstance(text, str):
        raise ConfigurationError(
            f"a {role} message holds {_described(part)}; the models read text only"
        )
    return text


def _check_encodable(messages: Sequence[Message]) -> None:
    """Rejects lone surrogates, which no tokenizer accepts, anywhere in a message."""
    try:
        json.dumps(messages, ensure_ascii=False, default=str).encode()
    except UnicodeEncodeError as error:
        raise ConfigurationError(f"the messages are not Unicode text: {error}") from error
