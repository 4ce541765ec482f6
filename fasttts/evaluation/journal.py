"""The file of a long run: a header, then a line for each record, written as it ends.

A process that is killed leaves at most its last line in part; that line is dropped when the file is
opened again, and its problem is done again.
"""

import fcntl
import json
import os
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Generic, Literal, Self, TypeVar

from pydantic import ValidationError

from fasttts.errors import ConfigurationError
from fasttts.types.documents import Document

JournalKind = Literal["fasttts-eval", "fasttts-label"]
"""What the header of a file says that it is."""

_NOUNS: Mapping[JournalKind, str] = {
    "fasttts-eval": "an evaluation",
    "fasttts-label": "a labelling",
}
JOURNAL_VERSION = 1
"""The version of the header and the records; files of another one are refused."""

_MOST_SHOWN = 60

Entry = TypeVar("Entry", bound=Document)


class Journal(Generic[Entry]):
    """The file of one run, open for one process.

    Args:
        file: Made if it is missing.
        settings: Everything that the records depend on, as JSON data.
        entry: The class of the records.
        kind: The kind of the run.

    Raises:
        ConfigurationError: The file is of other settings, is no such file, cannot be written, or is
            open in another process.
    """

    def __init__(
        self,
        file: Path,
        settings: Mapping[str, Any],
        entry: type[Entry],
        kind: JournalKind = "fasttts-eval",
    ) -> None:
        self._path = file
        self._entry = entry
        self._kind: JournalKind = kind
        try:
            self._file: IO[bytes] = file.open("a+b")
        except OSError as error:
            raise ConfigurationError(f"--output {file}: {error}") from error
        try:
            if not stat.S_ISREG(os.fstat(self._file.fileno()).st_mode):  # /dev/full has no end
                raise ConfigurationError(f"--output {file} is a device: name a file")
            self._lock()
            self._begin({"kind": kind, "version": JOURNAL_VERSION, "settings": dict(settings)})
        except BaseException:  # an interrupt too
            self._file.close()
            raise

    def records(self) -> Iterator[Entry]:
        """Reads the records that the file holds.

        Raises:
            ConfigurationError: A line is no record.
        """
        with self._path.open("rb") as file:
            for number, line in enumerate(file, 1):
                if number == 1:
                    continue
                try:
                    yield self._entry.from_json(line)
                except ValidationError as error:
                    raise ConfigurationError(
                        f"--output {self._path}, line {number}: {line[:60]!r} is no record of "
                        f"{_NOUNS[self._kind]}; delete the line to have its problem done again"
                    ) from error

    def append(self, record: Entry) -> None:
        """Writes a record; it is on the disk when this returns.

        Raises:
            ConfigurationError: It cannot be written.
        """
        self._write(record.to_json())

    def close(self) -> None:
        """Closes the file."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _lock(self) -> None:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise ConfigurationError(
                f"--output {self._path}: another process writes to it; wait for it, or name "
                "another file"
            ) from error

    def _begin(self, header: Mapping[str, Any]) -> None:
        """Writes the header of a new file; of another, checks it and drops a line in part."""
        line = json.dumps(header)
        self._file.seek(0)
        first = self._file.readline()
        if not first.endswith(b"\n"):
            if not line.encode().startswith(first):
                raise self._foreign(first)
            self._file.truncate(0)
            self._write(line)
            return
        try:
            found = json.loads(first)
            known = (found["kind"], found["version"]) == (self._kind, JOURNAL_VERSION)
            settings = found["settings"] if known else None
        except (ValueError, KeyError, TypeError, RecursionError):
            settings = None
        if not isinstance(settings, dict):
            raise self._foreign(first)
        differing = differences(settings, json.loads(line)["settings"])
        if differing:
            raise ConfigurationError(
                f"--output {self._path} is of another {_NOUNS[self._kind].split()[-1]}: "
                f"{'; '.join(differing)}. Repeat the command that began it, or name another file"
            )
        self._drop_partial_line()

    def _drop_partial_line(self) -> None:
        end = self._file.seek(0, os.SEEK_END)
        position, block = end, 1 << 16
        while position:
            start = max(0, position - block)
            self._file.seek(start)
            newline = self._file.read(position - start).rfind(b"\n")
            if newline >= 0:
                self._file.truncate(start + newline + 1)
                return
            position = start

    def _write(self, line: str) -> None:
        try:
            self._file.write(line.encode() + b"\n")
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError as error:
            raise ConfigurationError(f"--output {self._path}: {error}") from error

    def _foreign(self, line: bytes) -> ConfigurationError:
        return ConfigurationError(
            f"--output {self._path} begins with {line[:40]!r}, which is no file of "
            f"{_NOUNS[self._kind]} that this FastTTS reads: name another file"
        )


def differences(old: Mapping[str, Any], new: Mapping[str, Any], prefix: str = "") -> list[str]:
    """Names the settings that differ, with both values.

    Args:
        old: The settings of the file, as JSON data.
        new: Those of the command.
        prefix: The name of the settings they are part of.
    """
    found = []
    for name in sorted(old.keys() | new.keys()):
        before, now = old.get(name), new.get(name)
        if before == now:
            continue
        if isinstance(before, dict) and isinstance(now, dict):
            found += differences(before, now, f"{prefix}{name}.")
        else:
            found.append(f"{prefix}{name} was {_short(before)} and is {_short(now)}")
    return found


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= _MOST_SHOWN else f"{text[:_MOST_SHOWN]}..."
