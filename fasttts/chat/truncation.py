"""Truncates conversations that are too long for the model's context."""

from collections.abc import Mapping, Sequence
from typing import Any

from fasttts import FastTTS
from fasttts.chat.tools import Tool
from fasttts.engine.messages import check_conversation
from fasttts.errors import FastTTSError
from fasttts.types import Message


def fitting_messages(
    engine: FastTTS,
    messages: Sequence[Message],
    tools: Sequence[Tool],
    *,
    max_tokens: int,
    chat_template_kwargs: Mapping[str, Any] | None = None,
) -> list[Message]:
    """Drops the oldest turns of a conversation until prompt and answer fit.

    System messages stay, and so does the last turn: a turn is a message of the user and all up to
    the next one, so that no tool's result loses its call. The answer gets `max_tokens`, or a
    quarter of the context where that is less.

    Args:
        engine: Its context and chat template count.
        messages: The conversation.
        tools: Tools that are rendered with it.
        max_tokens: Longest answer in tokens.
        chat_template_kwargs: Switches of the chat template; None for none.

    Raises:
        ConfigurationError: The conversation cannot be rendered.
    """
    room = engine.max_model_len - min(max_tokens, engine.max_model_len // 4)
    kept = check_conversation(messages)
    switches = (chat_template_kwargs,) if chat_template_kwargs else ()
    while (turn := _oldest_turn(kept)) is not None:
        if len(engine.tokenizer.encode_chat(kept, list(tools) or None, *switches)) <= room:
            break
        kept = [message for index, message in enumerate(kept) if index not in turn]
    return kept


def _oldest_turn(messages: Sequence[Message]) -> set[int] | None:
    """Indices of the messages to drop first; None where a single turn remains."""
    starts = [index for index, message in enumerate(messages) if message["role"] == "user"]
    if len(starts) < 2:
        return None
    said = (index for index in range(starts[1]) if messages[index]["role"] != "system")
    return set(said)


def overflows(engine: FastTTS, messages: Sequence[Message], tools: Sequence[Tool]) -> bool:
    """Whether a conversation that can be rendered is too long for the context.

    Args:
        engine: Its context and chat template count.
        messages: The conversation.
        tools: Tools that are rendered with it.
    """
    try:
        turns = check_conversation(messages)
        token_ids = engine.tokenizer.encode_chat(turns, list(tools) or None)
    except FastTTSError:
        return False
    return len(token_ids) >= engine.max_model_len
