"""A conversation as a Markdown document."""

from pathlib import Path

from fasttts.cli.chat.answer_view import cost_line
from fasttts.cli.chat.history import StoredConversation, Turn
from fasttts.config.paths import user_path
from fasttts.errors import ConfigurationError


def save(conversation: StoredConversation, name: str) -> Path:
    """Writes a conversation to a new file.

    Args:
        conversation: The conversation.
        name: The file; empty for one in the current directory, with the conversation's name.

    Returns:
        The file.

    Raises:
        ConfigurationError: There is nothing to write, the file exists, or it cannot be written.
    """
    if not conversation.turns:
        raise ConfigurationError("there is nothing to save yet")
    name = name or f"chat-{conversation.name}.md"
    text = document(conversation).encode(errors="replace")
    try:
        path = user_path(name)
        with path.open("xb") as file:
            file.write(text)
    except FileExistsError as error:
        raise ConfigurationError(f"{name} exists already: name another file") from error
    except (OSError, UnicodeEncodeError) as error:
        reason = (isinstance(error, OSError) and error.strerror) or str(error)
        raise ConfigurationError(f"cannot write {name}: {reason.lower()}") from error
    return path


def document(conversation: StoredConversation) -> str:
    """Renders all turns, with tool calls and costs."""
    title = f"# FastTTS chat {conversation.name}"
    return "\n\n".join([title, *(_turn(turn) for turn in conversation.turns)]) + "\n"


def _turn(turn: Turn) -> str:
    parts = ["## " + " ".join(turn.asked.split())]
    for message in turn.messages[1:]:
        if message["role"] == "tool":
            lines = str(message["content"]).splitlines()
            parts.append("\n".join([f"> {message['name']}:", *(f"> {line}" for line in lines)]))
            continue
        calls = [call["function"] for call in message.get("tool_calls", ())]
        parts += [f"`{call['name']}({call['arguments']})`" for call in calls]
        if message["content"]:
            parts.append(message["content"])
    parts += [f"*{cost_line(cost)}*" for cost in turn.costs]
    return "\n\n".join(parts)
