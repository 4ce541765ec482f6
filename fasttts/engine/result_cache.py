"""Results on disk: a search is a pure function of its inputs, so it need not run twice.

A cache never fails a call: an unreadable result is computed again, and one that cannot be written
is not stored. Each result is a file of its own. A database would have to trust what lies beside it:
SQLite, asked to read one, plays back a journal that it finds there and removes the file that the
journal names, wherever that is.
"""

import hashlib
import logging
import os
import re
import stat
import threading
import time
from dataclasses import replace
from pathlib import Path

from fasttts.config.private_folder import UNFINISHED, PrivateFolder, named_folder
from fasttts.engine.cache_key import SearchIdentity
from fasttts.errors import wrong_type
from fasttts.observability.requests import RequestTracker
from fasttts.scheduling.run import SearchRequest
from fasttts.types import SearchResult

logger = logging.getLogger(__name__)

MAX_ENTRY_BYTES = 1 << 28
"""Longest entry that is written or read."""

_SUFFIX = ".result"
_NAME = re.compile(rf"[0-9a-f]{{64}}{re.escape(_SUFFIX)}(\.[0-9a-f]{{16}}{re.escape(UNFINISHED)})?")
"""Names of the files that are a cache's, unfinished ones among them."""

_LOOKS = 16
"""How often a process looks at the size of the directory while it writes as much as that may hold;
so far a cache may grow beyond its limit, for each process that writes."""


class ResultCache:
    """Results of searches in a directory, shared by threads and processes.

    An entry is a JSON document behind a checksum of the document and its key, in a file that is
    named by the key. Nothing else is read from the directory, nothing outside it is touched, and an
    invalid entry counts as absent and is replaced.

    Args:
        directory: Created if missing, readable by the user alone.
        size_limit_bytes: Size beyond which the oldest results are dropped.

    Raises:
        ConfigurationError: The directory cannot be created, or is none; or an argument is of the
            wrong type.
    """

    def __init__(self, directory: str | Path, *, size_limit_bytes: int = 1 << 30) -> None:
        if not isinstance(size_limit_bytes, int):
            raise wrong_type("size_limit_bytes", size_limit_bytes, "an integer")
        self._folder = named_folder(directory, "cache_dir")
        self.directory = self._folder.path
        self._size_limit_bytes = size_limit_bytes
        self._unseen_bytes = size_limit_bytes  # so that the first write looks
        self._lock = threading.Lock()
        _warn_of_others(self._folder)

    def read(self, key: str) -> SearchResult | None:
        """Returns the result of a key; None where there is none, or an invalid one."""
        try:
            return _decoded(key, self._folder.read(_file_name(key), MAX_ENTRY_BYTES))
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            logger.warning("a cached result is ignored: %s", error, extra={"cache_key": key})
            return None

    def write(self, key: str, result: SearchResult) -> None:
        """Stores a result; replaces an earlier one of the same key.

        Args:
            key: From `SearchIdentity.key`.
            result: The result.
        """
        try:
            entry = _encoded(key, result)
            if len(entry) > min(MAX_ENTRY_BYTES, self._size_limit_bytes):
                raise ValueError(f"it has {len(entry):,} bytes")
            self._folder.write(_file_name(key), entry)
            self._drop_oldest(len(entry))
        except (OSError, ValueError) as error:
            logger.warning("a result is not cached: %s", error, extra={"cache_key": key})

    def _drop_oldest(self, num_written: int) -> None:
        """Removes the oldest entries beyond the limit, if it is time to look."""
        with self._lock:
            self._unseen_bytes += num_written
            if self._unseen_bytes * _LOOKS < self._size_limit_bytes:
                return
            self._unseen_bytes = 0
        ours = [file for file in self._folder.files() if _NAME.fullmatch(file.name)]
        ours.sort(key=lambda file: (file.modified_ns, file.name))
        excess = sum(file.num_bytes for file in ours) - self._size_limit_bytes
        for file in ours:
            if excess <= 0:
                break
            self._folder.remove(file.name)
            excess -= file.num_bytes


class EngineCache:
    """The results of one engine in a cache.

    Args:
        cache: Stores the results; engines may share it.
        identity: The keys of the engine's searches.
        requests: Counts hits and misses.
    """

    def __init__(
        self, cache: ResultCache, identity: SearchIdentity, requests: RequestTracker
    ) -> None:
        self._cache = cache
        self._identity = identity
        self._requests = requests

    def find(self, request: SearchRequest) -> SearchResult | None:
        """Returns the result of an equal search; None where there is none."""
        key = self._identity.key(request)
        if key is None:
            return None
        started = time.perf_counter()
        found = self._cache.read(key)
        if found is not None and not _answers(found, request):
            logger.warning("a cached result is ignored: it is of another search")
            found = None
        self._requests.looked_up(is_hit=found is not None)
        return None if found is None else _found_again(found, time.perf_counter() - started)

    def keep(self, request: SearchRequest, result: SearchResult) -> None:
        """Stores a computed result, if its search has a key.

        Args:
            request: The search.
            result: Its result.
        """
        key = self._identity.key(request)
        if key is not None:
            self._cache.write(key, result)


def _found_again(result: SearchResult, total_s: float) -> SearchResult:
    """Marks a result as cached and replaces its timings."""
    timings = replace(result.timings, total_s=total_s, generation_s=0.0, verification_s=0.0)
    return replace(result, usage=replace(result.usage, is_cached=True), timings=timings)


def _answers(result: SearchResult, request: SearchRequest) -> bool:
    """Whether a result is one of the request: of its options and its seed, with an answer."""
    config = request.config
    return (
        result.config == config.model_dump(mode="json")
        and result.seed == config.seed
        and bool(result.candidates)
        and result.text == result.candidates[0].text
    )


def _warn_of_others(folder: PrivateFolder) -> None:
    """Logs that others may write into a directory, and so make up results."""
    found = folder.path.stat()
    if found.st_uid != os.geteuid() or found.st_mode & stat.S_IWOTH:
        logger.warning(
            "cache_dir=%r: others may write into it, so its results may be theirs: name a "
            "directory of your own (--cache-dir, FASTTTS_CACHE_DIR)",
            str(folder.path),
        )


def _file_name(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest() + _SUFFIX


def _encoded(key: str, result: SearchResult) -> bytes:
    document = result.to_json().encode()
    return _checksum(key, document) + b"\n" + document


def _decoded(key: str, entry: bytes) -> SearchResult:
    """Decodes the result of an entry.

    Args:
        key: The key that it is read for.
        entry: The content of its file.

    Raises:
        ValueError: The entry is damaged, or another key's.
    """
    checksum, _, document = entry.partition(b"\n")
    if checksum != _checksum(key, document):
        raise ValueError("an entry is not the one that was written for its key")
    return SearchResult.from_json(document)


def _checksum(key: str, document: bytes) -> bytes:
    return hashlib.sha256(key.encode() + b"\n" + document).hexdigest().encode()
