"""JSON documents in the user's cache directory, one file for each key, written atomically.

They are readable by the user alone. A document names its key, so that one in another's place is
ignored, as is one that is damaged in whatever way.
"""

import hashlib
import json
import logging
import reprlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from fasttts.config.private_folder import PrivateFolder
from fasttts.errors import ConfigurationError

logger = logging.getLogger(__name__)

_MAX_BYTES = 1 << 24
"""Longest document that is read."""

_Content = TypeVar("_Content")


_DAMAGED = (
    *(OSError, ValueError, LookupError, TypeError, AttributeError, ArithmeticError),
    RecursionError,
)
"""What reading and parsing raise for documents that somebody else wrote."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JsonStore:
    """Documents of one kind.

    Attributes:
        name: The folder, below `$XDG_CACHE_HOME/fasttts` or `~/.cache/fasttts` on Linux.
        version: Of the documents' format; files of another version are ignored.
        remedy: The command that writes a document anew, for messages.
    """

    name: str
    version: int
    remedy: str

    @property
    def folder(self) -> Path:
        """Where the documents are."""
        from platformdirs import user_cache_path

        return user_cache_path("fasttts") / self.name

    def path(self, key: Sequence[str | None]) -> Path:
        """The file of a key."""
        digest = hashlib.sha256(json.dumps(list(key)).encode()).hexdigest()
        return self.folder / f"{digest[:24]}.json"

    def write(self, key: Sequence[str | None], content: Mapping[str, Any]) -> Path:
        """Writes a document so that readers see the old file or the new one.

        Args:
            key: What the document is about.
            content: JSON data.

        Returns:
            The file.

        Raises:
            ConfigurationError: The cache directory cannot be written.
        """
        path = self.path(key)
        document = json.dumps({"version": self.version, "key": list(key), **content}, indent=1)
        try:
            PrivateFolder(path.parent).write(path.name, document.encode())
        except OSError as error:
            raise ConfigurationError(f"{path} cannot be written: {error}") from error
        return path

    def try_read(
        self, key: Sequence[str | None], parse: Callable[[Mapping[str, Any]], _Content]
    ) -> _Content | None:
        """What `parse` makes of a document; None where there is none that can be read.

        Args:
            key: What the document is about.
            parse: Raises LookupError, ValueError, TypeError, AttributeError or ArithmeticError for
                a document that is damaged.
        """
        path = self.path(key)
        try:
            document = json.loads(PrivateFolder(path.parent).read(path.name, _MAX_BYTES))
            if document["version"] != self.version:
                found = reprlib.repr(document["version"])
                raise ValueError(f"format {found} where {self.version} is known")
            if document["key"] != list(key):
                raise ValueError("it is about something else")
            return parse(document)
        except FileNotFoundError:
            return None
        except _DAMAGED as error:
            logger.warning("%s is ignored (%s): run `%s` again", path, error, self.remedy)
            return None
