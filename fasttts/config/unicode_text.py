r"""Text that can be encoded: nothing else reaches a model, a file or a tool.

Python holds bytes that are no UTF-8, in arguments, names of files and typed lines, as halves of
characters, which JSON can spell as well (`"\ud800"`) and which nothing can encode.
"""

from fasttts.errors import ConfigurationError


def check_text(text: str, what: str) -> str:
    """Returns a text that can be encoded.

    Args:
        text: The text.
        what: Its name, for the message.

    Raises:
        ConfigurationError: It has bytes that are no UTF-8, or halves of characters.
    """
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ConfigurationError(
            f"{what} is not UTF-8 text: {error.reason} at character {error.start + 1}"
        ) from error
    return text


def as_text(text: str) -> str:
    """Returns a text with a question mark in the place of each half of a character."""
    return text.encode(errors="replace").decode()
