"""Paths that users name."""

from pathlib import Path

from fasttts.errors import ConfigurationError


def user_path(name: str | Path) -> Path:
    """Returns the path of a name, in which `~` is a home directory.

    Raises:
        ConfigurationError: It is the home directory of nobody, or holds a NUL.
    """
    try:
        path = Path(name).expanduser()
    except RuntimeError as error:
        raise ConfigurationError(f"{str(name)!r}: {error}") from error
    if "\0" in str(path):
        raise ConfigurationError(f"{str(name)!r}: a path holds no NUL")
    return path
