"""Paths that users name."""

import errno
import os
import reprlib
from pathlib import Path

from fasttts.errors import ConfigurationError


def user_path(name: str | Path) -> Path:
    """Returns the path of a name, in which `~` is a home directory.

    Raises:
        ConfigurationError: No path can be so: it is in the home directory of nobody, too long, or
            holds a NUL or half of a character.
    """
    try:
        path = Path(name).expanduser()
        os.lstat(path)
    except (RuntimeError, ValueError) as error:  # pathlib knows no home, or the system no such name
        raise ConfigurationError(f"{_shown(name)} is no path: {error}") from error
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            raise ConfigurationError(f"{_shown(name)} is no path: it is too long") from error
    return path


def _shown(name: str | Path) -> str:
    return reprlib.repr(str(name))
