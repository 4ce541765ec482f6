"""Results on disk: a search is a pure function of its inputs, so it need not run twice.

A cache never fails a call: an unreadable result is computed again, and one that cannot be written
is not stored.
"""

import hashlib
import logging
import sqlite3
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from fasttts.engine.cache_key import SearchIdentity
from fasttts.errors import ConfigurationError
from fasttts.observability.requests import RequestTracker
from fasttts.scheduling.run import SearchRequest
from fasttts.types import SearchResult

logger = logging.getLogger(__name__)

_BUSY_S = 5.0
"""Longest wait for a database that another process writes to."""


class ResultCache:
    """Results of searches in a directory, shared by threads and processes.

    Entries are JSON documents after a checksum; nothing in the directory is ever unpickled. An
    invalid entry counts as absent, and is overwritten.

    Args:
        directory: Created if missing.
        size_limit_bytes: Size beyond which the oldest results are dropped.

    Raises:
        ConfigurationError: diskcache is not installed, or the directory cannot be used.
    """

    def __init__(self, directory: str | Path, *, size_limit_bytes: int = 1 << 30) -> None:
        self.directory = Path(directory).expanduser()
        try:
            import diskcache
        except ImportError as error:
            raise ConfigurationError(
                f"cache_dir={str(directory)!r} needs diskcache: pip install 'fasttts[cache]'"
            ) from error
        self._unusable = (sqlite3.Error, OSError, diskcache.Timeout, ValueError)
        try:
            self._store = diskcache.Cache(
                str(self.directory), _BUSY_S, _unpickled(diskcache), size_limit=size_limit_bytes
            )
            self._store.close()
        except (sqlite3.Error, OSError) as error:
            raise ConfigurationError(
                f"cache_dir={str(directory)!r} cannot be used ({error}): give a directory of its "
                "own, or delete what is in it"
            ) from error

    def read(self, key: str) -> SearchResult | None:
        """Returns the result of a key; None where there is none, or an invalid one."""
        try:
            with self._store as store:  # closes the connection that each thread would keep open
                entry = store.get(key)
            return None if entry is None else _decoded(entry)
        except self._unusable as error:
            logger.warning("a cached result is ignored: %s", error, extra={"cache_key": key})
            return None

    def write(self, key: str, result: SearchResult) -> None:
        """Stores a result; replaces an earlier one of the same key.

        Args:
            key: From `SearchIdentity.key`.
            result: The result.
        """
        try:
            with self._store as store:
                store.set(key, _encoded(result))
        except self._unusable as error:
            logger.warning("a result is not cached: %s", error, extra={"cache_key": key})


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


def _encoded(result: SearchResult) -> str:
    document = result.to_json()
    return f"{_checksum(document)}\n{document}"


def _decoded(entry: object) -> SearchResult:
    """Decodes the result of an entry.

    Raises:
        ValueError: The entry is damaged.
    """
    if not isinstance(entry, str):
        raise ValueError(f"an entry is text, not {type(entry).__name__}")
    checksum, _, document = entry.partition("\n")
    if checksum != _checksum(document):
        raise ValueError("an entry does not have the text it was written with")
    return SearchResult.from_json(document)


def _checksum(document: str) -> str:
    return hashlib.sha256(document.encode()).hexdigest()


def _unpickled(diskcache: Any) -> type:
    """Makes diskcache's storage class, without the loading of pickles."""

    class UnpickledDisk(diskcache.Disk):  # type: ignore[misc]  # diskcache ships no types
        def fetch(self, mode: int, filename: str | None, value: Any, read: bool) -> Any:
            if mode == diskcache.core.MODE_PICKLE:
                raise ValueError("an entry is a pickle, which nobody here wrote")
            return super().fetch(mode, filename, value, read)

    return UnpickledDisk
