"""Thresholds in the user's cache directory, one file for each pair of models."""

import hashlib
import json
import logging
from collections.abc import Sequence
from pathlib import Path

from fasttts.errors import ConfigurationError
from fasttts.routing.calibration import Point
from fasttts.routing.cascade import DEFAULT_THRESHOLD, Cascade

logger = logging.getLogger(__name__)

VERSION = 1
"""Of the files' format; files of another version are ignored."""


def router_folder() -> Path:
    """Where thresholds are kept: below `$XDG_CACHE_HOME` or `~/.cache` on Linux."""
    from platformdirs import user_cache_path

    return user_cache_path("fasttts") / "router"


def save_threshold(
    generator: str, verifier: str | None, threshold: float, curve: Sequence[Point] = ()
) -> Path:
    """Keeps the threshold for two models and returns the file.

    Args:
        generator: Its name.
        verifier: Its name.
        threshold: The threshold.
        curve: What it was chosen from; for people.

    Raises:
        ConfigurationError: The cache directory cannot be written.
    """
    path = _path(generator, verifier)
    document = {
        "version": VERSION,
        "generator": generator,
        "verifier": verifier,
        "threshold": threshold,
        "curve": [point.to_dict() for point in curve],
    }
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        scratch = path.with_suffix(".tmp")
        scratch.write_text(json.dumps(document, indent=1), encoding="utf-8")
        scratch.replace(path)
    except OSError as error:
        raise ConfigurationError(f"the threshold cannot be kept: {error}") from error
    return path


def try_threshold(generator: str, verifier: str | None) -> float | None:
    """The stored threshold; None if there is none that can be read."""
    path = _path(generator, verifier)
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        if document["version"] != VERSION:
            raise ValueError(f"format {document['version']} where {VERSION} is known")
        return Cascade(threshold=float(document["threshold"])).threshold
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        logger.warning("%s is ignored (%s): run `fasttts calibrate-router` again", path, error)
        return None


def default_policy(generator: str, verifier: str | None) -> Cascade:
    """The cascade with the calibrated threshold of two models, or the default one."""
    threshold = try_threshold(generator, verifier)
    return Cascade(threshold=DEFAULT_THRESHOLD if threshold is None else threshold)


def _path(generator: str, verifier: str | None) -> Path:
    key = hashlib.sha256(json.dumps([generator, verifier]).encode()).hexdigest()[:24]
    return router_folder() / f"{key}.json"
