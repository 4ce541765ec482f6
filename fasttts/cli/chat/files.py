"""Reads files below one directory, and nowhere else.

A path is opened name by name from the directory's own descriptor, and symbolic links are not
followed, so that no change on the disk meanwhile can lead out of it.
"""

import errno
import os
import stat
from pathlib import Path, PurePosixPath

from fasttts.errors import ConfigurationError

MAX_FILE_BYTES = 64 * 1024
MAX_LISTED = 20


class Folder:
    """A directory whose files may be read.

    Args:
        root: The directory.

    Raises:
        ConfigurationError: It is no directory, or may not be read.
    """

    def __init__(self, root: Path) -> None:
        try:
            self.root = root.resolve()
            os.close(os.open(self.root, os.O_RDONLY | os.O_DIRECTORY))
        except (OSError, ValueError, RuntimeError) as error:
            raise ConfigurationError(
                f"{root} is no readable directory: {_reason(error)}"
            ) from error

    def read(self, path: str) -> str:
        """Reads the text of a file.

        Args:
            path: Relative to the directory.

        Raises:
            ConfigurationError: It leads out of the directory, or names no text file of at most
                `MAX_FILE_BYTES`.
        """
        names = _names(path)
        try:
            descriptor = self._open(names)
        except (OSError, UnicodeEncodeError) as error:
            raise ConfigurationError(f"cannot read {path!r}: {_reason(error)}") from error
        with os.fdopen(descriptor, "rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
        if len(data) > MAX_FILE_BYTES:
            raise ConfigurationError(f"{path!r} has more than {MAX_FILE_BYTES:,} bytes")
        try:
            return data.decode()
        except UnicodeDecodeError as error:
            raise ConfigurationError(f"{path!r} is no UTF-8 text") from error

    def _open(self, names: tuple[str, ...]) -> int:
        """Opens the file at `names`; raises with a listing where it is a directory."""
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        descriptor = os.open(self.root, flags)
        try:
            for name in names:
                descriptor, parent = os.open(name, flags, dir_fd=descriptor), descriptor
                os.close(parent)
            mode = os.fstat(descriptor).st_mode
            if stat.S_ISDIR(mode):
                raise ConfigurationError(f"name a file; this directory holds {_listed(descriptor)}")
            if not stat.S_ISREG(mode):
                raise ConfigurationError(f"{names[-1]!r} is no regular file")
        except BaseException:  # an interrupt too
            os.close(descriptor)
            raise
        return descriptor


def _names(path: str) -> tuple[str, ...]:
    """Splits a path into names; raises for a path that is absolute or leads upwards."""
    pure = PurePosixPath(path)
    if pure.is_absolute() or ".." in pure.parts or "\0" in path:
        raise ConfigurationError(
            f"{path!r} leads out of the directory: name a file below it, without '..' or a "
            "leading '/'"
        )
    return pure.parts


def _listed(descriptor: int) -> str:
    names = sorted(os.listdir(descriptor))
    more = f" and {len(names) - MAX_LISTED} more" if len(names) > MAX_LISTED else ""
    return ", ".join(names[:MAX_LISTED]) + more if names else "nothing"


def _reason(error: Exception) -> str:
    if not isinstance(error, OSError):
        return "no file has such a name"
    if error.errno == errno.ELOOP:
        return "symbolic links are not followed"
    return (error.strerror or str(error)).lower()
