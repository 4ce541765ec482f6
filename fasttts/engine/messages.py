"""Checks the user's input: a question or a conversation becomes messages of plain text."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeGuard

from fasttts.decoding.json_checks import check_json
from fasttts.errors import ConfigurationError, shown, wrong_type
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

_TEXTS = ("name", "reasoning_content", "tool_call_id")
"""Keys of messages, besides their content, whose values are texts."""

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
        raise wrong_type("the problem", problem, "a str or a list of messages")
    if not problem:
        raise ConfigurationError("the conversation has no messages")
    if system is not None and not isinstance(system, str):
        raise wrong_type("system", system, "a str or None")
    if system:
        problem = [{"role": "system", "content": system}, *problem]
    messages = [_message(message) for message in problem]
    if all(message["role"] != "user" for message in messages):
        raise ConfigurationError("the conversation has no message of the user")
    if not question(messages):
        raise ConfigurationError("the prompt is empty")
    _check_results(messages)
    return messages


def check_tools(tools: object) -> tuple[Mapping[str, Any], ...]:
    """Returns tools that a chat template can be given.

    Args:
        tools: Tool schemas; None for none.

    Raises:
        ConfigurationError: They are no list of mappings, or these are no JSON of ordinary size.
    """
    checked = tools_in_form(tools)
    for tool in checked:
        try:
            check_json(dict(tool))
        except ValueError as error:
            name = tool.get("function", tool).get("name")
            which = "a tool without a name" if name is None else f"the tool {shown(name)}"
            raise ConfigurationError(f"tools: {which} cannot be offered: {error}") from error
    return checked


def tools_in_form(tools: object) -> tuple[Mapping[str, Any], ...]:
    """Returns tools that are mappings in OpenAI's form, whatever these hold.

    Args:
        tools: Tool schemas; None for none.

    Raises:
        ConfigurationError: They are not.
    """
    if tools is None:
        return ()
    if not _is_list(tools):
        raise wrong_type("tools", tools, "a list of tool schemas or None")
    for tool in tools:
        if not isinstance(tool, Mapping) or not isinstance(tool.get("function", {}), Mapping):
            raise wrong_type("tools", tool, "a list of tools in OpenAI's form")
    return tuple(tools)


def question(messages: Sequence[Message]) -> str:
    """Returns the last text of the user, which the verifier judges steps against; may be empty."""
    texts = [str(m.get("content") or "") for m in messages if m["role"] == "user"]
    return next((text for text in reversed(texts) if text.strip()), "")


def _is_list(value: object) -> TypeGuard[Sequence[Any]]:
    return isinstance(value, Sequence) and not isinstance(value, str | bytes | bytearray)


def _described(value: object) -> str:
    return f"a {type(value).__name__}: {shown(value)}"


def _message(message: object) -> Message:
    if not isinstance(message, Mapping):
        raise ConfigurationError(
            f"a message is a mapping of role and content, not {_described(message)}"
        )
    role = message.get("role")
    if not isinstance(role, str) or not role:
        raise ConfigurationError(f"a message has no role: {_described(message)}")
    if role not in ROLES:
        raise ConfigurationError(
            f"a message has the role {shown(role)}; known are {', '.join(ROLES)}"
        )
    checked = {**message, "role": _exact(role), "content": _content(role, message.get("content"))}
    if (calls := _calls(role, message.get("tool_calls"))) and role != "assistant":
        raise ConfigurationError(f"a {role} message has tool_calls; an assistant makes calls")
    if calls:
        checked["tool_calls"] = [_call(role, call) for call in calls]
    _check_json(role, checked)
    return checked


def _calls(role: str, calls: object) -> Sequence[Any]:
    if calls is None:
        return ()
    if not _is_list(calls):
        raise ConfigurationError(
            f"the tool_calls of a {role} message are a list, not {_described(calls)}"
        )
    return calls


def _call(role: str, call: object) -> dict[str, Any]:
    """Checks a call of the conversation; a call in OpenAI's form has a function with a name."""
    function = call.get("function", call) if isinstance(call, Mapping) else None
    name = function.get("name") if isinstance(function, Mapping) else None
    if not isinstance(call, Mapping) or not isinstance(name, str):
        raise ConfigurationError(
            f"a {role} message holds a tool call that is no mapping with a function and its name "
            f"but {_described(call)}"
        )
    return dict(call)


def _content(role: str, content: object) -> str | None:
    if content is None or isinstance(content, str):
        return None if content is None else _exact(content)
    if not _is_list(content):
        raise ConfigurationError(
            f"the content of a {role} message is text, not {_described(content)}"
        )
    return "".join(_part_text(role, part) for part in content)


def _exact(text: str) -> str:
    """A text without its subclass: a template would print an enumeration's own name."""
    return str.__str__(text)


def _part_text(role: str, part: object) -> str:
    if isinstance(part, str):
        return part
    text = part.get("text") if isinstance(part, Mapping) and part.get("type") == "text" else None
    if not isinstance(text, str):
        raise ConfigurationError(
            f"a {role} message holds {_described(part)}; the models read text only"
        )
    return text


def _check_json(role: str, message: Mapping[str, Any]) -> None:
    """Checks that a message is Unicode text, and JSON around its text."""
    for key, value in message.items():
        if key in _TEXTS and not isinstance(value, str | None):
            raise ConfigurationError(f"{key} of a {role} message is a str, not {_described(value)}")
        try:
            if type(key) is type(value) is str:
                (key + value).encode()
            elif value is not None:
                check_json({key: value}, max_chars=None)
        except UnicodeEncodeError as error:
            raise ConfigurationError(
                f"{shown(key)} of a {role} message is not Unicode text: {error.reason}"
            ) from error
        except ValueError as error:
            raise ConfigurationError(
                f"{shown(key)} of a {role} message cannot be rendered: {error}"
            ) from error


def _check_results(messages: Sequence[Message]) -> None:
    """Checks that no tool's result has lost its call, where results say whose they are.

    Raises:
        ConfigurationError: One has.
    """
    known: set[str] = set()
    for message in messages:
        known.update(map(_call_id, message.get("tool_calls") or ()))
        answered = message.get("tool_call_id")
        if answered and answered not in known:
            raise ConfigurationError(
                f"a {message['role']} message has the result of the tool call {answered:.80}, but "
                "no message before it makes that call: keep the call's message, or leave both out"
            )


def _call_id(call: Mapping[str, Any]) -> str:
    """The id of a call; empty where it has none."""
    return str(call.get("id") or "")
