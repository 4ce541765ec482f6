"""Whether a model sees the tools that it is offered."""

from collections.abc import Mapping, Sequence
from typing import Any

from fasttts.decoding.tokenizer import Tokenizer
from fasttts.types import Message

_MESSAGES: Sequence[Message] = ({"role": "user", "content": "?"},)
_TOOL: Mapping[str, Any] = {
    "type": "function",
    "function": {
        "name": "probe",
        "description": "A tool.",
        "parameters": {"type": "object", "properties": {}},
    },
}


def renders_tools(tokenizer: Tokenizer) -> bool:
    """Whether the chat template of a model writes tools into its prompts.

    Raises:
        ConfigurationError: The model has no chat template.
    """
    return tokenizer.encode_chat(_MESSAGES, [_TOOL]) != tokenizer.encode_chat(_MESSAGES)


def unseen_tools(generator: str, tools: Sequence[Mapping[str, Any]]) -> str:
    """Says that a model will not see its tools, and what to do about it.

    Args:
        generator: The model's name.
        tools: The tools, in OpenAI's form.
    """
    names = ", ".join(str(tool.get("function", tool).get("name", "?")) for tool in tools)
    return (
        f"the chat template of generator={generator!r} has no place for tools, so the model is not "
        f"told of {names}: take a model that was trained to call tools, or offer it none"
    )
