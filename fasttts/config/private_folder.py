"""Files of one directory that only their user may read, and that nothing else leads to.

What lies in the directory is not trusted: symbolic links, directories, pipes and devices in the
place of a file are refused, and nothing outside it is read, written or removed.
"""

import contextlib
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from fasttts.config.names import option_hint
from fasttts.config.paths import user_path
from fasttts.errors import ConfigurationError, wrong_type

UNFINISHED = ".tmp"
"""Ending of files that are being written."""

_OPEN = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredFile:
    """A regular file of a folder.

    Attributes:
        name: Its name.
        num_bytes: Its size.
        modified_ns: When it was written.
    """

    name: str
    num_bytes: int
    modified_ns: int


@dataclass(frozen=True, slots=True)
class PrivateFolder:
    """A directory of files, each written as a whole.

    Attributes:
        path: The directory; `make` creates it, readable by the user alone.
    """

    path: Path

    def make(self) -> None:
        """Creates the directory where it is missing.

        Raises:
            OSError: It cannot be created or opened, or is none.
        """
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        with self._opened():
            pass

    def read(self, name: str, max_bytes: int) -> bytes:
        """Reads a file.

        Args:
            name: Its name.
            max_bytes: Longest file to read.

        Raises:
            OSError: There is none, it is no regular file, or it is longer.
        """
        with self._opened() as folder:
            descriptor = os.open(name, os.O_RDONLY | _OPEN, dir_fd=folder)
        with os.fdopen(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise OSError(f"{name} is no regular file")
            content = file.read(max_bytes + 1)
        if len(content) > max_bytes:
            raise OSError(f"{name} has more than {max_bytes:,} bytes")
        return content

    def write(self, name: str, content: bytes) -> None:
        """Writes a file so that readers see the old one or the new one, and the user alone does.

        Args:
            name: Its name; whatever is of that name is replaced, but for a directory.
            content: All of it.

        Raises:
            OSError: It cannot be written.
        """
        self.make()
        scratch = f"{name}.{secrets.token_hex(8)}{UNFINISHED}"
        with self._opened() as folder:
            descriptor = os.open(
                scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _OPEN, 0o600, dir_fd=folder
            )
            try:
                with os.fdopen(descriptor, "wb") as file:
                    file.write(content)
                os.replace(scratch, name, src_dir_fd=folder, dst_dir_fd=folder)
            except BaseException:  # an interrupt leaves nothing unfinished either
                with contextlib.suppress(OSError):
                    os.unlink(scratch, dir_fd=folder)
                raise

    def remove(self, name: str) -> None:
        """Removes a file, if it is there.

        Raises:
            OSError: It cannot be removed.
        """
        with self._opened() as folder, contextlib.suppress(FileNotFoundError):
            os.unlink(name, dir_fd=folder)

    def files(self) -> list[StoredFile]:
        """Lists the regular files.

        Raises:
            OSError: The directory cannot be read.
        """
        with self._opened() as folder, os.scandir(folder) as entries:
            found = [entry for entry in entries if entry.is_file(follow_symlinks=False)]
            return [each for entry in found if (each := _stored(entry)) is not None]

    @contextmanager
    def _opened(self) -> Iterator[int]:
        """A descriptor of the directory, so that all that the body does happens in one."""
        descriptor = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            yield descriptor
        finally:
            os.close(descriptor)


def _stored(entry: "os.DirEntry[str]") -> StoredFile | None:
    """Describes a file; None where another process has removed it meanwhile."""
    with contextlib.suppress(OSError):
        found = entry.stat(follow_symlinks=False)
        return StoredFile(name=entry.name, num_bytes=found.st_size, modified_ns=found.st_mtime_ns)
    return None


def named_folder(path: str | Path, option: str) -> PrivateFolder:
    """The folder of an option, which exists afterwards.

    Args:
        path: A directory; `~` is the home directory.
        option: The option of the engine that names it, for messages.

    Raises:
        ConfigurationError: It cannot be created, is no directory, or no path.
    """
    if not isinstance(path, str | Path):
        raise wrong_type(option, path, "a path, as a str or a Path")
    try:
        folder = PrivateFolder(user_path(path))
        folder.make()
    except (OSError, ConfigurationError, UnicodeEncodeError) as error:
        raise ConfigurationError(
            f"{option}={str(path)!r} cannot be used ({error}): name a directory of your own "
            f"{option_hint(option)}"
        ) from error
    return folder
