"""JSON documents in the user's cache directory, one file for each key, written atomically."""

import hashlib
import json
import logging
import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from fasttts.errors import ConfigurationError

logger = logging.getLogger(__name__)

_Content = TypeVar("_Content")


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
        document = json.dumps({"version": self.version, **content}, indent=1)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            descriptor, scratch = tempfile.mkstemp(dir=path.parent, suffix=".tmp")
            try:
                with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                    file.write(document)
                Path(scratch).replace(path)
            except BaseException:
                Path(scratch).unlink(missing_ok=True)
                raise
        except OSError as error:
            raise ConfigurationError(f"{path} cannot be written: {error}") from error
        return path

    def try_read(
        self, key: Sequence[str | None], parse: Callable[[Mapping[str, Any]], _Content]
    ) -> _Content | None:
        """What `parse` makes of a document; None where there is none that can be read.

        Args:
            key: What the document is about.
            parse: Raises ValueError, KeyError or TypeError for a document that is damaged.
        """
        path = self.path(key)
        try:
            document = json.loads(path.read_text(encoding="utf-8"))
            if document["version"] != self.version:
                raise ValueError(f"format {document['version']} where {self.version} is known")
            return parse(document)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError) as error:
            logger.warning("%s is ignored (%s): run `%s` again", path, error, self.remedy)
            return None
